"""How a subject is built, as its own masks tell: radii of its parts, lengths of its bones."""

from itertools import product

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mask_sup.figure.anatomy import bone_lengths
from mask_sup.fitting.objective import Objective
from mask_sup.fitting.scenes import Scenes

__all__ = ["fitted_radii", "sizes"]

RADIUS_STEPS = (0.9, 1.1, 0.95, 1.05)  # factors on the radius of a part, in turn
ROUNDS = 3  # of these, at most: in masks with a halo a person is a third too thick
RADIUS_RANGE = (0.6, 1.7)  # of the body as configured


def fitted_radii(
    joints: Float[Tensor, "n j 3"],
    scenes: Scenes,
    subject: Int[Tensor, " n"],
    radius: Float[Tensor, "s c"],
    objective: Objective,
) -> Float[Tensor, "s c"]:
    """How thick each subject has to be drawn to explain the masks of poses at hand, mm.

    People and clothes differ from any table, and a body too thin in a shirt puts its joints where
    they fill the shirt. What psi learns of the whole figure is here a radius for each part, the
    same on the right and the left.

    Args:
        joints: Poses, mm.
        scenes: Their masks.
        subject: Whose they are, rows of `radius`.
        radius: Where to start.
        objective: Draws the body.
    """
    radius, body = radius.clone(), objective.body

    def residuals() -> Tensor:
        each = objective.residual(joints, scenes._replace(radius=radius[subject]))
        return radius.new_zeros(len(radius)).index_add(0, subject, each)

    least = residuals()
    for _ in range(ROUNDS):
        start = radius.clone()
        for factor, part in product(RADIUS_STEPS, body.parts):
            before = radius[:, part]
            share = before[:, 0] * factor / body.radius[part[0]]
            usual = (share >= RADIUS_RANGE[0]) & (share <= RADIUS_RANGE[1])
            radius[:, part] = before * factor
            found = residuals()
            taken = usual & (found < least)
            radius[:, part] = torch.where(taken[:, None], before * factor, before)
            least = torch.where(taken, found, least)
        if torch.equal(start, radius):
            break
    return radius


def sizes(
    joints: Float[Tensor, "n j 3"],
    subject: Int[Tensor, " n"],
    trusted: Bool[Tensor, " n"],
    usual: Float[Tensor, " b"],
    tree: list[tuple[int, int]],
    lengths: Float[Tensor, "s b"],
) -> Float[Tensor, "s b"]:
    """Bone lengths (mm) of each subject: the usual ones at this subject's size.

    The size is the median, over the trusted poses of a subject, of all bones against the usual.

    Args:
        joints: Poses, mm.
        subject: Whose they are, rows of `lengths`.
        trusted: Which to ask.
        usual: Bone lengths of an average build, mm.
        tree: Bones as (parent, child).
        lengths: Kept for subjects of whom no pose is trusted.
    """
    size = bone_lengths(joints, tree).sum(-1) / usual.sum()
    lengths = lengths.clone()
    for who in subject[trusted].unique():
        lengths[who] = usual * size[trusted & (subject == who)].median()
    return lengths
