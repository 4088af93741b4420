"""The settings that figures are taken under, as in the paper's Table 1, and their tallies.

- `plain`: predictions as they are.
- `SF`, a supervised flip: each predicted pose takes the better of its two left-rights by its label,
  as a whole and once for all of its figures: by its distance in 3D where the label is in 3D,
  otherwise by that in the picture; a triangulated pose by its own. It says how well joints lie
  whatever they are called.
- `SPP_linear`, `SPP_hidden`: supervised post-processing, see `mask_sup.method.postprocess`.

UP (unpaired poses) and T (a manually designed template) are no settings of an evaluation: the
weights have them or have them not (`mask_sup.method.settings`). A setting is a row of its own with
all of its flags; nothing averages over two of them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mask_sup.figure.skeleton import Skeleton
from mask_sup.geometry.batch import Batch
from mask_sup.geometry.camera import is_calibrated
from mask_sup.method.postprocess import Theta, fit_theta
from mask_sup.method.regression import crop_targets
from mask_sup.metrics import PoseMetrics, Poses, better_named, flip_gain, place, root_relative

__all__ = [
    "SETTINGS",
    "Plain",
    "PostProcessed",
    "SupervisedFlip",
    "Tally",
    "chosen",
    "post_process",
]

SETTINGS = ("plain", "SF", "SPP_linear", "SPP_hidden")
PER_ACTION = ("mono/mpjpe_mm", "mono/p_mpjpe_mm", "tri/mpjpe_mm")
OF_SIDES = ("ambiguity_pct", "scene_flip_pct")  # say nothing where labels name each pose's sides


def chosen(settings: Any) -> list[str]:
    """Names of settings from `all`, one name or a list of them; each once, in the usual order.

    Raises:
        ValueError: If one is unknown, or there is none.

    >>> chosen(["SF", "plain"])
    ['plain', 'SF']
    """
    asked = [settings] if isinstance(settings, str) else list(settings)
    if unknown := [name for name in asked if name not in (*SETTINGS, "all")] or not asked:
        told = "none" if unknown is True else unknown
        raise ValueError(f"settings are all, or some of {list(SETTINGS)}; got {told}")
    return [name for name in SETTINGS if "all" in asked or name in asked]


class Plain:
    """Predictions as they are."""

    flags: Mapping[str, Any] = {"SF": False, "SPP": False}
    left_right: str | None = None
    """What fixes left and right, where the setting does."""

    def detected(self, joints_crop: Tensor) -> tuple[Tensor, Tensor]:
        """What is placed in space and what is compared in the picture, (n v j 3) and (n v j 2)."""
        return joints_crop, joints_crop[..., :2]

    def placed(self, poses: Poses, skeleton: Skeleton) -> Poses:
        """What is measured, of what is placed."""
        return poses

    def in_picture(self, xy: Tensor, label: Tensor, skeleton: Skeleton) -> Tensor:
        """What is measured where labels are in the picture alone, (n v j 2)."""
        return xy


class SupervisedFlip(Plain):
    """SF: each pose under the better of its two left-rights, by its label."""

    flags = Plain.flags | {"SF": True}
    left_right = "fixed by labels, pose by pose (SF)"

    def placed(self, poses: Poses, skeleton: Skeleton) -> Poses:
        """One decision a view, in 3D, for its joints in the picture, too; one in the world."""
        flip, root = skeleton.flip, skeleton.root

        def better(pose: Tensor, label: Tensor) -> Tensor:
            return flip_gain(root_relative(pose, root), root_relative(label, root), flip) > 0

        of_view = better(poses.cam, poses.label_cam)
        world = poses.world
        if world is not None:
            world = better_named(world, better(world, poses.label_world), flip)
        return poses._replace(
            cam=better_named(poses.cam, of_view, flip),
            xy=better_named(poses.xy, of_view, flip),
            world=world,
        )

    def in_picture(self, xy: Tensor, label: Tensor, skeleton: Skeleton) -> Tensor:
        """By the distance in the picture."""
        return better_named(xy, flip_gain(xy, label, skeleton.flip) > 0, skeleton.flip)


class PostProcessed(Plain):
    """SPP: joints by theta from landmarks; theta has seen labels of the training split."""

    flags = Plain.flags | {"SPP": True, "labels": True}
    left_right = "fixed by labels of the training split (SPP)"

    def __init__(self, theta: Theta):
        self.theta = theta

    def detected(self, joints_crop: Tensor) -> tuple[Tensor, Tensor]:
        """Poses by the map of poses, the picture's joints by the map of pictures."""
        return self.theta.space(joints_crop), self.theta.plane(joints_crop[..., :2])


def post_process(
    kinds: Sequence[str],
    detections: Iterable[tuple[Tensor, Batch]],
    root: int,
    depth_range: float,
    settings: Mapping[str, Any],
) -> dict[str, PostProcessed]:
    """Settings with a theta learned from detections in the training split and their labels.

    Args:
        kinds: Names of settings that start with SPP_.
        detections: Landmarks (n v l 3) and the batches they were found in.
        root: Of the labels' skeleton.
        depth_range: Depth in mm that z in [-1, 1] spans.
        settings: Of the network with hidden layers.

    Raises:
        ValueError: If the split has too few labels in 3D.
    """
    landmarks, joints = [], []
    for found, batch in detections:
        camera = batch.views.camera
        if not is_calibrated(camera):
            raise ValueError("SPP learns from joints in 3D, and these views have no calibration")
        target = crop_targets(batch.labels.joints_world, camera, root, depth_range)
        landmarks.append(found.flatten(0, 1))
        joints.append(target.flatten(0, 1))
    seen, wanted = torch.cat(landmarks), torch.cat(joints)
    return {
        kind: PostProcessed(fit_theta(kind.removeprefix("SPP_"), seen, wanted, settings))
        for kind in kinds
    }


class Tally:
    """Figures of one setting, over all and by action.

    Args:
        setting: What is done to predictions.
        skeleton: Of the labels.
        fresh: Makes metrics.
    """

    def __init__(self, setting: Plain, skeleton: Skeleton, fresh: Callable[[], PoseMetrics]):
        self.setting, self.skeleton, self.fresh = setting, skeleton, fresh
        self.metrics, self.by_action = fresh(), {}

    def add(self, joints_crop: Tensor, batch: Batch, depth_range: float) -> Poses | None:
        """Add detections (n v l 3); returns what was measured in 3D, None where nothing was."""
        joints, xy = self.setting.detected(joints_crop)
        poses = place(joints, batch, depth_range, self.skeleton.root, xy)
        if poses is None:
            label = batch.labels.xy
            xy = self.setting.in_picture(xy, label, self.skeleton)
            self.metrics.update_2d(xy, label, batch.labels.head)
            return None
        poses = self.setting.placed(poses, self.skeleton)
        self.metrics.update(*poses)
        for action in sorted(set(batch.labels.action) - {""}):
            rows = [i for i, name in enumerate(batch.labels.action) if name == action]
            self.by_action.setdefault(action, self.fresh()).update(*poses.part(rows))
        return poses

    def figures(self) -> dict[str, Any]:
        """Figures by their keys; `actions` holds those by action where the data tells them."""
        values: dict[str, Any] = self.metrics.compute()
        if self.setting.flags["SF"]:
            values |= dict.fromkeys(OF_SIDES, float("nan"))
        if self.by_action:
            actions = {name: self.by_action[name].compute() for name in sorted(self.by_action)}
            values["actions"] = {
                name: {key: told[key] for key in PER_ACTION} for name, told in actions.items()
            }
            for key in PER_ACTION:  # every action counts the same, however many frames it has
                mean = sum(told[key] for told in actions.values()) / len(actions)
                values[f"mean_over_actions/{key}"] = mean
        return values
