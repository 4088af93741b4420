"""The method: what each stage of the cascade draws, and what it compares (sec. 3.2-3.4).

    | paper | code |
    |---|---|
    | I, M^gt | `views.image`, `views.mask` |
    | phi | `Detector` |
    | x, X | `xy`, `joints_world` |
    | B_b, M_Skel | `SkeletonRenderer`, `skeleton_mask` |
    | psi, M_Phys | `shape_prior`, `physique_mask` |
    | G | `views.weight` |
    | Delta, Pi | `fuse`, `Camera` |
    | lambda_s, lambda_p | `weights["skeleton"]`, `weights["physique"]` |
    | sigma | `renderer.width` |

Classes say what a stage is; `conf/cascade/*.yaml` says how strong and how long.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from lightning import LightningModule
from torch import Tensor, nn

from mask_sup.figure.anatomy import ANATOMY_TERMS
from mask_sup.figure.body import Body
from mask_sup.figure.render import SkeletonRenderer
from mask_sup.fitting.fitter import PoseFitter
from mask_sup.geometry.batch import Batch, Views
from mask_sup.geometry.triangulate import Fused
from mask_sup.method.losses import (
    anchor_loss,
    consistency_loss,
    depth_loss,
    mask_loss,
    residual_loss,
    rest_loss,
    upright_loss,
)
from mask_sup.method.pseudo import PseudoPoses
from mask_sup.metrics import PoseMetrics, score
from mask_sup.models.detector import Detector
from mask_sup.models.shape_prior import PatchShapePrior, ShapePrior

__all__ = [
    "ArmsStage",
    "CascadeStage",
    "DetectorStage",
    "Parts",
    "PhysiqueStage",
    "Plateau",
    "SkeletonStage",
]


BLOCKS = 10  # of the window of a plateau
SURE = 2.896  # 99 % quantile of Student's t with BLOCKS - 2 degrees of freedom, one-sided
CROP_PADDING = 1.2  # the padding of the crop that the upright start assumes


class Parts(NamedTuple):
    """The networks that every stage shares. Built once; a stage registers only what it trains."""

    detector: Detector
    renderer: SkeletonRenderer
    shape_prior: ShapePrior | PatchShapePrior | None = None
    """None: trained without psi."""
    anatomy: nn.Module | None = None
    """Terms on triangulated joints (`mask_sup.figure.anatomy`); None: none."""
    body: Body | None = None
    """A person as capsules: what is a limb, where is the front; None: points without a skeleton."""
    fitter: PoseFitter | None = None
    """Fits poses to masks, for relabelling rounds; None: without anatomy there are none."""
    poses: PseudoPoses | None = None
    """Pseudo-labels of the last relabelling round."""


class Drawn(NamedTuple):
    """One forward pass: what was detected, tied together, and drawn."""

    joints_crop: Float[Tensor, "n v j 3"]
    fused: Fused
    skeleton_mask: Float[Tensor, "n v hm wm"]


class Plateau:
    """Whether a loss has come to rest, as far as its noise lets one see.

    Twice a window, its steps are cut into ten blocks and a straight line is laid through their
    means. The plateau is reached when even the upper confidence bound of the fall over the window
    (99 %, Student's t on the scatter about the line) is below `tolerance` of the loss, and so is
    the width of that bound: a fall that noise could hide keeps the stage going, up to its
    `max_steps`. A loss that varies by a share s from step to step can be seen at rest within a
    tolerance of about 10 s / sqrt(window), where steps vary independently; noise that lasts for c
    steps hides as much as one sqrt(c) times as strong. `benchmarks/plateau.py` counts how often
    rest is seen, and a fall taken for it.

    Args:
        window: Steps looked at, at least 20.
        tolerance: Smallest relative fall over the window that still counts as progress.
    """

    def __init__(self, window: int, tolerance: float):
        self.window, self.tolerance = window, tolerance
        self.values: deque[float] = deque(maxlen=window)
        self.seen = 0
        self.reached = False

    def update(self, value: float) -> bool:
        """Take one more value; True from the step on which the plateau is reached."""
        self.values.append(value)
        self.seen += 1
        whole = len(self.values) == self.window
        if whole and not self.reached and self.seen % (self.window // 2) == 0:
            fall, doubt = self._fall()
            self.reached = max(fall + doubt, doubt) < self.tolerance
        return self.reached

    def _fall(self) -> tuple[float, float]:
        """The fall over the window and how far off it may be, shares of the loss."""
        size = self.window // BLOCKS
        values = torch.tensor(list(self.values), dtype=torch.float64)[-BLOCKS * size :]
        means = values.reshape(BLOCKS, size).mean(1)
        place = torch.arange(BLOCKS, dtype=torch.float64) - (BLOCKS - 1) / 2
        slope = (place * means).sum() / place.square().sum()
        off = means - means.mean() - slope * place
        error = (off.square().sum() / (BLOCKS - 2) / place.square().sum()).sqrt()
        level = means.mean().abs().clamp_min(1e-12) / BLOCKS
        return float(-slope / level), float(SURE * error / level)

    def state(self) -> dict[str, Any]:
        """What a resumed stage needs to end where it would have."""
        return {"values": list(self.values), "seen": self.seen, "reached": self.reached}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.values.extend(state["values"])
        self.seen, self.reached = state["seen"], state["reached"]


class DetectorStage(LightningModule):
    """What every stage does: hold the detector, optimise, validate.

    Args:
        detector: The network that is trained.
        optimizer: Parameters -> optimiser; every stage starts a fresh one.
    """

    def __init__(
        self,
        detector: Detector,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
    ):
        super().__init__()
        self.detector, self.optimizer = detector, optimizer
        self.metrics, self.labelled = PoseMetrics(detector.skeleton.labelled), False

    @property
    def moments(self) -> list[int] | None:
        """The training moments to learn from, by number; None: all."""
        return None

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Metrics of the detector alone, against labels; no gradient comes from here.

        Returns:
            The detected joints, for subclasses to log more of them.
        """
        joints_crop = self.detector(batch.views.image)
        if not self.detector.skeleton.is_free:  # labels tell nothing of points without names
            labelled, _ = score(self.metrics, joints_crop, batch, self.detector.depth_range)
            self.labelled |= labelled
        return joints_crop

    def on_validation_epoch_end(self) -> None:
        """Log the metrics that the labels of the data allow."""
        if not self.labelled:
            return
        values = self.metrics.compute()
        self.metrics.reset()
        known = {f"val/{k}": v for k, v in values.items() if v == v}  # NaN: not labelled
        self.log_dict(known, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """A fresh optimiser over what this stage registers."""
        return self.optimizer(self.parameters())


class CascadeStage(DetectorStage):
    """Detect, tie the views together, draw the skeleton, compare it with the mask.

    Args:
        parts: Shared networks.
        fuse: Delta, or the identity (`mask_sup.geometry.triangulate`).
        weights: Weight per term of `losses`, one entry for each; 0 switches a term off.
        drawn: Bone groups to draw instead of the stage's own; None: its own.
        optimizer: Parameters -> optimiser; every stage starts a fresh one.
        width_start: Factor on the bone width at the first step.
        width_steps: Steps over which the factor falls geometrically to 1 (coarse to fine).
        upright_steps: First steps, over which the `upright` term fades out.
        exit_plateau: Window and tolerance of the plateau of the stage's own loss that ends it
            before its `max_steps`; None: steps alone.
    """

    drawn: tuple[str, ...]
    terms: frozenset[str] = frozenset(ANATOMY_TERMS) | {
        "skeleton", "physique", "rest", "consistency", "depth", "upright", "anchor", "residual",
    }  # fmt: skip
    """What `weights` may name; a subclass with a loss of its own adds its name."""

    def __init__(
        self,
        parts: Parts,
        fuse: nn.Module,
        weights: Mapping[str, float],
        drawn: Sequence[str] | None,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        width_start: float,
        width_steps: int,
        upright_steps: int,
        exit_plateau: Mapping[str, float] | None,
    ):
        super().__init__(parts.detector, optimizer)
        self.renderer, self.fuse = parts.renderer, fuse
        self.anatomy, self.poses, self.body = parts.anatomy, parts.poses, parts.body
        if drawn is not None:
            self.drawn = tuple(drawn)
        if unknown := sorted(set(weights) - self.terms):
            raise ValueError(
                f"no loss term is called {unknown}: weights may name {sorted(self.terms)}"
            )
        self.weights = {name: float(weight) for name, weight in weights.items()}
        self.width_start, self.width_steps = width_start, width_steps
        self.upright_steps = upright_steps
        self.exit_plateau = Plateau(**exit_plateau) if exit_plateau else None
        skeleton = self.detector.skeleton
        self.resting = skeleton.resting(self.drawn)
        heights = torch.tensor([skeleton.heights[joint] for joint in skeleton.joints])
        self.register_buffer("heights", (1 - 2 * heights) / CROP_PADDING, persistent=False)

    # -- the method ---------------------------------------------------------------------------

    def draw(self, views: Views) -> Drawn:
        """Detected joints, the joints tied over views (Eq. 10), and their Skeleton Mask (Eq. 5)."""
        joints_crop = self.detector(views.image)
        fused = self.fuse(joints_crop[..., :2], views.camera)
        skeleton_mask = self.renderer(fused.xy, self.drawn, self.width_scale)
        return Drawn(joints_crop, fused, skeleton_mask)

    def losses(self, drawn: Drawn, views: Views) -> dict[str, Tensor]:
        """Unweighted terms by name."""
        joints, fused = drawn.joints_crop, drawn.fused
        terms = {
            "skeleton": mask_loss(drawn.skeleton_mask, views),
            "rest": rest_loss(joints, self.resting, self.heights),
        }
        if fused.joints_world is not None:
            terms["consistency"] = consistency_loss(joints[..., :2], fused.xy)
            terms["depth"] = depth_loss(
                joints[..., 2],
                fused.joints_world,
                views.camera,
                self.detector.skeleton.root,
                self.detector.depth_range,
            )
            if self.anatomy is not None:
                terms |= self.anatomy(fused.joints_world, views.person)
            if self.weights.get("anchor"):
                terms["anchor"] = anchor_loss(fused.joints_world, *self.poses.at(views.index))
        if self.weights.get("upright") and self.global_step < self.upright_steps:
            terms["upright"] = upright_loss(joints[..., :2], self.heights)
        return terms

    def weight_of(self, term: str) -> float:
        """Weight of a term at this step; the upright start fades out linearly."""
        if term == "upright":
            return self.weights[term] * (1 - self.global_step / self.upright_steps)
        return self.weights[term]

    @property
    def width_scale(self) -> float:
        """Factor on the bone width at this step: geometric from `width_start` to 1."""
        progress = min(1.0, self.global_step / self.width_steps) if self.width_steps else 1.0
        return self.width_start ** (1 - progress)

    # -- Lightning ----------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step of mask training; `batch.labels` is never read here."""
        drawn = self.draw(batch.views)
        terms = self.losses(drawn, batch.views)
        self._check_weights(terms)
        total = torch.stack([self.weight_of(name) * term for name, term in terms.items()]).sum()
        if not torch.isfinite(total):
            bad = [name for name, term in terms.items() if not torch.isfinite(term)]
            raise FloatingPointError(
                f"stage {type(self).__name__}, step {self.global_step}: the terms {bad} are not "
                "finite; lower optimizer.lr, or look for damaged images and cameras in the data"
            )
        self.log_dict({f"train/{name}": term.detach() for name, term in terms.items()})
        self.log("train/total", total.detach(), prog_bar=True)
        self.log("train/width_scale", self.width_scale)
        self.observe(terms)
        return total

    def observe(self, terms: Mapping[str, Tensor]) -> None:
        """Ends the stage when the loss that it is about has come to rest."""
        if (
            self.exit_plateau
            and self.settled
            and self.exit_plateau.update(self._everywhere(terms[self.about]))
        ):
            self.trainer.should_stop = True

    @property
    def about(self) -> str:
        """The term whose rest ends the stage."""
        return "skeleton"

    @property
    def settled(self) -> bool:
        """Whether widths and weights have reached their last values."""
        return self.global_step > max(self.width_steps, self.upright_steps)

    def _everywhere(self, loss: Tensor) -> float:
        """Mean over all processes, so that they all decide the same."""
        return float(self.trainer.strategy.reduce(loss.detach(), reduce_op="mean"))

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Also the skeleton loss of what each view detects by itself."""
        joints_crop = super().validation_step(batch, batch_idx)
        mask = self.renderer(joints_crop[..., :2], self.drawn)
        loss = mask_loss(mask, batch.views)
        self.log("val/skeleton", loss, batch_size=len(mask), sync_dist=True)
        return joints_crop

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the plateau windows, so that a resumed stage ends where it would have."""
        checkpoint["plateaus"] = {
            name: plateau.state() for name, plateau in self._plateaus().items()
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the plateau windows."""
        for name, plateau in self._plateaus().items():
            plateau.restore(checkpoint["plateaus"][name])

    def _plateaus(self) -> dict[str, Plateau]:
        return {name: p for name, p in vars(self).items() if isinstance(p, Plateau)}

    def _check_weights(self, terms: Mapping[str, Tensor]) -> None:
        if missing := sorted(set(terms) - set(self.weights)):
            raise ValueError(
                f"stage {type(self).__name__} computes the terms {sorted(terms)} but its weights "
                f"name {sorted(self.weights)}: add cascade.<stage>.module.weights.{missing[0]}"
            )


class SkeletonStage(CascadeStage):
    """Stage 1: everything but arms and hands, Skeleton Mask alone."""

    drawn = ("torso", "shoulders", "head", "legs")


class PhysiqueStage(SkeletonStage):
    """Stage 2: + the Physique Mask, whose weight grows once the skeleton loss has converged.

    Args:
        parts: Shared networks; without a shape prior this stage is stage 1 again.
        ramp_steps: Steps over which the weight of `physique` grows from 0 to its value.
        ramp_plateau: Window and tolerance of the plateau of the skeleton loss at which the ramp
            starts; None: at the first step (the stage before has converged).
        ramp_latest: Step at which the ramp starts even without a plateau.
        stage: See `CascadeStage`.
    """

    def __init__(
        self,
        parts: Parts,
        ramp_steps: int,
        ramp_plateau: Mapping[str, float] | None,
        ramp_latest: int,
        **stage: Any,
    ):
        super().__init__(parts, **stage)
        self.shape_prior = parts.shape_prior
        self.ramp_steps, self.ramp_latest = ramp_steps, ramp_latest
        self.ramp_plateau = Plateau(**ramp_plateau) if ramp_plateau else None
        start = ramp_latest if ramp_plateau else 0
        self.register_buffer("ramp_start", torch.tensor(start))

    def losses(self, drawn: Drawn, views: Views) -> dict[str, Tensor]:
        """Stage 1's terms and `physique` (Eq. 7 under Eq. 9)."""
        terms = super().losses(drawn, views)
        if self.shape_prior is not None:
            terms["physique"] = mask_loss(self.shape_prior(drawn.skeleton_mask), views)
        return terms

    def weight_of(self, term: str) -> float:
        """lambda_p grows linearly from the start of the ramp on (Eq. 8)."""
        if term != "physique":
            return super().weight_of(term)
        progress = (self.global_step - int(self.ramp_start) + 1) / max(1, self.ramp_steps)
        return self.weights[term] * min(1.0, max(0.0, progress))

    @property
    def about(self) -> str:
        """The physique, where there is psi: the skeleton loss is at rest from the stage before."""
        return "skeleton" if self.shape_prior is None else "physique"

    @property
    def settled(self) -> bool:
        """Also lambda_p has reached its last value."""
        return super().settled and self.global_step >= int(self.ramp_start) + self.ramp_steps

    def observe(self, terms: Mapping[str, Tensor]) -> None:
        """Also starts the ramp when the skeleton loss has come to rest."""
        super().observe(terms)
        if (
            self.ramp_plateau
            and super().settled  # a loss at a changing bone width says nothing about rest
            and not self.ramp_plateau.reached
            and self.global_step < int(self.ramp_start)
            and self.ramp_plateau.update(self._everywhere(terms["skeleton"]))
        ):
            self.ramp_start.fill_(self.global_step + 1)
        if "physique" in terms:
            self.log("train/lambda_p", self.weight_of("physique"))


class ArmsStage(PhysiqueStage):
    """Stage 3: + arms and hands, under both masks; `residual` draws them alone as well."""

    drawn = (*SkeletonStage.drawn, "arms")

    def losses(self, drawn: Drawn, views: Views) -> dict[str, Tensor]:
        """Stage 2's terms and, where it is weighed, `residual`: raw and re-projected arms alone."""
        terms = super().losses(drawn, views)
        if self.weights.get("residual"):
            body = self.renderer(drawn.fused.xy, SkeletonStage.drawn, self.width_scale)
            alone = [
                residual_loss(self.renderer(xy, ["arms"], self.width_scale), body, views)
                for xy in (drawn.fused.xy, drawn.joints_crop[..., :2])
            ]
            terms["residual"] = torch.stack(alone).mean()
        return terms
