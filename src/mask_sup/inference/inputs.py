"""What there is to predict: pictures, masks and cameras of any input."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from reprlib import repr as briefly
from typing import Any

import numpy as np

from mask_sup.calibration import find_calibration, read_calibration
from mask_sup.data.images import uncalibrated_view
from mask_sup.data.moments import Moment
from mask_sup.data.recording import RecordingData, is_recording
from mask_sup.files.names import check_paired
from mask_sup.files.pictures import PICTURE_SUFFIXES, list_pictures
from mask_sup.files.video import VIDEO_SUFFIXES, extract_frames, frame_rate

__all__ = ["box_from", "brings_masks", "input_fps", "input_moments"]

RATES_AGREE = 1.002  # 59.94 and 60 frames a second are one rate


def box_from(source: Path | None, masks: Any, given: Any) -> str:
    """Where the person's boxes come from: the `mask`, as `given`, or `found` by the detector.

    Args:
        source: Path of the input; None: it has none.
        masks: Those given; None: none.
        given: The boxes given; None: none.

    Raises:
        ValueError: If both masks and boxes are given.
    """
    if masks is not None and given is not None:
        box, mask = (one if isinstance(one, str | Path) else briefly(one) for one in (given, masks))
        raise ValueError(
            f"box={box} and masks={mask}: expected one of the two, as a mask has a box of its "
            "own\n  leave one of them out"
        )
    if given is not None:
        return "given"
    masked = masks is not None or (source is not None and brings_masks(source))
    return "mask" if masked else "found"


def brings_masks(source: Path) -> bool:
    """Whether the input is a recording with masks of its own."""
    return (source / "masks").is_dir() and is_recording(source)


def input_moments(
    source: Path, masks: str | Path | None, every: int, folder: Path, masked: bool = True
) -> list[Moment]:
    """What there is to predict: each moment with its views.

    Args:
        source: Picture, folder of pictures, video, or folder of a recording.
        masks: Folder of masks, one per picture with its number; None: none, or the recording's.
        every: Keep every n-th frame.
        folder: Where the frames of a single video are put.
        masked: Whether a recording's own masks are looked for.

    Raises:
        ValueError: If `source` is none of these, or pictures and masks do not go together.
    """
    if every < 1:
        raise ValueError(f"every={every}: expected 1 for all frames, 2 for every second one, ...")
    if is_recording(source):
        recording = RecordingData(source, masks, joints=1, every=every)
        recording.prepare()
        return recording.moments("train", masked)
    if source.is_dir():
        images = list_pictures(source)
    elif source.suffix.lower() in VIDEO_SUFFIXES:
        told = source.stat()  # another video must not find the frames of this one
        frames = folder / "frames" / f"{source.stem}-{told.st_size}-{told.st_mtime_ns}"
        if not frames.is_dir():
            extract_frames(source, frames)
        images = list_pictures(frames)
    elif source.suffix.lower() in PICTURE_SUFFIXES:
        images = [source]
    else:
        known = (*PICTURE_SUFFIXES, *VIDEO_SUFFIXES)
        raise ValueError(f"{source} is neither a folder nor a file with one of the endings {known}")
    found: Sequence[Path | None] = [None] * len(images)
    if masks:
        found = list_pictures(Path(masks).expanduser())
        if len(found) != len(images):
            raise ValueError(
                f"{len(images)} pictures in {source} but {len(found)} masks in {masks}: "
                "give one mask per picture"
            )
        check_paired(images, found)
    unlabelled = np.full((1, 3), np.nan)
    return [
        Moment(image.stem, (uncalibrated_view(image, mask),), unlabelled)
        for image, mask in list(zip(images, found, strict=True))[::every]
    ]


def input_fps(source: Path, every: int) -> float | None:
    """Predicted frames a second: the rate of the input's videos over `every`.

    Returns:
        None for pictures, for a recording of frames alone, and where the videos of a recording
        differ (which is warned of).
    """
    videos = [source] if source.suffix.lower() in VIDEO_SUFFIXES else []
    if is_recording(source):
        cameras = read_calibration(find_calibration(source)).names
        found = sorted((source / "videos").glob("*"))
        videos = [p for p in found if p.suffix.lower() in VIDEO_SUFFIXES and p.stem in cameras]
    rates = {path.name: rate for path in videos if (rate := frame_rate(path))}
    if not rates:
        return None
    if max(rates.values()) > RATES_AGREE * min(rates.values()):
        told = ", ".join(f"{name} {rate:g}" for name, rate in rates.items())
        warnings.warn(
            f"the videos of {source} differ in their frame rate ({told}): synchronised cameras "
            "have one; poses.npz leaves it open, give fps=<rate> to mask_sup.export",
            stacklevel=2,
        )
        return None
    return next(iter(rates.values())) / every
