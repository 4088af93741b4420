"""CMU Panoptic's calibration_<sequence>.json, centimetres.

A list of hundreds of cameras: choose yours by name, cameras=["00_00", "00_01"].
"""

import json
import re
from pathlib import Path

from mask_sup.calibration.entries import UNKNOWN_SIZE, Entry, lens, matrix, read_text

__all__ = ["LAYOUT", "read", "recognises"]

LAYOUT = '{"cameras": [{"name", "resolution", "K", "distCoef", "R", "t"}, ...]}'


def recognises(path: Path, text: str) -> bool:
    """Whether this is JSON with a list of such cameras."""
    return bool(re.search(r'"cameras"\s*:\s*\[', text)) and '"distCoef"' in text


def read(path: Path) -> tuple[list[Entry], None]:
    """All cameras of the file."""
    cameras = json.loads(read_text(path))["cameras"]
    entries = [
        Entry(
            str(camera["name"]),
            matrix(camera["K"], 3, 3),
            matrix(camera["R"], 3, 3),
            matrix(camera["t"], 3),
            lens(camera["distCoef"]),
            tuple(matrix(camera.get("resolution", UNKNOWN_SIZE), 2)),
        )
        for camera in cameras
    ]
    return entries, None
