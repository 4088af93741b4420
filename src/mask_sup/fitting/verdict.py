"""How far poses can be trusted, as their masks tell: what views that agree cannot fake.

What the body leaves unexplained says by view and limb where it differs from the masks. A pose that
bends the anatomy to cover them is strained. And a joint is held where the outline moves with it: a
limb inside the trunk's outline in all views moves unnoticed. Where moments follow each other in
time, a joint that is not between where it was and where it will be is wrong in one of them.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mask_sup.figure.body import POWER, Body
from mask_sup.fitting.fitter import Fitted, PoseFitter
from mask_sup.fitting.objective import Objective
from mask_sup.fitting.scenes import Scenes
from mask_sup.fitting.sequences import neighbour
from mask_sup.geometry.batch import Camera
from mask_sup.geometry.camera import cam_from_world, crop_from_cam

__all__ = ["Evidence", "Verdict", "evidence", "expected", "judge"]

CHUNK = 16  # scenes that are looked at together
TINY = 1e-6


class Verdict(NamedTuple):
    """How far poses can be trusted."""

    unexplained_view: Float[Tensor, "n v"]
    """Share of each view's foreground that the body leaves unexplained; NaN without any."""
    unexplained_limb: Float[Tensor, "n l"]
    """Squared difference of what is nearest to the trunk, or to each of `Body.limbs`, as a share of
    the body drawn there, all views."""
    strain: Float[Tensor, " n"]
    """What the anatomy has against the pose, as a share of the foreground."""
    expected_mm: Float[Tensor, "n j"]
    """Expected distance of each joint from the true one, mm, see `expected`."""
    signs: dict[str, Float[Tensor, "n j"]]
    """By the name of their weight, squared: shares of the stature; `view`, `limb` and `strain` of
    the foreground."""


class Evidence(NamedTuple):
    """What masks say of poses."""

    view: Float[Tensor, "n v"]
    """Share of each view's foreground that the body leaves unexplained."""
    misplaced: Float[Tensor, "n v"]
    """The same, of mask without body or of body without mask, whichever is less: a part in a wrong
    place leaves both, what masks lack or hold beside the person leaves one alone."""
    limb_off: Float[Tensor, "n v l"]
    """Squared difference of what is nearest to the trunk, or to each of `Body.limbs`."""
    limb_drawn: Float[Tensor, "n v l"]
    """The body drawn there."""
    held: Float[Tensor, "n j 3 3"]
    """Squared change of all pixels for a joint that moves, per square mm."""


def judge(
    fitter: PoseFitter,
    found: Fitted,
    camera: Camera,
    mask: Float[Tensor, "n v hm wm"],
    sequence: Int[Tensor, " n"] | None = None,
) -> Verdict:
    """What speaks against poses of one subject, and how far off they may be.

    Args:
        fitter: Whose body, anatomy and weights (`verdict`) it is.
        found: The poses, wherever they came from.
        camera: Cameras of the views (n v).
        mask: As in `PoseFitter.fit`.
        sequence: As in `PoseFitter.fit`.
    """
    shown = fitter.shows(mask)
    scenes = fitter.scenes(camera, mask, found.build, sequence=sequence)
    joints, stature = found.joints_world, fitter.stature(found.build)
    told, objective = evidence(joints, scenes, fitter.objective), fitter.objective
    strain = objective.prior(joints, scenes) / objective.weights["mask"] / scenes.area
    signs = _signs(fitter.body, told, strain, found, stature, fitter.verdict)
    signs["jumps"] = _jumps(joints, scenes, fitter.body) / stature**2
    view = torch.where(shown, told.view, torch.nan)
    limb = told.limb_off.sum(1) / told.limb_drawn.sum(1).clamp_min(1.0)
    share = expected(signs, ways_from_root(fitter), fitter.verdict)
    return Verdict(view, limb, strain, stature * share, signs)


def expected(
    signs: Mapping[str, Float[Tensor, "n j"]],
    way: Float[Tensor, " j"],
    weights: Mapping[str, float],
) -> Float[Tensor, "n j"]:
    """Expected errors about the root joint, as shares of the stature.

    The root s of the weighed signs, added up, grows with the `way` from the root joint, over which
    errors add up: with (near + way) over its mean. And wrong poses still are of one person in one
    place: errors come near `most` alone, s / (1 + s / most).
    """
    total = sum(weights[name] ** 2 * sign for name, sign in signs.items())
    farther = weights["near"] + way
    share = (weights["floor"] ** 2 + total).sqrt() * farther / farther.mean()
    return share / (1 + share / weights["most"])


def ways_from_root(fitter: PoseFitter) -> Float[Tensor, " j"]:
    """Usual way from the root joint to each along the bones, as a share of the stature."""
    skeleton, anatomy = fitter.body.skeleton, fitter.anatomy
    above = {
        child: (parent, float(length))
        for (parent, child), length in zip(anatomy.tree, anatomy.length, strict=True)
    }
    way = torch.zeros(len(skeleton.joints))
    for joint in range(len(way)):
        higher = joint
        while higher != skeleton.root:
            higher, length = above[higher]
            way[joint] += length
    return way / fitter.stature(fitter.usual())


def _signs(
    body: Body,
    told: Evidence,
    strain: Float[Tensor, " n"],
    found: Fitted,
    stature: float,
    weights: Mapping[str, float],
) -> dict[str, Float[Tensor, "n j"]]:
    """See `Verdict.signs`.

    Of the views, and of each limb's, all but the worst count: one whose masks are wrong does not
    spoil a pose that the others hold.
    """
    joints, kept = found.joints_world, max(2, told.view.shape[1] - 1)
    view = told.misplaced.sort(1).values[:, :kept].mean(1)
    best = told.limb_off.argsort(1)[:, :kept]
    off, drawn = (part.gather(1, best).sum(1) for part in (told.limb_off, told.limb_drawn))
    unexplained = off / drawn.clamp_min(1.0)
    limb_of = torch.zeros(joints.shape[1], dtype=torch.long)
    for number, limb in enumerate(body.limbs, 1):
        limb_of[list(limb[1:])] = number
    renamed = (joints - joints[:, list(body.skeleton.flip)]).norm(dim=-1) / stature
    wrong = torch.sigmoid(-found.front.nan_to_num(torch.inf) / weights["front"])
    bones = torch.eye(3) / (weights["reach"] * stature) ** 2
    free = torch.linalg.inv(told.held / weights["pixel"] ** 2 + bones)
    return {
        "view": view.square()[:, None].expand(joints.shape[:2]),
        "limb": unexplained[:, limb_of].square(),
        "strain": strain.square()[:, None].expand(joints.shape[:2]),
        "spread": (found.spread.nan_to_num(0.0) / stature).square(),
        "named": wrong[:, None] * renamed.square(),
        "held": free.diagonal(dim1=-2, dim2=-1).sum(-1) / stature**2,
    }


def _jumps(joints: Tensor, scenes: Scenes, body: Body) -> Float[Tensor, "n j"]:
    """Squared way of joints about the root from the middle of the moments before and after, mm."""
    root = body.skeleton.root
    total, count = torch.zeros_like(joints), torch.zeros(len(joints), 1, 1)
    for step in (-1, 1):
        pose, known = neighbour(joints, scenes, step, body.skeleton.flip)
        moved = joints - joints[:, [root]] - (pose - pose[:, [root]])
        total, count = total + moved * known[:, None, None], count + known[:, None, None]
    return (total / count.clamp_min(1)).square().sum(-1)


def evidence(joints: Float[Tensor, "n j 3"], scenes: Scenes, objective: Objective) -> Evidence:
    """What the masks say of poses.

    Args:
        joints: Poses, mm.
        scenes: Their masks.
        objective: Draws the body.
    """
    some = [slice(first, first + CHUNK) for first in range(0, len(joints), CHUNK)]
    found = [_evidence(joints[part], scenes.part(part), objective) for part in some]
    return Evidence(*(torch.cat(part) for part in zip(*found, strict=True)))


@torch.no_grad()
def _evidence(joints: Tensor, scenes: Scenes, objective: Objective) -> Evidence:
    body, camera, size = objective.body, scenes.camera, scenes.mask.shape[-1]
    capsules = objective.capsules(joints, scenes.radius)
    ends = capsules.ends.flatten(1, 2).unsqueeze(1)  # n 1 2b 3
    cam = cam_from_world(ends, camera)
    xy = crop_from_cam(cam, camera).unflatten(2, (-1, 2))  # n v b 2 2
    width = body.width(capsules, camera, cam).expand(xy.shape[:3])  # n v b
    near = _nearest(xy, width, size)
    drawn = (-near.far.pow(POWER)).exp() * scenes.known
    off, area = drawn - scenes.mask, scenes.mask.mean((-1, -2)).clamp_min(TINY)
    sides = [side.relu().square().mean((-1, -2)) / area for side in (off, -off)]
    view, misplaced = sides[0] + sides[1], torch.minimum(*sides)
    off = off.square()
    limb_of = torch.zeros(xy.shape[2], dtype=torch.long)
    for number, limb in enumerate(body.limbs, 1):
        limb_of[body.of_limbs([limb])] = number
    place = limb_of[near.which].flatten(2)
    sums = torch.zeros(2, *xy.shape[:2], len(body.limbs) + 1)
    for total, values in zip(sums, (off, drawn), strict=True):
        total.scatter_add_(2, place, values.flatten(2))
    held = _held(near, drawn, xy, cam, width, body, camera)
    return Evidence(view, misplaced, *sums, held)


class _Near(NamedTuple):
    """Of each pixel."""

    which: Int[Tensor, "n v h w"]
    """Its capsule: the nearest, in widths."""
    far: Float[Tensor, "n v h w"]
    """Squared distance, in widths."""
    along: Float[Tensor, "n v h w"]
    """Place of the nearest point on the capsule's axis, 0 to 1."""
    way: Float[Tensor, "n v h w 2"]
    """From that point to the pixel, crop units."""


def _nearest(xy: Tensor, width: Tensor, size: int) -> _Near:
    centre = (torch.arange(size) * 2 + 1) / size - 1
    pixel = torch.stack(torch.meshgrid(centre, centre, indexing="xy"), -1)  # h w 2
    best: list[Tensor] = []
    for b in range(xy.shape[2]):
        a, u = xy[:, :, b, 0, None, None], (xy[:, :, b, 1] - xy[:, :, b, 0])[:, :, None, None]
        way = pixel - a
        along = (way * u).sum(-1) / u.square().sum(-1).clamp_min(TINY)
        along = along.clamp(0, 1)
        way = way - along[..., None] * u
        far = way.square().sum(-1) / width[:, :, b, None, None].square()
        if b == 0:
            best = [torch.zeros_like(far, dtype=torch.long), far, along, way]
            continue
        nearer = far < best[1]
        best = [
            torch.where(nearer, b, best[0]),
            torch.where(nearer, far, best[1]),
            torch.where(nearer, along, best[2]),
            torch.where(nearer[..., None], way, best[3]),
        ]
    return _Near(*best)


def _held(
    near: _Near, drawn: Tensor, xy: Tensor, cam: Tensor, width: Tensor, body: Body, camera: Camera
) -> Float[Tensor, "n j 3 3"]:
    """Gauss-Newton's matrix of each joint by itself: sum of the squared slopes of pixels."""
    n, v, capsules = xy.shape[:3]
    which = near.which.flatten(2)
    per_width = width.gather(2, which).unflatten(2, near.which.shape[2:])
    slope = 2 * POWER * near.far.pow(POWER - 1) * drawn / per_width.square()
    pull = slope[..., None] * near.way  # n v h w 2: of the axis' nearest point
    square = torch.stack(
        [pull[..., 0].square(), pull[..., 0] * pull[..., 1], pull[..., 1].square()], -1
    ).flatten(2, 3)
    held = torch.zeros(n, len(body.skeleton.joints), 3, 3)
    index = which[..., None].expand_as(square)
    joints = body.ends_of  # (start, end) joint of each capsule
    depth = cam[..., 2].unflatten(2, (capsules, 2)).clamp_min(1.0)
    foot = near.which >= len(body.start)  # both ends move with the ankle
    shares = (torch.where(foot, 1.0, 1 - near.along), torch.where(foot, 0.0, near.along))
    for end, share in enumerate(shares):
        weighed = square * share.flatten(2)[..., None].square()
        total = torch.zeros(n, v, capsules, 3).scatter_add_(2, index, weighed)
        image = total[..., [0, 1, 1, 2]].unflatten(-1, (2, 2))  # n v b 2 2
        step = camera.K[:, :, None, :2] @ camera.R[:, :, None]  # n v 1 2 3
        step = step - xy[:, :, :, end, :, None] * camera.R[:, :, None, 2:]
        step = step / depth[..., end, None, None]
        world = (step.mT @ image @ step).sum(1)  # n b 3 3
        held.index_add_(1, torch.tensor(joints[end]), world)
    return held
