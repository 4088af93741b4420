"""Qualisys Track Manager's calibration, *.qca.txt (XML), millimetres.

Focal lengths and principal points are in 1/64 pixel of the whole sensor, of which fov_video is
recorded; distortion is as printed, OpenCV's k1 k2 k3 and p1 p2. `transform` is printed by rows so
that r (x_world - c) is in a camera frame with y up and z backwards. Numbers are those of the
calibrated picture: recorders may scale and letterbox it, see `Calibration.fitted_to`.
"""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from mask_sup.calibration.entries import (
    Cameras,
    Entry,
    film_alone,
    lens,
    parse_xml,
    pinhole,
    read_each,
    read_text,
    shown_turned,
)
from mask_sup.calibration.keys import refuse_unread

__all__ = ["LAYOUT", "read", "recognises"]

LAYOUT = "XML with <cameras><camera serial=...> of <fov_video>, <transform> and <intrinsic>"
SUBPIXELS = 64
INTRINSIC = (  # attributes that are read, or, of the lens in mm, tell the same
    *("focallength", "focallengthu", "focallengthv", "centerpointu", "centerpointv", "skew"),
    *("radialdistortion1", "radialdistortion2", "radialdistortion3"),
    *("tangentaldistortion1", "tangentaldistortion2"),
)
# Models that film: Miqus Video and Hybrid (which tracks as well), VC and VM; "none" of other hands.
FILMING = re.compile(r"video|hybrid|none|\bv[cm]\d*\b", re.I)


def recognises(path: Path, text: str) -> bool:
    """Whether this is XML with Qualisys' intrinsics."""
    return text.lstrip()[:1] == "<" and "focalLengthU" in text


def read(path: Path) -> tuple[Cameras, None]:
    """The cameras that film, marker cameras left out; all of them where no model says so."""
    cameras = parse_xml(read_text(path)).findall("cameras/camera")
    found = read_each([(camera.attrib["serial"], camera) for camera in cameras], _entry)
    turns = [float(camera.get("viewrotation", 0)) for camera in cameras]
    found = [shown_turned(one, turn) for one, turn in zip(found, turns, strict=True)]
    return film_alone(found, [camera.get("model") or "none" for camera in cameras], FILMING), None


def _numbers(camera: ElementTree.Element, tag: str, *keys: str) -> np.ndarray:
    element = camera.find(tag)
    if element is None:
        raise ValueError(f"camera {camera.get('serial')!r} has no <{tag}>")
    return np.array([float(element.attrib[key]) for key in keys])


def _entry(name: str, camera: ElementTree.Element) -> Entry:
    intrinsic = camera.find("intrinsic")
    refuse_unread({} if intrinsic is None else intrinsic.attrib, INTRINSIC)
    left, top, right, bottom = _numbers(camera, "fov_video", "left", "top", "right", "bottom")
    sides = ("focalLengthU", "focalLengthV", "centerPointU", "centerPointV")
    fx, fy, cx, cy = _numbers(camera, "intrinsic", *sides) / SUBPIXELS
    (skew,) = _numbers(camera, "intrinsic", "skew") / SUBPIXELS
    radial = _numbers(camera, "intrinsic", *(f"radialDistortion{i}" for i in (1, 2, 3)))
    tangential = _numbers(camera, "intrinsic", *(f"tangentalDistortion{i}" for i in (1, 2)))
    K = pinhole(fx, fy, cx - left, cy - top)
    K[0, 1] = skew
    keys = [f"r{row}{column}" for row in (1, 2, 3) for column in (1, 2, 3)]
    R = np.diag([1.0, -1.0, -1.0]) @ _numbers(camera, "transform", *keys).reshape(3, 3)
    centre = _numbers(camera, "transform", "x", "y", "z")
    return Entry(
        name,
        K,
        R,
        -R @ centre,
        lens([*radial[:2], *tangential, radial[2]]),
        (right - left + 1, bottom - top + 1),
    )
