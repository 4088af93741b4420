"""Files that are there as a whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["whole", "write_file"]


@contextmanager
def whole(*paths: Path) -> Iterator[list[Path]]:
    """Names beside `paths` to write to, which become `paths` when all of them are written.

    Where that fails or is stopped, what was there before stays as it was. Folders are made.

    Raises:
        OSError: With the paths, if they cannot be written.
    """
    unfinished = [path.with_name(f".{path.name}.part") for path in paths]
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        for part, path in zip(unfinished, paths, strict=True):
            part.replace(path)
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


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file of text (UTF-8) or bytes.

    Raises:
        OSError: With the path, if it cannot be written.
    """
    with whole(path) as (part,):
        part.write_bytes(content.encode() if isinstance(content, str) else content)
