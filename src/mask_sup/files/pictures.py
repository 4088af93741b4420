"""Pictures and masks as files."""

import io
from pathlib import Path

import cv2
import numpy as np

from mask_sup.files.archive import Member
from mask_sup.files.disk import write_file
from mask_sup.files.names import natural_order

__all__ = [
    "PICTURE_SUFFIXES",
    "list_pictures",
    "read_image",
    "read_mask",
    "write_png",
]

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
MOST_PIXELS = 150_000_000  # a 1.2 MB file can say 40,000 x 40,000


def read_image(path: Path | Member) -> np.ndarray:
    """An RGB picture, (h, w, 3) uint8.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no picture.
    """
    return _decode(path, cv2.IMREAD_COLOR_RGB)


def read_mask(path: Path | Member, may_be_empty: bool = False) -> np.ndarray:
    """A foreground mask, (h, w) uint8, 255 = person.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no picture, is empty, or does not use the values 0 to 255.
    """
    mask = _decode(path, cv2.IMREAD_GRAYSCALE)
    top = int(mask.max())
    if top == 0 and may_be_empty:
        return mask
    if top == 0:
        raise ValueError(f"empty mask {path}: drop the moment or fix the mask")
    if top < 128:
        raise ValueError(
            f"mask {path} has no value above {top}: expected 0 for background and 255 for the "
            "person; multiply masks of 0/1 by 255"
        )
    return mask


def _decode(path: Path | Member, flags: int) -> np.ndarray:
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"missing file {path}") from error
    if (pixels := _pixels(data)) > MOST_PIXELS:
        raise ValueError(
            f"{path} says that it is a picture of {pixels / 1e6:.0f} megapixels, expected at most "
            f"{MOST_PIXELS / 1e6:.0f}: make it smaller"
        )
    picture = cv2.imdecode(data, flags) if len(data) else None
    if picture is None:
        raise ValueError(f"unreadable picture {path} ({len(data)} bytes): replace it")
    return picture


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder in natural order, hidden files left out.

    Raises:
        FileNotFoundError: If there is no such folder, or no picture in it.
    """
    found = [
        path
        for path in natural_order(folder.glob("*"))
        if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".")
    ]
    if not found:
        raise FileNotFoundError(
            f"no pictures in {folder}: expected files like 000000.png, one per frame"
        )
    return found


def _pixels(data: np.ndarray) -> int:
    """How many pixels a file says that it has; 0 where it does not say."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as picture:  # reads the head alone
            return picture.width * picture.height
    except Image.DecompressionBombError:
        return Image.MAX_IMAGE_PIXELS * 2 + 1
    except Exception:  # whatever a damaged head does there, decoding tells
        return 0


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write an RGB picture."""
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise ValueError(f"cannot encode {path}")
    write_file(path, data.tobytes())
