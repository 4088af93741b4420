"""Frames of a video file, in the order in which they are shown, and video files of frames."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from glob import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mask_sup.files.names import natural_order

__all__ = [
    "VIDEO_SUFFIXES",
    "VideoWriter",
    "extract_frames",
    "find_video",
    "frame_rate",
    "frame_times",
    "read_frames",
    "upright",
]

INDEXED = (".mp4", ".mov", ".m4v", ".mkv", ".webm")  # say of each frame when it is shown
VIDEO_SUFFIXES = (*INDEXED, ".avi", ".mts", ".m2ts", ".ts", ".mpg", ".mpeg", ".wmv", ".3gp")
MISSING_S, MISSING_SHARE = 0.5, 0.05  # of the time that a file tells: more is cut off
JPEG_QUALITY = 95
ENCODERS = {  # the first that this build of PyAV has, and its options
    "libx264": {"preset": "veryfast", "crf": "21"},
    "libopenh264": {},
    "mpeg4": {"qscale": "3"},
}
BT601 = 6  # FFmpeg's number of the colour matrix that RGB frames are converted with


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


def frame_times(path: Path) -> np.ndarray:
    """When each frame is shown, (t,) rising seconds: as many as `read_frames` gives.

    Files that tell it of each frame are not decoded; of others the frames that can be decoded are
    counted, whatever the header promises.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds no video, is damaged, has no frames or ends too soon.
    """
    import av

    if not path.is_file():
        raise FileNotFoundError(f"missing file {path}")
    try:
        with av.open(str(path)) as container:
            indexed = path.suffix.lower() in INDEXED
            times = _indexed_times(container, path) if indexed else _decoded_times(container, path)
    except (av.error.FFmpegError, IndexError) as error:
        raise ValueError(_unreadable(path, error)) from error
    if not times:
        raise ValueError(f"{path} holds no frames: copy it again")
    return np.sort(times)


def _indexed_times(container: Any, path: Path) -> list[float]:
    import av

    times = [
        float(packet.pts * packet.time_base)
        for packet in container.demux(container.streams.video[0])
        if packet.pts is not None and packet.size and not packet.is_discard
    ]
    alone = len(container.streams) == 1
    told = container.duration / av.time_base if container.duration and alone else 0.0
    missing = told - (max(times) - min(times)) if times else 0.0
    if missing > max(MISSING_S, MISSING_SHARE * told):
        raise ValueError(
            f"{path} should last {told:.1f} s but its frames end {missing:.1f} s before: it is cut "
            "off; copy it again, or convert what is left to a new mp4"
        )
    return times


def _decoded_times(container: Any, path: Path) -> list[float]:
    stream = container.streams.video[0]
    step = float(1 / stream.average_rate) if stream.average_rate else 1.0
    times = [
        i * step if frame.pts is None else float(frame.pts * frame.time_base)
        for i, frame in enumerate(container.decode(stream))
    ]
    if stream.frames > len(times):
        print(f"{path} promises {stream.frames} frames, {len(times)} can be decoded and are used")
    return times


def _unreadable(path: Path, error: Exception) -> str:
    return f"{path} cannot be read as a video ({error}): copy it again, or convert it to mp4"


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


def _encoder() -> str:
    import av

    for name in ENCODERS:
        with contextlib.suppress(ValueError):  # av raises a kind of it for what a build lacks
            return av.codec.Codec(name, "w").name
    raise ValueError(f"this build of PyAV has none of the encoders {list(ENCODERS)}: reinstall av")


class VideoWriter:
    """RGB frames into an mp4, one after another, for `with`.

    The file appears under its name only when it is complete. Odd sides get one more row or column.

    Args:
        path: File to write; its folder is made.
        fps: Frames per second, the same throughout.

    Raises:
        ValueError: If fps is not positive, a frame has another size than the first, or none came.
        OSError: If the file cannot be written.
    """

    def __init__(self, path: Path, fps: float):
        if not 0 < fps < 1e4:
            raise ValueError(f"fps={fps} for {path}: expected frames per second, such as 25")
        self.path, self.fps = path, Fraction(fps).limit_denominator(1001)
        self.unfinished = path.with_name(path.name + ".part")
        self.count = 0
        self.size: tuple[int, int] | None = None  # height and width of the frames that come
        self._container: Any = None
        self._stream: Any = None

    def __enter__(self) -> "VideoWriter":
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append an RGB frame, (h, w, 3) uint8."""
        import av

        if self.size is None:
            self._open(frame)
        elif frame.shape[:2] != self.size:
            (h, w), (first_h, first_w) = frame.shape[:2], self.size
            raise ValueError(
                f"frame {self.count} of {self.path} is {w}x{h}, the first is {first_w}x{first_h}: "
                "a video has one size"
            )
        odd_h, odd_w = frame.shape[0] % 2, frame.shape[1] % 2  # yuv420p needs even sides
        if odd_h or odd_w:
            frame = cv2.copyMakeBorder(frame, 0, odd_h, 0, odd_w, cv2.BORDER_REPLICATE)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts, picture.time_base = self.count, 1 / self.fps
        self._container.mux(self._stream.encode(picture))
        self.count += 1

    def _open(self, frame: np.ndarray) -> None:
        import av

        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.size = frame.shape[:2]
        options = {"movflags": "+faststart"}  # the index first: plays while it loads
        self._container = av.open(str(self.unfinished), "w", format="mp4", options=options)
        codec = _encoder()
        stream = self._container.add_stream(codec, rate=self.fps, options=ENCODERS[codec])
        stream.height, stream.width = (side + side % 2 for side in self.size)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.colorspace = BT601
        self._stream = stream

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            if self._container is not None:
                if kind is None:
                    self._container.mux(self._stream.encode())
                self._container.close()
            if kind is None and self.count == 0:
                raise ValueError(f"no frames for {self.path}: nothing to write")
            if kind is None:
                self.unfinished.replace(self.path)
        finally:
            self.unfinished.unlink(missing_ok=True)


def find_video(folder: Path, camera: str) -> Path:
    """The one video of a camera, `folder/<camera>.mp4` or alike.

    Raises:
        FileNotFoundError: If there is none, or more than one.
    """
    found = [
        path
        for path in natural_order(folder.glob(f"{escape(camera)}.*"))
        if path.suffix.lower() in VIDEO_SUFFIXES
    ]
    if len(found) != 1:
        raise FileNotFoundError(
            f"camera {camera!r} of the calibration needs one video {folder / camera}.mp4 (or "
            f"frames/{camera}/), found {[path.name for path in found]}"
        )
    return found[0]
