import numpy as np
import pytest

from mask_sup.figure.draw import LEFT, RIGHT
from mask_sup.report.predictions import read_predictions
from mask_sup.report.scene import draw_scene, make_scene, project, up_direction, upright

NAN = np.nan


@pytest.mark.parametrize(("axis", "sign"), [(a, s) for a in range(3) for s in (1.0, -1.0)])
def test_a_signed_axis_is_turned_upright_by_a_rotation(axis, sign):
    up = np.eye(3)[axis] * sign
    turn = upright(up)
    np.testing.assert_allclose(turn @ up, [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)


@pytest.mark.parametrize(("axis", "sign"), [(a, s) for a in range(3) for s in (1.0, -1.0)])
def test_pictures_tell_which_way_is_up(axis, sign, standing, cameras_around, project):
    points = np.stack([standing(seed) for seed in range(4)])
    xy = np.stack([[project(p, c) for c in cameras_around(3)] for p in points])
    xy[1, 1, 5] = NAN
    turn = upright(np.eye(3)[axis] * sign)  # a world in which another axis points up
    np.testing.assert_array_equal(up_direction(points @ turn, xy), np.eye(3)[axis] * sign)


def test_points_are_seen_where_perspective_puts_them():
    # Eye 4.2 radii from the middle on +x, level: y is to the right, z up, nearer is larger.
    middle, size = np.array([10.0, 20.0, 30.0]), (200, 300)
    focal = 100 / np.tan(np.deg2rad(15))

    def seen(*offset):
        return project(middle + offset, middle, 100.0, 0.0, 0.0, size)

    np.testing.assert_allclose(seen(0, 0, 0), [150, 100])
    np.testing.assert_allclose(seen(0, 50, 0), [150 + focal * 50 / 420, 100])
    np.testing.assert_allclose(seen(0, 0, 50), [150, 100 - focal * 50 / 420])
    np.testing.assert_allclose(seen(100, 50, 0), [150 + focal * 50 / 320, 100])
    above = project(middle + [0, 0, 100], middle, 100.0, 0.3, np.pi / 2, size)
    np.testing.assert_allclose(above, [150, 100], atol=1e-9)


def test_the_scene_stands_on_its_ground_and_faces_the_front(human18, cameras_around, project, made):
    rng = np.random.default_rng(1)
    pose = np.zeros((18, 3))
    pose[:, 2] = [1700 * human18.heights[name] for name in human18.joints]
    for right, left in human18.pairs:  # faces -y: the left is at +x
        pose[human18.index[left], 0], pose[human18.index[right], 0] = 150, -150
    points = pose + [3000.0, -2000.0, 500.0] + rng.normal(0, 2, (6, 18, 3))
    points[2, 4] = NAN
    xy = np.stack([[project(p, c) for c in cameras_around(3)] for p in points])
    scene = make_scene(
        made(skeleton=human18, joints_px=xy, joints_world_mm=points, pictures=np.full((6, 3), "")),
        fps=10,
    )
    assert scene.up == "+z"
    assert np.degrees(scene.front) == pytest.approx(-90, abs=3)
    assert np.nanmin(scene.points[..., 2]) == pytest.approx(0, abs=10)
    assert np.abs(np.nanmedian(scene.points[..., :2], (0, 1))).max() < 30
    assert scene.cameras.shape == (0, 5, 3)
    assert np.isnan(scene.points[2, 4]).all()
    assert 700 < scene.radius < 1100


def test_a_missing_joint_is_not_drawn_in_3d(human18, standing, made):
    points = np.stack([standing(0)] * 2)
    wrists = [human18.index[f"{side}_wrist"] for side in ("right", "left")]
    points[1, wrists] = NAN
    views = np.zeros((2, 1, 18, 2))
    turned = points[:, None] @ upright(np.array([0.0, -1.0, 0.0]))  # y down, as a camera has it
    poses = made(
        skeleton=human18, joints_px=views, joints_root_mm=turned, joints_world_mm=None,
        cameras=("a",), pictures=np.full((2, 1), ""),
    )  # fmt: skip
    scene = make_scene(poses, 25)
    assert scene.up == "-y"
    whole, part = (draw_scene(scene, k, human18, 0.4, (160, 120)) for k in (0, 1))
    for colour in (RIGHT, LEFT):
        count = [(np.abs(p.astype(int) - colour).max(-1) < 40).sum() for p in (whole, part)]
        assert 0 < count[1] < count[0]


def test_known_cameras_stand_where_they_are(tmp_path, recorded):
    poses = read_predictions(recorded(tmp_path) / "poses.npz")
    scene = make_scene(poses, 25)
    assert scene.cameras.shape == (3, 5, 3)
    centres = scene.cameras[:, 0]
    # 4 m around the figure; the recording's cameras are 1200 mm up, over feet at about 0
    assert np.hypot(*centres[:, :2].T) == pytest.approx([4000] * 3, abs=250)
    away = scene.cameras[:, 1:].mean(1) - centres  # they look to the middle
    assert (np.sum(away * centres, -1) < 0).all()
