"""Which side is the right one: masks show the front by what is not the same behind."""

import torch
from jaxtyping import Float
from torch import Tensor

from mask_sup.figure.body import Body

__all__ = ["both_names", "same_side"]


def same_side(joints: Float[Tensor, "n j 3"], body: Body) -> Float[Tensor, "n j 3"]:
    """Poses whose shoulder line points the way of the hip line: arms change names where it did not.

    Seen from masks alone, the upper body may be named against the lower one: a trunk twisted by
    half a turn.
    """
    twisted = (body.across(joints, body.legs) * body.across(joints, body.arms)).sum(-1) < 0
    right, left = (list(arm) for arm in body.arms)
    turned = joints.clone()
    turned[:, right], turned[:, left] = joints[:, left], joints[:, right]
    return torch.where(twisted[:, None, None], turned, joints)


def both_names(joints: Float[Tensor, "n j 3"], body: Body) -> Float[Tensor, "n 2 j 3"]:
    """Poses as they are named, and with left and right exchanged, each with its face in front."""
    poses = torch.stack([joints, joints[:, body.skeleton.flip]], 1)
    poses[:, :, body.face[0]] = body.face_place(poses)
    return poses
