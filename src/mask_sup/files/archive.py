"""Where a stored picture lies: a file of its own, a piece of a tar archive, or memory."""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

__all__ = ["InMemory", "Member", "Stored", "locate"]


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


@dataclass(frozen=True)
class InMemory:
    """A file that was never written; read like a `Path`."""

    name: str
    content: bytes = field(repr=False)

    def is_file(self) -> bool:
        """It is always there."""
        return True

    def read_bytes(self) -> bytes:
        """The bytes of the file."""
        return self.content

    def __str__(self) -> str:
        return self.name


Stored = Path | Member | InMemory


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
