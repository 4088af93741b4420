"""What the keys of a camera are called, for all formats whose keys are words of free choice.

One list of spellings. A key that is in no list and looks like a part of a camera is an error that
names it: a lens that nobody reads would be an ideal one in silence.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from mask_sup.calibration.cameras import CalibrationError
from mask_sup.calibration.entries import UNKNOWN_SIZE, Entry, lens, matrix, rotation

__all__ = ["is_camera", "meanings", "read_camera", "refuse_unread", "with_shared_intrinsics"]

# Lower case, without anything but letters and digits.
SPELLINGS = {
    "K": (
        *("cameramatrix", "intrinsicmatrix", "intrinsicmat", "intrinsics", "intrinsic", "matrix"),
        *("k", "m", "mtx"),
    ),
    "distortion": (
        *("distortioncoefficients", "distortioncoeffs", "distortioncoefs", "distortionvector"),
        *("distortions", "distortion", "distcoeffs", "distcoeff", "distcoefs", "distcoef", "dist"),
        "d",
    ),
    "R": (*("r", "rotation", "rotationmatrix", "rotmat", "rmat", "rot", "rvec", "rotationvector"),),
    "t": ("t", "translation", "translationvector", "tvec", "trans"),
    "pose": ("cameraposematrix",),  # 4x4, camera -> world
    "width": ("imagewidth", "imgwidth", "width", "w"),
    "height": ("imageheight", "imgheight", "height", "h"),
    "size": ("imagesize", "resolution", "size"),
    "fisheye": ("fisheye", "fisheyemodel", "distortiontype"),
    "model": ("model", "cameramodel", "distortionmodel", "lensmodel"),
}
MEANINGS = {spelling: name for name, known in SPELLINGS.items() for spelling in known}
ROW_VECTORS = "intrinsicmatrix"  # whose files may be for x_cam' = x_world' R + t', as MATLAB's
FAMILIES = {  # what an unknown key looks like -> how to tell, and spellings that are read
    "a lens": (
        re.compile(r"dist|coef|lens|radial|tangen|^d\d*$|^k\d$|^p[12]$"),
        "distortion_coefficients, or dist (k1 k2 p1 p2 k3)",
    ),
    "a pose": (
        re.compile(r"rot|trans|extrin|pose|quat|orient|^r(vec|mat|t)?s?\d*$|^t(vec)?s?\d*$"),
        "R and T (x_cam = R x_world + T)",
    ),
    "intrinsics": (
        re.compile(r"intrin|matrix|principal|skew|^mtx"),
        "camera_matrix, or K (3x3)",
    ),
}
# Of calibrations too, but no part of a camera: statistics, boards, rectified pictures; and parts of
# K, which must be there as a whole.
BESIDE = re.compile(
    r"error|rms|residual|std|deviation|covarian|count|unit|time|date|undist|rectif|projection"
    r"|newcamera|optimal|essential|fundamental|extrinsicparameters|board|world|^[rt]vecs$|quality"
    r"|focal|^f[xy]?$|^c[xy]$"
)
FISHEYES = re.compile(r"fish|equidist|omni|kannala|mei\b|scaramuzza")
NO_FISHEYES = re.compile(r"|none|null|no|false|0(\.0*)?|.*(plumb|radtan|brown|standard|ratio).*")
NAMES = re.compile(r"(cameras?|cam|int_cam)[\W_]*\d+", re.I)
AGREE = 1e-3  # of two keys that say the same thing


def meanings(table: Any) -> dict[str, Any]:
    """Meaning -> value of the keys of one camera; a meaning that no key has is left out.

    Raises:
        CalibrationError: If two keys say different things.
    """
    found: dict[str, Any] = {}
    keys: dict[str, str] = {}
    for key in sorted(_known(table), key=lambda key: list(MEANINGS).index(_plain(key))):
        meaning = MEANINGS[_plain(key)]
        if meaning not in found:
            found[meaning], keys[meaning] = table[key], str(key)
        elif not _agree(meaning, found[meaning], table[key]):
            raise CalibrationError(
                f"{keys[meaning]!r} and {key!r} say different things: remove one of the two"
            )
    return found


def is_camera(name: str, table: Any) -> bool:
    """Whether a table is one of the cameras: it has intrinsics or a pose, or a camera's name."""
    parts = any(MEANINGS[_plain(key)] in ("K", "R", "t", "pose") for key in _known(table))
    return parts or (isinstance(table, Mapping) and bool(NAMES.fullmatch(name)))


def refuse_unread(table: Mapping[str, Any], known: Collection[str] = tuple(MEANINGS)) -> None:
    """Refuse keys that look like a part of a camera and are read by nobody.

    Args:
        table: Of one camera.
        known: Keys that are read, in lower case without anything but letters and digits.

    Raises:
        CalibrationError: If there is such a key, with anything but nothing in it.
    """
    for key, value in table.items():
        plain = _plain(key)
        if plain in known or BESIDE.search(plain):
            continue
        for family, (pattern, spellings) in FAMILIES.items():
            if pattern.search(plain) and not _says_nothing(value):
                raise CalibrationError(
                    f"the key {key!r} looks like {family} but is not read: call it {spellings}, or "
                    "remove it"
                )


def read_camera(name: str, table: Mapping[str, Any]) -> Entry:
    """One camera of a table of keys.

    Raises:
        ValueError: If it has no intrinsics or pose, or one of another shape.
        CalibrationError: If it is a fisheye, has a lens that is not supported, or a key that looks
            like a part of a camera and is not known.
    """
    told = meanings(table)
    refuse_unread(table)
    if "pose" in told:
        told["R"], told["t"] = _inverse(matrix(told["pose"], 4, 4))
    if missing := [key for key in ("K", "R", "t") if told.get(key) is None]:
        raise ValueError(
            f"camera {name!r} has no {missing}, only {list(table)}: intrinsics alone are no rig, "
            "each camera needs its R and T in one common world"
        )
    if _is_fisheye(told):
        raise CalibrationError(f"camera {name!r} is a fisheye: only OpenCV's ordinary lens is read")
    size = told.get("size", UNKNOWN_SIZE)
    if told.get("width") is not None and told.get("height") is not None:
        size = (told["width"], told["height"])
    K, R = matrix(told["K"], 3, 3), rotation(told["R"])
    if _for_row_vectors(table, K):
        K, R = K.T, R.T
    distortion = lens([] if told.get("distortion") is None else told["distortion"])
    return Entry(name, K, R, matrix(told["t"], 3), distortion, tuple(matrix(size, 2)))


def with_shared_intrinsics(tables: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The tables, with the intrinsics of one that has them alone in all that have a pose alone."""
    told = {name: meanings(table) for name, table in tables.items()}
    posed = [name for name, keys in told.items() if {"R", "t"} & set(keys) and "K" not in keys]
    shared = [name for name, keys in told.items() if "K" in keys and not {"R", "t"} & set(keys)]
    if len(shared) != 1 or len(posed) != len(tables) - 1 or not posed:
        return {name: dict(table) for name, table in tables.items()}
    return {name: dict(tables[shared[0]]) | dict(tables[name]) for name in posed}


def _plain(key: Any) -> str:
    return re.sub(r"[^a-z0-9]", "", str(key).lower())


def _known(table: Any) -> list[Any]:
    return [key for key in table if _plain(key) in MEANINGS] if isinstance(table, Mapping) else []


def _agree(meaning: str, one: Any, other: Any) -> bool:
    if meaning in ("fisheye", "model"):
        return one == other
    if meaning == "R":
        one, other = rotation(one), rotation(other)
    one, other = np.array(one, float).ravel(), np.array(other, float).ravel()
    return one.shape == other.shape and np.allclose(one, other, rtol=AGREE, atol=AGREE)


def _says_nothing(value: Any) -> bool:
    """Whether a value has no number but zeros."""
    try:
        return not np.array(value, float).any()
    except (TypeError, ValueError):
        return not isinstance(value, (Mapping, list))


def _is_fisheye(told: Mapping[str, Any]) -> bool:
    flag, model = (str(told.get(key, "")).lower() for key in ("fisheye", "model"))
    return not NO_FISHEYES.fullmatch(flag) or bool(FISHEYES.search(model))


def _inverse(pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """R and t of world -> camera, from camera -> world."""
    R = pose[:3, :3].T
    return R, -R @ pose[:3, 3]


def _for_row_vectors(table: Mapping[str, Any], K: np.ndarray) -> bool:
    named = any(_plain(key) == ROW_VECTORS for key in table)
    return named and bool(K[2, :2].any()) and not K[:2, 2].any()
