"""AIST++'s cameras, setting<n>.json, centimetres: a list of Anipose's tables, as JSON.

Source: google/aistplusplus_api. loader.py reads them into aniposelib's cameras; they were adjusted
(processing/run_estimate_camera.py) from a start of 180 cm up and 500 cm away with nothing to hold
the scale, so that centimetres are nominal.
"""

import json
from pathlib import Path

from mask_sup.calibration.entries import Cameras, read_each, read_text
from mask_sup.calibration.keys import read_camera

__all__ = ["LAYOUT", "read", "recognises"]

LAYOUT = '[{"name", "size", "matrix", "rotation", "translation", "distortions"}, ...]'


def recognises(path: Path, text: str) -> bool:
    """Whether this is a JSON list of such cameras."""
    keys = ('"matrix"', '"rotation"', '"translation"')
    return text.lstrip()[:1] == "[" and all(key in text for key in keys)


def read(path: Path) -> tuple[Cameras, None]:
    """All cameras of the file."""
    cameras = json.loads(read_text(path))
    return read_each([(str(camera["name"]), camera) for camera in cameras], read_camera), None
