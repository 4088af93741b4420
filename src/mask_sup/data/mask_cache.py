"""What depends on masks alone, kept on disk: crop boxes, small masks and geodesic weights.

Geodesic weights cost more than reading a picture. They are the same in every epoch, so the first
epoch writes them into one file, and later ones, other workers and other runs read them there.
"""

import os
import zlib
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

__all__ = ["MaskCache", "Masks"]


class Masks(NamedTuple):
    """The masks of one moment as training sees them."""

    box: np.ndarray  # (v, 3) left, top, side of the crops in continuous pixels of whole pictures
    mask: np.ndarray  # (v, hm, wm) uint8, 255 = person
    weight: np.ndarray  # (v, hm, wm) float16


class MaskCache:
    """Rows of one file, each with a checksum: a row that is not whole counts as not there.

    Args:
        path: The file; made where it is missing. Its name has to tell all that its rows depend on.
        moments: Number of rows.
        views: The most views that a moment has.
        size: Side of the masks, pixels.
    """

    def __init__(self, path: Path, moments: int, views: int, size: int):
        self.path, self.moments = path, moments
        self.dtype = np.dtype(
            [
                ("box", "f8", (views, 3)),
                ("mask", "u1", (views, size, size)),
                ("weight", "f2", (views, size, size)),
                ("check", "u4"),
            ]
        )

    def get(self, index: int, views: int) -> Masks | None:
        """The masks of a moment of so many views, or None if they are not there."""
        row = self._rows[index]
        masks = Masks(*(row[name][:views] for name in Masks._fields))
        check = int(row["check"])
        return masks if check and check == _checksum(masks) else None

    def put(self, index: int, masks: Masks) -> None:
        """Keep the masks of a moment."""
        row = self._rows[index]
        for name, value in masks._asdict().items():
            row[name][: len(value)] = value
        row["check"] = _checksum(masks)

    @cached_property
    def _rows(self) -> np.memmap:
        size = self.moments * self.dtype.itemsize
        if not self.path.is_file() or self.path.stat().st_size != size:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fresh = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
            with fresh.open("wb") as file:
                file.truncate(size)  # takes no room before rows are written
            fresh.replace(self.path)
        return np.memmap(self.path, self.dtype, "r+", shape=(self.moments,))

    def __getstate__(self) -> dict:
        """Other processes open the file themselves."""
        return {key: value for key, value in vars(self).items() if key != "_rows"}


def _checksum(masks: Masks) -> int:
    """Never 0, which is what an empty file holds."""
    check = 0
    for value in masks:
        check = zlib.crc32(np.ascontiguousarray(value), check)
    return check or 1
