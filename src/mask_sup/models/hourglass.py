"""Stacked Hourglass with GroupNorm, the paper's detector backbone (sec. 3.1)."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from mask_sup.models.blocks import CHANNELS_PER_GROUP, ResidualBlock, conv_norm_act

__all__ = ["StackedHourglass"]


class _Hourglass(nn.Module):
    """One hourglass: down `depth` times, up again, with a skip at every size."""

    def __init__(self, channels: int, depth: int, per_group: int):
        super().__init__()
        self.skip = _residual(channels, per_group)
        self.down = _residual(channels, per_group)
        self.inner = (
            _Hourglass(channels, depth - 1, per_group)
            if depth > 1
            else _residual(channels, per_group)
        )
        self.up = _residual(channels, per_group)

    def forward(self, x: Tensor) -> Tensor:
        low = self.up(self.inner(self.down(F.max_pool2d(x, 2))))
        return self.skip(x) + F.interpolate(low, scale_factor=2.0, mode="nearest")


class StackedHourglass(nn.Module):
    """Features for the detector's head from a stack of hourglasses.

    Args:
        stacks: Number of hourglasses; each adds its features to the input of the next.
        depth: Halvings inside one hourglass.
        channels: Width of the features.
        stem_stride: Input size over feature size: 4 (the original) or 2 (for small crops).
        channels_per_group: Least channels of a group of GroupNorm.

    Raises:
        ValueError: If `stem_stride` is not 2 or 4.
    """

    def __init__(
        self,
        stacks: int,
        depth: int,
        channels: int,
        stem_stride: int,
        channels_per_group: int = CHANNELS_PER_GROUP,
    ):
        super().__init__()
        if stem_stride not in (2, 4):
            raise ValueError(f"stem_stride is 2 or 4, not {stem_stride}")
        self.channels, self.multiple = channels, stem_stride * 2**depth  # of images' sides
        half, per_group = channels // 2, channels_per_group
        self.stem = nn.Sequential(
            conv_norm_act(3, half, per_group, kernel=7, stride=2),
            ResidualBlock(half, channels, half, per_group, stride=stem_stride // 2),
            _residual(channels, per_group),
        )
        self.stacks = nn.ModuleList(
            nn.Sequential(_Hourglass(channels, depth, per_group), _residual(channels, per_group))
            for _ in range(stacks)
        )

    def forward(self, image: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c hf wf"]:
        """Features at 1 / stem_stride of the image.

        Raises:
            ValueError: If the image's sides are not a multiple of stem_stride * 2^depth.
        """
        if image.shape[-1] % self.multiple or image.shape[-2] % self.multiple:
            raise ValueError(
                f"this hourglass needs image sides that are multiples of {self.multiple}, got "
                f"{tuple(image.shape[-2:])}: change data.image_size or detector.backbone.depth"
            )
        x = self.stem(image)
        for stack in self.stacks:
            x = x + stack(x)
        return x


def _residual(channels: int, per_group: int) -> ResidualBlock:
    return ResidualBlock(channels, channels, channels // 2, per_group)
