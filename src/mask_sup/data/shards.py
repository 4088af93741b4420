"""A prepared store as a few large files: uncompressed tar archives that WebDataset reads, too.

    out/train-00000.tar   of every moment in a row <key>.<camera>.jpg and <key>.<camera>.png of each
                          camera, and <key>.json: name, action, and K, R, t of each camera (null
                          where uncalibrated); the key is the moment's name with _ for / and .
    out/manifest.npz      that of the store, where a picture is train-00000.tar@offset+length

Moments keep the order of the manifest, and any picture is read by its place in its archive: order,
ranks and resuming of a training are those of a folder. An archive is finished when it has its name;
a run that is started again goes on with the others and writes the same bytes.
"""

import hashlib
import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.progress import track

from mask_sup.data.manifest import MANIFEST, read_manifest, write_manifest
from mask_sup.files.archive import Member, locate
from mask_sup.files.disk import claim, whole
from mask_sup.files.lock import locked

__all__ = ["write_shards"]

SETTINGS = "shards.json"
MEGABYTE = 1_000_000


class Piece(NamedTuple):
    """One file of an archive."""

    name: str
    content: Path | bytes
    length: int


class Shard(NamedTuple):
    """One archive: rows of the manifest."""

    name: str
    rows: Sequence[int]


def write_shards(root: Path, out: Path, megabytes: float) -> dict[str, Any]:
    """Write all archives and their manifest; go on where an earlier run stopped.

    Args:
        root: A prepared store of single files.
        out: Folder of the archives.
        megabytes: Size at which an archive is closed.

    Returns:
        The header of the manifest.

    Raises:
        FileNotFoundError: If the manifest or a picture is missing.
        ValueError: If the store is in archives already, two files would have one name, `out` holds
            something else, is finished or written to by another process, or an archive in it is
            damaged.
        OSError: If the disk is full.
    """
    if megabytes <= 0:
        raise ValueError(f"megabytes={megabytes}: expected more than 0, usually 256")
    arrays, header = read_manifest(root)
    shards = _plan(root, arrays, megabytes * MEGABYTE)
    made_of = hashlib.sha256((root / MANIFEST).read_bytes()).hexdigest()
    with locked(out):
        claim(out, SETTINGS, {"manifest": made_of, "megabytes": megabytes}, MANIFEST)
        places = {key: arrays[key].astype(object) for key in ("images", "masks")}
        work = _run(root, out, arrays, shards, places)
        for _ in track(work, "moments", total=len(arrays["names"])):
            pass
        written = {key: paths.astype(str) for key, paths in places.items()}
        header = {**header, "shards": [shard.name for shard in shards]}
        write_manifest(out, {**arrays, **written}, header)
        return header


def _plan(root: Path, arrays: Mapping[str, np.ndarray], limit: float) -> list[Shard]:
    """Which rows go into which archive; every file is looked at, none is read."""
    shards, missing = [], []
    for split in dict.fromkeys(arrays["split"].tolist()):
        names: Counter[str] = Counter()
        groups, size = [[]], 0
        for row in np.nonzero(arrays["split"] == split)[0].tolist():
            pieces = _pieces(root, arrays, row)
            names.update(piece.name for piece in pieces)
            missing += [str(piece.content) for piece in pieces if piece.length == 0]
            length = sum(piece.length for piece in pieces)
            if groups[-1] and size + length > limit:
                groups.append([])
                size = 0
            groups[-1].append(row)
            size += length
        shards += [Shard(f"{split}-{i:05d}.tar", rows) for i, rows in enumerate(groups)]
        if twice := [name for name, count in names.items() if count > 1]:
            raise ValueError(
                f"the split {split!r} of {root} would have {len(twice)} names twice in its "
                f"archives, such as {twice[0]!r}: moments and cameras need names that differ when "
                "/ and . are _, and pictures another ending than masks"
            )
    if missing:
        some = "\n  ".join(missing[:10])
        raise FileNotFoundError(
            f"{len(missing)} files that {root / MANIFEST} lists are missing or empty; the first "
            f"are\n  {some}\nprepare the data set again, or copy it again"
        )
    return shards


def _pieces(root: Path, arrays: Mapping[str, np.ndarray], row: int) -> list[Piece]:
    """The files of one moment, image and mask of each camera in turn; length 0 where missing."""
    key = _plain(arrays["names"][row])
    pieces, cameras = [], {}
    for k, camera in enumerate(map(_plain, arrays["cameras"][row])):
        for kind in ("images", "masks"):
            path = locate(root, str(arrays[kind][row, k]))
            if isinstance(path, Member):
                raise ValueError(
                    f"{root} is in archives already ({path}): give the store they were made of"
                )
            length = path.stat().st_size if path.is_file() else 0
            pieces.append(Piece(f"{key}.{camera}{path.suffix}", path, length))
        cameras[camera] = {part: _numbers(arrays[part][row, k]) for part in ("K", "R", "t")}
    told = {
        "name": str(arrays["names"][row]),
        "action": str(arrays["action"][row]),
        "cameras": cameras,
    }
    text = json.dumps(told).encode()
    return [*pieces, Piece(f"{key}.json", text, len(text))]


def _plain(name: str) -> str:
    """A name without what has a meaning in names of files.

    >>> _plain("S9/Walking.1/000123")
    'S9_Walking_1_000123'
    """
    return re.sub(r"[/.]", "_", str(name))


def _numbers(array: np.ndarray) -> list | None:
    return None if np.isnan(array).any() else array.tolist()


def _run(
    root: Path,
    out: Path,
    arrays: Mapping[str, np.ndarray],
    shards: Sequence[Shard],
    places: Mapping[str, np.ndarray],
) -> Iterator[None]:
    """Write what is not there and note in `places` where each picture lies; a step a moment."""
    for shard in shards:
        path = out / shard.name
        if not path.is_file():
            yield from _write(path, (_pieces(root, arrays, row) for row in shard.rows))
        else:
            yield from (None for _ in shard.rows)
        found = _members(path)
        for row in shard.rows:
            pieces = _pieces(root, arrays, row)
            for i, piece in enumerate(pieces):
                offset, length = found.pop(piece.name, (0, -1))
                if length != piece.length:
                    raise _damaged(path, f"{piece.name} is missing or of another length")
                if isinstance(piece.content, Path):
                    at = places["masks" if i % 2 else "images"]
                    at[row, i // 2] = f"{shard.name}@{offset}+{length}"
        if found:
            raise _damaged(path, f"{next(iter(found))} does not belong there")


def _write(path: Path, moments: Iterator[Sequence[Piece]]) -> Iterator[None]:
    """Write one archive; a step a moment.

    Raises:
        OSError: If it cannot be written; nothing of it is left then.
    """
    with (
        whole(path) as (part,),
        part.open("wb") as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for pieces in moments:
            for name, content, _ in pieces:
                data = content.read_bytes() if isinstance(content, Path) else content
                info = tarfile.TarInfo(name)  # of nobody, mode 644, of the year 1970
                info.size = len(data)
                archive.addfile(info, BytesIO(data))
            yield


def _members(path: Path) -> dict[str, tuple[int, int]]:
    """Name -> offset and length of every file in an archive."""
    try:
        with tarfile.open(path, mode="r:") as archive:
            return {info.name: (info.offset_data, info.size) for info in archive}
    except tarfile.TarError as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> ValueError:
    return ValueError(
        f"{path} is damaged, or the store has changed ({why}): remove it and run the same command "
        "again"
    )
