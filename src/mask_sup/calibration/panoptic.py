"""CMU Panoptic's calibration_<sequence>.json, centimetres.

A list of hundreds of cameras: choose yours by name, cameras=["00_00", "00_01"].
"""

import json
import re
from pathlib import Path

from mask_sup.calibration.entries import Cameras, read_each, read_text
from mask_sup.calibration.keys import read_camera

__all__ = ["LAYOUT", "read", "recognises"]

LAYOUT = '{"cameras": [{"name", "resolution", "K", "distCoef", "R", "t"}, ...]}'


def recognises(path: Path, text: str) -> bool:
    """Whether this is JSON with a list of such cameras."""
    return bool(re.search(r'"cameras"\s*:\s*\[', text)) and '"distCoef"' in text


def read(path: Path) -> tuple[Cameras, None]:
    """All cameras of the file."""
    cameras = json.loads(read_text(path))["cameras"]
    return read_each([(str(camera["name"]), camera) for camera in cameras], read_camera), None
