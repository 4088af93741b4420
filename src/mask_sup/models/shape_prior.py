"""psi: a light U-Net that fattens the Skeleton Mask into the Physique Mask (Eq. 6-7)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mask_sup.models.blocks import CHANNELS_PER_GROUP, conv_norm_act

__all__ = ["PatchShapePrior", "ShapePrior"]

PATCH = 2  # pixels, side
STEEPNESS = 8.0  # of the fresh patch network: its mask is sigmoid(8 M_Skel - 4)
REACH = 4.0  # factor on what it adds, or the first hundred steps go into making that large


class _UNet(nn.Module):
    """Features of masks at the size of what comes in.

    Args:
        inputs: Channels in.
        channels: Channels per level, from the largest map down; the size halves between levels.
        channels_per_group: Least channels of a group of GroupNorm.
    """

    def __init__(self, inputs: int, channels: Sequence[int], channels_per_group: int):
        super().__init__()
        channels = list(channels)
        self.down = nn.ModuleList(
            _double(before, after, channels_per_group)
            for before, after in zip([inputs, *channels[:-1]], channels, strict=True)
        )
        upwards = list(zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(low, high, 2, 2) for low, high in upwards)
        self.merge = nn.ModuleList(
            _double(2 * high, high, channels_per_group) for _, high in upwards
        )
        self.multiple = 2 ** len(self.up)  # of the sides of masks

    def single(self, masks: Float[Tensor, "*n h w"]) -> Float[Tensor, "m 1 h w"]:
        """Masks as pictures of one channel.

        Raises:
            ValueError: If the mask's side cannot be halved as often as this network does.
        """
        if masks.shape[-1] % self.multiple or masks.shape[-2] % self.multiple:
            raise ValueError(
                f"psi with {len(self.down)} levels needs mask sides that are multiples of "
                f"{self.multiple}, got {tuple(masks.shape[-2:])}: change renderer.size"
            )
        return masks.reshape(-1, 1, *masks.shape[-2:])

    def features(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h w"]:
        """Down through the levels and up again, with what was seen on the way down."""
        skips = []
        for block in self.down:
            x = block(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, skips[-2::-1], strict=True):
            x = merge(torch.cat([up(x), skip], 1))
        return x


class ShapePrior(_UNet):
    """Shape Prior Network psi (Eq. 6), with its first level at the size of the mask.

    Args:
        channels: Channels per level, from full size down; the size halves between levels.
        channels_per_group: Least channels of a group of GroupNorm.
    """

    def __init__(self, channels: Sequence[int], channels_per_group: int = CHANNELS_PER_GROUP):
        super().__init__(1, channels, channels_per_group)
        self.out = nn.Conv2d(channels[0], 1, 1)
        self.to(memory_format=torch.channels_last)  # few channels on many pixels are faster so

    def forward(self, skeleton_mask: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n h w"]:
        """The Physique Mask, in (0, 1).

        Raises:
            ValueError: If the mask's side cannot be halved once per level.
        """
        x = self.out(self.features(self.single(skeleton_mask)))
        return x.float().sigmoid().reshape(skeleton_mask.shape)


class PatchShapePrior(_UNet):
    """psi for laptops: patches of 2x2 pixels come in as channels and go out as channels.

    No layer has the size of the mask, where maps of few channels cost the most. A fresh network
    draws the skeleton itself, and learns what to add to it: its pixels keep their places, and flesh
    does not have to be found before bones.

    Args:
        channels: Channels per level, from half size down; the size halves between levels.
        channels_per_group: Least channels of a group of GroupNorm.
    """

    def __init__(self, channels: Sequence[int], channels_per_group: int = CHANNELS_PER_GROUP):
        super().__init__(PATCH**2, channels, channels_per_group)
        self.multiple *= PATCH
        self.out = nn.Conv2d(channels[0], PATCH**2, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.steepness = nn.Parameter(torch.tensor(STEEPNESS))
        self.threshold = nn.Parameter(torch.tensor(STEEPNESS / 2))
        self.to(memory_format=torch.channels_last)  # few channels on many pixels are faster so

    def forward(self, skeleton_mask: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n h w"]:
        """The Physique Mask, in (0, 1).

        Raises:
            ValueError: If the mask's side cannot be halved once per level and once more.
        """
        drawn = self.single(skeleton_mask)
        added = self.out(self.features(F.pixel_unshuffle(drawn, PATCH)))
        bones = self.steepness * drawn.clamp(max=1.0) - self.threshold  # sums of bones exceed 1
        logits = bones + REACH * F.pixel_shuffle(added, PATCH).float()
        return logits.sigmoid().reshape(skeleton_mask.shape)


def _double(inputs: int, outputs: int, per_group: int) -> nn.Sequential:
    return nn.Sequential(
        conv_norm_act(inputs, outputs, per_group), conv_norm_act(outputs, outputs, per_group)
    )
