"""docs/extending.md, as its reader would use it."""

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mask_sup.files import build as building
from mask_sup.files.build import build, trust
from mask_sup.models.checkpoint import load
from mask_sup.train import train

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
BLOCK = re.compile(r"```(?:python|yaml)\n# (\S+)\n(.*?)```", re.S)
SMALL = (
    "+experiment=smoke",
    "anatomy=none",
    "data.source.moments={train: 2, val: 1}",
    "~data.source.moments.mocap",
    "data.source.size=32",
    "data.batch_size=1",
    "detector.backbone.channels=16",
    "trainer.val_check_interval=1",
)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The package of the page, not yet trusted; its folder."""
    for name, text in BLOCK.findall(PAGE.read_text()):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "my_package" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(building, "_trusted", set())
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]


def centred(package, compose_config, root):
    """The training of the page, small."""
    import yaml

    stage = yaml.safe_load((package / "conf" / "cascade" / "centred.yaml").read_text())
    cfg = compose_config("train", *SMALL, f"data.source.root={root}")
    cfg.cascade = stage | {"skeleton": stage["skeleton"] | {"max_steps": 1}}
    return cfg


@pytest.mark.slow
def test_a_loss_of_ones_own_is_trained_and_its_checkpoint_loads(
    package, compose_config, tmp_path, monkeypatch
):
    trust("my_package")
    train(centred(package, compose_config, tmp_path / "cache"), tmp_path / "run")
    rows = (tmp_path / "run" / "skeleton" / "metrics.csv").read_text()
    assert "train/centre" in rows
    last = tmp_path / "run" / "skeleton" / "checkpoints" / "last.ckpt"
    monkeypatch.setattr(building, "_trusted", set())
    assert load(last)(torch.zeros(1, 3, 32, 32)).shape == (1, 18, 3)  # the detector is ours


def test_without_trust_it_is_refused_before_anything_is_drawn(package, compose_config, tmp_path):
    with pytest.raises(
        ValueError, match=r"cascade.skeleton.module._target_ .*trust=\[my_package\]"
    ):
        train(centred(package, compose_config, tmp_path / "cache"), tmp_path / "run")
    assert not (tmp_path / "cache").exists()


def test_a_data_set_of_ones_own(package, write_recording, cameras_around, tmp_path):
    trust("my_package")
    root = write_recording(tmp_path / "walk", cameras_around(2))
    node = {"_target_": "my_package.data.FirstFrames", "count": 1, "root": str(root)}
    node |= {"masks": None, "joints": 18, "every": 1}
    source = build(node, "data.source")
    source.prepare()
    assert len(source.moments("train")) == 1


@pytest.mark.parametrize("trusted", [True, False])
def test_an_extractor_of_ones_own_from_the_command_line(package, tmp_path, trusted):
    frames = tmp_path / "frames"
    frames.mkdir()
    for i in range(3):
        picture = np.zeros((48, 64, 3), np.uint8)
        picture[8:40, 20 + i : 40 + i] = 255
        cv2.imwrite(str(frames / f"{i:06d}.png"), picture)
    words = ["--config-dir", str(tmp_path / "conf"), "extractor=bright", "person=all"]
    words += [f"input={frames}", f"output={tmp_path / 'masks'}"]
    done = subprocess.run(
        [sys.executable, "-m", "mask_sup.masks", *words, *["trust=[my_package]"] * trusted],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    if not trusted:
        assert done.returncode != 0
        assert "my_package.masks.Bright' is refused" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "masks").rglob("000001.png")
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert mask[20, 30] == 255
    assert mask[20, 5] == 0


def test_an_installed_entry_point_is_trusted(package, monkeypatch):
    info = package / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mask_sup.plugins]\nmy_package = my_package\n")
    node = {"_target_": "my_package.masks.Bright", "threshold": 9.0}
    building._plugins.cache_clear()
    assert build(node, "extractor").threshold == 9.0
    building._plugins.cache_clear()


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("my_package.masks.np.load", "no such thing"),
        ("my_package.masks.np", "is refused: .*that my_package defines"),
        ("my_package.masks.Extractor", "is refused: .*that my_package defines"),
        ("my_package.masks.Missing", "no such thing"),
        ("my_package", "is refused"),
        ("my_packages.masks.Bright", "is refused"),
    ],
)
def test_trust_ends_at_the_package(package, target, says):
    trust("my_package")
    with pytest.raises(ValueError, match=f"{target}.*{says}"):
        build({"_target_": target}, "extractor")


@pytest.mark.parametrize("name", ["", "a.b", "os;", "../x"])
def test_trust_names_packages(name):
    with pytest.raises(ValueError, match="top-level packages"):
        trust(name)


def test_a_file_cannot_ask_for_trust(package, tmp_path):
    (tmp_path / "conf" / "experiment").mkdir()
    (tmp_path / "conf" / "experiment" / "sly.yaml").write_text(
        "# @package _global_\ntrust: [my_package]\nname: sly\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mask_sup.train", "--config-dir", "conf", "+experiment=sly"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode != 0
    assert "a config file asks to trust ['my_package']" in done.stderr
