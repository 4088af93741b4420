"""The eikonal equation inside a mask by repeated sweeps: what stands in for fast marching."""

import numpy as np
from jaxtyping import Bool, Float64
from scipy.ndimage import distance_transform_edt

__all__ = ["swept_distance"]

SETTLED = 1e-3  # pixels that a sweep changes at most when it is the last one


def swept_distance(
    inside: Bool[np.ndarray, "h w"], row: int, col: int
) -> Float64[np.ndarray, "h w"]:
    """Distance inside the mask from one of its pixels, in pixels; inf where none leads.

    In the largest disc about the pixel that is inside it is the Euclidean one. Beyond, each sweep
    solves fast marching's upwind scheme of first order at all pixels at once.
    """
    padded = np.pad(inside, 1)
    rows, cols = np.indices(padded.shape)
    straight = np.hypot(rows - row - 1, cols - col - 1)
    free = distance_transform_edt(padded)[row + 1, col + 1]
    distance = np.where(padded & (straight < free), straight, np.inf)
    here, change = distance[1:-1, 1:-1], np.inf
    with np.errstate(invalid="ignore"):  # inf - inf, where no neighbour is reached
        while change > SETTLED:
            one = np.minimum(distance[:-2, 1:-1], distance[2:, 1:-1])
            other = np.minimum(distance[1:-1, :-2], distance[1:-1, 2:])
            apart = np.abs(one - other)
            both = (one + other + np.sqrt(2.0 - apart**2)) / 2
            found = np.where(apart < 1.0, both, np.minimum(one, other) + 1.0)
            found = np.where(inside, np.minimum(here, found), np.inf)
            change = np.nanmax(here - found, initial=0.0)
            here[:] = found
    return here
