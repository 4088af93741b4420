"""EasyMocap: a folder with intri.yml and extri.yml, metres.

`names` lists the cameras; K_<name> (3x3), dist_<name> (5), R_<name> (rotation vector) or Rot_<name>
(3x3), T_<name>, and in newer files H_<name> and W_<name>.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mask_sup.calibration.cameras import Calibration, CalibrationError
from mask_sup.calibration.entries import Cameras, join, read_each, rotation_vector
from mask_sup.calibration.keys import meanings, read_camera
from mask_sup.calibration.opencv import read_storage
from mask_sup.files.disk import whole

__all__ = ["FILES", "LAYOUT", "read", "write"]

FILES = ("intri.yml", "extri.yml")
SIDES, UNKNOWN_SIDE = ("H", "W"), -1
LAYOUT = "a folder with intri.yml (names, K_<name>, dist_<name>) and extri.yml (R_<name>, T_<name>)"


def read(path: Path) -> tuple[Cameras, None]:
    """The cameras of a folder, or of either of its two files.

    Where intri.yml has one camera alone and extri.yml has several, all share its intrinsics.
    """
    folder = path if path.is_dir() else path.parent
    intri, extri = (read_storage(folder / file) for file in FILES)
    names = list(dict.fromkeys(name for file in FILES for name in _told_names(folder / file)))
    lenses, poses = _by_camera(intri, names), _by_camera(extri, names)
    with_k = [name for name in names if "K" in meanings(lenses[name])]
    shared = lenses[with_k[0]] if len(with_k) == 1 else {}
    posed = [name for name in names if len(with_k) != 1 or poses[name]]
    tables = [(name, (lenses[name] or shared) | poses[name]) for name in posed]
    return read_each(tables, read_camera), None


def _told_names(path: Path) -> list[str]:
    names = read_storage(path, words=True)["names"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"names of {path.name} is {names!r}: expected a list of words")
    return names


def _by_camera(nodes: Mapping[str, Any], names: list[str]) -> dict[str, dict[str, Any]]:
    """The nodes of each camera, K_<name> as K; of names that end alike the longest counts."""
    tables: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in nodes.items():
        if ending := [name for name in names if key.endswith(f"_{name}")]:
            name = max(ending, key=len)
            kind = key[: -len(name) - 1]
            if kind not in SIDES or value != UNKNOWN_SIDE:
                tables[name][kind] = value
    return tables


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
