import cv2
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from mask_sup.geometry.batch import Camera
from mask_sup.geometry.camera import (
    cam_from_crop,
    cam_from_world,
    camera_centre,
    crop_from_cam,
    crop_from_world,
    fold_crop,
    is_calibrated,
    px_from_crop,
    world_from_cam,
)

K_PX = np.array([[1000.0, 0.0, 500.0], [0.0, 1000.0, 400.0], [0.0, 0.0, 1.0]])
# A quarter turn about z: world x becomes camera y.
QUARTER = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def tensor(*values):
    return torch.tensor(values, dtype=torch.float32)


def cameras(*shape, dtype=torch.float32):
    """Random calibrated cameras about 4 m from the origin, looking roughly at it."""
    rng = np.random.default_rng(0)
    count = int(np.prod(shape, dtype=int))
    R = Rotation.from_rotvec(rng.uniform(-0.5, 0.5, (count, 3))).as_matrix()
    t = rng.uniform(-300, 300, (count, 3)) + np.array([0, 0, 4000])
    K = np.tile(np.eye(3), (count, 1, 1))
    K[:, 0, 0], K[:, 1, 1] = rng.uniform(2, 5, (2, count))
    K[:, :2, 2] = rng.uniform(-0.5, 0.5, (count, 2))
    return Camera(
        *(torch.tensor(part).to(dtype).reshape(*shape, *part.shape[1:]) for part in (K, R, t))
    )


def points(*shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(*shape, 3, generator=generator, dtype=torch.float64) * 1600 - 800).to(dtype)


# ---- one hand-computed number per row of the convention table ------------------------------------


def test_image_coordinates_are_continuous_and_pixel_centres_at_halves():
    # Column 7, row 3 has its centre at (7.5, 3.5). In the crop at (4, 0) of side 10 it is at
    # x = 2 (7.5 - 4) / 10 - 1 = -0.3 and y = 2 * 3.5 / 10 - 1 = -0.3; no half is added anywhere.
    np.testing.assert_allclose(px_from_crop(np.array([-0.3, -0.3]), (4.0, 0.0, 10.0)), [7.5, 3.5])


@pytest.mark.parametrize(
    ("px", "crop"),
    [
        ((40.0, 20.0), (-1.0, -1.0)),  # the left and upper outer edges of the crop
        ((48.0, 28.0), (1.0, 1.0)),  # its right and lower outer edges
        ((46.5, 20.5), (0.625, -0.875)),  # centre of column 6 and of row 0 of 8: 13/8 - 1, 1/8 - 1
    ],
)
def test_crop_coordinates_reach_from_edge_to_edge(px, crop):
    box = (40.0, 20.0, 8.0)
    np.testing.assert_allclose(px_from_crop(np.array(crop), box), px)
    np.testing.assert_allclose(fold_crop(np.eye(3), box) @ [*px, 1.0], [*crop, 1.0], atol=1e-12)


def test_x_points_right_and_y_down():
    camera = Camera(torch.diag(tensor(2, 2, 1)), torch.eye(3), torch.zeros(3))
    right_and_low = tensor(100, 50, 1000)  # camera x right, y down: 2 * 0.1, 2 * 0.05
    torch.testing.assert_close(crop_from_cam(right_and_low[None], camera), tensor(0.2, 0.1)[None])


def test_depth_spans_the_cube_about_the_root_and_grows_away_from_the_camera():
    # z = 0.25 of a cube 2000 mm deep: 250 mm behind a root at 4000 mm. x = 0.4 * 4250 / 2 = 850.
    camera = Camera(torch.diag(tensor(2, 2, 1)), torch.eye(3), torch.zeros(3))
    joints = cam_from_crop(tensor(0.4, 0, 0.25)[None], torch.tensor(4000.0), 2000.0, camera)
    torch.testing.assert_close(joints, tensor(850, 0, 4250)[None])


def test_lengths_are_millimetres():
    # Points nearer than 1 mm are projected as if 1 mm away: 0.5 mm of depth counts as 1.
    camera = Camera(torch.eye(3), torch.eye(3), torch.zeros(3))
    torch.testing.assert_close(crop_from_cam(tensor(3, 2, 0.5)[None], camera), tensor(3, 2)[None])


def test_the_camera_maps_world_to_camera():
    # x_cam = R x_world + t = (-20, 10, 30) + (1, 2, 3)
    camera = Camera(torch.eye(3), QUARTER, tensor(1, 2, 3))
    torch.testing.assert_close(
        cam_from_world(tensor(10, 20, 30)[None], camera), tensor(-19, 12, 33)[None]
    )
    # its centre is the world point that R x + t maps to 0: -R^T t = (-2, 1, -3)
    torch.testing.assert_close(camera_centre(camera), tensor(-2, 1, -3))


def test_neighbouring_names_match_when_composed():
    camera = Camera(torch.diag(tensor(2, 2, 1)), QUARTER, tensor(0, 0, 970))
    x_world = tensor(100, 200, 30)  # camera (-200, 100, 1000), crop (-0.4, 0.2)
    torch.testing.assert_close(crop_from_world(x_world[None], camera), tensor(-0.4, 0.2)[None])
    torch.testing.assert_close(
        crop_from_cam(cam_from_world(x_world[None], camera), camera),
        crop_from_world(x_world[None], camera),
    )


def test_geometry_stays_in_float32_under_autocast():
    camera = Camera(torch.eye(3), torch.eye(3), torch.zeros(3))
    x = tensor(4001, 3, 4003)[None]  # bfloat16 would make 4001 a 4000
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(cam_from_world(x, camera), x)
        assert torch.equal(world_from_cam(x, camera), x)
        xy = crop_from_world(x, camera)
        back = cam_from_crop(torch.cat([xy, torch.zeros(1, 1)], 1), x[0, 2], 2000.0, camera)
    torch.testing.assert_close(xy, tensor(4001 / 4003, 3 / 4003)[None], rtol=1e-6, atol=0)
    torch.testing.assert_close(back, x, rtol=1e-6, atol=0)


# ---- round trips ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (3,), (2, 4)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-3), (torch.float64, 1e-9)])
def test_world_and_camera_coordinates_are_inverses(shape, dtype, tolerance):
    camera, x = cameras(*shape, dtype=dtype), points(*shape, 18, dtype=dtype)
    there = cam_from_world(x, camera)
    assert there.dtype == dtype
    assert (there - x).abs().max() > 1000  # the cameras are elsewhere
    assert (world_from_cam(there, camera) - x).abs().max() < tolerance
    assert (cam_from_world(world_from_cam(x, camera), camera) - x).abs().max() < tolerance


@pytest.mark.parametrize("shape", [(), (3,), (2, 4)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-3), (torch.float64, 1e-8)])
def test_camera_coordinates_come_back_from_the_crop(shape, dtype, tolerance):
    camera = cameras(*shape, dtype=dtype)
    x = points(*shape, 18, dtype=dtype) + torch.tensor([0, 0, 4000]).to(dtype)
    root, depth_range = 4, 1800.0
    z = (x[..., 2] - x[..., root, None, 2]) / (depth_range / 2)
    joints_crop = torch.cat([crop_from_cam(x, camera), z[..., None]], -1)
    back = cam_from_crop(joints_crop, x[..., root, 2], depth_range, camera)
    assert back.dtype == dtype
    assert (back - x).abs().max() < tolerance


def test_points_of_one_pose_are_seen_by_every_camera():
    camera, x = cameras(5, 3), points(5, 18)
    together = crop_from_world(x.unsqueeze(1), camera)
    assert together.shape == (5, 3, 18, 2)
    for i in range(5):
        for k in range(3):
            one = Camera(*(part[i, k] for part in camera))
            torch.testing.assert_close(together[i, k], crop_from_world(x[i], one))


@pytest.mark.parametrize("depth", [0.0, -1000.0])
def test_points_behind_the_camera_stay_finite_and_fall_outside(depth):
    camera = Camera(torch.eye(3), torch.eye(3), torch.zeros(3))
    xy = crop_from_cam(tensor(50, -70, depth)[None], camera)
    torch.testing.assert_close(xy, tensor(50, -70)[None])


def test_projection_has_a_finite_gradient_behind_the_camera():
    x = tensor(50, -70, -10)[None].requires_grad_()
    crop_from_cam(x, Camera(torch.eye(3), torch.eye(3), torch.zeros(3))).sum().backward()
    assert torch.equal(x.grad, tensor(1, 1, 0)[None])


# ---- pixels and OpenCV ---------------------------------------------------------------------------


@pytest.mark.parametrize("box", [(0.0, 0.0, 1000.0), (-40.0, 300.0, 250.0), (600.0, -7.0, 33.0)])
def test_the_folded_camera_equals_arithmetic_on_pixels(box):
    rng = np.random.default_rng(1)
    x = rng.uniform(-800, 800, (30, 3)) + [0, 0, 3000]
    K = K_PX + np.array([[0, 3.0, 0], [0, 20, 0], [0, 0, 0]])  # with skew
    px = (x @ K.T)[:, :2] / x[:, 2:]
    left, top, side = box
    expected = 2 * (px - [left, top]) / side - 1
    folded = x @ fold_crop(K, box).T
    np.testing.assert_allclose(folded[:, :2] / folded[:, 2:], expected, rtol=1e-10)
    np.testing.assert_allclose(px_from_crop(expected, box), px, rtol=1e-10)


def test_a_folded_camera_keeps_depth():
    assert np.array_equal(fold_crop(K_PX, (3.0, 4.0, 50.0))[2], [0, 0, 1])


def test_uncalibrated_stays_unknown_when_folded():
    assert np.isnan(fold_crop(np.full((3, 3), np.nan), (3.0, 4.0, 50.0))).any()


@pytest.mark.parametrize("seed", range(3))
def test_projection_equals_opencv(seed):
    rng = np.random.default_rng(seed)
    rotation, t = rng.uniform(-0.4, 0.4, 3), np.array([100.0, -200.0, 4000.0])
    x = rng.uniform(-800, 800, (18, 3))
    expected, _ = cv2.projectPoints(x, rotation, t, K_PX, None)
    box = (300.0, 210.0, 460.0)
    parts = fold_crop(K_PX, box), cv2.Rodrigues(rotation)[0], t
    camera = Camera(*(torch.tensor(part) for part in parts))
    xy = crop_from_world(torch.tensor(x), camera)
    np.testing.assert_allclose(px_from_crop(xy.numpy(), box), expected[:, 0], atol=1e-9)


# ---- calibrated or not ---------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0, 1, 2])
def test_one_nan_makes_the_cameras_uncalibrated(part):
    camera = cameras(2, 3)
    assert is_calibrated(camera)
    damaged = [p.clone() for p in camera]
    damaged[part].view(-1)[-1] = torch.nan
    assert not is_calibrated(Camera(*damaged))
