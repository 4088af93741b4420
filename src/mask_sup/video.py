"""Frames of a video file, in the order in which they are shown."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

__all__ = ["VIDEO_SUFFIXES", "extract_frames", "read_frames", "upright"]

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".m4v", ".webm")
JPEG_QUALITY = 95


def read_frames(path: Path) -> Iterator[np.ndarray]:
    """RGB frames, (h, w, 3) uint8, upright: a phone's rotation is undone as players do.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds no video, is damaged, or is turned by no right angle.
    """
    import av

    if not path.is_file():
        raise FileNotFoundError(f"missing file {path}")
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield upright(frame.to_ndarray(format="rgb24"), frame.rotation, path)
    except (av.error.FFmpegError, IndexError) as error:
        raise ValueError(
            f"{path} cannot be read as a video ({error}): copy it again, or convert it to mp4"
        ) from error


def upright(picture: np.ndarray, rotation: int, path: Path) -> np.ndarray:
    """A stored picture as it is meant to be seen.

    Args:
        picture: (h, w, ...) as stored.
        rotation: Degrees counter-clockwise to turn it by, from the file's display matrix.
        path: The file, to name it.

    Raises:
        ValueError: If the angle is no multiple of 90 degrees.
    """
    if rotation % 90:
        raise ValueError(
            f"{path} is to be shown turned by {rotation} degrees: expected a multiple of 90; "
            "convert it with a player's export so that its pixels are upright"
        )
    return np.ascontiguousarray(np.rot90(picture, rotation // 90)) if rotation else picture


def extract_frames(video: Path, folder: Path) -> None:
    """Write every frame as `folder/000000.jpg`; the folder appears only when complete."""
    from rich.progress import track

    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        count = 0
        for frame in track(read_frames(video), f"frames of {video.name}", total=None):
            picture = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
            options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
            if not cv2.imwrite(str(unfinished / f"{count:06d}.jpg"), picture, options):
                raise OSError(f"cannot write to {unfinished}: is the disk full?")
            count += 1
        if count == 0:
            raise ValueError(f"{video} holds no frames: copy it again")
        unfinished.chmod(0o755)  # mkdtemp makes folders for their owner only
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
