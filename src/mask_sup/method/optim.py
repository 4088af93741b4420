"""Muon: momentum whose steps are orthogonal matrices."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Muon", "orthogonalised"]

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # the coefficients of Jordan et al.
ITERATIONS = 5


def orthogonalised(matrix: Float[Tensor, "*n r c"]) -> Float[Tensor, "*n r c"]:
    """Nearly the orthogonal factor U V^T of matrices U S V^T, by a Newton-Schulz iteration.

    Singular values come out between about 0.7 and 1.2, which serves as well as 1. Each step takes
    X to Q(G) X with a polynomial Q of the Gram matrix G = X X^T, which becomes Q G Q: so G alone is
    iterated, on the smaller side, and X is multiplied once, by the product of all Q.
    """
    wide = matrix if matrix.shape[-2] <= matrix.shape[-1] else matrix.mT
    x = wide.reshape(-1, *wide.shape[-2:])
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    a, b, c = NEWTON_SCHULZ
    gram, product = x @ x.mT, None
    for left in reversed(range(ITERATIONS)):
        step = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        step.diagonal(dim1=-2, dim2=-1).add_(a)
        product = step if product is None else step @ product
        if left:
            gram = step @ gram @ step
    x = (product @ x).reshape(wide.shape)
    return x if wide is matrix else x.mT


class Muon(torch.optim.Optimizer):
    """Muon for the weights of convolutions, Adam for all other parameters.

    Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024). Every singular
    direction of a layer moves equally far in a step, so that small networks learn from far fewer
    steps than with Adam. `torch.optim.Muon` takes matrices alone, no convolutions.

    Args:
        params: Parameters; those with four axes take Muon's steps.
        lr: Length of Muon's steps: the spectral norm by which a square matrix moves.
        momentum: Of Muon's running mean of gradients (Nesterov).
        adam_lr: Learning rate of Adam.
        betas: Of Adam.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        momentum: float,
        adam_lr: float,
        betas: Sequence[float],
    ):
        params = list(params)
        super().__init__(
            [
                {"params": [p for p in params if p.ndim == 4], "lr": lr, "momentum": momentum},
                {"params": [p for p in params if p.ndim != 4], "lr": adam_lr, "betas": betas},
            ],
            {},
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both kinds."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            (self._muon if "momentum" in group else self._adam)(params, group)
        return loss

    def _muon(self, params: list[nn.Parameter], group: dict[str, Any]) -> None:
        alike: dict[torch.Size, list[tuple[nn.Parameter, Tensor]]] = {}
        for p in params:
            state = self.state[p]
            if not state:
                state["mean"] = torch.zeros_like(p)
            state["mean"].lerp_(p.grad, 1 - group["momentum"])
            ahead = p.grad.lerp(state["mean"], group["momentum"]).flatten(1)
            alike.setdefault(ahead.shape, []).append((p, ahead))
        for (rows, columns), pairs in alike.items():  # layers of one shape share the iteration
            length = group["lr"] * max(1.0, rows / columns) ** 0.5
            steps = orthogonalised(torch.stack([ahead for _, ahead in pairs]))
            for (p, _), step in zip(pairs, steps, strict=True):
                p.sub_(step.view(p.shape), alpha=length)

    def _adam(self, params: list[nn.Parameter], group: dict[str, Any]) -> None:
        first, second = group["betas"]
        for p in params:
            state = self.state[p]
            if not state:
                state["step"] = torch.zeros(())
                state["mean"], state["square"] = torch.zeros_like(p), torch.zeros_like(p)
            state["step"] += 1
            step = int(state["step"])
            state["mean"].lerp_(p.grad, 1 - first)
            state["square"].lerp_(p.grad.square(), 1 - second)
            scale = (state["square"] / (1 - second**step)).sqrt_().add_(1e-8)
            p.addcdiv_(state["mean"], scale, value=-group["lr"] / (1 - first**step))
