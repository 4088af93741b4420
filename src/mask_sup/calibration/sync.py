"""How many frames late each camera runs, from masks alone: cameras that were started by hand.

A body that crouches, jumps, bends or lifts its arms changes height, width, area and spread of all
its silhouettes at the same time. The changes are compared over all shifts; as no two views see all
of them alike, the better half counts. Where the cameras are calibrated, the shift at which the
silhouettes agree on a shape (`calibration/silhouettes.py`) decides the last frames.
"""

import json
import shlex
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from jaxtyping import Float
from omegaconf import DictConfig

from mask_sup.calibration import Calibration, find_calibration, read_calibration
from mask_sup.calibration.check import ALARM, CLOSES, LEAST, Look, Rig, odd_one_out
from mask_sup.calibration.from_masks import rig_from_masks
from mask_sup.calibration.offsets import OFFSETS
from mask_sup.calibration.silhouettes import gaps, mean_gap, moment_gaps
from mask_sup.files.disk import write_file
from mask_sup.files.masks import read_mask
from mask_sup.files.names import check_steps, natural_order
from mask_sup.files.pictures import list_pictures
from mask_sup.geometry.degenerate import degenerate

__all__ = [
    "agreed_offsets",
    "compared",
    "offsets_of",
    "outline_signals",
    "settled_offsets",
    "shifted",
    "sync",
    "unsure",
]

SMOOTH, DRIFT = 2.0, 20.0  # frames: of noise that is smoothed away, of drift that is taken away
SURE = 0.5  # correlation at the best shift that a camera needs with some other
FEWEST = 20  # frames that two cameras must share to be compared
SWEEPS = 6
FINE = 4  # frames about the first answer that calibrated cameras are tried at
LOOK = {"moments": 8, "rays": 30}  # of `Look`
WIDE = 1.0  # percent of the person's size: mean gap of silhouettes that cannot be of one moment


def outline_signals(folder: Path) -> Float[np.ndarray, "t 6"]:
    """Logs of height, width, area and spread (down, across, both) of each mask; NaN if nobody's.

    Raises:
        FileNotFoundError: If there are no masks.
        ValueError: If a mask cannot be read, or all are empty, white or inverted.
    """
    from rich.progress import track

    rows, words = [], []
    for path in track(list_pictures(folder), f"masks of {folder.name}", transient=True):
        mask = read_mask(path, may_be_empty=True) > 127
        y, x = np.nonzero(mask)
        if word := degenerate(mask):
            words.append(word)
            rows.append((np.nan,) * 6)
        elif not (np.ptp(y) and np.ptp(x)):  # a line at the border, whose spread has no logarithm
            words.append("slivers")
            rows.append((np.nan,) * 6)
        else:
            spread = (y.std(), x.std(), np.hypot(x.std(), y.std()))
            rows.append((np.ptp(y) + 1, np.ptp(x) + 1, len(y), *spread))
    told = f"{len(words)} of {len(rows)} masks in {folder} are {' or '.join(sorted(set(words)))}"
    if len(words) == len(rows):
        raise ValueError(f"{told}: mend them first, see masks check")
    if words:
        print(f"{told}: left out")
    return np.log(np.array(rows, float))


def compared(
    first: Float[np.ndarray, "t k"], second: Float[np.ndarray, "u k"], most: int
) -> Float[np.ndarray, "s"]:
    """Correlation of two sets of signals when the second runs -most to most frames late.

    At a shift s, frame f of the first is compared with frame f + s of the second; the mean of the
    better half of the signals. NaN frames do not count; NaN where fewer than `FEWEST` overlap.
    """
    a, b = _changes(first), _changes(second)
    found = np.full(2 * most + 1, np.nan)
    for i, late in enumerate(range(-most, most + 1)):
        start, stop = max(0, -late), min(len(a), len(b) - late)
        if stop - start < FEWEST:
            continue
        x, y = a[start:stop], b[start + late : stop + late]
        known = ~(np.isnan(x).any(1) | np.isnan(y).any(1))
        if known.sum() >= FEWEST:
            x, y = x[known] - x[known].mean(0), y[known] - y[known].mean(0)
            norm = np.sqrt((x**2).sum(0) * (y**2).sum(0))
            alike = np.sort((x * y).sum(0) / np.maximum(norm, 1e-12))
            found[i] = alike[len(alike) // 2 :].mean()
    return found


def _changes(signals: np.ndarray) -> np.ndarray:
    """Signals without noise and slow drift: a walk towards one camera is a walk from another."""
    from scipy.ndimage import gaussian_filter1d

    known = ~np.isnan(signals)
    filled = np.where(known, signals, 0.0)

    def smooth(width: float) -> np.ndarray:
        weight = gaussian_filter1d(known.astype(float), width, axis=0)
        return gaussian_filter1d(filled, width, axis=0) / np.maximum(weight, 1e-9)

    return np.where(known, smooth(SMOOTH) - smooth(DRIFT), np.nan)


def offsets_of(signals: list[np.ndarray], most: int) -> tuple[list[int], Float[np.ndarray, "v v"]]:
    """How many frames late each camera runs against the first, and the correlations of all pairs.

    Args:
        signals: (t, k) of each camera, whose numbers of frames may differ.
        most: Frames that two cameras may be apart.

    The shifts of all pairs that correlate are made to fit each other by weighted least squares.

    Raises:
        ValueError: If a camera correlates with no other, or shows too little.
    """
    views = len(signals)
    shown = [int((~np.isnan(signal).any(1)).sum()) for signal in signals]
    if min(shown) < FEWEST:
        raise ValueError(
            f"cameras show somebody in {shown} frames: expected {FEWEST} or more in each, better "
            "some hundreds with movement; give more frames, or mend the masks (see masks check)"
        )
    peaks = np.eye(views)
    rows, shifts, weights = [], [], []
    for a, b in combinations(range(views), 2):
        curve = compared(signals[a], signals[b], most)
        if np.isnan(curve).all():
            continue
        best = int(np.nanargmax(curve))
        peaks[a, b] = peaks[b, a] = curve[best]
        row = np.zeros(views)
        row[[a, b]] = -1.0, 1.0
        rows.append(row)
        shifts.append(best - most)
        weights.append(max(curve[best], 0.05) ** 2)  # a doubtful pair counts little
    apart = [v for v in range(views) if np.delete(peaks[v], v).max() < SURE]
    if apart:
        raise ValueError(
            f"the masks of camera(s) {apart} move like no other camera's within {most} frames "
            f"(best correlation {[float(np.delete(peaks[v], v).max().round(2)) for v in apart]}, "
            f"expected {SURE} or more): give a larger most=, or a stretch with more movement"
        )
    w = np.array(weights)[:, None]
    late = np.linalg.lstsq(w * np.array(rows)[:, 1:], w[:, 0] * shifts, rcond=None)[0]
    return [0, *(int(round(x)) for x in late)], peaks


def settled_offsets(rig: Rig, late: list[int]) -> list[int]:
    """Offsets at which calibrated silhouettes agree best, within `FINE` frames of those given."""
    late = [value - min(late) for value in late]
    for _ in range(SWEEPS):
        before = list(late)
        for view in range(len(late)):
            late[view] += _better_by(Look(shifted(rig, late), **LOOK), view)
            late = [value - min(late) for value in late]
        if late == before:
            break
    return [value - late[0] for value in late]


def _better_by(look: Look, view: int) -> int:
    """Frames later at which a view agrees better than now, in the same moments."""
    now = moment_gaps(gaps(look.scene()))
    opened = {0: 0.0}
    for step in (step for step in range(-FINE, FINE + 1) if step):
        kept, scene = look.shifted(view, step)
        if len(kept) >= LEAST:
            opened[step] = mean_gap(gaps(scene)) - float(now[kept].mean())
    return min(opened, key=lambda step: (opened[step], abs(step)))


def agreed_offsets(rig: Rig, late: list[int]) -> tuple[list[int], float]:
    """Offsets near those given, or near none, at which calibrated silhouettes agree better.

    Returns:
        They, and the mean gap that is left, percent of the person's size.
    """
    starts = (late, [0] * len(late))
    settled = settled_offsets(rig, min(starts, key=lambda start: _gap(rig, start)))
    return settled, _gap(rig, settled)


def _gaps(rig: Rig, late: list[int]) -> Float[np.ndarray, "v m n s v"] | None:
    """None where too few moments show the person in all masks at these offsets."""
    cut = shifted(rig, [value - min(late) for value in late])
    try:
        return gaps(Look(cut, **LOOK).scene())
    except ValueError:
        return None


def _mean(found: Float[np.ndarray, "v m n s v"] | None) -> float:
    """Percent of the person's size; infinite where there are no gaps to judge by."""
    return float("inf") if found is None else mean_gap(found)


def _gap(rig: Rig, late: list[int]) -> float:
    return _mean(_gaps(rig, late))


def unsure(rig: Rig, late: list[int], gap: float) -> str:
    """Why offsets prove nothing, as silhouettes hardly meet better with them; empty: they do.

    A camera that is turned finds an offset, too, at which it agrees a little better.

    Args:
        rig: Calibrated cameras, no offset applied.
        late: Frames that each runs late, the best that were found.
        gap: That is left at these, percent of the person's size.
    """
    if not any(late):
        return ""
    at_none = _gaps(rig, [0] * len(late))
    none = _mean(at_none)
    if gap <= min(WIDE, max(ALARM, CLOSES * none)):
        return ""
    found = ", ".join(
        f"{name} {value:+d}" for name, value in zip(rig.names, late, strict=True) if value
    )
    told = f"no offset is sure. At the best that were found ({found} frames) silhouettes still "
    told += f"miss each other by {gap:.2f} % of the person's size"
    if at_none is None:
        return f"{told}: the calibration or masks are wrong"
    told += f", with no offset by {none:.2f} %"
    view = odd_one_out(at_none)
    if view is None:
        return f"{told}: the calibration or masks may be wrong"
    return f"{told}. {rig.names[view]} stands out, and may be turned or moved, not late"


def shifted(rig: Rig, late: list[int]) -> Rig:
    """The rig with frame f of a view replaced by frame f + late; offsets from 0 on."""
    return replace(
        rig,
        frames=rig.frames - max(late),
        mask=lambda view, frame: rig.mask(view, frame + late[view]),
        number=lambda view, frame: rig.number(view, frame + late[view]),
        guessed=lambda view, frame: rig.guessed(view, frame + late[view]),
    )


def sync(cfg: DictConfig) -> dict[str, int]:
    """Print how late each camera runs, write it where `cfg.output` says.

    Raises:
        FileNotFoundError: If the masks are missing.
        ValueError: If there is one camera, one that moves like no other, or one that lacks masks
            in between, or if calibrated cameras do not meet at any offset; nothing is written then.
    """
    source = Path(cfg.input).expanduser()
    masks = Path(cfg.masks).expanduser() if cfg.masks else source / "masks"
    names = natural_order(path.name for path in masks.glob("*") if path.is_dir())
    if len(names) < 2:
        raise ValueError(f"expected masks of two cameras or more in {masks}, found {names}")
    check_steps({name: list_pictures(masks / name) for name in names})
    output = Path(cfg.output).expanduser() if cfg.output else source / OFFSETS
    late, peaks = offsets_of([outline_signals(masks / name) for name in names], cfg.most)
    calibration, gap = _calibration(source, names), 0.0
    if calibration is not None:
        rig = rig_from_masks(calibration, masks, dict.fromkeys(names, 0))
        late, gap = agreed_offsets(rig, late)
        if why := unsure(rig, late, gap):
            told = json.dumps({"late": dict(zip(names, late, strict=True))})
            raise ValueError(
                f"{why}.\nNothing is written. First: python -m mask_sup.calibration check "
                f"input={shlex.quote(str(source))}\nIf you know that cameras were started by hand, "
                f"and how late each runs, write that into {output}, like\n{told}"
            )
    for view, name in enumerate(names):
        best = np.delete(peaks[view], view).max()
        print(f"{name}: {late[view]:+d} frames, correlation {best:.2f}")
    if gap > WIDE:
        print(
            f"! silhouettes miss each other by {gap:.1f} % of the person's size at the best of "
            "these: the calibration or masks are wrong, or the offsets: see calibration check"
        )
    told = dict(zip(names, late, strict=True))
    write_file(output, json.dumps({"late": told}, indent=2) + "\n")
    print(f"written to {output}")
    return told


def _calibration(source: Path, names: list[str]) -> Calibration | None:
    """The recording's calibration, if it has one of these cameras and of enough of them."""
    try:
        calibration = read_calibration(find_calibration(source))
    except FileNotFoundError:
        return None
    if missing := sorted(set(names) - set(calibration.names)):
        print(f"! masks without a camera in {calibration.source}: {missing}; it is left out")
        return None
    return calibration.select(names) if len(names) > 2 else None
