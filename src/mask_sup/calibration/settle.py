"""Cameras turned and moved until what they see agrees: silhouettes, and joints if given."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from mask_sup.calibration.silhouettes import REACH, Silhouettes, centre_of_rays, gaps, ray_gaps

__all__ = ["settle"]

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
    size = np.array([[seen.size_px for seen in moment] for moment in scene.moments]).mean(0)

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
            parts.append(JOINTS * _reprojection(here, joints_px, size))
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


def _reprojection(
    scene: Silhouettes, joints_px: Float[np.ndarray, "m v j 2"], size: Float[np.ndarray, "v"]
) -> np.ndarray:
    """How far joints fall from where their triangulation is seen, percent of the person's size.

    The triangulated points are eliminated, not optimised: variable projection.
    """
    known = ~np.isnan(joints_px).any((1, 3))  # seen by all views
    xy = np.moveaxis(joints_px, 1, 2)[known]  # (p, v, 2)
    rays = np.concatenate([xy, np.ones_like(xy[..., :1])], -1)
    rays = np.einsum("vij,pvj->pvi", np.linalg.inv(scene.K), rays)
    # X on the line of sight: the two rows x (r3 X + t3) = r1 X + t1, and the same for y.
    A = rays[..., :2, None] * scene.R[:, None, 2] - scene.R[:, :2]
    b = scene.t[:, :2] - rays[..., :2] * scene.t[:, None, 2]
    A, b = A.reshape(len(xy), -1, 3), b.reshape(len(xy), -1, 1)
    points = np.linalg.solve(A.swapaxes(1, 2) @ A, A.swapaxes(1, 2) @ b)[..., 0]
    in_camera = np.einsum("vij,pj->pvi", scene.R, points) + scene.t
    pixels = np.einsum("vij,pvj->pvi", scene.K, in_camera)
    error = pixels[..., :2] / pixels[..., 2:] - xy
    return (100.0 * error / size[:, None]).ravel()
