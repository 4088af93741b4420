"""TOML files of Anipose (millimetres), Caliscope (metres), and those that copy their layout.

A table per camera: name, size, matrix (3x3), distortions, rotation (a vector, or 3x3), translation,
maybe fisheye. Caliscope's tables have no name and say rotation_count. Pose2Sim writes Anipose's
layout in metres: read it with unit="m".
"""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mask_sup.calibration.cameras import Calibration, CalibrationError
from mask_sup.calibration.entries import (
    Cameras,
    LeftOut,
    join,
    read_each,
    read_text,
    rotation_vector,
    shown_turned,
)
from mask_sup.calibration.keys import is_camera, read_camera
from mask_sup.files.disk import write_file

__all__ = ["LAYOUT", "read", "recognises", "recognises_caliscope", "write"]

QUARTER = 90  # degrees, of Caliscope's rotation_count
LAYOUT = "TOML with a table per camera: matrix, distortions, rotation, translation, name, size"


def recognises(path: Path, text: str) -> bool:
    """Whether this is TOML with cameras that is not Caliscope's."""
    return _has_cameras(path, text) and not recognises_caliscope(path, text)


def recognises_caliscope(path: Path, text: str) -> bool:
    """Whether this is TOML with cameras and Caliscope's keys."""
    told = re.search(r"^\s*(rotation_count|cam_id|port)\s*=", text, re.M)
    return _has_cameras(path, text) and bool(told)


def _has_cameras(path: Path, text: str) -> bool:
    keys = ("matrix", "rotation", "translation")
    return path.suffix.lower() == ".toml" and all(
        re.search(rf"^\s*{key}\s*=", text, re.M) for key in keys
    )


TOO_DEEP = re.compile(r"^\s*\[*\s*(?:[\w\"'-]+\s*\.\s*){20}", re.M)


def read(path: Path) -> tuple[Cameras, None]:
    """All tables that are cameras, but for those marked ignore = true."""
    text = read_text(path)
    if TOO_DEEP.search(text):  # takes the parser hours
        raise CalibrationError(f"{path}: keys nested 20 deep and more; expected {LAYOUT}")
    told = tomllib.loads(text)
    tables = {key: table for key, table in told.items() if is_camera(key, table)}
    if isinstance(told.get("cameras"), Mapping):  # newer Caliscope: [cameras.0]
        of_all = {f"cam_{key}": table for key, table in told["cameras"].items()}
        tables |= {name: t for name, t in of_all.items() if isinstance(t, Mapping)}
    named = [(str(table.get("name", key)), table) for key, table in tables.items()]
    found = zip(named, read_each(named, read_camera), strict=True)
    ignored = "is marked ignore = true"
    return [
        LeftOut(name, ignored, camera)
        if table.get("ignore") is True
        else shown_turned(camera, QUARTER * int(table.get("rotation_count", 0)))
        for (name, table), camera in found
    ], None


def write(calibration: Calibration, path: Path) -> None:
    """Write Anipose's layout, in mm.

    Raises:
        CalibrationError: If the size of pictures is unknown, which Anipose needs.
    """
    if np.isnan(calibration.sizes).any():
        raise CalibrationError(
            f"Anipose's files need the size of all pictures, which {calibration.source} does not "
            "say: give them, `calibration.fitted_to(sizes)` or videos=<folder>"
        )
    tables = []
    for index, name in enumerate(calibration.names):
        rows = ", ".join(f"[{join(row)}]" for row in calibration.K[index])
        width, height = calibration.sizes[index].round().astype(int)
        tables.append(
            f"[cam_{index}]\n"
            f"name = {json.dumps(name, ensure_ascii=False)}\n"
            f"size = [{width}, {height}]\n"
            f"matrix = [{rows}]\n"
            f"distortions = [{join(calibration.distortion[index])}]\n"
            f"rotation = [{join(rotation_vector(calibration.R[index]))}]\n"
            f"translation = [{join(calibration.t[index])}]\n"
        )
    tables.append("[metadata]\nadjusted = false\nerror = 0.0\n")
    write_file(path, "\n".join(tables))
