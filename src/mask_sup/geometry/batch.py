"""The only structures that flow from the data to the losses and metrics.

Axes, everywhere and always in this order: `n` batch, `v` views, `j` joints, `b` bones, `h w` crop
rows and columns, `d` depth bins. NamedTuples, so that collating, pinning and moving to a device
need no code of ours.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["Batch", "Camera", "Labels", "Views"]


class Camera(NamedTuple):
    """Calibrated pinhole cameras, OpenCV axes (x right, y down, z forward); NaN if uncalibrated."""

    K: Float[Tensor, "*cameras 3 3"]
    """Camera (mm) -> crop coordinates in [-1, 1]; the crop is already folded in."""
    R: Float[Tensor, "*cameras 3 3"]
    """World -> camera."""
    t: Float[Tensor, "*cameras 3"]
    """World -> camera, mm: x_cam = R x_world + t."""

    def part(self, which: Any) -> "Camera":
        """Some of the cameras, by any index of their leading axes."""
        return Camera(*(value[which] for value in self))


class Views(NamedTuple):
    """All that the losses of mask training may see."""

    image: Float[Tensor, "*n v 3 h w"]
    """RGB in [0, 1]."""
    mask: Float[Tensor, "*n v hm wm"]
    """Foreground in [0, 1], at the size at which skeletons are drawn."""
    weight: Float[Tensor, "*n v hm wm"]
    """Geodesic weights (G), or all ones when geodesic weighting is off; 0 where a picture ends and
    the person may go on beyond it."""
    camera: Camera
    index: Int[Tensor, "*n"]
    """Place of each moment in its split."""
    person: Int[Tensor, "*n"]
    """Who is seen: the number of the person in the recordings of its split; 0 where not told."""
    sequence: Int[Tensor, "*n"]
    """Moments with the same number follow each other in time, in the order of the split."""


class Labels(NamedTuple):
    """Read by metrics only. NaN where a joint or a whole pose has no label."""

    joints_world: Float[Tensor, "*n j 3"]
    """mm, in the order of the skeleton."""
    name: Sequence[str] | str
    """For example `S9/Walking.1/000123`; one per item after collating."""
    action: Sequence[str] | str
    """What is done, for figures per action; empty where not told."""
    xy: Float[Tensor, "*n v j 2"]
    """Labels of single views in crop coordinates; NaN where the label is in 3D or missing."""
    head: Float[Tensor, "*n v"]
    """Size of the head in crop coordinates that PCKh is relative to; NaN where not told."""


class Batch(NamedTuple):
    """One multi-view batch: what training sees, and apart from it what metrics see."""

    views: Views
    labels: Labels
