"""Pinhole geometry as small pure functions: world -> camera -> crop, and back.

Convention:
    | thing | convention |
    |---|---|
    | image coordinates (`_px`) | continuous: pixel (row r, col c) covers [c, c+1] x [r, r+1], centre (c+0.5, r+0.5) |
    | crop coordinates (`_crop`) | x right, y down, [-1, 1] = the outer edges of the square crop; centre of column c of W is (2c+1)/W - 1 |
    | depth of `joints_crop` | z in [-1, 1] of a cube `depth_range` mm deep centred on the root joint; + is away from the camera |
    | 3D unit | millimetres |
    | camera | OpenCV; x_cam = R x_world + t; world -> camera |
    | leading axes | points (*n j) and cameras (*cameras) broadcast: a pose (n 1 j 3) meets cameras (n v) |
    | function names | `b_from_a`, so that neighbours match when composed |
    | precision | float32 at least, autocast off |
"""  # noqa: E501

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mask_sup.geometry.batch import Camera

__all__ = [
    "NEAREST_MM",
    "cam_from_crop",
    "cam_from_world",
    "camera_centre",
    "crop_from_cam",
    "crop_from_world",
    "fold_crop",
    "is_calibrated",
    "px_from_crop",
    "world_from_cam",
]

NEAREST_MM = 1.0  # points closer to the camera plane are projected as if at this depth


def cam_from_world(x_world: Float[Tensor, "*n j 3"], camera: Camera) -> Float[Tensor, "*m j 3"]:
    """World -> camera coordinates, mm.

    >>> eye = torch.eye(3)
    >>> cam_from_world(torch.tensor([[0., 0., 1.]]), Camera(eye, eye, torch.tensor([0., 0., 9.])))
    tensor([[ 0.,  0., 10.]])
    """
    with torch.autocast(x_world.device.type, enabled=False):
        return x_world @ camera.R.mT + camera.t.unsqueeze(-2)


def world_from_cam(x_cam: Float[Tensor, "*n j 3"], camera: Camera) -> Float[Tensor, "*m j 3"]:
    """Camera -> world coordinates, mm."""
    with torch.autocast(x_cam.device.type, enabled=False):
        return (x_cam - camera.t.unsqueeze(-2)) @ camera.R


def crop_from_cam(x_cam: Float[Tensor, "*n j 3"], camera: Camera) -> Float[Tensor, "*m j 2"]:
    """Perspective projection of camera coordinates (mm) to crop coordinates in [-1, 1].

    Points behind the camera are projected as if 1 mm in front of it: finite, and far outside.

    >>> K = torch.tensor([[2., 0., 0.1], [0., 2., 0.], [0., 0., 1.]])
    >>> crop_from_cam(torch.tensor([[100., -50., 1000.]]), Camera(K, torch.eye(3), torch.zeros(3)))
    tensor([[ 0.3000, -0.1000]])
    """
    with torch.autocast(x_cam.device.type, enabled=False):
        image = x_cam @ camera.K.mT
        return image[..., :2] / image[..., 2:].clamp_min(NEAREST_MM)


def crop_from_world(x_world: Float[Tensor, "*n j 3"], camera: Camera) -> Float[Tensor, "*m j 2"]:
    """Projection of world coordinates (mm) to crop coordinates (Pi in Eq. 10)."""
    return crop_from_cam(cam_from_world(x_world, camera), camera)


def cam_from_crop(
    joints_crop: Float[Tensor, "*n j 3"],
    root_depth: Float[Tensor, "*n"],
    depth_range: float,
    camera: Camera,
) -> Float[Tensor, "*n j 3"]:
    """Camera coordinates (mm) of detected joints, given the depth of their root.

    Args:
        joints_crop: x, y in crop coordinates and z in [-1, 1] about the root.
        root_depth: Depth of the root joint along the optical axis, mm.
        depth_range: Depth in mm of the cube that z spans.
        camera: Cameras with the crop folded in.
    """
    with torch.autocast(joints_crop.device.type, enabled=False):
        z = root_depth[..., None] + joints_crop[..., 2] * (depth_range / 2)
        ones = torch.ones_like(joints_crop[..., :1])
        rays = torch.linalg.solve(camera.K, torch.cat([joints_crop[..., :2], ones], -1).mT).mT
        return rays * z[..., None]


def camera_centre(camera: Camera) -> Float[Tensor, "*n 3"]:
    """Centre of projection in world coordinates, mm."""
    return -(camera.R.mT @ camera.t.unsqueeze(-1)).squeeze(-1)


def is_calibrated(camera: Camera) -> bool:
    """Whether every camera is known (uncalibrated views carry NaN)."""
    return not any(bool(torch.isnan(part).any()) for part in camera)


def fold_crop(K: np.ndarray, box: tuple[float, float, float]) -> np.ndarray:
    """Intrinsics that project straight into the crop's [-1, 1] coordinates.

    Args:
        K: (3, 3) intrinsics, camera -> continuous pixels.
        box: left, top and side of the square crop, continuous pixels.

    >>> K = np.array([[1000., 0., 500.], [0., 1000., 500.], [0., 0., 1.]])
    >>> fold_crop(K, (400., 300., 200.)) @ [0., 0., 1.]
    array([0., 1., 1.])
    """
    left, top, side = box
    scale = 2 / side
    crop_from_px = np.array(
        [[scale, 0, -1 - scale * left], [0, scale, -1 - scale * top], [0, 0, 1]]
    )
    return crop_from_px @ K


def px_from_crop(xy_crop: np.ndarray, box: tuple[float, float, float]) -> np.ndarray:
    """Crop coordinates (..., 2) -> continuous pixels of the whole image.

    >>> px_from_crop(np.array([-1., 0.]), (400., 300., 200.))
    array([400., 400.])
    """
    left, top, side = box
    return (xy_crop + 1) * (side / 2) + np.array([left, top])
