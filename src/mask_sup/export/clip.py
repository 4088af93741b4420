"""The joints of one person over time, as poses.npz holds them and as other programs want them.

Convention: 3D in mm. Joints of several calibrated views stand in the world of the calibration,
whose upward axis the user names (`up`). Joints of a single view are relative to the root in the
camera's axes (x right, y down, z away); they are turned upright (x, -y, -z) as they are read, so
that their `up` is y. Unknown joints are NaN.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from mask_sup.files.poses import read_poses

__all__ = ["UP_AXES", "Clip", "known_fps", "read_clip", "y_up"]

UP_AXES = {
    "y": np.eye(3),
    "z": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),  # (x, y, z) -> (x, z, -y)
    "-z": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),  # a world whose z points to the ground
    "-y": np.diag([1.0, -1, -1]),  # a world like a camera: y down
}
"""Axis of a world that points up -> the rotation that takes this world to y up."""


class Clip(NamedTuple):
    """Joints over time."""

    joints: tuple[str, ...]
    parents: dict[str, str]
    """Parent of each joint but the root."""
    points_mm: Float[np.ndarray, "t j 3"]
    up: str
    """Axis of `points_mm` that points up: a key of `UP_AXES`."""
    origin: str
    """What `points_mm` is relative to, in words."""
    fps: float | None
    """Frames a second; None: unknown."""
    confidence: Float[np.ndarray, "t j"] | None
    """Of `points_mm`, in [0, 1]; None for single views, which cannot tell."""
    joints_px: Float[np.ndarray, "t v j 2"]
    """Continuous pixels: the joints of `points_mm` seen again, or those of the single view."""
    pictures: np.ndarray
    """(t, v) file names."""
    picture_size_px: np.ndarray
    """(t, v, 2) width and height."""
    source: dict[str, Any]
    """Header of the poses.npz that all of this is from."""

    @property
    def parent_index(self) -> list[int]:
        """Index of each joint's parent; -1 for the root."""
        return [
            self.joints.index(self.parents[name]) if name in self.parents else -1
            for name in self.joints
        ]


def read_clip(path: str | Path, up: str = "z", fps: float | None = None) -> Clip:
    """The clip of a poses.npz that `mask_sup.predict` wrote.

    Args:
        path: The file.
        up: Axis of the recording's world that points up; single views know theirs.
        fps: Frames a second; None: as the file tells.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file, holds no pose, or `up` or `fps` make no sense.
    """
    if up not in UP_AXES:
        raise ValueError(f"up={up}: expected the world's upward axis, one of {list(UP_AXES)}")
    if fps is not None and not 0 < fps < np.inf:
        raise ValueError(f"fps={fps}: expected frames a second, above 0")
    path = Path(path).expanduser()
    header, arrays = read_poses(path, "picture_size_px")
    told = {
        "joints": tuple(header["joints"]),
        "parents": dict(header["parents"]),
        "fps": header.get("fps") if fps is None else float(fps),
        "pictures": arrays["pictures"],
        "picture_size_px": arrays["picture_size_px"],
        "source": header,
    }
    clip = Clip(**told, **(_world if "joints_world_mm" in arrays else _single_view)(arrays, up))
    if not np.isfinite(clip.points_mm).any():
        raise ValueError(f"{path} holds no pose in its {len(clip.points_mm)} frames: predict again")
    return clip


def _world(arrays: Mapping[str, np.ndarray], up: str) -> dict[str, Any]:
    return {
        "points_mm": arrays["joints_world_mm"].astype(float),
        "up": up,
        "origin": "the world of the calibration",
        "confidence": arrays["confidence"].astype(float),
        "joints_px": arrays["reprojected_px"].astype(float),
    }


def _single_view(arrays: Mapping[str, np.ndarray], up: str) -> dict[str, Any]:
    root_mm = arrays["joints_root_mm"].astype(float)
    if root_mm.shape[1] != 1:
        raise ValueError(
            f"these poses are of {root_mm.shape[1]} views that are not tied together: "
            "calibrate the cameras, or predict one view at a time"
        )
    return {
        "points_mm": root_mm[:, 0] @ UP_AXES["-y"].T,
        "up": "y",
        "origin": "the root joint, in the camera's axes turned upright: x right, z to the camera",
        "confidence": None,
        "joints_px": arrays["joints_px"].astype(float),
    }


def y_up(clip: Clip) -> Clip:
    """The same clip in axes whose y points up, by a rotation.

    >>> UP_AXES["z"] @ [1.0, 2.0, 3.0]
    array([ 1.,  3., -2.])
    """
    return clip._replace(points_mm=clip.points_mm @ UP_AXES[clip.up].T, up="y")


def known_fps(clip: Clip, purpose: str) -> float:
    """The frame rate, for what cannot do without one.

    Raises:
        ValueError: If it is unknown.
    """
    if clip.fps is None:
        raise ValueError(
            f"{purpose} needs a frame rate and poses.npz has none (pictures, or videos that "
            "differ): give fps=<frames a second>"
        )
    return clip.fps
