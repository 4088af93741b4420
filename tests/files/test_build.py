import os
import subprocess
from pathlib import Path

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from mask_sup.files.build import KINDS, NodeError, build
from mask_sup.files.config import conf_dir
from mask_sup.files.errors import ABOUT_INPUT
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
    built = build(GEODESIC, "geodesic")
    assert type(built) is GeodesicWeight
    assert (built.gain, built.background_gain) == (2.0, 0.5)


def test_nested_nodes_are_built_first_and_objects_are_passed_as_they_are(human18):
    detector = build(OmegaConf.create(DETECTOR), "detector", skeleton=human18)
    assert type(detector) is Detector
    assert type(detector.backbone) is StackedHourglass
    assert type(detector.head) is VolumeHead
    assert detector.skeleton is human18


def test_interpolations_are_resolved_before_a_node_is_built():
    cfg = OmegaConf.create({"strength": 3.0, "geodesic": GEODESIC | {"gain": "${strength}"}})
    assert build(cfg.geodesic, "geodesic").gain == 3.0


def test_partial_nodes_become_calls_that_wait_for_the_rest():
    node = {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.25}
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = build(node, "optimizer")([parameter])
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.param_groups[0]["lr"] == 0.25
    assert build(GEODESIC | {"_partial_": False}, "geodesic").gain == 2.0


def test_a_wrong_key_is_an_error_about_input():
    assert issubclass(NodeError, ABOUT_INPUT)


def test_partial_nodes_name_a_wrong_key_when_they_are_called():
    waiting = build(
        {"_target_": "torch.optim.Adam", "_partial_": True, "learning": 0.25}, "optimizer"
    )
    with pytest.raises(NodeError, match="optimizer: cannot build .*learning"):
        waiting([torch.nn.Parameter(torch.zeros(1))])


HOSTILE = [
    "os.system",
    "builtins.eval",
    "subprocess.run",
    "torch.load",
    "torch.nn.Linear",
    "hydra.utils.instantiate",
    "hydra.utils.get_class",
    "mask_supper.thing",
    "lightning.fabric.Fabric",
    # Lightning has a constructor of anything, loaders that unpickle, and a writer of files.
    "lightning.pytorch.cli.instantiate_class",
    "lightning.pytorch.LightningModule.load_from_checkpoint",
    "lightning.pytorch.core.saving._load_from_checkpoint",
    "lightning.pytorch.core.saving.save_hparams_to_yaml",
    # Modules import others: a path through them leads out of a package again.
    "mask_sup.train.os.system",
    "mask_sup.train.subprocess.run",
    "mask_sup.train.train",
    "mask_sup.files.disk.write_file",
    "mask_sup.files.config.OmegaConf.load",
    "mask_sup.models.checkpoint.torch.load",
    "torch.optim.optimizer.torch.load",
    "torch.optim.Optimizer.__init__.__globals__",
    "torch.optim.lr_scheduler.LambdaLR",
    "",
    ".",
    "Skeleton",
    "x" * 100_000,
    ["os.system"],
    {"_target_": "os.system"},
    3,
    None,
]
PLACES = sorted(KINDS)


@pytest.fixture
def nothing_runs(monkeypatch):
    def refuse(*arguments, **keys):
        pytest.fail(f"a foreign target was called with {arguments} {keys}")

    for module, name in ((os, "system"), (subprocess, "run"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse)


@pytest.mark.parametrize("target", HOSTILE, ids=lambda target: f"{target!r:.50}")
def test_what_is_not_on_the_list_is_refused_everywhere(target, nothing_runs):
    for place in PLACES:
        for partial in (False, True):
            node = {"_target_": target, "_partial_": partial, "command": "touch here"}
            with pytest.raises(ValueError, match="(?s)refused: expected one of") as error:
                build(node, place.replace("*", "x"))
            assert len(str(error.value)) < 2000


@pytest.mark.parametrize("where", ["backbone", "head"])
def test_foreign_targets_are_refused_inside_other_nodes(where, human18, nothing_runs):
    node = DETECTOR | {where: {"_target_": "os.system", "command": "touch here"}}
    with pytest.raises(ValueError, match=f"detector.{where}._target_ 'os.system' is refused"):
        build(node, "detector", skeleton=human18)


@pytest.mark.parametrize("place", PLACES)
def test_a_class_of_another_kind_is_refused(place):
    for targets in KINDS.values():
        if not set(targets) & set(KINDS[place]):
            with pytest.raises(ValueError, match="is refused"):
                build({"_target_": targets[0]}, place.replace("*", "x"))


def test_a_node_where_none_belongs_is_refused():
    hidden = {"_target_": "lightning.pytorch.Trainer"}
    for key in ("callbacks", "plugins", "strategy"):
        for value in (hidden, [hidden], {"x": [hidden]}):
            with pytest.raises(ValueError, match=f"trainer.{key}.*is refused"):
                build({"_target_": "lightning.pytorch.Trainer", key: value}, "trainer")


def test_a_value_where_a_node_belongs_is_refused(human18):
    with pytest.raises(ValueError, match="detector.head: expected a config node with a _target_"):
        build(DETECTOR | {"head": 2.5}, "detector", skeleton=human18)


@pytest.mark.parametrize("extra", ["_args_", "_recursive_", "_convert_"])
def test_words_of_hydra_are_no_parameters(extra, human18):
    with pytest.raises(TypeError, match=extra):
        build(DETECTOR | {extra: [1]}, "detector", skeleton=human18)


@pytest.mark.parametrize("name", ["SGD", "AdamW", "RMSprop"])
def test_every_optimiser_of_torch_is_built(name):
    parameter = torch.nn.Parameter(torch.zeros(1))
    node = {"_target_": f"torch.optim.{name}", "_partial_": True, "lr": 0.1}
    assert type(build(node, "optimizer")([parameter])).__name__ == name
    with pytest.raises(ValueError, match="refused"):
        build(node, "trainer")


def targets_of(node):
    if isinstance(node, dict):
        yield from [node["_target_"]] if "_target_" in node else []
        for value in node.values():
            yield from targets_of(value)


def test_the_list_is_what_the_configs_name():
    named = set()
    for path in Path(conf_dir()).rglob("*.yaml"):
        named |= set(targets_of(yaml.safe_load(path.read_text())))
    listed = {target for targets in KINDS.values() for target in targets}
    assert named - listed == {"torch.optim.Adam"}
    assert listed - named == set()


@pytest.mark.parametrize("node", [{"gain": 2.0}, {}, None, WEIGHT, 3])
def test_nodes_without_a_target_are_refused(node):
    with pytest.raises(
        ValueError, match="expected a config node with a _target_.*choose an option"
    ):
        build(node, "geodesic")


def test_wrong_keys_are_named():
    with pytest.raises(TypeError, match=f"cannot build {WEIGHT}.*'gian'"):
        build(GEODESIC | {"gian": 2.0}, "geodesic")


def test_a_number_that_nothing_can_be_built_with_is_told_with_its_place(human18):
    node = DETECTOR | {"backbone": HOURGLASS | {"depth": 1e30}}
    with pytest.raises(TypeError, match="detector.backbone: cannot build .*StackedHourglass"):
        build(node, "detector", skeleton=human18)


def test_missing_keys_are_named():
    with pytest.raises(TypeError, match=f"cannot build {WEIGHT}.*'background_gain'"):
        build({"_target_": WEIGHT, "gain": 2.0}, "geodesic")


def test_wrong_keys_are_named_inside_other_nodes(human18):
    node = DETECTOR | {"backbone": HOURGLASS | {"chanels": 4}}
    with pytest.raises(TypeError, match="StackedHourglass.*chanels"):
        build(node, "detector", skeleton=human18)
