import os
import pickle

import pytest
import torch
import yaml

from mask_sup.files.build import build
from mask_sup.files.config import plain
from mask_sup.models.blocks import group_counts
from mask_sup.models.checkpoint import load, read_checkpoint, restore, start_from
from mask_sup.train import build_parts, train

STAGES = ("skeleton", "physique", "relabel", "arms")
SMALL = (
    "+experiment=smoke",
    "data.source.moments={train: 2, val: 1}",
    "~data.source.moments.mocap",
    "data.source.size=32",
    "data.batch_size=1",
    "detector.backbone.channels=16",
    "trainer.val_check_interval=1",
    *(f"cascade.{stage}.max_steps=1" for stage in STAGES),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory, compose_config):
    """Folder and config of a training run of one step per stage."""
    folder = tmp_path_factory.mktemp("trained")
    cfg = compose_config("train", *SMALL, f"data.source.root={folder / 'cache'}")
    train(cfg, folder / "run")
    return folder / "run", cfg


@pytest.fixture
def last(run):
    return run[0] / "arms" / "checkpoints" / "last.ckpt"


@pytest.fixture
def changed(last, tmp_path):
    """A change of the last checkpoint's contents -> the file with it."""

    def write(change):
        checkpoint = torch.load(last, weights_only=True)
        change(checkpoint)
        torch.save(checkpoint, tmp_path / "changed.ckpt")
        return tmp_path / "changed.ckpt"

    return write


def is_plain(value):
    if isinstance(value, dict):
        return type(value) is dict and all(is_plain(v) for pair in value.items() for v in pair)
    if isinstance(value, list):
        return type(value) is list and all(is_plain(v) for v in value)
    return value is None or type(value) in (str, int, float, bool)


# -- what training writes -------------------------------------------------------------------------


def test_every_checkpoint_loads_without_executing_anything(run):
    paths = sorted(run[0].rglob("*.ckpt"))
    assert [path.parents[1].name for path in paths] == sorted(STAGES)
    for path in paths:
        checkpoint = torch.load(path, weights_only=True)
        assert checkpoint["config"] == plain(run[1])
        assert is_plain(checkpoint["config"])
        assert checkpoint["global_step"] == 1


def test_a_run_holds_the_config_of_its_checkpoints(run, last):
    told = yaml.safe_load((run[0] / "config.yaml").read_text())
    assert told == read_checkpoint(last)["config"]


def test_no_path_of_a_run_has_a_sign_that_overrides_cannot_carry(run):
    paths = [path.relative_to(run[0]) for path in run[0].rglob("*")]
    assert len(paths) > 10
    assert not [path for path in paths if set(str(path)) & set("=,: ")]


def test_the_first_stage_knows_no_shape_prior(run):
    kept = {
        stage: {
            key.split(".")[0]
            for key in read_checkpoint(run[0] / stage / "checkpoints" / "last.ckpt")["state_dict"]
        }
        for stage in STAGES
    }
    assert "shape_prior" not in kept["skeleton"]
    assert "shape_prior" in kept["physique"] & kept["arms"]
    assert all("detector" in names for names in kept.values())


# -- load -----------------------------------------------------------------------------------------


def test_load_gives_the_trained_detector_in_evaluation_mode(last):
    detector = load(str(last))
    assert not detector.training
    state = torch.load(last, weights_only=True)["state_dict"]
    for name, value in detector.state_dict().items():
        assert torch.equal(value, state[f"detector.{name}"])
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    joints = detector(images)
    assert joints.shape == (2, 18, 3)
    assert torch.equal(load(last)(images), joints)


def test_stages_differ_in_what_they_learned(run):
    first, final = (
        load(run[0] / stage / "checkpoints" / "last.ckpt") for stage in ("skeleton", "arms")
    )
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(first(images), final(images))


def test_load_needs_neither_the_data_nor_the_other_networks(changed):
    def strip(checkpoint):
        checkpoint["config"] = {key: checkpoint["config"][key] for key in ("detector", "skeleton")}
        weights = checkpoint["state_dict"].items()
        checkpoint["state_dict"] = {k: v for k, v in weights if k.startswith("detector.")}

    assert load(changed(strip))(torch.zeros(1, 3, 32, 32)).shape == (1, 18, 3)


def test_a_missing_weight_is_refused(changed):
    def forget(checkpoint):
        del checkpoint["state_dict"]["detector.head.heatmap.bias"]

    with pytest.raises(ValueError, match="do not fit their config: head.heatmap.bias is missing"):
        load(changed(forget))


def test_a_weight_too_many_is_refused(changed):
    def add(checkpoint):
        checkpoint["state_dict"]["detector.head.surplus"] = torch.zeros(1)

    with pytest.raises(ValueError, match="do not fit their config: head.surplus is unknown"):
        load(changed(add))


def test_a_config_that_names_a_foreign_target_is_refused(changed, monkeypatch):
    monkeypatch.setattr(os, "system", lambda command: pytest.fail(f"executed {command}"))
    for target in ("os.system", "mask_sup.train.os.system"):

        def infect(checkpoint, target=target):
            checkpoint["config"]["skeleton"] = {"_target_": target, "command": "true"}

        with pytest.raises(ValueError, match="refused"):
            load(changed(infect))


# -- files that are none --------------------------------------------------------------------------


def test_a_missing_file_is_told_with_the_layout(tmp_path):
    for path in (tmp_path / "last.ckpt", tmp_path):
        with pytest.raises(FileNotFoundError, match=f"no checkpoint at {path}: expected outputs/"):
            read_checkpoint(path)


def test_damaged_files_are_told(last, tmp_path):
    whole = last.read_bytes()
    for name, content in {
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"this is no checkpoint",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} cannot be read as a checkpoint"):
            read_checkpoint(tmp_path / name)


class Malice:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    "save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))]
)
def test_files_that_carry_code_are_refused_and_not_executed(save, tmp_path):
    content = {"config": Malice(tmp_path / "executed"), "state_dict": {}}
    save(content, tmp_path / "malice.ckpt")
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        read_checkpoint(tmp_path / "malice.ckpt")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"config": {}}, torch.zeros(2), []])
def test_files_of_other_programs_are_refused(content, tmp_path):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(
        ValueError, match="no checkpoint of mask_sup: it has no config and state_dict"
    ):
        read_checkpoint(tmp_path / "other.pt")


# -- start_from -----------------------------------------------------------------------------------


def parts_of(cfg, seed=7):
    torch.manual_seed(seed)
    return build_parts(cfg)[0]


def same(module, state, prefix):
    return all(torch.equal(v, state[f"{prefix}.{k}"]) for k, v in module.state_dict().items())


def test_starting_takes_over_the_detector_and_psi(run, last):
    parts, state = parts_of(run[1]), read_checkpoint(last)["state_dict"]
    assert not same(parts.detector, state, "detector")
    assert not same(parts.shape_prior, state, "shape_prior")
    start_from(last, parts.detector, parts.shape_prior)
    assert same(parts.detector, state, "detector")
    assert same(parts.shape_prior, state, "shape_prior")


def test_psi_starts_fresh_from_a_checkpoint_before_it(run):
    parts = parts_of(run[1])
    fresh = {name: value.clone() for name, value in parts.shape_prior.state_dict().items()}
    first = run[0] / "skeleton" / "checkpoints" / "last.ckpt"
    start_from(first, parts.detector, parts.shape_prior)
    assert same(parts.detector, read_checkpoint(first)["state_dict"], "detector")
    assert all(torch.equal(v, fresh[k]) for k, v in parts.shape_prior.state_dict().items())


def test_a_run_without_psi_starts_from_one_with_it(run, last):
    parts = parts_of(run[1])
    start_from(last, parts.detector, None)
    assert same(parts.detector, read_checkpoint(last)["state_dict"], "detector")


def test_another_skeleton_is_refused(run, last):
    cfg = run[1].copy()
    cfg.skeleton.name = "backwards18"
    cfg.skeleton.joints = list(cfg.skeleton.joints)[::-1]
    parts = parts_of(cfg)
    message = (
        "'human18' with 18 joints, this run uses 'backwards18' with 18: choose skeleton=human18"
    )
    with pytest.raises(ValueError, match=message):
        start_from(last, parts.detector, parts.shape_prior)


@pytest.mark.parametrize(
    "override",
    [
        "detector.backbone.channels=32",
        "detector.backbone.depth=1",
        "detector.head.depth_bins=16",
        "shape_prior.channels=[4,8]",
        "shape_prior=patch",
    ],
)
def test_another_architecture_is_refused(override, last, compose_config):
    parts = parts_of(compose_config("train", *SMALL, override))
    with pytest.raises(ValueError, match=f"{last} has other networks than this run: use the"):
        start_from(last, parts.detector, parts.shape_prior)


@pytest.mark.parametrize("key", ["detector.backbone", "shape_prior"])
def test_weights_of_other_groups_are_refused(key, last, compose_config):
    parts = parts_of(compose_config("train", *SMALL, f"{key}.channels_per_group=16"))
    message = f"{last} has other networks .* use {key}.channels_per_group=4"
    with pytest.raises(ValueError, match=message):
        start_from(last, parts.detector, parts.shape_prior)


def test_a_checkpoint_that_does_not_tell_its_groups_has_those_of_before(last, changed, run):
    def forget(checkpoint):
        for node in (
            checkpoint["config"]["detector"]["backbone"],
            checkpoint["config"]["shape_prior"],
        ):
            assert node.pop("channels_per_group") == 4

    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    old = changed(forget)
    assert torch.equal(load(old)(images), load(last)(images))
    parts = parts_of(run[1])
    start_from(old, parts.detector, parts.shape_prior)
    assert same(parts.shape_prior, read_checkpoint(last)["state_dict"], "shape_prior")


def test_groups_come_back_from_a_checkpoint(last, changed):
    def widen(checkpoint):
        checkpoint["config"]["detector"]["backbone"]["channels_per_group"] = 16

    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert group_counts(load(changed(widen))) < group_counts(load(last))
    assert not torch.equal(load(changed(widen))(images), load(last)(images))


def test_restoring_needs_no_file(last):
    checkpoint = read_checkpoint(last)
    detector = restore(checkpoint)
    assert same(detector, checkpoint["state_dict"], "detector")
    assert detector.skeleton == build(checkpoint["config"]["skeleton"], "skeleton")
