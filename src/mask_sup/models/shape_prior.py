"""psi: a light U-Net that fattens the Skeleton Mask into the Physique Mask (Eq. 6-7)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mask_sup.models.blocks import CHANNELS_PER_GROUP, conv_norm_act

__all__ = ["ShapePrior"]


class ShapePrior(nn.Module):
    """Shape Prior Network psi (Eq. 6).

    Args:
        channels: Channels per level, from full size down; the size halves between levels.
        channels_per_group: Least channels of a group of GroupNorm.
    """

    def __init__(self, channels: Sequence[int], channels_per_group: int = CHANNELS_PER_GROUP):
        super().__init__()
        channels = list(channels)
        self.down = nn.ModuleList(
            _double(before, after, channels_per_group)
            for before, after in zip([1, *channels[:-1]], channels, strict=True)
        )
        upwards = list(zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.ConvTranspose2d(low, high, 2, 2) for low, high in upwards)
        self.merge = nn.ModuleList(
            _double(2 * high, high, channels_per_group) for _, high in upwards
        )
        self.out = nn.Conv2d(channels[0], 1, 1)
        self.multiple = 2 ** len(self.up)  # of the sides of masks
        self.to(memory_format=torch.channels_last)  # few channels on many pixels are faster so

    def forward(self, skeleton_mask: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n h w"]:
        """The Physique Mask, in (0, 1).

        Raises:
            ValueError: If the mask's side cannot be halved once per level.
        """
        if skeleton_mask.shape[-1] % self.multiple or skeleton_mask.shape[-2] % self.multiple:
            raise ValueError(
                f"psi with {len(self.down)} levels needs mask sides that are multiples of "
                f"{self.multiple}, got {tuple(skeleton_mask.shape[-2:])}: change renderer.size"
            )
        x = skeleton_mask.reshape(-1, 1, *skeleton_mask.shape[-2:])
        skips = []
        for block in self.down:
            x = block(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        for up, merge, skip in zip(self.up, self.merge, skips[-2::-1], strict=True):
            x = merge(torch.cat([up(x), skip], 1))
        return self.out(x).float().sigmoid().reshape(skeleton_mask.shape)


def _double(inputs: int, outputs: int, per_group: int) -> nn.Sequential:
    return nn.Sequential(
        conv_norm_act(inputs, outputs, per_group), conv_norm_act(outputs, outputs, per_group)
    )
