"""Facts of the whole ancestry of weights."""

import json

import pytest
import torch

from mask_sup.files.config import plain
from mask_sup.method.settings import at_test, merged, of_checkpoint, of_stage
from mask_sup.models.checkpoint import read_checkpoint
from mask_sup.train import train

SMALL = (
    "+experiment=smoke",
    "data.source.moments={train: 4, val: 1}",
    "~data.source.moments.mocap",
    "data.source.size=32",
    "data.batch_size=2",
    "detector.backbone.channels=16",
    "trainer.val_check_interval=1",
)
SUPERVISED = ("cascade=supervised", "cascade.supervised.max_steps=1", "name=teacher")
ADAPT = (
    "cascade=adapt",
    "name=pupil",
    "~cascade.second_round",
    "cascade.first_round.max_steps=1",
)


def last(run, stage):
    return run / stage / "checkpoints" / "last.ckpt"


def facts(compose_config, stage, *overrides):
    return of_stage(plain(compose_config("train", *overrides)), stage)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, compose_config):
    """A detector trained on labels, and one adapted from it."""
    root = tmp_path_factory.mktemp("ancestry")
    data = f"data.source.root={root / 'cache'}"
    train(compose_config("train", *SMALL, *SUPERVISED, data), root / "teacher")
    init = f"init={last(root / 'teacher', 'supervised')}"
    cfg = compose_config("train", *SMALL, *ADAPT, data, init)
    train(cfg, root / "pupil")
    return root, cfg


def test_labels_of_an_ancestor_stay(runs):
    told = read_checkpoint(last(runs[0] / "pupil", "first_round"))["settings"]
    assert told["labels"] is True
    assert told["relabel"] == 1
    assert told["T"] is True
    assert told["stages"] == ["teacher/supervised", "pupil/first_round"]
    assert {"symmetry", "midpoints", "chains"} <= set(told["anatomy"])
    assert told["body"] == ["capsules on human18"]
    assert told["masks"] == ["rendered, exact to the pixel"]


def test_a_resumed_run_tells_the_same(runs):
    root, cfg = runs
    path = last(root / "pupil", "first_round")
    before = read_checkpoint(path)["settings"]
    (root / "pupil" / "first_round" / "finished.json").unlink()
    path.unlink()
    train(cfg, root / "pupil")
    assert read_checkpoint(path)["settings"] == before


def test_settings_are_plain_data(runs):
    told = read_checkpoint(last(runs[0] / "pupil", "first_round"))["settings"]
    assert json.loads(json.dumps(told)) == told


def test_a_checkpoint_from_before_tells_what_its_config_does(runs, tmp_path):
    checkpoint = read_checkpoint(last(runs[0] / "pupil", "first_round"))
    del checkpoint["settings"]
    told = of_checkpoint(checkpoint)
    assert told["T"] is True
    assert told["labels"] is None  # what init brought is not known
    assert told["UP"] is None
    assert told["stages"] == ["unknown"]
    checkpoint["config"]["init"] = None
    told = of_checkpoint(checkpoint)
    assert (told["labels"], told["relabel"]) == (False, 1)
    assert torch.is_tensor(next(iter(checkpoint["state_dict"].values())))


def test_of_an_old_checkpoint_only_what_all_stages_share_is_known(compose_config):
    config = plain(compose_config("train", "+experiment=quickstart"))
    told = of_checkpoint({"config": config})
    assert told["labels"] is False
    assert told["T"] is True  # a standing start, then rounds
    assert (told["relabel"], told["time"]) == (None, None)  # rounds may not have come yet


ZERO = "cascade.skeleton.module.weights"


@pytest.mark.parametrize(
    ("stage", "overrides", "fact", "value"),
    [
        ("skeleton", (), "T", False),
        ("skeleton", (), "UP", False),
        ("skeleton", (), "anatomy", []),
        ("skeleton", (), "calibrated", True),
        ("skeleton", ("without.Delta=true",), "calibrated", False),
        # Without Delta nothing is triangulated that anatomy could judge.
        ("skeleton", ("+experiment=smoke", "without.Delta=true"), "anatomy", []),
        ("skeleton", ("+experiment=smoke", "without.Delta=true"), "person_ids", False),
        ("skeleton", (f"{ZERO}.upright=1.0",), "T", True),
        ("skeleton", (f"{ZERO}.upright=1.0",), "upright", True),
        ("skeleton", (f"{ZERO}.rest=0.0",), "hanging_arms", False),
        ("skeleton", ("anatomy=human", f"{ZERO}.symmetry=1.0"), "anatomy", ["symmetry"]),
        ("skeleton", (f"{ZERO}.symmetry=1.0",), "anatomy", []),  # a weight without its term
        ("skeleton", ("anatomy=human", f"{ZERO}.constancy=1.0"), "person_ids", True),
        ("skeleton", ("anatomy=human",), "person_ids", False),
        ("skeleton", ("data=recording",), "masks", ["of a recording, as given"]),
        (
            *("skeleton", ("data.source.masks=spoilt",), "masks"),
            ["rendered, spoilt by chance as extractors' are"],
        ),
        ("skeleton", ("data=wild_mix",), "masks", ["of a prepared data set, as its header tells"]),
        ("first_round", ("+experiment=quickstart",), "T", True),
        ("first_round", ("+experiment=quickstart",), "time", True),
        ("first_round", ("+experiment=quickstart",), "person_ids", True),
        (
            "first_round",
            ("+experiment=quickstart", "fitter.travel=0", "fitter.weights.smoothness=0"),
            "time",
            False,
        ),
        ("supervised", ("cascade=supervised",), "labels", True),
    ],
)
def test_each_fact_has_its_cause(compose_config, stage, overrides, fact, value):
    assert facts(compose_config, stage, *overrides)[fact] == value


def test_a_stage_of_somebody_elses_is_not_known(compose_config):
    config = plain(compose_config("train"))
    for target in ("my_package.stages.Odd", "my_package.stages.SkeletonStage"):
        config["cascade"]["skeleton"]["module"]["_target_"] = target
        told = of_stage(config, "skeleton")
        for fact in ("UP", "T", "labels", "person_ids", "time", "relabel", "anatomy"):
            assert told[fact] is None, fact
        assert told["calibrated"] is True


def test_unknown_stays_unless_it_is_a_yes():
    assert merged({"labels": None}, {"labels": False}) == {"labels": None}
    assert merged({"labels": None}, {"labels": True}) == {"labels": True}
    assert merged({"labels": True}, {"labels": False}) == {"labels": True}


def test_what_a_detector_needs_at_test():
    assert at_test({"mask_input": True})["masks_at_test"] == "the input and the crop"
    assert at_test({"mask_input": False, "mirror_test": True}) == {
        "masks_at_test": "the crop",
        "box_at_test": "the person's mask",
        "mirror_test": True,
        "fitted_at_test": False,
    }
    assert at_test({}, fitter="a fitter") == {
        "masks_at_test": "the crop, and poses are fitted to them in all calibrated views",
        "box_at_test": "the person's mask",
        "mirror_test": False,
        "fitted_at_test": True,
    }


@pytest.mark.parametrize(("box", "told"), [("given", "given by the user"), ("found", "found by")])
def test_without_masks_the_box_is_told_to_be_from_elsewhere(box, told):
    facts = at_test({"mask_input": False}, box=box)
    assert facts["masks_at_test"] == "none"
    assert facts["box_at_test"].startswith(told)
