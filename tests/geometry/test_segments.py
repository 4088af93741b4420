import math

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from mask_sup.files.build import build
from mask_sup.geometry.segments import draw_segments

HUMAN = build(OmegaConf.load("conf/skeleton/human18.yaml"), "skeleton")


def reference(ends, width, size, merge):
    """Eq. (4-5) as a plain loop over crops, bones and pixels."""
    n, bones = ends.shape[:2]
    out = np.zeros((n, size, size))
    for i in range(n):
        for row in range(size):
            for col in range(size):
                p = np.array([(2 * col + 1) / size - 1, (2 * row + 1) / size - 1])
                values = []
                for b in range(bones):
                    a, c = ends[i, b]
                    along = np.dot(p - a, c - a) / max(np.dot(c - a, c - a), 1e-12)
                    nearest = a + min(1.0, max(0.0, along)) * (c - a)
                    values.append(math.exp(-np.sum((p - nearest) ** 2) / width[b] ** 2))
                out[i, row, col] = max(values) if merge == "max" else sum(values)
    return out


def autograd_reference(ends, width, size, merge, power=1):
    """The same on whole tensors, every bone map kept, for gradients by autograd."""
    centres = (torch.arange(size, dtype=ends.dtype) * 2 + 1) / size - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    p = torch.stack([x, y], -1)
    a, c = ends[:, :, None, None, 0], ends[:, :, None, None, 1]
    u = c - a
    t = (((p - a) * u).sum(-1) / (u * u).sum(-1).clamp_min(1e-12)).clamp(0, 1)
    squared = (p - a - t[..., None] * u).square().sum(-1) / width[:, None, None] ** 2
    squared = squared**power
    return (-squared).exp().max(1).values if merge == "max" else (-squared).exp().sum(1)


@pytest.fixture
def segments():
    generator = torch.Generator().manual_seed(3)
    ends = torch.rand(3, 7, 2, 2, generator=generator) * 2.6 - 1.3  # some reach off the crop
    ends[0, 0, 1] = ends[0, 0, 0]  # a point
    width = torch.rand(7, generator=generator) * 0.2 + 0.05
    return ends, width


@pytest.mark.parametrize("merge", ["max", "sum"])
def test_values_equal_a_loop_over_pixels(segments, merge):
    ends, width = segments
    drawn = draw_segments(ends, width, 12, merge).numpy()
    expected = reference(ends.double().numpy(), width.double().numpy(), 12, merge)
    np.testing.assert_allclose(drawn, expected, atol=2e-6)


@pytest.mark.parametrize("merge", ["max", "sum"])
def test_gradients_equal_autograd_through_all_bone_maps(segments, merge):
    ends, width = segments
    pull = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(4))
    ours, naive = ends.clone().requires_grad_(), ends.clone().requires_grad_()
    (draw_segments(ours, width, 16, merge) * pull).sum().backward()
    (autograd_reference(naive, width, 16, merge) * pull).sum().backward()
    torch.testing.assert_close(ours.grad, naive.grad, atol=1e-4, rtol=1e-4)


def test_a_harder_edge_is_a_power_of_the_distance(segments):
    ends, width = segments
    pull = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(4))
    ours, naive = ends.clone().requires_grad_(), ends.clone().requires_grad_()
    drawn, expected = (
        draw(e, width, 16, "max", 3)
        for draw, e in ((draw_segments, ours), (autograd_reference, naive))
    )
    torch.testing.assert_close(drawn, expected, atol=5e-6, rtol=0)
    torch.testing.assert_close(draw_segments(ends, width, 16, "max", 3), drawn)  # no gradient asked
    (drawn * pull).sum().backward()
    (expected * pull).sum().backward()
    torch.testing.assert_close(ours.grad, naive.grad, atol=1e-3, rtol=1e-3)
    with pytest.raises(ValueError, match="power=3 goes with merge='max'"):
        draw_segments(ends, width, 16, "sum", 3)


def test_the_nearest_of_many_segments_pulls_whatever_their_order(segments):
    ends, width = segments
    drawn = []
    for order in (list(range(7)), [3, 6, 0, 5, 1, 4, 2]):
        ours = ends[:, order].clone().requires_grad_()
        draw_segments(ours, width[order], 16, "max").square().sum().backward()
        drawn.append(ours.grad[:, torch.tensor(order).argsort()])
    torch.testing.assert_close(*drawn, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("merge", ["max", "sum"])
def test_gradcheck_in_double_precision(merge):
    generator = torch.Generator().manual_seed(5)
    ends = torch.rand(2, 3, 2, 2, generator=generator, dtype=torch.float64) * 2 - 1
    width = torch.full((3,), 0.4, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda e: draw_segments(e, width, 6, merge), ends.requires_grad_()
    )


@pytest.mark.parametrize("merge", ["max", "sum"])
@pytest.mark.parametrize("ends", [[[5.0, 5.0], [9.0, 9.0]], [[0.0, 0.0], [0.0, 0.0]]])
def test_degenerate_segments_are_finite(ends, merge):
    ends = torch.tensor([[ends]]).requires_grad_()
    mask = draw_segments(ends, torch.tensor([0.05]), 16, merge)
    mask.sum().backward()
    assert torch.isfinite(mask).all()
    assert torch.isfinite(ends.grad).all()


def test_nan_joints_are_not_hidden():
    ends = torch.zeros(1, 2, 2, 2)
    ends[0, 1] = torch.nan
    assert draw_segments(ends, torch.tensor([0.1, 0.1]), 8, "max").isnan().all()


def test_a_pixel_one_width_from_a_segment_is_one_over_e():
    # The centre of column 4 of 8 is at 0.125; the segment runs along x = -0.375, width 0.5.
    ends = torch.tensor([[[[-0.375, -1.0], [-0.375, 1.0]]]])
    mask = draw_segments(ends, torch.tensor([0.5]), 8, "max")
    assert mask[0, 3, 4].item() == pytest.approx(math.exp(-1))
    assert mask[0, 3, 2].item() == pytest.approx(1.0)  # column 2 is centred on the segment


def test_crops_drawn_in_chunks_equal_crops_drawn_alone(monkeypatch, segments):
    ends, width = segments
    whole = draw_segments(ends, width, 16, "max")
    monkeypatch.setattr("mask_sup.geometry.segments.CHUNK_PIXELS", 1)
    torch.testing.assert_close(draw_segments(ends, width, 16, "max"), whole)


def test_an_empty_drawing_is_refused():
    with pytest.raises(ValueError, match="at least one bone group"):
        draw_segments(torch.zeros(1, 0, 2, 2), torch.zeros(0), 8, "max")
