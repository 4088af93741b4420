"""A project folder from a folder of videos."""

import json
import os
import pickle
import re
import shlex
from dataclasses import fields

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from mask_sup.calibration import find_calibration, read_calibration, write_calibration
from mask_sup.calibration.cameras import Calibration
from mask_sup.calibration.convert import Asked
from mask_sup.calibration.fitting import renamed, turned
from mask_sup.data.recording import RecordingData
from mask_sup.files.config import CalibrationConvertConfig, conf_dir
from mask_sup.files.video import VideoWriter
from mask_sup.files.words import literal
from mask_sup.new import OPTIONS, inspect, main, new_project

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
        (
            lambda v: film(v / "third.mp4"),
            r"videos without a camera in .*: .*third",
        ),
        (
            lambda v: (v / "right.mp4").unlink(),
            r"cameras of .* without videos: .*right",
        ),
        (lambda v: (v.parent / "cameras.json").unlink(), "no calibration found"),
        (lambda v: film(v / "right.mp4", size=(64, 48)), "right"),
    ],
)
def test_what_does_not_go_together_is_told_and_written_down(videos, tmp_path, change, doubt):
    change(videos)
    found = new_project(tmp_path / "walk", videos)
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


@pytest.mark.parametrize("name", ["Vidéos, Trial (1)", "it's", 'x "y"', "speed=3", " lead"])
def test_the_commands_that_are_told_mean_this_folder(videos, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["new", name, "--videos", str(videos)])
    main()
    told = [
        shlex.split(line)
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("  python -m")
    ]
    given = [word for words in told for word in literal(words) if word.startswith("input=")]
    read = OverridesParser.create().parse_override
    assert [read(word).value() for word in given] == [name] * 4
    (searched,) = (words for words in told if "--config-dir" in words)
    assert searched[searched.index("--config-dir") + 1] == name


# ---- rigs that do not fit the videos -------------------------------------------------------------


def test_cameras_that_did_not_film_are_left_out_of_every_later_command(videos, tmp_path):
    write_calibration(rig("left", "middle", "right"), videos.parent / "cameras.json")
    found = new_project(tmp_path / "walk", videos)
    assert found.calibration.names == ("left", "right")
    (doubt,) = found.doubts
    assert re.search(r"cameras of .* without videos: \['middle'\] are left out", doubt)
    source = RecordingData(tmp_path / "walk", None, 18, 1)
    source.prepare()
    assert {path.name for path in (tmp_path / "walk" / "frames").iterdir()} == {"left", "right"}


def test_other_names_are_told_with_the_command_that_renames(videos):
    names = ("int_left_img", "int_right_img")
    write_calibration(rig(*names), videos.parent / "cameras.json")
    (doubt,) = inspect(videos).doubts
    told = "'rename={int_left_img: left, int_right_img: right}'"
    source = videos.parent / "cameras.json"  # is overwritten by itself with other names
    assert f"convert input={source} output={source} {told}" in doubt


def test_one_of_two_calibrations_is_chosen(videos, tmp_path, monkeypatch, capsys):
    made = rig("left", "right")
    (videos.parent / "cameras.json").unlink()
    for file in ("a.toml", "b.toml"):
        write_calibration(made, videos.parent / file)
    (doubt,) = inspect(videos).doubts
    assert "several calibrations in" in doubt
    assert "--calibration" in doubt
    project = tmp_path / "walk"
    words = ["--videos", str(videos), "--calibration", str(videos.parent / "b.toml")]
    monkeypatch.setattr("sys.argv", ["new", str(project), *words])
    main()
    assert "! " not in capsys.readouterr().out
    assert (project / "b.toml").is_file()
    assert not (project / "a.toml").exists()
    RecordingData(project, None, 18, 1).prepare()
    with pytest.raises(FileNotFoundError, match="no calibration at .*c.toml"):
        new_project(tmp_path / "other", videos, videos.parent / "c.toml")


def test_a_calibration_in_a_folder_of_its_own_is_found(videos, tmp_path):
    beside = videos.parent / "calibration"
    beside.mkdir()
    (videos.parent / "cameras.json").rename(beside / "cameras.json")
    found = new_project(tmp_path / "walk", videos)
    assert (found.source, found.doubts) == (beside / "cameras.json", ())
    RecordingData(videos.parent, None, 18, 1).prepare()


def test_opencaps_pickles_keep_their_cameras_names(videos, tmp_path):
    (videos.parent / "cameras.json").unlink()
    for name, t in (("left", 0.0), ("right", 900.0)):
        told = {
            "intrinsicMat": np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]]),
            "distortion": np.zeros((1, 5)),
            "imageSize": np.array([[48.0], [64.0]]),
            "rotation": np.eye(3),
            "translation": np.array([[t], [0], [3000]]),
        }
        (videos.parent / name).mkdir()
        path = videos.parent / name / "cameraIntrinsicsExtrinsics.pickle"
        path.write_bytes(pickle.dumps(told))
    found = new_project(tmp_path / "walk", videos)
    assert found.doubts == ()
    assert (tmp_path / "walk" / "left.pickle").is_file()
    RecordingData(tmp_path / "walk", None, 18, 1).prepare()


# ---- words of `calibration convert` --------------------------------------------------------------


def make(words, videos, project, monkeypatch):
    monkeypatch.setattr("sys.argv", ["new", str(project), "--videos", str(videos), *words])
    main()


@pytest.fixture
def toml(videos):
    """An Anipose file, which says no unit: its numbers are metres."""
    (videos.parent / "cameras.json").unlink()
    path = videos.parent / "calibration.toml"
    write_calibration(rig("left", "right"), path)
    text = path.read_text()
    for t in ("[0.0, 0.0, 3000.0]", "[500.0, 0.0, 3000.0]"):
        metres = [number / 1000 for number in json.loads(t)]
        assert t in text
        text = text.replace(t, json.dumps(metres))
    path.write_text(text)
    return path


def test_a_unit_that_is_said_makes_the_project(videos, toml, tmp_path, monkeypatch, capsys):
    make([], videos, tmp_path / "as_it_is", monkeypatch)
    assert "! the cameras of" in capsys.readouterr().out  # less than a millimetre apart
    make(["--unit", "m"], videos, tmp_path / "walk", monkeypatch)
    assert "! " not in capsys.readouterr().out
    assert not (tmp_path / "walk" / "calibration.toml").exists()  # its unit would be doubted again
    found = read_calibration(find_calibration(tmp_path / "walk"))
    assert found.t.tolist() == rig("left", "right").t.tolist()
    RecordingData(tmp_path / "walk", None, 18, 1).prepare()


def test_names_turns_and_choices_are_those_of_convert(videos, tmp_path, monkeypatch, capsys):
    given = rig("int_left", "int_right", "marker", size=(48, 64))
    write_calibration(given, videos.parent / "cameras.json")
    words = ["--cameras", "[int_right, int_left]"]
    words += ["--rename", "{int_left: left, int_right: right}"]
    words += ["--turn", "{int_left: 90, int_right: 270}"]
    make(words, videos, tmp_path / "walk", monkeypatch)
    assert "! " not in capsys.readouterr().out
    expected = renamed(
        turned(given.select(["int_right", "int_left"]), {"int_left": 90, "int_right": 270}),
        {"int_left": "left", "int_right": "right"},
    )
    found = read_calibration(tmp_path / "walk" / "cameras.json")
    assert found.names == expected.names
    for part in ("K", "R", "t", "sizes"):
        np.testing.assert_allclose(getattr(found, part), getattr(expected, part), atol=1e-9)
    RecordingData(tmp_path / "walk", None, 18, 1).prepare()


def test_a_size_that_is_said_fits_k_to_the_videos(videos, tmp_path, monkeypatch, capsys):
    made = rig("left", "right", size=(32, 24))
    unknown = np.full((2, 2), np.nan)
    half = Calibration(made.names, made.K, made.R, made.t, made.distortion, unknown)
    write_calibration(half, videos.parent / "cameras.json")
    make(["--calibrated-size", "[32, 24]"], videos, tmp_path / "walk", monkeypatch)
    assert "! " not in capsys.readouterr().out
    found = read_calibration(tmp_path / "walk" / "cameras.json")
    assert found.K[0].tolist() == [[120, 0, 32], [0, 120, 24], [0, 0, 1]]
    assert found.sizes.tolist() == [[64, 48]] * 2


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--unit", "inch"], "unit='inch': expected one of"),
        (["--turn", "90"], r"90 is not what is expected, such as 'turn=\{cam01: 90\}'"),
        (["--cameras", "left"], "'left' is not what is expected, such as 'cameras="),
        (["--cameras", "[middle, left]"], r"no camera \['middle'\]"),
        (["--rename", "{middle: left}"], r"rename: no camera \['middle'\]"),
        (["--format", "quallisys"], "format='quallisys': did you mean qualisys"),
    ],
)
def test_what_is_asked_for_and_does_not_fit_is_an_error(videos, tmp_path, monkeypatch, words, told):
    with pytest.raises(SystemExit, match=told):
        make(words, videos, tmp_path / "walk", monkeypatch)
    assert not (tmp_path / "walk").exists()


def test_a_word_that_cannot_be_read_is_told(videos, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        make(["--turn", "{left: 90"], videos, tmp_path / "walk", monkeypatch)
    assert "'{left: 90' cannot be read: expected such as" in capsys.readouterr().err


def test_the_options_are_the_words_of_convert():
    words = {field.name for field in fields(Asked)}
    assert set(OPTIONS) == words
    beside = {"input", "output", "output_format", "videos"}
    assert {field.name for field in fields(CalibrationConvertConfig)} == words | beside


def test_a_k_for_pictures_of_half_the_size_is_doubted(videos, capsys):
    made = rig("left", "right")
    K = made.K.copy()
    K[:, :2] /= 2
    unknown = np.full((2, 2), np.nan)
    half = Calibration(made.names, K, made.R, made.t, made.distortion, unknown)
    write_calibration(half, videos.parent / "cameras.json")
    doubts = inspect(videos).doubts
    assert len(doubts) == 1
    assert doubts[0].endswith("output=cameras.json; likewise ['right']")
    assert "camera 'left' of" in doubts[0]
    assert "principal point at [16.0, 12.0] of 64x48 pixels, far off the middle" in doubts[0]
    assert "K seems to be for pictures of 32x24, 0.5 times the size" in doubts[0]
    assert "calibrated_size=[32,24]" in doubts[0]
    RecordingData(videos.parent, None, 18, 1).prepare()
    assert f"! {doubts[0]}" in capsys.readouterr().out
