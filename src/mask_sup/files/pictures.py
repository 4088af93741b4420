"""Pictures as files; masks are in `masks.py`."""

import io
from pathlib import Path

import cv2
import numpy as np

from mask_sup.files.archive import Member
from mask_sup.files.disk import write_file
from mask_sup.files.names import natural_order

__all__ = [
    "PICTURE_SUFFIXES",
    "decode",
    "list_pictures",
    "picture_size",
    "read_file",
    "read_image",
    "write_png",
]

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
EXIF_ORIENTATION = 274  # its tag; from 5 on the picture lies on its side
QUARTER_TURN = 5
MOST_PIXELS = 150_000_000  # a 1.2 MB file can say 40,000 x 40,000


def read_image(path: Path | Member) -> np.ndarray:
    """An RGB picture, (h, w, 3) uint8.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no picture.
    """
    return decode(path, read_file(path)[0], cv2.IMREAD_COLOR_RGB)


def read_file(path: Path | Member) -> tuple[np.ndarray, str]:
    """The bytes of a picture's file, and its mode as Pillow calls it, "" where that is not known.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it says that it is too large to be decoded.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"missing file {path}") from error
    width, height, mode = _head(data)
    if (pixels := width * height) > MOST_PIXELS:
        raise ValueError(
            f"{path} says that it is a picture of {pixels / 1e6:.0f} megapixels, expected at most "
            f"{MOST_PIXELS / 1e6:.0f}: make it smaller"
        )
    return data, mode


def decode(path: Path | Member, data: np.ndarray, flags: int) -> np.ndarray:
    """The picture in a file's bytes, by OpenCV's flags.

    Raises:
        ValueError: If it is no picture.
    """
    picture = cv2.imdecode(data, flags) if len(data) else None
    if picture is None:
        raise ValueError(f"unreadable picture {path} ({len(data)} bytes): replace it")
    return picture


def picture_size(path: Path | Member) -> tuple[int, int]:
    """Width and height as `read_image` gives the picture, from its head alone.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no picture.
    """
    from PIL import Image

    try:
        with Image.open(path if isinstance(path, Path) else io.BytesIO(path.read_bytes())) as head:
            turned = head.getexif().get(EXIF_ORIENTATION, 1) >= QUARTER_TURN
            return head.size[::-1] if turned else head.size
    except FileNotFoundError as error:
        raise FileNotFoundError(f"missing file {path}") from error
    except Exception:  # whatever a damaged head does there, decoding tells
        return read_image(path).shape[1::-1]


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


def _head(data: np.ndarray) -> tuple[int, int, str]:
    """Width, height and mode that a file says it has; 0, 0, "" where it does not say."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as picture:  # reads the head alone
            return picture.width, picture.height, picture.mode
    except Image.DecompressionBombError:
        return Image.MAX_IMAGE_PIXELS * 2 + 1, 1, ""
    except Exception:  # whatever a damaged head does there, decoding tells
        return 0, 0, ""


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write an RGB picture."""
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise ValueError(f"cannot encode {path}")
    write_file(path, data.tobytes())
