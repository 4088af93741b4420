"""The building blocks that the networks share. Normalisation is GroupNorm throughout (sec. 4.2)."""

import math

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["ResidualBlock", "conv_norm_act", "norm"]


def norm(channels: int, groups: int = 32) -> nn.GroupNorm:
    """GroupNorm with 32 groups, or the nearest divisor below for thin layers (4 channels a group).

    GroupNorm, not BatchNorm: statistics estimated in training do not carry over to inference, which
    the paper found to hurt left-right decisions (sec. 4.2).
    """
    return nn.GroupNorm(math.gcd(channels, min(groups, max(1, channels // 4))), channels)


def conv_norm_act(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, GroupNorm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        norm(outputs),
        nn.ReLU(inplace=True),
    )


class ResidualBlock(nn.Module):
    """Bottleneck residual block: 1x1, 3x3 and 1x1 convolutions, with a projected shortcut.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        bottleneck: Channels of the 3x3 convolution.
        stride: Stride of the 3x3 convolution and the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, bottleneck: int, stride: int = 1):
        super().__init__()
        self.body = nn.Sequential(
            conv_norm_act(inputs, bottleneck, kernel=1),
            conv_norm_act(bottleneck, bottleneck, stride=stride),
            nn.Conv2d(bottleneck, outputs, 1, bias=False),
            norm(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs)
            )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        """The block's output, at 1 / stride of the input's size."""
        return self.activation(self.body(x) + self.shortcut(x))
