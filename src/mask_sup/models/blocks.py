"""The building blocks that the networks share. Normalisation is GroupNorm throughout (sec. 4.2).

Groups of 16 channels are faster on processors than groups of four (`benchmarks/step.py`). Weights
have the same shapes either way, so a network's config says how many: networks of before this was a
choice have `CHANNELS_PER_GROUP`, which is the default of every network.
"""

import math

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["CHANNELS_PER_GROUP", "ResidualBlock", "conv_norm_act", "group_counts", "norm"]

MOST_GROUPS = 32  # as Wu and He
CHANNELS_PER_GROUP = 4  # at least; of checkpoints that do not tell


def norm(channels: int, per_group: int) -> nn.GroupNorm:
    """GroupNorm with 32 groups, or fewer so that each has at least so many channels.

    GroupNorm, not BatchNorm: statistics estimated in training do not carry over to inference, which
    the paper found to hurt left-right decisions (sec. 4.2).
    """
    groups = min(MOST_GROUPS, max(1, channels // per_group))
    return nn.GroupNorm(math.gcd(channels, groups), channels)


def group_counts(network: nn.Module) -> list[int]:
    """Groups of every GroupNorm, which the shapes of weights do not tell."""
    return [layer.num_groups for layer in network.modules() if isinstance(layer, nn.GroupNorm)]


def conv_norm_act(
    inputs: int, outputs: int, per_group: int, kernel: int = 3, stride: int = 1
) -> nn.Sequential:
    """Convolution, GroupNorm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        norm(outputs, per_group),
        nn.ReLU(inplace=True),
    )


class ResidualBlock(nn.Module):
    """Bottleneck residual block: 1x1, 3x3 and 1x1 convolutions, with a projected shortcut.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        bottleneck: Channels of the 3x3 convolution.
        per_group: Least channels of a group of GroupNorm.
        stride: Stride of the 3x3 convolution and the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, bottleneck: int, per_group: int, stride: int = 1):
        super().__init__()
        self.body = nn.Sequential(
            conv_norm_act(inputs, bottleneck, per_group, kernel=1),
            conv_norm_act(bottleneck, bottleneck, per_group, stride=stride),
            nn.Conv2d(bottleneck, outputs, 1, bias=False),
            norm(outputs, per_group),
        )
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), norm(outputs, per_group)
            )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        """The block's output, at 1 / stride of the input's size."""
        return self.activation(self.body(x) + self.shortcut(x))
