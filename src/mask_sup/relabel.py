"""Relabelling rounds: poses found so far, sorted out scene by scene, become pseudo-labels.

Masks cannot tell left from right, and mask training keeps what it once took for an arm. A round
freezes the detector, ties its views together, lets every scene explain its own masks
(`mask_sup.fitting`), decides left and right by what has a front (knees, feet), drops what explains
its masks badly, and trains a detector on the rest, which averages the remaining noise away. Image,
mask and camera are all that is read.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from mask_sup.anatomy import bone_lengths
from mask_sup.batch import Batch, Camera
from mask_sup.body import Body
from mask_sup.data.moments import expand
from mask_sup.fitting import PoseFitter
from mask_sup.models.detector import Detector
from mask_sup.regression import RegressionStage
from mask_sup.stages import Parts

__all__ = ["RelabelStage", "front_score", "same_side", "statures"]

LOOKED_AT = 64  # moments per forward pass
KNEES_MM = 100.0  # knees this far in front of their legs count as one vote
FEET = 1 / 1500  # and so does a residual that is this much smaller than with turned feet


class Found(NamedTuple):
    """The scenes of a data set as a network and their cameras see them."""

    joints_world: Float[Tensor, "n j 3"]
    camera: Camera
    mask: Float[Tensor, "n v hm wm"]
    person: Int[Tensor, " n"]


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


def face_forward(joints: Float[Tensor, "n j 3"], body: Body) -> Float[Tensor, "n j 3"]:
    """Poses whose face joint lies at its place in front of the head."""
    joints = joints.clone()
    joints[:, body.face[0]] = body.face_place(joints)
    return joints


def front_score(
    joints: Float[Tensor, "n j 3"],
    fitter: PoseFitter,
    camera: Camera,
    mask: Float[Tensor, "n v h w"],
) -> Float[Tensor, " n"]:
    """Votes that a pose is named the right way round; below 0: left and right are exchanged.

    Two things have a front that masks show: knees bend forward (`KNEES_MM` a vote), and feet point
    forward (the masks are explained better, `FEET` a vote).
    """
    body = fitter.body
    front = body.front(joints, body.legs)
    votes = torch.zeros(len(joints))
    for hip, knee, ankle in body.legs:
        bend = joints[:, knee] - (joints[:, hip] + joints[:, ankle]) / 2
        votes += (bend * front).sum(-1) / KNEES_MM
    renamed = joints[:, body.skeleton.flip]
    worse = fitter.residual(renamed, camera, mask) - fitter.residual(joints, camera, mask)
    return votes + worse / FEET


def statures(
    joints: Float[Tensor, "n j 3"],
    person: Int[Tensor, " n"],
    trusted: Bool[Tensor, " n"],
    fitter: PoseFitter,
) -> Float[Tensor, "n b"]:
    """Bone lengths (mm) of the person in each scene: the usual ones at this person's size.

    The size is the median, over the trusted scenes of a person, of all bones against the usual.
    """
    usual = fitter.anatomy.length
    size = bone_lengths(joints, fitter.anatomy.tree).sum(-1) / usual.sum()
    lengths = usual.repeat(len(joints), 1)
    for who in person[trusted].unique():
        own = person == who
        lengths[own] = usual * size[own & trusted].median()
    return lengths


class RelabelStage(RegressionStage):
    """Make pseudo-labels with the detector as it is, then train it (or a fresh one) on them.

    Args:
        parts: Shared networks; needs a fitter.
        fuse: Ties the views together.
        explore: Search every scene from its trunk alone (the first round); else start from the
            detector's whole pose.
        rename: Decide left and right of each scene by its front score (the first round, when
            names are arbitrary); else leave out the scenes whose score contradicts the detector.
        scenes: At most so many scenes, drawn at random, are relabelled; null: all.
        keep: Share of them whose masks are explained best that is learned from.
        keep_front: Of those, the share with the surest front.
        fresh: Whether the detector starts from new weights.
        stage: See `RegressionStage`.
    """

    def __init__(
        self,
        parts: Parts,
        fuse: nn.Module,
        explore: bool,
        rename: bool,
        scenes: int | None,
        keep: float,
        keep_front: float,
        fresh: bool,
        **stage: Any,
    ):
        super().__init__(parts.detector, **stage)
        if parts.fitter is None or not fuse.needs_cameras:
            raise ValueError(
                "a relabel stage fits triangulated poses to masks: it needs anatomy=human and "
                "Delta; without them use a cascade without relabel stages (cascade=quick_masks)"
            )
        self.fitter, self.poses, self.fuse = parts.fitter, parts.poses, fuse
        self.explore, self.rename, self.fresh = explore, rename, fresh
        self.scenes, self.keep, self.keep_front = scenes, keep, keep_front

    def targets(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The pseudo-labels of the batch; `batch.labels` is never read."""
        return self.poses.at(batch.views.index)

    @property
    def moments(self) -> list[int]:
        """The moments whose pseudo-labels are trusted."""
        return self.poses.kept.nonzero().flatten().tolist()

    def start(self) -> None:
        """Give the detector new weights, where the round asks for a fresh one."""
        if self.fresh:
            with torch.random.fork_rng(devices=[]):  # a resumed run must not draw other weights
                torch.manual_seed(self.fitter.seed)
                self.detector.reset()

    @torch.no_grad()
    def relabel(self, dataset: Dataset) -> None:
        """Fill the pseudo-labels from the detector and the masks of the data set.

        Raises:
            ValueError: If no scene is left to learn from.
        """
        found, fitter = look(self.detector, self.fuse, dataset), self.fitter
        chosen = torch.arange(len(dataset))
        if self.scenes is not None:
            generator = torch.Generator().manual_seed(fitter.seed)
            chosen = torch.randperm(len(dataset), generator=generator)[: self.scenes]
        lengths = None
        if self.poses.kept.any():
            kept = self.poses.kept
            lengths = statures(self.poses.joints_world, found.person, kept, fitter)[chosen]
        camera, mask = Camera(*(part[chosen] for part in found.camera)), found.mask[chosen]
        how = "explore" if self.explore else "polish"
        joints = fitter.fit(how, found.joints_world[chosen], camera, mask, lengths).joints_world
        joints = face_forward(same_side(joints, fitter.body), fitter.body)
        front = front_score(joints, fitter, camera, mask)
        if self.rename:
            wrong = (front < 0)[:, None, None]
            joints = torch.where(wrong, joints[:, fitter.body.skeleton.flip], joints)
            joints, front = face_forward(joints, fitter.body), front.abs()
        fit = fitter.fit("settle", joints, camera, mask, lengths)
        kept = fit.residual <= fit.residual.quantile(self.keep)
        kept &= (front >= front[kept].quantile(1 - self.keep_front)) & (front > 0)
        if not kept.any():
            raise ValueError(
                f"none of {len(chosen)} scenes is left to learn from: every pose contradicts the "
                "detector's left and right; use rename=true, or train the stages before for longer"
            )
        self.poses.fill(len(dataset), chosen, fit, front, kept)


@torch.no_grad()
def look(detector: Detector, fuse: nn.Module, dataset: Dataset) -> Found:
    """What the detector sees in a data set, tied together over views, with a progress bar."""
    from rich.progress import track

    training = detector.training
    detector.eval()
    device = next(detector.parameters()).device
    parts = []
    for first in track(range(0, len(dataset), LOOKED_AT), "looking at the training moments"):
        last = min(first + LOOKED_AT, len(dataset))
        views = expand(default_collate([dataset[i] for i in range(first, last)])).views
        xy = detector(views.image.to(device))[..., :2].cpu()
        joints = fuse(xy, views.camera).joints_world
        parts.append(Found(joints, views.camera, views.mask, views.person))
    detector.train(training)
    camera = Camera(*(torch.cat(part) for part in zip(*(p.camera for p in parts), strict=True)))
    joints, mask, person = (
        torch.cat([getattr(part, name) for part in parts])
        for name in ("joints_world", "mask", "person")
    )
    return Found(joints, camera, mask, person)
