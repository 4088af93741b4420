"""What a stage sees and draws, as one picture."""

import cv2
import numpy as np
import torch

from mask_sup.figure.draw import draw_pose, draw_skeleton
from mask_sup.geometry.batch import Views
from mask_sup.geometry.camera import cam_from_world
from mask_sup.method.stages import CascadeStage

__all__ = ["stage_sheet"]


def _heat(values: np.ndarray, top: float, size: int) -> np.ndarray:
    scaled = (255 * np.clip(values / max(top, 1e-9), 0, 1)).astype(np.uint8)
    large = cv2.resize(scaled, (size, size), interpolation=cv2.INTER_NEAREST)
    return cv2.cvtColor(cv2.applyColorMap(large, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)


def _rgb(image: np.ndarray, size: int) -> np.ndarray:
    picture = (255 * np.clip(image, 0, 1)).astype(np.uint8).transpose(1, 2, 0)
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_LINEAR)


def _titled(columns: dict[str, list[np.ndarray]], size: int) -> np.ndarray:
    strips = []
    for title, pictures in columns.items():
        head = np.full((18, size, 3), 30, np.uint8)
        cv2.putText(head, title, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255,) * 3, 1, cv2.LINE_AA)
        strips.append(np.concatenate([head, *pictures]))
    return np.concatenate(strips, 1)


@torch.no_grad()
def stage_sheet(stage: CascadeStage, views: Views, size: int = 160) -> np.ndarray:
    """One row per view: image, mask, skeleton mask, physique mask, weights, 2D and 3D pose; RGB."""
    drawn = stage.draw(views)
    prior = getattr(stage, "shape_prior", None)
    physique = prior(drawn.skeleton_mask) if prior is not None else None
    skeleton = stage.detector.skeleton
    columns: dict[str, list[np.ndarray]] = {}

    def add(title: str, picture: np.ndarray) -> None:
        columns.setdefault(title, []).append(picture)

    n, v = views.mask.shape[:2]
    for i, k in ((i, k) for i in range(n) for k in range(v)):
        image = _rgb(views.image[i, k].cpu().numpy(), size)
        joints = drawn.joints_crop[i, k].float().cpu().numpy()
        xy = drawn.fused.xy[i, k].float().cpu().numpy()
        add("image", image)
        add("mask", _heat(views.mask[i, k].cpu().numpy(), 1, size))
        add("skeleton mask", _heat(drawn.skeleton_mask[i, k].cpu().numpy(), 1, size))
        if physique is not None:
            add("physique mask", _heat(physique[i, k].cpu().numpy(), 1, size))
        add("weight", _heat(views.weight[i, k].cpu().numpy(), float(views.weight[i].max()), size))
        add("detected", draw_skeleton(image, (joints[:, :2] + 1) * size / 2, skeleton))
        add("drawn", draw_skeleton(image, (xy + 1) * size / 2, skeleton))
        half_depth = stage.detector.depth_range / 2
        pose = joints * half_depth  # the picture needs no exact scale
        if drawn.fused.joints_world is not None:
            world = drawn.fused.joints_world[i]
            camera = type(views.camera)(*(part[i, k] for part in views.camera))
            pose = cam_from_world(world, camera).cpu().numpy()
        add("3D", draw_pose(pose, skeleton, size))
        add("3D turned", draw_pose(pose, skeleton, size, turn=90))
    return _titled(columns, size)
