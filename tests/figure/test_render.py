import pytest
import torch
from omegaconf import OmegaConf

from mask_sup.figure.render import GaussianRenderer, SkeletonRenderer
from mask_sup.figure.skeleton import FreeKeypoints
from mask_sup.files.build import build

HUMAN = build(OmegaConf.load("conf/skeleton/human18.yaml"), "skeleton")


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


def test_free_points_are_drawn_as_blobs_alone():
    points = FreeKeypoints("free", 4, HUMAN)
    xy = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]])
    drawn = GaussianRenderer(points, 8, 0.2, {}, "max")(xy, ["points"])
    # A blob peaks at its point, four pixel centres lie an eighth off it on either axis.
    peak = torch.exp(torch.tensor(-2 * 0.125**2 / 0.2**2))
    torch.testing.assert_close(drawn[1:3, 1:3], peak.expand(2, 2))
    with pytest.raises(ValueError, match="'free' has no bones: choose renderer=gaussians"):
        SkeletonRenderer(points, 8, 0.2, {}, "max")


def test_an_unknown_group_is_refused():
    renderer = SkeletonRenderer(HUMAN, 8, 0.1, {}, "max")
    with pytest.raises(ValueError, match="tail"):
        renderer(torch.zeros(1, 18, 2), ["tail"])
