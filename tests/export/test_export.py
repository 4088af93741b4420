import json
import subprocess
import sys

import numpy as np
import pytest
from hydra.errors import ConfigCompositionException

from mask_sup.export import FORMATS, export, read_clip
from mask_sup.predict import predict

ALL = ("bvh", "trc", "c3d", "csv", "npz", "json")


@pytest.fixture
def configure(compose_config):
    """Path of poses.npz, overrides -> the config of an export."""
    return lambda poses, *overrides: compose_config("export", f"poses={poses}", *overrides)


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_all_formats_are_written_beside_the_poses(write_poses, walk, configure, tmp_path, capsys):
    pytest.importorskip("ezc3d")
    path = write_poses(tmp_path / "poses.npz", walk)
    written = export(configure(path, f"formats=[{','.join(ALL)}]"))
    names = [FORMATS[name].file for name in ALL]
    assert [path.name for path in written] == [*names, "export.json"]
    assert files(tmp_path) == sorted([*names, "export.json", "poses.npz"])
    told = capsys.readouterr().out
    assert "60 frames at 30 frames a second; 3D is relative to the world of the calibration" in told
    assert f"{tmp_path / 'motion.trc'}: a marker per joint, mm, y up" in told
    assert f"{tmp_path / 'motion.csv'}: a row per frame, mm, z up" in told
    record = json.loads((tmp_path / "export.json").read_text())
    assert list(record["files"]) == names
    assert record["settings"]["smooth"] == "none"
    assert (record["fps"], record["origin"]) == (30, "the world of the calibration")
    with np.load(tmp_path / "motion.npz") as file:  # off by default: nothing was mended
        np.testing.assert_array_equal(file["joints_mm"], read_clip(path).points_mm)


def test_another_folder_and_settings(write_poses, walk, configure, tmp_path):
    confidence = np.ones((60, 18))
    confidence[10:13, 5] = 0.1
    path = write_poses(tmp_path / "poses.npz", walk, fps=None, confidence=confidence)
    cfg = configure(
        path,
        *("formats=[npz]", f"output={tmp_path / 'out'}", "up=y", "fps=60", "min_confidence=0.5"),
        *("fill=3", "smooth=butterworth", "cutoff_hz=5"),
    )
    export(cfg)
    assert files(tmp_path / "out") == ["export.json", "motion.npz"]
    with np.load(tmp_path / "out" / "motion.npz") as file:
        header = json.loads(str(file["header"]))
        moved = np.linalg.norm(file["joints_mm"] - walk, axis=-1)
    assert (header["fps"], header["up"]) == (60, "y")
    assert 0.1 < moved.max() < 60


def test_a_single_view_exports_what_it_can(single_view, configure, tmp_path, capsys):
    path = single_view(tmp_path / "poses.npz")
    export(configure(path, "formats=[trc,csv,bvh,json]"))
    told = capsys.readouterr().out
    assert "relative to the root joint, in the camera's axes turned upright" in told
    assert "motion.csv: a row per frame, mm, y up" in told
    rows = (tmp_path / "motion.trc").read_text().split("\n")[6:-1]
    points = np.array([row.split("\t")[2:-1] for row in rows], float).reshape(60, 18, 3)
    np.testing.assert_allclose(points, read_clip(path).points_mm, atol=1e-4)
    assert (points[:, 10, 1] > 500).all()  # the head is above the pelvis


def test_an_unknown_format_lists_the_known_ones(write_poses, walk, configure, tmp_path):
    path = write_poses(tmp_path / "poses.npz", walk)
    with pytest.raises(ValueError, match=r"unknown format 'fbx': .*bvh, trc, c3d"):
        export(configure(path, "formats=[csv,fbx]"))
    with pytest.raises(ValueError, match="name at least one of"):
        export(configure(path, "formats=[]"))
    assert files(tmp_path) == ["poses.npz"]


def test_all_or_nothing_is_written(write_poses, walk, configure, tmp_path):
    path = write_poses(tmp_path / "poses.npz", walk, fps=None)
    with pytest.raises(ValueError, match="needs a frame rate"):
        export(configure(path, "formats=[csv,json,bvh]"))
    assert files(tmp_path) == ["poses.npz"]
    export(configure(path, "formats=[csv,json]"))
    assert "time_s" not in (tmp_path / "motion.csv").read_text()


def test_a_misspelt_key_is_refused(configure, tmp_path):
    with pytest.raises(ConfigCompositionException, match="smoothing"):
        configure(tmp_path / "poses.npz", "smoothing=savgol")


@pytest.mark.slow
def test_the_command_reads_what_predict_writes(
    configure, compose_config, write_checkpoint, write_recording, cameras_around, tmp_path
):
    root = write_recording(tmp_path / "rec", cameras_around(3), count=4, kind="videos")
    checkpoint = write_checkpoint(tmp_path / "run", "detector.mask_input=true")
    cfg = compose_config("predict", f"checkpoint={checkpoint}", f"input={root}", "overlays=false")
    cfg.every = 2
    folder = predict(cfg)
    command = [sys.executable, "-m", "mask_sup.export", f"poses={folder / 'poses.npz'}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 frames at 5 frames a second" in done.stdout  # of videos of 10
    assert files(folder) == sorted(
        ["poses.npz", "export.json", "keypoints.json", "motion.bvh", "motion.csv", "motion.trc"]
    )
    told = json.loads((folder / "keypoints.json").read_text())
    assert {(image["width"], image["height"]) for image in told["images"]} == {(72, 56)}
    assert files(tmp_path) == ["rec", "run"]
