import numpy as np
import pytest
import torch
from scipy.optimize import least_squares

from mask_sup.geometry.batch import Camera
from mask_sup.geometry.camera import crop_from_world
from mask_sup.geometry.triangulate import (
    Independent,
    Triangulate,
    triangulate,
    triangulate_robustly,
)

METHODS = (triangulate, triangulate_robustly)


def ring(views, dtype=torch.float32, leading=()):
    """Cameras on a ring of 4 m around the origin, all looking at it."""
    R, t = [], []
    for angle in torch.linspace(0.3, 5.0, views):
        centre = torch.stack([4000 * angle.cos(), 4000 * angle.sin(), torch.tensor(1200.0)])
        forward = -centre / centre.norm()
        right = torch.linalg.cross(forward, torch.tensor([0.0, 0.0, 1.0]))
        right = right / right.norm()
        rotation = torch.stack([right, torch.linalg.cross(forward, right), forward])
        R.append(rotation)
        t.append(-rotation @ centre)
    K = torch.tensor([[4.0, 0.0, 0.1], [0.0, 4.0, -0.2], [0.0, 0.0, 1.0]]).expand(views, 3, 3)
    camera = Camera(K, torch.stack(R), torch.stack(t))
    return Camera(*(part.to(dtype).expand(*leading, *part.shape) for part in camera))


def points(*shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(*shape, 3, generator=generator) * 1600 - 800).to(dtype)


def dlt_by_svd(xy, camera):
    """Homogeneous direct linear transform of one point, numpy, double precision."""
    rows = []
    for point, K, R, t in zip(xy, *camera, strict=True):
        P = K @ np.concatenate([R, t[:, None]], 1)
        rows += [point[0] * P[2] - P[0], point[1] * P[2] - P[1]]
    rows = np.array(rows)
    rows[:, 3] /= 1000  # metres, for conditioning
    X = np.linalg.svd(rows)[2][-1]
    return X[:3] / X[3] * 1000


@pytest.mark.parametrize("views", [2, 3, 4, 8])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 0.05), (torch.float64, 0.02)])
def test_projections_triangulate_to_the_point(views, dtype, tolerance):
    camera, world = ring(views, dtype, (5,)), points(5, 18, dtype=dtype)
    xy = crop_from_world(world.unsqueeze(1), camera)
    assert (triangulate(xy, camera) - world).abs().max() < tolerance  # mm


def test_a_view_that_is_wrong_hardly_moves_a_robust_point():
    camera, world = ring(4, leading=(5,)), points(5, 18)
    xy = crop_from_world(world.unsqueeze(1), camera)
    xy = xy + 0.005 * torch.randn(xy.shape, generator=torch.Generator().manual_seed(1))
    xy[:, 2, ::3] += 0.4  # a fifth of the crop's side
    plain, robust = ((f(xy, camera) - world).norm(dim=-1) for f in METHODS)
    assert plain[:, ::3].min() > 40
    assert robust[:, ::3].max() < 20
    assert (robust.mean(), robust[:, 1::3].mean()) < (plain.mean(), 1.2 * plain[:, 1::3].mean())


@pytest.mark.parametrize("views", [2, 3, 6])
def test_views_that_agree_triangulate_robustly_to_the_point(views):
    camera, world = ring(views, leading=(5,)), points(5, 18)
    xy = crop_from_world(world.unsqueeze(1), camera)
    assert (triangulate_robustly(xy, camera) - world).abs().max() < 0.05


def test_views_that_are_not_seen_do_not_count():
    camera, world = ring(4, leading=(5,)), points(5, 18)
    xy = crop_from_world(world.unsqueeze(1), camera)
    xy = xy + 0.02 * torch.randn(xy.shape, generator=torch.Generator().manual_seed(2))
    seen = torch.tensor([True, False, True, True]).expand(5, 4)
    three = Camera(*(part[:, [0, 2, 3]] for part in camera))
    expected = triangulate_robustly(xy[:, [0, 2, 3]], three)
    wrong = xy.clone()
    wrong[:, 1] = 5.0
    found = triangulate_robustly(wrong, camera, seen)
    assert (found - expected).abs().max() < 0.5  # mm; the origin is another


def test_robust_points_minimise_cauchys_loss():
    """Against scipy, which minimises it over reprojections themselves."""
    camera, world = ring(5, torch.float64), points(4, dtype=torch.float64)
    xy = crop_from_world(world.expand(5, 4, 3), camera)
    xy = xy + 0.03 * torch.randn(xy.shape, generator=torch.Generator().manual_seed(3)).double()
    found = triangulate_robustly(xy, camera)

    def off(point, j):
        seen = crop_from_world(torch.tensor(point).expand(5, 1, 3), camera)[:, 0]
        return (seen - xy[:, j]).norm(dim=-1).numpy()

    for j in range(4):
        best = least_squares(off, world[j].numpy(), loss="cauchy", f_scale=0.05, args=(j,))
        losses = [np.log1p((off(p, j) / 0.05) ** 2).sum() for p in (found[j].numpy(), best.x)]
        assert losses[0] < 1.03 * losses[1]  # rows are rays' distances, not quite pixels


def test_disagreeing_views_agree_with_the_svd():
    camera, world = ring(4, torch.float64), points(6, dtype=torch.float64)
    xy = crop_from_world(world.expand(4, 6, 3), camera)
    xy = xy + 0.004 * torch.randn(xy.shape, generator=torch.Generator().manual_seed(1)).double()
    ours = triangulate(xy, camera).numpy()
    normalised = Camera(torch.eye(3).double().expand(4, 3, 3), camera.R, camera.t)
    rays = torch.linalg.solve(camera.K, torch.cat([xy, torch.ones(4, 6, 1).double()], -1).mT).mT
    for j in range(6):
        parts = [part.numpy() for part in normalised]
        expected = dlt_by_svd(rays[:, j, :2].numpy(), parts)
        assert np.linalg.norm(ours[j] - expected) < 0.1  # mm


def test_two_views_agree_with_kornia():
    from kornia.geometry.epipolar import triangulate_points

    camera, world = ring(2, torch.float64), points(9, dtype=torch.float64)
    xy = crop_from_world(world.expand(2, 9, 3), camera)
    projections = camera.K @ torch.cat([camera.R, camera.t.unsqueeze(-1) / 1000], -1)  # metres
    theirs = triangulate_points(projections[0], projections[1], xy[0], xy[1]) * 1000
    torch.testing.assert_close(triangulate(xy, camera), theirs, atol=0.05, rtol=0)


def test_a_view_of_no_confidence_is_ignored():
    camera, world = ring(4), points(3)
    xy = crop_from_world(world.expand(4, 3, 3), camera)
    xy[2] += 0.7
    confidence = torch.ones(4, 3)
    confidence[2] = 0
    assert (triangulate(xy, camera, confidence) - world).abs().max() < 0.05
    assert (triangulate(xy, camera) - world).abs().max() > 50


def test_gradcheck():
    camera = ring(3, torch.float64)
    xy = crop_from_world(points(4, dtype=torch.float64).expand(3, 4, 3), camera) + 0.01
    assert torch.autograd.gradcheck(lambda p: triangulate(p, camera) / 1000, xy.requires_grad_())


def test_parallel_rays_stay_finite():
    camera = ring(2)
    same = Camera(*(part[:1].expand(2, *part.shape[1:]) for part in camera))
    xy = torch.zeros(2, 1, 2, requires_grad=True)
    world = triangulate(xy, same)
    world.sum().backward()
    assert torch.isfinite(world).all()
    assert torch.isfinite(xy.grad).all()


def test_delta_redraws_consistent_views_where_they_were():
    camera, world = ring(4, leading=(2,)), points(2, 18)
    xy = crop_from_world(world.unsqueeze(1), camera)
    fused = Triangulate()(xy, camera)
    torch.testing.assert_close(fused.xy, xy, atol=1e-4, rtol=0)
    torch.testing.assert_close(fused.joints_world, world, atol=0.05, rtol=0)


def test_delta_makes_disagreeing_views_mean_one_pose():
    camera = ring(4, leading=(1,))
    xy = crop_from_world(points(1, 18).unsqueeze(1), camera)
    xy = xy + 0.05 * torch.randn(xy.shape, generator=torch.Generator().manual_seed(2))
    once = Triangulate()(xy, camera)
    twice = Triangulate()(once.xy, camera)
    assert (once.xy - xy).abs().max() > 0.01
    torch.testing.assert_close(twice.xy, once.xy, atol=1e-4, rtol=0)


def test_a_single_view_passes_unchanged():
    camera, xy = ring(1, leading=(2,)), torch.rand(2, 1, 18, 2)
    fused = Triangulate()(xy, camera)
    assert fused.joints_world is None
    assert fused.xy is xy


def test_uncalibrated_views_are_refused_with_the_way_out():
    camera = ring(2, leading=(1,))
    unknown = camera._replace(K=torch.full_like(camera.K, torch.nan))
    with pytest.raises(ValueError, match="wo_Delta"):
        Triangulate()(torch.rand(1, 2, 18, 2), unknown)
    assert Independent()(torch.rand(1, 2, 18, 2), unknown).joints_world is None


def test_one_view_cannot_be_triangulated():
    with pytest.raises(ValueError, match="at least 2 views, got 1"):
        triangulate(torch.zeros(1, 18, 2), ring(1))


def spoilt(tensor, *place, value=torch.nan):
    tensor = tensor.clone()
    tensor[place] = value
    return tensor


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("part", ["K", "R", "t", "joints"])
def test_numbers_that_make_no_point_name_the_view(part, value):
    camera, xy = ring(4, leading=(3,)), torch.rand(3, 4, 18, 2)
    if part == "joints":
        xy = spoilt(xy, 1, 2, 5, 0, value=value)
    else:
        camera = camera._replace(**{part: spoilt(getattr(camera, part), 1, 2, 0, value=value)})
    for solve in (triangulate, triangulate_robustly):
        with pytest.raises(
            ValueError, match=rf"in view 2 of item 1 .*{part}.* (is|are) not finite"
        ):
            solve(xy, camera)


def test_a_singular_camera_is_named():
    camera, xy = ring(3), torch.rand(3, 18, 2)
    camera = camera._replace(K=spoilt(camera.K, 1, value=0.0))
    with pytest.raises(ValueError, match="in view 1 .*K is singular; correct the calibration"):
        triangulate(xy, camera)


def test_numbers_too_large_are_told():
    with pytest.raises(ValueError, match="too large .* units"):
        triangulate(torch.full((3, 18, 2), 1e38), ring(3))
