"""Errors of predicted poses: pure functions, `torchmetrics` classes over them, and the collection.

Root-relative: every 3D figure subtracts the root joint from prediction and label. The 2D figure
does not. Lengths are millimetres, keys end in their unit (`_mm`, `_pct`).

A joint with a NaN label is skipped, a pose with a NaN root label is skipped whole, and a metric
that saw no label computes to NaN. A NaN *prediction* of a labelled joint is never skipped: it makes
the figure NaN. States are sums in float64, so that any split over processes gives the same figure.
"""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torchmetrics import Metric

from mask_sup.figure.skeleton import Skeleton
from mask_sup.files.build import build
from mask_sup.files.config import option
from mask_sup.geometry.align import scale_aligned, similarity_aligned
from mask_sup.geometry.batch import Batch
from mask_sup.geometry.camera import cam_from_crop, cam_from_world, crop_from_cam, is_calibrated
from mask_sup.geometry.triangulate import triangulate_robustly

__all__ = [
    "AUC",
    "MPJPE",
    "MSE2D",
    "NMPJPE",
    "PCK",
    "PCKh",
    "PMPJPE",
    "AmbiguityRatio",
    "PoseMetrics",
    "Poses",
    "SFMPJPE",
    "SceneFlipRate",
    "ambiguity",
    "better_named",
    "decides_flip",
    "flip_gain",
    "joint_distances",
    "joint_groups",
    "place",
    "pose_errors",
    "root_relative",
    "scene_flips",
    "score",
    "share_below",
]

CROP_SIDE = 2.0
"""Side of the crop in crop coordinates, [-1, 1]."""

AUC_THRESHOLDS_MM = tuple(range(0, 151, 5))
"""0, 5, ..., 150 mm, as in the evaluation of MPI-INF-3DHP."""


# ---- pure functions -----------------------------------------------------------------------------


def root_relative(pose: Float[Tensor, "*n j 3"], root: int) -> Float[Tensor, "*n j 3"]:
    """Returns the pose with its root joint at the origin; all NaN where the root is NaN."""
    return pose - pose[..., root : root + 1, :]


def joint_distances(
    prediction: Float[Tensor, "*n j d"], target: Float[Tensor, "*n j d"]
) -> Float[Tensor, "*n j"]:
    """Returns the Euclidean distance of each joint from its label, in their unit; NaN if either is.

    >>> joint_distances(torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 0.0]]))
    tensor([5.])
    """
    return torch.linalg.vector_norm(prediction - target, dim=-1)


def share_below(
    distances: Float[Tensor, "*n"], thresholds: Sequence[int | float]
) -> Float[Tensor, "*n"]:
    """Returns the share in [0, 1] of the thresholds that each distance is strictly below.

    With one threshold this is PCK, with many the area under the PCK curve. NaN stays NaN.

    >>> share_below(torch.tensor([0.0, 7.0, float("nan")]), [0, 5, 10, 15])
    tensor([0.7500, 0.5000,    nan])
    """
    below = distances[..., None] < distances.new_tensor(thresholds)
    return below.to(distances.dtype).mean(-1).masked_fill(distances.isnan(), torch.nan)


def flip_gain(
    prediction: Float[Tensor, "*n j d"], target: Float[Tensor, "*n j d"], flip: Sequence[int]
) -> Float[Tensor, "*n"]:
    """Returns by how much a left-right flip of the whole pose lowers its summed error.

    The flip renames the predicted joints (`prediction[flip]`) and moves none. The sum runs over the
    labelled joints; positive where the flip helps, 0 without labels.

    Args:
        prediction: Root-relative joints, mm; or joints in the picture.
        target: Their labels; NaN joints are ignored.
        flip: Joint order after the flip, `Skeleton.flip`.
    """
    flipped = prediction[..., list(flip), :]
    gain = joint_distances(prediction, target) - joint_distances(flipped, target)
    return gain.where(_labelled(target), torch.zeros_like(gain)).sum(-1)


def decides_flip(target: Float[Tensor, "*n j 3"], flip: Sequence[int]) -> Bool[Tensor, "*n"]:
    """Returns where a pose has a label on a left or right joint, so that a flip can matter."""
    sided = [joint for joint, partner in enumerate(flip) if joint != partner]
    return _labelled(target)[..., sided].any(-1)


def better_named(
    prediction: Float[Tensor, "*n j d"], better: Bool[Tensor, "*n"], flip: Sequence[int]
) -> Float[Tensor, "*n j d"]:
    """Returns the poses, those that are better flipped (`flip_gain` above 0) under other names."""
    return prediction[..., list(flip), :].where(better[..., None, None], prediction)


def ambiguity(
    gain: Float[Tensor, "*n v"], decided: Bool[Tensor, "*n v"]
) -> tuple[Float[Tensor, "*n"], Bool[Tensor, "*n"]]:
    """Returns min(f, N - f) / N of each scene, Eq. (11), and which scenes have one.

    f counts the views, among the N decided ones, whose *whole pose* is better flipped: one vote per
    pose, however many of its joints are swapped. In [0, 0.5]; 0 where all views agree, be they
    all right or all wrong. One view has nothing to agree with: a scene needs two.
    """
    votes = (gain > 0).to(gain.dtype).masked_fill(gain.isnan(), torch.nan)
    flipped = votes.where(decided, torch.zeros_like(votes)).sum(-1)
    views = decided.sum(-1)
    return torch.minimum(flipped, views - flipped) / views.clamp_min(1), views >= 2


def scene_flips(
    gain: Float[Tensor, "*n v"], decided: Bool[Tensor, "*n v"]
) -> tuple[Float[Tensor, "*n"], Bool[Tensor, "*n"]]:
    """Returns 1 where flipping all views of a scene lowers its summed error, 0 elsewhere.

    And which scenes count: those with at least one decided view.
    """
    total = gain.where(decided, torch.zeros_like(gain)).sum(-1)
    return (total > 0).to(gain.dtype).masked_fill(total.isnan(), torch.nan), decided.any(-1)


def joint_groups(skeleton: Skeleton) -> dict[str, list[int]]:
    """Returns the joints by group: left and right together under the plural, others by their name.

    `right_hip` and `left_hip` are `hips`; `neck` is `neck`. The root is left out: its error is 0.
    """
    groups: dict[str, list[int]] = {}
    for joint, name in enumerate(skeleton.joints):
        if joint != skeleton.root:
            bare = name.removeprefix("right_").removeprefix("left_")
            groups.setdefault(bare if bare == name else f"{bare}s", []).append(joint)
    return groups


def _labelled(target: Float[Tensor, "*n j d"]) -> Bool[Tensor, "*n j"]:
    return ~target.isnan().any(-1)


# ---- metrics ------------------------------------------------------------------------------------


class _Mean(Metric):
    """A mean over all values added, as a sum and a count."""

    is_differentiable = False
    full_state_update = False
    higher_is_better = False

    total: Tensor
    count: Tensor

    def __init__(self):
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def _add(self, values: Float[Tensor, "*n"], counts: Bool[Tensor, "*n"]) -> None:
        self.total = self.total + values.where(counts, torch.zeros_like(values)).sum()
        self.count = self.count + counts.sum()

    def compute(self) -> Float[Tensor, ""]:
        """Returns the mean so far; NaN if nothing was added."""
        return self.total / self.count


class MPJPE(_Mean):
    """Mean per-joint position error, mm: the mean distance of root-relative joints.

    Averages over all labelled joints of all poses, the root (error 0) included, as is usual on
    Human3.6M.

    Args:
        root: Index of the root joint, `Skeleton.root`.
        joints: Joints that are averaged; None for all. Alignment, where there is one, always uses
            all labelled joints.
    """

    def __init__(self, root: int, joints: Sequence[int] | None = None):
        super().__init__()
        self.root = root
        self.joints = None if joints is None else list(joints)

    def update(self, prediction: Float[Tensor, "*n j 3"], target: Float[Tensor, "*n j 3"]) -> None:
        """Adds poses of one frame (world or camera), mm.

        Raises:
            ValueError: If the shapes differ, are not joints x 3, or lack the root or a joint.
        """
        _check_poses(prediction, target, size=3, joints=[self.root, *(self.joints or [])])
        prediction = root_relative(prediction.double(), self.root)
        target = root_relative(target.double(), self.root)
        values, counts = self._values(prediction, target), _labelled(target)
        if self.joints is not None:
            values, counts = values[..., self.joints], counts[..., self.joints]
        self._add(values, counts)

    def _values(
        self, prediction: Float[Tensor, "*n j 3"], target: Float[Tensor, "*n j 3"]
    ) -> Float[Tensor, "*n j"]:
        """What is averaged, per joint, from root-relative poses."""
        return joint_distances(prediction, target)


class NMPJPE(MPJPE):
    """MPJPE after the least-squares scale of the root-relative pose (`align.scale_aligned`), mm.

    Paper: its N-MPJPE is not below its MPJPE, so its scale was fitted otherwise. Here: about the
    root, the usual definition.
    """

    def _values(
        self, prediction: Float[Tensor, "*n j 3"], target: Float[Tensor, "*n j 3"]
    ) -> Float[Tensor, "*n j"]:
        return joint_distances(scale_aligned(prediction, target), target)


class PMPJPE(MPJPE):
    """MPJPE after rotation, scale and translation, no reflection (`align.similarity_aligned`), mm.

    Each pose is aligned by itself.
    """

    def _values(
        self, prediction: Float[Tensor, "*n j 3"], target: Float[Tensor, "*n j 3"]
    ) -> Float[Tensor, "*n j"]:
        return joint_distances(similarity_aligned(prediction, target), target)


class SFMPJPE(MPJPE):
    """MPJPE after a supervised flip, mm: each whole pose under the better of its two left-rights.

    The SF rows of the paper's Table 1: the labels choose, so it says how well the joints lie
    whatever they are called. It stands beside the MPJPE, never in its place.

    Args:
        root: Index of the root joint.
        flip: Joint order after a left-right flip, `Skeleton.flip`.
    """

    def __init__(self, root: int, flip: Sequence[int]):
        super().__init__(root)
        self.flip = list(flip)

    def _values(
        self, prediction: Float[Tensor, "*n j 3"], target: Float[Tensor, "*n j 3"]
    ) -> Float[Tensor, "*n j"]:
        better = flip_gain(prediction, target, self.flip) > 0
        return joint_distances(better_named(prediction, better, self.flip), target)


class AUC(MPJPE):
    """Area under the PCK curve of root-relative joints, percent.

    The mean of the PCKs at all thresholds. At 0 mm no joint passes, so a perfect prediction scores
    100 * 30 / 31 = 96.8, as in the evaluation of MPI-INF-3DHP, which also leaves out the root: give
    `joints` without it to compare.

    Args:
        root: Index of the root joint.
        joints: Joints that are averaged; None for all.
        thresholds: mm.
    """

    higher_is_better = True

    def __init__(
        self,
        root: int,
        joints: Sequence[int] | None = None,
        thresholds: Sequence[int | float] = AUC_THRESHOLDS_MM,
    ):
        super().__init__(root, joints)
        self.thresholds = tuple(thresholds)

    def _values(
        self, prediction: Float[Tensor, "*n j 3"], target: Float[Tensor, "*n j 3"]
    ) -> Float[Tensor, "*n j"]:
        return 100 * share_below(joint_distances(prediction, target), self.thresholds)


class PCK(AUC):
    """Share of root-relative joints less than `threshold` mm from their label, percent.

    Args:
        root: Index of the root joint.
        threshold: mm; 150 in the literature (PCK@150).
        joints: Joints that are averaged; None for all. MPI-INF-3DHP leaves out the root.
    """

    def __init__(self, root: int, threshold: int | float, joints: Sequence[int] | None = None):
        super().__init__(root, joints, thresholds=(threshold,))


class MSE2D(_Mean):
    """The "2D MSE" of the paper's Table 1, percent: mean distance over the crop side, times 100.

    A distance, not squared despite its name, and not root-relative.
    """

    def update(self, prediction: Float[Tensor, "*n j 2"], target: Float[Tensor, "*n j 2"]) -> None:
        """Adds joints in crop coordinates, [-1, 1].

        Raises:
            ValueError: If the shapes differ or are not joints x 2.
        """
        _check_poses(prediction, target, size=2)
        prediction, target = prediction.double(), target.double()
        self._add(100 / CROP_SIDE * joint_distances(prediction, target), _labelled(target))


class PCKh(_Mean):
    """Share of 2D joints nearer to their label than a share of the head's size, percent.

    PCKh@0.5 of MPII (Andriluka et al., 2014): its head size is 0.6 times the diagonal of the head's
    box, and its mean leaves out pelvis and thorax.

    Args:
        threshold: Share of the head's size.
        joints: Joints that are averaged; None for all.
    """

    higher_is_better = True

    def __init__(self, threshold: float = 0.5, joints: Sequence[int] | None = None):
        super().__init__()
        self.threshold, self.joints = threshold, joints if joints is None else list(joints)

    def update(
        self,
        prediction: Float[Tensor, "*n j 2"],
        target: Float[Tensor, "*n j 2"],
        head: Float[Tensor, "*n"],
    ) -> None:
        """Adds joints and the sizes of heads in the same unit; poses without a size do not count.

        Raises:
            ValueError: If the shapes of joints differ or are not joints x 2.
        """
        _check_poses(prediction, target, size=2, joints=self.joints or ())
        distances = joint_distances(prediction.double(), target.double())
        values = 100 * share_below(distances / head.double().unsqueeze(-1), (self.threshold,))
        counts = _labelled(target) & ~head.isnan().unsqueeze(-1)
        if self.joints is not None:
            values, counts = values[..., self.joints], counts[..., self.joints]
        self._add(values, counts)


class AmbiguityRatio(_Mean):
    """Ambiguity ratio r of Eq. (11), percent in [0, 50]: disagreement of views on left and right.

    The mean over scenes of min(f, N - f) / N, f being the views whose whole pose is better flipped.
    Views without labels are not counted in N; scenes with fewer than two views are skipped.

    A network that swaps left and right in *all* views scores 0: report `SceneFlipRate` beside it.

    Args:
        flip: Joint order after a left-right flip, `Skeleton.flip`.
        root: Index of the root joint.
    """

    def __init__(self, flip: Sequence[int], root: int):
        super().__init__()
        self.flip = list(flip)
        self.root = root

    def update(
        self, prediction: Float[Tensor, "*n v j 3"], target: Float[Tensor, "*n v j 3"]
    ) -> None:
        """Adds scenes; every view in its own camera frame, mm.

        Raises:
            ValueError: If the shapes differ, have no view axis, or do not fit `flip`.
        """
        if prediction.ndim < 3 or prediction.shape[-2] != len(self.flip):
            raise ValueError(
                f"expected scenes of shape (..., views, {len(self.flip)} joints, 3), "
                f"came {tuple(prediction.shape)}"
            )
        _check_poses(prediction, target, size=3)
        prediction = root_relative(prediction.double(), self.root)
        target = root_relative(target.double(), self.root)
        gain = flip_gain(prediction, target, self.flip)
        values, counts = self._values(gain, decides_flip(target, self.flip))
        self._add(100 * values, counts)

    def _values(
        self, gain: Float[Tensor, "*n v"], decided: Bool[Tensor, "*n v"]
    ) -> tuple[Float[Tensor, "*n"], Bool[Tensor, "*n"]]:
        """What is averaged, per scene, and which scenes count."""
        return ambiguity(gain, decided)


class SceneFlipRate(AmbiguityRatio):
    """Share of scenes whose summed error falls when all their views are flipped, percent.

    What the ambiguity ratio cannot see: views that agree on the wrong side. A network that swaps
    left and right everywhere scores 100.

    Args:
        flip: Joint order after a left-right flip, `Skeleton.flip`.
        root: Index of the root joint.
    """

    def _values(
        self, gain: Float[Tensor, "*n v"], decided: Bool[Tensor, "*n v"]
    ) -> tuple[Float[Tensor, "*n"], Bool[Tensor, "*n"]]:
        return scene_flips(gain, decided)


def _check_poses(prediction: Tensor, target: Tensor, size: int, joints: Iterable[int] = ()) -> None:
    """Raises ValueError unless both are (..., joints, size) and hold the named joints."""
    if prediction.shape != target.shape or prediction.ndim < 2 or prediction.shape[-1] != size:
        raise ValueError(
            f"expected prediction and label of one shape (..., joints, {size}), "
            f"came {tuple(prediction.shape)} and {tuple(target.shape)}"
        )
    if missing := [joint for joint in joints if not 0 <= joint < prediction.shape[-2]]:
        raise ValueError(
            f"expected poses with the joints {missing}, came poses of {prediction.shape[-2]} joints"
        )


# ---- the collection -----------------------------------------------------------------------------


class PoseMetrics(nn.Module):
    """All figures of one evaluation; a submodule that follows its LightningModule's device.

    Monocular (`mono/`) and triangulated (`tri/`) 3D are kept apart. PCK and AUC leave out the root,
    as MPI-INF-3DHP does; MPJPE and its kin average over all joints, as is usual on Human3.6M.

    Args:
        skeleton: Gives the number of joints, the root, the flip and the joint groups.
        pck_joints: Names of the joints that PCK, AUC and PCKh average, where a protocol says so;
            None: all but the root.

    Raises:
        ValueError: If the skeleton lacks one of these joints.
    """

    def __init__(self, skeleton: Skeleton, pck_joints: Sequence[str] | None = None):
        super().__init__()
        self.skeleton = skeleton
        root, flip = skeleton.root, skeleton.flip
        if missing := sorted(set(pck_joints or ()) - set(skeleton.joints)):
            raise ValueError(f"PCK is to average the joints {missing}: {skeleton.name} lacks them")
        pck = [
            joint
            for joint, name in enumerate(skeleton.joints)
            if (joint != root if pck_joints is None else name in pck_joints)
        ]
        groups = {
            f"mpjpe_{group}_mm": MPJPE(root, joints)
            for group, joints in joint_groups(skeleton).items()
        }
        self.mono = nn.ModuleDict(_figures_3d(skeleton, pck) | groups)
        self.tri = nn.ModuleDict(_figures_3d(skeleton, pck))
        self.mse_2d, self.pckh = MSE2D(), PCKh(joints=pck)
        self.ambiguity = AmbiguityRatio(flip, root)
        self.scene_flip = SceneFlipRate(flip, root)

    def update(
        self,
        joints_mono_cam: Float[Tensor, "n v j 3"],
        joints_cam_label: Float[Tensor, "n v j 3"],
        xy_crop: Float[Tensor, "n v j 2"],
        xy_crop_label: Float[Tensor, "n v j 2"],
        joints_tri_world: Float[Tensor, "n j 3"] | None,
        joints_world_label: Float[Tensor, "n j 3"],
    ) -> None:
        """Adds one batch. Labels are NaN where unknown.

        Args:
            joints_mono_cam: Monocular prediction of each view in its camera frame, mm.
            joints_cam_label: Its label, mm.
            xy_crop: Predicted 2D joints, crop coordinates in [-1, 1].
            xy_crop_label: Their labels.
            joints_tri_world: Triangulated prediction in the world frame, mm; None if uncalibrated.
            joints_world_label: Its label, mm.

        Raises:
            ValueError: If a shape does not fit the skeleton or the other tensors.
        """
        if joints_tri_world is None:
            # No labels rather than no update: processes must agree on which metrics they sync.
            joints_world_label = torch.full_like(joints_world_label, torch.nan)
            joints_tri_world = joints_world_label
        views = tuple(joints_mono_cam.shape[:2])
        self._check("joints_mono_cam", joints_mono_cam, views, 3)
        self._check("joints_cam_label", joints_cam_label, views, 3)
        self._check("xy_crop", xy_crop, views, 2)
        self._check("xy_crop_label", xy_crop_label, views, 2)
        self._check("joints_tri_world", joints_tri_world, views[:1], 3)
        self._check("joints_world_label", joints_world_label, views[:1], 3)
        for metric in self.mono.values():
            metric.update(joints_mono_cam, joints_cam_label)
        for metric in self.tri.values():
            metric.update(joints_tri_world, joints_world_label)
        self.mse_2d.update(xy_crop, xy_crop_label)
        self.ambiguity.update(joints_mono_cam, joints_cam_label)
        self.scene_flip.update(joints_mono_cam, joints_cam_label)

    def update_2d(
        self,
        xy_crop: Float[Tensor, "n v j 2"],
        xy_crop_label: Float[Tensor, "n v j 2"],
        head_crop: Float[Tensor, "n v"],
    ) -> None:
        """Adds one batch of views that are labelled in their pictures alone.

        Args:
            xy_crop: Predicted 2D joints, crop coordinates in [-1, 1].
            xy_crop_label: Their labels, NaN where unknown.
            head_crop: Sizes of the heads in crop coordinates, NaN where unknown.
        """
        self.mse_2d.update(xy_crop, xy_crop_label)
        self.pckh.update(xy_crop, xy_crop_label, head_crop)

    def _check(self, name: str, tensor: Tensor, leading: tuple[int, ...], size: int) -> None:
        expected = (*leading, len(self.skeleton.joints), size)
        if tuple(tensor.shape) != expected:
            raise ValueError(
                f"{name}: expected the shape {expected} (skeleton {self.skeleton.name!r}), "
                f"came {tuple(tensor.shape)}"
            )

    def compute(self) -> dict[str, float]:
        """Returns every figure by its key, over all processes; NaN where nothing was labelled."""
        metrics = (
            {f"mono/{key}": metric for key, metric in self.mono.items()}
            | {"mono/mse_2d_pct": self.mse_2d}
            | ({"mono/pckh50_pct": self.pckh} if self.pckh.update_called else {})
            | {f"tri/{key}": metric for key, metric in self.tri.items()}
            | {"ambiguity_pct": self.ambiguity, "scene_flip_pct": self.scene_flip}
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*was called before the ``update``")
            return {key: float(metric.compute()) for key, metric in metrics.items()}

    def reset(self) -> None:
        """Forgets all that was added."""
        for module in self.modules():
            if isinstance(module, Metric):
                module.reset()


def pose_errors(predicted_mm: Any, true_mm: Any, skeleton: Any = None) -> dict[str, float]:
    """Figures of 3D poses against true ones, of plain arrays.

    Args:
        predicted_mm: (*n, j, 3) joints in any one frame; no NaN where the label is known.
        true_mm: The same of true joints, in the same axes; NaN where unknown.
        skeleton: Its joints, root and sides; None: human18, of the detector in the package.

    Returns:
        `mpjpe_mm`, `n_mpjpe_mm`, `p_mpjpe_mm`, `sf_mpjpe_mm`, `pck150_pct` and `auc_pct`, all
        relative to the root; PCK and AUC leave it out. NaN where nothing is labelled.

    Raises:
        ValueError: If shapes differ, or are not of the skeleton.
    """
    if skeleton is None:
        skeleton = build(option("skeleton", "human18"), "skeleton")
    predicted, true = (torch.from_numpy(np.array(x, float)) for x in (predicted_mm, true_mm))
    expected = (len(skeleton.joints), 3)
    if predicted.shape[-2:] != expected or predicted.shape != true.shape:
        raise ValueError(
            f"expected predicted and true joints of one shape (*n, {expected[0]}, 3), got "
            f"{tuple(predicted.shape)} and {tuple(true.shape)}"
        )
    found = {}
    others = [joint for joint in range(expected[0]) if joint != skeleton.root]
    for name, metric in _figures_3d(skeleton, others).items():
        metric.update(predicted, true)
        found[name] = float(metric.compute())
    return found


def _figures_3d(skeleton: Skeleton, pck: Sequence[int]) -> dict[str, nn.Module]:
    """The 3D figures that monocular and triangulated poses share."""
    root = skeleton.root
    return {
        "mpjpe_mm": MPJPE(root),
        "n_mpjpe_mm": NMPJPE(root),
        "p_mpjpe_mm": PMPJPE(root),
        "sf_mpjpe_mm": SFMPJPE(root, skeleton.flip),
        "pck150_pct": PCK(root, threshold=150, joints=pck),
        "auc_pct": AUC(root, joints=pck),
    }


class Poses(NamedTuple):
    """What `PoseMetrics.update` takes, of one batch."""

    cam: Float[Tensor, "n v j 3"]
    label_cam: Float[Tensor, "n v j 3"]
    xy: Float[Tensor, "n v j 2"]
    label_xy: Float[Tensor, "n v j 2"]
    world: Float[Tensor, "n j 3"] | None
    label_world: Float[Tensor, "n j 3"]

    def part(self, rows: Sequence[int]) -> "Poses":
        """Some of the batch."""
        return Poses(*(value if value is None else value[list(rows)] for value in self))


def place(
    joints_crop: Float[Tensor, "n v j 3"],
    batch: Batch,
    depth_range: float,
    root: int,
    xy: Float[Tensor, "n v j 2"] | None = None,
) -> Poses | None:
    """Returns detections in space beside their labels; None where labels are not in 3D.

    Monocular 3D takes its root depth from the labels, as the literature does; triangulated 3D
    takes nothing from them, and views that disagree with the others count less.

    Args:
        joints_crop: Detected joints.
        batch: The batch they were detected in.
        depth_range: Depth in mm that z in [-1, 1] spans.
        root: Index of the root joint.
        xy: What is compared in the picture and triangulated; None: x and y of `joints_crop`.
    """
    camera, label = batch.views.camera, batch.labels.joints_world
    if bool(label.isnan().all()) or not is_calibrated(camera):
        return None
    xy = joints_crop[..., :2] if xy is None else xy
    label_cam = cam_from_world(label.unsqueeze(1), camera)
    joints_cam = cam_from_crop(joints_crop, label_cam[..., root, 2], depth_range, camera)
    world = triangulate_robustly(xy, camera) if xy.shape[1] > 1 else None
    return Poses(joints_cam, label_cam, xy, crop_from_cam(label_cam, camera), world, label)


def score(
    metrics: PoseMetrics, joints_crop: Tensor, batch: Batch, depth_range: float
) -> tuple[bool, Poses | None]:
    """Adds a batch of detections, placed by `place`; a batch without labels adds nothing.

    Args:
        metrics: What is updated.
        joints_crop: Detected joints, (n v j 3).
        batch: The batch they were detected in.
        depth_range: Depth in mm that z in [-1, 1] spans.

    Returns:
        Whether anything was labelled, and what was scored in 3D.
    """
    poses = place(joints_crop, batch, depth_range, metrics.skeleton.root)
    if poses is None:
        metrics.update_2d(joints_crop[..., :2], batch.labels.xy, batch.labels.head)
        return not bool(batch.labels.xy.isnan().all()), None
    metrics.update(*poses)
    return True, poses
