"""`poses.npz`: what `mask_sup.predict` writes and everything after it reads."""

from pathlib import Path
from typing import Any

import numpy as np

from mask_sup.files.disk import read_arrays, write_arrays

__all__ = ["UNSURE", "VERSION", "read_poses", "write_poses"]

VERSION = 2
UNSURE = 0.05  # of the person's size: expected error of a joint whose confidence is 0.5


def write_poses(
    path: Path,
    poses: dict[str, np.ndarray],
    pictures: np.ndarray,
    skeleton: Any,
    fps: float | None,
    cfg: Any,
    settings: dict[str, Any],
) -> None:
    """poses.npz, readable with allow_pickle=False; `header` is JSON that explains every array."""
    header = {
        "version": VERSION,
        "skeleton": skeleton.name,
        "joints": list(skeleton.joints),
        "parents": dict(skeleton.parents),
        "fps": fps,  # null: unknown
        "every": cfg.every,
        "units": {"joints_*_mm": "mm", "*_px": "pixels", "fps": "predicted frames a second"},
        "axes": {
            "*_px": "x right, y down, from the picture's upper left corner; pixel (row r, column "
            "c) covers [c, c+1] x [r, r+1]",
            "joints_root_mm": "x right, y down, z away from the camera; origin at the root joint",
            "joints_world_mm": "the world of the calibration",
        },
        "arrays": {
            "joints_px": "frame, view, joint, (x, y): continuous pixels of the input pictures",
            "joints_root_mm": "frame, view, joint, (x right, y down, z away from the camera): mm "
            f"relative to the root; scale from a person of {cfg.person_height} mm",
            "person_px": "frame, view: larger side of the person's mask (no mask: of the picture)",
            "picture_size_px": "frame, view, (width, height)",
            "joints_world_mm": "frame, joint, (x, y, z): mm in the world of the calibration",
            "reprojected_px": "frame, view, joint, (x, y): the triangulated joints seen again",
            "reprojection_error_px": "frame, view, joint: distance of the two, pixels",
            "confidence": "frame, joint: of joints_world_mm, in [0, 1]: 1 / (1 + (s / "
            f"{UNSURE})^2), s^2 = 9 / (2 v) * sum over the v views of (reprojection_error_px / "
            "person_px)^2 / (2 v - 3)",
            "pictures": "frame, view: file of each picture",
        },
        "checkpoint": str(cfg.checkpoint),
        "settings": settings,  # what the detector was given, by all its ancestors
        "input": str(cfg.input),
    }
    header["arrays"] = {k: t for k, t in header["arrays"].items() if k in poses or k == "pictures"}
    write_arrays(path, header, {"pictures": pictures, **poses})


def read_poses(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays of a poses.npz of this version.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no poses.npz, or of another version.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no poses at {path}: give the poses.npz of mask_sup.predict")
    return read_arrays(path, VERSION, "predict again")
