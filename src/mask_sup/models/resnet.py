"""ResNet-50 with GroupNorm and three deconvolutions, the follow-up work's backbone."""

from jaxtyping import Float
from torch import Tensor, nn

from mask_sup.models.blocks import CHANNELS_PER_GROUP, ResidualBlock, conv_norm_act, norm

__all__ = ["ResNet50"]

STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # bottleneck, blocks, stride


class ResNet50(nn.Module):
    """Features at a quarter of the image's size.

    Args:
        channels: Width of the deconvolutions and so of the features.
        channels_per_group: Least channels of a group of GroupNorm.
    """

    def __init__(self, channels: int, channels_per_group: int = CHANNELS_PER_GROUP):
        super().__init__()
        self.channels, self.multiple = channels, 32  # of images' sides
        per_group = channels_per_group
        layers: list[nn.Module] = [
            conv_norm_act(3, 64, per_group, kernel=7, stride=2),
            nn.MaxPool2d(3, 2, 1),
        ]
        inputs = 64
        for bottleneck, blocks, stride in STAGES:
            for block in range(blocks):
                outputs = bottleneck * 4
                first = stride if block == 0 else 1
                layers.append(ResidualBlock(inputs, outputs, bottleneck, per_group, first))
                inputs = outputs
        for _ in range(3):
            layers += [
                nn.ConvTranspose2d(inputs, channels, 4, 2, 1, bias=False),
                norm(channels, per_group),
                nn.ReLU(inplace=True),
            ]
            inputs = channels
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c hf wf"]:
        """Features of images whose sides are multiples of 32.

        Raises:
            ValueError: If they are not.
        """
        if image.shape[-1] % self.multiple or image.shape[-2] % self.multiple:
            raise ValueError(
                f"ResNet-50 needs image sides that are multiples of 32, got "
                f"{tuple(image.shape[-2:])}: change data.image_size"
            )
        return self.layers(image)
