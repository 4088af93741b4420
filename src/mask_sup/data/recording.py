"""Your own synchronised cameras: videos (or frames), masks and a calibration in one folder.

    recording/
        cameras.json                  {"unit": "mm" or "m", "cameras": {name: {K, R, t, dist}}}
        videos/<camera>.mp4           or frames/<camera>/*.jpg, one file per moment
        masks/<camera>/*.png          0 background, 255 person; one per frame, sorted by name

K is for the pixels of the shipped videos, x_cam = R x_world + t, dist is OpenCV's k1 k2 p1 p2 k3.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mask_sup.data.moments import Moment, View
from mask_sup.video import VIDEO_SUFFIXES, extract_frames

__all__ = ["RecordingData", "list_pictures", "read_cameras"]

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
VAL_EVERY = 5
MM = {"mm": 1.0, "m": 1000.0}


class RecordingData:
    """Moments of one multi-view recording; nothing in it is labelled.

    Args:
        root: The folder described above.
        masks: Folder of masks, `<masks>/<camera>/*.png`; None: `root/masks`.
        joints: Joints of the skeleton, for labels that are NaN throughout.
        every: Use every n-th frame.
        drop_flagged: Leave out moments in which the quality gate (`mask_sup.masks check`) flagged
            the mask of any camera.

    Raises:
        ValueError: If `every` is below 1.
    """

    splits = ("train", "val")

    def __init__(
        self,
        root: str | Path,
        masks: str | Path | None,
        joints: int,
        every: int,
        drop_flagged: bool = False,
    ):
        if every < 1:
            raise ValueError(f"every={every}: expected 1 for all frames, 2 for every second one")
        self.root = Path(root).expanduser()
        self.masks = Path(masks).expanduser() if masks else self.root / "masks"
        self.joints, self.every, self.drop_flagged = joints, every, drop_flagged

    def prepare(self) -> None:
        """Take the videos apart into frames, once."""
        for camera in read_cameras(self.root / "cameras.json"):
            folder = self.root / "frames" / camera
            if not folder.is_dir():
                extract_frames(self._video(camera), folder)

    def _video(self, camera: str) -> Path:
        found = [
            path
            for path in sorted((self.root / "videos").glob(f"{camera}.*"))
            if path.suffix.lower() in VIDEO_SUFFIXES
        ]
        if len(found) != 1:
            raise FileNotFoundError(
                f"camera {camera!r} of {self.root / 'cameras.json'} needs one video "
                f"{self.root / 'videos' / camera}.mp4 (or frames/{camera}/), found "
                f"{[path.name for path in found]}"
            )
        return found[0]

    def moments(self, split: str) -> list[Moment]:
        """`train` has every frame, `val` every fifth of them.

        Raises:
            ValueError: If the split is unknown, or cameras differ in their number of frames or
                masks.
            FileNotFoundError: If the cameras, frames or masks are missing.
        """
        if split not in self.splits:
            raise ValueError(f"a recording has the splits {self.splits}, not {split!r}")
        cameras = read_cameras(self.root / "cameras.json")
        images = {name: list_pictures(self.root / "frames" / name) for name in cameras}
        masks = {name: list_pictures(self.masks / name) for name in cameras}
        counts = {name: (len(images[name]), len(masks[name])) for name in cameras}
        if len({n for pair in counts.values() for n in pair}) > 1:
            table = ", ".join(f"{c}: {i} frames, {m} masks" for c, (i, m) in counts.items())
            raise ValueError(
                f"all cameras of {self.root} need the same number of frames and masks, got {table}"
            )
        step = self.every * (VAL_EVERY if split == "val" else 1)
        kept = list(range(0, len(next(iter(images.values()))), step))
        if self.drop_flagged:
            kept = without_flagged(kept, self.masks, masks)
        gaps = np.cumsum(np.diff([kept[0], *kept]) > step)  # no neighbours in time over a gap
        label = np.full((self.joints, 3), np.nan)
        return [
            Moment(
                f"{self.root.name}/{i:06d}",
                tuple(View(images[c][i], masks[c][i], **cameras[c]) for c in cameras),
                label,
                self.root.name,  # a recording shows one person
                f"{self.root.name}/{gap}",  # in one go
            )
            for i, gap in zip(kept, gaps, strict=True)
        ]


def without_flagged(
    places: Sequence[int], root: Path, masks: Mapping[str, Sequence[Path]]
) -> list[int]:
    """The places in the lists of masks that the quality gate flagged in no camera.

    Args:
        places: Those to choose from.
        root: The folder with check.json.
        masks: The masks of each camera, sorted.

    Raises:
        FileNotFoundError: If the gate has not run.
        ValueError: If it ran on other masks, or nothing is left.
    """
    path, again = root / "check.json", f"run python -m mask_sup.masks check masks={root}"
    if not path.is_file():
        raise FileNotFoundError(f"drop_flagged needs {path}: {again}")
    told, flagged = json.loads(path.read_text())["cameras"], set()
    for camera, files in masks.items():
        if told.get(camera, {}).get("masks") != len(files):
            raise ValueError(f"{path} is not of the masks of camera {camera!r}: {again}")
        numbers = [str(int(re.findall(r"\d+", file.stem)[-1])) for file in files]
        flagged |= {i for i, number in enumerate(numbers) if number in told[camera]["flags"]}
    kept = [i for i in places if i not in flagged]
    if not kept:
        raise ValueError(f"every moment is flagged in {path}: mend the masks, or see its `limits`")
    return kept


def list_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder, sorted by name.

    Raises:
        FileNotFoundError: If there is no such folder, or no picture in it.
    """
    found = [p for p in sorted(folder.glob("*")) if p.suffix.lower() in PICTURE_SUFFIXES]
    if not found:
        raise FileNotFoundError(
            f"no pictures in {folder}: expected files like 000000.png, one per frame"
        )
    return found


def read_cameras(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """K, R, t (mm) and distortion per camera.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no JSON of that form, or holds numbers that are not finite.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"missing {path}: a recording needs its cameras as "
            '{"unit": "mm", "cameras": {"cam01": {"K": ..., "R": ..., "t": ..., "dist": ...}}}'
        )
    try:
        told = json.loads(path.read_text())
        scale = MM[told["unit"]]
        cameras = {str(name): _camera(entry, scale) for name, entry in told["cameras"].items()}
        if not cameras:
            raise ValueError("no camera in it")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is no camera file ({type(error).__name__}: {error}): expected "
            '{"unit": "mm" or "m", "cameras": {name: {"K": 3x3, "R": 3x3, "t": 3, "dist": 5}}}'
        ) from error
    for name, camera in cameras.items():
        if bad := [key for key, value in camera.items() if not np.isfinite(value).all()]:
            raise ValueError(f"camera {name!r} of {path} has NaN or infinite numbers in {bad}")
    return cameras


def _camera(entry: dict[str, Any], scale: float) -> dict[str, np.ndarray]:
    return {
        "K": np.array(entry["K"], float).reshape(3, 3),
        "R": np.array(entry["R"], float).reshape(3, 3),
        "t": np.array(entry["t"], float).reshape(3) * scale,
        "distortion": np.array(entry.get("dist", np.zeros(5)), float).reshape(5),
    }
