"""Vicon's *.xcp (XML), millimetres; cameras are called like their DEVICEID.

ORIENTATION is a quaternion x y z w, world -> camera, POSITION the centre; fy is FOCAL_LENGTH over
PIXEL_ASPECT_RATIO. The lens goes from the distorted picture to the ideal one, about a centre c and
with radii r in pixels: p' = c + (1 + k0 r^2 + k1 r^4 + k2 r^6) (p - c). VICON_RADIAL2 tells
"Vicon3Parameter cx cy k0 k1 k2", VICON_RADIAL "k0 k1" about the principal point. OpenCV's lens goes
the other way: its coefficients are fitted over the picture.

Sources: Vicon's "About calibration data (XCP) files" (CaraPost reference) for the keys. For the
lens, public readers: GRIP (loadXCP) undoes it from detections to ideal points, avialsync
(vicon_c3d_loader.py) tried both ways on the lights of the other cameras and found this one, a third
quotes this formula as Vicon's. Some others take k for OpenCV's, or correct with the inverse.
"""

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from mask_sup.calibration.cameras import CalibrationError
from mask_sup.calibration.entries import (
    Cameras,
    Entry,
    film_alone,
    parse_xml,
    pinhole,
    quaternion_rotation,
    read_each,
    read_text,
)

__all__ = ["LAYOUT", "read", "recognises"]

LAYOUT = "XML with <Camera DEVICEID=... SENSOR_SIZE=...><KeyFrames><KeyFrame ORIENTATION=...>"
CORRECTION = "PIXEL_ASPECT_RATIO_CORRECTION"
FILMING = re.compile(r"vue|video", re.I)
GRID = 21  # points along each side of the picture that the lens is fitted at
MISFIT_PX = 0.5  # more than the fit may be off anywhere


def recognises(path: Path, text: str) -> bool:
    """Whether this is XML with Vicon's key frames."""
    return text.lstrip()[:1] == "<" and "<KeyFrame" in text and "FOCAL_LENGTH" in text


def read(path: Path) -> tuple[Cameras, None]:
    """The video cameras (Vue, or by name); all of them where no type says so."""
    cameras = parse_xml(read_text(path)).findall(".//Camera")
    found = read_each([(camera.attrib["DEVICEID"], camera) for camera in cameras], _entry)
    kinds = [f"{c.get('DISPLAY_TYPE', '')} {c.get('TYPE', '')}".strip() for c in cameras]
    return film_alone(found, kinds, FILMING), None


def _entry(name: str, camera: ElementTree.Element) -> Entry:
    frames = camera.findall("KeyFrames/KeyFrame")
    if len(frames) != 1:
        raise CalibrationError(
            f"camera {name!r} has {len(frames)} key frames: expected one, of a camera that was "
            "calibrated and stands still"
        )
    told = frames[0].attrib
    _refuse_corrected(told, camera.attrib["SENSOR_SIZE"])
    focal, aspect = float(told["FOCAL_LENGTH"]), float(camera.get("PIXEL_ASPECT_RATIO", 1))
    K = pinhole(focal, focal / aspect, *_numbers(told["PRINCIPAL_POINT"], 2))
    K[0, 1] = float(camera.get("SKEW", 0))
    width, height = _numbers(camera.attrib["SENSOR_SIZE"], 2)
    x, y, z, w = _numbers(told["ORIENTATION"], 4)
    R = quaternion_rotation(np.array([w, x, y, z]))
    lens = _lens(told, K, aspect, (width, height))
    return Entry(name, K, R, -R @ _numbers(told["POSITION"], 3), lens, (width, height))


def _refuse_corrected(told: dict[str, str], size: str) -> None:
    """Refuse a correction of the pixels' shape: no source says which way it goes."""
    correction, (_, height) = float(told.get(CORRECTION, 1)), _numbers(size, 2)
    if abs(correction - 1) * height / 2 > MISFIT_PX:
        raise CalibrationError(
            f"its {CORRECTION} is {correction:g}: expected 1, others are not read; calibrate again "
            "with square pixels, or export the calibration in another format"
        )


def _numbers(text: str, count: int) -> np.ndarray:
    found = np.array(text.split(), float)
    if found.size != count:
        raise ValueError(f"{text!r} has {found.size} numbers, not {count}")
    return found


def _lens(
    told: dict[str, str], K: np.ndarray, aspect: float, size: tuple[float, float]
) -> np.ndarray:
    """OpenCV's coefficients of the lens of a key frame."""
    if "VICON_RADIAL2" in told:
        cx, cy, *radial = _numbers(told["VICON_RADIAL2"].partition(" ")[2], 5)
    else:
        (cx, cy), radial = K[:2, 2], _numbers(told.get("VICON_RADIAL", "0 0"), 2)
    if not np.any(radial):
        return np.zeros(5)
    sides = [np.linspace(0, side, GRID) for side in size]
    seen = np.stack(np.meshgrid(*sides), -1).reshape(-1, 2)
    offset = (seen - (cx, cy)) * (1, aspect)
    r2 = (offset**2).sum(-1)
    scale = 1 + sum(k * r2 ** (i + 1) for i, k in enumerate(radial))
    ideal = (cx, cy) + (seen - (cx, cy)) * scale[:, None]
    (x, y), (x_seen, y_seen) = ((p - K[:2, 2]).T / [[K[0, 0]], [K[1, 1]]] for p in (ideal, seen))
    return _fitted(x, y, x_seen - x, y_seen - y, K)


def _fitted(
    x: np.ndarray, y: np.ndarray, dx: np.ndarray, dy: np.ndarray, K: np.ndarray
) -> np.ndarray:
    """OpenCV's k1 k2 p1 p2 k3 that move (x, y) by (dx, dy) at best, all over the focal length."""
    r2 = x * x + y * y
    moves_x = [x * r2, x * r2**2, 2 * x * y, r2 + 2 * x * x, x * r2**3]
    moves_y = [y * r2, y * r2**2, r2 + 2 * y * y, 2 * x * y, y * r2**3]
    moves = np.concatenate([np.stack(moves_x, -1), np.stack(moves_y, -1)])
    wanted = np.concatenate([dx, dy])
    if not np.isfinite(moves).all() or not np.isfinite(wanted).all():
        raise ValueError("its lens has numbers that are not finite")
    found = np.linalg.lstsq(moves, wanted, rcond=None)[0]
    off = np.abs(moves @ found - wanted).max() * K[0, 0]
    if off > MISFIT_PX:
        raise CalibrationError(
            f"its lens differs from OpenCV's k1 k2 p1 p2 k3 by {off:.1f} pixels: undistort the "
            "videos in Vicon's program"
        )
    return found
