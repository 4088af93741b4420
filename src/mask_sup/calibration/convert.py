"""One calibration file into another: what `python -m mask_sup.calibration convert` does."""

from pathlib import Path

from omegaconf import DictConfig

from mask_sup.calibration.cameras import Calibration
from mask_sup.calibration.formats import read_calibration, write_calibration
from mask_sup.files.pictures import list_pictures, read_image
from mask_sup.files.video import find_video, read_frames

__all__ = ["convert"]


def convert(cfg: DictConfig) -> None:
    """Read `cfg.input`, fit it to the pictures in `cfg.videos` if given, write `cfg.output`.

    Raises:
        FileNotFoundError: If the input or a video is missing.
        CalibrationError: If the input is damaged or does not fit.
    """
    cameras = None if cfg.cameras is None else [str(name) for name in cfg.cameras]
    calibration = read_calibration(cfg.input, cfg.format, cfg.unit, cameras, cfg.subject)
    if cfg.videos:
        calibration = calibration.fitted_to(_sizes(Path(cfg.videos).expanduser(), calibration))
    write_calibration(calibration, cfg.output, cfg.output_format)
    print(describe(calibration))
    print(f"{len(calibration.names)} camera(s) of {calibration.source} written to {cfg.output}")


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
