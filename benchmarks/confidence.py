"""Does confidence tell which poses are wrong? On scenes that are right, and on spoilt ones.

    python benchmarks/confidence.py outputs/demo/last_round/checkpoints/last.ckpt
    python benchmarks/confidence.py <ckpt> --tune  # weights of conf/fitter/masks.yaml: verdict

Runs of people whom training has not seen, in everyday movements (`val`), before random rings of
cameras and in postures, as they are and with each fault of `faults.py`, are predicted with
no training as `predict` does it, each run by itself; and `mocap`, which is held out, each person by
itself, for a build is learned of one: of both at once it is right for neither. Told are, for
all joints and all moments together: the rank correlation (Spearman) of expected and true errors;
true errors in fifths by expected ones; how many moments that failed (mean error above 150 mm)
are called healthy, how many good ones (below 75 mm) are not; and what `calibration check` finds:
all but `unclear` accuses the calibration. Weights were tuned on other runs (--tune) than those
that the result is of. Written to benchmarks/results/confidence.json.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from faults import FAULTS, MASK_FAULTS, Run
from fitting import LOST, Seen, embedded, postures, rings, the_fitter
from record import record
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import spearmanr
from torch import Tensor
from unseen import MOMENTS

from mask_sup.calibration.check import Rig, check
from mask_sup.files.poses import confidence_of, healthy
from mask_sup.fitting.fitter import PoseFitter
from mask_sup.fitting.verdict import expected, judge, ways_from_root
from mask_sup.method.settings import of_checkpoint
from mask_sup.models.checkpoint import read_checkpoint, restore

GOOD = 75.0  # mm: a moment nearer than that is a good one
TUNE, TEST = 0, 1  # every second run of each kind
FAULTLESS = "none"
RIGHT = 3  # runs without a fault, of each kind, for one with each fault
PICTURE, FOCAL = 256, 300.0  # pixels, of the whole pictures that a calibration is checked by
STEPS, RATE = 400, 0.05  # of Adam on the logarithms of weights
FIFTHS = 5


class Judged(NamedTuple):
    """One run, fitted and judged."""

    fault: str
    kind: str
    error: Tensor  # (n, j) mm, root-relative
    expected: Tensor  # (n, j) mm
    healthy: np.ndarray  # (n,)
    signs: dict[str, Tensor]  # (n, j) each, see `Verdict`
    stature: float
    accused: str  # of the calibration, by `calibration check`; empty: nothing


def judged(
    fitter: PoseFitter, fault: str, kind: str, run: Run, start: Tensor, look: bool = True
) -> Judged:
    """Fit a run from where the detector saw it, judge it, and `look` at its calibration."""
    n = len(start)
    sequence = torch.arange(n) if kind == "mocap" else torch.zeros(n, dtype=torch.long)
    found = fitter.fit("fit", start, run.camera, run.mask, sequence=sequence)
    verdict = judge(fitter, found, run.camera, run.mask, sequence)
    error = root_relative(found.joints_world) - root_relative(run.truth)
    stature = fitter.stature(found.build)
    told = {
        "unexplained": found.unexplained.numpy(),
        "confidence": confidence_of((verdict.expected_mm / stature).numpy()),
        "unexplained_view": verdict.unexplained_view.numpy(),
        "strain": verdict.strain.numpy(),
        "front": found.front.numpy(),
    }
    return Judged(
        fault,
        kind,
        error.norm(dim=-1),
        verdict.expected_mm,
        healthy(told),
        verdict.signs,
        stature,
        "" if kind == "mocap" or not look else accused(run),
    )


def root_relative(joints: Tensor) -> Tensor:
    """Poses whose root is the origin."""
    return joints - joints[:, :1]


def accused(run: Run) -> str:
    """The fault that `calibration check` finds in whole pictures of a run; empty: none."""
    K = np.array([[FOCAL, 0, PICTURE / 2], [0, FOCAL, PICTURE / 2], [0, 0, 1.0]])
    size = run.mask.shape[-1]
    crop = np.array([[2 / size, 0, 1 / size - 1], [0, 2 / size, 1 / size - 1], [0, 0, 1]])
    pixel = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1.0]])

    def whole(view: int, moment: int) -> np.ndarray:
        move = pixel @ K @ np.linalg.inv(run.camera.K[moment, view].numpy()) @ crop
        mask = cv2.warpAffine(run.mask[moment, view].numpy(), move[:2], (PICTURE, PICTURE))
        return mask > 0.5

    views = run.mask.shape[1]
    R, t = (part[0].double().numpy() for part in run.camera[1:])
    rig = Rig(tuple(f"cam{v}" for v in range(views)), np.tile(K, (views, 1, 1)), R, t,
              len(run.mask), whole)  # fmt: skip
    try:
        found = check(rig)
    except ValueError:  # masks that tell nothing
        return ""
    return "" if found.fault in ("none", "masks") else found.fault


def runs(folder: Path, half: int, count: int, look: Any, val: list) -> dict[str, list[Seen]]:
    """Runs of each kind, those of one half."""
    kinds = {
        "val": [val[i : i + MOMENTS] for i in range(0, len(val), MOMENTS)],
        "rings": rings(folder, 2 * count),
        "postures": postures(folder, 2 * count),
    }
    return {kind: [look(run) for run in some[half::2][:count]] for kind, some in kinds.items()}


def all_judged(
    fitter: PoseFitter, seen: dict[str, list[Seen]], seed: int, times: int, look: bool
) -> list[Judged]:
    """Each fault done to runs of each kind in turn, and runs without one; see `judged`."""
    jobs = []
    for kind, some in seen.items():
        jobs += [(FAULTLESS, kind, one, 0) for one in some[: RIGHT * times]]
    for number, fault in enumerate(FAULTS):
        for turn in range(times):
            jobs += [
                (fault, kind, some[(number + turn * len(FAULTS)) % len(some)], turn)
                for kind, some in seen.items()
            ]
    found = []
    for number, (fault, kind, one, turn) in enumerate(track(jobs, "judging")):
        run = Run(one.camera, one.mask, one.truth)
        rng = np.random.default_rng([seed, number, turn])
        spoilt = run if fault == FAULTLESS else FAULTS[fault](run, fitter.body, rng)
        found.append(judged(fitter, fault, kind, spoilt, one.start, look))
    return found


def ranks(some: list[Judged]) -> dict[str, Any]:
    """How well expected errors rank true ones, by joint and by moment; and what is called what."""
    error, expected = (
        torch.cat([getattr(one, name) for one in some])[:, 1:] for name in ("error", "expected")
    )
    moment, healthy = error.mean(1), np.concatenate([one.healthy for one in some])
    order = expected.flatten().argsort()
    failed, good = (moment > LOST).numpy(), (moment < GOOD).numpy()
    return {
        "moments": len(moment),
        "mean_mm": float(moment.mean()),
        "spearman_joints": float(spearmanr(expected.flatten(), error.flatten())[0]),
        "spearman_moments": float(spearmanr(expected.mean(1), moment)[0]),
        "fifths_expected_true_mm": [
            [float(values.flatten()[part].mean()) for values in (expected, error)]
            for part in order.chunk(FIFTHS)
        ],
        "failed": int(failed.sum()),
        "failed_called_healthy": int((failed & healthy).sum()),
        "good": int(good.sum()),
        "good_not_called_healthy": int((good & ~healthy).sum()),
    }


def blamed(row: dict[str, Any]) -> int:
    """In how many runs the calibration is accused."""
    return sum(found != "unclear" for found in row["calibration_accused"])


def tuned(some: list[Judged], way: Tensor, before: dict[str, float]) -> dict[str, float]:
    """Weights under which true errors are likeliest, spread exponentially about expected ones.

    Those are then right in the mean; the few that are far off count. Runs without a fault weigh as
    much, all together, as those with one.
    """
    names = list(some[0].signs)
    signs = {name: torch.cat([one.signs[name][:, 1:] for one in some]) for name in names}
    share = torch.cat([one.error[:, 1:] / one.stature for one in some])
    faulty = torch.cat([torch.full((len(o.error),), float(o.fault != FAULTLESS)) for o in some])
    weigh = torch.where(faulty > 0, 1 / faulty.sum(), 1 / (1 - faulty).sum())
    weighed = (*names, "floor", "near")
    log = torch.tensor([before[name] for name in weighed]).log().requires_grad_(True)
    optimizer = torch.optim.Adam([log], RATE)

    def weights(log: Tensor) -> dict[str, Any]:
        return before | dict(zip(weighed, log.exp(), strict=True))

    for _ in range(STEPS):
        off = expected(signs, way[1:], weights(log))
        unlikely = (off.log() + share / off).mean(1)
        optimizer.zero_grad()
        (weigh * unlikely).sum().backward()
        optimizer.step()
    return {name: float(value) for name, value in weights(log.detach()).items()}


def main() -> None:
    """Judge, write and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--times", type=int, default=2, help="runs of each kind with each fault")
    parser.add_argument("--tune", action="store_true", help="print weights, on other runs")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    checkpoint = read_checkpoint(given.checkpoint)
    detector, data = restore(checkpoint), checkpoint["config"]["data"]
    fitter = the_fitter(given.seed)

    def look(moments: list) -> Seen:
        return Seen(detector, moments, data)

    half = TUNE if given.tune else TEST
    with tempfile.TemporaryDirectory() as name:
        val = embedded(checkpoint, "val")
        count = max(RIGHT * given.times, len(FAULTS))
        seen = runs(Path(name), half, count, look, val)
        found = all_judged(fitter, seen, half, given.times, look=not given.tune)
        if given.tune:
            for weight, value in tuned(found, ways_from_root(fitter), fitter.verdict).items():
                print(f"{weight}: {value:.3g}")
            return
        mocap = embedded(checkpoint, "mocap")
        people = sorted({moment.person for moment in mocap})
        apart = [look([one for one in mocap if one.person == person]) for person in people]
    held_out = [
        judged(fitter, FAULTLESS, "mocap", Run(one.camera, one.mask, one.truth), one.start)
        for one in apart
    ]
    right = [one for one in found if one.fault == FAULTLESS]
    sets = {"all": found, "faultless": right, "spoilt": [o for o in found if o.fault in FAULTS]}
    sets |= {kind: [one for one in right if one.kind == kind] for kind in seen}
    sets |= {"mocap": held_out}
    sets |= {fault: [one for one in found if one.fault == fault] for fault in FAULTS}
    rows = {name: ranks(some) for name, some in sets.items()}
    for fault in (FAULTLESS, *FAULTS):
        some = [one for one in found if one.fault == fault]
        row = rows["faultless" if fault == FAULTLESS else fault]
        row["runs"], row["calibration_accused"] = len(some), [o.accused for o in some if o.accused]
    record(
        "confidence",
        settings=of_checkpoint(checkpoint),
        seed=given.seed,
        weights=fitter.verdict,
        mask_faults=list(MASK_FAULTS),
        sets=rows,
    )
    table = Table(title="how well confidence tells wrong poses")
    for column in (
        *("set", "moments", "mean mm", "Spearman joints", "moments"),
        *("failed", "called healthy", "good", "not called healthy", "calibration accused"),
    ):
        table.add_column(column, justify="right")
    for name, row in rows.items():
        table.add_row(
            name,
            str(row["moments"]),
            f"{row['mean_mm']:.0f}",
            f"{row['spearman_joints']:.2f}",
            f"{row['spearman_moments']:.2f}",
            *(str(row[k]) for k in ("failed", "failed_called_healthy")),
            *(str(row[k]) for k in ("good", "good_not_called_healthy")),
            f"{blamed(row)} of {row['runs']}" if "runs" in row else "-",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
