"""Your own synchronised cameras: videos (or frames), masks and a calibration in one folder.

    recording/
        cameras.json                  {"unit": "mm" or "m", "cameras": {name: {K, R, t, dist}}}
        videos/<camera>.mp4           or frames/<camera>/*.jpg, numbered
        masks/<camera>/*.png          0 background, 255 person; one per frame, numbered like it
        sync.json                     optional: {"late": {name: frames}}, as mask_sup.sync writes

K is for the pixels of the shipped videos, x_cam = R x_world + t, dist is OpenCV's k1 k2 p1 p2 k3.
Instead of cameras.json there may be one calibration of another format (`mask_sup.calibration`).
It may lie in calibration/, too, and have cameras that did not film.
Where it says for which size of picture it is, K follows a scaling or a letterbox of the videos.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mask_sup.calibration import Calibration, find_calibration, read_calibration
from mask_sup.calibration.fitting import among
from mask_sup.calibration.offsets import OFFSETS, read_offsets
from mask_sup.data.moments import Moment, View
from mask_sup.files.names import check_paired, check_steps, numbered
from mask_sup.files.pictures import list_pictures, read_image
from mask_sup.files.video import VIDEO_SUFFIXES, extract_frames, find_video
from mask_sup.files.words import shell_command

__all__ = ["RecordingData", "is_recording"]

VAL_EVERY = 5


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
        """Take the videos apart into frames, once; tell where K follows their true size."""
        calibration = self._calibration()
        for camera in calibration.names:
            folder = self.root / "frames" / camera
            if not folder.is_dir():
                extract_frames(find_video(self.root / "videos", camera), folder)
        fitted = self._fitted(calibration)
        fitted.tell()
        for camera, told, true in zip(fitted.names, calibration.sizes, fitted.sizes, strict=True):
            if np.isfinite(told).all() and (told != true).any():
                print(f"{camera}: K fitted from {told.tolist()} to {true.tolist()} pixels")

    def _calibration(self) -> Calibration:
        """The cameras that filmed."""
        inside = [path for kind in ("videos", "frames") for path in self.root.glob(f"{kind}/*")]
        filmed = {p.name for p in inside if p.is_dir() and not p.name.startswith(".")}
        filmed |= {p.stem for p in inside if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file()}
        calibration = read_calibration(find_calibration(self.root))
        if not filmed:
            raise FileNotFoundError(
                f"no videos in {self.root / 'videos'}, no frames in {self.root / 'frames'}: "
                f"expected one per camera, {list(calibration.names)}"
            )
        return among(calibration, sorted(filmed), "videos")

    def _fitted(self, calibration: Calibration) -> Calibration:
        """The cameras for the pixels of the frames."""
        first = [list_pictures(self.root / "frames" / name)[0] for name in calibration.names]
        return calibration.fitted_to([read_image(path).shape[1::-1] for path in first])

    def moments(self, split: str, masked: bool = True) -> list[Moment]:
        """`train` has every frame, `val` every fifth of them.

        Args:
            split: Which of them.
            masked: Whether masks are looked for; without, views have none (prediction only).

        Raises:
            ValueError: If the split is unknown, cameras differ in their number of frames or masks,
                or the numbers in the names of frames and masks differ.
            FileNotFoundError: If the cameras, frames or masks are missing.
        """
        if split not in self.splits:
            raise ValueError(f"a recording has the splits {self.splits}, not {split!r}")
        calibration = self._calibration()
        names = calibration.names
        images = {name: list_pictures(self.root / "frames" / name) for name in names}
        masks: dict[str, list] = {name: [None] * len(images[name]) for name in names}
        if masked:
            masks = {name: list_pictures(self.masks / name) for name in names}
        counts = {name: (len(images[name]), len(masks[name])) for name in names}
        late = read_offsets(self.root / OFFSETS, names)
        alike = late is None or all(i == m for i, m in counts.values())
        if not alike or (late is None and len({n for pair in counts.values() for n in pair}) > 1):
            kinds = "frames and masks" if masked else "frames"
            table = ", ".join(
                f"{c}: {i} frames" + f", {m} masks" * masked for c, (i, m) in counts.items()
            )
            raise ValueError(
                f"all cameras of {self.root} need the same number of {kinds}, got "
                f"{table}; for cameras started by hand run python -m mask_sup.sync"
            )
        for name in names if masked else ():
            check_paired(images[name], masks[name])
        check_steps(images)
        late = late or dict.fromkeys(names, 0)
        length = min(counts[name][0] - late[name] for name in names)
        calibration = self._fitted(calibration)
        parts = (calibration.K, calibration.R, calibration.t, calibration.distortion)
        cameras = dict(zip(names, zip(*parts, strict=True), strict=True))
        step = self.every * (VAL_EVERY if split == "val" else 1)
        kept = list(range(0, length, step))
        if self.drop_flagged and masked:
            kept = without_flagged(kept, self.masks, masks, late)
        gaps = np.cumsum(np.diff([kept[0], *kept]) > step)  # no neighbours in time over a gap
        label = np.full((self.joints, 3), np.nan)
        return [
            Moment(
                f"{self.root.name}/{i:06d}",
                tuple(View(images[c][j := i + late[c]], masks[c][j], *cameras[c]) for c in names),
                label,
                self.root.name,  # a recording shows one person
                f"{self.root.name}/{gap}",  # in one go
            )
            for i, gap in zip(kept, gaps, strict=True)
        ]


def without_flagged(
    places: Sequence[int],
    root: Path,
    masks: Mapping[str, Sequence[Path]],
    late: Mapping[str, int],
) -> list[int]:
    """The moments that the quality gate flagged in no camera.

    Args:
        places: Those to choose from.
        root: The folder with check.json.
        masks: The masks of each camera, in natural order.
        late: At which of its masks the first moment of each camera is.

    Raises:
        FileNotFoundError: If the gate has not run.
        ValueError: If it ran on other masks, or nothing is left.
    """
    path, again = root / "check.json", f"run {shell_command('masks check', masks=root)}"
    if not path.is_file():
        raise FileNotFoundError(f"drop_flagged needs {path}: {again}")
    told, flagged = json.loads(path.read_text())["cameras"], set()
    for camera, files in masks.items():
        if told.get(camera, {}).get("masks") != len(files):
            raise ValueError(f"{path} is not of the masks of camera {camera!r}: {again}")
        flags = told[camera]["flags"]
        found = (i for i, number in enumerate(numbered(files)) if str(number) in flags)
        flagged |= {i - late[camera] for i in found}
    kept = [i for i in places if i not in flagged]
    if not kept:
        raise ValueError(f"every moment is flagged in {path}: mend the masks, or see its `limits`")
    return kept


def is_recording(folder: Path) -> bool:
    """Whether a folder has cameras.json, or videos or frames with another calibration."""
    if (folder / "cameras.json").is_file():
        return True
    if not any((folder / kind).is_dir() for kind in ("videos", "frames")):
        return False
    try:
        find_calibration(folder)
    except FileNotFoundError:
        return False
    return True
