"""A backbone for laptops: patches of 4x4 pixels to a small map at once, then few wide layers."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mask_sup.models.blocks import CHANNELS_PER_GROUP, conv_norm_act, norm

__all__ = ["PatchPyramid"]

PATCH = 4  # pixels, side


class _Block(nn.Module):
    """Residual block of two plain 3x3 convolutions with one GroupNorm between them."""

    def __init__(self, channels: int, per_group: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            norm(channels, per_group),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The block's output."""
        return self.activation(x + self.body(x))


class PatchPyramid(nn.Module):
    """Features from levels of halving size, added up again to the size of the first.

    The first layer sees patches of 4x4 pixels as 48 channels, so that no large map is computed.
    Processors do best with few wide layers of plain 3x3 convolutions.

    Args:
        widths: Channels per level, from the largest map down; the first is that of the features.
        blocks: Residual blocks per level.
        stem_stride: Input size over feature size: 4, or 8 for 128-pixel crops.
        channels_per_group: Least channels of a group of GroupNorm.

    Raises:
        ValueError: If `stem_stride` is not 4 or 8.
    """

    def __init__(
        self,
        widths: Sequence[int],
        blocks: int,
        stem_stride: int,
        channels_per_group: int = CHANNELS_PER_GROUP,
    ):
        super().__init__()
        if stem_stride not in (PATCH, 2 * PATCH):
            raise ValueError(f"stem_stride is {PATCH} or {2 * PATCH}, not {stem_stride}")
        widths, per_group = list(widths), channels_per_group
        self.channels = widths[0]
        self.multiple = stem_stride * 2 ** (len(widths) - 1)  # of images' sides
        self.patches = nn.PixelUnshuffle(PATCH)
        strides = [stem_stride // PATCH, *(2 for _ in widths[1:])]
        before = [3 * PATCH**2, *widths[:-1]]
        self.levels = nn.ModuleList(
            nn.Sequential(
                conv_norm_act(inputs, width, per_group, stride=stride),
                *(_Block(width, per_group) for _ in range(blocks)),
            )
            for inputs, width, stride in zip(before, widths, strides, strict=True)
        )
        self.up = nn.ModuleList(
            nn.Conv2d(low, high, 1) for low, high in zip(widths[1:], widths[:-1], strict=True)
        )
        self.out = conv_norm_act(widths[0], widths[0], per_group)

    def forward(self, image: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c hf wf"]:
        """Features at 1 / stem_stride of the image.

        Raises:
            ValueError: If the image's sides are not a multiple of stem_stride at every level.
        """
        if image.shape[-1] % self.multiple or image.shape[-2] % self.multiple:
            raise ValueError(
                f"this patch pyramid needs image sides that are multiples of {self.multiple}, got "
                f"{tuple(image.shape[-2:])}: change data.image_size or detector.backbone.widths"
            )
        x, skips = self.patches(image), []
        for level in self.levels:
            x = level(x)
            skips.append(x)
        for up, skip in zip(reversed(self.up), skips[-2::-1], strict=True):
            x = skip + F.interpolate(up(x), scale_factor=2.0, mode="nearest")
        return self.out(x)
