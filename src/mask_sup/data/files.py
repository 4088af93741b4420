"""Where a stored picture lies: a file of its own, or a piece of a tar archive."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from mask_sup.disk import write_file

__all__ = ["Member", "claim", "locate"]


@dataclass(frozen=True)
class Member:
    """A file inside an uncompressed tar archive; read like a `Path`."""

    archive: Path
    offset: int
    length: int

    def is_file(self) -> bool:
        """Whether the archive is there and reaches so far."""
        return self.offset + self.length <= _size(self.archive)

    def read_bytes(self) -> bytes:
        """The bytes of the file."""
        with self.archive.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.length)

    def __str__(self) -> str:
        return f"{self.archive}@{self.offset}+{self.length}"


@lru_cache(maxsize=4096)
def _size(archive: Path) -> int:
    return archive.stat().st_size if archive.is_file() else -1


def locate(root: Path, text: str) -> Path | Member:
    """What an entry of a manifest means.

    >>> locate(Path("data"), "images/a.jpg").as_posix()
    'data/images/a.jpg'
    >>> locate(Path("data"), "train-00000.tar@512+99").length
    99
    """
    piece = re.fullmatch(r"(.+\.tar)@(\d+)\+(\d+)", text)
    if piece is None:
        return root / text
    return Member(root / piece[1], int(piece[2]), int(piece[3]))


def claim(out: Path, record: str, settings: Mapping[str, Any], last: str) -> None:
    """Make a folder for a long job, or see that it holds the same one, not yet finished.

    Args:
        out: The folder.
        record: Name of the file in it that tells the settings.
        settings: Of the job, plain data.
        last: Name of the file that is written at the very end.

    Raises:
        ValueError: If the folder holds something else, or the job is finished.
    """
    path = out / record
    if path.is_file() and (there := json.loads(path.read_text())) != settings:
        other = sorted(key for key in {*there, *settings} if there.get(key) != settings.get(key))
        raise ValueError(f"{out} was begun with other {other}: choose another folder or remove it")
    if not path.is_file() and out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty and was not begun by us: choose another folder")
    if (out / last).is_file():
        raise ValueError(f"{out / last} is there already: this is finished")
    write_file(path, json.dumps(settings, indent=1))
