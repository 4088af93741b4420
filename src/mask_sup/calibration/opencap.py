"""OpenCap's cameraIntrinsicsExtrinsics.pickle of each camera, millimetres.

A folder of <camera>/cameraIntrinsicsExtrinsics.pickle, or of <camera>.pickle. A pickle may run
anything where it is opened with Python's own reader. Here its opcodes are followed by one that
knows numpy's arrays by name alone and makes them from plain bytes: nothing of a file is called.
"""

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mask_sup.calibration.cameras import CalibrationError
from mask_sup.calibration.entries import (
    LARGEST_FILE,
    Cameras,
    Entry,
    lens,
    matrix,
    read_each,
    read_text,
)

__all__ = ["LAYOUT", "pickles", "read", "recognises"]

NAME = "cameraIntrinsicsExtrinsics"
SUFFIXES = (".pickle", ".pkl")
LAYOUT = (
    f"{NAME}.pickle of each camera, with intrinsicMat, distortion, imageSize (height, width), "
    "rotation and translation"
)
KINDS = ("f8", "f4", "i8", "i4", "i2", "u2", "u1", "u4")  # of numbers
MOST_NUMBERS = 64  # in one array: 4x4, 14 coefficients, ...


def recognises(path: Path, text: str) -> bool:
    """Whether this is a pickle with OpenCap's keys."""
    return path.suffix.lower() in SUFFIXES and "intrinsicMat" in text


def pickles(folder: Path) -> list[Path]:
    """The pickles of a rig: one per camera in the folder, or in a folder each."""
    inside = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]
    places = inside, sorted(folder.glob(f"*/{NAME}.pickle"))
    found = ([p for p in place if recognises(p, _text(p))] for place in places)
    return next((some for some in found if some), [])


def _text(path: Path) -> str:
    fits = path.is_file() and path.stat().st_size <= LARGEST_FILE
    return read_text(path) if fits else ""


def read(path: Path) -> tuple[Cameras, None]:
    """The camera of a file, or those of a folder."""
    files = pickles(path) if path.is_dir() else [path]
    named = [(f.parent.name if f.stem == NAME else f.stem, f) for f in files]
    return read_each(named, _entry), None


def _entry(name: str, path: Path) -> Entry:
    told = load(path)
    K = matrix(told["intrinsicMat"], 3, 3)
    height, width = matrix(told["imageSize"], 2)
    R, t = matrix(told["rotation"], 3, 3), matrix(told["translation"], 3)
    return Entry(name, K, R, t, lens(told["distortion"]), (width, height))


def load(path: Path) -> dict[str, Any]:
    """The arrays, numbers and words of a pickle that holds a table of them.

    Raises:
        FileNotFoundError: If there is no such file.
        CalibrationError: If it is too large, or asks for anything but arrays.
        ValueError: If it is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"missing file {path}")
    if path.stat().st_size > LARGEST_FILE:
        raise CalibrationError(f"{path} is too large for a calibration")
    try:
        return _plain(_Reader(io.BytesIO(path.read_bytes())).load())
    except (pickle.UnpicklingError, EOFError, AssertionError, MemoryError) as error:
        raise ValueError(f"a damaged pickle ({type(error).__name__}: {error})") from error


class _Kind:
    """Stands for numpy's dtype."""

    def __init__(self, *told: Any):
        self.kind, self.order = told[0] if told else None, "<"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def numbers(self) -> np.dtype:
        if self.kind not in KINDS or self.order not in ("<", ">", "|", "="):
            raise CalibrationError(f"an array of {self.kind!r}: only numbers are read, {KINDS}")
        return np.dtype(f"{self.order}{self.kind}")


class _Array:
    """Stands for numpy's array."""

    state: Any = None

    def __init__(self, *_: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def values(self) -> np.ndarray:
        _, shape, kind, by_columns, data = self.state
        if not isinstance(kind, _Kind) or not isinstance(data, bytes):
            raise ValueError("an array without numbers")
        values = np.frombuffer(data, kind.numbers())
        if values.size > MOST_NUMBERS:
            raise ValueError(f"an array of {values.size} numbers: no camera has so many")
        return values.reshape(shape, order="F" if by_columns else "C").astype(float)


def _latin(text: Any, encoding: Any) -> bytes:
    """Bytes, as Python 2's protocols write them."""
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError(f"bytes in the encoding {encoding!r}")
    return text.encode("latin1")


def _number(kind: Any, data: Any) -> float:
    if not isinstance(kind, _Kind) or not isinstance(data, bytes):
        raise ValueError("a number of no kind")
    return float(np.frombuffer(data, kind.numbers(), 1)[0])


OPCODES = (  # of containers, numbers, words, the memory of both, and of arrays
    "PROTO FRAME STOP MARK EMPTY_DICT DICT EMPTY_LIST LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "APPEND APPENDS SETITEM SETITEMS NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 "
    "LONG4 FLOAT BINFLOAT UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES "
    "BINBYTES8 GET BINGET LONG_BINGET PUT BINPUT LONG_BINPUT MEMOIZE GLOBAL STACK_GLOBAL REDUCE"
)
KNOWN: dict[tuple[str, str], Callable] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
    ("_codecs", "encode"): _latin,
} | {
    (f"numpy.{core}.multiarray", name): stand_in
    for core in ("core", "_core")
    for name, stand_in in (("_reconstruct", _Array), ("scalar", _number))
}


class _Opcodes(dict):
    def __missing__(self, code: int) -> Any:
        raise CalibrationError(f"it uses pickle's opcode {code:#x}, which no calibration needs")


class _Reader(pickle._Unpickler):  # in Python: the reader in C takes memory on command
    dispatch = _Opcodes(
        {
            code: pickle._Unpickler.dispatch[code]
            for code in (getattr(pickle, name)[0] for name in OPCODES.split())
        }
    )

    def load_build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], (_Array, _Kind)):
            raise CalibrationError("it gives a state to something that is no array")
        self.stack[-1].__setstate__(state)

    dispatch[pickle.BUILD[0]] = load_build

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in KNOWN:
            raise CalibrationError(
                f"it names {module}.{name}, which no calibration needs and which may run anything: "
                "it is not opened"
            )
        return KNOWN[module, name]


def _plain(value: Any) -> dict[str, Any]:
    """The arrays and numbers of a table; not its lists, which may hold themselves many times."""
    if not isinstance(value, dict):
        raise ValueError(f"it holds a {type(value).__name__}, not a table of keys")
    found = {key: v.values() if isinstance(v, _Array) else v for key, v in value.items()}
    return {key: v for key, v in found.items() if isinstance(v, (np.ndarray, float, int, str))}
