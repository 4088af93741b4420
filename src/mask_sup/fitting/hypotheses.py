"""Whole figures to start from where nothing else does: trunks in the visual hull, and legs on them.

The hull is where the masks of all views meet. A trunk is a line of a figure's length in its thick
parts, with a head at one end; about each line the figure is turned. Nothing says what stands up.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mask_sup.fitting.objective import Objective
from mask_sup.fitting.scenes import Scenes
from mask_sup.fitting.search import apart, look_up
from mask_sup.geometry.triangulate import triangulate_robustly

__all__ = ["Hypotheses", "Trunks"]

REACH, VOXEL = 1100.0, 75.0  # mm: half the side of the box about a figure that is looked into
ON_TRUNK = (0.0, 0.33, 0.67, 1.0)  # of the trunk: there the hull is thick
ON_HEAD = (0.8, 0.95)  # of the way from the pelvis to the top of the head: there it is thin
ABOVE_HEAD = (1.2, 1.35)  # of that way: there it ends, in some view
HEAD_WEIGHT, ABOVE_WEIGHT = 0.5, 0.25  # of what is asked there, against the trunk
THICK, THIN = 5, 3  # pixels over which masks are averaged
TRUNKS_APART = 150.0  # mm between an end of two trunks that count as two
AT_ONCE = 20  # scenes whose hulls are held together


class Trunks(NamedTuple):
    """Lines that a trunk may lie on; the last one of each scene is that of the pose given."""

    low: Float[Tensor, "n t 3"]
    """Its lower end, mm."""
    up: Float[Tensor, "n t 3"]
    """Unit vector to the upper end."""


class Hypotheses:
    """Figures of which one is near the truth, from the hull and from a pose that may be wrong.

    Args:
        objective: Body and bones.
        places: Points of the hull in which a trunk may begin, drawn at random, thick parts first.
        ways: Directions over the whole sphere that it may take.
        trunks: Lines that are kept, and the line given.
        yaws: Directions of the hips over half a turn about each.
    """

    def __init__(self, objective: Objective, places: int, ways: int, trunks: int, yaws: int):
        self.body, self.objective = objective.body, objective
        self.places, self.ways, self.trunks, self.yaws = places, ways, trunks, yaws
        skeleton = self.body.skeleton
        self.heights = [skeleton.heights[name] for name in skeleton.joints]
        self.bone = self.body.bone

    @torch.no_grad()
    def __call__(
        self, joints: Float[Tensor, "n j 3"], scenes: Scenes, generator: torch.Generator
    ) -> Float[Tensor, "n k j 3"]:
        """Standing figures about every trunk line, `yaws` of each.

        Args:
            joints: Poses; their trunk is one of the lines.
            scenes: Their masks.
            generator: Source of the places.
        """
        parts = [slice(i, i + AT_ONCE) for i in range(0, len(joints), AT_ONCE)]
        return torch.cat(
            [self._figures(joints[part], scenes.part(part), generator) for part in parts]
        )

    def _figures(self, joints: Tensor, scenes: Scenes, generator: torch.Generator) -> Tensor:
        lines = self.lines(joints, scenes, generator)
        return torch.stack(
            [
                self._figure(lines.low[:, t], lines.up[:, t], math.pi * yaw / self.yaws, scenes)
                for t in range(lines.low.shape[1])
                for yaw in range(self.yaws)
            ],
            1,
        )

    def lines(self, joints: Tensor, scenes: Scenes, generator: torch.Generator) -> Trunks:
        """Where trunks may lie: lines in the thick parts of the hull, and the pose's own."""
        body, rows = self.body, torch.arange(len(joints))[:, None]
        low = self._places(scenes, generator)
        up = _sphere(self.ways).expand(len(joints), self.places, -1, -1)
        low = low[:, :, None].expand(-1, -1, self.ways, -1).flatten(1, 2)
        begin, end = body.trunk
        low = torch.cat([low, joints[:, None, begin]], 1)
        up = torch.cat([up.flatten(1, 2), body.up(joints)[:, None]], 1)
        trunk, head = (
            (self.heights[joint] - self.heights[begin]) * self.stature(scenes.lengths)[:, :, None]
            for joint in (end, max(range(len(self.heights)), key=self.heights.__getitem__))
        )

        either = scenes.mask + (1 - scenes.known) / 2  # where nothing is known, inside as outside

        def seen(pixels: int, length: Tensor, share: tuple[float, ...]) -> Tensor:
            points = low[:, :, None] + (up * length)[:, :, None] * torch.tensor(share)[:, None]
            return look_up(_outside(either, pixels), points, scenes.camera) + 1

        score = seen(THICK, trunk, ON_TRUNK).mean((1, 3))
        score += HEAD_WEIGHT * seen(THIN, head, ON_HEAD).mean((1, 3))
        score -= ABOVE_WEIGHT * seen(THIN, head, ABOVE_HEAD).amax(1).mean(-1)
        ends = torch.stack([low, low + up * trunk], 2)
        which = apart(score, ends, self.trunks, TRUNKS_APART)
        which = torch.cat([which, torch.full_like(which[:, :1], low.shape[1] - 1)], 1)
        return Trunks(low[rows, which], up[rows, which])

    def _places(self, scenes: Scenes, generator: torch.Generator) -> Tensor:
        """Points (n places 3) of the hull, mm, thick parts more often."""
        side = torch.arange(-REACH, REACH + 1, VOXEL)
        box = torch.stack(torch.meshgrid(side, side, side, indexing="ij"), -1).reshape(1, -1, 3)
        points = _centre(scenes)[:, None] + box
        maybe = scenes.mask + (1 - scenes.known)
        inside, thick = (
            look_up(_mean_of(maybe, pixels), points[:, :, None], scenes.camera).amin((1, 3))
            for pixels in (1, THICK)
        )
        weight = torch.where(inside > 0.5, thick.square(), 0.0) + 1e-9
        which = torch.multinomial(weight, self.places, generator=generator)
        return points[torch.arange(len(points))[:, None], which]

    def stature(self, lengths: Float[Tensor, "n b"]) -> Float[Tensor, "n 1"]:
        """How tall figures stand whose trunks are as long as with these bones, mm."""
        low, high = self.body.trunk
        trunk = sum(lengths[:, self.bone[joint]] for joint in self.body.spine[1:])
        return trunk[:, None] / (self.heights[high] - self.heights[low])

    def _figure(self, low: Tensor, up: Tensor, yaw: float, scenes: Scenes) -> Tensor:
        """A figure as it stands, its trunk on the line, the hips turned about it by `yaw`."""
        body, heights, stature = self.body, self.heights, self.stature(scenes.lengths)
        aside = torch.eye(3)[up.abs().argmin(-1)]
        first = F.normalize(torch.linalg.cross(up, aside), dim=-1)
        level = first * math.cos(yaw) + torch.linalg.cross(up, first) * math.sin(yaw)
        begin = body.trunk[0]
        joints = torch.stack([low + up * (h - heights[begin]) * stature for h in heights], 1)
        for side, way in ((0, -1.0), (1, 1.0)):
            for limb in (body.legs[side], body.arms[side]):
                half = scenes.lengths[:, self.bone[limb[0]], None]
                joints[:, list(limb)] += (way * half * level)[:, None]
        joints[:, body.face[0]] = body.face_place(joints)
        return joints


def _sphere(count: int) -> Float[Tensor, "{count} 3"]:
    """Unit vectors spread evenly: points of a golden spiral."""
    i = torch.arange(count) + 0.5
    z = 1 - 2 * i / count
    turn = math.pi * (1 + math.sqrt(5)) * i
    radius = (1 - z.square()).sqrt()
    return torch.stack([turn.cos() * radius, turn.sin() * radius, z], -1)


def _mean_of(mask: Tensor, pixels: int) -> Tensor:
    return F.avg_pool2d(mask, pixels, 1, pixels // 2)


def _outside(mask: Tensor, pixels: int) -> Tensor:
    """-1 deep in a mask to 1 outside, less 1, so that beyond the crop a lookup adds up to 1."""
    border = [pixels // 2] * 4
    return F.avg_pool2d(F.pad(1 - 2 * mask, border, value=1.0), pixels, 1) - 1


def _centre(scenes: Scenes) -> Float[Tensor, "n 3"]:
    """Where the middles of the masks meet, mm."""
    mask, size = scenes.mask, scenes.mask.shape[-1]
    middle = (2 * torch.arange(size) + 1) / size - 1
    weight = mask.sum((-1, -2)).clamp_min(1e-6)
    x, y = (mask * middle).sum((-1, -2)) / weight, (mask * middle[:, None]).sum((-1, -2)) / weight
    return triangulate_robustly(torch.stack([x, y], -1)[:, :, None], scenes.camera)[:, 0]
