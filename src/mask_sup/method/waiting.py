"""Several processes: the first one works, the others wait, and none waits for a dead one."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from mask_sup.files.disk import write_file

__all__ = ["sign_of_life", "wait_for"]

EVERY, PATIENCE = 5.0, 45.0  # seconds between signs of life; without one, the first process is dead


@contextlib.contextmanager
def sign_of_life(path: Path) -> Iterator[None]:
    """Write signs of life to `path` while the block runs; if it fails, why."""
    ended = threading.Event()

    def tell() -> None:
        beats = 0
        while not ended.is_set():
            write_file(path, f"{beats}")
            beats += 1
            ended.wait(EVERY)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    except BaseException as error:
        ended.set()
        thread.join()
        write_file(path, f"failed: {type(error).__name__}: {error}")
        raise
    ended.set()
    thread.join()
    path.unlink(missing_ok=True)


def wait_for(target: Path, sign: Path) -> None:
    """Return once `target` is there.

    Args:
        target: The file that another process makes.
        sign: Where that process tells that it lives.

    Raises:
        RuntimeError: If it has failed, or given no sign for `PATIENCE` seconds.
    """
    told, since = None, time.monotonic()
    while not target.is_file():
        now = sign.read_text() if sign.is_file() else None
        if now is not None and now.startswith("failed"):
            raise RuntimeError(f"the first process, which makes {target}, has {now}")
        if now != told:
            told, since = now, time.monotonic()
        if time.monotonic() - since > PATIENCE:
            raise RuntimeError(
                f"the first process, which makes {target}, has given no sign for {PATIENCE:.0f} "
                "seconds: it is dead; look at its log and resume the run"
            )
        time.sleep(min(1.0, PATIENCE / 10))
