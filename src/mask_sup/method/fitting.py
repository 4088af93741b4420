"""Analysis by synthesis: poses made to explain the masks of all their calibrated views.

A network that learns from masks shares one mistake among many scenes (arms in the trunk, legs
crossed). A single scene is small enough to be searched instead: turn the trunk, try limbs, draw the
body, keep what covers the masks best, then follow the gradient. Where scenes follow each other in
time, each may borrow from its neighbours, and movements are smooth. Image, mask and camera are all
that is read; what knows left from right is decided elsewhere (`mask_sup.method.relabel`).
"""

import copy
import math
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from mask_sup.figure.anatomy import Anatomy, NoAnatomy
from mask_sup.figure.body import Body
from mask_sup.geometry.batch import Camera

__all__ = ["Fit", "PoseFitter", "better"]

MM_PER_M = 1000.0
UNCOVERED = 0.3  # weight of pixels that the body leaves open while its arms are not drawn
FACE_SLACK = 40.0  # mm about its place in which the face joint is free
BEND_SLACK = 50.0  # mm off the middle of its neighbours in time that a joint is nearly free
FINALISTS = 12  # candidates per limb that are tried as pairs
RADIUS_STEPS = (0.9, 1.1, 0.95, 1.05)  # factors on the radius of a part, in turn
RADIUS_RANGE = (0.6, 1.7)  # of the body as configured
CHUNK = 50  # scenes that are fitted together: scratch stays in cache, time is cut here
SEARCHED = 8  # scenes whose limbs are searched together
LENDERS = (-2, -1, 1, 2)  # moments whose limbs are tried, too


class Fit(NamedTuple):
    """Poses and how badly they explain their masks."""

    joints_world: Float[Tensor, "n j 3"]
    residual: Float[Tensor, " n"]
    """Mean squared difference of the drawn body and the masks, over all views."""


class Scenes(NamedTuple):
    """What is known of the scenes that are fitted; sliced along their first axis."""

    camera: Camera
    mask: Float[Tensor, "n v h w"]
    lengths: Float[Tensor, "n b"]
    sequence: Int[Tensor, " n"]

    def part(self, which: slice | Tensor) -> "Scenes":
        """Some of the scenes."""
        camera = Camera(*(value[which] for value in self.camera))
        return Scenes(camera, self.mask[which], self.lengths[which], self.sequence[which])


class PoseFitter:
    """Fits free 3D joints to masks, by search and by gradient.

    Args:
        body: What is drawn.
        anatomy: Terms that keep the joints a person's; its lengths stand in where none are given.
        weights: Weight per term of the anatomy, `face` (the face joint at its place), `mask`, and
            `smoothness` (each joint in the middle between the moments before and after).
        tolerance: Relative deviation from the bone lengths that is free.
        yaws: Directions of the hips and shoulders that `explore` tries over half a turn.
        kept: How many of them it follows further.
        yaw_steps: Gradient steps of each direction, on masks of half the size.
        candidates: Random directions per limb that a search of the `legs` and `arms` tries.
        second_chance: Share of the scenes, the worst explained ones, that after each search try the
            head in line with the trunk and other arms, and each foot in the place of the other. In
            deep leans, head and raised arm easily change places, in a stride the legs.
        loans: After each search of `polish`, so many times in turn, a scene may take over the pose
            of a neighbour in time: a good pose travels that far. `refine` takes the first.
        seed: Seed of these directions.
    """

    def __init__(
        self,
        body: Body,
        anatomy: Anatomy | NoAnatomy,
        weights: Mapping[str, float],
        tolerance: float,
        yaws: int,
        kept: int,
        yaw_steps: int,
        candidates: Mapping[str, int],
        second_chance: float,
        loans: Sequence[int],
        seed: int,
    ):
        if not isinstance(anatomy, Anatomy):
            raise ValueError("fitting poses needs bone lengths: choose anatomy=human")
        if not loans:
            raise ValueError("fitter.loans names a number for each search, got none: try [2, 1]")
        if kept > 2 * yaws:
            raise ValueError(
                f"fitter.kept={kept}: expected at most twice fitter.yaws={yaws}, each direction is "
                "tried upright and not"
            )
        self.body = copy.deepcopy(body)  # radii change from round to round
        self.anatomy, self.weights = anatomy, dict(weights)
        self.tolerance, self.yaws, self.kept = tolerance, yaws, kept
        self.yaw_steps, self.candidates, self.seed = yaw_steps, dict(candidates), seed
        self.second_chance, self.loans = second_chance, list(loans)
        self.usual_radius = body.radius.clone()
        skeleton = body.skeleton
        self.heights = [skeleton.heights[name] for name in skeleton.joints]
        self.middle = [j for j, partner in enumerate(skeleton.flip) if j == partner]
        self.bone = {child: bone for bone, (_, child) in enumerate(skeleton.tree)}
        self.parent = {child: parent for parent, child in skeleton.tree}
        self.all_capsules = list(range(len(body.radius)))
        arms = set(body.of_limbs(body.arms))
        self.without_arms = [i for i in self.all_capsules if i not in arms]

    # -- public ---------------------------------------------------------------------------------

    def fit(
        self,
        how: Literal["explore", "polish", "refine", "settle"],
        joints_world: Float[Tensor, "n j 3"],
        camera: Camera,
        mask: Float[Tensor, "n v hm wm"],
        lengths: Float[Tensor, "n b"] | None = None,
        sequence: Int[Tensor, " n"] | None = None,
    ) -> Fit:
        """Poses that explain the masks, from a start.

        Scenes are fitted in chunks, in as many processes as torch has threads.

        Args:
            how: `explore` needs a rough pelvis and trunk alone: it tries every direction of the
                hips, upright and not, and all limbs. `polish` starts near: it searches limbs, then
                follows the gradient, once for each of `loans`. `refine` starts nearer: it does so
                once. `settle` only follows the gradient for a few steps.
            joints_world: Where to start, mm.
            camera: Cameras of the views (n v).
            mask: Foreground in [0, 1].
            lengths: Bone lengths in mm; None: the anatomy's.
            sequence: Scenes in a row with the same number follow each other in time; None: each
                stands alone.
        """
        scenes = self._scenes(camera, mask, lengths, sequence)
        chunks = [slice(i, i + CHUNK) for i in range(0, len(joints_world), CHUNK)]
        jobs = [
            ("_" + how, joints_world[part], scenes.part(part), self.seed + part.start)
            for part in chunks
        ]
        workers = min(torch.get_num_threads(), len(chunks))
        if workers == 1:
            fits = [self._fit(*job) for job in track(jobs, "fitting poses")]
        else:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(workers, context, torch.set_num_threads, (1,)) as pool:
                done = pool.map(self._fit, *zip(*jobs, strict=True))
                fits = list(track(done, "fitting poses", total=len(jobs)))
        return Fit(*(torch.cat(part) for part in zip(*fits, strict=True)))

    def fit_radii(
        self,
        joints_world: Float[Tensor, "n j 3"],
        camera: Camera,
        mask: Float[Tensor, "n v hm wm"],
    ) -> Float[Tensor, " b"]:
        """How thick each part of the body has to be drawn to explain the masks of poses at hand.

        People and clothes differ from any table, and a body too thin in a shirt puts its joints
        where they fill the shirt. What psi learns of the whole figure is here a radius for each
        part, the same on the right and the left. Later fits draw the body with what is returned.

        Args:
            joints_world: Poses, mm.
            camera: Cameras of the views (n v).
            mask: Foreground in [0, 1].

        Returns:
            The radii of the capsules, mm.
        """
        scenes, radius = self._scenes(camera, mask, None, None), self.body.radius
        least = float(self._residual(joints_world, scenes).mean())
        for factor in track(RADIUS_STEPS, "fitting radii"):
            for part in self.body.parts:
                before = radius[part].clone()
                radius[part] *= factor
                share = float(radius[part[0]] / self.usual_radius[part[0]])
                usual = RADIUS_RANGE[0] <= share <= RADIUS_RANGE[1]
                found = float(self._residual(joints_world, scenes).mean()) if usual else math.inf
                if found < least:
                    least = found
                else:
                    radius[part] = before
        return radius.clone()

    # -- the recipes ----------------------------------------------------------------------------

    def _explore(self, start: Tensor, scenes: Scenes, generator: torch.Generator) -> Fit:
        half = scenes._replace(mask=F.avg_pool2d(scenes.mask, 2))
        turned = [
            self._descend(self._turned(start, yaw, upright, scenes), half, self.yaw_steps, 28, True)
            for yaw in range(self.yaws)
            for upright in (False, True)
        ]
        order = torch.stack([fit.residual for fit in turned]).argsort(0)
        poses = torch.stack([fit.joints_world for fit in turned])
        best: Fit | None = None
        for rank in range(self.kept):
            joints = poses[order[rank], torch.arange(len(start))]
            for limbs in ("legs", "arms"):
                joints = self._search(joints, scenes, limbs, generator, 0.0)
            best = better(best, self._descend(joints, scenes, 35, 15))
        return self._polish(best.joints_world, scenes, generator)

    def _polish(self, start: Tensor, scenes: Scenes, generator: torch.Generator) -> Fit:
        joints = start
        for loans in self.loans:
            fit = self._improved(joints, scenes, generator, loans)
            joints = fit.joints_world
        return fit

    def _refine(self, start: Tensor, scenes: Scenes, generator: torch.Generator) -> Fit:
        return self._improved(start, scenes, generator, self.loans[0])

    def _improved(
        self, joints: Tensor, scenes: Scenes, generator: torch.Generator, loans: int
    ) -> Fit:
        """One search of the limbs, the gradient, a second chance, and what neighbours lend."""
        for limbs in ("legs", "arms"):
            joints = self._search(joints, scenes, limbs, generator, 0.3)
        fit = self._second_chance(self._descend(joints, scenes, 25, 10), scenes, generator)
        return self._in_time(fit, scenes, loans)

    def _settle(self, start: Tensor, scenes: Scenes, generator: torch.Generator) -> Fit:
        return self._descend(start, scenes, 20, 10, smooth=True)

    def _scenes(
        self, camera: Camera, mask: Tensor, lengths: Tensor | None, sequence: Tensor | None
    ) -> Scenes:
        if lengths is None:
            lengths = self.anatomy.length.expand(len(mask), -1)
        if sequence is None:
            sequence = torch.arange(len(mask))
        return Scenes(camera, self._scaled(mask), lengths, sequence)

    def _scaled(self, mask: Tensor) -> Tensor:
        """Masks at the size at which the body is drawn."""
        return F.interpolate(mask, (self.body.size, self.body.size), mode="area")

    def _fit(self, recipe: str, start: Tensor, scenes: Scenes, seed: int) -> Fit:
        generator = torch.Generator().manual_seed(seed)
        return getattr(self, recipe)(start, scenes, generator)

    # -- starts ---------------------------------------------------------------------------------

    def _turned(self, joints: Tensor, yaw: int, upright: bool, scenes: Scenes) -> Tensor:
        """A standing figure that faces one of `yaws` ways, on the legs and the pelvis given.

        Each leg goes to the nearer hip. `upright` makes the trunk vertical, else it is the given.
        """
        body, heights = self.body, self.heights
        low, high = body.trunk
        vertical = _vertical(scenes.camera)
        up = vertical if upright else body.up(joints)
        stature = self._stature(scenes)
        turned = joints.clone()
        for joint in self.middle:
            turned[:, joint] = joints[:, low] + up * (heights[joint] - heights[low]) * stature
        level = _turn(vertical, torch.pi * yaw / self.yaws)
        level = F.normalize(level - (level * up).sum(-1, keepdim=True) * up, dim=-1)
        for side, way in ((0, -1.0), (1, 1.0)):
            for limbs, centre in ((body.legs, low), (body.arms, high)):
                joint = limbs[side][0]
                half = scenes.lengths[:, self.bone[joint], None]
                turned[:, joint] = turned[:, centre] + way * half * level
            shoulder, *arm = body.arms[side]
            for joint in arm:
                drop = (heights[joint] - heights[shoulder]) * stature
                turned[:, joint] = turned[:, shoulder] + up * drop
        right, left = (list(leg[1:]) for leg in body.legs)
        apart = ((joints[:, left[0]] - joints[:, right[0]]) * level).sum(-1)
        crossed = (apart < 0)[:, None, None]
        turned[:, right] = torch.where(crossed, joints[:, left], joints[:, right])
        turned[:, left] = torch.where(crossed, joints[:, right], joints[:, left])
        return turned

    def _stature(self, scenes: Scenes) -> Tensor:
        """How tall people are whose trunks are as long as these, mm, (n, 1)."""
        low, joint = self.body.trunk
        share, trunk = self.heights[joint] - self.heights[low], 0.0
        while joint != low:
            trunk, joint = trunk + scenes.lengths[:, self.bone[joint]], self.parent[joint]
        return trunk[:, None] / share

    def _second_chance(self, fit: Fit, scenes: Scenes, generator: torch.Generator) -> Fit:
        """The worst explained scenes try another head and other arms, then other legs."""
        worst = fit.residual.topk(math.ceil(self.second_chance * len(fit.residual))).indices
        if not len(worst):
            return fit
        some = scenes.part(worst)._replace(sequence=torch.arange(len(worst)))
        before = Fit(*(value[worst] for value in fit))
        joints = self._straightened(before.joints_world, some)
        joints = self._search(joints, some, "arms", generator, 0.0)
        after = better(before, self._descend(joints, some, 25, 10))
        joints = self._other_legs(after.joints_world, some, generator)
        after = better(after, self._descend(joints, some, 35, 15))
        return Fit(*(old.index_copy(0, worst, new) for old, new in zip(fit, after, strict=True)))

    def _other_legs(self, joints: Tensor, scenes: Scenes, generator: torch.Generator) -> Tensor:
        """Poses whose feet have changed places, and legs that lead there."""
        right, left = self.body.legs
        found = joints.clone()
        for leg, ankle in ((right, left[2]), (left, right[2])):
            found[:, leg[2]] = joints[:, ankle]
            found[:, leg[1]] = (joints[:, leg[0]] + joints[:, ankle]) / 2
        return self._search(found, scenes, "legs", generator, 0.3)

    def _straightened(self, joints: Tensor, scenes: Scenes) -> Tensor:
        """Poses whose neck and head are in line with the trunk."""
        body, heights = self.body, self.heights
        high = body.trunk[1]
        straight, up = joints.clone(), body.up(joints) * self._stature(scenes)
        for joint in self.middle:
            if heights[joint] > heights[high]:
                straight[:, joint] = joints[:, high] + up * (heights[joint] - heights[high])
        straight[:, body.face[0]] = body.face_place(straight)
        return straight

    # -- time -----------------------------------------------------------------------------------

    def _in_time(self, fit: Fit, scenes: Scenes, loans: int) -> Fit:
        """Scenes take over what explains them better of their neighbours; then all are smooth."""
        if not self._neighbour(fit.joints_world, scenes, 1)[1].any():
            return fit
        low = self.body.trunk[0]
        for _ in range(loans):
            joints, best = fit.joints_world, None
            for step in (-1, 1):
                pose, _ = self._neighbour(joints, scenes, step)
                pose = pose + joints[:, [low]] - pose[:, [low]]
                best = better(best, Fit(pose, self._residual(pose, scenes)))
            fit = better(fit, self._descend(best.joints_world, scenes, 15, 8))
        return self._descend(fit.joints_world, scenes, 60, 20, smooth=True)

    def _neighbour(
        self, joints: Tensor, scenes: Scenes, step: int
    ) -> tuple[Tensor, Bool[Tensor, " n"]]:
        """The pose `step` moments later, left and right as is nearer, and whether there is one.

        Where there is none, the pose itself.
        """
        place = torch.arange(len(joints))
        other = (place + step).clamp(0, len(joints) - 1)
        known = (other == place + step) & (scenes.sequence[other] == scenes.sequence)
        pose = torch.where(known[:, None, None], joints[other], joints)
        renamed = pose[:, self.body.skeleton.flip]
        near, turned = ((p - joints).detach().norm(dim=-1).mean(-1) for p in (pose, renamed))
        return torch.where((turned < near)[:, None, None], renamed, pose), known

    def _bend(self, joints: Tensor, scenes: Scenes) -> Tensor:
        """How far joints are from the middle of their neighbours in time, m beyond the slack."""
        (before, first), (after, last) = (self._neighbour(joints, scenes, s) for s in (-1, 1))
        off = (joints - (before + after) / 2).square().sum(-1)
        off = (off + BEND_SLACK**2).sqrt() - BEND_SLACK
        return off.mean(-1) / MM_PER_M * (first & last)

    # -- gradient -------------------------------------------------------------------------------

    def _descend(
        self, start: Tensor, scenes: Scenes, steps: int, step_mm: float,
        trunk_only: bool = False, smooth: bool = False,
    ) -> Fit:  # fmt: skip
        """Follow the gradient of masks and anatomy.

        Args:
            start: Poses.
            scenes: Their masks.
            steps: Number of steps.
            step_mm: Length of the first ones; it falls to a tenth.
            trunk_only: Leave the arms undrawn; pixels left uncovered then count less.
            smooth: Keep joints near the middle of their neighbours in time.
        """
        joints = start.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([joints], betas=(0.8, 0.98))
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = step_mm * max(0.1, 1 - step / steps)
            with torch.enable_grad():
                loss = self.weights["mask"] * self._residual(joints, scenes, trunk_only)
                loss = loss + self._anatomy(joints, scenes)
                if smooth:
                    loss = loss + self.weights["smoothness"] * self._bend(joints, scenes)
                (joints.grad,) = torch.autograd.grad(loss.sum(), [joints])
            optimizer.step()
        with torch.no_grad():
            return Fit(joints.detach(), self._residual(joints, scenes, trunk_only))

    def _residual(self, joints: Tensor, scenes: Scenes, trunk_only: bool = False) -> Tensor:
        drawn = self.without_arms if trunk_only else self.all_capsules
        capsules = self.body.capsules(joints).only(drawn)
        error = self.body.draw(capsules, scenes.camera, scenes.mask.shape[-1]) - scenes.mask
        squared = error.square()
        if trunk_only:
            squared = torch.where(error > 0, squared, UNCOVERED * squared)
        return squared.mean((1, 2, 3))

    def _anatomy(self, joints: Tensor, scenes: Scenes) -> Tensor:
        """Weighted terms of each pose."""
        terms = self.anatomy.terms(joints, scenes.lengths, self.tolerance)
        place = self.body.face_place(joints)
        off = (joints[:, self.body.face[0]] - place).square().sum(-1).add(1e-6).sqrt()
        terms["face"] = ((off - FACE_SLACK).relu() / MM_PER_M).square()
        return torch.stack([self.weights[name] * term for name, term in terms.items()]).sum(0)

    # -- search ---------------------------------------------------------------------------------

    @torch.no_grad()
    def _search(
        self, start: Tensor, scenes: Scenes, limbs: str, generator: torch.Generator, spread: float
    ) -> Tensor:
        """Both legs or both arms in random directions, and together the pair that covers best.

        Args:
            start: Poses; their own limbs are among the candidates.
            scenes: Their masks.
            limbs: `legs` or `arms`.
            generator: Source of the directions.
            spread: Half of the candidates lie about the present limbs with this deviation; 0: none.
        """
        found = start.clone()
        lent = torch.stack([self._neighbour(start, scenes, step)[0] for step in LENDERS], 1)
        for first in range(0, len(start), SEARCHED):
            which = slice(first, first + SEARCHED)
            found[which] = self._search_some(
                start[which], scenes.part(which), limbs, generator, spread, lent[which]
            )
        return found

    def _search_some(
        self, joints: Tensor, scenes: Scenes, limbs: str, generator: torch.Generator, spread: float,
        lent: Tensor,
    ) -> Tensor:  # fmt: skip
        body, pair = self.body, getattr(self.body, limbs)
        size, n = scenes.mask.shape[-1], len(joints)
        moving = set(body.of_limbs(pair))
        rest = body.capsules(joints).only([i for i in self.all_capsules if i not in moving])
        base = body.draw(rest, scenes.camera, size)
        mask, scene = scenes.mask, torch.arange(n)[:, None]
        best = []
        for limb in pair:
            # tried: n m j 3, drawn: n m v h w
            tried = self._candidates(joints, scenes, limb, limbs, generator, spread, lent)
            drawn = self._draw_limb(tried, limb, scenes.camera, size)
            error = (torch.maximum(drawn, base[:, None]) - mask[:, None]).square().sum((2, 3, 4))
            finalists = min(FINALISTS, tried.shape[1])
            few = error.topk(finalists, largest=False).indices
            few[:, -1] = tried.shape[1] - 1  # the present limb stays among them
            best.append((tried[scene, few], drawn[scene, few]))
        (right, right_mask), (left, left_mask) = best
        both = torch.maximum(right_mask[:, :, None], left_mask[:, None])
        error = torch.maximum(both, base[:, None, None]).sub_(mask[:, None, None]).square_()
        winner = error.sum((3, 4, 5)).flatten(1).argmin(1)
        found = joints.clone()
        for limb, tried, number in (
            (pair[0], right, winner // finalists),
            (pair[1], left, winner % finalists),
        ):
            moved = list(limb[1:])
            found[:, moved] = tried[torch.arange(n), number][:, moved]
        return found

    def _candidates(
        self, joints: Tensor, scenes: Scenes, limb: tuple[int, ...], limbs: str,
        generator: torch.Generator, spread: float, lent: Tensor,
    ) -> Tensor:  # fmt: skip
        """Poses whose one limb points in random directions or as lent; the last is the present."""
        n, count = len(joints), self.candidates[limbs]

        def noise(scale: float) -> Tensor:
            random = torch.randn(n, count, 3, generator=generator)
            return F.normalize(random, dim=-1) * scale

        if limbs == "legs":  # rarely above the hip
            down = -_vertical(scenes.camera)[:, None]
            upper = F.normalize(down + noise(0.6), dim=-1)
            lower = F.normalize(upper + 0.5 * down + noise(0.5), dim=-1)
        else:
            upper = noise(1.0)
            lower = F.normalize(upper + noise(1.3), dim=-1)
        base, middle, tip = (joints[:, None, joint] for joint in limb)
        if spread:
            half = count // 2
            for way, now in ((upper, middle - base), (lower, tip - middle)):
                near = F.normalize(now, dim=-1) + spread * torch.randn(
                    n, half, 3, generator=generator
                )
                way[:, :half] = F.normalize(near, dim=-1)
        over, under = (
            F.normalize(lent[..., end, :] - lent[..., start, :], dim=-1)
            for start, end in pairwise(limb)
        )
        upper, lower = torch.cat([upper, over], 1), torch.cat([lower, under], 1)
        lengths = [scenes.lengths[:, self.bone[joint], None, None] for joint in limb[1:]]
        tried = joints[:, None].repeat(1, upper.shape[1] + 1, 1, 1)
        tried[:, :-1, limb[1]] = base + upper * lengths[0]
        tried[:, :-1, limb[2]] = tried[:, :-1, limb[1]] + lower * lengths[1]
        return tried

    def _draw_limb(self, tried: Tensor, limb: tuple[int, ...], camera: Camera, size: int) -> Tensor:
        """Masks (n m v h w) of one limb of many poses."""
        capsules = self.body.capsules(tried).only(self.body.of_limbs([limb]))
        each = Camera(*(value[:, None] for value in camera))
        return self.body.draw(capsules, each, size)


def better(one: Fit | None, other: Fit) -> Fit:
    """Of each scene the fit with the smaller residual."""
    if one is None:
        return other
    worse = other.residual > one.residual
    joints = torch.where(worse[:, None, None], one.joints_world, other.joints_world)
    return Fit(joints, torch.minimum(one.residual, other.residual))


def _vertical(camera: Camera) -> Float[Tensor, "n 3"]:
    """Up in the world, as the cameras of each scene are held: the mean of their own ups."""
    return F.normalize(-camera.R[..., 1, :].mean(-2), dim=-1)


def _turn(axis: Float[Tensor, "n 3"], angle: float) -> Float[Tensor, "n 3"]:
    """Unit vectors at right angles to an axis, turned about it by an angle from a fixed one."""
    aside = torch.eye(3)[axis[0].abs().argmin()].expand_as(axis)
    first = F.normalize(torch.linalg.cross(axis, aside), dim=-1)
    return first * math.cos(angle) + torch.linalg.cross(axis, first) * math.sin(angle)
