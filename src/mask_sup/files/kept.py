"""What a long job has made so far, kept in a folder so that a stopped one goes on."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mask_sup.files.disk import read_arrays, write_arrays

__all__ = ["Kept", "digest"]

VERSION = 1
DIGITS = 16  # of digests, in the names of folders


def digest(told: Any, *arrays: np.ndarray) -> str:
    """A name for plain data and arrays: SHA-256, so that equal names mean equal contents.

    >>> digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    True
    >>> digest(None, np.zeros(2)) == digest(None, np.zeros((2, 1)))
    False
    """
    found = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for array in arrays:
        found.update(f"{array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


class Kept:
    """Arrays of a job by name, each made once; they go to other processes as a folder's name.

    Args:
        folder: Where they are kept; nothing else may lie in there.
        told: All that they depend on, plain data: what was kept for anything else is thrown away.
    """

    def __init__(self, folder: Path, told: Any):
        self.folder = folder
        self.place = folder / digest(told)[:DIGITS]
        if folder.is_dir() and not self.place.is_dir():
            shutil.rmtree(folder)

    def made(self, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """The arrays of this name: as they were made before, or made now.

        Raises:
            OSError: If they cannot be written.
            ValueError: If the file of them is damaged.
        """
        path = self.place / f"{name}.npz"
        if path.is_file():
            return read_arrays(path, None, VERSION, "remove it, it is made again")[1]
        arrays = make()
        write_arrays(path, {"version": VERSION}, arrays)
        return arrays

    def forget(self) -> None:
        """Remove all of them: the job is done."""
        shutil.rmtree(self.folder, ignore_errors=True)
