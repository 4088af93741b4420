"""C3D: marker trajectories for biomechanics programs, by way of ezc3d."""

from pathlib import Path

import numpy as np

from mask_sup.export.clip import Clip, known_fps

__all__ = ["write_c3d"]

# What a screen shows to the right and upwards, which is how C3D tells axes.
SCREEN = {"y": ("+X", "+Y"), "z": ("+X", "+Z"), "-z": ("+X", "-Z"), "-y": ("+X", "-Y")}
UNKNOWN = -1.0  # residual of a point that is not there


def write_c3d(clip: Clip, path: Path) -> None:
    """One point per joint in mm, in the clip's own axes (`POINT:X_SCREEN`, `POINT:Y_SCREEN`).

    Unknown joints have the residual -1, all others 0: they are measured by no marker.

    Raises:
        ModuleNotFoundError: If ezc3d is missing.
        ValueError: If the frame rate is unknown.
    """
    try:
        import ezc3d
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "C3D files are written by ezc3d: pip install ezc3d (or mask-sup[export])"
        ) from error

    unknown = ~np.isfinite(clip.points_mm).all(-1).T  # j t
    points = np.ones((4, *unknown.shape))
    points[:3] = clip.points_mm.transpose(2, 1, 0)
    points[:3, unknown] = 0
    file = ezc3d.c3d()
    across, up = SCREEN[clip.up]
    told = {
        "UNITS": ["mm"],
        "RATE": [known_fps(clip, "a C3D file")],
        "LABELS": list(clip.joints),
        "X_SCREEN": [across],
        "Y_SCREEN": [up],
    }
    for name, value in told.items():
        file.add_parameter("POINT", name, value)
    file.add_parameter("MANUFACTURER", "SOFTWARE", ["mask_sup"])
    file["data"]["points"] = points
    file["data"]["meta_points"]["residuals"] = np.where(unknown, UNKNOWN, 0.0)[None]
    file["data"]["meta_points"]["camera_masks"] = np.zeros((7, *unknown.shape), bool)
    file.write(str(path))
