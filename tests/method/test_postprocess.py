import numpy as np
import pytest
import torch

from mask_sup.method.postprocess import fit_hidden, fit_linear, fit_theta


def points(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator, dtype=torch.float64) * 2 - 1


@pytest.mark.parametrize("d", [2, 3])
def test_a_linear_map_is_recovered_exactly(d):
    landmarks, matrix, shift = points(80, 12, d), points(12 * d, 5 * d, seed=1), points(5 * d)
    theta = fit_linear(landmarks, (landmarks.flatten(1) @ matrix + shift).reshape(-1, 5, d))
    unseen = points(2, 3, 12, d, seed=2)
    wanted = (unseen.flatten(2) @ matrix + shift).reshape(2, 3, 5, d)
    torch.testing.assert_close(theta(unseen), wanted, rtol=1e-9, atol=1e-9)


def test_a_linear_map_is_least_squares_over_the_labelled_views_of_each_joint():
    landmarks, joints = points(60, 4, 3), points(60, 2, 3, seed=1)
    joints[:20, 1] = torch.nan
    found = fit_linear(landmarks, joints)(landmarks).numpy()
    rows = np.concatenate([landmarks.flatten(1).numpy(), np.ones((60, 1))], 1)
    for joint, known in enumerate((slice(None), slice(20, None))):
        wanted = joints[known, joint].numpy()
        gram = rows[known].T @ rows[known]  # the normal equations
        expected = rows @ np.linalg.solve(gram, rows[known].T @ wanted)
        np.testing.assert_allclose(found[:, joint], expected, rtol=1e-8, atol=1e-10)


def test_a_coordinate_that_never_changes_does_no_harm():
    landmarks = points(60, 4, 3)
    landmarks[:, 0, 2] = 0.0  # z of the point that depth is measured from
    found = fit_linear(landmarks, landmarks[:, 1:3])(landmarks)
    torch.testing.assert_close(found, landmarks[:, 1:3], rtol=1e-9, atol=1e-9)


def test_hidden_layers_learn_what_no_linear_map_can():
    landmarks = points(2000, 3, 2)
    joints = (landmarks[:, :1] * landmarks[:, 1:2]).repeat(1, 2, 1)
    settings = {"hidden": 64, "steps": 1500, "batch": 128, "lr": 3e-3}
    unseen = points(500, 3, 2, seed=5)
    wanted = (unseen[:, :1] * unseen[:, 1:2]).repeat(1, 2, 1)
    error = {
        kind: float((fit(landmarks, joints)(unseen) - wanted).square().mean())
        for kind, fit in {
            "linear": fit_linear,
            "hidden": lambda a, b: fit_hidden(a, b, **settings),
        }.items()
    }
    assert error["linear"] == pytest.approx(float(wanted.square().mean()), rel=0.1)
    assert error["hidden"] < error["linear"] / 20


def test_hidden_layers_are_the_same_each_time_and_leave_chance_alone():
    landmarks, joints = points(60, 4, 3), points(60, 2, 3, seed=1)
    joints[:5, 0] = torch.nan
    settings = {"hidden": 8, "steps": 5, "batch": 16, "lr": 1e-3}
    torch.manual_seed(7)
    first = fit_hidden(landmarks, joints, **settings)(landmarks)
    torch.manual_seed(8)
    drawn = torch.rand(3)
    again = fit_hidden(landmarks, joints, **settings)(landmarks)
    torch.manual_seed(8)
    assert torch.equal(first, again)
    assert torch.isfinite(first).all()
    assert torch.equal(drawn, torch.rand(3))


@pytest.mark.parametrize("kind", ["linear", "hidden"])
def test_a_joint_that_is_never_labelled_is_unknown_and_hinders_no_other(kind):
    settings = {"hidden": 8, "steps": 5, "batch": 16, "lr": 1e-3}
    landmarks, joints = points(60, 4, 3), points(60, 3, 3, seed=1)
    joints[:, 1] = torch.nan
    found = fit_theta(kind, landmarks, joints, settings).space(landmarks)
    assert found[:, 1].isnan().all()
    alone = fit_theta("linear", landmarks, joints[:, :1], settings).space(landmarks)
    if kind == "linear":
        torch.testing.assert_close(found[:, :1], alone)
    assert torch.isfinite(found[:, ::2]).all()


@pytest.mark.parametrize("kind", ["linear", "hidden"])
def test_too_few_labels_are_refused_in_words(kind):
    settings = {"hidden": 8, "steps": 5, "batch": 16, "lr": 1e-3}
    with pytest.raises(ValueError, match="theta has 13 coefficients .* labelled in 12 views"):
        fit_theta(kind, points(12, 4, 3), points(12, 2, 3), settings)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="linear or hidden, not 'cubic'"):
        fit_theta("cubic", points(60, 4, 3), points(60, 2, 3), {})
