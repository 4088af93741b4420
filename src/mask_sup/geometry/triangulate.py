"""Delta: one 3D pose from the joints of several calibrated views, and its projection (Eq. 10)."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mask_sup.geometry.batch import Camera
from mask_sup.geometry.camera import camera_centre, crop_from_world, is_calibrated

__all__ = ["Fused", "Independent", "Triangulate", "triangulate", "triangulate_robustly"]

MM_PER_M = 1000.0
OUTLIER = 0.05  # crop units from its reprojection at which a view counts half
REWEIGHTED = 5  # times
RIDGE = 1e-6  # on unit-norm rows: 0.01 mm at 5 m; keeps parallel rays finite


class Fused(NamedTuple):
    """What a stage draws, and the 3D points behind it."""

    xy: Float[Tensor, "n v j 2"]
    """Joints to draw, crop coordinates."""
    joints_world: Float[Tensor, "n j 3"] | None
    """Triangulated joints, mm; None where views are not tied together."""


def triangulate(
    xy: Float[Tensor, "*n v j 2"],
    camera: Camera,
    confidence: Float[Tensor, "*n v j"] | None = None,
) -> Float[Tensor, "*n j 3"]:
    """World points (mm) that project to `xy` in all views, in the least-squares sense (Eq. 10).

    The linear system is the direct linear transform's (two rows per view) on normalised rays, with
    the homogeneous coordinate fixed at 1: a 3x3 solve whose gradient stays finite when views
    disagree, where that of the SVD does not.

    Args:
        xy: Joints in crop coordinates; at least two views.
        camera: Cameras of the views, (*n v).
        confidence: Weight per view and joint, at least 0; None weighs all the same.

    Raises:
        ValueError: With fewer than two views, or with numbers that make no point: says which view.
    """
    if xy.shape[-3] < 2:
        raise ValueError(
            f"triangulation needs at least 2 views, got {xy.shape[-3]}: use fuse=independent"
        )
    with torch.autocast(xy.device.type, enabled=False):
        xy = xy.to(torch.promote_types(xy.dtype, torch.float32))
        origin = camera_centre(camera).mean(-2, keepdim=True)  # *n 1 3
        t = (camera.t + (camera.R @ origin.unsqueeze(-1)).squeeze(-1)) / MM_PER_M
        ones = torch.ones_like(xy[..., :1])
        try:
            rays = torch.linalg.solve(camera.K, torch.cat([xy, ones], -1).mT).mT  # *n v j 3
        except torch.linalg.LinAlgError as error:
            raise ValueError(f"cannot triangulate: {_culprit(xy, camera)}") from error
        rays = rays[..., :2] / rays[..., 2:]
        R, t = camera.R.unsqueeze(-3), t.unsqueeze(-2)  # *n v 1 3 (3)
        rows = R[..., :2, :] - rays.unsqueeze(-1) * R[..., 2:, :]  # *n v j 2 3
        target = rays * t[..., 2:] - t[..., :2]  # *n v j 2
        if confidence is not None:
            root = confidence.clamp_min(0).sqrt().unsqueeze(-1)
            rows, target = rows * root.unsqueeze(-1), target * root
        rows, target = rows.transpose(-4, -3).flatten(-3, -2), target.transpose(-3, -2).flatten(-2)
        normal = rows.mT @ rows  # *n j 3 3
        ridge = RIDGE * torch.eye(3, dtype=xy.dtype, device=xy.device)
        point, failed = torch.linalg.solve_ex(
            normal + ridge, (rows.mT @ target.unsqueeze(-1)).squeeze(-1)
        )
        point = point * MM_PER_M + origin
    if failed.any() or not point.isfinite().all():
        raise ValueError(f"cannot triangulate: {_culprit(xy, camera)}")
    return point


def _culprit(xy: Tensor, camera: Camera) -> str:
    """Which view, of which of the batch, holds what cannot be triangulated, and what to do."""
    of_camera = "correct the calibration of this camera"
    suspects = (
        (~camera.K.isfinite().flatten(-2).all(-1), "K is not finite", of_camera),
        (~camera.R.isfinite().flatten(-2).all(-1), "R is not finite", of_camera),
        (~camera.t.isfinite().all(-1), "t is not finite", of_camera),
        (torch.linalg.matrix_rank(camera.K.nan_to_num()) < 3, "K is singular", of_camera),
        (
            ~xy.isfinite().flatten(-2).all(-1),
            "joints are not finite",
            "a detector whose weights are not is of no use: go back to a checkpoint, lower "
            "optimizer.lr",
        ),
    )
    for wrong, what, cure in suspects:
        if wrong.any():
            *batch, view = wrong.nonzero()[0].tolist()
            of = f" of item {batch if len(batch) > 1 else batch[0]}" if batch else ""
            return f"in view {view}{of} (numbered from 0) {what}; {cure}"
    return "numbers too large for a point in millimetres; look at the calibration's units"


def triangulate_robustly(
    xy: Float[Tensor, "*n v j 2"], camera: Camera, seen: Bool[Tensor, "*n v"] | None = None
) -> Float[Tensor, "*n j 3"]:
    """World points (mm) that most views agree on: for predictions, not for training.

    Least squares, reweighted: a view whose joint lies r from its reprojection counts
    1 / (1 + (r / s)^2) the next time (Cauchy's loss; Holland and Welsch, 1977). With two views,
    which always agree as far as they can, it is `triangulate`.

    Args:
        xy: Joints in crop coordinates; at least two views.
        camera: Cameras of the views, (*n v).
        seen: Views that count; None: all. With fewer than two of them, the point means nothing.

    Raises:
        ValueError: With fewer than two views.
    """
    counts = torch.ones_like(xy[..., 0])
    if seen is not None:
        counts = counts * seen[..., None]
    point = triangulate(xy, camera, counts)
    if xy.shape[-3] == 2:
        return point
    for _ in range(REWEIGHTED):
        off = (crop_from_world(point.unsqueeze(-3), camera) - xy).norm(dim=-1)
        point = triangulate(xy, camera, counts / (1 + (off / OUTLIER) ** 2))
    return point


class Triangulate(nn.Module):
    """Delta: draw the re-projection of the triangulated joints, so that all views mean one pose.

    A batch of single views (v = 1) is drawn as detected: Delta is the identity there.
    """

    needs_cameras = True

    def forward(self, xy: Float[Tensor, "n v j 2"], camera: Camera) -> Fused:
        """Triangulate the raw 2D joints and re-project them into every view."""
        if xy.shape[1] == 1:
            return Fused(xy, None)
        if not is_calibrated(camera):
            raise ValueError(
                "Delta (fuse=triangulate) needs calibrated views, but this batch of "
                f"{xy.shape[1]} views has cameras with NaN: give their K, R, t, or train with "
                "+ablation=wo_Delta"
            )
        joints_world = triangulate(xy, camera)
        return Fused(crop_from_world(joints_world.unsqueeze(1), camera), joints_world)


class Independent(nn.Module):
    """The ablation without Delta: every view draws its own joints."""

    needs_cameras = False

    def forward(self, xy: Float[Tensor, "n v j 2"], camera: Camera) -> Fused:
        """The raw 2D joints, unchanged."""
        return Fused(xy, None)
