"""What readers share: one camera as a file tells it, and numbers out of text."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float

from mask_sup.calibration.cameras import CalibrationError

__all__ = [
    "COEFFICIENTS",
    "LARGEST_FILE",
    "MM",
    "UNKNOWN_SIZE",
    "MISHAPS",
    "Cameras",
    "Entry",
    "LeftOut",
    "Unread",
    "film_alone",
    "join",
    "lens",
    "matrix",
    "parse_xml",
    "pinhole",
    "quaternion_rotation",
    "read_each",
    "read_text",
    "rotation",
    "rotation_vector",
    "shown_turned",
]

MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
UNKNOWN_SIZE = (np.nan, np.nan)
LARGEST_FILE = 32 << 20  # bytes
# What a reader may raise on a file of another form.
MISHAPS = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
COEFFICIENTS = ("k1", "k2", "p1", "p2", "k3")
LENS_COUNTS = (0, 4, 5, 8, 12, 14)  # that OpenCV knows


class Entry(NamedTuple):
    """One camera, t in the unit of its file."""

    name: str
    K: np.ndarray  # (3, 3)
    R: np.ndarray  # (3, 3)
    t: np.ndarray  # (3,)
    distortion: np.ndarray  # (5,)
    size: tuple[float, float]
    note: str = ""  # for the user, after the camera's name


class Unread(NamedTuple):
    """A camera that cannot be read: an error, unless other cameras are asked for."""

    name: str
    error: Exception


class LeftOut(NamedTuple):
    """A camera that is told of but not taken, unless it is asked for by name."""

    name: str
    why: str  # goes on after "left out: "
    camera: Any  # Entry or Unread


Cameras = list[Entry | Unread | LeftOut]
"""What a reader finds."""


def read_each(cameras: Iterable[tuple[str, Any]], read: Callable[[str, Any], Entry]) -> Cameras:
    """What `read(name, told)` gives for each camera; its mishaps are kept for later."""
    found: Cameras = []
    for name, told in cameras:
        try:
            found.append(read(name, told))
        except MISHAPS as error:
            found.append(Unread(name, _named(error, name)))
    return found


def shown_turned(camera: Entry | Unread | LeftOut, degrees: float) -> Entry | Unread | LeftOut:
    """The same camera, with a note if its program shows its pictures turned."""
    if degrees % 360 == 0 or not isinstance(camera, Entry):
        return camera
    note = (
        f"was shown turned by {degrees % 360:g} degrees where it was calibrated: if its video is "
        "turned, too, convert with turn=, by degrees clockwise"
    )
    return camera._replace(note=note)


def film_alone(found: Cameras, models: Sequence[str], filming: re.Pattern[str]) -> Cameras:
    """The same cameras, those whose model does not film left out; all where none says it does."""
    films = [bool(filming.search(model)) for model in models]
    if not any(films):
        return found
    return [
        camera if film else LeftOut(camera.name, f"({model}) is a marker camera", camera)
        for camera, model, film in zip(found, models, films, strict=True)
    ]


def _named(error: Exception, name: str) -> Exception:
    """The same error, with the camera's name in its words."""
    if repr(name) in str(error):
        return error
    if isinstance(error, CalibrationError):
        return CalibrationError(f"camera {name!r}: {error}")
    return ValueError(f"camera {name!r}: {type(error).__name__}: {error}")


def read_text(path: Path) -> str:
    """The text of a file; bytes that are no UTF-8 are replaced.

    Raises:
        FileNotFoundError: If there is no such file.
        CalibrationError: If it is too large for a calibration.
    """
    if not path.is_file():
        raise FileNotFoundError(f"missing file {path}")
    if path.stat().st_size > LARGEST_FILE:
        raise CalibrationError(
            f"{path} has {path.stat().st_size >> 20} MB: too large for a calibration"
        )
    return path.read_text("utf-8", errors="replace")


def parse_xml(text: str) -> ElementTree.Element:
    """The root of an XML text; one that defines entities is refused."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ValueError("it defines XML entities, which no calibration needs")
    return ElementTree.fromstring(text.encode())


def matrix(value: Any, *shape: int) -> Float[np.ndarray, "*shape"]:
    """Numbers of any nesting in this shape."""
    return np.array(value, float).reshape(shape)


def pinhole(fx: float, fy: float, cx: float, cy: float) -> Float[np.ndarray, "3 3"]:
    """K of focal lengths and principal point, pixels."""
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], float)


def lens(coefficients: Any) -> Float[np.ndarray, "5"]:
    """OpenCV's k1 k2 p1 p2 k3 from as many coefficients as a file has; the rest must be zero.

    Raises:
        CalibrationError: If there are more than five that are not zero.
    """
    found = np.array(coefficients, float).ravel()
    if found.size not in LENS_COUNTS:
        raise ValueError(f"{found.size} distortion coefficients: expected 4 or 5, k1 k2 p1 p2 k3")
    if np.any(found[5:] != 0):
        raise CalibrationError(
            f"a lens with {found.size} distortion coefficients, {found.tolist()}: only k1 k2 p1 p2 "
            "k3 are supported; calibrate again without the rational, prism or tilted model"
        )
    return np.pad(found, (0, len(COEFFICIENTS)))[: len(COEFFICIENTS)]


def rotation(value: Any) -> Float[np.ndarray, "3 3"]:
    """R of nine numbers, or of the three of a rotation vector."""
    import cv2

    found = np.array(value, float)
    if found.size == 3 and np.isfinite(found).all():
        return cv2.Rodrigues(found.reshape(3, 1))[0]
    return found.reshape(3, 3)


def quaternion_rotation(quaternion: Float[np.ndarray, "4"]) -> Float[np.ndarray, "3 3"]:
    """R of w, x, y, z.

    Raises:
        ValueError: If its length is not about 1.
    """
    length = np.linalg.norm(quaternion)
    if not 0.9 < length < 1.1:
        raise ValueError(f"the quaternion {quaternion.tolist()} has the length {length:g}, not 1")
    w, v = quaternion[0] / length, quaternion[1:] / length
    cross = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def rotation_vector(R: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3"]:
    """The axis times the angle in radians."""
    import cv2

    return cv2.Rodrigues(R)[0].ravel()


def join(values: Iterable[float]) -> str:
    """Numbers with all their digits, for files."""
    return ", ".join(repr(float(value)) for value in values)
