"""What moves in the pictures lies in the masks; else they lack a part, or are another camera's.

Two pictures of a camera that stands still differ where somebody was or is. Those pixels are
compared with the masks of both moments, and with the masks of the other cameras.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from mask_sup.masks.extractor import components, disc

__all__ = ["MOTION", "Motion", "motion_of", "moving", "partial", "swapped"]

MOTION: Mapping[str, str] = {
    "partial": (
        "what moves in the pictures beside it is in no mask: part of the person is missing. Make "
        "the masks by extractor=mediapipe, or lower extractor.threshold"
    ),
    "swapped": (
        "what moves in the pictures lies in the masks of another camera: exchange the folders of "
        "the masks, or of the footage"
    ),
}
MOVES = 12.0  # Lab difference of two pictures from which on something has moved
BLUR = 1.0  # pixels: noise is averaged over
REACH = 3  # pixels about a mask that count as in it
ENOUGH = 200  # moving pixels of a camera, all pairs together, that tell anything
LACKS = 0.15  # share of what moves in or at the masks that is in none of them
HELD = 0.5  # share of what moves that is at least in the masks of the right camera


class Motion(NamedTuple):
    """Pairs of moments (n) of a camera."""

    moves: Bool[np.ndarray, "n h w"]
    masks: Bool[np.ndarray, "n h w"]
    """What is in the mask of either moment, or close to it; nothing where one is empty."""


def moving(
    one: UInt8[np.ndarray, "h w 3"], other: UInt8[np.ndarray, "h w 3"]
) -> Bool[np.ndarray, "h w"]:
    """Where two pictures (Lab) differ."""
    smooth = (
        cv2.GaussianBlur(picture.astype(np.float32), (0, 0), BLUR) for picture in (one, other)
    )
    return np.linalg.norm(np.subtract(*smooth), axis=-1) > MOVES


def motion_of(
    pictures: Sequence[UInt8[np.ndarray, "h w 3"]], masks: Sequence[Bool[np.ndarray, "h w"]]
) -> Motion:
    """What moves from each picture (Lab) to the next, and both masks."""
    moves = [moving(one, other) for one, other in pairwise(pictures)]
    both = [
        ((one | other) & one.any() & other.any()).astype(np.uint8) for one, other in pairwise(masks)
    ]
    return Motion(np.stack(moves), np.stack([cv2.dilate(mask, disc(REACH)) > 0 for mask in both]))


def partial(motion: Motion) -> bool:
    """Whether much of what moves in or at the masks is in none of them."""
    inside = beside = 0
    for moves, mask in zip(*motion, strict=True):
        labels, _, _ = components(moves & ~mask)
        touching = np.unique(labels[cv2.dilate(mask.astype(np.uint8), disc(REACH)) > 0])
        inside += int((moves & mask).sum())
        beside += int((np.isin(labels, touching) & (labels > 0)).sum())
    return inside + beside > ENOUGH and beside > LACKS * (inside + beside)


def swapped(cameras: Mapping[str, Motion]) -> dict[str, str]:
    """The cameras whose pictures move in the masks of another one -> that one.

    Pairs in which a camera's own masks are empty tell nothing of whose these are.
    """
    found = {}
    for name, own in cameras.items():
        moves = own.moves & own.masks.any((1, 2), keepdims=True)
        total = moves.sum()
        if total < ENOUGH:
            continue
        held = {
            other: float((moves & motion.masks).sum() / total)
            for other, motion in cameras.items()
            if motion.masks.shape == own.moves.shape
        }
        best = max(held, key=held.__getitem__)
        if best != name and held[best] > max(HELD, (1 + held[name]) / 2):
            found[name] = best
    return found
