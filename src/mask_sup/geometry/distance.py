"""Distances in space."""

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["segment_distance"]

TINY = 1e-6


def segment_distance(
    a: Float[Tensor, "*n 3"],
    b: Float[Tensor, "*n 3"],
    c: Float[Tensor, "*n 3"],
    d: Float[Tensor, "*n 3"],
) -> Float[Tensor, "*n"]:
    """Shortest distance of the segments a-b and c-d, in their unit; differentiable in the ends.

    The closest points are found without gradient (Ericson, Real-Time Collision Detection, 5.1.9);
    by the envelope theorem the distance of two points at fixed shares has the right one.
    """
    with torch.no_grad():
        u, v, w = b - a, d - c, a - c
        uu, vv = u.square().sum(-1).clamp_min(TINY), v.square().sum(-1).clamp_min(TINY)
        uv, uw, vw = (u * v).sum(-1), (u * w).sum(-1), (v * w).sum(-1)
        apart = uu * vv - uv.square()
        s = torch.where(apart > TINY * uu * vv, (uv * vw - uw * vv) / apart.clamp_min(TINY), 0.0)
        t = ((uv * s.clamp(0, 1) + vw) / vv).clamp(0, 1)
        s = ((uv * t - uw) / uu).clamp(0, 1)
        s, t = s.unsqueeze(-1), t.unsqueeze(-1)
    return (torch.lerp(a, b, s) - torch.lerp(c, d, t)).square().sum(-1).add(TINY).sqrt()
