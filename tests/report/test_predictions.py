import numpy as np
import pytest

from mask_sup.files.disk import write_arrays
from mask_sup.predict import predict
from mask_sup.report import write_report
from mask_sup.report.predictions import read_predictions

NAN = np.nan


def test_poses_are_read_as_they_were_written(recorded, tmp_path, human18):
    sure = np.full((4, 18), 0.5)
    path = recorded(tmp_path, header={"fps": 50.0}, confidence=sure) / "poses.npz"
    poses = read_predictions(path)
    assert poses.cameras == ("cam0", "cam1", "cam2")
    assert poses.skeleton.tree == human18.tree
    assert poses.skeleton.flip == human18.flip
    assert poses.fps == 50.0
    assert poses.confidence is not None
    assert poses.points_mm is poses.joints_world_mm
    assert poses.drawn_px is poses.reprojected_px


def test_a_single_view_has_the_name_of_its_input(single, tmp_path):
    poses = read_predictions(single(tmp_path) / "poses.npz")
    assert poses.cameras == ("walk",)
    assert poses.fps is None
    np.testing.assert_array_equal(poses.points_mm, poses.joints_root_mm[:, 0])
    assert poses.drawn_px is poses.joints_px


def test_a_missing_file_of_poses_is_told(tmp_path, configured):
    with pytest.raises(FileNotFoundError, match=f"no poses at {tmp_path / 'poses.npz'}"):
        write_report(configured(tmp_path))


@pytest.mark.parametrize("content", [b"", b"no archive at all"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "poses.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"poses\.npz cannot be read .*predict again"):
        read_predictions(tmp_path / "poses.npz")


def test_other_archives_are_refused_with_what_they_lack(tmp_path):
    write_arrays(tmp_path / "poses.npz", {"version": 2, "joints": []}, {"pictures": np.zeros(3)})
    with pytest.raises(ValueError, match=r"lacks \['joints_px', 'joints_root_mm', 'parents'\]"):
        read_predictions(tmp_path / "poses.npz")


def test_arrays_that_do_not_fit_each_other_are_refused(recorded, tmp_path):
    folder = recorded(tmp_path, confidence=np.ones((4, 17)))
    with pytest.raises(ValueError, match=r"confidence .* shape \(4, 17\), expected \(4, 18"):
        read_predictions(folder / "poses.npz")


def test_a_missing_picture_is_named_before_anything_is_written(recorded, tmp_path, configured):
    folder = recorded(tmp_path)
    gone = tmp_path / "rec" / "frames" / "cam2" / "000003.png"
    gone.unlink()
    with pytest.raises(FileNotFoundError, match=f"missing picture {gone}, named in .*poses.npz"):
        write_report(configured(folder))
    assert [path.name for path in folder.iterdir()] == ["poses.npz"]


def test_a_file_without_a_pose_is_refused(recorded, tmp_path):
    folder = recorded(tmp_path, joints_px=np.full((4, 3, 18, 2), np.nan))
    with pytest.raises(ValueError, match="holds no pose in its 4 frames"):
        read_predictions(folder / "poses.npz")


def test_what_predict_writes_can_be_shown(
    tmp_path, compose_config, write_checkpoint, write_recording, cameras_around, configured
):
    root = write_recording(tmp_path / "rec", cameras_around(2), count=2)
    cfg = compose_config("predict", "overlays=false", "fitter=few")
    cfg.checkpoint = str(write_checkpoint(tmp_path / "run", "detector.mask_input=true"))
    cfg.input = str(root)
    folder = predict(cfg)
    write_report(configured(folder))
    made = sorted(path.name for path in folder.rglob("*.*"))
    assert made == ["cam0.mp4", "cam1.mp4", "mosaic.mp4", "poses.npz", "report.html"]
    poses = read_predictions(folder / "poses.npz")
    np.testing.assert_allclose(
        poses.error_px, np.linalg.norm(poses.reprojected_px - poses.joints_px, axis=-1), rtol=1e-5
    )
