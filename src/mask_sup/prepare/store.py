"""Writes the store that all data sets share (layout: `mask_sup/data/manifest.py`).

Every frame is freed of lens distortion once, cut to a square around its mask, made small, and
written as JPEG and 1-bit PNG; K follows. One frame is in memory at a time. A sequence is finished
when its table appears under `parts/`; a run that is started again goes on with the others.
"""

import json
import multiprocessing
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.progress import track

from mask_sup.data.lens import crop_square, lens_maps, mask_box
from mask_sup.data.manifest import MANIFEST, join, tabulate, write_manifest
from mask_sup.data.moments import Moment, View
from mask_sup.files.disk import claim, whole
from mask_sup.files.lock import locked
from mask_sup.prepare.protocol import OCCLUDED, Keep, Protocol, Split
from mask_sup.prepare.release import Clip

__all__ = ["PADDING", "write_store"]

PADDING = 1.5  # side of the stored square over the larger side of the mask's box
JPEG_QUALITY = 92
EMPTY = "empty mask"
SETTINGS, PARTS = "prepared.json", "parts"


def write_store(
    clips: Sequence[Clip],
    out: Path,
    protocol: Protocol,
    size: int,
    workers: int,
    told: Mapping[str, Any],
) -> dict[str, Any]:
    """Write all clips and the manifest; go on where an earlier run stopped.

    Args:
        clips: Sequences.
        out: Folder of the store.
        protocol: Which moments are kept; kept in the header.
        size: Side of the stored pictures, pixels.
        workers: Processes.
        told: What else the header says: where masks come from, what was skipped.

    Returns:
        The header of the manifest.

    Raises:
        ValueError: If the folder holds another data set, nothing is kept, a file is damaged,
            or another process writes there.
        FileNotFoundError: If a file is missing.
        OSError: If the disk is full.
    """
    settings = {
        "dataset": protocol.dataset,
        "protocol": asdict(protocol),
        "protocol_hash": protocol.hash,
        "size": size,
        **told,
    }
    settings = json.loads(json.dumps(settings))  # tuples as lists
    with locked(out):
        claim(out, SETTINGS, settings, MANIFEST)
        todo = [clip for clip in clips if not _part(out, clip).is_file()]
        if len(todo) < len(clips):
            print(f"{len(clips) - len(todo)} of {len(clips)} sequences were finished before")
        finished = _run([(clip, out, protocol, size) for clip in todo], workers)
        for _ in track(finished, "sequences", total=len(todo)):
            pass
        parts = [_read_part(_part(out, clip)) for clip in clips]
        dropped: Counter[str] = Counter()
        for _, reasons in parts:
            dropped.update(reasons)
        tables = [table for table, _ in parts if table]
        if not tables:
            raise ValueError(
                f"none of the moments is kept, dropped: {dict(dropped)}: see `keep` of the "
                f"protocol {protocol.name} and the masks"
            )
        arrays = join(tables)
        splits = Counter(arrays["split"].tolist())
        header = {**settings, "moments": dict(splits), "dropped": dict(dropped)}
        write_manifest(out, arrays, header)
        shutil.rmtree(out / PARTS)
        return header


def _part(out: Path, clip: Clip) -> Path:
    return out / PARTS / f"{clip.name.replace('/', '__')}.npz"


def _read_part(path: Path) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    with np.load(path, allow_pickle=False) as file:
        table = {key: file[key] for key in file.files}
    return table, json.loads(str(table.pop("dropped")))


def _run(jobs: list[tuple], workers: int) -> Iterator[None]:
    """Do all jobs; the first error stops them, what is finished stays."""
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield _write_clip(*job)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), context, cv2.setNumThreads, (1,)) as pool:
        try:
            yield from pool.map(_write_clip, *zip(*jobs, strict=True))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write_clip(clip: Clip, out: Path, protocol: Protocol, size: int) -> None:
    """Write the pictures, masks and table of one sequence."""
    numbers = sorted({number for chosen in clip.frames.values() for number in chosen})
    views: dict[int, list[View]] = {number: [] for number in numbers}
    shift: dict[int, list[tuple]] = {number: [] for number in numbers}
    faults: dict[int, list[str]] = {number: [] for number in numbers}
    for view, camera in enumerate(clip.cameras):
        folders = [out / kind / clip.name / camera for kind in ("images", "masks")]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        for number, picture, mask, occluder in _frames(clip, view, numbers):
            faults[number] += _faults(mask, occluder, protocol.keep)
            if not (mask > 127).any():
                continue
            image, small = folders[0] / f"{number:06d}.jpg", folders[1] / f"{number:06d}.png"
            box = mask_box(mask, PADDING)
            _write(image, crop_square(picture, box, size), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
            cut = np.where(crop_square(mask, box, size) > 127, 255, 0).astype(np.uint8)
            _write(small, cut, [cv2.IMWRITE_PNG_BILEVEL, 1])
            left, top, side = box
            scale = size / side
            to_crop = np.array([[scale, 0, -left * scale], [0, scale, -top * scale], [0, 0, 1]])
            camera_parts = (to_crop @ clip.K[view], clip.R[view], clip.t[view], np.zeros(5))
            views[number].append(View(image, small, *camera_parts))
            shift[number].append((left, top, scale))
    tables, used, dropped = [], set(), Counter()
    for split, chosen in clip.frames.items():
        bad = _bad(faults, protocol.splits[split])
        kept = [n for n in chosen if n not in bad]
        dropped.update(bad[n] for n in chosen if n in bad)
        used.update(kept)
        if kept:
            moments = [_moment(clip, n, views[n], shift[n]) for n in kept]
            tables.append(tabulate(out, split, moments, clip.cameras))
    for view in (view for number in numbers if number not in used for view in views[number]):
        view.image.unlink()
        view.mask.unlink()
    table = join(tables) if tables else {}
    with whole(_part(out, clip)) as (part,), part.open("wb") as file:
        np.savez(file, dropped=np.array(json.dumps(dropped)), **table)


def _frames(
    clip: Clip, view: int, numbers: Sequence[int]
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray | None]]:
    """Number, picture, mask and occluder of each frame in one camera, free of distortion."""
    sources = [clip.pictures[view], clip.masks[view]]
    if clip.occluders is not None:
        sources.append(clip.occluders[view])
    lens, maps = clip.distortion[view], None
    for number, *found in zip(numbers, *(s.read(numbers) for s in sources), strict=True):
        for source, other in zip(sources, found, strict=True):
            if other.shape[:2] != found[0].shape[:2]:
                (h, w), (hi, wi) = other.shape[:2], found[0].shape[:2]
                raise ValueError(
                    f"{clip.name} camera {clip.cameras[view]} frame {number}: "
                    f"{source.file(number)} is {w}x{h}, "
                    f"its picture {wi}x{hi}: masks of another release, or cut off"
                )
        if np.any(lens):
            if maps is None:
                maps = lens_maps(clip.K[view], lens, found[0].shape[1::-1])
            found = [cv2.remap(one, *maps, cv2.INTER_LINEAR) for one in found]
        yield number, found[0], found[1], found[2] if len(found) > 2 else None


def _faults(mask: np.ndarray, occluder: np.ndarray | None, keep: Keep) -> list[str]:
    """What speaks against a view, told from its mask and from known objects alone."""
    inside = mask > 127
    share = inside.mean()
    if share == 0:
        return [EMPTY]
    left, top, width, height = cv2.boundingRect(inside.astype(np.uint8))
    rim = inside[0].sum() + inside[-1].sum() + inside[:, 0].sum() + inside[:, -1].sum()
    faults = {
        "small mask": share < keep.smallest,
        "large mask": share > keep.largest,
        "cut off at the border": rim > keep.border * 2 * (width + height),
    }
    if occluder is not None:
        box = occluder[top : top + height, left : left + width]
        faults[OCCLUDED] = (box > 127).mean() > keep.occluded
    return [fault for fault, found in faults.items() if found]


def _bad(faults: dict[int, list[str]], split: Split) -> dict[int, str]:
    """Frames that a split leaves out, and why: an empty mask before all, then the first fault."""
    bad = {}
    for number, found in faults.items():
        dropped = [why for why in sorted(found, key=lambda why: why != EMPTY)
                   if why == EMPTY or split.drops(why)]  # fmt: skip
        if dropped:
            bad[number] = dropped[0]
    return bad


def _moment(clip: Clip, number: int, views: Sequence[View], shift: Sequence[tuple]) -> Moment:
    px = head = None
    if clip.joints_px is not None and clip.head_px is not None:
        left_top, scale = np.array([s[:2] for s in shift]), np.array([s[2] for s in shift])
        px = (clip.joints_px[number] - left_top[:, None]) * scale[:, None, None]
        head = clip.head_px[number] * scale
    return Moment(
        f"{clip.name}/{number:06d}",
        tuple(views),
        clip.joints_world[number],
        action=clip.action,
        joints_px=px,
        head_px=head,
    )


def _write(path: Path, picture: np.ndarray, options: list[int]) -> None:
    """Write one RGB picture or mask.

    Raises:
        OSError: With the path, if the disk is full.
    """
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    try:
        path.write_bytes(cv2.imencode(path.suffix, bgr, options)[1].tobytes())
    except OSError as error:
        raise OSError(
            f"cannot write {path} ({error}): make room and run the same command again; sequences "
            "that are finished are kept"
        ) from error
