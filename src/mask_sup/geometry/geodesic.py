"""G: geodesic weights by fast marching, large where joints are hard to reach (sec. 3.2, Eq. 9)."""

import functools
import warnings

import cv2
import numpy as np
from jaxtyping import Bool, Float32
from scipy.ndimage import distance_transform_edt

from mask_sup.geometry.sweep import swept_distance

__all__ = ["INSTEAD", "GeodesicWeight", "geodesic_distance", "has_fast_marching"]

INSTEAD = "geodesic weights by sweeps, slower and nearly those of fast marching"
"""What is told of weights without scikit-fmm."""


@functools.cache
def has_fast_marching() -> bool:
    """Whether scikit-fmm is installed: it is built from source, which needs a C++ compiler."""
    try:
        import skfmm  # noqa: F401
    except ImportError:
        return False
    return True


def geodesic_distance(mask: Bool[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Distance inside the mask from its centroid, pixels, by fast marching; 0 outside.

    Without scikit-fmm by sweeps of the same scheme (`sweep.py`).

    A centroid outside the mask (a bent or hollow figure) moves to the nearest pixel of the largest
    piece of the mask. Other pieces cannot be reached and get the largest distance found.

    Raises:
        ValueError: If the mask has no foreground.
    """
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    if not width:
        raise ValueError(
            "empty mask: geodesic weights need a foreground; drop the moment or fix the mask"
        )
    box = np.s_[top : top + height, left : left + width]
    distance = np.zeros(mask.shape, np.float32)
    distance[box] = _within(mask[box])  # nothing happens outside, and most of a crop is outside
    return distance


def _within(mask: Bool[np.ndarray, "h w"]) -> np.ndarray:
    """`geodesic_distance` of a mask that is not empty."""
    count, pieces, stats, centres = cv2.connectedComponentsWithStats(
        mask.view(np.uint8), connectivity=4
    )
    areas = stats[1:, cv2.CC_STAT_AREA]  # the first one is the background
    largest = pieces == areas.argmax() + 1
    distance = np.zeros(mask.shape)
    if areas.max() > 1:  # fast marching needs a neighbour to march to
        x, y = areas @ centres[1:] / areas.sum()
        rows, cols = np.nonzero(largest)
        nearest = np.argmin((rows - y) ** 2 + (cols - x) ** 2)
        solve = _marched if has_fast_marching() else swept_distance
        found = solve(largest, int(rows[nearest]), int(cols[nearest]))
        distance = np.where(largest, found, 0.0).clip(0.0)
    if count > 2:
        distance[mask & ~largest] = distance.max()
    return distance


def _marched(inside: np.ndarray, row: int, col: int) -> np.ndarray:
    """`swept_distance` by fast marching; of pixels outside, anything."""
    import skfmm

    front = np.ones(inside.shape)
    front[row, col] = -1.0
    return np.ma.getdata(skfmm.distance(np.ma.masked_array(front, ~inside)))


class GeodesicWeight:
    """Weights G of Eq. (9) for one mask.

    On the mask exp(gain * d / max d), with d the geodesic distance from the centroid: the ends of
    the limbs count most. Outside, the weight of the nearest mask pixel plus
    background_gain * d / max d, with d the distance from the mask: continuous at the border. The
    whole map is divided by its mean. The background's fast-marching distance from a mask is the
    Euclidean one, so the exact Euclidean transform stands in for it.

    Args:
        gain: Exponent at the farthest foreground pixel (2: the reading of the paper's figure 3).
        background_gain: What is added at the farthest background pixel.
    """

    def __init__(self, gain: float, background_gain: float):
        self.gain, self.background_gain = gain, background_gain
        if not has_fast_marching():
            warnings.warn(f"scikit-fmm is not installed: {INSTEAD}", stacklevel=2)

    def __call__(self, mask: Bool[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
        """The weight map of a mask, mean 1.

        Raises:
            ValueError: If the mask has no foreground.
        """
        inside = geodesic_distance(mask)
        weight = np.exp(np.float32(self.gain / max(float(inside.max()), 1.0)) * inside)
        row, col = distance_transform_edt(~mask, return_distances=False, return_indices=True)
        rows, cols = (np.arange(side, dtype=row.dtype) for side in mask.shape)
        down, right = row - rows[:, None], col - cols
        outside = np.sqrt(np.float32(down * down + right * right))
        rise = np.float32(self.background_gain / max(float(outside.max()), 1.0)) * outside
        weight = weight.take(row * mask.shape[1] + col) + rise
        return weight / weight.mean()
