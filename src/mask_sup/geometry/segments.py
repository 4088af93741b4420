"""Soft skeletons in closed form: the Skeleton Mask (Eq. 4-5) and the Gaussian baseline (Eq. 3).

A bone map is exp(-d^2 / width^2) with d the distance to a segment. Both merges need only a running
minimum or sum over bones in the forward pass. By the envelope theorem the gradient of d^2 at the
ends a, c of a segment is -2 (1 - t) r and -2 t r, with r the vector from the closest point to the
pixel and t that point's place on the segment, so nothing per bone and pixel is kept for autograd:
memory is O(pixels), not O(bones x pixels).
"""

from collections.abc import Iterator
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Merge", "draw_segments"]

Merge = Literal["max", "sum"]
TINY = 1e-12
NOTHING = 1e-9  # a value whose pixel pulls at no segment: less than float32 can add to the others
FARTHEST = 80.0  # squared widths: beyond 87 exp is no normal float32, and 30 times slower
CHUNK_PIXELS = (
    1 << 18
)  # crops are drawn in chunks of about this many pixels: scratch stays in cache


def draw_segments(
    ends: Float[Tensor, "*n b 2 2"],
    width: Float[Tensor, "*n b"] | Float[Tensor, " b"],
    size: int,
    merge: Merge = "max",
    power: int = 1,
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
        power: A profile exp(-(d / width)^(2 power)), flatter and with a harder edge above 1; `max`
            alone has others than 1.

    Returns:
        The mask, differentiable once with respect to `ends`.

    Raises:
        ValueError: If `merge` is neither, or there is nothing to draw.
    """
    if merge not in ("max", "sum"):
        raise ValueError(f"merge is 'max' or 'sum', not {merge!r}")
    if ends.shape[-3] == 0:
        raise ValueError("no segments to draw: name at least one bone group")
    if power != 1 and merge == "sum":
        raise ValueError(f"power={power} goes with merge='max'")
    flat = ends.reshape(-1, *ends.shape[-3:])
    width = width.expand(ends.shape[:-2]).reshape(flat.shape[:2])
    with torch.autocast(ends.device.type, enabled=False):
        flat = flat.to(torch.promote_types(flat.dtype, torch.float32))
        if merge == "max":
            mask = _MaxLines.apply(flat, width, size, power)
        else:
            mask = _SumLines.apply(flat, width, size)
    return mask.reshape(*ends.shape[:-3], size, size)


def _pixel_centres(size: int, like: Tensor) -> Tensor:
    return (torch.arange(size, device=like.device, dtype=like.dtype) * 2 + 1) / size - 1


def _chunks(count: int, size: int) -> list[slice]:
    step = max(1, CHUNK_PIXELS // (size * size))
    return [slice(i, i + step) for i in range(0, count, step)]


def _terms(ends: Tensor, inverse_width: Tensor, size: int) -> list[Tensor]:
    """What `_residual` adds up for each segment, in units of its width: (b n 1|h 1|w) each."""
    centres = _pixel_centres(size, ends)
    inverse = inverse_width.T[..., None, None]  # b n 1 1
    first, last = (end[..., None, None, :] for end in ends.transpose(0, 1).unbind(2))
    a, u = first * inverse[..., None], (last - first) * inverse[..., None]
    slope = u / (u * u).sum(-1, keepdim=True).clamp_min(TINY)
    from_x, from_y = centres * inverse - a[..., 0], centres[:, None] * inverse - a[..., 1]
    return [from_x * slope[..., 0], from_y * slope[..., 1], from_x, from_y, u[..., 0], u[..., 1]]


def _segments(terms: list[Tensor], part: slice) -> Iterator[tuple[Tensor, ...]]:
    """Of each segment what it takes to draw it into some crops."""
    return zip(*(term[:, part].unbind() for term in terms), strict=True)


def _residual(segment: tuple[Tensor, ...], t: Tensor, rx: Tensor, ry: Tensor) -> None:
    """Fill in the place on a segment (t) and the vector from there to each pixel (rx, ry)."""
    along_x, along_y, from_x, from_y, ux, uy = segment
    torch.add(along_x, along_y, out=t).clamp_(0, 1)
    torch.addcmul(from_x, t, ux, value=-1, out=rx)
    torch.sub(from_y, torch.mul(t, uy, out=ry), out=ry)  # addcmul is slow on two columns


class _MaxLines(torch.autograd.Function):
    """exp(-min_b (d_b^2 / width_b^2)^power); keeps each pixel's value and nearest segment."""

    @staticmethod
    def forward(ctx, ends, width, size, power):
        n, inverse = len(ends), (1 / width).to(ends.dtype)
        terms = _terms(ends, inverse, size)
        asked = ctx.needs_input_grad[0]
        value = torch.full((n, size, size), torch.inf, dtype=ends.dtype, device=ends.device)
        nearest = torch.zeros_like(value if asked else value[:0])  # a float: of its own kind, fast
        for part in _chunks(n, size):
            best, which = value[part], nearest[part]
            t, rx, ry = (torch.empty_like(best) for _ in range(3))
            for b, segment in enumerate(_segments(terms, part)):
                _residual(segment, t, rx, ry)
                squared = rx.mul_(rx).addcmul_(ry, ry)
                if asked and b > 0:  # numbers rise: the last that came nearer is the nearest
                    torch.maximum(which, torch.lt(squared, best, out=t).mul_(b), out=which)
                torch.minimum(best, squared, out=best)  # minimum, so that NaN is not hidden
            if power != 1:
                best.pow_(power)
            best.clamp_(max=FARTHEST).neg_().exp_()
        ctx.save_for_backward(ends, inverse, value, nearest)
        ctx.power = power
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        ends, inverse, value, nearest = ctx.saved_tensors
        (n, bones), size = ends.shape[:2], value.shape[-1]
        # Pixels far from every segment pull at none: those that are left are few.
        pixel = value.lt(NOTHING).logical_not_().flatten().nonzero().squeeze(1)
        crop = pixel // size**2
        pull, height, segment = (v.flatten().index_select(0, pixel) for v in (grad, value, nearest))
        segment = segment.long().add_(crop, alpha=bones)
        a, u = ends[:, :, 0], ends[:, :, 1] - ends[:, :, 0]
        u = u * inverse[..., None]
        told = torch.cat([a, u, (u * u).sum(-1, True).clamp_min(TINY), inverse[..., None]], -1)
        ax, ay, ux, uy, length, per_width = told.flatten(0, 1).T.index_select(1, segment)
        centres, place = _pixel_centres(size, ends), pixel.sub_(crop, alpha=size**2)
        rx = centres.repeat(size).index_select(0, place).sub_(ax).mul_(per_width)
        ry = centres.repeat_interleave(size).index_select(0, place).sub_(ay).mul_(per_width)
        t = (rx * ux).addcmul_(ry, uy).div_(length).clamp_(0, 1)
        rx.addcmul_(t, ux, value=-1)
        ry.addcmul_(t, uy, value=-1)
        # d value / d a = value * power (r^2)^(power - 1) * 2 (1 - t) r / width, r in widths.
        pull.mul_(height).mul_(per_width).mul_(2 * ctx.power)
        if ctx.power != 1:
            pull.mul_((rx * rx).addcmul_(ry, ry).pow_(ctx.power - 1))
        towards = torch.stack([rx, ry]).mul_(pull)
        towards_c = towards * t
        towards_a = towards.sub_(towards_c)
        out = torch.zeros(4, n * bones, dtype=ends.dtype, device=ends.device)
        for k, g in enumerate((*towards_a, *towards_c)):
            out[k].scatter_add_(0, segment, g)
        return out.T.reshape(n, bones, 2, 2), None, None, None


class _SumLines(torch.autograd.Function):
    """sum_b exp(-d_b^2 / width_b^2); the backward pass recomputes each bone map."""

    @staticmethod
    def forward(ctx, ends, width, size):
        n, inverse = len(ends), (1 / width).to(ends.dtype)
        terms = _terms(ends, inverse, size)
        value = torch.zeros(n, size, size, dtype=ends.dtype, device=ends.device)
        for part in _chunks(n, size):
            t, rx, ry = (torch.empty_like(value[part]) for _ in range(3))
            for segment in _segments(terms, part):
                _residual(segment, t, rx, ry)
                squared = rx.mul_(rx).addcmul_(ry, ry).clamp_(max=FARTHEST)
                value[part] += squared.neg_().exp_()
        ctx.save_for_backward(ends, inverse)
        ctx.size = size
        return value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        ends, inverse = ctx.saved_tensors
        terms = _terms(ends, inverse, ctx.size)
        out = torch.empty_like(ends)
        for part in _chunks(len(ends), ctx.size):
            t, rx, ry, pull = (torch.empty_like(grad[part]) for _ in range(4))
            for b, segment in enumerate(_segments(terms, part)):
                _residual(segment, t, rx, ry)
                torch.mul(rx, rx, out=pull).addcmul_(ry, ry).clamp_(max=FARTHEST).neg_().exp_()
                pull.mul_(grad[part]).mul_(2 * inverse[part, b, None, None])
                for axis, r in enumerate((rx.mul_(pull), ry.mul_(pull))):
                    towards_c = (r * t).sum((-1, -2))
                    out[part, b, 0, axis] = r.sum((-1, -2)) - towards_c
                    out[part, b, 1, axis] = towards_c
        return out, None, None
