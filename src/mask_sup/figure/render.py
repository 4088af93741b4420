"""What draws a skeleton: the Skeleton Mask (Eq. 4-5) and the Gaussian baseline (Eq. 3)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mask_sup.figure.skeleton import Skeleton
from mask_sup.files.build import build
from mask_sup.files.config import option
from mask_sup.geometry.segments import Merge, draw_segments

__all__ = ["GaussianRenderer", "SkeletonRenderer", "render"]

FAR = 1e4  # crop units: what lies there is not drawn


class SkeletonRenderer(nn.Module):
    """Draws the bones of a skeleton as one soft mask, M_Skel (Eq. 4-5).

    Args:
        skeleton: The figure; `forward` names its bone groups.
        size: Side of the drawn mask, pixels.
        width: Width (sigma in Eq. 4) of a bone, crop units; the authors' sigma^2 is 0.003.
        group_width: Factor on the width per bone group; groups not named have 1.
        merge: `max` or `sum`, see `draw_segments`.

    Raises:
        ValueError: On an unknown group, a width that is not positive, or points without bones.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        size: int,
        width: float,
        group_width: Mapping[str, float],
        merge: Merge,
    ):
        super().__init__()
        skeleton.segments(group_width)  # refuses unknown groups
        if skeleton.is_free and not isinstance(self, GaussianRenderer):
            raise ValueError(f"skeleton {skeleton.name!r} has no bones: choose renderer=gaussians")
        if not (width > 0 and all(factor > 0 for factor in group_width.values())):
            raise ValueError(f"widths must be above 0, got {width} and {dict(group_width)}")
        self.skeleton, self.size, self.width = skeleton, size, width
        self.merge: Merge = merge
        self.group_width = dict(group_width)

    def segments(self, groups: Sequence[str]) -> tuple[list[tuple[int, int]], list[float]]:
        """Index pairs to draw for the named groups, and the width of each before scaling."""
        pairs, widths = [], []
        for group in self.skeleton.groups:
            if group in groups:
                bones = self.skeleton.segments([group])
                pairs += bones
                widths += [self.width * self.group_width.get(group, 1.0)] * len(bones)
        return pairs, widths

    def forward(
        self, xy: Float[Tensor, "*n j 2"], groups: Sequence[str], width_scale: float = 1.0
    ) -> Float[Tensor, "*n h w"]:
        """The mask of the named bone groups, with every width multiplied by `width_scale`."""
        self.skeleton.segments(groups)  # refuses unknown groups
        pairs, widths = self.segments(groups)
        ends = xy[..., torch.tensor(pairs, device=xy.device), :]
        width = torch.tensor(widths, device=xy.device, dtype=ends.dtype) * width_scale
        return draw_segments(ends, width, self.size, self.merge)


class GaussianRenderer(SkeletonRenderer):
    """The baseline without structure: every joint a Gaussian blob (Eq. 3).

    A blob is a segment whose two ends are the same joint.
    """

    def segments(self, groups: Sequence[str]) -> tuple[list[tuple[int, int]], list[float]]:
        """A point for each joint that the named groups touch; each joint is drawn once."""
        points: dict[int, float] = {}
        for group in self.skeleton.groups:
            if group in groups:
                for joint in self.skeleton.drawn_joints([group]):
                    points.setdefault(joint, self.width * self.group_width.get(group, 1.0))
        return [(joint, joint) for joint in points], list(points.values())


def render(joints_px: Any, shape: Sequence[int], width_px: float, skeleton: Any = None) -> Any:
    """The Skeleton Mask of joints in pixels (Eq. 4): soft bones, 1 on a bone, 1/e at `width_px`.

    Args:
        joints_px: (*n, j, 2) x and y, an array or a tensor; a bone with a NaN end is not drawn.
        shape: Height and width of the mask, pixels: `picture.shape[:2]`.
        width_px: Width (sigma) of a bone.
        skeleton: Whose bones are drawn; None: those of human18, the detector's in the package.

    Returns:
        (*n, h, w) in [0, 1], where bones meet the larger value: an array, or for a tensor a tensor
        whose gradient reaches the joints.

    Raises:
        ValueError: If joints are not the skeleton's, or the width or the shape is not positive.
    """
    if skeleton is None:
        skeleton = build(option("skeleton", "human18"), "skeleton")
    tensor = isinstance(joints_px, Tensor)
    joints = joints_px if tensor else torch.from_numpy(np.array(joints_px, np.float32))
    if joints.ndim < 2 or joints.shape[-2:] != (len(skeleton.joints), 2):
        raise ValueError(
            f"expected joints of shape (*n, {len(skeleton.joints)}, 2) for the skeleton "
            f"{skeleton.name!r}, got {tuple(joints.shape)}"
        )
    height, width = shape
    if min(height, width, width_px) <= 0:
        raise ValueError(f"expected a shape and width above 0, got {shape} and {width_px}")
    size = max(height, width)
    known = torch.isfinite(joints).all(-1, keepdim=True)
    xy = torch.where(known, joints, torch.zeros_like(joints)) * (2 / size) - 1
    ends = torch.where(known, xy, torch.full_like(xy, FAR))[
        ..., torch.tensor(skeleton.segments(skeleton.groups)), :
    ]
    lost = (ends == FAR).any(-1).any(-1)[..., None, None]
    ends = torch.where(lost, torch.full_like(ends, FAR), ends)
    widths = ends.new_full((ends.shape[-3],), 2 * width_px / size)
    mask = draw_segments(ends, widths, size, "max")[..., :height, :width]
    return mask if tensor else mask.numpy()
