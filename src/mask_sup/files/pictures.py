"""Pictures as files; masks are in `masks.py`."""

import io
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from mask_sup.files.archive import Stored
from mask_sup.files.disk import write_file
from mask_sup.files.names import natural_order

__all__ = [
    "PICTURE_SUFFIXES",
    "Picture",
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
JPEG = ("JPEG", "MPO")  # Pillow's names of what can be decoded at a part of its size
COARSER = {  # pixels along a side that become one -> OpenCV's flag, which says nothing of colours
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


class Picture:
    """A picture whose file is read: its size, and its pixels, no finer than they are needed.

    A JPEG file is decoded when pixels are asked for. Fewer of them come from fewer of its
    frequencies, which is much as if areas were averaged, in half the time.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no picture.
    """

    def __init__(self, path: Stored):
        self.path = path
        self._data, head = _read(path)
        self._pixels = None
        if head.format in JPEG:
            self.size = head.shown
        else:
            self._pixels = decode(path, self._data, cv2.IMREAD_COLOR_RGB)
            self.size = self._pixels.shape[1::-1]

    def pixels(self, coarser: float = 1.0) -> tuple[np.ndarray, int]:
        """RGB pixels, (h, w, 3) uint8, and how many of the picture's each is wide.

        Args:
            coarser: The most that this may be; files other than JPEG have all their pixels.

        Raises:
            ValueError: If the file is damaged.
        """
        if self._pixels is not None:
            return self._pixels, 1
        step = max((step for step in COARSER if step <= coarser), default=1)
        return decode(self.path, self._data, cv2.IMREAD_COLOR_RGB | COARSER.get(step, 0)), step


def read_image(path: Stored) -> np.ndarray:
    """An RGB picture, (h, w, 3) uint8.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no picture.
    """
    return decode(path, read_file(path)[0], cv2.IMREAD_COLOR_RGB)


def read_file(path: Stored) -> tuple[np.ndarray, str]:
    """The bytes of a picture's file, and its mode as Pillow calls it, "" where that is not known.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it says that it is too large to be decoded.
    """
    data, head = _read(path)
    return data, head.mode


def decode(path: Stored, data: np.ndarray, flags: int) -> np.ndarray:
    """The picture in a file's bytes, by OpenCV's flags.

    Raises:
        ValueError: If it is no picture.
    """
    picture = cv2.imdecode(data, flags) if len(data) else None
    if picture is None:
        raise ValueError(f"unreadable picture {path} ({len(data)} bytes): replace it")
    return picture


def picture_size(path: Stored) -> tuple[int, int]:
    """Width and height as `read_image` gives the picture, from its head alone.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no picture.
    """
    from PIL import Image

    try:
        with Image.open(path if isinstance(path, Path) else io.BytesIO(path.read_bytes())) as head:
            return head.size[::-1] if _turned(head) else head.size
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


class _Head(NamedTuple):
    """What a file says of its picture."""

    size: tuple[int, int]  # width and height as stored
    shown: tuple[int, int]  # the same as JPEG files are turned; of others, as stored
    mode: str  # Pillow's name, "" where the file does not say
    format: str  # the same


def _read(path: Stored) -> tuple[np.ndarray, _Head]:
    """The bytes of a file, and its head; refuses what is too large to be decoded."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"missing file {path}") from error
    head = _head(data)
    if (pixels := head.size[0] * head.size[1]) > MOST_PIXELS:
        raise ValueError(
            f"{path} says that it is a picture of {pixels / 1e6:.0f} megapixels, expected at most "
            f"{MOST_PIXELS / 1e6:.0f}: make it smaller"
        )
    return data, head


def _head(data: np.ndarray) -> _Head:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as head:  # reads the head alone
            turned = head.format in JPEG and _turned(head)
            return _Head(
                head.size, head.size[::-1] if turned else head.size, head.mode, head.format
            )
    except Image.DecompressionBombError:
        return _Head((Image.MAX_IMAGE_PIXELS * 2 + 1, 1), (0, 0), "", "")
    except Exception:  # whatever a damaged head does there, decoding tells
        return _Head((0, 0), (0, 0), "", "")


def _turned(head: Any) -> bool:
    """Whether a picture that Pillow opened lies on its side."""
    return head.getexif().get(EXIF_ORIENTATION, 1) >= QUARTER_TURN


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write an RGB picture."""
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise ValueError(f"cannot encode {path}")
    write_file(path, data.tobytes())
