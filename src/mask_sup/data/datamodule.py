"""Loaders over any source of moments, multi-view or single-view."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from lightning import LightningDataModule
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Sampler

from mask_sup.data.moments import Moment, MomentDataset, expand
from mask_sup.figure.skeleton import Skeleton
from mask_sup.geometry.batch import Batch
from mask_sup.geometry.geodesic import GeodesicWeight

__all__ = ["PoseDataModule", "Source", "StepSampler", "own_rank"]


APART = 7_368_787  # between the seeds of two processes: further than steps go


@runtime_checkable
class Source(Protocol):
    """What a data set has to provide."""

    splits: Sequence[str]

    def prepare(self) -> None:
        """Make or check the files, once, before anything is read."""

    def moments(self, split: str) -> list[Moment]:
        """The moments of a split."""


class StepSampler(Sampler[list[int]]):
    """Batches as a function of the seed and the step, so that a resumed run sees the same ones.

    Every moment is seen once before any is seen again.

    Args:
        items: Number of moments.
        batch_size: Moments per batch (and rank).
        seed: Seed of the permutations.
        steps: Number of batches.
        first: Step to start from.
        rank: This process's number.
        ranks: Number of processes; each sees other moments.
        only: The numbers to draw, one for each item; None: 0 to items - 1.
    """

    def __init__(
        self,
        items: int,
        batch_size: int,
        seed: int,
        steps: int,
        first: int = 0,
        rank: int = 0,
        ranks: int = 1,
        only: Sequence[int] | None = None,
    ):
        self.items, self.batch_size, self.seed, self.steps = items, batch_size, seed, steps
        self.first, self.rank, self.ranks, self.only = first, rank, ranks, only

    def __len__(self) -> int:
        """All steps of the stage, those before `first` included."""
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        """Indices of one batch after the other."""
        for step in range(self.first, self.steps):
            yield self.batch(step)

    def batch(self, step: int) -> list[int]:
        """Indices of the batch of one step."""
        start = (step * self.ranks + self.rank) * self.batch_size
        return [self._at(position) for position in range(start, start + self.batch_size)]

    def _at(self, position: int) -> int:
        epoch, place = divmod(position, self.items)
        if getattr(self, "_epoch", None) != epoch:
            generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
            self._order = torch.randperm(self.items, generator=generator).tolist()
            self._epoch = epoch
        return self._order[place] if self.only is None else self.only[self._order[place]]


class PoseDataModule(LightningDataModule):
    """Batches of one source for training, validation and evaluation.

    Args:
        source: The data set.
        skeleton: Joint order of its labels.
        geodesic: Weights from masks; None for ones.
        image_size: Side of the detector's input, pixels.
        mask_size: Side of masks and weights, pixels (the renderer's size).
        padding: Side of the crop over the larger side of the mask's bounding box.
        mask_input: Whether images are multiplied by their masks.
        batch_size: Moments per step; each brings all its views.
        workers: Loader processes.
        memory: Whether crops are kept in memory (small data sets) or read again each time.
        cache: Folder where what depends on masks alone is kept between epochs and runs; None: none.
        background: `keep` shows pictures as they are; `random` puts the person, cut out by the
            mask, before random colours in training, which teaches a detector without masked input.
        seed: Seed of the order and the backgrounds.

    Raises:
        ValueError: If `background` is neither, or is random although the input is masked.
    """

    def __init__(
        self,
        source: Source,
        skeleton: Skeleton,
        geodesic: GeodesicWeight | None,
        image_size: int,
        mask_size: int,
        padding: float,
        mask_input: bool,
        batch_size: int,
        workers: int,
        memory: bool,
        background: str,
        seed: int,
        cache: str | None = None,
    ):
        super().__init__()
        if background not in ("keep", "random") or (background == "random" and mask_input):
            raise ValueError(
                f"data.background is keep or random, got {background!r}; random needs "
                "detector.mask_input=false: masked pictures show no background"
            )
        self.background = background
        self.source, self.batch_size, self.workers = source, batch_size, workers
        self.memory, self.seed = memory, seed
        self.item_settings: dict[str, Any] = {
            "joints": len(skeleton.joints),
            "image_size": image_size,
            "mask_size": mask_size,
            "padding": padding,
            "mask_input": mask_input,
            "geodesic": geodesic,
            "memory": memory,
            "cache": Path(cache).expanduser() if cache else None,
        }
        self.datasets: dict[str, MomentDataset] = {}
        self.steps, self.first = 1, 0
        self.only: Sequence[int] | None = None

    def prepare_data(self) -> None:
        """Make or check the source's files."""
        self.source.prepare()

    def dataset(self, split: str) -> MomentDataset:
        """The items of a split, checked; read into memory at once where `memory` says so."""
        if split not in self.datasets:
            dataset = MomentDataset(self.source.moments(split), **self.item_settings)
            if self.memory:
                dataset.load()
            self.datasets[split] = dataset
        return self.datasets[split]

    def train_datasets(self) -> list[MomentDataset]:
        """All that a training reads."""
        return [self.dataset("train")]

    def plan(self, steps: int, first: int, only: Sequence[int] | None = None) -> None:
        """Set how many steps the next fit has in all, the one it starts from, and its moments."""
        self.steps, self.first, self.only = steps, first, only

    def train_dataloader(self) -> DataLoader:
        """Batches by step, for the steps that `plan` has set."""
        return DataLoader(
            self.dataset("train"),
            batch_sampler=self.sampler(*own_rank(self.trainer)),
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )

    def sampler(self, rank: int, ranks: int) -> StepSampler:
        """Which moments each step takes, of those that `plan` has set."""
        return StepSampler(
            len(self.dataset("train")) if self.only is None else len(self.only),
            self.batch_size,
            self.seed,
            self.steps,
            self.first,
            rank,
            ranks,
            self.only,
        )

    def val_dataloader(self) -> DataLoader:
        """The `val` split in order."""
        return self.eval_dataloader("val")

    def eval_dataloader(self, split: str) -> DataLoader:
        """Any split in order."""
        return DataLoader(
            self.dataset(split),
            batch_size=4 * self.batch_size,
            num_workers=self.workers,
        )

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Pictures travel as bytes and become floats on the device."""
        batch = expand(batch)
        if self.background == "random" and self.trainer.training:
            step, rank = self.trainer.global_step, self.trainer.global_rank
            generator = torch.Generator().manual_seed(
                self.seed * 100_003 + step + rank * APART  # each process draws its own
            )
            views = batch.views
            image = on_random_background(views.image, views.mask, generator)
            batch = batch._replace(views=views._replace(image=image))
        return batch


def own_rank(trainer: Any) -> tuple[int, int]:
    """The number of this process and of all of them."""
    return (trainer.global_rank, trainer.world_size) if trainer else (0, 1)


def on_random_background(
    image: Float[Tensor, "n v 3 h w"], mask: Float[Tensor, "n v hm wm"], generator: torch.Generator
) -> Float[Tensor, "n v 3 h w"]:
    """The people of pictures, cut out by their masks, before soft random colours."""
    size = image.shape[-2:]
    coarse = torch.rand(image[..., :4, :4].flatten(0, 1).shape, generator=generator)
    behind = F.interpolate(coarse.to(image), size, mode="bilinear").view_as(image)
    share = F.interpolate(mask, size, mode="bilinear").unsqueeze(2)
    return share * image + (1 - share) * behind
