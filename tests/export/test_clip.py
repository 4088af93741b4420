import json

import numpy as np
import pytest

from mask_sup.export import read_clip, y_up
from mask_sup.export.clip import UP_AXES, known_fps


def test_a_clip_is_what_the_file_holds(write_poses, walk, tmp_path, human18):
    clip = read_clip(write_poses(tmp_path / "poses.npz", walk), up="z")
    np.testing.assert_allclose(clip.points_mm, walk, atol=1e-3)
    assert clip.joints == tuple(human18.joints)
    assert clip.parents == dict(human18.parents)
    assert (clip.up, clip.origin, clip.fps) == ("z", "the world of the calibration", 30.0)
    assert (clip.confidence == 0.8).all()
    assert clip.joints_px.shape == (60, 2, 18, 2)
    head = clip.joints.index("head")
    assert clip.joints[clip.parent_index[head]] == "nose"
    assert clip.parent_index.count(-1) == 1


def test_pixels_are_those_of_the_triangulated_joints(write_poses, walk, tmp_path):
    path = write_poses(tmp_path / "poses.npz", walk)
    with np.load(path) as file:
        np.testing.assert_array_equal(read_clip(path).joints_px, file["reprojected_px"])


@pytest.mark.parametrize(
    ("up", "moved"), [("z", [1, 3, -2]), ("y", [1, 2, 3]), ("-y", [1, -2, -3]), ("-z", [1, -3, 2])]
)
def test_y_up_is_a_rotation_by_hand(clip, up, moved):
    one = clip._replace(points_mm=np.tile([1.0, 2.0, 3.0], (1, 18, 1)), up=up)
    turned = y_up(one)
    np.testing.assert_array_equal(turned.points_mm[0, 7], moved)
    assert turned.up == "y"
    assert np.linalg.det(UP_AXES[up]) == pytest.approx(1)


def test_a_walking_person_stands_upright_with_the_left_on_the_left(clip):
    points = dict(zip(clip.joints, y_up(clip).points_mm.transpose(1, 0, 2), strict=True))
    assert (points["head"][:, 1] - points["left_ankle"][:, 1] > 1200).all()
    side = points["left_shoulder"] - points["right_shoulder"]
    forward = np.cross(side, points["neck"] - points["pelvis"])  # left x up = forward
    looks = points["nose"] - points["neck"]
    assert (np.sum(forward * looks, -1) > 0).all()


def test_a_single_view_is_turned_upright_whatever_up_says(single_view, walk, tmp_path):
    clip = read_clip(single_view(tmp_path / "poses.npz"), up="z")
    assert (clip.up, clip.confidence) == ("y", None)
    assert "root joint, in the camera's axes" in clip.origin
    relative = walk - walk[:, :1]
    # right of the camera stays x, world up becomes y, towards the camera (world -y) becomes z
    np.testing.assert_allclose(clip.points_mm, relative[..., [0, 2, 1]] * [1, 1, -1], atol=1e-9)
    assert clip.joints_px.shape == (60, 1, 18, 2)


def test_a_given_frame_rate_wins(write_poses, walk, tmp_path):
    path = write_poses(tmp_path / "poses.npz", walk, fps=None)
    assert read_clip(path, fps=50).fps == 50.0
    with pytest.raises(ValueError, match="a TRC file needs a frame rate .* give fps="):
        known_fps(read_clip(path), "a TRC file")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no poses at {tmp_path / 'poses.npz'}"):
        read_clip(tmp_path / "poses.npz")


@pytest.mark.parametrize("content", [b"", b"PK no zip", b"text"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "poses.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"poses\.npz cannot be read .*predict again"):
        read_clip(tmp_path / "poses.npz")


def test_arrays_without_a_header_are_refused(tmp_path):
    np.savez(tmp_path / "poses.npz", joints=np.zeros(3))
    with pytest.raises(ValueError, match="version None, this program reads 2: predict again"):
        read_clip(tmp_path / "poses.npz")


def test_another_version_is_told(tmp_path):
    np.savez(tmp_path / "poses.npz", header=np.array(json.dumps({"version": 1})))
    with pytest.raises(ValueError, match="version 1, this program reads 2: predict again"):
        read_clip(tmp_path / "poses.npz")


@pytest.mark.parametrize("frames", [0, 3])
def test_a_clip_without_a_pose_is_refused(tmp_path, write_poses, walk, frames):
    path = write_poses(tmp_path / "poses.npz", np.full_like(walk[:3], np.nan))
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    kept = {n: a[:frames] if a.ndim else a for n, a in arrays.items()}
    np.savez(path, **kept)
    with pytest.raises(ValueError, match=f"holds no pose in its {frames} frames"):
        read_clip(path)


def test_views_that_nothing_ties_together_are_refused(tmp_path, write_poses, walk):
    path = write_poses(tmp_path / "poses.npz", walk, joints_world_mm=None)
    with pytest.raises(ValueError, match="2 views that are not tied together"):
        read_clip(path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"up": "x"}, r"up=x: expected .* \['y', 'z', '-z', '-y'\]"),
        ({"fps": 0.0}, "fps=0.0: expected"),
        ({"fps": float("nan")}, "fps=nan: expected"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path, write_poses, walk, settings, message):
    with pytest.raises(ValueError, match=message):
        read_clip(write_poses(tmp_path / "poses.npz", walk), **settings)
