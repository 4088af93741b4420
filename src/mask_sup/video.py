"""Frames of a video file, in the order in which they are shown."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

__all__ = ["VIDEO_SUFFIXES", "extract_frames", "frame_rate", "read_frames"]

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".m4v", ".webm")
JPEG_QUALITY = 95


def read_frames(path: Path) -> Iterator[np.ndarray]:
    """RGB frames, (h, w, 3) uint8.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds no video or is damaged.
    """
    import av

    if not path.is_file():
        raise FileNotFoundError(f"missing file {path}")
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
    except (av.error.FFmpegError, IndexError) as error:
        raise ValueError(_unreadable(path, error)) from error


def frame_rate(path: Path) -> float | None:
    """Frames a second on average, or None where the file does not tell.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds no video or is damaged.
    """
    import av

    if not path.is_file():
        raise FileNotFoundError(f"missing file {path}")
    try:
        with av.open(str(path)) as container:
            rate = container.streams.video[0].average_rate
    except (av.error.FFmpegError, IndexError) as error:
        raise ValueError(_unreadable(path, error)) from error
    return float(rate) if rate else None


def _unreadable(path: Path, error: Exception) -> str:
    return f"{path} cannot be read as a video ({error}): copy it again, or convert it to mp4"


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
