"""What every way to a foreground has in common, and the morphology they share."""

from collections.abc import Callable

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from mask_sup.masks.footage import Footage

__all__ = ["Choose", "Extractor", "clean", "components", "disc", "fill_holes"]

Choose = Callable[[np.ndarray], np.ndarray]
"""A foreground (bool, h w) -> the person in it."""


class Extractor:
    """A way to a foreground; one object serves one camera after another.

    For each camera: `begin`, then `watch` for every frame, then `settle`, then `foreground` for
    every frame, or `skip` where its mask was made before; people are followed by `everyone` before
    that. What is found in a frame must not depend
    on which of those before were skipped, so that an extraction goes on after a kill as if nothing
    had happened.
    """

    final = False
    """True where masks come as they shall be written: whole size, the person chosen already."""
    watches = True
    """Whether `watch` and `settle` have to be called."""
    plate: UInt8[np.ndarray, "h w 3"] | None = None
    """The RGB picture of the empty scene, where there is one."""

    def begin(self, footage: Footage) -> None:
        """Start with another camera."""

    def watch(self, frame: UInt8[np.ndarray, "h w 3"]) -> None:
        """See a frame (RGB) of the first pass."""

    def settle(self, samples: UInt8[np.ndarray, "n h w 3"]) -> None:
        """End the first pass; `samples` are frames spread evenly over the footage."""

    def foreground(
        self, frame: UInt8[np.ndarray, "h w 3"], index: int, choose: Choose
    ) -> Bool[np.ndarray, "h w"]:
        """Everything in the frame (RGB, number `index`) that may be the person.

        `choose` takes the person out of a first guess; an extractor that needs none leaves it.
        """
        raise NotImplementedError

    def everyone(self, frame: UInt8[np.ndarray, "h w 3"], index: int) -> Bool[np.ndarray, "h w"]:
        """All people in a frame, roughly: whom to follow is decided on that."""
        return self.foreground(frame, index, lambda guess: guess)

    def skip(self, frame: UInt8[np.ndarray, "h w 3"], index: int) -> None:
        """Pass over a frame; only what has a memory of frames needs to look at it."""

    def possible(self, frame: UInt8[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "h w"]:
        """Where the person may be at all; the rest is the scene for certain."""
        return np.ones(frame.shape[:2], bool)


def disc(radius: int) -> np.ndarray:
    """A round structuring element."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)


def clean(
    mask: Bool[np.ndarray, "h w"],
    closing: float,
    allowed: Bool[np.ndarray, "h w"] | None = None,
    largest: int | None = None,
) -> Bool[np.ndarray, "h w"]:
    """The mask without specks, cracks and small holes.

    Args:
        mask: What differs from the scene.
        closing: Radius below which cracks are closed, a share of the longer side.
        allowed: Where larger holes are filled, too; None: nowhere.
        largest: Holes below so many pixels are filled everywhere; None: below that radius squared.
    """
    radius = max(1, round(closing * max(mask.shape)))
    opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, disc(max(1, radius // 2)))
    closed = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, disc(radius)) > 0
    allowed = np.zeros_like(closed) if allowed is None else allowed
    return fill_holes(closed, allowed, radius**2 if largest is None else largest)


def components(mask: Bool[np.ndarray, "h w"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Connected parts, largest first: labels (h, w) with 0 outside, areas (n), centroids (n, 2)."""
    count, labels, stats, centroids = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    order = np.argsort(-areas, kind="stable")
    rank = np.zeros(count, np.int32)
    rank[order + 1] = np.arange(1, count)
    return rank[labels], areas[order], centroids[1:][order]


def fill_holes(
    mask: Bool[np.ndarray, "h w"], allowed: Bool[np.ndarray, "h w"], largest: int
) -> Bool[np.ndarray, "h w"]:
    """The mask with the holes filled that lie mostly in `allowed`, or are below `largest` pixels.

    The gap between an arm and the hip is a hole too, and stays.
    """
    outside, areas, _ = components(~mask)
    border = np.concatenate([outside[0], outside[-1], outside[:, 0], outside[:, -1]])
    inside = ~np.isin(np.arange(len(areas) + 1), border)
    inside[0] = False
    share = np.bincount(outside[allowed], minlength=len(areas) + 1)[1:] / np.maximum(areas, 1)
    inside[1:] &= (share > 0.5) | (areas < largest)
    return mask | inside[outside]
