"""Pictures and masks as an ideal lens would have taken them, made where they are needed alone."""

from typing import NamedTuple

import cv2
import numpy as np

from mask_sup.files.pictures import Picture

__all__ = [
    "Part",
    "crop_square",
    "lens_maps",
    "mask_box",
    "outside",
    "straight_box",
    "straight_crop",
    "straight_mask",
    "window",
]

NEXT_TO_NOTHING = 1.25  # factor of shrinking from which on colours are averaged
SNAP = 0.01  # of its side by which a crop may grow or shrink to need no resizing
FINE = (
    2  # pixels that are read, along a side, for each of a crop that shrinks, if there are as many
)
EDGE = 17  # points on each side of a rectangle that is followed through a lens
MARGIN = 2  # pixels that its bent sides may bulge between them
FOUND, TRIES = 0.1, 100  # pixels to which a point comes back to where it was taken from, and steps


class Part(NamedTuple):
    """A rectangle of a mask; beyond it there is nobody."""

    pixels: np.ndarray  # (h, w) uint8, 255 = person
    left: int = 0  # where it lies in the whole mask, pixels
    top: int = 0

    def box(self, padding: float, size: int = 0) -> tuple[float, float, float]:
        """`mask_box` of the whole mask."""
        left, top, side = mask_box(self.pixels, padding, size)
        return left + self.left, top + self.top, side

    def crop(self, box: tuple[float, float, float], size: int) -> np.ndarray:
        """`crop_square` of the whole mask."""
        left, top, side = box
        return crop_square(self.pixels, (left - self.left, top - self.top, side), size)


def mask_box(mask: np.ndarray, padding: float, size: int = 0) -> tuple[float, float, float]:
    """The square crop around a mask: left, top, side in whole pixels.

    The box comes from the mask alone, never from a label. It may reach beyond the picture. A side
    within a hundredth of `size`, the pixels that it is wanted in, becomes `size`: the pictures of a
    prepared store are large enough for their crops to need no resizing.

    >>> mask = np.zeros((50, 50), np.uint8); mask[10:30, 20:25] = 255
    >>> mask_box(mask, 1.2)
    (10.0, 8.0, 24.0)
    """
    left, top, width, height = cv2.boundingRect((mask > 127).astype(np.uint8))
    side = max(2.0, np.ceil(max(width, height) * padding))
    if abs(side - size) <= SNAP * size:
        side = float(size)
    return (
        float(np.floor((2 * left + width - side) / 2)),
        float(np.floor((2 * top + height - side) / 2)),
        float(side),
    )


def crop_square(
    picture: np.ndarray,
    box: tuple[float, float, float],
    size: int,
    into: np.ndarray | None = None,
) -> np.ndarray:
    """The picture inside `box`, black beyond its border, resized to size x size.

    Averages over areas when shrinking, so that thin limbs are not lost; colours that shrink by next
    to nothing are interpolated, which is quicker and looks the same. `into` is where to put it.
    """
    left, top, side = (int(value) for value in box)
    h, w = picture.shape[:2]
    inside = picture[max(0, top) : min(h, top + side), max(0, left) : min(w, left + side)]
    beyond = (
        min(side, max(0, -top)),
        min(side, max(0, top + side - h)),
        min(side, max(0, -left)),
        min(side, max(0, left + side - w)),
    )
    if any(beyond):
        inside = cv2.copyMakeBorder(inside, *beyond, cv2.BORDER_CONSTANT, value=0)
    shrinks = side >= (NEXT_TO_NOTHING if picture.ndim == 3 else 1.0) * size
    smoothly = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(inside, (size, size), dst=into, interpolation=smoothly)


def straight_mask(mask: np.ndarray, K: np.ndarray, distortion: np.ndarray) -> Part:
    """A mask as an ideal lens with the same K would have seen it, as far as it shows anybody.

    Args:
        mask: (h, w) uint8 as it was taken.
        K: (3, 3) camera -> continuous pixels.
        distortion: (5,) k1 k2 p1 p2 k3.
    """
    if not np.any(distortion):
        return Part(mask)
    left, top, right, bottom = _reach(mask, K, distortion)
    if right <= left or bottom <= top:  # nobody, or nobody whom an ideal lens would have seen
        return Part(np.zeros_like(mask))
    shift = np.array([[1.0, 0.0, -left], [0.0, 1.0, -top], [0.0, 0.0, 1.0]])
    maps = lens_maps(K, distortion, (right - left, bottom - top), shift @ K)
    return Part(cv2.remap(mask, *maps, cv2.INTER_LINEAR), left, top)


def straight_box(
    box: tuple[float, float, float, float], K: np.ndarray, distortion: np.ndarray
) -> tuple[float, float, float, float] | None:
    """The upright rectangle around what an ideal lens with the same K would see of a box.

    Args:
        box: Left, top, width and height in continuous pixels of the picture as it was taken.
        K: (3, 3) camera -> continuous pixels; not looked at without a distortion.
        distortion: (5,) k1 k2 p1 p2 k3.

    Returns:
        The same of the ideal lens's picture; None where the lens's model cannot be undone.
    """
    if not np.any(distortion):
        return box
    found = _straightened(_border(*box), K, distortion)
    if found is None:
        return None
    low, high = found.min(0), found.max(0)
    return (*low.tolist(), *(high - low).tolist())


def straight_crop(
    picture: Picture,
    K: np.ndarray,
    distortion: np.ndarray,
    box: tuple[float, float, float],
    size: int,
    into: np.ndarray | None = None,
) -> np.ndarray:
    """`crop_square` of a picture as an ideal lens with the same K would have taken it.

    No pixel outside of the box is made, and where it shrinks by much, the picture is not decoded
    at its full size; what shrinks is averaged over areas after that.

    Args:
        picture: As it was taken.
        K: (3, 3) camera -> continuous pixels.
        distortion: (5,) k1 k2 p1 p2 k3.
        box: Left, top and side in continuous pixels of the ideal lens.
        size: Side, pixels.
        into: Where to put it.
    """
    left, top, side = box
    pixels, step = picture.pixels(side / (FINE * size))
    bent = bool(np.any(distortion))
    if step == 1 and not bent:
        return crop_square(pixels, box, size, into)
    count = int(np.ceil(side / step))
    K = K if bent else np.eye(3)  # any will do
    taken = np.diag([1 / step, 1 / step, 1.0]) @ K
    maps = lens_maps(taken, distortion, (count, count), window(box, count) @ K)
    smoothly = cv2.INTER_LINEAR if step == 1 else cv2.INTER_CUBIC  # coarse ones stay sharp
    crop = cv2.remap(pixels, *maps, smoothly)
    width, height = picture.size
    crop[_off(top, side, count, height)] = 0
    crop[:, _off(left, side, count, width)] = 0
    return crop_square(crop, (0, 0, count), size, into)


def lens_maps(
    K: np.ndarray,
    distortion: np.ndarray,
    size: tuple[int, int],
    straight: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """For cv2.remap: where each pixel of an ideal lens's picture lies in that of a real one.

    Args:
        K: (3, 3) camera -> continuous pixels of the real lens.
        distortion: (5,) k1 k2 p1 p2 k3.
        size: Width and height of the ideal lens's picture.
        straight: (3, 3) camera -> its continuous pixels; None: K.
    """
    centre = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])  # OpenCV: centres at integers
    straight = K if straight is None else straight
    return cv2.initUndistortRectifyMap(
        K - centre, distortion, None, straight - centre, size, cv2.CV_32FC1
    )


def outside(
    K: np.ndarray,
    distortion: np.ndarray,
    picture: tuple[int, int],
    box: tuple[float, float, float],
    size: int,
) -> np.ndarray:
    """Which pixels of a crop an ideal lens does not show of a picture, (size, size) bool.

    That is what both the picture as it was taken and one of its size with the ideal lens hold.

    Args:
        K: (3, 3) camera -> continuous pixels.
        distortion: (5,) k1 k2 p1 p2 k3.
        picture: Its width and height.
        box: Left, top and side of the crop in continuous pixels of the ideal lens.
        size: Side of the crop, its pixels.
    """
    (left, top, side), (width, height) = box, picture
    K = K if np.any(distortion) else np.eye(3)  # any will do
    x, y = lens_maps(K, distortion, (size, size), window(box, size) @ K)
    beyond = (x < -0.5) | (y < -0.5) | (x > width - 0.5) | (y > height - 0.5)
    return beyond | _off(left, side, size, width) | _off(top, side, size, height)[:, None]


def window(box: tuple[float, float, float], size: int) -> np.ndarray:
    """Pixels of a picture -> pixels of a square window of it that is resized, (3, 3).

    Args:
        box: Left, top and side of the window, continuous pixels of the picture.
        size: Its side once it is resized, pixels.
    """
    left, top, side = box
    scale = size / side
    return np.array([[scale, 0, -scale * left], [0, scale, -scale * top], [0, 0, 1.0]])


def _off(first: float, side: float, count: int, length: int) -> np.ndarray:
    """Which of so many pixels, that share `side` from `first` on, lie off a picture of a length."""
    centres = first + (np.arange(count) + 0.5) * side / count
    return (centres < 0) | (centres > length)


def _reach(mask: np.ndarray, K: np.ndarray, distortion: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what a mask covers without its lens, whole pixels.

    The border of its rectangle is followed through the lens. Where the lens's model cannot be
    undone, that is the whole picture.
    """
    h, w = mask.shape
    x, y, width, height = cv2.boundingRect(mask)
    if not width:
        return 0, 0, 0, 0
    edge = _border(x - 1, y - 1, width + 2, height + 2)  # what is interpolated has neighbours
    found = _straightened(edge, K, distortion)
    if found is None:
        return 0, 0, w, h
    low = np.floor(found.min(0) - MARGIN).clip(0, (w, h)).astype(int)
    high = np.ceil(found.max(0) + MARGIN).clip(0, (w, h)).astype(int)
    return (*low.tolist(), *high.tolist())


def _border(left: float, top: float, width: float, height: float) -> np.ndarray:
    """Points along the sides of a rectangle, (n, 2)."""
    along = np.linspace(-1, 1, EDGE)
    ends = np.ones(EDGE)
    sides = [(along, -ends), (along, ends), (-ends, along), (ends, along)]
    half = np.array([width, height]) / 2
    return np.concatenate([np.stack(side, 1) for side in sides]) * half + half + [left, top]


def _straightened(taken: np.ndarray, K: np.ndarray, distortion: np.ndarray) -> np.ndarray | None:
    """Pixels (n, 2) of the ideal lens from those of the real one; None: they are not found."""
    found, back = taken, np.linalg.inv(K)
    for _ in range(TRIES):
        rays = np.concatenate([found, np.ones_like(found[:, :1])], 1) @ back.T
        again = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), K, distortion)[0][:, 0]
        off = taken - again
        if not np.isfinite(off).all():
            return None
        if np.abs(off).max() < FOUND:
            return found
        found = found + off
    return None
