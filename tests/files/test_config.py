import importlib
import importlib.util
import os

import pytest
from omegaconf import OmegaConf

from mask_sup.files.config import MOVED, conf_dir, load_config, plain, renamed


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
    found = importlib.util.find_spec(module)
    assert found is None or found.submodule_search_locations  # a room of that name


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
