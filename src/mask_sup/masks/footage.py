"""What a command is given to work on: one stream of pictures per camera."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from mask_sup.files.names import natural_order, numbered
from mask_sup.files.pictures import PICTURE_SUFFIXES, list_pictures, picture_size, read_image
from mask_sup.files.video import VIDEO_SUFFIXES, frame_times, read_frames

__all__ = ["Footage", "find_footage", "shrink"]

GAP = 1.5
"""Frames further apart than this many usual intervals leave a hole in time."""


@dataclass(frozen=True)
class Footage:
    """The pictures of one camera, in order.

    Args:
        camera: Its name.
        path: A video, or a folder of pictures.
        count: Number of pictures.
        gap: Longest interval between two of them over the usual one; 1 for an even rate.
    """

    camera: str
    path: Path
    count: int
    gap: float

    def frames(self) -> Iterator[np.ndarray]:
        """RGB pictures, (h, w, 3) uint8, upright.

        Raises:
            ValueError: If a picture is damaged, sizes change, or the video ends too soon.
        """
        shape, seen = None, 0
        video = self.path.is_file()
        found = read_frames(self.path) if video else map(read_image, list_pictures(self.path))
        for seen, frame in enumerate(found, start=1):
            if shape not in (None, frame.shape):
                raise ValueError(
                    f"picture {seen - 1} of {self.path} is {frame.shape[1]}x{frame.shape[0]}, "
                    f"those before are {shape[1]}x{shape[0]}: expected one size per camera"
                )
            shape = frame.shape
            yield frame
        if seen != self.count:
            raise ValueError(
                f"{self.path} promises {self.count} frames but {seen} can be decoded: it is "
                "damaged; copy it again, or convert it to mp4"
            )

    def size(self) -> tuple[int, int]:
        """Width and height of the pictures.

        Raises:
            ValueError: If the first one is damaged.
        """
        if self.path.is_file():
            return next(self.frames()).shape[1::-1]
        return picture_size(list_pictures(self.path)[0])

    def numbers(self) -> Sequence[int]:
        """The number of each frame: that of its file, or its place in the video.

        Raises:
            ValueError: If names of pictures have no clear numbers.
        """
        return (
            range(self.count) if self.path.is_file() else list(numbered(list_pictures(self.path)))
        )

    def names(self) -> list[str]:
        """What the mask of each frame is called, without the ending: like its picture.

        Raises:
            ValueError: If two pictures differ in their ending alone.
        """
        if self.path.is_file():
            return [f"{i:06d}" for i in range(self.count)]
        names = [path.stem for path in list_pictures(self.path)]
        if twice := next((a for a, b in pairwise(names) if a == b), None):
            raise ValueError(
                f"{self.path} has several pictures called {twice}: expected one per frame; keep "
                "those of one ending"
            )
        return names

    def identity(self) -> dict[str, str | int]:
        """What tells this footage from another, wherever it lies."""
        video = self.path.is_file()
        files = [self.path] if video else list_pictures(self.path)
        size = sum(file.stat().st_size for file in files)
        told = {"name": self.path.name, "bytes": size, "count": self.count}
        return told if video else told | {"first": files[0].name}


def find_footage(source: Path, uneven: bool = False) -> list[Footage]:
    """The cameras of an input.

    Args:
        source: A video; a folder of videos, one per camera; a folder of pictures; a folder with
            one folder of pictures per camera; or a recording with `videos/` or `frames/`.
        uneven: Whether cameras may differ in their number of frames or have a variable rate.

    Raises:
        FileNotFoundError: If there is nothing at `source`.
        ValueError: If nothing in it is footage, a video is damaged, or cameras do not go together.
    """
    if not source.exists():
        raise FileNotFoundError(f"no input at {source}: give a video, a folder of them or frames")
    found = [_footage(name, path) for name, path in _cameras(source).items()]
    if len(found) > 1 and not uneven:
        _refuse_uneven(source, found)
    return found


def _cameras(source: Path) -> dict[str, Path]:
    if source.is_file():
        if source.suffix.lower() not in VIDEO_SUFFIXES:
            raise ValueError(f"{source} is no video: expected one of the endings {VIDEO_SUFFIXES}")
        return {source.stem: source}
    for part in ("videos", "frames"):
        if (source / part).is_dir():
            return _cameras(source / part)
    inside = [path for path in natural_order(source.iterdir()) if not path.name.startswith(".")]
    videos = [path for path in inside if path.suffix.lower() in VIDEO_SUFFIXES]
    if len({path.stem for path in videos}) < len(videos):
        raise ValueError(
            f"{source} has two videos of one name: {[path.name for path in videos]}; a camera is "
            "named after its video, so keep one of them"
        )
    if videos:
        return {path.stem: path for path in videos}
    if any(path.suffix.lower() in PICTURE_SUFFIXES for path in inside):
        return {source.name: source}
    folders = {
        path.name: path
        for path in inside
        if path.is_dir() and any(p.suffix.lower() in PICTURE_SUFFIXES for p in path.iterdir())
    }
    if not folders:
        raise ValueError(
            f"nothing to work on in {source}: expected videos {VIDEO_SUFFIXES}, pictures "
            f"{PICTURE_SUFFIXES}, or a folder of pictures per camera"
        )
    return folders


def _footage(camera: str, path: Path) -> Footage:
    if path.is_dir():
        return Footage(camera, path, len(list_pictures(path)), 1.0)
    times = frame_times(path)
    steps = np.diff(times)
    usual = float(np.median(steps)) if len(steps) else 1.0
    gap = float(steps.max()) / usual if len(steps) and usual > 0 else 1.0
    return Footage(camera, path, len(times), gap)


def _refuse_uneven(source: Path, found: list[Footage]) -> None:
    counts = {one.camera: one.count for one in found}
    if len(set(counts.values())) > 1:
        raise ValueError(
            f"cameras of {source} differ in their number of frames: {json.dumps(counts)}; cut them "
            "to the same moments first, or say uneven=true to have masks of each as it is"
        )
    gaps = {one.camera: round(one.gap, 2) for one in found if one.gap > GAP}
    if gaps:
        raise ValueError(
            f"cameras of {source} with a variable frame rate (longest over usual interval): "
            f"{json.dumps(gaps)}; frames of one number are not one moment. Convert every video to "
            "a constant rate (ffmpeg -i in.mp4 -vf fps=60 out.mp4), or say uneven=true"
        )


def shrink(picture: np.ndarray, longest: int | None) -> np.ndarray:
    """The picture with its longer side at most `longest` pixels; None: as it is."""
    scale = longest / max(picture.shape[:2]) if longest else 1.0
    if scale >= 1:
        return picture
    size = [max(1, round(side * scale)) for side in picture.shape[1::-1]]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
