"""One calibration file into another: what `python -m mask_sup.calibration convert` does."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from mask_sup.calibration.cameras import Calibration, CalibrationError
from mask_sup.calibration.fitting import renamed, sized, turned
from mask_sup.calibration.formats import read_calibration, write_calibration
from mask_sup.files.pictures import list_pictures, read_image
from mask_sup.files.video import find_video, read_frames

__all__ = ["Asked", "convert"]


@dataclass(frozen=True)
class Asked:
    """How a calibration is read and changed; None: as it is."""

    format: str | None = None
    unit: str | None = None
    cameras: Any = None  # names, in the order that is wanted
    subject: int | None = None
    scale: float | None = None  # of all distances
    calibrated_size: Any = None  # width and height
    turn: Any = None  # camera -> degrees clockwise
    rename: Any = None  # old name -> new one, or all new ones in order

    def read(self, source: str | Path) -> Calibration:
        """The calibration of a file or folder, changed so; names are those in the file.

        Raises:
            FileNotFoundError: If it is missing.
            CalibrationError: If it is damaged, or what is asked for does not fit it.
        """
        cameras = self.cameras
        if cameras is not None:
            cameras = [str(name) for name in _several(cameras, "cameras=[cam01, cam02]", Sequence)]
        scale = 1.0 if self.scale is None else self.scale
        calibration = read_calibration(source, self.format, self.unit, cameras, self.subject, scale)
        if self.calibrated_size is not None:
            size = _several(self.calibrated_size, "calibrated_size=[width, height]", Sequence)
            calibration = sized(calibration, size)
        if self.turn is not None:
            calibration = turned(calibration, _several(self.turn, "turn={cam01: 90}", Mapping))
        if self.rename is not None:
            calibration = renamed(calibration, _several(self.rename, "rename={old: new}"))
        return calibration


def convert(cfg: DictConfig) -> None:
    """Read `cfg.input`, make it fit its videos as `cfg` says, write `cfg.output`.

    Cameras are chosen and turned by their names in the file; `cfg.videos` have the new ones.

    Raises:
        FileNotFoundError: If the input or a video is missing.
        CalibrationError: If the input is damaged or does not fit.
    """
    asked = Asked(**{field.name: cfg[field.name] for field in fields(Asked)})
    calibration = asked.read(cfg.input)
    if cfg.videos:
        calibration = calibration.fitted_to(_sizes(Path(cfg.videos).expanduser(), calibration))
    write_calibration(calibration, cfg.output, cfg.output_format)
    calibration.tell()
    print(describe(calibration))
    print(f"{len(calibration.names)} camera(s) of {calibration.source} written to {cfg.output}")


def _several(told: Any, example: str, kinds: Any = (Mapping, Sequence)) -> Any:
    if isinstance(told, str) or not isinstance(told, kinds):
        raise CalibrationError(f"{told!r} is not what is expected, such as '{example}'")
    return told


def describe(calibration: Calibration) -> str:
    """A line per camera: size, focal lengths, principal point, centre."""
    rows = []
    for name, K, size, centre in zip(
        calibration.names, calibration.K, calibration.sizes, calibration.centres, strict=True
    ):
        rows.append(
            f"{name}: {size[0]:.0f}x{size[1]:.0f} px, focal lengths {K[0, 0]:.1f} {K[1, 1]:.1f}, "
            f"principal point {K[0, 2]:.1f} {K[1, 2]:.1f} px, "
            f"centre {' '.join(f'{x:.0f}' for x in centre)} mm"
        )
    return "\n".join(rows)


def _sizes(folder: Path, calibration: Calibration) -> list[tuple[int, int]]:
    """Width and height of each camera's video, or first picture, in `folder`."""
    sizes = []
    for name in calibration.names:
        if (folder / name).is_dir():
            picture = read_image(list_pictures(folder / name)[0])
        else:
            picture = next(read_frames(find_video(folder, name)))
        sizes.append(picture.shape[1::-1])
    return sizes
