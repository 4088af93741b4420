"""Sizes and errors of detected poses, from pixels alone."""

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from mask_sup.data.moments import View

__all__ = ["WITH_WORLD", "agreement", "distort_px", "scale_to_height"]

WITH_WORLD = 2  # views that show somebody, without which a moment has no pose in the world


def agreement(
    error_px: Float[np.ndarray, "*n v j"], person_px: Float[np.ndarray, "*n v"]
) -> Float[np.ndarray, "*n j"]:
    """How far triangulated joints are off, as views disagree: a share s of the person's size.

    With e, the reprojection error over the person's size in a view,

        s^2 = 9 / (2 v) * sum over the v views of e^2 / (2 v - 3)

    v views give 2 v numbers for 3 unknowns, so that the errors tell the variance of detections by
    2 v - 3; and v views from all around leave 9 / (2 v) of it to the joint. It says nothing of
    errors that all views share, such as left and right named the wrong way in all of them.

    Args:
        error_px: Distance of detected and reprojected joints, pixels; NaN in views that do not
            count. With fewer than two that do, NaN.
        person_px: Larger side of the person's mask in each view, pixels.

    >>> agreement(np.array([[3.0], [4.0]]), np.array([100.0, 100.0])).round(3)
    array([0.075])
    """
    views = np.isfinite(error_px).sum(-2)
    share = np.nansum(np.square(error_px / person_px[..., None]), -2)
    expected = 9 / np.maximum(2 * views, 1) * share / np.maximum(2 * views - 3, 1)
    return np.where(views >= WITH_WORLD, np.sqrt(expected), np.nan)


def distort_px(xy_px: Float[np.ndarray, "j 2"], view: "View") -> Float[np.ndarray, "j 2"]:
    """Pixels of an ideal lens -> pixels of the picture as it was taken (OpenCV's model)."""
    if not np.any(view.distortion):
        return xy_px
    rays = np.concatenate([xy_px, np.ones_like(xy_px[:, :1])], 1) @ np.linalg.inv(view.K).T
    return cv2.projectPoints(rays, np.zeros(3), np.zeros(3), view.K, view.distortion)[0][:, 0]


def scale_to_height(
    joints_crop: Float[np.ndarray, "*n j 3"], skeleton: Any, depth_range: float, height: float
) -> Float[np.ndarray, "*n j 3"]:
    """Root-relative single-view poses in mm under weak perspective, for a person of known height.

    A picture cannot know scale: the crop's scale is chosen so that trunk, head and legs have the
    summed length of a standing figure of this height (`Skeleton.heights`).

    Args:
        joints_crop: x, y in crop coordinates and z in [-1, 1].
        skeleton: Tree and heights.
        depth_range: Depth in mm that z spans.
        height: Stature in mm.

    Returns:
        x right, y down, z away from the camera, mm, relative to the root.
    """
    names, heights = skeleton.joints, skeleton.heights
    arms = {j for pair in skeleton.segments(["arms"]) for j in pair}
    bones = [(a, b) for a, b in skeleton.tree if b not in arms]
    length = height * sum(abs(heights[names[a]] - heights[names[b]]) for a, b in bones)
    pose = joints_crop - joints_crop[..., skeleton.root, None, :]
    a, b = np.array(bones).T
    across = np.square(pose[..., b, :2] - pose[..., a, :2]).sum(-1)
    along = np.square((pose[..., b, 2] - pose[..., a, 2]) * depth_range / 2)
    low, high = np.zeros(pose.shape[:-2]), np.full(pose.shape[:-2], 100.0 * height)
    for _ in range(60):  # bisection: the length grows with the scale
        middle = (low + high) / 2
        short = np.sqrt(np.square(middle)[..., None] * across + along).sum(-1) < length
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    xy = pose[..., :2] * high[..., None, None]
    return np.concatenate([xy, pose[..., 2:] * depth_range / 2], -1)
