"""multical's calibration.json, metres.

`cameras` holds K, dist and image_size of each, `camera_poses` R and T: rig -> camera under the
camera's own name, or x_a = R x_b + T under <a>_to_<b>, where camera b has a pose of its own.

Source: oliver-batchelor/multical, multical/io/export_calib.py (with a master camera all others are
told relative to it) and camera_fisheye.py, whose model is refused. The unit is that of the board.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mask_sup.calibration.entries import Cameras, Entry, matrix, read_each, read_text
from mask_sup.calibration.keys import read_camera

__all__ = ["LAYOUT", "read", "recognises"]

LAYOUT = '{"cameras": {name: {"K", "dist", "image_size"}}, "camera_poses": {name: {"R", "T"}}}'
BETWEEN = "_to_"


def recognises(path: Path, text: str) -> bool:
    """Whether this is JSON with cameras and their poses."""
    return bool(re.search(r'"cameras"\s*:\s*\{', text)) and '"camera_poses"' in text


def read(path: Path) -> tuple[Cameras, None]:
    """All cameras of the file."""
    told = json.loads(read_text(path))
    cameras, poses = told["cameras"], told["camera_poses"]
    known = {name: _pose(poses[name]) for name in cameras if name in poses}
    links = {name: link for key in poses for name, link in _link(key, poses[key], cameras)}

    def read_one(name: str, table: Mapping[str, Any]) -> Entry:
        _resolve(name, known, links)
        return read_camera(name, dict(table) | dict(zip("RT", known[name], strict=True)))

    return read_each(cameras.items(), read_one), None


def _pose(told: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    return matrix(told["R"], 3, 3), matrix(told["T"], 3)


def _link(key: str, told: Any, cameras: Mapping[str, Any]) -> list[tuple[str, tuple]]:
    """Camera a, and b with the pose between them, of a key <a>_to_<b>; names may hold _to_."""
    ends = [(key[: at.start()], key[at.end() :]) for at in re.finditer(BETWEEN, key)]
    return [(a, (b, *_pose(told))) for a, b in ends if a in cameras and b in cameras]


def _resolve(name: str, known: dict[str, tuple], links: Mapping[str, tuple]) -> None:
    """Find the pose of a camera from that of the one that it is told relative to, and so on."""
    chain: dict[str, None] = {}
    while name not in known:
        if name in chain or name not in links:
            raise ValueError(f"camera {name!r} has no pose in camera_poses: it was not connected")
        chain[name] = None
        name = links[name][0]
    for a in reversed(chain):
        b, R, T = links[a]
        known[a] = (R @ known[b][0], R @ known[b][1] + T)
