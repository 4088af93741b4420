import numpy as np
import pytest
import torch
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation

from mask_sup.geometry.align import scale_aligned, similarity_aligned

ALIGNMENTS = [scale_aligned, similarity_aligned]


def poses(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random poses of about human size, mm."""
    generator = torch.Generator().manual_seed(seed)
    return 300 * torch.randn(*shape, 3, generator=generator, dtype=torch.float64)


def turned(pose: torch.Tensor, seed: int = 0) -> torch.Tensor:
    rotation = torch.from_numpy(Rotation.random(random_state=seed).as_matrix())
    return 0.4 * pose @ rotation.mT + torch.tensor([100.0, -2000.0, 5000.0])


def test_scale_by_hand():
    # s = (1*2 + 2*2) / (1 + 4) = 1.2
    prediction = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    target = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    torch.testing.assert_close(scale_aligned(prediction, target), 1.2 * prediction)


def test_scale_is_the_least_squares_one():
    prediction, target = poses(18, seed=1), poses(18, seed=2) + poses(18, seed=1)
    (scale,), *_ = np.linalg.lstsq(prediction.reshape(-1, 1), target.flatten(), rcond=None)
    torch.testing.assert_close(scale_aligned(prediction, target), float(scale) * prediction)


def test_scale_keeps_a_point_reflection():
    pose = poses(18)
    assert (scale_aligned(-pose, pose) == 0).all()


def test_similarity_is_undone():
    pose = poses(4, 3, 18)
    torch.testing.assert_close(similarity_aligned(turned(pose), pose), pose)


def test_similarity_agrees_with_scipy_procrustes():
    # scipy also allows reflections, so the noise is kept small enough for none to be better.
    target = poses(5, 18, seed=1)
    prediction = turned(target + 0.2 * poses(5, 18, seed=2))
    aligned = similarity_aligned(prediction, target)
    for a, p, t in zip(aligned, prediction, target, strict=True):
        disparity = procrustes(t.numpy(), p.numpy())[2]
        spread = (t - t.mean(0)).square().sum()
        assert disparity > 0.01
        torch.testing.assert_close(((a - t).square().sum() / spread).item(), disparity)


@pytest.mark.parametrize("seed", range(4))
def test_similarity_agrees_with_scipy_rotation_on_unrelated_poses(seed):
    """Unrelated poses are as often best matched by a reflection, which must not be used."""
    prediction, target = poses(18, seed=seed), poses(18, seed=seed + 10)
    source, goal = (prediction - prediction.mean(0)).numpy(), (target - target.mean(0)).numpy()
    rotation, _ = Rotation.align_vectors(goal, source)
    source = rotation.apply(source)
    scale = (source * goal).sum() / (source**2).sum()
    expected = torch.from_numpy(scale * source) + target.mean(0)
    torch.testing.assert_close(similarity_aligned(prediction, target), expected)


def test_similarity_does_not_reflect():
    pose = poses(18)
    mirrored = pose * torch.tensor([-1.0, 1.0, 1.0])
    assert procrustes(pose.numpy(), mirrored.numpy())[2] < 1e-12
    assert (similarity_aligned(mirrored, pose) - pose).norm(dim=-1).mean() > 50


@pytest.mark.parametrize("align", ALIGNMENTS)
def test_nan_labels_take_no_part_in_the_fit(align):
    prediction, target = poses(2, 18, seed=1), poses(2, 18, seed=2)
    target[0, [3, 7]] = torch.nan
    target[1, 5, 1] = torch.nan
    aligned = align(prediction, target)
    assert aligned.isfinite().all()
    for n, unlabelled in enumerate([[3, 7], [5]]):
        kept = [j for j in range(18) if j not in unlabelled]
        torch.testing.assert_close(aligned[n, kept], align(prediction[n, kept], target[n, kept]))


@pytest.mark.parametrize("align", ALIGNMENTS)
@pytest.mark.parametrize(
    ("prediction", "target"),
    [
        (torch.zeros(18, 3), torch.randn(18, 3)),
        (torch.randn(18, 3), torch.zeros(18, 3)),
        (torch.full((18, 3), 1e4), torch.randn(18, 3)),
        (torch.linspace(0, 900, 18)[:, None] * torch.ones(3), torch.randn(18, 3)),
        (torch.randn(18, 3) * torch.tensor([1.0, 1.0, 0.0]), torch.randn(18, 3)),
        (torch.randn(18, 3), torch.full((18, 3), torch.nan)),
    ],
    ids=["all zero", "target all zero", "point", "line", "plane", "no labels"],
)
def test_degenerate_poses_stay_finite(align, prediction, target):
    assert align(prediction, target).isfinite().all()


@pytest.mark.parametrize("align", ALIGNMENTS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_bad_prediction_ends_as_nan_and_harms_no_neighbour(align, bad):
    prediction, target = poses(2, 18, seed=1), poses(2, 18, seed=2)
    prediction[0, 4, 0] = bad
    aligned = align(prediction, target)
    assert aligned[0, 4, 0].isnan()
    torch.testing.assert_close(aligned[1], align(prediction[1], target[1]))


@pytest.mark.parametrize("align", ALIGNMENTS)
def test_dtype_and_leading_axes_are_kept(align):
    prediction, target = poses(2, 3, 18, seed=1), poses(2, 3, 18, seed=2)
    exact = align(prediction, target)
    torch.testing.assert_close(exact[1, 2], align(prediction[1, 2], target[1, 2]))
    single = align(prediction.float(), target.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, rtol=1e-5, atol=1e-2)
