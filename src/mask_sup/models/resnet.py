"""ResNet-50 with GroupNorm and three deconvolutions, the follow-up work's backbone."""

from jaxtyping import Float
from torch import Tensor, nn

from mask_sup.models.blocks import ResidualBlock, conv_norm_act, norm

__all__ = ["ResNet50"]

STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # bottleneck, blocks, stride


class ResNet50(nn.Module):
    """Features at a quarter of the image's size.

    Args:
        channels: Width of the deconvolutions and so of the features.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.channels, self.multiple = channels, 32  # of images' sides
        layers: list[nn.Module] = [
            conv_norm_act(3, 64, kernel=7, stride=2),
            nn.MaxPool2d(3, 2, 1),
        ]
        inputs = 64
        for bottleneck, blocks, stride in STAGES:
            for block in range(blocks):
                layers.append(
                    ResidualBlock(inputs, bottleneck * 4, bottleneck, stride if block == 0 else 1)
                )
                inputs = bottleneck * 4
        for _ in range(3):
            layers += [
                nn.ConvTranspose2d(inputs, channels, 4, 2, 1, bias=False),
                norm(channels),
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
