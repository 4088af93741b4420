import pytest
import torch
from torch import nn

from mask_sup.method.optim import Muon, orthogonalised

SETTINGS = {"lr": 0.1, "momentum": 0.9, "adam_lr": 0.01, "betas": (0.9, 0.99)}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, 4, 1))


def descend(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    image = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    losses = []
    for _ in range(steps):
        loss = (model(image) - image[:, :1, 1:-1, 1:-1]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("shape", [(6, 6), (4, 20), (20, 4), (3, 5, 7)])
def test_orthogonalised_keeps_singular_vectors_and_levels_singular_values(shape):
    generator = torch.Generator().manual_seed(3)
    # Singular values from 1 to 0.2 at any scale.
    u, _, v = torch.linalg.svd(torch.randn(shape, generator=generator), full_matrices=False)
    s = torch.linspace(1.0, 0.2, u.shape[-1])
    for scale in (1e-3, 1e3):
        found = orthogonalised(scale * u * s @ v)
        along = (u.mT @ found @ v.mT).diagonal(dim1=-2, dim2=-1)
        assert along.min() > 0.6
        assert along.max() < 1.3
        torch.testing.assert_close(found, u * along.unsqueeze(-2) @ v, atol=1e-4, rtol=0)


def on_the_wide_matrix(matrix):
    """The iteration as Jordan et al. write it, every step on the whole matrix."""
    wide = matrix if matrix.shape[-2] <= matrix.shape[-1] else matrix.mT
    x = wide / wide.norm(dim=(-2, -1), keepdim=True)
    for _ in range(5):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x if wide is matrix else x.mT


@pytest.mark.parametrize("shape", [(48, 96), (96, 48), (3, 48, 432), (2, 5, 96, 27), (8, 8)])
@pytest.mark.parametrize("rank", [2, None])
def test_the_gram_matrix_steps_as_the_wide_matrix(shape, rank):
    generator = torch.Generator().manual_seed(4)
    matrix = torch.randn(shape, generator=generator)
    if rank:  # all other singular values are rounding errors
        factors = torch.randn(*shape[:-1], rank, generator=generator)
        matrix = factors @ factors.mT @ matrix / shape[-2]
    found = orthogonalised(matrix)
    assert found.shape == shape
    # The reference in double precision: neither way is the truth in single.
    reference = on_the_wide_matrix(matrix.double()).float()
    torch.testing.assert_close(found, reference, atol=1e-3, rtol=0)


def test_a_gradient_of_zeros_moves_nothing():
    assert (orthogonalised(torch.zeros(2, 3, 5)) == 0).all()


def test_a_first_step_moves_a_kernel_by_the_orthogonal_factor_of_its_gradient():
    kernel = nn.Parameter(torch.zeros(8, 2, 2, 2))
    kernel.grad = torch.randn(8, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    Muon([kernel], **SETTINGS).step()
    u, _, v = torch.linalg.svd(kernel.grad.flatten(1))
    off = (u.mT @ (-kernel.detach().flatten(1) / 0.1) @ v.mT).diagonal() - 1
    assert off.abs().max() < 0.35


def test_a_tall_kernel_moves_further():
    steps = {}
    for rows in (4, 16):
        kernel = nn.Parameter(torch.zeros(rows, 4, 1, 1))
        kernel.grad = torch.eye(rows, 4)[..., None, None].clone()
        Muon([kernel], **SETTINGS).step()
        steps[rows] = float(kernel.detach().norm())
    assert steps[16] == pytest.approx(2 * steps[4], rel=1e-4)


def test_the_length_of_the_gradient_does_not_matter_to_kernels():
    moved = []
    for scale in (1e-4, 1e4):
        kernel = nn.Parameter(torch.zeros(4, 3, 3, 3))
        optimizer = Muon([kernel], **SETTINGS)
        for seed in range(3):
            generator = torch.Generator().manual_seed(seed)
            kernel.grad = scale * torch.randn(kernel.shape, generator=generator)
            optimizer.step()
        moved.append(kernel.detach())
    torch.testing.assert_close(*moved, atol=1e-5, rtol=1e-3)


def test_other_parameters_are_stepped_as_by_adam():
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 6).view(2, 3)) for _ in range(2))
    optimizers = (
        Muon([ours], **SETTINGS),
        torch.optim.Adam([theirs], lr=SETTINGS["adam_lr"], betas=SETTINGS["betas"]),
    )
    for step in range(5):
        for p, optimizer in zip((ours, theirs), optimizers, strict=True):
            p.grad = torch.randn(2, 3, generator=torch.Generator().manual_seed(step))
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_parameters_without_gradient_stay():
    used, idle = nn.Parameter(torch.ones(2, 2, 1, 1)), nn.Parameter(torch.ones(2, 2, 1, 1))
    used.grad = torch.ones_like(used)
    Muon([used, idle], **SETTINGS).step()
    assert (idle == 1).all()
    assert not (used == 1).any()


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path):
    model = network()
    optimizer = Muon(model.parameters(), **SETTINGS)
    descend(model, optimizer, 3)
    torch.save([model.state_dict(), optimizer.state_dict()], tmp_path / "state.pt")
    expected = descend(model, optimizer, 3)
    again = network()
    resumed = Muon(again.parameters(), **SETTINGS)
    weights, state = torch.load(tmp_path / "state.pt", weights_only=True)
    again.load_state_dict(weights)
    resumed.load_state_dict(state)
    assert descend(again, resumed, 3) == expected


def test_it_learns():
    model = network()
    losses = descend(model, Muon(model.parameters(), **SETTINGS | {"lr": 0.02}), 60)
    assert losses[-1] < 0.3 * losses[0]


def test_the_rate_of_each_kind_follows_a_schedule():
    model = network()
    optimizer = Muon(model.parameters(), **SETTINGS)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    assert schedule.get_last_lr() == [0.05, 0.005]
    kinds = [{p.ndim for p in group["params"]} for group in optimizer.param_groups]
    assert kinds == [{4}, {1}]
