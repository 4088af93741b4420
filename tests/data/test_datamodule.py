from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from mask_sup.data.datamodule import PoseDataModule, StepSampler
from mask_sup.data.moments import GREY, expand
from mask_sup.geometry.geodesic import GeodesicWeight


class Figures:
    """A source that counts how often it is asked."""

    splits = ("train", "val", "blank")

    def __init__(self, moments):
        self.known, self.prepared, self.asked = moments, 0, 0

    def prepare(self):
        self.prepared += 1

    def moments(self, split):
        self.asked += 1
        return {"train": self.known, "val": self.known[:3], "blank": []}[split]


@pytest.fixture(scope="module")
def figures(tmp_path_factory, write_moments, cameras_around):
    folder = tmp_path_factory.mktemp("figures") / "made"
    return write_moments(folder, cameras_around(2), count=5)


@pytest.fixture
def make(figures, human18):
    def build(**settings):
        known = {
            "image_size": 16,
            "mask_size": 8,
            "padding": 1.2,
            "mask_input": False,
            "batch_size": 2,
            "workers": 0,
            "memory": False,
            "background": "keep",
            "seed": 0,
        }
        geodesic = settings.pop("geodesic", None)
        return PoseDataModule(Figures(figures), human18, geodesic, **(known | settings))

    return build


def positions(**settings):
    return [i for batch in StepSampler(**settings) for i in batch]


# ---- the sampler ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("items", "batch_size"), [(12, 4), (10, 3), (5, 7), (1, 2)])
def test_every_moment_is_seen_once_before_any_is_seen_again(items, batch_size):
    seen = positions(items=items, batch_size=batch_size, seed=3, steps=4 * items)
    epochs = [seen[i : i + items] for i in range(0, len(seen), items)]
    assert len(epochs) == 4 * batch_size
    for epoch in epochs:
        assert sorted(epoch) == list(range(items))


def test_every_epoch_and_every_seed_has_its_own_order():
    seen = positions(items=20, batch_size=4, seed=0, steps=10)
    assert seen[:20] != seen[20:]
    assert seen[:20] != list(range(20))
    assert seen != positions(items=20, batch_size=4, seed=1, steps=10)


def test_the_same_seed_gives_the_same_batches_whatever_else_draws_numbers():
    torch.manual_seed(1)
    one = positions(items=20, batch_size=4, seed=0, steps=10)
    torch.rand(100)
    assert positions(items=20, batch_size=4, seed=0, steps=10) == one


def test_drawing_batches_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    positions(items=20, batch_size=4, seed=0, steps=10)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("first", [0, 1, 7, 24, 25])
@pytest.mark.parametrize(("rank", "ranks"), [(0, 1), (1, 2)])
def test_a_resumed_run_sees_the_batches_that_were_left(first, rank, ranks):
    settings = {"items": 11, "batch_size": 3, "seed": 5, "steps": 25, "rank": rank, "ranks": ranks}
    whole = list(StepSampler(**settings))
    assert list(StepSampler(**settings, first=first)) == whole[first:]
    assert all(len(batch) == 3 for batch in whole)


def test_a_sampler_can_be_read_twice():
    sampler = StepSampler(items=7, batch_size=2, seed=0, steps=9)
    assert list(sampler) == list(sampler)


def test_its_length_is_that_of_the_whole_stage():
    assert len(StepSampler(items=7, batch_size=2, seed=0, steps=9, first=4)) == 9


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_an_epoch_without_overlap(ranks):
    items, batch_size = 6 * ranks, 2
    shares = [
        positions(items=items, batch_size=batch_size, seed=2, steps=3, rank=rank, ranks=ranks)
        for rank in range(ranks)
    ]
    assert all(len(share) == 6 for share in shares)
    assert sorted(i for share in shares for i in share) == list(range(items))


def test_ranks_split_what_one_process_with_larger_batches_sees():
    both = [
        list(StepSampler(items=9, batch_size=2, seed=2, steps=8, rank=rank, ranks=2))
        for rank in (0, 1)
    ]
    alone = list(StepSampler(items=9, batch_size=4, seed=2, steps=8))
    assert [a + b for a, b in zip(*both, strict=True)] == alone


# ---- the loaders ---------------------------------------------------------------------------------


def test_batches_have_the_documented_shapes_and_types(make):
    data = make(geodesic=GeodesicWeight(2.0, 0.5))
    data.plan(2, 0)
    raw = next(iter(data.train_dataloader()))
    assert raw.views.image.dtype == torch.uint8  # bytes travel, floats are made on the device
    batch = data.on_after_batch_transfer(raw, 0)
    for one, other in zip(batch.views[:3], expand(raw).views[:3], strict=True):
        assert torch.equal(one, other)
    views, labels = batch
    assert views.image.shape == (2, 2, 3, 16, 16)
    assert views.mask.shape == views.weight.shape == (2, 2, 8, 8)
    shapes = [tuple(part.shape) for part in views.camera]
    assert shapes == [(2, 2, 3, 3), (2, 2, 3, 3), (2, 2, 3)]
    assert labels.joints_world.shape == (2, 18, 3)
    tensors = (*views[:3], *views.camera, labels.joints_world)
    assert {part.dtype for part in tensors} == {torch.float32}
    assert 0.5 < views.image.max() <= 1
    assert (views.mask.min(), views.mask.max()) == (0, 1)
    torch.testing.assert_close(views.weight.mean((-1, -2)), torch.ones(2, 2), atol=2e-3, rtol=0)
    assert len(labels.name) == 2
    assert all(name.startswith("figure/") for name in labels.name)


def test_training_follows_the_plan(make):
    data = make(seed=4)
    data.plan(7, 0)
    names = [list(batch.labels.name) for batch in data.train_dataloader()]
    expected = list(StepSampler(items=5, batch_size=2, seed=4, steps=7))
    assert names == [[f"figure/{i:03d}" for i in batch] for batch in expected]
    data.plan(7, 5)
    assert [list(batch.labels.name) for batch in data.train_dataloader()] == names[5:]


def test_each_rank_of_a_trainer_reads_its_own_moments(make):
    names = []
    for rank in (0, 1):
        data = make(batch_size=1)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2)
        data.plan(2, 0)
        names += [name for batch in data.train_dataloader() for name in batch.labels.name]
    assert len(set(names)) == 4


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_evaluation_reads_a_split_in_order_and_whole(make, workers):
    data = make(batch_size=1, workers=workers)
    names = [list(batch.labels.name) for batch in data.eval_dataloader("train")]
    assert names == [[f"figure/{i:03d}" for i in range(4)], ["figure/004"]]
    assert [list(batch.labels.name) for batch in data.val_dataloader()] == [
        ["figure/000", "figure/001", "figure/002"]
    ]


@pytest.fixture
def ragged(figures, make):
    """Three moments of two views and two of one."""

    def build(**settings):
        data = make(**settings)
        data.source.known = [
            m if i % 2 == 0 else m._replace(views=m.views[:1]) for i, m in enumerate(figures)
        ]
        return data

    return build


def test_moments_of_equal_numbers_of_views_are_evaluated_together(ragged):
    batches = list(ragged(batch_size=1).eval_dataloader("train"))
    assert [list(batch.labels.name) for batch in batches] == [
        ["figure/001", "figure/003"],
        ["figure/000", "figure/002", "figure/004"],
    ]
    assert [batch.views.image.shape[1] for batch in batches] == [1, 2]


def test_training_on_unequal_numbers_of_views_has_to_be_told_how_many(ragged):
    data = ragged()
    data.plan(2, 0)
    with pytest.raises(ValueError, match=r"have 1 to 2 views.*data\.views"):
        data.train_dataloader()


def test_a_step_sees_so_many_views_of_each_moment_others_each_time(make):
    data, whole = make(views=1, batch_size=5, seed=2), make().dataset("train")
    data.plan(12, 0)
    seen = {}
    for batch in data.train_dataloader():
        assert batch.views.image.shape[:2] == (5, 1)
        for name, (image,) in zip(batch.labels.name, batch.views.image, strict=True):
            both = whole[int(name[-1])].views.image
            seen.setdefault(name, []).append([torch.equal(image, one) for one in both].index(True))
    assert all(set(which) == {0, 1} for which in seen.values())
    assert len({tuple(which) for which in seen.values()}) > 1  # each moment for itself
    assert data.dataset("val").views == 2  # other splits are seen whole


def test_a_resumed_training_sees_the_views_that_were_left(ragged):
    def batches(first):
        data = ragged(views=2, batch_size=3, seed=5)
        data.plan(6, first)
        return [batch.views.image for batch in data.train_dataloader()]

    assert all(torch.equal(a, b) for a, b in zip(batches(0)[4:], batches(4), strict=True))


def test_as_many_views_as_there_are_change_nothing(make):
    plain, told = make(), make(views=2)
    for data in (plain, told):
        data.plan(7, 0)
    for one, other in zip(plain.train_dataloader(), told.train_dataloader(), strict=True):
        assert one.labels.name == other.labels.name
        assert torch.equal(one.views.image, other.views.image)


@pytest.mark.parametrize("memory", [False, True])
def test_a_split_is_listed_once(make, memory):
    data = make(memory=memory)
    data.prepare_data()
    assert data.dataset("val") is data.dataset("val")
    assert (data.source.prepared, data.source.asked) == (1, 1)
    assert (data.dataset("val").kept is not None) == memory
    if memory:
        assert sorted(data.dataset("val").kept) == [0, 1, 2]


def test_memory_and_disk_give_the_same_batches(make):
    for one, other in zip(
        make(memory=True).eval_dataloader("train"), make().eval_dataloader("train"), strict=True
    ):
        assert torch.equal(one.views.image, other.views.image)
        assert torch.equal(one.views.camera.K, other.views.camera.K)


def test_settings_reach_the_items(make):
    plain = make().dataset("train")[0].views
    masked = make(mask_input=True).dataset("train")[0].views
    wide = make(padding=2.0).dataset("train")[0].views
    assert (masked.image == GREY).float().mean() > (plain.image == GREY).float().mean() + 0.05
    assert wide.mask.float().mean() < 0.6 * plain.mask.float().mean()


def test_an_empty_split_is_refused(make):
    with pytest.raises(ValueError, match="no moments in this split"):
        make().eval_dataloader("blank")


def test_labels_of_another_skeleton_are_refused(make, figures):
    data = make()
    data.source.known = [m._replace(joints_world=np.zeros((17, 3))) for m in figures]
    with pytest.raises(ValueError, match="labels of shape"):
        data.eval_dataloader("train")


# ---- backgrounds ---------------------------------------------------------------------------------


def transferred(data, training, step=3, rank=0):
    data.trainer = SimpleNamespace(training=training, global_step=step, global_rank=rank)
    batch = default_collate([data.dataset("train")[0], data.dataset("train")[1]])
    return data.on_after_batch_transfer(batch, 0).views, expand(batch).views


SHARES = {"own": 0.0, "painted": 0.5, "people": 0.5}


@pytest.fixture
def make_pasted(make):
    def build(**settings):
        return make(**({"background": "pasted", "pasted": SHARES, "mask_size": 16} | settings))

    return build


def test_pasted_backgrounds_leave_the_person(make_pasted):
    seen, stored = transferred(make_pasted(), training=True)
    inside = -torch.nn.functional.max_pool2d(-stored.mask, 3, 1, 1) == 1
    person, behind = (
        where.unsqueeze(2).expand_as(stored.image) for where in (inside, stored.mask == 0)
    )
    assert person.any()
    assert torch.equal(seen.image[person], stored.image[person])
    assert (seen.image[behind] != stored.image[behind]).float().mean() > 0.9
    assert torch.equal(seen.mask, stored.mask)


def test_backgrounds_are_those_of_the_step_and_the_process(make_pasted):
    at = ((3, 0), (3, 0), (4, 0), (3, 1))
    images = []
    for place in at:  # as in a resumed run, whatever has been drawn before
        torch.rand(5)
        images.append(transferred(make_pasted(), True, *place)[0].image)
    first, again, other, elsewhere = images
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, elsewhere)


def test_which_crops_stay_has_nothing_to_do_with_which_a_stage_mirrors(make_pasted):
    data, same = make_pasted(pasted={"own": 0.5, "painted": 0.5, "people": 0.0}), []
    for step in range(12):
        seen, stored = transferred(data, True, step)
        kept = (seen.image == stored.image).flatten(2).all(2).flatten()
        flip, _ = torch.rand(2, len(kept), generator=torch.Generator().manual_seed(step))
        same += (kept == (flip < 0.5)).tolist()
    assert 0.2 < sum(same) / len(same) < 0.8


@pytest.mark.parametrize(("background", "training"), [("keep", True), ("pasted", False)])
def test_other_pictures_are_shown_as_they_are(make_pasted, background, training):
    seen, stored = transferred(make_pasted(background=background), training)
    assert torch.equal(seen.image, stored.image)


def test_backgrounds_that_could_not_be_seen_are_refused(make_pasted):
    with pytest.raises(ValueError, match="mask_input=false"):
        make_pasted(mask_input=True)
    with pytest.raises(ValueError, match="keep or pasted"):
        make_pasted(background="blue")
    with pytest.raises(ValueError, match="data.pasted needs own, painted and people, got "):
        make_pasted(pasted=None)
    with pytest.raises(ValueError, match=r"got \['own', 'paint', 'people'\]"):
        make_pasted(pasted={"own": 0.5, "paint": 0.5, "people": 0.0})


def test_random_colours_of_older_configs_are_told_what_to_become(make):
    with pytest.raises(ValueError, match="data.background=pasted") as error:
        make(background="random")
    assert "evaluated with +data.background=keep" in str(error.value)
    assert len(str(error.value).splitlines()) < 4
