"""Triangulation of joints in pixels of pictures, on plain arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from mask_sup.calibration.camera import calibration_of, straightened
from mask_sup.geometry import triangulate as geometry
from mask_sup.geometry.batch import Camera
from mask_sup.inference.measures import WITH_WORLD

__all__ = ["triangulate"]


def triangulate(
    joints_px: Any, cameras: Any, confidence: Any = None
) -> Float[np.ndarray, "*n j 3"]:
    """World points in mm whose projections are nearest to joints seen in several views.

    Nearest in the least-squares sense of Eq. 10 (the direct linear transform on normalised rays).

    Args:
        joints_px: (*n, v, j, 2) pixels of the pictures as they were taken, views in the order of
            the cameras; or camera's name -> (*n, j, 2). NaN where a view does not see a joint.
        cameras: Name -> `mask_sup.Camera`, a list of them, or the path of a calibration.
        confidence: (*n, v, j) weights, at least 0; None: all count the same.

    Returns:
        NaN for joints that fewer than two views see.

    Raises:
        ValueError: If shapes or names do not go together, or there are fewer than two cameras.
    """
    rig = calibration_of(cameras)
    if isinstance(joints_px, Mapping):
        if set(joints_px) != set(rig.names):
            raise ValueError(
                f"joints of {list(joints_px)} but cameras {list(rig.names)}: give the same names"
            )
        joints_px = np.stack([np.asarray(joints_px[name], float) for name in rig.names], -3)
    px = np.array(joints_px, float)
    if px.ndim < 3 or px.shape[-3] != len(rig.names) or px.shape[-1] != 2:
        raise ValueError(
            f"expected joints of shape (*n, {len(rig.names)} views, joints, 2) for cameras "
            f"{list(rig.names)}, got {px.shape}"
        )
    for view, (K, distortion) in enumerate(zip(rig.K, rig.distortion, strict=True)):
        px[..., view, :, :] = straightened(px[..., view, :, :], K, distortion)
    seen = np.all(np.isfinite(px), axis=-1)
    weight = np.ones(seen.shape) if confidence is None else np.array(confidence, float)
    if weight.shape != seen.shape or not (np.nan_to_num(weight) >= 0).all():
        raise ValueError(f"expected a confidence of at least 0 for each of {seen.shape} joints")
    weight = np.where(seen, np.nan_to_num(weight), 0.0)
    camera = Camera(*(torch.from_numpy(part) for part in (rig.K, rig.R, rig.t)))
    xy = torch.from_numpy(np.where(seen[..., None], px, 0.0))
    points = geometry.triangulate(xy, camera, torch.from_numpy(weight)).numpy()
    points[np.sum(weight > 0, axis=-2) < WITH_WORLD] = np.nan
    return points
