"""Search of limbs: chains of bones in many directions, and the pair of them that covers best.

A direction is judged in two passes. The first looks up a map of what a thin limb at each pixel
would gain (masks left uncovered) or spoil (background), at a few points along each bone: hundreds
of directions cost less than drawing ten. The second draws the best that lie apart, and looks at
both limbs of a pair together, so that one does not take what the other covers.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from mask_sup.fitting.objective import Objective
from mask_sup.fitting.scenes import Scenes
from mask_sup.fitting.sequences import neighbour
from mask_sup.geometry.batch import Camera
from mask_sup.geometry.camera import NEAREST_MM

__all__ = ["LimbSearch", "apart", "gain_map", "look_up"]

SEARCHED = 20  # scenes that are searched together: what is drawn stays in cache
LENDERS = (-2, -1, 1, 2)  # moments whose limbs are tried, too
POINTS = (0.25, 0.5, 0.75, 1.0)  # along a bone, at which the map is looked up
BEYOND = 1.3  # of the last bone: hands and feet are no joints
REST_SPREAD, NEXT_SPREAD = 0.8, 1.3  # about the rest direction, and about the bone before
LIMBS_APART, PAIRS_APART = 90.0, 120.0  # mm between joints of candidates that count as two
TAKEN = 1e3  # added to what lies near a candidate that was chosen
USUAL_BONE = 400.0  # mm: a bone of this length weighs 1 when those of a limb are added up
EXACT = 24  # pairs that are compared at full size


def gain_map(
    base: Float[Tensor, "n v h w"],
    mask: Float[Tensor, "n v h w"],
    known: Float[Tensor, "n #v #h #w"],
) -> Float[Tensor, "n v h w"]:
    """What the axis of a limb at each pixel adds to the squared error, -1 (gain) to 1.

    Args:
        base: The body without its limbs, drawn.
        mask: Foreground.
        known: 0 where the picture does not show what is there, else 1.

    Returns:
        The map less 1, so that beyond its border, where a lookup finds 0, a limb adds 1.
    """
    return ((1 - mask).square() - (base - mask).square()) * known - 1


def look_up(
    maps: Float[Tensor, "n v h w"], points: Float[Tensor, "n c p 3"], camera: Camera
) -> Float[Tensor, "n v c p"]:
    """The maps at points in the world, mm, as each view sees them; 0 beyond their border."""
    n, c, p = points.shape[:3]
    views = maps.shape[1]
    to_crop = (camera.K @ camera.R).flatten(1, 2)  # as `crop_from_world`, all views in one product
    shift = (camera.K @ camera.t[..., None]).flatten(1, 2)
    seen = torch.baddbmm(shift, to_crop, points.flatten(1, 2).mT).unflatten(1, (views, 3))
    xy = (seen[:, :, :2] / seen[:, :, 2:].clamp_min(NEAREST_MM)).permute(0, 1, 3, 2)
    found = F.grid_sample(
        maps.reshape(n * views, 1, *maps.shape[-2:]), xy.reshape(n * views, c, p, 2),
        padding_mode="zeros", align_corners=False,
    )  # fmt: skip
    return found.reshape(n, views, c, p)


def apart(
    score: Float[Tensor, "n c"], joints: Float[Tensor, "n c j 3"], count: int, mm: float
) -> Int[Tensor, "n {count}"]:
    """The lowest scores of candidates in turn, each with a joint farther than `mm` from others'."""
    score, rows, found = score.clone(), torch.arange(len(score)), []
    planes = joints.permute(3, 2, 0, 1).contiguous()  # 3 j n c: what is added up lies apart
    for _ in range(count):
        best = score.argmin(1)
        found.append(best)
        off = (planes - planes[:, :, rows, best, None]).square_().sum(0).amax(0)
        score += TAKEN * (off < mm**2)
    return torch.stack(found, 1)


class Tried(NamedTuple):
    """Candidates of a limb."""

    joints: Float[Tensor, "n f m 3"]
    """Its joints after the first, mm."""
    drawn: Float[Tensor, "n f v h w"]
    """The rest of the body and this limb."""


class LimbSearch:
    """Tries other limbs on poses whose trunks are kept.

    Args:
        objective: Body and bones.
        branches: Directions that each bone is tried in from each joint; four times as many of the
            first one.
        beams: Ways that are followed from bone to bone.
        finalists: Ways of a whole limb that are drawn.
        spread: Of a third of the directions about where the bone is now.
    """

    def __init__(
        self, objective: Objective, branches: int, beams: int, finalists: int, spread: float
    ):
        self.body, self.objective = objective.body, objective
        self.branches, self.beams = branches, beams
        self.finalists, self.spread = finalists, spread
        self.flip, self.bone = self.body.skeleton.flip, self.body.bone

    @torch.no_grad()
    def __call__(
        self,
        joints: Float[Tensor, "n j 3"],
        scenes: Scenes,
        limbs: str,
        count: int,
        generator: torch.Generator,
    ) -> Float[Tensor, "n {count} j 3"]:
        """The poses with their own or other `limbs`, `legs` or `arms`, that cover best.

        Args:
            joints: Poses; their own limbs, as they are or exchanged, and those of their neighbours
                in time are candidates.
            scenes: Their masks.
            limbs: Which pair.
            count: How many that lie apart, the best first.
            generator: Source of the directions.
        """
        lent = torch.stack([neighbour(joints, scenes, s, self.flip)[0] for s in LENDERS], 1)
        found = [
            self._some(joints[which], scenes.part(which), lent[which], limbs, count, generator)
            for first in range(0, len(joints), SEARCHED)
            for which in [slice(first, first + SEARCHED)]
        ]
        return torch.cat(found)

    def _some(
        self, joints: Tensor, scenes: Scenes, lent: Tensor, limbs: str, count: int,
        generator: torch.Generator,
    ) -> Tensor:  # fmt: skip
        body, pair = self.body, getattr(self.body, limbs)
        capsules = self.objective.capsules(joints, scenes.radius)
        moving = set(body.of_limbs(pair))
        rest = [i for i in range(capsules.ends.shape[-3]) if i not in moving]
        base = self.objective.drawn(capsules.only(rest), scenes)
        gain = gain_map(base, scenes.mask, scenes.known)
        tried = []
        for limb, other in (pair, pair[::-1]):
            ways = self._ways(joints, scenes, limb, gain, lent, generator)
            ways = torch.cat([ways, joints[:, None, list(other[1:])]], 1)  # they may be exchanged
            tried.append(self._draw(joints, scenes, limb, ways, base))
        first, second = self._pairs(*tried, joints, scenes, pair, count)
        found, rows = joints[:, None].repeat(1, count, 1, 1), torch.arange(len(joints))[:, None]
        for limb, ways, which in zip(pair, tried, (first, second), strict=True):
            found[:, :, list(limb[1:])] = ways.joints[rows, which]
        return found

    def _ways(
        self, joints: Tensor, scenes: Scenes, limb: Sequence[int], gain: Tensor, lent: Tensor,
        generator: torch.Generator,
    ) -> Tensor:  # fmt: skip
        """Where a limb's joints after its first may be (n f m 3): found, lent, and as they are."""
        start = joints[:, None, limb[0]]
        score, ways, ahead = joints.new_zeros(len(joints), 1), None, None
        for depth, (near, far) in enumerate(pairwise(limb)):
            length = scenes.lengths[:, self.bone[far], None, None, None]
            tried = self._directions(joints, lent, start.shape[1], near, far, ahead, generator)
            last = depth == len(limb) - 2
            share = torch.tensor([*POINTS, BEYOND] if last else POINTS)
            step = tried * length  # n beams c 3
            points = start[:, :, None, None] + step[..., None, :] * share[:, None]
            added = look_up(gain, points.flatten(1, 2), scenes.camera).mean((1, 3)) + 1
            added = added.unflatten(1, tried.shape[1:3]) * (length[..., 0] / USUAL_BONE)
            total = (score[:, :, None] + added).flatten(1)
            ends = (start[:, :, None] + step).flatten(1, 2)[:, :, None]
            if ways is not None:
                ends = torch.cat([ways.repeat_interleave(tried.shape[2], 1), ends], 2)
            which = apart(total, ends, self.finalists if last else self.beams, LIMBS_APART)
            rows = torch.arange(len(joints))[:, None]
            score, ways = total[rows, which], ends[rows, which]
            start, ahead = ways[:, :, -1], tried.flatten(1, 2)[rows, which]
        moved = list(limb[1:])
        shift = joints[:, None, None, limb[0]] - lent[:, :, None, limb[0]]
        return torch.cat([ways, lent[:, :, moved] + shift, joints[:, None, moved]], 1)

    def _directions(
        self, joints: Tensor, lent: Tensor, beams: int, near: int, far: int,
        ahead: Tensor | None, generator: torch.Generator,
    ) -> Tensor:  # fmt: skip
        """Unit vectors (n beams c 3) that a bone is tried in."""

        def about(mean: Tensor, spread: float, count: int) -> Tensor:
            noise = torch.randn(*mean.shape[:2], count, 3, generator=generator)
            return F.normalize(mean[:, :, None] + spread * F.normalize(noise, dim=-1), dim=-1)

        now = F.normalize(joints[:, far] - joints[:, near], dim=-1)[:, None].expand(-1, beams, -1)
        if ahead is None:
            count = 4 * self.branches // 3
            rest = -self.body.up(joints)[:, None]
            tried = [about(rest, REST_SPREAD, count), about(0 * rest, 1.0, count)]
        else:
            count = self.branches // 2
            tried = [about(ahead, NEXT_SPREAD, count)]
        tried.append(about(now, self.spread, count))
        others = F.normalize(lent[:, :, far] - lent[:, :, near], dim=-1)
        tried += [others[:, None].expand(-1, beams, -1, -1), now[:, :, None]]
        return torch.cat(tried, 2)

    def _draw(
        self, joints: Tensor, scenes: Scenes, limb: Sequence[int], ways: Tensor, base: Tensor
    ) -> Tried:
        poses = joints[:, None].repeat(1, ways.shape[1], 1, 1)
        poses[:, :, list(limb[1:])] = ways
        radius = scenes.radius[:, None].expand(-1, ways.shape[1], -1)
        capsules = self.objective.capsules(poses, radius).only(self.body.of_limbs([limb]))
        each = scenes.camera.part((slice(None), None))
        drawn = self.body.draw(capsules, each, base.shape[-1]).mul_(scenes.known[:, None])
        return Tried(ways, torch.maximum(drawn, base[:, None], out=drawn))

    def _pairs(
        self, right: Tried, left: Tried, poses: Tensor, scenes: Scenes,
        pair: Sequence[Sequence[int]], count: int,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Which two limbs cover best together, `count` pairs that lie apart (n count), twice."""
        n, f = right.drawn.shape[:2]
        mask = scenes.mask
        half = F.avg_pool2d(mask, 2)[:, None]
        small, other = (
            F.avg_pool2d(tried.drawn.flatten(0, 1), 2).unflatten(0, (n, f))
            for tried in (right, left)
        )
        rough = torch.stack(
            [
                torch.maximum(small[:, i, None], other).sub_(half).square_().mean((2, 3, 4))
                for i in range(f)
            ],
            1,
        ).flatten(1)
        few, rows = rough.topk(min(EXACT, f * f), largest=False).indices, torch.arange(n)[:, None]
        first, second = few // f, few % f
        drawn = torch.maximum(right.drawn[rows, first], left.drawn[rows, second])
        exact = drawn.sub_(mask[:, None]).square_().mean((2, 3, 4))
        joints = torch.cat([right.joints[rows, first], left.joints[rows, second]], 2)
        poses = poses[:, None].repeat(1, few.shape[1], 1, 1)
        poses[:, :, [*pair[0][1:], *pair[1][1:]]] = joints
        radius = scenes.radius[:, None].expand(-1, few.shape[1], -1)
        weights = self.objective.weights
        exact += weights["through"] / weights["mask"] * self.objective.through(poses, radius)
        which = apart(exact, joints, count, PAIRS_APART)
        return first.gather(1, which), second.gather(1, which)
