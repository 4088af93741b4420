"""Cameras, triangulation, drawn bones and errors on plain arrays, against OpenCV and formulas."""

import cv2
import numpy as np
import pytest
import torch

import mask_sup

LENS = np.array([-0.25, 0.08, 0.002, -0.003, 0.01])
K = np.array([[1100.0, 0, 640], [0, 1150.0, 360], [0, 0, 1]])


@pytest.fixture
def ring(cameras_around):
    """Three cameras with lenses, as `mask_sup.Camera`, and as OpenCV has them."""
    told = [one | {"K": K} for one in cameras_around(3, LENS)]
    cameras = [
        mask_sup.Camera.from_opencv(one["K"], one["R"], one["t"], one["distortion"]) for one in told
    ]
    return cameras, told


@pytest.fixture
def people():
    """(4, 18, 3) mm, within a person's reach of where the cameras look."""
    return np.random.default_rng(0).uniform(-800, 800, (4, 18, 3)) + [0, 0, 850]


# ---- cameras -------------------------------------------------------------------------------------


def test_a_camera_projects_as_opencv_does(ring, people, project):
    for camera, told in zip(*ring, strict=True):
        expected = np.stack([project(points, told) for points in people])
        np.testing.assert_allclose(camera.project(people), expected, atol=1e-9)
    lost = people.copy()
    lost[1, 3] = np.nan
    found = ring[0][0].project(lost)
    assert np.isnan(found[1, 3]).all()
    assert np.isfinite(np.delete(found.reshape(-1, 2), 18 + 3, 0)).all()


def test_what_opencv_gives_is_taken_as_it_comes():
    vector = np.array([[0.3], [-0.2], [0.1]])
    one = mask_sup.Camera.from_opencv(K.tolist(), vector, np.ones((3, 1)), np.zeros((1, 4)))
    other = mask_sup.Camera.from_opencv(torch.tensor(K), cv2.Rodrigues(vector)[0], [1, 1, 1])
    np.testing.assert_allclose(one.R, other.R)
    assert one.t.shape == (3,)
    assert one.distortion.tolist() == other.distortion.tolist() == [0.0] * 5


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"K": np.eye(4)}, "expected K"),
        ({"K": -K}, "focal lengths"),
        ({"R": 2 * np.eye(3)}, "no rotation"),
        ({"R": np.diag([1.0, 1, -1])}, "reflection"),
        ({"R": np.eye(4)}, r"expected K \(3, 3\), R \(3, 3\) or \(3,\)"),
        ({"t": [1, 2]}, r"t \(3,\) in mm"),
        ({"t": [1, 2, np.nan]}, r"NaN or infinite numbers in \['t'\]"),
        ({"dist": [1, 2, 3]}, "3 distortion coefficients: expected 4 or 5"),
        ({"dist": [0.1] * 8}, "only k1 k2 p1 p2 k3 are supported"),
    ],
)
def test_what_is_no_camera_is_refused(changed, message):
    given = {"K": K, "R": np.eye(3), "t": [0, 0, 4000.0], "dist": None}
    with pytest.raises(ValueError, match=message):
        mask_sup.Camera.from_opencv(**(given | changed))


# ---- triangulation -------------------------------------------------------------------------------


def test_projected_points_come_back_through_lenses(ring, people, project):
    cameras, told = ring
    px = np.stack([[project(points, one) for one in told] for points in people])
    np.testing.assert_allclose(mask_sup.triangulate(px, cameras), people, atol=0.01)
    names = dict(zip("abc", cameras, strict=True))
    views = {name: px[:, k] for k, name in enumerate(names)}
    np.testing.assert_allclose(mask_sup.triangulate(views, names), people, atol=0.01)
    np.testing.assert_allclose(mask_sup.triangulate(px[1], cameras), people[1], atol=0.01)


def test_two_noisy_views_give_what_opencv_gives(cameras_around, people, project):
    told = [one | {"K": K, "distortion": np.zeros(5)} for one in cameras_around(3)[:2]]
    noise = np.random.default_rng(1).normal(0, 2, (2, 18, 2))
    px = np.stack([project(people[0], one) for one in told]) + noise
    P = [one["K"] @ np.concatenate([one["R"], one["t"][:, None]], 1) for one in told]
    found = cv2.triangulatePoints(*P, px[0].T, px[1].T)
    expected = (found[:3] / found[3]).T
    cameras = [mask_sup.Camera.from_opencv(one["K"], one["R"], one["t"]) for one in told]
    given = mask_sup.triangulate(px, cameras)
    off = np.linalg.norm(expected - people[0], axis=-1)
    assert off.mean() > 3  # the noise shows
    # Both are linear; they weigh a pixel's error by the points' distances in other ways.
    assert np.linalg.norm(given - expected, axis=-1).max() < 0.15 * off.mean()


def test_joints_that_views_do_not_see_count_nowhere(ring, people, project):
    cameras, told = ring
    px = np.stack([project(people[0], one) for one in told])
    px[0, 5] = np.nan
    px[:2, 7] = np.nan
    found = mask_sup.triangulate(px, cameras)
    assert np.isnan(found[7]).all()
    others = np.arange(18) != 7
    np.testing.assert_allclose(found[others], people[0][others], atol=0.01)


def test_confidence_decides_between_views_that_disagree(ring, people, project):
    cameras, told = ring
    px = np.stack([project(people[0], one) for one in told])
    px[2] += 40
    weight = np.ones((3, 18))
    weight[2] = 0
    assert np.abs(mask_sup.triangulate(px, cameras) - people[0]).max() > 5
    np.testing.assert_allclose(mask_sup.triangulate(px, cameras, weight), people[0], atol=0.01)
    with pytest.raises(ValueError, match=r"at least 0 for each of \(3, 18\) joints"):
        mask_sup.triangulate(px, cameras, -weight)


def test_views_and_cameras_have_to_go_together(ring):
    cameras, _ = ring
    with pytest.raises(ValueError, match=r"\(\*n, 3 views, joints, 2\).*got \(2, 18, 2\)"):
        mask_sup.triangulate(np.zeros((2, 18, 2)), cameras)
    with pytest.raises(ValueError, match=r"joints of \['x'\] but cameras \['a'\]"):
        mask_sup.triangulate({"x": np.zeros((18, 2))}, {"a": cameras[0]})
    with pytest.raises(ValueError, match="at least 2 views, got 1"):
        mask_sup.triangulate(np.zeros((1, 18, 2)), cameras[:1])


# ---- masks of bones ------------------------------------------------------------------------------


def test_a_bone_is_soft_by_its_distance_in_pixels(human18):
    joints = np.full((18, 2), np.nan)
    knee, ankle = (human18.index[f"right_{name}"] for name in ("knee", "ankle"))
    joints[knee], joints[ankle] = (30.5, 10.5), (30.5, 40.5)
    mask = mask_sup.render(joints, (50, 80), width_px=3.0)
    assert mask.shape == (50, 80)
    x, y = np.meshgrid(np.arange(80) + 0.5, np.arange(50) + 0.5)
    distance = np.hypot(x - 30.5, y - np.clip(y, 10.5, 40.5))
    np.testing.assert_allclose(mask, np.exp(-((distance / 3.0) ** 2)), atol=1e-4)


def test_tensors_keep_their_gradient_and_arrays_their_batch():
    joints = torch.rand(2, 3, 18, 2) * 40
    mask = mask_sup.render(joints.requires_grad_(), (32, 48), 2.0)
    assert mask.shape == (2, 3, 32, 48)
    mask.sum().backward()
    assert joints.grad.abs().sum() > 0
    again = mask_sup.render(joints.detach().numpy(), (32, 48), 2.0)
    np.testing.assert_allclose(again, mask.detach().numpy(), atol=1e-6)


def test_what_cannot_be_drawn_is_told():
    with pytest.raises(ValueError, match=r"\(\*n, 18, 2\) for the skeleton 'human18', got \(17,"):
        mask_sup.render(np.zeros((17, 2)), (8, 8), 1.0)
    with pytest.raises(ValueError, match="above 0"):
        mask_sup.render(np.zeros((18, 2)), (8, 8), 0.0)


# ---- errors --------------------------------------------------------------------------------------


def test_errors_are_those_of_their_formulas(people):
    rng = np.random.default_rng(2)
    found = people + rng.normal(0, 60, people.shape)
    errors = mask_sup.metrics.pose_errors(found, people)
    relative = (found - found[:, :1]) - (people - people[:, :1])
    distance = np.linalg.norm(relative, axis=-1)
    assert errors["mpjpe_mm"] == pytest.approx(distance.mean())
    assert errors["pck150_pct"] == pytest.approx(100 * (distance[:, 1:] < 150).mean())
    assert errors["p_mpjpe_mm"] < errors["mpjpe_mm"]
    turn = cv2.Rodrigues(np.array([0.3, 0.2, 0.9]))[0]
    moved = mask_sup.metrics.pose_errors(1.3 * people @ turn.T + 500, people)
    assert moved["p_mpjpe_mm"] == pytest.approx(0, abs=1e-6)
    assert moved["mpjpe_mm"] > 100


def test_unknown_joints_are_skipped_and_shapes_are_checked(people):
    label = people.copy()
    label[:, 4] = np.nan
    assert mask_sup.metrics.pose_errors(people, label)["mpjpe_mm"] == 0
    with pytest.raises(ValueError, match=r"one shape \(\*n, 18, 3\), got \(4, 17, 3\)"):
        mask_sup.metrics.pose_errors(people[:, 1:], label)
