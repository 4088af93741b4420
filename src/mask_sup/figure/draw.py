"""Pictures: skeletons over images, poses in 3D, sheets of pictures."""

import cv2
import numpy as np

from mask_sup.figure.skeleton import Skeleton

__all__ = [
    "BAND",
    "LEFT",
    "MIDDLE",
    "RIGHT",
    "draw_pose",
    "draw_skeleton",
    "fit_into",
    "pose_sheet",
    "title_band",
]

BAND = 18  # height of a line of text, pixels
# The person's right in warm, left in cool, the middle in light grey; RGB.
RIGHT, LEFT, MIDDLE = (255, 110, 40), (60, 170, 255), (235, 235, 235)


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


def pose_sheet(rows: list[list[np.ndarray]], size: int) -> np.ndarray:
    """A grid of RGB pictures, each fitted into size x size with a black border."""
    fitted = [[fit_into(picture, size, size) for picture in row] for row in rows]
    return np.concatenate([np.concatenate(row, 1) for row in fitted])


def title_band(text: str, width: int) -> np.ndarray:
    """A line of text above a column or a row, (BAND, width, 3) RGB; OpenCV writes ASCII alone."""
    band = np.full((BAND, width, 3), 30, np.uint8)
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(band, plain, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255,) * 3, 1, cv2.LINE_AA)
    return band


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
