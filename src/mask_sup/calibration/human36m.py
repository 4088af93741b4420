"""Human3.6M's metadata.xml, millimetres: four cameras for each of eleven subjects.

`w0` holds 300 numbers: rx ry rz and the centre of camera c and subject s from 6 (11 c + s - 1),
then fx fy cx cy k1 k2 k3 p1 p2 of camera c from 264 + 9 c. World -> camera is
R = Rx(rx) Ry(ry) Rz(rz), x_cam = R (x_world - centre). The data set's own lens counts half of some
tangential terms of OpenCV's: up to a pixel in the corners.
"""

from pathlib import Path

import numpy as np

from mask_sup.calibration.cameras import CalibrationError
from mask_sup.calibration.entries import Cameras, Entry, lens, parse_xml, pinhole, read_text

__all__ = ["LAYOUT", "read", "recognises"]

LAYOUT = "XML with <w0> of 300 numbers"
SUBJECTS = range(1, 12)
SIZES = {
    "54138969": (1000.0, 1002.0),
    "55011271": (1000.0, 1000.0),
    "58860488": (1000.0, 1000.0),
    "60457274": (1000.0, 1002.0),
}


def recognises(path: Path, text: str) -> bool:
    """Whether this is XML with the numbers of all cameras."""
    return text.lstrip()[:1] == "<" and "<w0>" in text


def read(path: Path, subject: int | None = None) -> tuple[Cameras, None]:
    """The cameras as they stood for one subject, 1 to 11.

    Raises:
        CalibrationError: If the subject is missing or unknown.
    """
    if subject not in SUBJECTS:
        raise CalibrationError(
            f"{path} has other cameras for each person: say whose, subject=1 to 11, not {subject}"
        )
    text = parse_xml(read_text(path)).findtext(".//w0") or ""
    numbers = np.array(text.strip().strip("[]").split(), float)
    if numbers.size != 300:
        raise ValueError(f"w0 has {numbers.size} numbers, not 300")
    return [_entry(numbers, camera, subject) for camera in range(4)], None


def _entry(numbers: np.ndarray, camera: int, subject: int) -> Entry:
    start = 6 * (11 * camera + subject - 1)
    R, centre = _rotation(numbers[start : start + 3]), numbers[start + 3 : start + 6]
    fx, fy, cx, cy, k1, k2, k3, p1, p2 = numbers[264 + 9 * camera :][:9]
    name = list(SIZES)[camera]
    return Entry(
        name, pinhole(fx, fy, cx, cy), R, -R @ centre, lens([k1, k2, p1, p2, k3]), SIZES[name]
    )


def _rotation(angles: np.ndarray) -> np.ndarray:
    (sx, sy, sz), (cx, cy, cz) = np.sin(angles), np.cos(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z
