"""A rig made to fit its videos: other names, turned pictures, those cameras alone that film."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mask_sup.calibration.cameras import Calibration, CalibrationError
from mask_sup.files.words import said, shell_command

__all__ = ["among", "rename_option", "renamed", "sized", "turned"]

SAYABLE = re.compile(  # names that are keys in Hydra's grammar, which has no quotes for those
    r"(?!(?i:true|false|null|nan|inf)$)[A-Za-z_][A-Za-z0-9_.@-]*( [A-Za-z0-9_.@-]+)*|\d+", re.ASCII
)
QUARTER = 90
TURNS = (QUARTER, 2 * QUARTER, 3 * QUARTER)  # degrees clockwise
# x_cam of a picture that is turned by a quarter clockwise: what was up is on the right.
CLOCKWISE = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])


def among(calibration: Calibration, names: Iterable[str], what: str) -> Calibration:
    """The cameras that there are `names` of; its notes say who is left out on either side.

    Args:
        calibration: Of a rig.
        names: Of videos, say.
        what: They are, in words.

    Raises:
        CalibrationError: If no name fits, or some of either side fit none of the other.
    """
    names = list(names)
    kept = [name for name in calibration.names if name in names]
    lacking = [name for name in calibration.names if name not in names]
    more = sorted(set(names) - set(kept))
    if not kept or (lacking and more):
        raise CalibrationError(
            f"cameras of {calibration.source} and {what} have other names: {lacking} have no "
            f"{what}, {what} {more} no camera; rename the cameras: "
            f"{_advice(calibration, lacking, more)}, or take away what is not wanted"
        )
    notes = [
        f"{words}: {left} are left out"
        for words, left in (
            (f"cameras of {calibration.source} without {what}", lacking),
            (f"{what} without a camera in {calibration.source}", more),
        )
        if left
    ]
    return replace(calibration.select(kept), notes=(*calibration.notes, *notes))


def _advice(calibration: Calibration, cameras: list[str], others: list[str]) -> str:
    source = Path(calibration.source)
    output = (source if source.is_dir() else source.parent) / "cameras.json"  # counts before others
    names = rename_option(calibration.names, _likely(cameras, others) or {"camera": "video"})
    return shell_command("calibration convert", names, input=source, output=output)


def rename_option(cameras: Sequence[str], new: Mapping[str, str]) -> str:
    """The word for these new names: a mapping, or a list if Hydra cannot say a key."""
    if all(SAYABLE.fullmatch(name) for name in new):
        told = "{" + ", ".join(f"{old}: {said(name)}" for old, name in new.items()) + "}"
    else:
        told = "[" + ", ".join(said(new.get(name, name)) for name in cameras) + "]"
    return f"rename={told}"


def _likely(cameras: list[str], others: list[str]) -> dict[str, str]:
    """Who may be meant: names of which one holds the other, or with the same last number."""
    found = {}
    for camera in cameras:
        held = [o for o in others if o.lower() in camera.lower() or camera.lower() in o.lower()]
        same = [o for o in others if _number(o) is not None and _number(o) == _number(camera)]
        likely = next((some for some in (held, same) if len(some) == 1), None)
        if likely:
            found[camera] = likely[0]
    return found if len(set(found.values())) == len(found) else {}


def _number(name: str) -> int | None:
    digits = re.findall(r"\d+", name)
    return int(digits[-1][-9:]) if digits else None


def renamed(calibration: Calibration, names: Mapping[Any, Any] | Sequence[Any]) -> Calibration:
    """The same cameras under other names: old -> new, or all of them in their order.

    Raises:
        CalibrationError: If there is no camera of an old name, a new one is taken, or a list is of
            another length.
    """
    if not isinstance(names, Mapping):
        if len(names) != len(calibration.names):
            raise CalibrationError(
                f"rename: {len(names)} names for the {len(calibration.names)} cameras "
                f"{list(calibration.names)}"
            )
        names = dict(zip(calibration.names, names, strict=True))
    new = {str(old): str(name) for old, name in names.items()}
    _refuse_unknown(calibration, new, "rename")
    return replace(calibration, names=tuple(new.get(name, name) for name in calibration.names))


def sized(calibration: Calibration, size: Iterable[float]) -> Calibration:
    """The same cameras, calibrated for pictures of this width and height where none is told."""
    told = calibration.sizes
    return replace(calibration, sizes=np.where(np.isfinite(told), told, list(size)))


def turned(calibration: Calibration, turns: Mapping[Any, Any]) -> Calibration:
    """The cameras for pictures that were turned by so many degrees clockwise.

    A quarter takes (x, y) of a picture of the height h to (h - y, x), and x_cam to (-y, x, z); so
    OpenCV's p1 becomes p2, and p2 -p1.

    Args:
        calibration: Of the pictures as they were calibrated.
        turns: Camera -> 90, 180 or 270.

    Raises:
        CalibrationError: If there is no such camera, its size is not known, or an angle is another.
    """
    turns = {str(name): angle for name, angle in turns.items()}
    _refuse_unknown(calibration, turns, "turn")
    parts = {
        key: getattr(calibration, key).copy() for key in ("K", "R", "t", "distortion", "sizes")
    }
    for name, angle in turns.items():
        if angle not in TURNS:
            raise CalibrationError(f"turn of {name!r} by {angle}: expected one of {list(TURNS)}")
        index = calibration.names.index(name)
        if np.isnan(parts["sizes"][index]).any():
            raise CalibrationError(
                f"camera {name!r} of {calibration.source} cannot be turned: the size of its "
                "pictures is not known; say it, calibrated_size=[width,height]"
            )
        for _ in range(int(angle) // QUARTER):
            _turn(parts, index)
    done = tuple(f"camera {name!r} of" for name in turns)  # a reader may have asked for it
    notes = tuple(note for note in calibration.notes if not note.startswith(done))
    return replace(calibration, **parts, notes=notes)


def _turn(parts: dict[str, np.ndarray], index: int) -> None:
    """Turn one camera by a quarter clockwise, in place."""
    (fx, _, cx), (_, fy, cy), _ = parts["K"][index]
    width, height = parts["sizes"][index]
    k1, k2, p1, p2, k3 = parts["distortion"][index]
    parts["K"][index] = [[fy, 0, height - cy], [0, fx, cx], [0, 0, 1]]
    parts["R"][index] = CLOCKWISE @ parts["R"][index]
    parts["t"][index] = CLOCKWISE @ parts["t"][index]
    parts["distortion"][index] = k1, k2, p2, -p1, k3
    parts["sizes"][index] = height, width


def _refuse_unknown(calibration: Calibration, names: Iterable[str], option: str) -> None:
    if unknown := [name for name in names if name not in calibration.names]:
        raise CalibrationError(
            f"{option}: no camera {unknown} in {calibration.source}, it has "
            f"{list(calibration.names)}"
        )
