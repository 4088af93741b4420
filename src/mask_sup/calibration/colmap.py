"""COLMAP's text model: a folder with cameras.txt and images.txt, one picture per camera of the rig.

A reconstruction has no scale of its own: bring it to metres first (or say the unit). Cameras are
called like their picture, or like its folder where all pictures share a name.
"""

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np

from mask_sup.calibration.cameras import CalibrationError
from mask_sup.calibration.entries import (
    Cameras,
    Entry,
    lens,
    pinhole,
    quaternion_rotation,
    read_each,
    read_text,
)

__all__ = ["FILES", "LAYOUT", "read"]

FILES = ("cameras.txt", "images.txt")
LAYOUT = (
    "a folder with cameras.txt (CAMERA_ID MODEL WIDTH HEIGHT PARAMS) and images.txt (IMAGE_ID QW "
    "QX QY QZ TX TY TZ CAMERA_ID NAME, then a line of points)"
)
# Parameters of a model -> fx fy cx cy and OpenCV's coefficients.
MODELS: dict[str, tuple[int, Callable[..., tuple[tuple, tuple]]]] = {
    "SIMPLE_PINHOLE": (3, lambda f, cx, cy: ((f, f, cx, cy), ())),
    "PINHOLE": (4, lambda fx, fy, cx, cy: ((fx, fy, cx, cy), ())),
    "SIMPLE_RADIAL": (4, lambda f, cx, cy, k: ((f, f, cx, cy), (k, 0, 0, 0))),
    "RADIAL": (5, lambda f, cx, cy, k1, k2: ((f, f, cx, cy), (k1, k2, 0, 0))),
    "OPENCV": (8, lambda *all: (all[:4], all[4:])),
    "FULL_OPENCV": (12, lambda *all: (all[:4], all[4:])),
}


def read(path: Path) -> tuple[Cameras, None]:
    """The cameras in the order of images.txt; several may share their intrinsics."""
    folder = path if path.is_dir() else path.parent
    cameras = {}
    for line in _lines(folder / FILES[0]):
        if line.strip():
            key, model, *numbers = line.split()
            cameras[key] = (model, [float(number) for number in numbers])
    images = [line.split(maxsplit=9) for line in _lines(folder / FILES[1])[::2] if line.strip()]
    names = _names([image[9].strip() for image in images])
    told = [(name, (image, *cameras[image[8]])) for name, image in zip(names, images, strict=True)]
    return read_each(told, lambda name, parts: _entry(name, *parts)), None


def _lines(path: Path) -> list[str]:
    """Lines without comments; empty ones stay, they stand for a picture without points."""
    return [line for line in read_text(path).split("\n") if not line.startswith("#")]


def _names(pictures: list[str]) -> list[str]:
    paths = [PurePosixPath(picture) for picture in pictures]
    stems, folders = [path.stem for path in paths], [path.parent.name for path in paths]
    return stems if len(set(stems)) == len(stems) else folders


def _entry(name: str, image: list[str], model: str, numbers: list[float]) -> Entry:
    if model not in MODELS:
        raise CalibrationError(
            f"camera {name!r} has the model {model}: only {list(MODELS)} are read; undistort the "
            "pictures, or run COLMAP with one of these"
        )
    width, height, *parameters = numbers
    count, convert = MODELS[model]
    if len(parameters) != count:
        raise ValueError(f"{model} of {name!r} has {len(parameters)} parameters, not {count}")
    intrinsics, coefficients = convert(*parameters)
    R, t = quaternion_rotation(np.array(image[1:5], float)), np.array(image[5:8], float)
    return Entry(
        name,
        pinhole(*intrinsics),
        R,
        t,
        lens(coefficients),
        (width, height),
    )
