"""Relabelling rounds: poses found so far, sorted out scene by scene, become pseudo-labels.

Masks cannot tell left from right, and mask training keeps what it once took for an arm. A round
freezes the detector, ties its views together, lets every scene explain its own masks
(`mask_sup.method.fitting`), names left and right so that the masks are explained better, drops what
explains its masks badly or equally well either way, and trains a detector on the rest, which
averages the remaining noise away. Image, mask and camera are all that is read.
"""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset, Subset, default_collate

from mask_sup.data.moments import expand
from mask_sup.figure.anatomy import bone_lengths
from mask_sup.figure.body import Body
from mask_sup.geometry.batch import Batch, Camera
from mask_sup.method.fitting import Fit, PoseFitter, better
from mask_sup.method.regression import RegressionStage
from mask_sup.method.stages import Parts
from mask_sup.models.detector import Detector

__all__ = ["RelabelStage", "both_ways", "same_side", "some_runs", "statures"]

LOOKED_AT = 64  # moments per forward pass
FOR_RADII = 60  # scenes tell how thick the body is
RUN = 10  # moments in a row that are chosen together


class Found(NamedTuple):
    """The scenes of a data set as a network and their cameras see them."""

    joints_world: Float[Tensor, "n j 3"]
    camera: Camera
    mask: Float[Tensor, "n v hm wm"]
    person: Int[Tensor, " n"]
    sequence: Int[Tensor, " n"]


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


def both_ways(
    joints: Float[Tensor, "n j 3"],
    fitter: PoseFitter,
    camera: Camera,
    mask: Float[Tensor, "n v h w"],
    lengths: Float[Tensor, "n b"] | None = None,
    sequence: Int[Tensor, " n"] | None = None,
) -> tuple[Fit, Fit]:
    """Poses settled on their masks as they are named, and with left and right exchanged.

    Masks show the front by what is not the same behind: feet point forward, and legs that have to
    reach feet turned backward fit badly. Once both namings have settled, the right one mostly
    explains the masks better.
    """
    as_named, exchanged = (
        fitter.fit("settle", face_forward(pose, fitter.body), camera, mask, lengths, sequence)
        for pose in (joints, joints[:, fitter.body.skeleton.flip])
    )
    return as_named, exchanged


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


def some_runs(moments: int, count: int | None, seed: int) -> Int[Tensor, " n"]:
    """At most `count` of so many moments, in order: runs of neighbours, drawn at random."""
    if count is None or count >= moments:
        return torch.arange(moments)
    generator = torch.Generator().manual_seed(seed)
    first = torch.randperm(math.ceil(moments / RUN), generator=generator) * RUN
    all_of_them = (first[:, None] + torch.arange(RUN)).flatten()
    return all_of_them[all_of_them < moments][:count].sort().values


class RelabelStage(RegressionStage):
    """Make pseudo-labels with the detector as it is, then train it (or a fresh one) on them.

    Args:
        parts: Shared networks; needs a fitter.
        fuse: Ties the views together.
        how: `explore` searches every scene from its trunk alone (the first round), `polish` and
            `refine` start from the detector's whole pose (`PoseFitter.fit`).
        scenes: At most so many scenes, in short runs drawn at random, are relabelled; null: all.
            A later round draws the same ones again, and more.
        keep: Share of them whose masks are explained best that is learned from.
        keep_front: Of those, the share with the surest front.
        fresh: Whether the detector starts from new weights.
        stage: See `RegressionStage`.
    """

    def __init__(
        self,
        parts: Parts,
        fuse: nn.Module,
        how: str,
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
        if how not in ("explore", "polish", "refine"):
            raise ValueError(f"a relabel stage can explore, polish or refine, got how={how!r}")
        self.fitter, self.poses, self.fuse = parts.fitter, parts.poses, fuse
        self.how, self.fresh = how, fresh
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
        """Fill the pseudo-labels from the detector and the masks of the data set."""
        fitter, poses = self.fitter, self.poses
        chosen = some_runs(len(dataset), self.scenes, fitter.seed)
        start, camera, mask, person, sequence = look(
            self.detector, self.fuse, Subset(dataset, chosen.tolist())
        )
        follows = (chosen.diff() == 1) & (sequence.diff() == 0)
        sequence = F.pad((~follows).cumsum(0), (1, 0))
        lengths = None
        if len(poses.kept) and (trusted := poses.kept[chosen]).any():
            lengths = statures(poses.joints_world[chosen], person, trusted, fitter)
        fitter.body.radius.copy_(poses.radius if len(poses.radius) else fitter.usual_radius)
        found = fitter.fit(self.how, start, camera, mask, lengths, sequence)
        best = found.residual.argsort()[: math.ceil(self.keep * len(start))]
        some = best[:: math.ceil(len(best) / FOR_RADII)]
        radius = fitter.fit_radii(
            found.joints_world[some], Camera(*(value[some] for value in camera)), mask[some]
        )
        joints = same_side(found.joints_world, fitter.body)
        fit, other = both_ways(joints, fitter, camera, mask, lengths, sequence)
        fit, front = better(fit, other), (fit.residual - other.residual).abs()
        kept = fit.residual <= fit.residual.quantile(self.keep)
        kept &= front >= front[kept].quantile(1 - self.keep_front)
        poses.fill(len(dataset), chosen, fit, front, kept, radius)


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
        parts.append(Found(joints, views.camera, views.mask, views.person, views.sequence))
    detector.train(training)
    camera = Camera(*(torch.cat(part) for part in zip(*(p.camera for p in parts), strict=True)))
    joints, mask, person, sequence = (
        torch.cat([getattr(part, name) for part in parts])
        for name in ("joints_world", "mask", "person", "sequence")
    )
    return Found(joints, camera, mask, person, sequence)
