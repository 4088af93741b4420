"""Which side is the right one: masks show the front by what is not the same behind."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from mask_sup.figure.body import Body

__all__ = ["as_knees_bend", "both_names", "other_limbs", "same_side"]

FORWARD = 0.4  # sum of the sines of both knees


def same_side(joints: Float[Tensor, "n j 3"], body: Body) -> Float[Tensor, "n j 3"]:
    """Poses whose shoulder line points the way of the hip line: arms change names where it did not.

    Seen from masks alone, the upper body may be named against the lower one: a trunk twisted by
    half a turn.
    """
    twisted = (body.across(joints, body.legs) * body.across(joints, body.arms)).sum(-1) < 0
    return torch.where(twisted[:, None, None], _exchanged(joints, *body.arms), joints)


def other_limbs(
    joints: Float[Tensor, "n j 3"], limbs: Sequence[Sequence[int]]
) -> Float[Tensor, "n j 3"]:
    """Poses whose two limbs keep their first joint and exchange the others.

    Silhouettes of limbs that cross show as well a pose of limbs that do not.
    """
    return _exchanged(joints, *(limb[1:] for limb in limbs))


def _exchanged(joints: Tensor, right: Sequence[int], left: Sequence[int]) -> Tensor:
    exchanged = joints.clone()
    exchanged[:, list(right)], exchanged[:, list(left)] = joints[:, left], joints[:, right]
    return exchanged


def both_names(joints: Float[Tensor, "n j 3"], body: Body) -> Float[Tensor, "n 2 j 3"]:
    """Poses as they are named, and with left and right exchanged, each with its face in front."""
    poses = torch.stack([joints, joints[:, body.skeleton.flip]], 1)
    poses[:, :, body.face[0]] = body.face_place(poses)
    return poses


def as_knees_bend(joints: Float[Tensor, "n j 3"], body: Body) -> Float[Tensor, "n j 3"]:
    """Poses with left and right exchanged where knees would be bent rather forward than backward.

    The search of limbs asks for no names, and from such a pose no small step leads to its own.
    """
    forward = (body.bent(joints).sum(-1) < -FORWARD)[:, None, None]
    return torch.where(forward, both_names(joints, body)[:, 1], joints)
