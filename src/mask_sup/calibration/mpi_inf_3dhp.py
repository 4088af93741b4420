"""MPI-INF-3DHP's camera.calibration ("Skeletool Camera Calibration File V1.0"), millimetres.

Seven lines a camera: name, sensor, size, animated, intrinsic and extrinsic (4x4 by rows, world ->
camera), radial. Only ideal lenses are read (radial 0), as in the data set.
"""

from pathlib import Path

import numpy as np

from mask_sup.calibration.cameras import CalibrationError
from mask_sup.calibration.entries import Cameras, Entry, matrix, read_each, read_text
from mask_sup.calibration.keys import refuse_unread

__all__ = ["LAYOUT", "read", "recognises"]

HEADER = "Skeletool Camera Calibration File"
KEYS = ("name", "sensor", "size", "animated", "intrinsic", "extrinsic", "radial")
LAYOUT = f'"{HEADER} V1.0", then name, size, intrinsic, extrinsic and radial of each camera'


def recognises(path: Path, text: str) -> bool:
    """Whether it begins with the header."""
    return text.lstrip().startswith(HEADER)


def read(path: Path) -> tuple[Cameras, None]:
    """The cameras in the order of the file."""
    cameras: list[dict[str, list[str]]] = []
    for line in read_text(path).splitlines()[1:]:
        key, *values = line.split() or [""]
        if key == "name":
            cameras.append({})
        if key:
            cameras[-1][key] = values
    return read_each([(" ".join(c["name"]), c) for c in cameras], _entry), None


def _entry(name: str, camera: dict[str, list[str]]) -> Entry:
    refuse_unread(camera, KEYS)
    if any(float(value) for value in camera["radial"] + camera["animated"]):
        raise CalibrationError(
            f"camera {name!r} moves or has radial distortion: only fixed ideal lenses are read"
        )
    intrinsic, extrinsic = matrix(camera["intrinsic"], 4, 4), matrix(camera["extrinsic"], 4, 4)
    return Entry(
        name,
        intrinsic[:3, :3],
        extrinsic[:3, :3],
        extrinsic[:3, 3],
        np.zeros(5),
        tuple(matrix(camera["size"], 2)),
    )
