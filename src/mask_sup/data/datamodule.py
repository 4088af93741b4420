"""Loaders over any source of moments, multi-view or single-view."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from mask_sup.data.backgrounds import PastedBackgrounds
from mask_sup.data.moments import Moment, MomentDataset, drawn_views, expand
from mask_sup.figure.skeleton import Skeleton
from mask_sup.geometry.batch import Batch
from mask_sup.geometry.geodesic import GeodesicWeight

__all__ = ["DrawnViews", "PoseDataModule", "Source", "StepSampler", "own_rank"]


Place = tuple[int, int]  # number of a moment, and how often all have been seen before
APART = 7_368_787  # between the seeds of two processes: further than steps go
BACKGROUNDS = 1 << 31  # from the seeds by which stages vary the same crops; 32 bits count


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
        turns: Whether to tell beside each number how often all have been seen before.
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
        turns: bool = False,
    ):
        self.turns = turns
        self.items, self.batch_size, self.seed, self.steps = items, batch_size, seed, steps
        self.first, self.rank, self.ranks, self.only = first, rank, ranks, only

    def __len__(self) -> int:
        """All steps of the stage, those before `first` included."""
        return self.steps

    def __iter__(self) -> Iterator[list[int] | list[Place]]:
        """Indices of one batch after the other."""
        for step in range(self.first, self.steps):
            yield self.batch(step)

    def batch(self, step: int) -> list[int] | list[Place]:
        """Indices of the batch of one step."""
        start = (step * self.ranks + self.rank) * self.batch_size
        return [self._at(position) for position in range(start, start + self.batch_size)]

    def _at(self, position: int) -> int | Place:
        epoch, place = divmod(position, self.items)
        if getattr(self, "_epoch", None) != epoch:
            generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
            self._order = torch.randperm(self.items, generator=generator).tolist()
            self._epoch = epoch
        number = self._order[place] if self.only is None else self.only[self._order[place]]
        return (number, epoch) if self.turns else number


class DrawnViews(Dataset[Batch]):
    """Moments by some of their views, other ones each time that they are seen.

    Args:
        dataset: The moments; says how many views.
        seed: Of what is drawn.
    """

    def __init__(self, dataset: MomentDataset, seed: int):
        self.dataset, self.seed = dataset, seed

    def __getitem__(self, place: Place) -> Batch:
        """One moment, the same views in every run at the same place."""
        index, turn = place
        seed = (self.seed * APART + turn) * APART + index
        there = self.dataset.counts[index]
        return self.dataset.part(index, drawn_views(there, self.dataset.views, seed))


class PoseDataModule(LightningDataModule):
    """Batches of one source for training, validation and evaluation.

    Args:
        source: The data set.
        skeleton: Joint order of its labels, or free points whose labels are of another figure.
        geodesic: Weights from masks; None for ones.
        image_size: Side of the detector's input, pixels.
        mask_size: Side of masks and weights, pixels (the renderer's size).
        padding: Side of the crop over the larger side of the mask's bounding box.
        mask_input: Whether images are multiplied by their masks.
        batch_size: Moments per step.
        workers: Loader processes.
        memory: Whether crops are kept in memory (small data sets) or read again each time.
        cache: Folder where what depends on masks alone is kept between epochs and runs; None: none.
        views: Of each moment of `train`: drawn anew for every step, spread evenly elsewhere; None:
            all, of moments that have as many. Other splits are seen by all their views.
        background: `keep` shows pictures as they are; `pasted` puts people, cut out by their masks,
            before other backgrounds in training, which teaches a detector without masked input.
        pasted: Shares of the kinds of backgrounds, see `PastedBackgrounds`.
        seed: Seed of the order and the backgrounds.

    Raises:
        ValueError: If `background` is neither, or is pasted although the input is masked, or its
            shares are none.
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
        views: int | None = None,  # all, in data sets of before there was a choice
        pasted: Mapping[str, float] | None = None,  # data sets of before it was there keep theirs
    ):
        super().__init__()
        _check_background(background, pasted, mask_input)
        self.pasted = PastedBackgrounds(**pasted, seed=seed) if background == "pasted" else None
        self.source, self.batch_size, self.workers = source, batch_size, workers
        self.memory, self.seed, self.views = memory, seed, views
        self.item_settings: dict[str, Any] = {
            "joints": len(skeleton.labelled.joints),
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
            views = self.views if split == "train" else None
            moments = self.source.moments(split)
            dataset = MomentDataset(moments, **self.item_settings, views=views)
            if self.memory:
                dataset.load()
            self.datasets[split] = dataset
        return self.datasets[split]

    def train_datasets(self) -> list[MomentDataset]:
        """All that a training reads.

        Raises:
            ValueError: If moments differ in their number of views, and nobody says how many to see.
        """
        dataset = self.dataset("train")
        if not dataset.alike:
            raise ValueError(
                f"the moments of this data have {min(dataset.counts)} to {max(dataset.counts)} "
                "views: say how many of them a training step sees of each, data.views=4"
            )
        return [dataset]

    def train_items(self) -> Dataset[Batch]:
        """The moments of a training, by the places that `sampler` names."""
        (dataset,) = self.train_datasets()
        return dataset if self.views is None else DrawnViews(dataset, self.seed)

    def plan(self, steps: int, first: int, only: Sequence[int] | None = None) -> None:
        """Set how many steps the next fit has in all, the one it starts from, and its moments."""
        self.steps, self.first, self.only = steps, first, only

    def train_dataloader(self) -> DataLoader:
        """Batches by step, for the steps that `plan` has set."""
        return DataLoader(
            self.train_items(),
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
            turns=self.views is not None,
        )

    def val_dataloader(self) -> DataLoader:
        """The `val` split in order."""
        return self.eval_dataloader("val")

    def eval_dataloader(self, split: str) -> DataLoader:
        """Any split in order; of moments that differ in their number of views, those alike."""
        dataset, size = self.dataset(split), 4 * self.batch_size
        if dataset.alike:
            return DataLoader(dataset, batch_size=size, num_workers=self.workers)
        batches = alike_batches(dataset.counts, size)
        return DataLoader(dataset, batch_sampler=batches, num_workers=self.workers)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Pictures travel as bytes and become floats on the device."""
        batch = expand(batch)
        if self.pasted is not None and self.trainer.training:
            step, rank = self.trainer.global_step, self.trainer.global_rank
            generator = torch.Generator().manual_seed(
                BACKGROUNDS + self.seed * 100_003 + step + rank * APART  # each process its own
            )
            image = self.pasted(batch.views, generator)
            batch = batch._replace(views=batch.views._replace(image=image))
        return batch


def _check_background(
    background: str, pasted: Mapping[str, float] | None, mask_input: bool
) -> None:
    """Refuse a background that is none, could not be seen, or is not told in full."""
    if background == "random":
        raise ValueError(
            "data.background=random (people before random colours) is gone: train with "
            "data.background=pasted (before other crops and rooms), in a fresh run.\n"
            "A detector that was trained so is evaluated with +data.background=keep"
        )
    if background not in ("keep", "pasted"):
        raise ValueError(f"data.background is keep or pasted, got {background!r}")
    if background == "pasted" and mask_input:
        raise ValueError(
            "data.background=pasted needs detector.mask_input=false: masked pictures show no "
            "background"
        )
    if background == "pasted" and set(pasted or {}) != {"own", "painted", "people"}:
        raise ValueError(
            f"data.pasted needs own, painted and people, got {sorted(pasted or {})}: see "
            "conf/data/crops.yaml"
        )


def alike_batches(counts: Sequence[int], size: int) -> list[list[int]]:
    """Batches of at most so many items, each of items with the same count, in order.

    >>> alike_batches([4, 2, 4, 2, 4], 2)
    [[1, 3], [0, 2], [4]]
    """
    alike = {count: [i for i, own in enumerate(counts) if own == count] for count in set(counts)}
    return [
        alike[count][first : first + size]
        for count in sorted(alike)
        for first in range(0, len(alike[count]), size)
    ]


def own_rank(trainer: Any) -> tuple[int, int]:
    """The number of this process and of all of them."""
    return (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
