"""What a reader finds in a release, and how it complains: the same for all data sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mask_sup.prepare.frames import Frames, Pictures

__all__ = ["Clip", "Release", "common_count", "names_in", "refuse_holes", "refuse_missing"]

UNEVEN = 10  # frames by which pictures, masks and labels of one sequence may differ in number


class Clip(NamedTuple):
    """One sequence of a release, in cameras that run together. Labels are for metrics alone."""

    name: str  # subject/sequence
    action: str
    frames: Mapping[str, Sequence[int]]  # numbers of the frames of each split
    cameras: tuple[str, ...]
    K: np.ndarray  # (v, 3, 3); NaN where uncalibrated
    R: np.ndarray  # (v, 3, 3)
    t: np.ndarray  # (v, 3) mm
    distortion: np.ndarray  # (v, 5)
    pictures: tuple[Frames, ...]
    masks: tuple[Frames, ...]
    joints_world: np.ndarray  # (count, j, 3) mm of every frame, NaN where unknown
    occluders: tuple[Frames, ...] | None = None  # known objects in front of the person
    joints_px: np.ndarray | None = None  # (count, v, j, 2) labels in pixels of the pictures
    head_px: np.ndarray | None = None  # (count, v)


class Release(NamedTuple):
    """The sequences that a protocol asks for, and what is to be told about them."""

    clips: list[Clip]
    layout: str  # which of the known ones it is
    masks: str  # where they come from
    skipped: dict[str, str]  # sequence: why
    notes: list[str]


def common_count(name: str, labels: int, sources: Sequence[Frames], notes: list[str]) -> int:
    """How many frames pictures, masks and labels of a sequence have in common.

    Args:
        name: Of the sequence.
        labels: Number of labelled frames.
        sources: Pictures and masks of all cameras.
        notes: Gets a line where some frames at the end are left out.

    Raises:
        ValueError: If they differ by more than a few: a file is cut off.
    """
    counts = [source.count() for source in sources]
    known = [labels, *(count for count in counts if count is not None)]
    most, least = max(known), min(known)
    if most - least > UNEVEN:
        table = "\n  ".join(f"{n} in {s.file()}" for s, n in zip(sources, counts, strict=True))
        raise ValueError(
            f"{name} has {labels} labelled frames, but\n  {table}\na file is cut off: copy it "
            "again from the release"
        )
    if most > least:
        notes.append(
            f"{name}: the last {most - least} of {most} frames lack a picture, mask or "
            "label and are left out"
        )
    return least


def refuse_missing(missing: Sequence[Path], root: Path) -> None:
    """Raise FileNotFoundError with the first of all missing files, if there are any."""
    if missing:
        some = "\n  ".join(str(path) for path in missing[:10])
        raise FileNotFoundError(
            f"{len(missing)} files are missing in {root}; the first are\n  {some}\n"
            "unpack all archives of what the protocol asks for, or choose one that asks for less"
        )


def refuse_holes(name: str, source: Pictures, frames: Mapping[str, Sequence[int]]) -> None:
    """Raise FileNotFoundError if frames that are asked for have no file."""
    wanted = {number for chosen in frames.values() for number in chosen}
    if lost := sorted(wanted - set(source.numbers or ())):
        folder = source.paths[0].parent if source.paths else "a folder without any"
        raise FileNotFoundError(
            f"{name} lacks {len(lost)} of {len(wanted)} frames in {folder}; the first is number "
            f"{lost[0]}, counted from 0: complete the folder"
        )


def names_in(root: Path) -> list[str]:
    """The first names in a folder, for messages."""
    return sorted(path.name for path in root.iterdir())[:10] if root.is_dir() else []
