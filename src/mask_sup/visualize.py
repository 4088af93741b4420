"""Pictures: skeletons over images, masks as heat, poses in 3D."""

from pathlib import Path

import cv2
import numpy as np
import torch

from mask_sup.batch import Views
from mask_sup.camera import cam_from_world
from mask_sup.disk import write_file
from mask_sup.skeleton import Skeleton
from mask_sup.stages import CascadeStage

__all__ = ["draw_pose", "draw_skeleton", "fit_into", "pose_sheet", "stage_sheet", "write_png"]

# The person's right in warm, left in cool, the middle in light grey; RGB.
RIGHT, LEFT, MIDDLE = (255, 110, 40), (60, 170, 255), (235, 235, 235)


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write an RGB picture."""
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise ValueError(f"cannot encode {path}")
    write_file(path, data.tobytes())


def _colour(skeleton: Skeleton, parent: int, child: int) -> tuple[int, int, int]:
    name = skeleton.joints[child]
    if name.startswith("right_"):
        return RIGHT
    return LEFT if name.startswith("left_") else MIDDLE


def draw_skeleton(picture: np.ndarray, xy_px: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """A copy of an RGB picture with the kinematic tree drawn over it.

    The person's right side is orange, the left blue, the middle white.

    Args:
        picture: (h, w, 3) uint8.
        xy_px: (j, 2) continuous pixels; a bone with a NaN end is left out.
        skeleton: Names, tree and sides.
    """
    picture = picture.copy()
    thickness = max(1, round(max(picture.shape[:2]) / 250))
    bits = 4  # sub-pixel drawing; OpenCV puts pixel centres at integers, we at halves
    points = np.round((np.clip(xy_px, -1e4, 1e4) - 0.5) * (1 << bits))
    for parent, child in skeleton.tree:
        if np.isfinite(points[[parent, child]]).all():
            ends = (tuple(points[j].astype(int).tolist()) for j in (parent, child))
            colour = _colour(skeleton, parent, child)
            cv2.line(picture, *ends, colour, thickness, cv2.LINE_AA, bits)
    for point in points[np.isfinite(points).all(-1)].astype(int):
        radius = (thickness + 1) << (bits - 1)
        cv2.circle(picture, tuple(point.tolist()), radius, (20, 20, 20), -1, cv2.LINE_AA, bits)
    return picture


def draw_pose(pose: np.ndarray, skeleton: Skeleton, size: int, turn: float = 0.0) -> np.ndarray:
    """A 3D pose seen from the front and, by `turn` degrees, from beside; RGB.

    Args:
        pose: (j, 3) mm in camera axes (x right, y down, z away).
        skeleton: Names, tree and sides.
        size: Side of the picture, pixels.
        turn: Rotation about the vertical axis, degrees.
    """
    canvas = np.full((size, size, 3), 30, np.uint8)
    angle = np.deg2rad(turn)
    centred = pose - np.nanmean(pose, 0)
    x = np.cos(angle) * centred[:, 0] + np.sin(angle) * centred[:, 2]
    xy = np.stack([x, centred[:, 1]], -1) * (size / 2200) + size / 2
    return draw_skeleton(canvas, xy, skeleton)


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


def pose_sheet(rows: list[list[np.ndarray]], size: int) -> np.ndarray:
    """A grid of RGB pictures, each fitted into size x size with a black border."""
    fitted = [[fit_into(picture, size, size) for picture in row] for row in rows]
    return np.concatenate([np.concatenate(row, 1) for row in fitted])


def fit_into(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """An RGB picture as large as it fits into height x width, with a black border."""
    h, w = picture.shape[:2]
    scale = min(height / h, width / w)
    small = cv2.resize(
        picture, (max(1, round(w * scale)), max(1, round(h * scale))), interpolation=cv2.INTER_AREA
    )
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return canvas
