"""Small pictures kept on disk while a command runs, so that memory does not grow with a film."""

import tempfile
import zlib
from pathlib import Path

import numpy as np

__all__ = ["Spool"]


class Spool:
    """A list of uint16 arrays of one shape in a file without a name, gone with the process.

    Args:
        folder: Where there is room for it.
    """

    def __init__(self, folder: Path | None = None):
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - as long as this object
        self._ends = [0]
        self._shape: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def append(self, array: np.ndarray) -> None:
        """Keep one more."""
        data = zlib.compress(np.ascontiguousarray(array, np.uint16).data, 1)
        self._shape = array.shape
        self._file.seek(self._ends[-1])
        self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))

    def __getitem__(self, place: int) -> np.ndarray:
        if not 0 <= place < len(self):
            raise IndexError(place)
        self._file.seek(self._ends[place])
        data = self._file.read(self._ends[place + 1] - self._ends[place])
        return np.frombuffer(zlib.decompress(data), np.uint16).reshape(self._shape)
