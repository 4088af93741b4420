from collections import Counter
from functools import partial

import pytest
import torch

from mask_sup.data.datamodule import PoseDataModule, StepSampler
from mask_sup.data.images import uncalibrated_view
from mask_sup.data.mix import MixedDataModule, MixedSampler


def mixed(steps=400, first=0, rank=0, ranks=1):
    samplers = [StepSampler(n, 2, 5, 1, 0, rank, ranks) for n in (7, 40)]
    return list(MixedSampler(samplers, [3, 1], seed=9, steps=steps, first=first))


def test_each_batch_is_of_one_data_set():
    assert all(len({which for which, _ in batch}) == 1 for batch in mixed())


def test_turns_are_as_often_as_the_weights_say():
    turns = Counter(batch[0][0] for batch in mixed(4000))
    assert turns[0] / 4000 == pytest.approx(0.75, abs=0.03)


def test_every_moment_is_seen_once_before_any_is_seen_again():
    seen = [place for batch in mixed() for place in batch]
    of_second = [i for which, i in seen if which == 1]
    for start in range(0, len(of_second) - 40, 40):
        assert sorted(of_second[start : start + 40]) == list(range(40))


def test_a_resumed_run_sees_the_same_batches():
    assert mixed(100, first=37) == mixed(100)[37:]


def test_ranks_take_the_same_data_set_and_other_moments():
    pairs = zip(mixed(rank=0, ranks=2), mixed(rank=1, ranks=2), strict=True)
    for one, other in pairs:
        assert one[0][0] == other[0][0]
        if one[0][0] == 1:  # 40 moments: a whole number of steps of both
            assert not set(one) & set(other)


class Some:
    splits = ("train", "val")

    def __init__(self, moments):
        self.of = moments

    def prepare(self):
        pass

    def moments(self, split):
        return self.of


@pytest.fixture
def data(tmp_path, write_moments, cameras_around, human18):
    """Two calibrated views of one data set, single uncalibrated ones of another."""
    pairs = write_moments(tmp_path / "pairs", cameras_around(2))
    alone = [
        m._replace(views=(uncalibrated_view(m.views[0].image, m.views[0].mask),), name=m.name + "x")
        for m in write_moments(tmp_path / "alone", cameras_around(1), count=4)
    ]
    settings = {
        "image_size": 16,
        "mask_size": 16,
        "padding": 1.2,
        "mask_input": True,
        "workers": 0,
        "memory": False,
        "background": "keep",
        "seed": 0,
    }
    parts = {
        "pairs": partial(PoseDataModule, Some(pairs), batch_size=1, **settings),
        "alone": partial(PoseDataModule, Some(alone), batch_size=3, **settings),
    }
    return partial(MixedDataModule, parts, seed=0, skeleton=human18, geodesic=None)


def test_batches_have_the_views_of_their_data_set(data):
    mix = data(weights={"pairs": 1, "alone": 1})
    mix.plan(12, 0)
    shapes = {tuple(batch.views.image.shape[:2]) for batch in mix.train_dataloader()}
    assert shapes == {(1, 2), (3, 1)}
    assert [len(d) for d in mix.train_datasets()] == [3, 4]
    assert len(mix.dataset("val")) == 3  # the first is the one to validate on


def test_moments_that_are_chosen_are_of_the_main_data_set(data):
    mix = data(weights={"pairs": 1, "alone": 1})
    mix.plan(6, 0, only=[2])
    assert {int(batch.views.index) for batch in mix.train_dataloader()} == {2}
    assert all(batch.views.image.shape[1] == 2 for batch in mix.train_dataloader())


@pytest.mark.parametrize("weights", [{"pairs": 1}, {"pairs": 1, "alone": 0}, {"a": 1, "b": 1}])
def test_each_data_set_needs_a_weight(data, weights):
    with pytest.raises(ValueError, match=r"positive number for each of \['alone', 'pairs'\]"):
        data(weights=weights)


def test_floats_reach_the_device(data):
    mix = data(weights={"pairs": 1, "alone": 1})
    mix.plan(1, 0)
    (batch,) = mix.train_dataloader()
    assert mix.on_after_batch_transfer(batch, 0).views.image.dtype == torch.float32
