"""phi: image -> joints (Eq. 1). A backbone makes features, a head turns them into coordinates."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mask_sup.figure.skeleton import Skeleton

__all__ = ["Detector", "FactorisedHead", "VolumeHead", "expectation"]

MIDDLE, CONTRAST = 0.4, 4.0  # of pictures in [0, 1], as ImageNet's means and deviations, roughly


def expectation(weight: Float[Tensor, "*n k"]) -> Float[Tensor, "*n"]:
    """Mean coordinate of a distribution over `k` bins of [-1, 1] (the integral operation).

    Convention: the centre of bin i of k is at (2i + 1) / k - 1.

    >>> expectation(torch.tensor([0., 0., 0., 1.]))
    tensor(0.7500)
    """
    bins = weight.shape[-1]
    centres = (torch.arange(bins, device=weight.device, dtype=weight.dtype) * 2 + 1) / bins - 1
    return (weight * centres).sum(-1)  # a matrix product would be rounded under autocast


class VolumeHead(nn.Module):
    """A 3D heatmap per joint and its integral, as in the paper (sec. 3.1).

    Args:
        depth_bins: Bins along z (64 in the paper).
    """

    def __init__(self, depth_bins: int):
        super().__init__()
        self.depth_bins = depth_bins

    def build(self, channels: int, joints: int) -> None:
        """Make the layers for a backbone's channels and a skeleton's joints."""
        self.joints = joints
        self.heatmap = nn.Conv2d(channels, joints * self.depth_bins, 1)
        nn.init.normal_(self.heatmap.weight, std=1e-3)
        nn.init.zeros_(self.heatmap.bias)

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n j 3"]:
        """x, y, z of each joint in [-1, 1]."""
        n, _, h, w = features.shape
        logits = self.heatmap(features).float().reshape(n, self.joints, -1)
        volume = logits.softmax(-1).reshape(n, self.joints, self.depth_bins, h, w)
        plane = volume.sum(2)
        return torch.stack(
            [
                expectation(plane.sum(-2)),
                expectation(plane.sum(-1)),
                expectation(volume.sum((-1, -2))),
            ],
            -1,
        )


class FactorisedHead(nn.Module):
    """A 2D heatmap and a depth distribution per joint: the light choice.

    The depth distribution is read from the features gathered under the joint's own heatmap, so its
    cost does not grow with the area of the map times the depth bins.

    Args:
        depth_bins: Bins along z.
    """

    def __init__(self, depth_bins: int):
        super().__init__()
        self.depth_bins = depth_bins

    def build(self, channels: int, joints: int) -> None:
        """Make the layers for a backbone's channels and a skeleton's joints."""
        self.heatmap = nn.Conv2d(channels, joints, 1)
        self.context = nn.Linear(2 * channels, channels)
        self.depth = nn.Parameter(torch.randn(joints, channels, self.depth_bins) * 1e-3)
        nn.init.normal_(self.heatmap.weight, std=1e-2)
        nn.init.zeros_(self.heatmap.bias)

    def forward(self, features: Float[Tensor, "n c h w"]) -> Float[Tensor, "n j 3"]:
        """x, y, z of each joint in [-1, 1]."""
        n, _, h, w = features.shape
        with torch.autocast(features.device.type, enabled=False):  # it is small
            features = features.float()
            heat = self.heatmap(features).flatten(2).softmax(-1)
            local = heat @ features.flatten(2).mT  # n j c
            whole = features.mean((-1, -2)).unsqueeze(1).expand_as(local)
            context = self.context(torch.cat([local, whole], -1)).relu()
            depth = torch.einsum("njc,jcd->njd", context, self.depth).softmax(-1)
        plane = heat.reshape(n, -1, h, w)
        return torch.stack(
            [expectation(plane.sum(-2)), expectation(plane.sum(-1)), expectation(depth)], -1
        )


class Detector(nn.Module):
    """Single images to 3D joints in crop coordinates (Eq. 1); the only network used at inference.

    Args:
        skeleton: The figure that is detected.
        backbone: Images to features; has `channels`.
        head: Features to coordinates; its layers are built here, for this skeleton.
        depth_range: Depth in mm that z in [-1, 1] spans about the root.
        mask_input: Whether images are multiplied by their mask before they are seen. The paper's
            detector sees the whole image; masked input learns much faster.
        mirror_test: Whether, outside of training, each image is also seen in a mirror and the two
            poses are averaged: twice the work, a little more accurate.
    """

    card: Mapping[str, Any]
    """What is known of the weights, where they were loaded (`mask_sup.models.checkpoint.load`)."""

    def __init__(
        self,
        skeleton: Skeleton,
        backbone: nn.Module,
        head: VolumeHead | FactorisedHead,
        depth_range: float,
        mask_input: bool,
        mirror_test: bool = False,  # checkpoints of before do not tell
    ):
        super().__init__()
        self.skeleton, self.depth_range, self.mask_input = skeleton, depth_range, mask_input
        self.mirror_test = mirror_test
        self.backbone, self.head = backbone, head
        head.build(backbone.channels, len(skeleton.joints))
        self.to(memory_format=torch.channels_last)  # convolutions are faster so

    def reset(self) -> None:
        """Start again from new random weights."""
        for layer in self.backbone.modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
        self.head.build(self.backbone.channels, len(self.skeleton.joints))

    def forward(self, image: Float[Tensor, "*n 3 h w"]) -> Float[Tensor, "*n j 3"]:
        """Joints of each image: x, y in crop coordinates, z in [-1, 1] about the root.

        z is measured from the root's own z, so that the root is exactly at 0.
        """
        flat = (image.reshape(-1, *image.shape[-3:]) - MIDDLE) * CONTRAST
        flat = flat.contiguous(memory_format=torch.channels_last)
        joints = self.head(self.backbone(flat))
        if self.mirror_test and not self.training:
            turned = self.head(self.backbone(flat.flip(-1)))[:, list(self.skeleton.flip)]
            joints = (joints + turned * turned.new_tensor([-1.0, 1.0, 1.0])) / 2
        root = joints[:, self.skeleton.root, None, 2:]
        joints = torch.cat([joints[..., :2], joints[..., 2:] - root], -1)
        return joints.reshape(*image.shape[:-3], *joints.shape[1:])
