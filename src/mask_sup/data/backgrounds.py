"""People of training crops before other backgrounds: the way to a detector of unmasked pictures.

A person is cut out by the soft mask and pasted before another crop of the batch, whose own person
stands aside or is taken out of it, or before a painted room. A share of the crops stays as it is,
so that no detector can go by how an edge was cut. Pictures and masks alone are read.
"""

from functools import lru_cache

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from mask_sup.data.rooms import painted_room
from mask_sup.geometry.batch import Views

__all__ = ["PastedBackgrounds", "cut_out", "emptied", "moved"]

ROOMS = 256  # painted once for a training
GRAIN = {4: 0.12, 16: 0.09, 64: 0.06}  # cells along a side -> most that a room's colours spread
ASIDE = (0.35, 0.65)  # sides of the crop that what is behind goes left or right: people make room
ALONG = 0.1  # sides of the crop that it goes up or down at most
ZOOM = 1.3  # it is magnified by at most this, or made as much smaller
MARGIN = 2  # pixels of the mask around a person that are taken out with it
RIM = 1  # pixels of the mask at its edge, whose colours are mixed with the background's
SURE = 0.98  # of the mask, in a pixel and as far as the rim goes: colours of the person alone
NEAR = {"kernel_size": 6, "stride": 2, "padding": 2}  # pixels of which a rim takes the mean colour
MIXED = 4  # power of the mask by which colours count where none is sure: mixed ones hardly do
FULL, TINY = 0.25, 1e-6  # of a pixel that has to be left to count in full; against nothing left


class PastedBackgrounds:
    """Backgrounds drawn anew for the crops of every step.

    Args:
        own: Share of the crops that stay as they are.
        painted: Share before painted rooms; the rest is before other crops of the batch.
        people: Share of those other crops in which their own person stands.
        seed: Of the painted rooms.

    Raises:
        ValueError: If a share is not between 0 and 1, or own and painted together are more than 1.
    """

    def __init__(self, own: float, painted: float, people: float, seed: int):
        if min(own, painted, people) < 0 or max(own + painted, people) > 1:
            raise ValueError(
                f"data.pasted: expected shares from 0 to 1, own and painted together at most 1, "
                f"got own={own}, painted={painted}, people={people}"
            )
        self.own, self.painted, self.people, self.seed = own, painted, people, seed

    def __call__(self, views: Views, generator: torch.Generator) -> Float[Tensor, "n v 3 h w"]:
        """The pictures of a batch, people before what is drawn; beyond a picture's end stays."""
        n, v = views.image.shape[:2]
        crops, masks, weights = (part.flatten(0, 1) for part in views[:3])
        chance, moment, view, alone, *places = torch.rand(8, n * v, generator=generator)
        pasted = chance >= self.own
        indoors = pasted & (chance >= 1 - self.painted)
        before, painted = (which.nonzero()[:, 0] for which in (pasted & ~indoors, indoors))
        other = _others(n, v, moment, view)[before]
        gone = (alone[before] >= self.people).to(crops)[:, None, None, None]
        rooms = self._rooms(len(painted), crops.shape[-1], generator).to(crops)
        behind = torch.cat([emptied(crops[other], masks[other, None] * gone), rooms])
        at = torch.cat([before, painted])
        behind = moved(behind, *(numbers[at].to(crops) for numbers in places))
        seen = crops[at]
        person, share = cut_out(seen, masks[at, None])
        beyond = F.interpolate(weights[at, None], crops.shape[-2:]) == 0
        image = crops.clone()
        image[at] = behind.lerp(person, share).where(~beyond | ~_black(seen), seen)
        return image.view_as(views.image)

    def _rooms(self, count: int, size: int, generator: torch.Generator) -> Float[Tensor, "k 3 h w"]:
        """So many of the painted rooms, each with a texture of its own."""
        which = torch.randint(ROOMS, (count,), generator=generator)
        rooms = _painted_rooms(self.seed, size)[which].float() / 255
        strength = torch.rand(count, 1, 1, 1, generator=generator).square()
        grain = torch.zeros(count, 3, 1, 1)
        for cells, spread in GRAIN.items():
            more = torch.randn(count, 3, cells, cells, generator=generator)
            grain = _resized(grain, cells) + spread * strength * more
        return (rooms + _resized(grain, size)).clamp(0, 1)


@lru_cache(maxsize=1)
def _painted_rooms(seed: int, size: int) -> UInt8[Tensor, "k 3 h w"]:
    """All rooms of a training, RGB."""
    rng = np.random.default_rng(seed)
    rooms = [cv2.resize(painted_room(rng), (size, size)) for _ in range(ROOMS)]
    return torch.from_numpy(np.stack(rooms)[..., ::-1].astype(np.uint8)).movedim(-1, 1).contiguous()


def _others(
    n: int, v: int, moment: Float[Tensor, " places"], view: Float[Tensor, " places"]
) -> Int[Tensor, " places"]:
    """For each crop the place of one of another moment, or of the same where there is no other.

    Args:
        n: Moments of the batch.
        v: Views of each.
        moment: Numbers in [0, 1): which of the other moments.
        view: Numbers in [0, 1): which of its views.
    """
    further = 1 + (moment * (n - 1)).long()
    return (torch.arange(n * v) // v + further) % n * v + (view * v).long()


def moved(
    pictures: Float[Tensor, "k 3 h w"],
    turn: Float[Tensor, " k"],
    zoom: Float[Tensor, " k"],
    across: Float[Tensor, " k"],
    along: Float[Tensor, " k"],
) -> Float[Tensor, "k 3 h w"]:
    """Pictures moved aside, so that what is in their middle leaves it; half of them in a mirror.

    All are drawn by numbers in [0, 1). What comes in at the border is the picture in a mirror.
    """
    least, most = ASIDE
    size, side = pictures.shape[-1], 2 * across - 1
    line = (2 * torch.arange(size, device=pictures.device) + 1) / size - 1
    by = (zoom.new_tensor(ZOOM) ** (1 - 2 * zoom))[:, None]  # of a pixel, in those of the picture
    aside = 2 * torch.where(side < 0, -1.0, 1.0) * (least + (most - least) * side.abs())
    x = by * line * torch.where(turn < 0.5, -1.0, 1.0)[:, None] + aside[:, None]
    y = by * line + 2 * ALONG * (2 * along - 1)[:, None]
    shape = (len(pictures), size, size)
    grid = torch.stack([x[:, None].expand(shape), y[:, :, None].expand(shape)], -1)
    return F.grid_sample(pictures, grid, padding_mode="reflection", align_corners=False)


def emptied(
    crops: Float[Tensor, "k 3 h w"], masks: Float[Tensor, "k 1 hm wm"]
) -> Float[Tensor, "k 3 h w"]:
    """Crops without people and without ends: the colours around run into where those were."""
    coarse = _resized(crops, masks.shape[-1])
    gone = masks.where(~_black(coarse), 1.0)
    left = 1 - _grown(gone, MARGIN)
    filled = _filled(coarse * left, left)
    return _resized(filled, crops.shape[-1]).lerp(crops, _resized(left, crops.shape[-1]))


def _filled(
    colours: Float[Tensor, "k 3 h w"], left: Float[Tensor, "k 1 h w"]
) -> Float[Tensor, "k 3 h w"]:
    """Colours, times how much is left of each, completed by those of the picture at half its size.

    Pull and push (Gortler et al. 1996, The Lumigraph).
    """
    size = colours.shape[-1]
    if size == 1:
        return colours
    half, there = (F.avg_pool2d(part, 2, ceil_mode=True) for part in (colours, left))
    known = (there / FULL).clamp(max=1)
    coarse = _filled(half / there.clamp(min=TINY) * known, known)
    return colours + (1 - left) * _resized(coarse, size)


def cut_out(
    crops: Float[Tensor, "k 3 h w"], masks: Float[Tensor, "k 1 hm wm"]
) -> tuple[Float[Tensor, "k 3 h w"], Float[Tensor, "k 1 h w"]]:
    """People's colours, without those of the background in their edges, and their share.

    A picture's colours run into each other at an edge, even where the mask is sure already. So they
    are taken from a pixel of the mask further in; limbs that are too thin for that keep theirs. A
    mask that is coarser than the picture is made as sharp as one of the picture's size would be.
    """
    size, finer = crops.shape[-1], max(1.0, crops.shape[-1] / masks.shape[-1])
    core = (_grown(1 - masks, RIM) < 1 - SURE).to(masks)
    sure = core.where(_grown(core, 2 * RIM) > 0, masks**MIXED)
    colours, there = (
        _resized(F.avg_pool2d(part, **NEAR), size)
        for part in (_resized(crops, masks.shape[-1]) * sure, sure)
    )
    person = (colours / there.clamp(min=TINY)).lerp(crops, _resized(sure, size))
    return person, (finer * (_resized(masks, size) - 0.5) + 0.5).clamp(0, 1)


def _grown(masks: Float[Tensor, "k 1 h w"], by: int) -> Float[Tensor, "k 1 h w"]:
    """Masks with a margin of so many pixels."""
    return F.max_pool2d(masks, 2 * by + 1, 1, by)


def _black(crops: Float[Tensor, "k 3 h w"]) -> Bool[Tensor, "k 1 h w"]:
    """Where crops reach beyond their pictures: no other pixel is as black as that."""
    return crops.amax(1, keepdim=True) == 0


def _resized(pictures: Float[Tensor, "k c a b"], size: int) -> Float[Tensor, "k c h w"]:
    """Pictures at another size, smoothly."""
    planes = pictures.flatten(0, 1)[:, None]  # several times as fast as three channels at once
    resized = F.interpolate(planes, (size, size), mode="bilinear")
    return resized.view(*pictures.shape[:2], size, size)
