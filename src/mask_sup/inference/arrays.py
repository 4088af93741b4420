"""Pictures, masks, boxes and cameras as a program holds them, made the moments of any other input.

Arrays become files that are in memory alone (`mask_sup.files.archive.InMemory`), so that all that
reads pictures reads them in the same way.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mask_sup.calibration import Calibration
from mask_sup.data.boxes import with_boxes, with_each_box
from mask_sup.data.images import uncalibrated_view
from mask_sup.data.moments import Moment, View
from mask_sup.files.archive import InMemory, Stored
from mask_sup.files.pictures import list_pictures, picture_size

__all__ = ["boxed", "moments_of_pictures", "moments_of_rig"]

FILM = "film"  # name of the sequence that a rig's pictures are
BOX = 4  # numbers


def moments_of_pictures(images: Any, masks: Any) -> list[Moment]:
    """Single views without calibration, each a moment of its own.

    Args:
        images: (h, w, 3) or (n, h, w, 3) RGB arrays or tensors, uint8 or shares in [0, 1]; or a
            list of such pictures or of files.
        masks: The same of (h, w) masks; None: there are none.

    Raises:
        ValueError: If one is no picture, or there is not a mask for each.
    """
    pictures = _pictures(images, "picture", "")
    found = _masks(masks, len(pictures), "")
    unlabelled = np.full((1, 3), np.nan)
    return [
        Moment(f"{i:06d}", (uncalibrated_view(picture, mask),), unlabelled)
        for i, (picture, mask) in enumerate(zip(pictures, found, strict=True))
    ]


def moments_of_rig(images: Any, masks: Any, rig: Calibration) -> list[Moment]:
    """Moments of several calibrated views, which follow each other in time.

    Args:
        images: Name of a camera -> its picture, or its pictures over time: a list, an array
            (n, h, w, 3) or a folder; or a list of these, in the order of the cameras.
        masks: The same of masks; None: there are none.
        rig: The cameras; K follows a scaling of the pictures where sizes are told.

    Raises:
        ValueError: If cameras, pictures and masks do not go together.
    """
    views = _by_camera(images, rig, "images")
    given = dict.fromkeys(rig.names) if masks is None else _by_camera(masks, rig, "masks")
    pictures = {name: _pictures(views[name], "picture", f"{name}/") for name in rig.names}
    counts = {name: len(found) for name, found in pictures.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"cameras need the same number of pictures, got {counts}")
    found = {name: _masks(given[name], counts[name], f"{name}/") for name in rig.names}
    rig = rig.fitted_to([picture_size(pictures[name][0]) for name in rig.names])
    cameras = list(zip(rig.K, rig.R, rig.t, rig.distortion, strict=True))
    unlabelled = np.full((1, 3), np.nan)
    return [
        Moment(
            f"{i:06d}",
            tuple(
                View(pictures[name][i], found[name][i], *camera)
                for name, camera in zip(rig.names, cameras, strict=True)
            ),
            unlabelled,
            sequence=FILM,
        )
        for i in range(counts[rig.names[0]])
    ]


def boxed(moments: Sequence[Moment], boxes: Any, rig: Calibration | None) -> list[Moment]:
    """Moments whose views say where the person is.

    Args:
        moments: Their views have no masks.
        boxes: Left, top, width and height in pixels, for all pictures; (n, 4) for each, None where
            nobody is seen; with cameras the same of each, by name or in their order; or the path of
            a CSV file (`mask_sup.data.boxes`).
        rig: The cameras; None: single views.

    Raises:
        ValueError: If boxes and pictures do not go together.
    """
    if isinstance(boxes, str | Path) or _is_box(boxes):
        return with_boxes(moments, boxes)
    if rig is None and len(moments[0].views) > 1:
        raise ValueError("boxes of a recording: expected four numbers, or the path of a CSV file")
    of_views = [boxes] if rig is None else list(_by_camera(boxes, rig, "boxes").values())
    columns = [[one] * len(moments) if _is_box(one) else list(one) for one in of_views]
    if wrong := [len(column) for column in columns if len(column) != len(moments)]:
        raise ValueError(f"{len(moments)} pictures but {wrong[0]} boxes: give one per picture")
    return with_each_box(moments, list(zip(*columns, strict=True)))


def _is_box(boxes: Any) -> bool:
    """Whether these are the four numbers of one box."""
    if isinstance(boxes, Mapping) or len(boxes) != BOX:
        return False
    return all(number is not None and np.ndim(number) == 0 for number in boxes)


def _by_camera(given: Any, rig: Calibration, what: str) -> dict[str, Any]:
    """What is given for each camera, in the order of the rig.

    Raises:
        ValueError: If names or numbers differ.
    """
    if isinstance(given, Mapping):
        if set(given) != set(rig.names):
            raise ValueError(f"{what} of {list(given)} but cameras {list(rig.names)}")
        return {name: given[name] for name in rig.names}
    if isinstance(given, str | Path) or len(given) != len(rig.names):
        count = "a path" if isinstance(given, str | Path) else len(given)
        raise ValueError(
            f"expected {what} as {{camera: ...}} or a list for the {len(rig.names)} cameras "
            f"{list(rig.names)}, got {count}"
        )
    return dict(zip(rig.names, given, strict=True))


def _masks(given: Any, count: int, prefix: str) -> Sequence[Stored | None]:
    """One mask for each of so many pictures, or none at all."""
    if given is None:
        return [None] * count
    found = _pictures(given, "mask", f"{prefix}mask_")
    if len(found) != count:
        raise ValueError(f"{count} pictures but {len(found)} masks: give one mask per picture")
    return found


def _pictures(given: Any, kind: str, prefix: str) -> list[Stored]:
    """Pictures, or masks, of one camera."""
    if isinstance(given, str | Path):
        path = Path(given).expanduser()
        return list(list_pictures(path)) if path.is_dir() else [path]
    if not isinstance(given, list | tuple):
        array, single = _array(given), 3 if kind == "picture" else 2
        given = [array] if array.ndim == single else list(array)
    if not given:
        raise ValueError(f"no {kind}s were given")
    return [_stored(one, kind, f"{prefix}{i:06d}") for i, one in enumerate(given)]


def _stored(given: Any, kind: str, name: str) -> Stored:
    """A path, or an array as a file in memory: binary PPM and PGM lose nothing and take no time."""
    if isinstance(given, str | Path):
        return Path(given).expanduser()
    pixels, shape = _array(given), "(h, w, 3) RGB" if kind == "picture" else "(h, w)"
    fits = pixels.ndim == 3 and pixels.shape[2] == 3 if kind == "picture" else pixels.ndim == 2
    if not fits or not pixels.size:
        raise ValueError(f"{kind} {name} has the shape {pixels.shape}, expected {shape}")
    pixels = _bytes(pixels, f"{kind} {name}")
    if kind == "picture":
        done, content = cv2.imencode(".ppm", pixels[..., ::-1])
    else:
        done, content = cv2.imencode(".pgm", pixels)
    if not done:
        raise ValueError(f"cannot take the {kind} {name} of shape {pixels.shape}")
    return InMemory(name, content.tobytes())


def _bytes(pixels: np.ndarray, name: str) -> np.ndarray:
    """Pixels of any kind as uint8, 255 white."""
    if pixels.dtype == bool:
        return pixels * np.uint8(255)
    low, high = pixels.min(), pixels.max()
    if np.issubdtype(pixels.dtype, np.floating):
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f"{name} has numbers from {low:g} to {high:g}, expected [0, 1] or uint8"
            )
        return np.rint(pixels * 255).astype(np.uint8)
    if low < 0 or high > 255:
        raise ValueError(f"{name} has numbers from {low} to {high}, expected 0 to 255")
    return pixels.astype(np.uint8)


def _array(given: Any) -> np.ndarray:
    """An array of an array or a tensor of any device."""
    return np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
