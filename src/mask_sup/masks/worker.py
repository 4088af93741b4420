"""A network in a process and an environment of its own, which this package feeds by a pipe."""

import contextlib
import importlib.util
import shutil
import struct
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import UInt8

from mask_sup.files.disk import write_file
from mask_sup.files.lock import locked

__all__ = ["Worker", "environment"]

SIZE = struct.Struct("<II")  # height, width
PATIENCE_S = 5.0  # seconds that a worker has to end by itself
LINES = 12  # of what a process said last that are shown
DONE = "complete"  # file in an environment that was installed to the end


class Worker:
    """A process that makes a mask of every picture, started with the first one.

    It ends when its input does: when this object or the process that holds it is gone.

    Args:
        command: What is run; it speaks as `mediapipe_worker.py` tells.
    """

    def __init__(self, command: Sequence[str]):
        self.command = list(command)
        self.process: subprocess.Popen[bytes] | None = None

    def mask(self, picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w"]:
        """The mask of a picture (RGB): 0 to 255 for surely nobody to surely the person.

        Raises:
            ChildProcessError: If the process has ended, with what it said last.
        """
        if self.process is None:
            self._start()
        height, width = picture.shape[:2]
        found = b""
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            self.process.stdin.write(SIZE.pack(height, width))
            self.process.stdin.write(np.ascontiguousarray(picture).data)
            self.process.stdin.flush()
            found = self.process.stdout.read(height * width)
        if len(found) < height * width:
            raise ChildProcessError(self._ended())
        return np.frombuffer(found, np.uint8).reshape(height, width)

    def _start(self) -> None:
        self.said = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            start_new_session=True,  # Ctrl-C is for this process, which then ends that one
        )
        self.close = weakref.finalize(self, _end, self.process)

    def _ended(self) -> str:
        self.close()
        return (
            f"the network's process ended with status {self.process.returncode} before it gave a "
            f"mask. It was {' '.join(self.command)}, and said last:\n{_last_lines(self.said)}"
        )


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Close the process's input, and stop it if it goes on."""
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    process.stdout.close()
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_lines(said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read().decode(errors="replace").splitlines()
    return "\n".join(lines[-LINES:]) or "(nothing)"


# -- environments ---------------------------------------------------------------------------------


def environment(
    module: str, requirements: Sequence[str], newest: tuple[int, int], folder: Path, install: bool
) -> str:
    """The Python that has a module: this one, or that of an environment made for it.

    Args:
        module: What has to be importable.
        requirements: What pip installs to have it.
        newest: Last version of Python that it is there for.
        folder: Of the environment.
        install: Whether to make the environment if it is not there.

    Returns:
        Path of the Python program.

    Raises:
        ModuleNotFoundError: If the module is in neither, with what to do.
        ChildProcessError: If it cannot be installed.
    """
    if importlib.util.find_spec(module):
        return sys.executable
    places = folder / "bin" / "python", folder / "Scripts" / "python.exe"
    if not (folder / DONE).is_file():
        if not install:
            raise ModuleNotFoundError(
                f"this extractor needs {module}, which is neither installed here nor in {folder}: "
                "run the same command with extractor.install=true, which makes an environment "
                f"there with pip install {' '.join(requirements)} and changes nothing else"
            )
        _install(requirements, newest, folder)
    return str(next(place for place in places if place.exists()))


def _install(requirements: Sequence[str], newest: tuple[int, int], folder: Path) -> None:
    python = _python(newest)
    print(f"installing {' '.join(requirements)} in {folder} (once; about a minute)")
    with locked(folder.parent):
        _run([python, "-m", "venv", "--clear", str(folder)])
        inside = next(place for place in folder.glob("*/python*") if place.stem == "python")
        _run([str(inside), "-m", "pip", "install", "--quiet", *requirements])
        write_file(folder / DONE, "\n".join(requirements) + "\n")


def _python(newest: tuple[int, int]) -> str:
    """This Python if it is not too new, else an older one on the path."""
    major, minor = newest
    if sys.version_info[:2] <= newest:
        return sys.executable
    found = [shutil.which(f"python{major}.{older}") for older in range(minor, minor - 3, -1)]
    if not any(found):
        raise ModuleNotFoundError(
            f"{sys.version_info[0]}.{sys.version_info[1]} is this Python, and the network is there "
            f"up to {major}.{minor}: install python{major}.{minor}, and run the command again"
        )
    return next(path for path in found if path)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        lines = done.stdout.decode(errors="replace").splitlines()
        told = "\n".join(lines[-LINES:])
        raise ChildProcessError(
            f"could not install the network's environment: {' '.join(command)} ended with status "
            f"{done.returncode}. Is there a network? It said last:\n{told}"
        )
