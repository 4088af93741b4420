"""One process at a time in a folder that is being written to."""

import contextlib
import json
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["LOCK", "locked"]

LOCK = ".lock"


@contextlib.contextmanager
def locked(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Hold a lock of the folder; it is made if it is not there, and gone again if nothing came.

    The operating system lets go of the lock with the process, however that ends, so that none stays
    behind. On network file systems it is as good as their `flock`; on Windows there is none.

    Args:
        folder: What is written to.
        name: The lock's file: commands with locks of their own write side by side.

    Raises:
        ValueError: If another process holds it, with who that is.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise ValueError(
                f"{folder} is being written to by {_holder(path)}: wait for it, or stop it, then "
                "run the same command again"
            ) from error
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            break
        file.close()  # the holder has removed it meanwhile
    with file:
        told = {
            "process": os.getpid(),
            "machine": platform.node(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
            "command": shlex.join(sys.argv),
        }
        file.truncate(0)
        file.write(json.dumps(told))
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # there is something in it
                for made in new:
                    made.rmdir()


def _holder(path: Path) -> str:
    """Who holds a lock, in words."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return (
            f"process {told['process']} on {told['machine']} since {told['since']} "
            f"({told['command']})"
        )
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
