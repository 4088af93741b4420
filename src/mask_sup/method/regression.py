"""Stages that learn given poses: pseudo-labels of a round, or, as a yardstick, labels."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from mask_sup.data.datamodule import APART
from mask_sup.data.moments import GREY
from mask_sup.geometry.batch import Batch, Camera
from mask_sup.geometry.camera import cam_from_world, crop_from_cam
from mask_sup.method.stages import DetectorStage, Parts
from mask_sup.models.detector import Detector

__all__ = [
    "RegressionStage",
    "SupervisedStage",
    "crop_targets",
    "mirrored",
    "patched",
    "recoloured",
    "rolled",
    "zoomed",
]

WARMUP_STEPS = 50
THIRD = 2 * math.pi / 3  # of the circle of hues: from red to green
PATCH = (0.04, 0.2)  # half axes of a patch, in sides of the crop
LAST_RATE = 0.02  # share of the learning rate at the last step


def crop_targets(
    joints_world: Float[Tensor, "n j 3"], camera: Camera, root: int, depth_range: float
) -> Float[Tensor, "n v j 3"]:
    """World poses as a detector would see them: x, y in the crop, z about the root."""
    joints = cam_from_world(joints_world.unsqueeze(1), camera)
    depth = (joints[..., 2] - joints[..., root, None, 2]) * (2 / depth_range)
    return torch.cat([crop_from_cam(joints, camera), depth.unsqueeze(-1)], -1)


def mirrored(
    image: Float[Tensor, "n c h w"],
    joints: Float[Tensor, "n j 3"],
    which: Bool[Tensor, " n"],
    flip: Sequence[int],
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n j 3"]]:
    """Some of the crops and their joints seen in a mirror: left becomes right."""
    turned = joints[:, list(flip)] * joints.new_tensor([-1.0, 1.0, 1.0])
    return (
        torch.where(which[:, None, None, None], image.flip(-1), image),
        torch.where(which[:, None, None], turned, joints),
    )


def zoomed(
    image: Float[Tensor, "n c h w"], joints: Float[Tensor, "n j 3"], by: Float[Tensor, " n"]
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n j 3"]]:
    """Crops and their joints magnified about the middle; z stays, and what comes in is black."""
    where = torch.diag_embed(by.reciprocal()[:, None].expand(-1, 2))  # each pixel comes from
    grid = F.affine_grid(F.pad(where, (0, 1)), list(image.shape), align_corners=False)
    xy = joints[..., :2] * by[:, None, None]
    return F.grid_sample(image, grid, align_corners=False), torch.cat([xy, joints[..., 2:]], -1)


def rolled(
    image: Float[Tensor, "n c h w"], joints: Float[Tensor, "n j 3"], by: Float[Tensor, " n"]
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n j 3"]]:
    """Crops and their joints turned about the middle by angles (radians, clockwise as seen).

    As if the camera had been rolled: z stays. What comes in continues the border.
    """
    cos, sin = by.cos(), by.sin()
    turn = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    grid = F.affine_grid(F.pad(turn.mT, (0, 1)), list(image.shape), align_corners=False)
    image = F.grid_sample(image, grid, padding_mode="border", align_corners=False)
    return image, torch.cat([joints[..., :2] @ turn.mT, joints[..., 2:]], -1)


def recoloured(
    image: Float[Tensor, "n 3 h w"], by: Float[Tensor, "4 n"]
) -> Float[Tensor, "n 3 h w"]:
    """Crops with other brightness, contrast, saturation and hue, by Kornia.

    The grey behind masked people stays as it is: it says where the mask ends.

    Args:
        image: RGB in [0, 1].
        by: A number about 0 for each of the four; saturation, contrast and brightness change by
            this share of theirs, the hue by as much of a third of its circle.
    """
    from kornia.enhance import adjust_brightness, adjust_contrast, adjust_hue, adjust_saturation

    brightness, contrast, saturation, hue = by
    other = adjust_hue(adjust_saturation(image, 1 + saturation), hue * THIRD)
    other = adjust_brightness(adjust_contrast(other, 1 + contrast), brightness)
    behind = (image == GREY / 255).all(1, keepdim=True)
    return torch.where(behind, image, other)


def patched(
    image: Float[Tensor, "n c h w"], share: float, generator: torch.Generator
) -> Float[Tensor, "n c h w"]:
    """A share of the crops with an elliptic patch of another crop of the batch.

    In crops that show what is in the mask alone, the grey of another one makes a hole or takes a
    hand away, and its person is a leak: the detector learns what faulty masks look like, while
    poses are fitted to masks as they came. CutMix (Yun et al. 2019) with ellipses, and without
    mixing what is learned.
    """
    n, _, height, width = image.shape
    chance, x, y, across, along = torch.rand(5, n, generator=generator).to(image.device)
    least, most = PATCH
    rows = (torch.arange(height, device=image.device) + 0.5) / height
    columns = (torch.arange(width, device=image.device) + 0.5) / width
    off_x = (columns - x[:, None]) / (least + (most - least) * across[:, None])
    off_y = (rows - y[:, None]) / (least + (most - least) * along[:, None])
    inside = off_x.square()[:, None] + off_y.square()[:, :, None] < 1
    inside &= (chance < share)[:, None, None]
    return torch.where(inside[:, None], image.roll(1, 0), image)


class RegressionStage(DetectorStage):
    """Regress poses with an L1 loss, varied crops, and a learning rate that falls as a cosine.

    Args:
        detector: What is trained.
        optimizer: Parameters -> optimiser.
        mirror: Whether half of the crops are seen in a mirror.
        zoom: Crops are magnified by at most this share, or made as much smaller.
        roll: Crops are turned by at most so many degrees (`rolled`), either way.
        colour: Brightness, contrast, saturation and hue vary by at most this share (`recoloured`).
        patches: Share of the crops that show a patch of another one (`patched`).
    """

    def __init__(
        self,
        detector: Detector,
        optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer],
        mirror: bool,
        zoom: float,
        colour: float = 0.0,  # stages of before these were there go on as they were
        patches: float = 0.0,
        roll: float = 0.0,
    ):
        super().__init__(detector, optimizer)
        if detector.skeleton.is_free:
            raise ValueError(
                f"skeleton {detector.skeleton.name!r} has points without names: no pose can be "
                "regressed; choose skeleton=human18, or a cascade of mask stages (cascade=free)"
            )
        self.mirror, self.zoom, self.roll = mirror, zoom, math.radians(roll)
        self.colour, self.patches = colour, patches

    def targets(self, batch: Batch) -> tuple[Float[Tensor, "n j 3"], Bool[Tensor, "n"]]:
        """World poses to learn, mm, and which of the batch have one."""
        raise NotImplementedError

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step on the given poses."""
        joints_world, known = self.targets(batch)
        camera = batch.views.camera.part(known)
        image = batch.views.image[known].flatten(0, 1)
        skeleton = self.detector.skeleton
        joints = crop_targets(
            joints_world[known], camera, skeleton.root, self.detector.depth_range
        ).flatten(0, 1)
        image, joints = self._varied(image, joints)
        loss = (self.detector(image) - joints).abs().mean()
        self.log("train/total", loss.detach(), prog_bar=True)
        return loss

    def _varied(self, image: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
        """The crops, varied at random, with their joints."""
        seed = self.global_step + self.global_rank * APART  # the same when resumed
        generator = torch.Generator().manual_seed(seed)
        flip, grow = torch.rand(2, len(image), generator=generator).to(image.device)
        if self.colour:
            by = self.colour * (2 * torch.rand(4, len(image), generator=generator) - 1)
            image = recoloured(image, by.to(image.device))
        if self.patches:
            image = patched(image, self.patches, generator)
        if self.mirror:
            image, joints = mirrored(image, joints, flip < 0.5, self.detector.skeleton.flip)
        if self.zoom:
            image, joints = zoomed(image, joints, (1 + self.zoom) ** (2 * grow - 1))
        if self.roll:
            by = self.roll * (2 * torch.rand(len(image), generator=generator) - 1)
            image, joints = rolled(image, joints, by.to(image.device))
        return image, joints

    def configure_optimizers(self) -> Any:
        """A fresh optimiser and its schedule over the steps of the stage."""
        optimizer = super().configure_optimizers()
        # A function, not the method itself: the scheduler would write a method into checkpoints.
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: self._rate(step))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def _rate(self, step: int) -> float:
        if step < WARMUP_STEPS:
            return (step + 1) / WARMUP_STEPS
        done = step / self.trainer.max_steps
        return max(LAST_RATE, (1 + math.cos(math.pi * done)) / 2)


class SupervisedStage(RegressionStage):
    """The yardstick: the same detector trained on labels (the paper's Fig. 6).

    The only stage that reads labels; nothing that it learns may enter another one.

    Args:
        parts: Shared networks; only the detector is used.
        fuse: Not used: each view is supervised.
        stage: See `RegressionStage`.
    """

    def __init__(self, parts: Parts, fuse: nn.Module, **stage: Any):
        super().__init__(parts.detector, **stage)

    def targets(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The labels of the batch.

        Raises:
            ValueError: If no moment of the batch is labelled.
        """
        joints = batch.labels.joints_world
        known = joints.isfinite().all(-1).all(-1)
        if not known.any():
            raise ValueError("supervised training needs labelled moments, this data has none")
        return joints, known
