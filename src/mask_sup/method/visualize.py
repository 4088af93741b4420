"""What a stage sees, detects and draws, and what a round takes for right, as one picture each."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch.utils.data import default_collate

from mask_sup.data.moments import Moment, MomentDataset, expand, spread_views
from mask_sup.figure.draw import draw_pose, draw_skeleton, title_band
from mask_sup.figure.skeleton import Skeleton
from mask_sup.geometry.batch import Views
from mask_sup.geometry.camera import cam_from_world, crop_from_cam
from mask_sup.method.pseudo import PseudoPoses
from mask_sup.method.stages import CascadeStage, DetectorStage

__all__ = [
    "label_sheet",
    "labels_of_all_kinds",
    "named",
    "of_several_people",
    "stage_sheet",
    "views_of",
]

VIEWS = 2  # of each moment that are shown
SIDE = 160  # of each picture, pixels


def of_several_people(moments: Sequence[Moment], count: int) -> list[int]:
    """Numbers of at most `count` moments: of each person in turn, spread over the recordings."""
    people: dict[str, list[int]] = {}
    for i, moment in enumerate(moments):
        people.setdefault(moment.person, []).append(i)
    turns = -(-count // max(len(people), 1))
    spread = [
        own[int((turn + 0.5) / turns * len(own))]
        for turn in range(turns)
        for own in people.values()
    ]
    return sorted(set(spread[:count]))


def labels_of_all_kinds(poses: PseudoPoses, each: int = 3) -> list[int]:
    """Numbers of moments of a round: of those kept and of those left out, from best to worst."""
    seen = (~poses.residual.isnan()).nonzero().flatten()
    ranked = seen[poses.residual[seen].argsort()]
    which = []
    for kept in (True, False):
        own = ranked[poses.kept[ranked] == kept]
        places = torch.linspace(0, len(own) - 1, min(each, len(own))).round().long()
        which += own[places].tolist()
    return which


def views_of(dataset: MomentDataset, which: Sequence[int]) -> Views:
    """What a detector sees of some moments, by as many views as each of them has."""
    few = min(dataset.asked or dataset.counts[i] for i in which)
    items = [dataset.part(i, spread_views(dataset.counts[i], few)) for i in which]
    return expand(default_collate(items)).views


def named(moment: Moment) -> str:
    """A moment for people: its name, and who is seen."""
    return f"{moment.name} ({moment.person})" if moment.person else moment.name


# ---- pictures ------------------------------------------------------------------------------------


def _heat(values: np.ndarray, top: float) -> np.ndarray:
    scaled = (255 * np.clip(values / max(top, 1e-9), 0, 1)).astype(np.uint8)
    large = cv2.resize(scaled, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    return cv2.cvtColor(cv2.applyColorMap(large, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)


def _rgb(image: np.ndarray) -> np.ndarray:
    picture = (255 * np.clip(image, 0, 1)).astype(np.uint8).transpose(1, 2, 0)
    return cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)


def _sheet(title: str, moments: Sequence[tuple[str, list[dict[str, np.ndarray]]]]) -> np.ndarray:
    """A titled column per kind of picture; a band names each moment, a row is a view of it."""
    heads = list(moments[0][1][0])
    width = SIDE * len(heads)
    parts = [
        title_band(title, width),
        np.concatenate([title_band(head, SIDE) for head in heads], 1),
    ]
    for name, rows in moments:
        parts.append(title_band(name, width))
        parts += [np.concatenate([row[head] for head in heads], 1) for row in rows]
    return np.concatenate(parts)


@torch.no_grad()
def stage_sheet(stage: DetectorStage, views: Views, names: Sequence[str], title: str) -> np.ndarray:
    """A row per view: what goes in, what the stage draws, and its poses in 2D and 3D; RGB.

    A stage that trains on masks shows its Skeleton Mask, Physique Mask and weights as well; where
    it ties views together, 3D is triangulated, otherwise it is what the view by itself tells.

    Args:
        stage: Whose networks are looked at, in evaluation mode.
        views: All views of some moments; the first ones of each are shown.
        names: Of the moments.
        title: Of the sheet.
    """
    drawn, physique = None, None
    if isinstance(stage, CascadeStage):
        drawn = stage.draw(views)
        joints_crop, fused = drawn.joints_crop, drawn.fused
        if (prior := getattr(stage, "shape_prior", None)) is not None:
            physique = prior(drawn.skeleton_mask)
    else:
        joints_crop, fuse = stage.detector(views.image), getattr(stage, "fuse", None)
        fused = None if fuse is None else fuse(joints_crop[..., :2], views.camera)
    skeleton, half_depth = stage.detector.skeleton, stage.detector.depth_range / 2

    def row(i: int, k: int) -> dict[str, np.ndarray]:
        image = _rgb(views.image[i, k].cpu().numpy())
        joints = joints_crop[i, k].float().cpu().numpy()
        pictures = {"image": image, "mask": _heat(views.mask[i, k].cpu().numpy(), 1)}
        if drawn is not None:
            pictures["skeleton mask"] = _heat(drawn.skeleton_mask[i, k].float().cpu().numpy(), 1)
        if physique is not None:
            pictures["physique mask"] = _heat(physique[i, k].float().cpu().numpy(), 1)
        if drawn is not None:
            weight = views.weight[i, k].cpu().numpy()
            pictures["weight"] = _heat(weight, float(views.weight[i].max()))
        pictures["detected"] = _posed(image, joints, skeleton)
        pose = joints * half_depth  # the picture needs no exact scale
        if fused is not None:
            pictures["fused"] = _posed(image, fused.xy[i, k].float().cpu().numpy(), skeleton)
            if fused.joints_world is not None:
                seen = cam_from_world(fused.joints_world[i], views.camera.part((i, k)))
                pose = seen.float().cpu().numpy()
        return pictures | _turned(pose, skeleton)

    n, v = views.mask.shape[:2]
    return _sheet(title, [(names[i], [row(i, k) for k in range(min(v, VIEWS))]) for i in range(n)])


def label_sheet(
    poses: PseudoPoses, dataset: MomentDataset, which: Sequence[int], skeleton: Skeleton, title: str
) -> np.ndarray:
    """Pseudo-labels over the pictures that they are of, with what tells how good they are; RGB.

    Args:
        poses: Of the whole data set.
        dataset: The training's.
        which: Numbers of the moments that are shown.
        skeleton: Names, tree and sides.
        title: Of the sheet.
    """
    views = views_of(dataset, which)

    def row(i: int, k: int) -> dict[str, np.ndarray]:
        image = _rgb(views.image[i, k].numpy())
        camera = views.camera.part((i, k))
        seen = cam_from_world(poses.joints_world[which[i]], camera)
        xy = crop_from_cam(seen, camera).numpy()
        mask = _heat(views.mask[i, k].numpy(), 1)
        pictures = {"image": image, "mask": mask, "pseudo-label": _posed(image, xy, skeleton)}
        pictures["over the mask"] = _posed(mask, xy, skeleton)
        return pictures | _turned(seen.numpy(), skeleton)

    rows = []
    for i, number in enumerate(which):
        verdict = "kept" if poses.kept[number] else "left out"
        told = f"residual {poses.residual[number]:.4f}, front {poses.front[number]:.4f}"
        shown = [row(i, k) for k in range(min(views.mask.shape[1], VIEWS))]
        rows.append((f"{verdict}, {told}: {named(dataset.moments[number])}", shown))
    return _sheet(title, rows)


def _posed(picture: np.ndarray, xy: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    return draw_skeleton(picture, (xy[:, :2] + 1) * SIDE / 2, skeleton)


def _turned(pose: np.ndarray, skeleton: Skeleton) -> dict[str, np.ndarray]:
    return {
        "3D": draw_pose(pose, skeleton, SIDE),
        "3D turned": draw_pose(pose, skeleton, SIDE, turn=90),
    }
