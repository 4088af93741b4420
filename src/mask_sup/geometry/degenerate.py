"""Masks that show no person: white, inverted, empty, or frozen while other cameras see movement.

The quality gate, the checks of a calibration and the synchronisation ask here, and nowhere else.
"""

import zlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool

__all__ = ["DEGENERATE", "Sketch", "degenerate", "frozen", "sketch"]

DEGENERATE = {
    "empty": "nobody is in it",
    "white": "it covers the whole picture",
    "inverted": "it covers the picture all around: person and background are swapped, or it leaks",
    "frozen": "it stays the same while the masks of another camera change",
}
WHITE = 0.999  # share of the picture that a white mask covers
MOST = 0.5  # share of the picture that no person covers who leaves its border free
AROUND = 0.75  # share of the picture's border that an inverted mask covers
SKETCHED = 96  # pixels of the longer side in which masks of two moments are compared
MOVED = 0.1  # share of two masks together that they do not share, where a person has moved


def degenerate(mask: Bool[np.ndarray, "h w"]) -> str | None:
    """The word of `DEGENERATE` for a mask that is looked at alone; None for that of a person."""
    share = float(mask.mean())
    if share == 0.0:
        return "empty"
    if share >= WHITE:
        return "white"
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return "inverted" if share > MOST and border.mean() > AROUND else None


class Sketch(NamedTuple):
    """What is kept of a mask to compare it with others."""

    check: int  # equal for equal masks
    small: Bool[np.ndarray, "h w"]


def sketch(mask: Bool[np.ndarray, "h w"]) -> Sketch:
    """The sketch of a mask."""
    scale = min(1.0, SKETCHED / max(mask.shape))
    size = [max(1, round(side * scale)) for side in mask.shape[1::-1]]
    grey = cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
    return Sketch(zlib.crc32(np.packbits(mask)), grey > 127)


def frozen(cameras: Sequence[Sequence[Sketch | None]]) -> list[set[int]]:
    """The moments in which each camera's mask stands still although another camera's moves.

    Args:
        cameras: Sketches of each camera at the same moments, in order; None where there is none, or
            one of no person.

    Returns:
        Places of the moments per camera.
    """
    found: list[set[int]] = []
    for view, own in enumerate(cameras):
        others = [other for k, other in enumerate(cameras) if k != view]
        runs = [run for run in _runs(own) if any(_moves(other, run) for other in others)]
        found.append({place for run in runs for place in run})
    return found


def _runs(own: Sequence[Sketch | None]) -> Iterator[list[int]]:
    """Places of two equal masks or more in a row."""
    for check, places in groupby(range(len(own)), lambda k: own[k] and own[k].check):
        run = list(places)
        if check is not None and len(run) > 1:
            yield run


def _moves(other: Sequence[Sketch | None], run: Sequence[int]) -> bool:
    """Whether another camera's mask ever differs from that at the start of a run."""
    seen = [other[k].small for k in run if k < len(other) and other[k] is not None]
    return any(
        a.shape == b.shape and (a ^ b).sum() > MOVED * (a | b).sum()
        for a, b in ((seen[0], later) for later in seen[1:])
    )
