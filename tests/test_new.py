"""A project folder from a folder of videos."""

import json
import os

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from mask_sup.calibration import write_calibration
from mask_sup.calibration.cameras import Calibration
from mask_sup.data.recording import RecordingData
from mask_sup.files.config import conf_dir
from mask_sup.files.video import VideoWriter
from mask_sup.new import inspect, main, new_project

SIZE = (48, 64)


def film(path, frames=6, fps=25, size=SIZE):
    with VideoWriter(path, fps) as video:
        for grey in range(frames):
            video.write(np.full((*size, 3), 20 * grey, np.uint8))


def rig(*names, size=(64, 48)):
    n = len(names)
    K = np.tile(np.array([[60.0, 0, size[0] / 2], [0, 60, size[1] / 2], [0, 0, 1]]), (n, 1, 1))
    t = np.array([[500.0 * i, 0, 3000] for i in range(n)])
    sizes = np.tile(np.array(size, float), (n, 1))
    return Calibration(names, K, np.tile(np.eye(3), (n, 1, 1)), t, np.zeros((n, 5)), sizes)


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "raw" / "videos"
    for name in ("left", "right"):
        film(folder / f"{name}.mp4")
    write_calibration(rig("left", "right"), tmp_path / "raw" / "cameras.json")
    return folder


def test_what_goes_together_raises_no_doubt(videos):
    found = inspect(videos)
    assert found.lines() == [f"{name}: 64x48, 6 frames, 25 a second" for name in ("left", "right")]
    assert found.calibration.names == ("left", "right")
    assert found.doubts == ()


def test_the_config_composes_and_finds_the_recording(videos, tmp_path, monkeypatch, capsys):
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    project = tmp_path / "walk"
    monkeypatch.setattr("sys.argv", ["new", str(project), "--videos", str(videos)])
    main()
    told = capsys.readouterr().out
    assert "--config-dir" in told
    assert "! " not in told
    GlobalHydra.instance().clear()
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        search = f"hydra.searchpath=[file://{project}]"
        cfg = compose("train", [search, "+experiment=walk"])
    assert cfg.name == "walk"
    assert cfg.data.source._target_.endswith("RecordingData")  # of experiment/recording
    source = RecordingData(**{k: v for k, v in cfg.data.source.items() if k != "_target_"})
    assert os.path.samefile(source.root, project)
    source.prepare()
    assert len(list((project / "frames" / "left").glob("*.jpg"))) == 6


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        (
            lambda v: film(v / "right.mp4", frames=9),
            "differ in their number of frames.*mask_sup.sync",
        ),
        (lambda v: film(v / "right.mp4", fps=30), "differ in their frame rate"),
        (lambda v: film(v / "third.mp4"), r"without a calibration are left out: \['third'\]"),
        (lambda v: (v / "right.mp4").unlink(), r"cameras without a video: \['right'\]"),
        (lambda v: (v.parent / "cameras.json").unlink(), "no calibration found"),
        (lambda v: film(v / "right.mp4", size=(64, 48)), "right"),
    ],
)
def test_what_does_not_go_together_is_told_and_written_down(videos, tmp_path, change, doubt):
    change(videos)
    found = new_project(tmp_path / "walk", videos)
    import re

    assert any(re.search(doubt, told) for told in found.doubts), found.doubts
    text = (tmp_path / "walk" / "experiment" / "walk.yaml").read_text()
    assert all(f"# {told}" in text for told in found.doubts)


def test_work_that_is_there_is_left_alone(videos, tmp_path):
    (tmp_path / "walk").mkdir()
    (tmp_path / "walk" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="walk is not empty"):
        new_project(tmp_path / "walk", videos)
    assert [path.name for path in (tmp_path / "walk").iterdir()] == ["notes.txt"]


def test_a_damaged_calibration_is_a_doubt_and_a_damaged_video_an_error(videos, tmp_path):
    (videos.parent / "cameras.json").write_text(json.dumps({"unit": "mm", "cameras": {}}))
    assert any("cameras.json" in told for told in inspect(videos).doubts)
    (videos / "right.mp4").write_bytes(b"not a video" * 50)
    with pytest.raises(ValueError, match="right.mp4 cannot be read as a video"):
        new_project(tmp_path / "walk", videos)
    assert not (tmp_path / "walk").exists()


def test_a_folder_without_videos_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="nothing to work on in .*empty"):
        inspect(tmp_path / "empty")


STRANGE = [
    "a: b",
    "%x",
    "*",
    "null",
    "~",
    "- x",
    "it's",
    "Vidéos",
    "100",
    "x #y",
    "[1]",
    "${x}",
    "&a",
]


@pytest.mark.parametrize("name", STRANGE)
def test_a_folder_of_any_name_makes_a_config_that_means_it(videos, tmp_path, name):
    folder = tmp_path / name
    new_project(folder, videos)
    (path,) = (folder / "experiment").iterdir()
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        (tmp_path / "link").symlink_to(folder)  # --config-dir takes any path, this key does not
        searched = f"hydra.searchpath=[file://{tmp_path / 'link'}]"
        cfg = compose("train", [searched, f"+experiment={path.stem}"])
    assert cfg.data.source.root == str(folder.resolve())
    assert cfg.name == path.stem
    assert isinstance(cfg.name, str)


def test_another_name_is_told(videos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["new", str(tmp_path / "walk 3"), "--videos", str(videos)])
    main()
    said = capsys.readouterr().out
    assert "the experiment is called walk_3" in said
    assert f"--config-dir '{tmp_path}/walk 3' +experiment=walk_3" in said
