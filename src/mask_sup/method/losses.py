"""The terms that training minimises. None of them sees a label."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mask_sup.geometry.batch import Camera, Views
from mask_sup.geometry.camera import cam_from_world

__all__ = [
    "anchor_loss",
    "consistency_loss",
    "depth_loss",
    "mask_loss",
    "residual_loss",
    "rest_loss",
    "upright_loss",
]

MM_PER_M = 1000.0
OPEN, CLOSED = 4.0, 0.3  # weights of the residual supervision


def mask_loss(drawn: Float[Tensor, "n v hm wm"], views: Views) -> Float[Tensor, ""]:
    """Weighted squared difference between a drawn mask and the foreground (Eq. 9), mean per pixel.

    As printed in Eq. (9), G multiplies the difference before it is squared.
    """
    return (views.weight * (views.mask - drawn)).square().mean()


def residual_loss(
    drawn: Float[Tensor, "n v hm wm"], body: Float[Tensor, "n v hm wm"], views: Views
) -> Float[Tensor, ""]:
    """Squared difference of a late group's own mask from what the rest of the body leaves open.

    Drawn with all others, arms settle in the gaps of a thin trunk; alone, they are pulled to where
    the foreground is not explained. Pixels left open weigh `OPEN`, all others `CLOSED`.

    Args:
        drawn: Mask of the group that enters late.
        body: Mask of the groups drawn before; detached here.
        views: The foreground.
    """
    target = (views.mask - body.detach()).clamp_min(0)
    weight = CLOSED + (OPEN - CLOSED) * target
    return (weight * (drawn - target).square()).mean()


def consistency_loss(
    xy: Float[Tensor, "n v j 2"], fused: Float[Tensor, "n v j 2"]
) -> Float[Tensor, ""]:
    """Squared distance of the raw 2D joints from the re-projected triangulated ones, crop units.

    Delta alone leaves the raw joints free wherever their errors cancel in the triangulation.
    """
    return (xy - fused).square().sum(-1).mean()


def depth_loss(
    z: Float[Tensor, "n v j"],
    joints_world: Float[Tensor, "n j 3"],
    camera: Camera,
    root: int,
    depth_range: float,
) -> Float[Tensor, ""]:
    """Squared error of the detector's depth against the detached triangulated joints.

    Masks and triangulation use only x and y; without this term nothing trains the depth axis, and
    monocular 3D would be noise. In units of the depth axis, [-1, 1] about the root.
    """
    depth = cam_from_world(joints_world.detach().unsqueeze(1), camera)[..., 2]
    target = (depth - depth[..., root, None]) * (2 / depth_range)
    return (z - target.clamp(-1, 1)).square().mean()


def rest_loss(
    joints_crop: Float[Tensor, "n v j 3"],
    resting: Sequence[tuple[int, int]],
    heights: Float[Tensor, " j"],
) -> Float[Tensor, ""]:
    """Keeps joints whose bones are not drawn yet at rest: they hang from a drawn ancestor.

    The ancestor is detached: the pull moves the resting joint alone. Arms that hang straight are a
    better start than arms folded into the shoulder, which is a local minimum.

    Args:
        joints_crop: Detected joints.
        resting: (joint, ancestor) pairs.
        heights: y of each joint of an upright figure in crop coordinates, down is +.
    """
    if not resting:
        return joints_crop.new_zeros(())
    joint, anchor = torch.tensor(resting, device=joints_crop.device).T
    place = joints_crop[..., anchor, :].detach().clone()
    place[..., 1] += heights[joint] - heights[anchor]
    return (joints_crop[..., joint, :] - place).square().sum(-1).mean()


def upright_loss(xy: Float[Tensor, "n v j 2"], heights: Float[Tensor, " j"]) -> Float[Tensor, ""]:
    """Pull towards a vertical line of rough anatomical heights inside the crop.

    No left or right and no pose: it says no more than "people mostly stand upright", and serves to
    leave the upside-down optimum in the first steps.

    Args:
        xy: Raw 2D joints.
        heights: y of each joint in crop coordinates, [-1, 1], down is +.
    """
    line = torch.stack([torch.zeros_like(heights), heights], -1)
    return (xy - line).square().sum(-1).mean()


def anchor_loss(
    joints_world: Float[Tensor, "n j 3"],
    poses: Float[Tensor, "n j 3"],
    trusted: Bool[Tensor, " n"],
) -> Float[Tensor, ""]:
    """Squared distance in metres of triangulated joints from the trusted pseudo-labels.

    Mask training forgets left and right within a few hundred steps; this holds it to them.
    """
    squared = ((joints_world - poses) / MM_PER_M).square().sum(-1).mean(-1)
    return (squared * trusted).sum() / trusted.sum().clamp_min(1)
