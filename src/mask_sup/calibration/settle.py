"""Cameras turned and moved until what they see agrees: silhouettes, and joints if given."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from mask_sup.calibration.silhouettes import REACH, Silhouettes, centre_of_rays, gaps, ray_gaps

__all__ = ["reprojection", "settle"]

STEP = 0.05  # degrees, percent: of the numerical derivative, about half a pixel
PRIOR = 2.0  # percent of gap that a camera's turn of a degree, or move of a percent, is worth
SOFT = 0.2  # percent; larger gaps, as of bad masks, count less and less
JOINTS = 0.3  # weight of a joint's error of a percent of the person against a ray's gap of one
ROUNDS = 12


def settle(
    scene: Silhouettes,
    cameras: Sequence[int],
    joints_px: Float[np.ndarray, "m v j 2"] | None = None,
) -> Silhouettes:
    """The same masks with some cameras turned and moved so that the gaps close; K stays.

    Bundle adjustment with rays through masks for points. A weak prior holds every camera where it
    is said to be, and with it the scale and the place of the world, which no silhouette tells.

    Args:
        scene: Cameras that are about right.
        cameras: Which of them may move.
        joints_px: Joints that a detector found in every view, pixels of the masks without lens
            distortion, NaN where it found none; None: silhouettes alone.
    """
    views = list(range(len(scene.K)))
    centre, distance = centre_of_rays(scene)
    ball = centre, REACH * distance
    size = np.array([[mask.size_px for mask in moment] for moment in scene.moments]).mean(0)
    if joints_px is not None:
        by_view = np.moveaxis(joints_px, 1, 0)
        seen = np.ascontiguousarray(by_view[:, ~np.isnan(joints_px).any((1, 3))])  # by all views

    def moved(x: np.ndarray) -> Silhouettes:
        R, t = scene.R.copy(), scene.t.copy()
        for view, step in zip(cameras, x.reshape(-1, 6), strict=True):
            turn = Rotation.from_rotvec(np.radians(step[:3])).as_matrix()
            R[view], t[view] = turn @ R[view], turn @ t[view] + 0.01 * distance * step[3:]
        return replace(scene, R=R, t=t)

    def residuals(x: np.ndarray, found: np.ndarray | None = None) -> np.ndarray:
        here = moved(x)
        found = gaps(here, ball) if found is None else found
        parts = [ray_gaps(found, views).ravel(), PRIOR * x]
        if joints_px is not None:
            # Triangulated anew, the points are eliminated, not optimised: variable projection.
            error = reprojection(here.K, here.R, here.t, seen) / size[:, None, None]
            parts.append(JOINTS * 100.0 * error.ravel())
        return np.concatenate(parts)

    def slopes(x: np.ndarray) -> np.ndarray:
        known = gaps(moved(x), ball)
        start = residuals(x, known)
        columns = []
        for i, step in enumerate(STEP * np.eye(len(x))):
            found = gaps(moved(x + step), ball, known, moved=cameras[i // 6])
            columns.append((residuals(x + step, found) - start) / STEP)
        return np.stack(columns, 1)

    start = np.zeros(6 * len(cameras))
    options = {"loss": "soft_l1", "f_scale": SOFT, "max_nfev": ROUNDS, "xtol": 1e-3}
    return moved(least_squares(residuals, start, slopes, **options).x)


def reprojection(
    K: Float[np.ndarray, "v 3 3"],
    R: Float[np.ndarray, "v 3 3"],
    t: Float[np.ndarray, "v 3"],
    xy_px: Float[np.ndarray, "v p 2"],
) -> Float[np.ndarray, "v p 2"]:
    """From where each point is seen to where its triangulation is, pixels without distortion."""
    import torch

    from mask_sup.geometry.batch import Camera
    from mask_sup.geometry.camera import crop_from_world
    from mask_sup.geometry.triangulate import triangulate

    camera, xy = Camera(*map(torch.from_numpy, (K, R, t))), torch.from_numpy(xy_px)
    return (crop_from_world(triangulate(xy, camera)[None], camera) - xy).numpy()
