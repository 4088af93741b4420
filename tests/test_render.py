import math

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from mask_sup.config import build
from mask_sup.render import GaussianRenderer, SkeletonRenderer, draw_segments

HUMAN = build(OmegaConf.load("conf/skeleton/human18.yaml"))


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


def autograd_reference(ends, width, size, merge):
    """The same on whole tensors, every bone map kept, for gradients by autograd."""
    centres = (torch.arange(size, dtype=ends.dtype) * 2 + 1) / size - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    p = torch.stack([x, y], -1)
    a, c = ends[:, :, None, None, 0], ends[:, :, None, None, 1]
    u = c - a
    t = (((p - a) * u).sum(-1) / (u * u).sum(-1).clamp_min(1e-12)).clamp(0, 1)
    squared = (p - a - t[..., None] * u).square().sum(-1) / width[:, None, None] ** 2
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


def test_sum_exceeds_one_where_bones_meet_and_max_does_not():
    xy = torch.zeros(1, 18, 2)
    masks = {
        merge: SkeletonRenderer(HUMAN, 8, 0.5, {}, merge)(xy, ["torso", "legs"])
        for merge in ("sum", "max")
    }
    assert masks["sum"].max() > 5
    assert masks["max"].max() <= 1


def test_joints_of_groups_not_drawn_get_no_gradient():
    xy = (torch.rand(2, 18, 2) - 0.5).requires_grad_()
    SkeletonRenderer(HUMAN, 16, 0.2, {}, "max")(xy, ["torso", "legs"]).sum().backward()
    hidden = [HUMAN.index[j] for j in ("left_elbow", "right_wrist", "head")]
    assert (xy.grad[:, hidden] == 0).all()
    assert (xy.grad[:, HUMAN.index["left_knee"]] != 0).any()


def test_group_width_and_width_scale_multiply():
    xy = torch.rand(1, 18, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    thin = SkeletonRenderer(HUMAN, 16, 0.1, {"arms": 0.5}, "max")
    alone = SkeletonRenderer(HUMAN, 16, 0.05, {}, "max")
    torch.testing.assert_close(thin(xy, ["arms"]), alone(xy, ["arms"]))
    torch.testing.assert_close(thin(xy, ["arms"], 3.0), alone(xy, ["arms"], 3.0))
    assert (thin(xy, ["arms"], 3.0) >= thin(xy, ["arms"])).all()


def test_gaussians_ignore_which_joint_is_which():
    # The defect of Eq. (3) that Eq. (4) mends: swapping two joints changes nothing.
    xy = torch.rand(1, 18, 2, generator=torch.Generator().manual_seed(1)) - 0.5
    swapped = xy[:, [0, 4, 2, 3, 1, *range(5, 18)]]
    blobs = GaussianRenderer(HUMAN, 16, 0.1, {}, "max")
    bones = SkeletonRenderer(HUMAN, 16, 0.1, {}, "max")
    torch.testing.assert_close(blobs(xy, HUMAN.groups), blobs(swapped, HUMAN.groups))
    assert not torch.allclose(bones(xy, HUMAN.groups), bones(swapped, HUMAN.groups), atol=1e-2)


def test_a_gaussian_has_its_peak_at_the_joint():
    xy = torch.full((1, 18, 2), 0.125)  # centre of column and row 4 of 8
    mask = GaussianRenderer(HUMAN, 8, 0.2, {}, "max")(xy, ["legs"])
    assert mask[0].argmax() == 4 * 8 + 4
    assert mask[0, 4, 4].item() == pytest.approx(1.0)


def test_leading_axes_are_free():
    xy = torch.rand(2, 3, 18, 2) - 0.5
    renderer = SkeletonRenderer(HUMAN, 8, 0.1, {}, "max")
    drawn = renderer(xy, ["legs"])
    assert drawn.shape == (2, 3, 8, 8)
    torch.testing.assert_close(drawn[1, 2], renderer(xy[1, 2], ["legs"]))


def test_crops_drawn_in_chunks_equal_crops_drawn_alone(monkeypatch, segments):
    ends, width = segments
    whole = draw_segments(ends, width, 16, "max")
    monkeypatch.setattr("mask_sup.render.CHUNK_PIXELS", 1)
    torch.testing.assert_close(draw_segments(ends, width, 16, "max"), whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"group_width": {"wings": 2.0}}, "wings"),
        ({"width": 0.0}, "above 0"),
        ({"group_width": {"arms": -1.0}}, "above 0"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    settings = {"size": 8, "width": 0.1, "group_width": {}, "merge": "max"} | arguments
    with pytest.raises(ValueError, match=message):
        SkeletonRenderer(HUMAN, **settings)


def test_unknown_group_and_empty_drawing_are_refused():
    renderer = SkeletonRenderer(HUMAN, 8, 0.1, {}, "max")
    with pytest.raises(ValueError, match="tail"):
        renderer(torch.zeros(1, 18, 2), ["tail"])
    with pytest.raises(ValueError, match="at least one bone group"):
        draw_segments(torch.zeros(1, 0, 2, 2), torch.zeros(0), 8, "max")
