import importlib
import os
import subprocess

import pytest
import torch
from omegaconf import OmegaConf

from mask_sup.files.config import MOVED, build, conf_dir, load_config, plain, renamed
from mask_sup.geometry.geodesic import GeodesicWeight
from mask_sup.models.detector import Detector, VolumeHead
from mask_sup.models.hourglass import StackedHourglass

WEIGHT = "mask_sup.geometry.geodesic.GeodesicWeight"
GEODESIC = {
    "_target_": "mask_sup.geometry.geodesic.GeodesicWeight",
    "gain": 2.0,
    "background_gain": 0.5,
}
HOURGLASS = {
    "_target_": "mask_sup.models.hourglass.StackedHourglass",
    "stacks": 1,
    "depth": 1,
    "channels": 8,
    "stem_stride": 2,
}
HEAD = {"_target_": "mask_sup.models.detector.VolumeHead", "depth_bins": 4}
DETECTOR = {
    "_target_": "mask_sup.models.detector.Detector",
    "backbone": HOURGLASS,
    "head": HEAD,
    "depth_range": 2000.0,
    "mask_input": False,
}


def test_a_node_becomes_its_target_with_its_keys():
    built = build(GEODESIC)
    assert type(built) is GeodesicWeight
    assert (built.gain, built.background_gain) == (2.0, 0.5)


def test_nested_nodes_are_built_first_and_objects_are_passed_as_they_are(human18):
    detector = build(OmegaConf.create(DETECTOR), skeleton=human18)
    assert type(detector) is Detector
    assert type(detector.backbone) is StackedHourglass
    assert type(detector.head) is VolumeHead
    assert detector.skeleton is human18


def test_interpolations_are_resolved_before_a_node_is_built():
    cfg = OmegaConf.create({"strength": 3.0, "geodesic": GEODESIC | {"gain": "${strength}"}})
    assert build(cfg.geodesic).gain == 3.0


def test_partial_nodes_become_calls_that_wait_for_the_rest():
    node = {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.25}
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = build(node)([parameter])
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.param_groups[0]["lr"] == 0.25
    assert build(GEODESIC | {"_partial_": False}).gain == 2.0


def test_partial_nodes_name_a_wrong_key_when_they_are_called():
    waiting = build({"_target_": "torch.optim.Adam", "_partial_": True, "learning": 0.25})
    with pytest.raises(TypeError, match="learning"):
        waiting([torch.nn.Parameter(torch.zeros(1))])


FOREIGN = [
    "os.system",
    "builtins.eval",
    "subprocess.run",
    "torch.load",
    "torch.nn.Linear",
    "hydra.utils.instantiate",
    "mask_supper.thing",
    "lightning.fabric.Fabric",
]

# Modules of trusted packages import others: the path through them leads out of the packages again.
BEHIND_A_TRUSTED_NAME = [
    "mask_sup.train.os.system",
    "mask_sup.train.subprocess.run",
    "mask_sup.files.config.functools.partial",
    "mask_sup.models.checkpoint.torch.load",
    "torch.optim.optimizer.torch.load",
]


@pytest.fixture
def nothing_runs(monkeypatch):
    def refuse(*arguments, **keys):
        pytest.fail(f"a foreign target was called with {arguments} {keys}")

    for module, name in ((os, "system"), (subprocess, "run"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse)


@pytest.mark.parametrize("target", FOREIGN)
@pytest.mark.parametrize("partial", [False, True])
def test_foreign_targets_are_refused(target, partial, nothing_runs):
    node = {"_target_": target, "_partial_": partial, "command": "touch here"}
    with pytest.raises(ValueError, match=f"{target}.*refused"):
        build(node)


@pytest.mark.parametrize("target", BEHIND_A_TRUSTED_NAME)
def test_foreign_targets_behind_a_trusted_name_are_refused(target):
    with pytest.raises(ValueError, match=f"{target}.*refused"):
        build({"_target_": target, "_partial_": True})


@pytest.mark.parametrize("where", ["backbone", "head"])
def test_foreign_targets_are_refused_inside_other_nodes(where, human18, nothing_runs):
    node = DETECTOR | {where: {"_target_": "os.system", "command": "touch here"}}
    with pytest.raises(ValueError, match="os.system.*refused"):
        build(node, skeleton=human18)


def test_objects_of_the_trusted_packages_are_built(human18):
    for target in ("torch.optim.Adam", "lightning.pytorch.Trainer", "lightning.pytorch.Callback"):
        assert callable(build({"_target_": target, "_partial_": True}))


@pytest.mark.parametrize("node", [{"gain": 2.0}, {}, None, WEIGHT, 3])
def test_nodes_without_a_target_are_refused(node):
    with pytest.raises(
        ValueError, match="expected a config node with a _target_.*choose an option"
    ):
        build(node)


def test_wrong_keys_are_named():
    with pytest.raises(TypeError, match=f"cannot build {WEIGHT}.*'gian'"):
        build(GEODESIC | {"gian": 2.0})


def test_missing_keys_are_named():
    with pytest.raises(TypeError, match=f"cannot build {WEIGHT}.*'background_gain'"):
        build({"_target_": WEIGHT, "gain": 2.0})


def test_wrong_keys_are_named_inside_other_nodes(human18):
    node = DETECTOR | {"backbone": HOURGLASS | {"chanels": 4}}
    with pytest.raises(TypeError, match="StackedHourglass.*chanels"):
        build(node, skeleton=human18)


def test_plain_holds_no_object_of_omegaconf():
    cfg = OmegaConf.create({"a": {"b": [1, {"c": "${d}"}]}, "d": 2.0})
    assert plain(cfg) == {"a": {"b": [1, {"c": 2.0}]}, "d": 2.0}
    assert type(plain(cfg)["a"]["b"]) is list
    assert plain({"already": "plain"}) == {"already": "plain"}


def test_conf_dir_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert os.path.isfile(os.path.join(conf_dir(), "train.yaml"))
    assert os.path.isabs(conf_dir())


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no config.yaml in {tmp_path}: not the folder of"):
        load_config(tmp_path / "config.yaml")


@pytest.mark.parametrize("module", sorted(MOVED))
def test_modules_of_old_checkpoints_have_moved(module):
    importlib.import_module(MOVED[module])
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(module)


def test_targets_of_old_checkpoints_are_translated_wherever_they_stand():
    old = {
        "skeleton": {"_target_": "mask_sup.skeleton.Skeleton", "name": "mask_sup.skeleton"},
        "parts": [{"_target_": "mask_sup.data.synthetic.SyntheticData"}],
        "detector": {"head": {"_target_": "mask_sup.models.detector.VolumeHead"}},
        "seed": 3,
    }
    assert renamed(old) == {
        "skeleton": {"_target_": "mask_sup.figure.skeleton.Skeleton", "name": "mask_sup.skeleton"},
        "parts": [{"_target_": "mask_sup.synthetic.data.SyntheticData"}],
        "detector": {"head": {"_target_": "mask_sup.models.detector.VolumeHead"}},
        "seed": 3,
    }
