"""theta: landmarks to joints by labels, the supervised post-processing (SPP) of sec. 3.3.

A landmark detector need not know what its points are called. SPP learns, from the labels of the
*training* split, a map theta from its L landmarks to the J labelled joints: linear, or a network of
two hidden layers, L x 3 -> J x 3 for poses and L x 2 -> J x 2 for pictures. Both sides are in crop
coordinates, z about the root of the labels, so that a mapped detection is placed in space just as
any other is. What theta gives is no result of masks alone; every figure of it says so.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Theta", "fit_hidden", "fit_linear", "fit_theta"]

Map = Callable[[Tensor], Tensor]
SEED = 0  # of the network's weights and batches: theta is a function of its landmarks and labels


class Theta(NamedTuple):
    """A map for poses and one for pictures."""

    space: Map
    """(..., L, 3) landmarks -> (..., J, 3) joints in crop coordinates."""
    plane: Map
    """(..., L, 2) landmarks -> (..., J, 2) joints in crop coordinates."""


def fit_theta(
    kind: str,
    landmarks: Float[Tensor, "n l 3"],
    joints: Float[Tensor, "n j 3"],
    settings: Mapping[str, Any],
) -> Theta:
    """Both maps of one kind.

    Args:
        kind: `linear` or `hidden`.
        landmarks: Detections in views of the training split, crop coordinates.
        joints: Their labels (`crop_targets`); NaN where unknown.
        settings: Of the network, see `fit_hidden`.

    Raises:
        ValueError: If the kind is unknown, or there are too few labels.
    """
    if kind == "linear":
        return Theta(*(fit_linear(landmarks[..., :d], joints[..., :d]) for d in (3, 2)))
    if kind == "hidden":
        return Theta(*(fit_hidden(landmarks[..., :d], joints[..., :d], **settings) for d in (3, 2)))
    raise ValueError(f"theta is linear or hidden, not {kind!r}")


def fit_linear(landmarks: Float[Tensor, "n l d"], joints: Float[Tensor, "n j d"]) -> Map:
    """The affine map with the least squared error; each joint from where it is labelled.

    Where the landmarks leave it open (a coordinate that never changes), it is the smallest one; a
    joint that is never labelled is mapped to NaN.

    Raises:
        ValueError: If a joint is labelled less often than the map has coefficients.
    """
    inputs, joints = _design(landmarks), joints.cpu().double()
    known = ~joints.isnan().any(-1)
    _refuse_few(known, inputs.shape[1])
    matrix = torch.full((inputs.shape[1], *joints.shape[1:]), torch.nan, dtype=torch.float64)
    for pattern in known[:, known.any(0)].T.unique(dim=0):  # joints labelled in the same views
        which = (pattern == known.T).all(1)
        wanted = joints[pattern][:, which].flatten(1)
        solved = torch.linalg.lstsq(inputs[pattern], wanted, driver="gelsd").solution
        matrix[:, which] = solved.reshape(len(matrix), -1, joints.shape[-1])

    def theta(points: Tensor) -> Tensor:
        flat = _design(points.reshape(-1, *landmarks.shape[1:])) @ matrix.flatten(1)
        return flat.reshape(*points.shape[:-2], *joints.shape[1:]).to(points)

    return theta


def _design(landmarks: Tensor) -> Tensor:
    """Rows of coordinates and a one, in float64 on the CPU."""
    flat = landmarks.cpu().double().flatten(1)
    return torch.cat([flat, torch.ones_like(flat[:, :1])], 1)


def _refuse_few(known: Tensor, needed: int) -> None:
    counts = known.sum(0)
    least = int(counts.where(counts > 0, counts.max()).min())  # a joint without labels stays NaN
    if least < needed:
        raise ValueError(
            f"theta has {needed} coefficients a coordinate, and a joint is labelled in {least} "
            "views of the training split alone: give it more labelled moments, or fewer landmarks"
        )


def fit_hidden(
    landmarks: Float[Tensor, "n l d"],
    joints: Float[Tensor, "n j d"],
    hidden: int,
    steps: int,
    batch: int,
    lr: float,
) -> Map:
    """A network of two hidden layers, by Adam on the squared error of what is labelled.

    Args:
        landmarks: Inputs; their mean and spread are taken out first.
        joints: Targets; NaN where unknown.
        hidden: Units of each hidden layer.
        steps: Of the optimiser; the rate falls to zero over them.
        batch: Views a step.
        lr: Rate of the first step.

    Raises:
        ValueError: If a joint is labelled less often than a linear map has coefficients.
    """
    flat, target = landmarks.cpu().float().flatten(1), joints.cpu().float().flatten(1)
    _refuse_few(~joints.isnan().any(-1), flat.shape[1] + 1)
    mean, spread = flat.mean(0), flat.std(0).clamp_min(torch.finfo(flat.dtype).eps)
    middle = target.nanmean(0)
    known, wanted = ~target.isnan(), (target - middle).nan_to_num()
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(SEED)
        network = nn.Sequential(
            nn.Linear(flat.shape[1], hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, target.shape[1]),
        )  # fmt: skip
        optimizer = torch.optim.Adam(network.parameters(), lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        inputs = ((flat - mean) / spread).clone()
        for _ in range(steps):
            rows = torch.randint(len(inputs), (batch,))
            off = (network(inputs[rows]) - wanted[rows])[known[rows]]
            optimizer.zero_grad()
            off.square().mean().backward()
            optimizer.step()
            schedule.step()
    network.requires_grad_(False)

    def theta(points: Tensor) -> Tensor:
        rows = points.reshape(-1, flat.shape[1]).cpu().float()
        found = network((rows - mean) / spread) + middle
        return found.reshape(*points.shape[:-2], *joints.shape[1:]).to(points)

    return theta
