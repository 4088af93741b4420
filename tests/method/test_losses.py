import pytest
import torch

from mask_sup.geometry.batch import Camera, Views
from mask_sup.method.losses import (
    consistency_loss,
    depth_loss,
    mask_loss,
    residual_loss,
    rest_loss,
    upright_loss,
)


def views(mask, weight):
    unknown = torch.full((1, 1, 3, 3), torch.nan)
    camera = Camera(unknown, unknown, unknown[..., 0])
    where = torch.zeros(1, dtype=torch.long)
    return Views(torch.zeros(1, 1, 3, 4, 4), mask, weight, camera, where, where, where)


def test_mask_loss_squares_the_weighted_difference():
    mask = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    weight = torch.tensor([[[[2.0, 1.0], [1.0, 3.0]]]])
    drawn = torch.tensor([[[[0.5, 0.0], [1.0, 1.0]]]])
    # (2 * 0.5)^2 + 0 + 0 + (3 * 1)^2 over 4 pixels
    assert mask_loss(drawn, views(mask, weight)).item() == pytest.approx(10 / 4)


def test_depth_loss_compares_with_the_root_relative_depth_and_trains_z_alone():
    eye = torch.eye(3).expand(1, 1, 3, 3)
    camera = Camera(eye, eye, torch.tensor([[[0.0, 0.0, 5000.0]]]))
    world = torch.tensor([[[0.0, 0.0, 100.0], [0.0, 0.0, 600.0]]], requires_grad=True)
    z = torch.tensor([[[0.0, 0.3]]], requires_grad=True)
    loss = depth_loss(z, world, camera, root=0, depth_range=2000.0)
    assert loss.item() == pytest.approx((0.3 - 0.5) ** 2 / 2)
    loss.backward()
    assert world.grad is None
    assert z.grad[0, 0, 1] < 0  # towards 0.5


def test_rest_loss_hangs_the_resting_joint_below_its_anchor_and_moves_it_alone():
    heights = torch.tensor([-0.5, -0.4, 0.0, 0.2])
    joints = torch.rand(2, 3, 4, 3, requires_grad=True)
    rest_loss(joints, [(3, 1)], heights).backward()
    assert (joints.grad[:, :, :3] == 0).all()
    place = joints[:, :, 1] + torch.tensor([0.0, 0.6, 0.0])
    torch.testing.assert_close(joints.grad[:, :, 3], 2 * (joints[:, :, 3] - place) / 6)
    assert rest_loss(joints, [], heights).item() == 0


def test_consistency_is_zero_for_agreeing_views_only():
    xy = torch.rand(2, 4, 18, 2)
    assert consistency_loss(xy, xy).item() == 0
    assert consistency_loss(xy, xy + 0.1).item() == pytest.approx(0.02, rel=1e-4)


def test_upright_knows_heights_but_no_side_and_no_pose():
    heights = torch.tensor([-0.8, 0.0, 0.8])
    standing = torch.stack([torch.zeros(3), heights], -1).expand(1, 1, 3, 2)
    assert upright_loss(standing, heights).item() == 0
    mirrored = standing + torch.tensor([0.3, 0.0])
    torch.testing.assert_close(
        upright_loss(mirrored, heights), upright_loss(-mirrored * torch.tensor([1, -1]), heights)
    )
    upside_down = standing * torch.tensor([1, -1])
    assert upright_loss(upside_down, heights) > 0.5


def test_residual_loss_asks_for_what_the_body_leaves_open():
    mask = torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    body = torch.tensor([[[[0.9, 0.0], [0.0, 0.6]]]])  # one pixel left open, one beside the mask
    seen = views(mask, torch.ones_like(mask))
    target = torch.tensor([0.1, 1.0, 0.0, 0.0])
    weight = 0.3 + 3.7 * target
    arms = torch.zeros_like(mask).requires_grad_()
    loss = residual_loss(arms, body.requires_grad_(), seen)
    assert loss.item() == pytest.approx((weight * target.square()).mean().item())
    loss.backward()
    assert arms.grad.flatten()[1] < 30 * arms.grad.flatten()[0] < 0
    assert body.grad is None
    perfect = target.view_as(mask)
    assert residual_loss(perfect, body, seen).item() == pytest.approx(0, abs=1e-12)
