"""Scenes that follow each other in time: neighbours, smooth movements, one story of many."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mask_sup.fitting.scenes import Fit, Scenes

__all__ = ["bend", "choose", "distance", "neighbour", "renamed_in_time", "with_neighbours"]

MM_PER_M = 1000.0
BEND_SLACK = 50.0  # mm off the middle of its neighbours in time that a joint is nearly free
FARTHEST = 300.0  # mm: a joint that jumps farther costs no more
RENAMED = 20.0  # mm that a change of names costs at least


def neighbour(
    joints: Float[Tensor, "n j 3"], scenes: Scenes, step: int, flip: Sequence[int]
) -> tuple[Float[Tensor, "n j 3"], Bool[Tensor, " n"]]:
    """The pose `step` moments later, left and right as is nearer, and whether there is one.

    Where there is none, the pose itself.
    """
    place = torch.arange(len(joints))
    other = (place + step).clamp(0, len(joints) - 1)
    known = (other == place + step) & (scenes.sequence[other] == scenes.sequence)
    pose = torch.where(known[:, None, None], joints[other], joints)
    renamed = pose[:, list(flip)]
    near, turned = ((p - joints).detach().norm(dim=-1).mean(-1) for p in (pose, renamed))
    return torch.where((turned < near)[:, None, None], renamed, pose), known


def with_neighbours(
    joints: Float[Tensor, "n j 3"], scenes: Scenes, root: int, flip: Sequence[int]
) -> Float[Tensor, "n 3 j 3"]:
    """Poses, and those of the moments before and after with their `root` moved to here."""
    poses = [joints]
    for step in (-1, 1):
        pose, _ = neighbour(joints, scenes, step, flip)
        poses.append(pose + joints[:, [root]] - pose[:, [root]])
    return torch.stack(poses, 1)


def bend(
    joints: Float[Tensor, "n j 3"], scenes: Scenes, flip: Sequence[int]
) -> Float[Tensor, " n"]:
    """How far joints are from the middle of their neighbours in time, m beyond the slack."""
    (before, first), (after, last) = (neighbour(joints, scenes, s, flip) for s in (-1, 1))
    off = (joints - (before + after) / 2).square().sum(-1)
    off = (off + BEND_SLACK**2).sqrt() - BEND_SLACK
    return off.mean(-1) / MM_PER_M * (first & last)


def distance(one: Float[Tensor, "*#n j 3"], other: Float[Tensor, "*#n j 3"]) -> Float[Tensor, "*n"]:
    """Mean distance of the joints of two poses, mm; of each joint at most `FARTHEST`."""
    return (one - other).norm(dim=-1).clamp(max=FARTHEST).mean(-1)


def choose(
    fits: Fit, scenes: Scenes, weight: float, flip: Sequence[int] | None = None
) -> Int[Tensor, " n"]:
    """Which alternative of each scene: the cheapest story along each sequence (Viterbi, 1967).

    It is the cost of the alternatives, as a share of the foreground, and `weight`
    times the distance (m) from each one to the next.

    Args:
        fits: Alternatives (n k).
        scenes: Their masks; scenes that follow nothing stand alone.
        weight: Of the distance, per metre.
        flip: Joint of the other side for each: left and right may change names on the way, as
            long as they are not settled; None: they may not.
    """
    return cheapest(
        fits.joints_world, fits.cost / scenes.area[:, None], scenes.follows, weight, flip
    )


def cheapest(
    joints: Float[Tensor, "n k j 3"],
    cost: Float[Tensor, "n k"],
    follows: Bool[Tensor, " m"],
    weight: float,
    flip: Sequence[int] | None = None,
) -> Int[Tensor, " n"]:
    """See `choose`; `follows` (n - 1) tells of each but the first whether it follows."""
    total, back = cost[0], torch.zeros(cost.shape, dtype=torch.long)
    for i, follow in enumerate(follows.tolist(), 1):
        if follow and weight:
            before, here = joints[i - 1][:, None], joints[i][None]
            way = distance(before, here)
            if flip is not None:
                way = torch.minimum(way, distance(before[..., list(flip), :], here) + RENAMED)
            reached = total[:, None] + weight * way / MM_PER_M
        else:
            reached = total[:, None].expand(len(total), cost.shape[1])
        least, back[i] = reached.min(0)
        total = least + cost[i]
    which = torch.zeros(len(cost), dtype=torch.long)
    which[-1] = total.argmin()
    for i in range(len(cost) - 1, 0, -1):
        which[i - 1] = back[i, which[i]]
    return which


def renamed_in_time(
    joints: Float[Tensor, "n j 3"],
    unexplained: Float[Tensor, " n"],
    front: Float[Tensor, " n"],
    weight: float,
    flip: Sequence[int],
) -> Bool[Tensor, " n"]:
    """Which poses of one long story change their names, as all of it is known.

    Args:
        joints: Poses in the order of time, mm.
        unexplained: Share of the foreground that they leave unexplained.
        front: How much more they would with left and right exchanged.
        weight: Of the way from one to the next, per metre.
        flip: Joint of the other side for each.
    """
    both = torch.stack([joints, joints[:, list(flip)]], 1)
    cost = torch.stack([unexplained, unexplained + front], 1)
    return cheapest(both, cost, torch.ones(len(cost) - 1, dtype=torch.bool), weight) == 1
