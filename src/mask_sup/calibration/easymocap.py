"""EasyMocap: a folder with intri.yml and extri.yml, metres.

`names` lists the cameras; K_<name> (3x3), dist_<name> (5), R_<name> (rotation vector) or Rot_<name>
(3x3), T_<name>, and in newer files H_<name> and W_<name>.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mask_sup.calibration.cameras import Calibration, CalibrationError
from mask_sup.calibration.entries import (
    UNKNOWN_SIZE,
    Entry,
    join,
    lens,
    matrix,
    rotation,
    rotation_vector,
)
from mask_sup.calibration.opencv import read_storage
from mask_sup.files.disk import whole

__all__ = ["FILES", "LAYOUT", "read", "write"]

FILES = ("intri.yml", "extri.yml")
LAYOUT = "a folder with intri.yml (names, K_<name>, dist_<name>) and extri.yml (R_<name>, T_<name>)"


def read(path: Path) -> tuple[list[Entry], None]:
    """The cameras of a folder, or of either of its two files."""
    folder = path if path.is_dir() else path.parent
    nodes = [read_storage(folder / file) for file in FILES]
    names = nodes[0]["names"]
    if not isinstance(names, list):
        raise ValueError(f"names is {names!r}: expected a list")
    told = nodes[0] | nodes[1]
    entries = []
    for name in map(str, names):
        if f"R_{name}" not in told and f"Rot_{name}" not in told:
            raise ValueError(f"no R_{name} in extri.yml")
        distortion = told.get(f"dist_{name}", told.get(f"D_{name}", []))
        size = told.get(f"W_{name}", -1), told.get(f"H_{name}", -1)
        entries.append(
            Entry(
                name,
                matrix(told[f"K_{name}"], 3, 3),
                rotation(told.get(f"R_{name}", told.get(f"Rot_{name}"))),
                matrix(told[f"T_{name}"], 3),
                lens(distortion),
                UNKNOWN_SIZE if -1 in size else tuple(matrix(size, 2)),
            )
        )
    return entries, None


def write(calibration: Calibration, path: Path) -> None:
    """Write the two files into the folder `path`, in metres."""
    if bad := [name for name in calibration.names if not re.fullmatch(r"[\w-]+", name, re.ASCII)]:
        raise CalibrationError(
            f"EasyMocap's files cannot name cameras {bad}: rename them, letters, digits, _ and - "
            "only"
        )
    intri = _names(calibration.names)
    extri = _names(calibration.names)
    for index, name in enumerate(calibration.names):
        R, t = calibration.R[index], calibration.t[index] / 1000
        intri += _node(f"K_{name}", calibration.K[index])
        intri += _node(f"dist_{name}", calibration.distortion[index][None])
        if np.isfinite(size := calibration.sizes[index]).all():
            intri += f"H_{name}: {size[1]:.0f}\nW_{name}: {size[0]:.0f}\n"
        extri += _node(f"R_{name}", rotation_vector(R)[:, None])
        extri += _node(f"Rot_{name}", R) + _node(f"T_{name}", t[:, None])
    with whole(*(path / name for name in FILES)) as parts:
        for part, text in zip(parts, (intri, extri), strict=True):
            part.write_text(text, "utf-8")


def _names(names: Iterable[str]) -> str:
    return "%YAML:1.0\n---\nnames:\n" + "".join(f'  - "{name}"\n' for name in names)


def _node(name: str, value: np.ndarray) -> str:
    rows, cols = value.shape
    return (
        f"{name}: !!opencv-matrix\n  rows: {rows}\n  cols: {cols}\n  dt: d\n"
        f"  data: [{join(value.ravel())}]\n"
    )
