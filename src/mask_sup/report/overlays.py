"""Pictures with poses over them: videos per camera, a mosaic, and thumbnails; frame by frame."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np

from mask_sup.files.pictures import read_image
from mask_sup.files.video import VideoWriter
from mask_sup.report.predictions import Predictions
from mask_sup.report.scene import Scene, draw_scene

__all__ = ["mosaic_columns", "thumbnail_step", "thumbnails_of", "write_overlays"]

MOSAIC_WIDTH, MOSAIC_HEIGHT = 1920, 1080  # at most, pixels
SECONDS_PER_TURN = 24.0
FIRST_AZIMUTH = np.deg2rad(30.0)  # from the person's front
THUMBNAIL, SINGLE_THUMBNAIL = 320, 560  # larger side, pixels; of several views and of one
THUMBNAIL_QUALITY = 72  # of JPEG
THUMBNAIL_BYTES = 8_000_000  # of all of them; a third more as text
SAMPLE = 6  # frames whose thumbnails tell how large one is


def write_overlays(
    poses: Predictions, scene: Scene, folder: Path, fps: float, video: bool, step: int
) -> list[list[bytes]]:
    """Draws every frame once, into the videos (if wanted) and into thumbnails.

    Nothing but the thumbnails stays in memory.

    Args:
        poses: What to draw.
        scene: The same in 3D.
        folder: Where `overlays/<camera>.mp4` and `mosaic.mp4` go.
        fps: Frames per second of the videos.
        video: Whether there are videos.
        step: Frames from one with thumbnails to the next; 0: none, for videos alone.

    Returns:
        JPEG files by thumbnail frame and view.

    Raises:
        ValueError: If the pictures of one camera differ in size, or one is unreadable.
        FileNotFoundError: If a picture is missing.
    """
    from rich.progress import track

    count = len(poses.pictures)
    frames = range(0, count, 1 if video else step)
    thumbnails = []
    with ExitStack() as stack:
        writers: list[VideoWriter] = []
        if video:
            paths = [folder / "overlays" / f"{name}.mp4" for name in poses.cameras]
            paths.append(folder / "mosaic.mp4")
            writers = [stack.enter_context(VideoWriter(path, fps)) for path in paths]
        for frame in track(frames, "drawing"):
            pictures = draw_frame(poses, frame)
            if step and frame % step == 0:
                thumbnails.append(_thumbnails(pictures))
            if video:
                told = [_caption(p, n) for p, n in zip(pictures, poses.cameras, strict=True)]
                told.append(_mosaic(told, poses, scene, frame, fps))
                for writer, picture in zip(writers, told, strict=True):
                    writer.write(picture)
    return thumbnails


def draw_frame(poses: Predictions, frame: int) -> list[np.ndarray]:
    """Each view's picture with the pose over it, RGB."""
    from mask_sup.figure.draw import draw_skeleton

    views = zip(poses.pictures[frame], poses.drawn_px[frame], strict=True)
    return [draw_skeleton(read_image(Path(path)), xy, poses.skeleton) for path, xy in views]


def thumbnails_of(poses: Predictions, frame: int) -> list[bytes]:
    """A small JPEG of each view of a frame, with the pose over it."""
    return _thumbnails(draw_frame(poses, frame))


def thumbnail_step(poses: Predictions) -> int:
    """Frames from one with thumbnails to the next, so that all of them keep to their budget."""
    count = len(poses.pictures)
    sample = sorted({round(k) for k in np.linspace(0, count - 1, min(SAMPLE, count))})
    sizes = [sum(map(len, _thumbnails(draw_frame(poses, frame)))) for frame in sample]
    return max(1, int(np.ceil(count * np.mean(sizes) / THUMBNAIL_BYTES)))


def _thumbnails(pictures: Sequence[np.ndarray]) -> list[bytes]:
    """A small JPEG of each view."""
    side = THUMBNAIL if len(pictures) > 1 else SINGLE_THUMBNAIL
    options = [cv2.IMWRITE_JPEG_QUALITY, THUMBNAIL_QUALITY]
    files = []
    for picture in pictures:
        scale = min(1.0, side / max(picture.shape[:2]))
        h, w = (max(1, round(length * scale)) for length in picture.shape[:2])
        small = cv2.resize(picture, (w, h), interpolation=cv2.INTER_AREA)
        small = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        files.append(cv2.imencode(".jpg", small, options)[1].tobytes())
    return files


def _caption(picture: np.ndarray, text: str) -> np.ndarray:
    """The picture with a line of text in its upper left corner, on a dark ground."""
    picture = picture.copy()
    scale = max(picture.shape[0] / 1100, 0.35)
    thickness = max(1, round(1.6 * scale))
    (w, h), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    pad = round(10 * scale)
    strip = picture[: h + below + 2 * pad, : w + 2 * pad]
    strip[:] = strip // 3
    place = (pad, h + pad)
    white = (255, 255, 255)
    cv2.putText(
        picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, white, thickness, cv2.LINE_AA
    )
    return picture


def _mosaic(
    pictures: Sequence[np.ndarray], poses: Predictions, scene: Scene, frame: int, fps: float
) -> np.ndarray:
    """All views and the slowly turning pose in 3D, in a grid of cells of one size."""
    from mask_sup.figure.draw import fit_into

    h, w = pictures[0].shape[:2]
    columns, height, width = mosaic_columns(len(pictures) + 1, w / h)
    turned = scene.front + FIRST_AZIMUTH + 2 * np.pi * frame / fps / SECONDS_PER_TURN
    pane = draw_scene(scene, frame, poses.skeleton, turned, (height, width))
    cells = [fit_into(picture, height, width) for picture in pictures]
    cells.append(_caption(pane, f"{frame / fps:.2f} s  frame {frame}"))
    cells += [np.zeros_like(pane)] * (-len(cells) % columns)
    rows = [np.concatenate(cells[i : i + columns], 1) for i in range(0, len(cells), columns)]
    return np.concatenate(rows)


def mosaic_columns(count: int, aspect: float) -> tuple[int, int, int]:
    """How to lay out cells so that pictures come out largest.

    Args:
        count: Number of cells.
        aspect: Width over height of a cell.

    Returns:
        Columns, and the even height and width of a cell, pixels.

    >>> mosaic_columns(4, 16 / 9)
    (2, 540, 960)
    """
    best = (0.0, 1)
    for columns in range(1, count + 1):
        rows = -(-count // columns)
        best = max(best, (min(MOSAIC_HEIGHT / rows, MOSAIC_WIDTH / columns / aspect), columns))
    height, columns = best
    return columns, int(height) // 2 * 2, max(2, int(height * aspect) // 2 * 2)
