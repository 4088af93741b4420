"""Masks that exist already: folders of pictures, mask videos, alpha channels."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from mask_sup.files.masks import fitted, read_mask
from mask_sup.files.names import check_paired, frame_numbers, natural_order
from mask_sup.files.pictures import decode, list_pictures, read_file
from mask_sup.files.video import VIDEO_SUFFIXES, read_frames, upright
from mask_sup.masks.extractor import Choose, Extractor
from mask_sup.masks.footage import Footage

__all__ = ["Precomputed"]


class Precomputed(Extractor):
    """Takes masks over, after a check of their names, number and size.

    Masks of pictures have the numbers of the pictures; those of a video count on from any number.

    Args:
        source: Folder with `<camera>/*.png`, or with a video per camera, `<camera>.mp4`.
        channel: `grey` for masks that are pictures (of any kind that `files/masks.py` reads) or
            videos of their own, `alpha` where the alpha channel alone counts (png, mov, webm).
        threshold: Foreground is above this value of 255. Compressed videos blur their borders.

    Raises:
        ValueError: If the channel is unknown.
        FileNotFoundError: If there is no such folder.
    """

    final = True
    watches = False

    def __init__(self, source: str | Path, channel: str, threshold: int):
        if channel not in ("grey", "alpha"):
            raise ValueError(f"channel={channel!r}: expected 'grey' or 'alpha'")
        self.source = Path(source).expanduser()
        if not self.source.is_dir():
            raise FileNotFoundError(f"no folder {self.source}: expected <camera>/*.png in it")
        self.channel, self.threshold = channel, threshold

    def begin(self, footage: Footage) -> None:
        """Find the masks of this camera and compare their number.

        Raises:
            FileNotFoundError: If there are none.
            ValueError: If there are more or fewer than frames, or their numbers differ.
        """
        folder = self.source / footage.camera
        videos = [
            path
            for path in natural_order(self.source.glob(f"{footage.camera}.*"))
            if path.suffix.lower() in VIDEO_SUFFIXES
        ]
        if folder.is_dir() == (len(videos) == 1) or len(videos) > 1:
            raise FileNotFoundError(
                f"masks of camera {footage.camera!r} should be either a folder {folder}/ or one "
                f"video {folder}.mp4, found folder: {folder.is_dir()}, videos: "
                f"{[path.name for path in videos]}"
            )
        self.path = folder if folder.is_dir() else videos[0]
        self.pictures = list_pictures(folder) if folder.is_dir() else None
        count = len(self.pictures) if self.pictures is not None else _count(self.path)
        if count != footage.count:
            raise ValueError(
                f"{self.path} has {count} masks but {footage.path} {footage.count} frames: give "
                "one mask per frame"
            )
        if self.pictures is not None and footage.path.is_dir():
            check_paired(list_pictures(footage.path), self.pictures)
        elif self.pictures is not None:
            _check_unbroken(self.pictures)
        self.stream: Iterator[np.ndarray] | None = None
        self.next = 0

    def foreground(
        self, frame: UInt8[np.ndarray, "h w 3"], index: int, choose: Choose
    ) -> Bool[np.ndarray, "h w"]:
        """The given mask of this frame, in its size; nobody may be in it, the gate finds that.

        Raises:
            ValueError: If it is unreadable or has another shape than the frame.
        """
        path = self.path if self.pictures is None else self.pictures[index]
        return fitted(self._read(index), frame.shape[1::-1], path) > self.threshold

    def _read(self, index: int) -> np.ndarray:
        if self.pictures is not None:
            path = self.pictures[index]
            return read_alpha(path) if self.channel == "alpha" else read_mask(path, True)
        if self.stream is None or index < self.next:
            self.stream, self.next = self._decode(), 0
        for mask in self.stream:
            self.next += 1
            if self.next > index:
                return mask
        raise ValueError(f"{self.path} ends before frame {index}: copy it again")

    def _decode(self) -> Iterator[np.ndarray]:
        if self.channel == "grey":
            return (one.max(-1) for one in read_frames(self.path))  # of any colour
        return _alpha_frames(self.path)


def _check_unbroken(masks: list[Path]) -> None:
    """Refuse masks of a video that skip a number: all after it would be of another frame."""
    for (a, b), path in zip(pairwise(frame_numbers(masks) or ()), masks, strict=False):
        if b != a + 1:
            raise ValueError(
                f"the mask after {path} has the number {b}: expected {a + 1}, one mask per frame "
                "of the video in one row; make the masks again from all of its frames"
            )


def _count(path: Path) -> int:
    return sum(1 for _ in read_frames(path))


def read_alpha(path: Path) -> UInt8[np.ndarray, "h w"]:
    """The alpha channel of a picture.

    Raises:
        ValueError: If it is no picture or has none.
    """
    picture = decode(path, read_file(path)[0], cv2.IMREAD_UNCHANGED)
    if picture.ndim != 3 or picture.shape[2] != 4 or picture.dtype != np.uint8:
        raise ValueError(
            f"{path} has no 8-bit alpha channel: give extractor.channel=grey, or export RGBA"
        )
    return picture[..., 3]


def _alpha_frames(path: Path) -> Iterator[np.ndarray]:
    import av

    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                if not any(part.is_alpha for part in frame.format.components):
                    raise ValueError(
                        f"{path} has no alpha channel ({frame.format.name}): give "
                        "extractor.channel=grey, or export a format with alpha (mov, webm)"
                    )
                picture = frame.to_ndarray(format="rgba")
                yield upright(picture, frame.rotation, path)[..., 3]
    except (av.error.FFmpegError, IndexError) as error:
        raise ValueError(f"{path} cannot be read as a video ({error}): copy it again") from error
