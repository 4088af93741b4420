"""Relabelling rounds: poses found so far, sorted out scene by scene, become pseudo-labels.

Masks cannot tell left from right, and mask training keeps what it once took for an arm. A round
freezes the detector, ties its views together, lets every scene explain its own masks
(`mask_sup.fitting`), names left and right so that the masks are explained better, drops what
explains its masks badly or equally well either way, and trains a detector on the rest, which
averages the remaining noise away. Image, mask and camera are all that is read.
"""

import copy
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset, Subset, default_collate

from mask_sup.data.moments import expand
from mask_sup.files.kept import Kept, digest
from mask_sup.fitting.fitter import PoseFitter
from mask_sup.fitting.scenes import Fit, Scenes
from mask_sup.geometry.batch import Batch, Camera
from mask_sup.method.regression import RegressionStage
from mask_sup.method.stages import Parts
from mask_sup.models.detector import Detector

__all__ = ["RelabelStage", "some_runs"]

LOOKED_AT = 64  # moments per forward pass
RUN = 10  # moments in a row that are chosen together
WORK = ("_explore", "_alternatives", "_searched", "_settle")  # where the fitter takes time


class Found(NamedTuple):
    """The scenes of a data set as a network and their cameras see them."""

    joints_world: Float[Tensor, "n j 3"]
    camera: Camera
    mask: Float[Tensor, "n v hm wm"]
    """As `PoseFitter.fit` takes it."""
    person: Int[Tensor, " n"]
    sequence: Int[Tensor, " n"]


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
        how: Recipe of the fitter: `explore` or `anew` for a first round: its detector is rough.
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
        if how not in parts.fitter.recipes:
            raise ValueError(
                f"how={how!r}: expected one of fitter.recipes, {list(parts.fitter.recipes)}"
            )
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
    def relabel(self, dataset: Dataset, kept: Kept) -> None:
        """Fill the pseudo-labels from the detector and the masks of the data set.

        Args:
            dataset: The training moments.
            kept: Where what is found on the way is kept, so that a stopped round goes on.
        """
        fitter, poses = resumable(self.fitter, kept), self.poses
        chosen = some_runs(len(dataset), self.scenes, fitter.seed)
        start, camera, mask, person, sequence = look(
            self.detector, self.fuse, Subset(dataset, chosen.tolist())
        )
        # Not every device detects to the same bit twice: all that follows goes by what was kept.
        start = _kept_start(start, self.detector, chosen, kept)
        follows = (chosen.diff() == 1) & (sequence.diff() == 0)
        sequence = F.pad((~follows).cumsum(0), (1, 0))
        met = len(poses.radius)  # by the round before, which may not have seen everybody
        build = fitter.usual(max(met, int(person.max()) + 1))
        if met:
            build.lengths[:met], build.radius[:met] = poses.lengths, poses.radius
        found = fitter.fit(self.how, start, camera, mask, person, sequence, build)
        residual, front = found.residual, found.front
        trusted = residual <= residual.quantile(self.keep)
        trusted &= front >= front[trusted].quantile(1 - self.keep_front)
        poses.fill(len(dataset), chosen, found, trusted)


def resumable(fitter: PoseFitter, kept: Kept) -> PoseFitter:
    """The same fitter; what its jobs find is kept, and found again where they were done before."""
    again = copy.copy(fitter)
    for work in WORK:
        setattr(again, work, _KeptWork(getattr(fitter, work), kept))
    return again


class _KeptWork:
    """Work of a fitter's jobs; one with the same scenes, start, settings and seed is done once."""

    def __init__(self, work: Callable[..., Fit], kept: Kept):
        self.work, self.kept = work, kept

    def __call__(
        self, joints: Tensor, scenes: Scenes, generator: torch.Generator, *told: Any
    ) -> Fit:
        camera, *rest = scenes
        given = [part.numpy() for part in (joints, *camera, *rest)]
        name = [self.work.__name__, generator.initial_seed(), *told]

        def make() -> dict[str, np.ndarray]:
            found = self.work(joints, scenes, generator, *told)
            return {name: value.numpy() for name, value in found._asdict().items()}

        arrays = self.kept.made(digest(name, *given), make)
        return Fit(*(torch.from_numpy(arrays[name]) for name in Fit._fields))


def _kept_start(start: Tensor, detector: Detector, chosen: Tensor, kept: Kept) -> Tensor:
    """What these weights saw in these moments when the round was begun."""
    weights = [value.detach().cpu().numpy() for value in detector.state_dict().values()]
    name = digest("seen", *weights, chosen.numpy())
    return torch.from_numpy(kept.made(name, lambda: {"joints": start.numpy()})["joints"])


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
        mask = views.mask.where(views.weight > 0, torch.nan)
        parts.append(Found(joints, views.camera, mask, views.person, views.sequence))
    detector.train(training)
    camera = Camera(*(torch.cat(part) for part in zip(*(p.camera for p in parts), strict=True)))
    joints, mask, person, sequence = (
        torch.cat([getattr(part, name) for part in parts])
        for name in ("joints_world", "mask", "person", "sequence")
    )
    return Found(joints, camera, mask, person, sequence)
