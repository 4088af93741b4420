"""The 3D pose as a scene to look at: upright, on a ground, around the middle of the recording.

Convention: x and y along the ground, z up, mm; the ground is z = 0. Angles in radians, an azimuth
of 0 looks from +x towards the middle.
"""

from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Integer

from mask_sup.data.moments import View
from mask_sup.data.recording import RecordingData
from mask_sup.figure.skeleton import Skeleton
from mask_sup.files.pictures import read_image
from mask_sup.report.figures import mean_known
from mask_sup.report.predictions import Predictions

__all__ = ["Scene", "draw_scene", "make_scene", "project", "up_direction", "upright"]

GRID_MM = 500.0
FIELD_OF_VIEW = np.deg2rad(30.0)
DISTANCE = 4.2  # of the eye from the middle, in radii of the scene
FRUSTUM_MM = 300.0  # depth of a camera's drawn pyramid
GROUND_PERCENTILE = 5.0  # of the lowest joint of each frame: outliers do not sink the ground
SMOOTH_SECONDS = 1.0  # of the path over the ground
BACKGROUND, LINES, SHADE = (30, 30, 34), (62, 62, 70), (18, 18, 20)


class Scene(NamedTuple):
    """n frames of j joints, where they stand and what is around them."""

    points: np.ndarray  # (n, j, 3) mm
    turn: np.ndarray  # (3, 3) directions of the file's axes -> directions here
    up: str  # the file's axis that points up, such as "+z"
    path: np.ndarray  # (n, 2) where the root is over the ground, smoothed; zeros if unknown
    height: float  # of the middle of the body over the ground, mm
    radius: float  # of a ball about that middle which holds the pose of any frame, mm
    front: float  # azimuth that the person faces most
    cameras: np.ndarray  # (v, 5, 3) a centre and four corners per known camera; v may be 0


def make_scene(poses: Predictions, fps: float) -> Scene:
    """The scene of a file of poses."""
    points, world = poses.points_mm.astype(float), poses.joints_world_mm is not None
    up = up_direction(points, poses.joints_px) if world else np.array([0.0, -1.0, 0.0])
    turn = upright(up)
    turned = points @ turn.T
    middle = np.array([*np.nanmedian(turned.reshape(-1, 3), 0)[:2], _ground(turned)])
    middle = np.nan_to_num(middle)
    turned = turned - middle
    path = _path(turned[:, poses.skeleton.root, :2], fps)
    height = _middle_height(turned)
    middles = np.concatenate([path, np.full_like(path[:, :1], height)], 1)
    reach = np.linalg.norm(turned - middles[:, None], axis=-1)
    known = reach[np.isfinite(reach)]
    return Scene(
        points=turned,
        turn=turn,
        up=_axis_name(up),
        path=path,
        height=height,
        radius=max(300.0, float(np.percentile(known, 99.0))) if len(known) else 1000.0,
        front=_front(turned, poses.skeleton),
        cameras=(_cameras(poses) if world else np.zeros((0, 5, 3))) @ turn.T - middle,
    )


def up_direction(
    points_mm: Float[np.ndarray, "n j 3"], xy_px: Float[np.ndarray, "n v j 2"]
) -> Float[np.ndarray, "3"]:
    """The world's axis that points up, told by pictures: cameras stand upright.

    The direction along which joints rise in the pictures, averaged over the views, and then the
    axis nearest to it.
    """
    body = points_mm - mean_known(points_mm, 1)[:, None]
    total = np.zeros(3)
    for k in range(xy_px.shape[1]):
        rise = -(xy_px[:, k, :, 1] - mean_known(xy_px[:, k, :, 1], 1)[:, None])
        known = np.isfinite(rise) & np.isfinite(body).all(-1)
        if known.sum() >= 3:
            direction = np.linalg.lstsq(body[known], rise[known], rcond=None)[0]
            total += direction / max(np.linalg.norm(direction), 1e-12)
    axis = int(np.abs(total).argmax())
    up = np.zeros(3)
    up[axis] = -1.0 if total[axis] < 0 else 1.0
    return up


def upright(up: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """The rotation that turns a signed axis into z.

    >>> upright(np.array([0.0, -1.0, 0.0])) @ [0.0, -1.0, 0.0]
    array([0., 0., 1.])
    """
    x = np.roll(np.abs(up), 1)  # the axis that follows
    return np.stack([x, np.cross(up, x), up])


def _axis_name(direction: np.ndarray) -> str:
    axis = int(np.abs(direction).argmax())
    return ("+" if direction[axis] > 0 else "-") + "xyz"[axis]


def _ground(points: np.ndarray) -> float:
    height = points[..., 2]
    lowest = height[np.isfinite(height).any(-1)]
    return float(np.percentile(np.nanmin(lowest, -1), GROUND_PERCENTILE)) if len(lowest) else 0.0


def _middle_height(points: np.ndarray) -> float:
    """Half way up to the highest joint of a usual frame."""
    height = points[..., 2]
    highest = height[np.isfinite(height).any(-1)]
    return float(np.median(np.nanmax(highest, -1))) / 2 if len(highest) else 0.0


def _path(root: np.ndarray, fps: float) -> np.ndarray:
    """The root over the ground: gaps bridged, then averaged over a second."""
    frames = np.arange(len(root))
    known = np.isfinite(root).all(-1)
    if not known.any():
        return np.zeros_like(root)
    bridged = np.stack([np.interp(frames, frames[known], axis[known]) for axis in root.T], -1)
    half = min(round(fps * SMOOTH_SECONDS / 2), (len(root) - 1) // 2)
    padded = np.pad(bridged, ((half, half), (0, 0)), mode="edge")
    window = np.ones(2 * half + 1) / (2 * half + 1)
    return np.stack([np.convolve(axis, window, "valid") for axis in padded.T], -1)


def _front(points: np.ndarray, skeleton: Skeleton) -> float:
    """Where the person faces: left crossed with up, over the pairs of the skeleton."""
    if not skeleton.pairs:
        return 0.0
    index = skeleton.index
    right, left = ([index[pair[side]] for pair in skeleton.pairs] for side in (0, 1))
    across = mean_known((points[:, left] - points[:, right]).reshape(-1, 3), 0)
    facing = np.cross(np.nan_to_num(across), [0.0, 0.0, 1.0])
    return float(np.arctan2(facing[1], facing[0]))


def _cameras(poses: Predictions) -> np.ndarray:
    """Each camera's centre and the corners of its picture in the world, where they are known."""
    recording = RecordingData(poses.source, None, joints=1, every=1)
    try:
        views = recording.moments("train", masked=False)[0].views
    except (FileNotFoundError, ValueError):  # no recording, or it has changed since
        return np.zeros((0, 5, 3))
    if len(views) != len(poses.cameras):
        return np.zeros((0, 5, 3))
    return np.stack([_frustum(view) for view in views])


def _frustum(view: View) -> np.ndarray:
    h, w = read_image(view.image).shape[:2]
    corners = np.array([[0, 0, 1], [w, 0, 1], [w, h, 1], [0, h, 1]], float)
    rays = FRUSTUM_MM * corners @ np.linalg.inv(view.K).T
    in_camera = np.concatenate([np.zeros((1, 3)), rays])
    return (in_camera - view.t) @ view.R


# ---- a picture of it -----------------------------------------------------------------------------


def project(
    points: Float[np.ndarray, "*n 3"],
    middle: Float[np.ndarray, "3"],
    radius: float,
    azimuth: float,
    elevation: float,
    size: tuple[int, int],
) -> Float[np.ndarray, "*n 2"]:
    """Continuous pixels of points, seen by an eye that looks at `middle` in perspective.

    Args:
        points: mm, z up.
        middle: What is looked at.
        radius: Of the ball that fills the picture, mm.
        azimuth: Of the eye about z.
        elevation: Of the eye over the ground.
        size: Height and width of the picture.
    """
    ca, sa, ce, se = np.cos(azimuth), np.sin(azimuth), np.cos(elevation), np.sin(elevation)
    away = np.array([ca * ce, sa * ce, se])
    right = np.array([-sa, ca, 0.0])
    offset = points - middle
    depth = np.maximum(DISTANCE * radius - offset @ away, 0.1 * radius)
    down = -np.cross(away, right)
    focal = min(size[0], 1.4 * size[1]) / 2 / np.tan(FIELD_OF_VIEW / 2)
    xy = np.stack([offset @ right, offset @ down], -1) * (focal / depth)[..., None]
    return xy + np.array([size[1], size[0]]) / 2


def draw_scene(
    scene: Scene, frame: int, skeleton: Skeleton, azimuth: float, size: tuple[int, int]
) -> Integer[np.ndarray, "h w 3"]:
    """The pose of one frame on its ground, with its shadow; RGB.

    Args:
        scene: What to draw.
        frame: Which frame of it.
        skeleton: Tree and sides.
        azimuth: Where the eye is, about the vertical.
        size: Height and width of the picture.
    """
    from mask_sup.figure.draw import draw_skeleton

    canvas = np.full((*size, 3), BACKGROUND, np.uint8)
    middle = np.array([*scene.path[frame], scene.height])

    def seen(points: np.ndarray) -> np.ndarray:
        return project(points, middle, scene.radius, azimuth, np.deg2rad(12.0), size)

    for line in _grid(middle[:2], 2 * scene.radius):
        _line(canvas, seen(line), LINES, 1)
    points = scene.points[frame]
    flat = seen(points * [1, 1, 0])
    for bone in skeleton.tree:
        _line(canvas, flat[list(bone)], SHADE, max(2, size[0] // 120))
    return draw_skeleton(canvas, seen(points), skeleton)


def _grid(middle: np.ndarray, reach: float) -> np.ndarray:
    """(l, 2, 3) lines of the ground around a point, at whole multiples of the spacing."""
    low, high = (np.round((middle + side) / GRID_MM) * GRID_MM for side in (-reach, reach))
    lines = [[[x, low[1], 0.0], [x, high[1], 0.0]] for x in np.arange(low[0], high[0] + 1, GRID_MM)]
    lines += [
        [[low[0], y, 0.0], [high[0], y, 0.0]] for y in np.arange(low[1], high[1] + 1, GRID_MM)
    ]
    return np.array(lines)


def _line(canvas: np.ndarray, ends: np.ndarray, colour: tuple[int, int, int], width: int) -> None:
    if np.isfinite(ends).all():
        points = [tuple(np.clip(end, -1e4, 1e4).round().astype(int).tolist()) for end in ends]
        cv2.line(canvas, *points, colour, width, cv2.LINE_AA)
