"""Several data sets in one training: each batch is of one of them."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from mask_sup.data.datamodule import PoseDataModule, StepSampler, own_rank
from mask_sup.data.moments import MomentDataset
from mask_sup.geometry.batch import Batch

__all__ = ["MixedDataModule", "MixedSampler"]

Place = tuple[int, Any]  # number of the data set, and a place in it


class MixedSampler(Sampler[list[Place]]):
    """Whose turn it is, and which moments, as a function of the seed and the step.

    All ranks take the same data set at the same step, so that none waits for another's views.

    Args:
        samplers: One for each data set.
        weights: How often each is taken, in proportion.
        seed: Of the turns.
        steps: Number of batches.
        first: Step to start from.
    """

    def __init__(
        self,
        samplers: Sequence[StepSampler],
        weights: Sequence[float],
        seed: int,
        steps: int,
        first: int,
    ):
        self.samplers, self.weights, self.seed = list(samplers), list(weights), seed
        self.steps, self.first = steps, first

    def __len__(self) -> int:
        """All steps of the stage, those before `first` included."""
        return self.steps

    def __iter__(self) -> Iterator[list[Place]]:
        """One batch after the other."""
        turns, taken = random.Random(self.seed), [0] * len(self.samplers)
        for step in range(self.steps):
            (which,) = turns.choices(range(len(self.samplers)), self.weights)
            if step >= self.first:
                yield [(which, i) for i in self.samplers[which].batch(taken[which])]
            taken[which] += 1


class Together(Dataset[Batch]):
    """Items of several data sets by their places."""

    def __init__(self, parts: Sequence[Dataset[Batch]]):
        self.parts = list(parts)

    def __getitem__(self, place: Place) -> Batch:
        """One moment."""
        return self.parts[place[0]][place[1]]


class MixedDataModule(LightningDataModule):
    """Batches of several data sets, each batch of one.

    The first is the main one: it is validated on, and relabelling rounds are about it alone. Others
    may be single views without calibration: under Delta they train the mask terms alone.

    Args:
        parts: Data modules by name, not yet given a skeleton and weights.
        weights: How often each is taken, in proportion.
        seed: Of the turns.
        given: What every data module needs: skeleton and geodesic weights.

    Raises:
        ValueError: If a weight is missing, unknown, or not positive.
    """

    def __init__(
        self,
        parts: Mapping[str, Callable[..., PoseDataModule]],
        weights: Mapping[str, float],
        seed: int,
        **given: Any,
    ):
        super().__init__()
        if set(parts) != set(weights) or not parts or min(weights.values()) <= 0:
            raise ValueError(
                f"data.weights needs a positive number for each of {sorted(parts)}, got "
                f"{dict(weights)}"
            )
        self.parts = [part(**given) for part in parts.values()]
        self.main, self.weights = self.parts[0], [weights[name] for name in parts]
        self.seed, self.source = seed, self.main.source

    def prepare_data(self) -> None:
        """Make or check the files of all."""
        for part in self.parts:
            part.prepare_data()

    def dataset(self, split: str) -> MomentDataset:
        """The items of a split of the main data set."""
        return self.main.dataset(split)

    def train_datasets(self) -> list[MomentDataset]:
        """All that a training reads, the main one first."""
        return [dataset for part in self.parts for dataset in part.train_datasets()]

    def plan(self, steps: int, first: int, only: Sequence[int] | None = None) -> None:
        """Set how many steps the next fit has, the one it starts from, and its moments.

        Moments are of the main data set, and then it alone is learned from.
        """
        self.main.plan(steps, first, only)

    def train_dataloader(self) -> DataLoader:
        """Batches by step, for the steps that `plan` has set."""
        main, alone = self.main, self.main.only is not None
        parts = [main] if alone else self.parts
        sampler = MixedSampler(
            [part.sampler(*own_rank(self.trainer)) for part in parts],
            [1.0] if alone else self.weights,
            self.seed,
            main.steps,
            main.first,
        )
        return DataLoader(
            Together([part.train_items() for part in parts]),
            batch_sampler=sampler,
            num_workers=main.workers,
            persistent_workers=main.workers > 0,
        )

    def val_dataloader(self) -> DataLoader:
        """The `val` split of the main data set in order."""
        return self.main.val_dataloader()

    def eval_dataloader(self, split: str) -> DataLoader:
        """Any split of the main data set in order."""
        return self.main.eval_dataloader(split)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Pictures travel as bytes and become floats on the device."""
        self.main.trainer = self.trainer
        return self.main.on_after_batch_transfer(batch, dataloader_idx)
