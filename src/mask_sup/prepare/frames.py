"""Frames of a release by number, one at a time, whatever they are stored in.

A source has `count()`, how many frames it holds (None: it cannot tell without reading all), and
`read(numbers)`, which gives those frames in order. Sources are plain data: any process may read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np

from mask_sup.files.masks import read_mask
from mask_sup.files.names import frame_numbers, natural_order
from mask_sup.files.pictures import read_image
from mask_sup.files.video import read_frames

__all__ = ["Frames", "MatMasks", "Pictures", "VideoFrames", "numbered", "opened"]


@runtime_checkable
class Frames(Protocol):
    """What gives pictures: RGB (h, w, 3) or masks (h, w), uint8."""

    def count(self) -> int | None:
        """Number of frames, or None."""

    def read(self, numbers: Sequence[int]) -> Iterator[np.ndarray]:
        """The frames of these ascending numbers, from 0 on."""

    def file(self, number: int = 0) -> Path:
        """Where a frame is read from."""


@dataclass(frozen=True)
class VideoFrames:
    """Frames of a video file.

    Attributes:
        path: The file.
        channel: As a mask: the colour channel (0 red) that shows it; None: pictures.
        blur: Side in pixels of the mean that smooths a compressed mask before its threshold.
        inverse: Whether the mask is where the channel is dark.
    """

    path: Path
    channel: int | None = None
    blur: int = 0
    inverse: bool = False

    def count(self) -> int | None:
        """What the file says; None where it does not."""
        import av

        if not self.path.is_file():
            raise FileNotFoundError(f"missing file {self.path}")
        try:
            with av.open(str(self.path)) as container:
                return container.streams.video[0].frames or None
        except (av.error.FFmpegError, IndexError) as error:
            raise ValueError(
                f"{self.path} cannot be read as a video ({error}): copy it again from the release"
            ) from error

    def read(self, numbers: Sequence[int]) -> Iterator[np.ndarray]:
        """Decodes from the beginning up to the last number."""
        wanted, found = iter(numbers), 0
        following = next(wanted, None)
        for i, frame in enumerate(read_frames(self.path)):
            if following is None:
                return
            if i == following:
                found += 1
                following = next(wanted, None)
                yield frame if self.channel is None else self._mask(frame)
        if following is not None:
            raise ValueError(
                f"{self.path} ends before frame {following}, {found} of {len(numbers)} frames "
                "found: it is cut off, copy it again from the release"
            )

    def file(self, number: int = 0) -> Path:
        """The video."""
        return self.path

    def _mask(self, frame: np.ndarray) -> np.ndarray:
        mask = np.ascontiguousarray(frame[..., self.channel])
        if self.blur:
            mask = cv2.blur(mask, (self.blur, self.blur))
        return np.where((mask > 127) != self.inverse, 255, 0).astype(np.uint8)


@dataclass(frozen=True)
class Pictures:
    """A file per frame.

    Attributes:
        paths: In order.
        mask: Whether they are masks.
        numbers: Of the frames; None: 0, 1, 2, ...
    """

    paths: tuple[Path, ...]
    mask: bool = False
    numbers: tuple[int, ...] | None = None

    def count(self) -> int:
        """One more than the last number."""
        return len(self.paths) if self.numbers is None else max(self.numbers, default=-1) + 1

    def read(self, numbers: Sequence[int]) -> Iterator[np.ndarray]:
        """Opens one file after the other."""
        for number in numbers:
            if self.mask:
                mask = read_mask(self.file(number), may_be_empty=True)
                yield np.where(mask > 127, 255, 0).astype(np.uint8)
            else:
                yield read_image(self.file(number))

    def file(self, number: int = 0) -> Path:
        """The file of a frame."""
        place = number if self.numbers is None else self._places.get(number, len(self.paths))
        if place >= len(self.paths):
            raise FileNotFoundError(f"no file for frame {number} beside {self.paths[0]}")
        return self.paths[place]

    @cached_property
    def _places(self) -> dict[int, int]:
        return {number: place for place, number in enumerate(self.numbers or ())}


@dataclass(frozen=True)
class MatMasks:
    """Masks of Human3.6M: MATLAB 7.3 (HDF5), cells that refer to transposed pictures of 0 and 1."""

    path: Path

    def count(self) -> int:
        """Number of cells."""
        with opened(self.path) as file:
            return max(self._cells(file).shape)

    def read(self, numbers: Sequence[int]) -> Iterator[np.ndarray]:
        """One cell after the other."""
        with opened(self.path) as file:
            cells = self._cells(file)[()].reshape(-1)
            for number in numbers:
                try:
                    mask = np.asarray(file[cells[number]]).T
                except (OSError, ValueError, KeyError, IndexError) as error:
                    raise ValueError(
                        f"{self.path}: mask {number} of {len(cells)} cannot be read ({error}): "
                        "unpack it again from the release"
                    ) from error
                yield np.ascontiguousarray(np.where(mask > 0, 255, 0).astype(np.uint8))

    def file(self, number: int = 0) -> Path:
        """The file of all masks."""
        return self.path

    def _cells(self, file):
        if "Masks" not in file:
            raise ValueError(
                f"{self.path} holds {sorted(file)}, not Masks: expected ground_truth_bs"
            )
        return file["Masks"]


def numbered(folder: Path, pattern: str, first: int, mask: bool = False) -> Pictures:
    """Pictures, or none, whose names count from `first` on.

    Raises:
        ValueError: If the names have no numbers that count up.
    """
    paths = tuple(natural_order(folder.glob(pattern)))
    numbers = frame_numbers(paths)
    if numbers is None:
        raise ValueError(
            f"the names in {folder} have no numbers that count up ({paths[0].name}, ...): expected "
            "those of the release, one number per frame"
        )
    return Pictures(paths, mask, tuple(number - first for number in numbers))


def opened(path: Path):
    """An HDF5 file, for `with`.

    Raises:
        FileNotFoundError: If it is missing.
        ValueError: If it is no HDF5 file or is cut off.
    """
    import h5py

    if not path.is_file():
        raise FileNotFoundError(f"missing file {path}")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ValueError(
            f"{path} cannot be read as HDF5 / MATLAB 7.3 ({error}): copy it again from the release"
        ) from error
