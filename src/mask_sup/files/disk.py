"""Files that are there as a whole or not at all, and arrays with a header that explains them."""

import json
import math
import os
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from mask_sup.files.lock import LOCK

__all__ = ["check_arrays", "claim", "read_arrays", "whole", "write_file", "write_arrays"]


MOST_BYTES = 2 << 30  # of one array; the manifest of all of Human3.6M takes 0.1 GB


@contextmanager
def whole(*paths: Path, to_disk: bool = False) -> Iterator[list[Path]]:
    """Names beside `paths` to write to, which become `paths` when all of them are written.

    Where that fails or is stopped, what was there before stays as it was. Folders are made.

    Args:
        paths: What to write.
        to_disk: Whether they have to survive a loss of power, too: waits for the disk.

    Raises:
        OSError: With the paths, if they cannot be written.
    """
    unfinished = [path.with_name(f".{path.name}.part") for path in paths]
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        for part in unfinished if to_disk else ():
            _sync(part)
        for part, path in zip(unfinished, paths, strict=True):
            part.replace(path)
        for folder in {path.parent for path in paths} if to_disk else ():
            _sync(folder)
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot write {', '.join(map(str, paths))} ({error.strerror or error}): make room, or "
            "choose a folder that can be written to, and run the same command again",
        ) from error
    finally:
        for part in unfinished:
            with suppress(OSError):  # the error above tells more
                part.unlink()


def _sync(path: Path) -> None:
    """See that a file, or the names in a folder, would survive a loss of power."""
    if path.is_dir() and os.name == "nt":
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file of text (UTF-8) or bytes.

    Raises:
        OSError: With the path, if it cannot be written.
    """
    with whole(path) as (part,):
        part.write_bytes(content.encode() if isinstance(content, str) else content)


def write_arrays(path: Path, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays, and as `header` the JSON text of plain data, its `version` among it.

    Raises:
        OSError: With the path, if it cannot be written.
    """
    told = np.array(json.dumps(header, indent=1))
    with whole(path) as (part,), part.open("wb") as file:
        np.savez_compressed(file, header=told, **arrays)


def check_arrays(path: Path) -> None:
    """Refuse an npz whose arrays would take more memory than any of ours, before one is read.

    A few megabytes of zeros unpack to gigabytes. What an array takes is in its own header.

    Raises:
        ValueError: With the array and its size, or if it holds Python objects.
        zipfile.BadZipFile: If it is no archive.
    """
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
                    version, np.lib.format.read_array_header_2_0
                )
                shape, _, kind = read(file)
            size = math.prod(shape) * kind.itemsize
            if kind.hasobject or size > MOST_BYTES:
                what = "Python objects" if kind.hasobject else f"{size / 1e9:.1f} GB"
                raise ValueError(
                    f"its array {member.filename.removesuffix('.npy')} holds {what}, expected "
                    f"numbers and texts of at most {MOST_BYTES / 1e9:.0f} GB"
                )


def read_arrays(
    path: Path, names: Collection[str] | None, version: int, cure: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and, of these names, the arrays that `write_arrays` wrote; others are not read.

    Args:
        path: The file, which exists.
        names: Arrays to read, where the file has them; None: all.
        version: That its header must tell.
        cure: What to do where it cannot be read.

    Raises:
        ValueError: If the file is damaged, of another kind or of another version.
    """
    try:
        check_arrays(path)
        with np.load(path, allow_pickle=False) as file:
            header = json.loads(str(file["header"]) if "header" in file.files else "{}")
            found = header.get("version")
            there = [name for name in file.files if found == version and name != "header"]
            wanted = [name for name in there if names is None or name in names]
            arrays = {name: file[name] for name in wanted}
    except (ValueError, OSError, EOFError, AttributeError, zlib.error, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read ({error}): {cure}") from error
    if found != version:
        raise ValueError(f"{path} has the version {found}, this program reads {version}: {cure}")
    return header, arrays


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
    if not path.is_file() and out.is_dir() and any(p.name != LOCK for p in out.iterdir()):
        raise ValueError(f"{out} is not empty and was not begun by us: choose another folder")
    if (out / last).is_file():
        raise ValueError(f"{out / last} is there already: this is finished")
    write_file(path, json.dumps(settings, indent=1))
