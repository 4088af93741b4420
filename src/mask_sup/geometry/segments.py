"""Soft skeletons in closed form: the Skeleton Mask (Eq. 4-5) and the Gaussian baseline (Eq. 3).

A bone map is exp(-d^2 / width^2) with d the distance to a segment. Both merges need only a running
minimum or sum over bones in the forward pass. By the envelope theorem the gradient of d^2 at the
ends a, c of a segment is -2 (1 - t) r and -2 t r, with r the vector from the closest point to the
pixel and t that point's place on the segment, so nothing per bone and pixel is kept for autograd:
memory is O(pixels), not O(bones x pixels).
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Merge", "draw_segments"]

Merge = Literal["max", "sum"]
TINY = 1e-12
FARTHEST = 80.0  # squared widths: beyond 87 exp is no normal float32, and 30 times slower
CHUNK_PIXELS = (
    1 << 17
)  # crops are drawn in chunks of about this many pixels: scratch stays in cache


def draw_segments(
    ends: Float[Tensor, "*n b 2 2"],
    width: Float[Tensor, "*n b"] | Float[Tensor, " b"],
    size: int,
    merge: Merge = "max",
) -> Float[Tensor, "*n {size} {size}"]:
    """Draw soft line segments and merge them into one mask (Eq. 4-5).

    Convention: crop coordinates, [-1, 1] = the outer edges; the centre of column c of `size` is at
    (2c + 1) / size - 1. A pixel centre on a segment has the value 1, one at distance `width` 1/e.

    Args:
        ends: Both ends (x, y) of each segment. Ends may coincide (a point) and may lie outside.
        width: Width (sigma) of each segment, crop units, above 0; the same for all masks, or apart.
        size: Side of the square mask, pixels.
        merge: `max` keeps the nearest segment, values in [0, 1]; `sum` adds all (the paper's
            Eq. 5), which exceeds 1 where segments meet.

    Returns:
        The mask, differentiable once with respect to `ends`.

    Raises:
        ValueError: If `merge` is neither, or there is nothing to draw.
    """
    if merge not in ("max", "sum"):
        raise ValueError(f"merge is 'max' or 'sum', not {merge!r}")
    if ends.shape[-3] == 0:
        raise ValueError("no segments to draw: name at least one bone group")
    flat = ends.reshape(-1, *ends.shape[-3:])
    width = width.expand(ends.shape[:-2]).reshape(flat.shape[:2])
    with torch.autocast(ends.device.type, enabled=False):
        function = _MaxLines if merge == "max" else _SumLines
        mask = function.apply(flat.to(torch.promote_types(flat.dtype, torch.float32)), width, size)
    return mask.reshape(*ends.shape[:-3], size, size)


def _pixel_centres(size: int, like: Tensor) -> Tensor:
    return (torch.arange(size, device=like.device, dtype=like.dtype) * 2 + 1) / size - 1


def _chunks(count: int, size: int) -> list[slice]:
    step = max(1, CHUNK_PIXELS // (size * size))
    return [slice(i, i + step) for i in range(0, count, step)]


class _Segment:
    """One segment in a chunk of crops, in units of its width: fills caller-owned buffers."""

    def __init__(self, ends: Tensor, inverse_width: Tensor, x: Tensor, y: Tensor):
        a, u = ends[:, 0] * inverse_width, (ends[:, 1] - ends[:, 0]) * inverse_width
        slope = u / (u * u).sum(-1, keepdim=True).clamp_min(TINY)
        self.from_x = x * inverse_width - a[:, 0, None]  # n w
        self.from_y = y * inverse_width - a[:, 1, None]  # n h
        self.along_x = (self.from_x * slope[:, 0, None])[:, None, :]
        self.along_y = (self.from_y * slope[:, 1, None])[:, :, None]
        self.u = u

    def residual(self, t: Tensor, rx: Tensor, ry: Tensor) -> None:
        """Place on the segment (t) and vector from there to each pixel (rx, ry)."""
        torch.add(self.along_x, self.along_y, out=t).clamp_(0, 1)
        torch.addcmul(self.from_x[:, None, :], t, self.u[:, 0, None, None], value=-1, out=rx)
        torch.addcmul(self.from_y[:, :, None], t, self.u[:, 1, None, None], value=-1, out=ry)


class _MaxLines(torch.autograd.Function):
    """exp(-min_b d_b^2 / width_b^2); keeps the value and the nearest segment of each pixel."""

    @staticmethod
    def forward(ctx, ends, width, size):
        n, bones = ends.shape[:2]
        inverse = (1 / width).to(ends.dtype)
        centres = _pixel_centres(size, ends)
        nearest = torch.empty(n, size, size, dtype=torch.uint8, device=ends.device)
        value = torch.empty(n, size, size, dtype=ends.dtype, device=ends.device)
        for part in _chunks(n, size):
            best, which = value[part], nearest[part]
            t, rx, ry = (torch.empty_like(best) for _ in range(3))
            for b in range(bones):
                _Segment(ends[part, b], inverse[part, b, None], centres, centres).residual(
                    t, rx, ry
                )
                squared = rx.mul_(rx).addcmul_(ry, ry)
                if b == 0:
                    best.copy_(squared)
                    which.zero_()
                else:
                    which.masked_fill_(squared < best, b)
                    torch.minimum(best, squared, out=best)  # minimum, so that NaN is not hidden
            best.clamp_(max=FARTHEST).neg_().exp_()
        ctx.save_for_backward(ends, inverse, value, nearest)
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        ends, inverse, value, nearest = ctx.saved_tensors
        n, bones = ends.shape[:2]
        size = value.shape[-1]
        out = torch.zeros(n, 4, bones, dtype=ends.dtype, device=ends.device)
        centres = _pixel_centres(size, ends)
        for part in _chunks(n, size):
            index = nearest[part].flatten(1).long()
            scaled = ends[part] * inverse[part, :, None, None]
            a, u = scaled[:, :, 0], scaled[:, :, 1] - scaled[:, :, 0]
            length = (u * u).sum(-1).clamp_min(TINY)
            ax, ay, ux, uy, inverse_length = (
                v.gather(1, index) for v in (a[..., 0], a[..., 1], u[..., 0], u[..., 1], 1 / length)
            )
            per_width = inverse[part].gather(1, index)
            rx = centres.repeat(size) * per_width - ax
            ry = centres.repeat_interleave(size) * per_width - ay
            t = ((rx * ux + ry * uy) * inverse_length).clamp_(0, 1)
            rx.addcmul_(t, ux, value=-1)
            ry.addcmul_(t, uy, value=-1)
            # d value / d a = value * 2 (1 - t) r / width, with r in units of the width.
            pull = (grad[part] * value[part]).flatten(1) * (2 * per_width)
            gx, gy = rx.mul_(pull), ry.mul_(pull)
            gx_c, gy_c = gx * t, gy * t
            for k, g in enumerate((gx - gx_c, gy - gy_c, gx_c, gy_c)):
                out[part, k].scatter_add_(1, index, g)
        return out.mT.reshape(n, bones, 2, 2), None, None


class _SumLines(torch.autograd.Function):
    """sum_b exp(-d_b^2 / width_b^2); the backward pass recomputes each bone map."""

    @staticmethod
    def forward(ctx, ends, width, size):
        n, bones = ends.shape[:2]
        inverse = (1 / width).to(ends.dtype)
        centres = _pixel_centres(size, ends)
        value = torch.zeros(n, size, size, dtype=ends.dtype, device=ends.device)
        for part in _chunks(n, size):
            t, rx, ry = (torch.empty_like(value[part]) for _ in range(3))
            for b in range(bones):
                _Segment(ends[part, b], inverse[part, b, None], centres, centres).residual(
                    t, rx, ry
                )
                squared = rx.mul_(rx).addcmul_(ry, ry).clamp_(max=FARTHEST)
                value[part] += squared.neg_().exp_()
        ctx.save_for_backward(ends, inverse)
        ctx.size = size
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        ends, inverse = ctx.saved_tensors
        centres = _pixel_centres(ctx.size, ends)
        out = torch.empty_like(ends)
        for part in _chunks(len(ends), ctx.size):
            t, rx, ry, pull = (torch.empty_like(grad[part]) for _ in range(4))
            for b in range(ends.shape[1]):
                _Segment(ends[part, b], inverse[part, b, None], centres, centres).residual(
                    t, rx, ry
                )
                torch.mul(rx, rx, out=pull).addcmul_(ry, ry).clamp_(max=FARTHEST).neg_().exp_()
                pull.mul_(grad[part]).mul_(2 * inverse[part, b, None, None])
                for axis, r in enumerate((rx.mul_(pull), ry.mul_(pull))):
                    towards_c = (r * t).sum((-1, -2))
                    out[part, b, 0, axis] = r.sum((-1, -2)) - towards_c
                    out[part, b, 1, axis] = towards_c
        return out, None, None
