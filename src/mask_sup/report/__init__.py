"""Pictures for people: of predictions (videos and a page) and of a training (curves and a page).

`predictions` reads poses.npz, `figures` has the numbers, `scene` the 3D pose, `overlays` the
videos, `page` the HTML. `run` reads a training's folder, `curves` draws it, `training` is its page.
"""

from pathlib import Path

from omegaconf import DictConfig

from mask_sup.files.lock import locked

__all__ = ["write_report"]

FPS = 25.0  # where nothing tells
WORST = 5  # moments that are shown as pictures


def write_report(cfg: DictConfig) -> Path:
    """Videos and a page, beside poses.npz or in `output`; of a training, in its folder.

    Returns:
        The folder that was written.

    Raises:
        FileNotFoundError: If poses.npz, one of its pictures, or the run is missing.
        ValueError: If the file does not fit, or there is nothing to do.
        OSError: If the folder cannot be written.
    """
    if bool(cfg.poses) == bool(cfg.run):
        raise ValueError(
            "a report is of predictions or of a training: give poses=<folder>/poses.npz or "
            "run=<folder of a training>"
        )
    if cfg.run:
        from mask_sup.report.training import write_training

        page = write_training(Path(cfg.run).expanduser())
        print(f"drawn: {page} and curves.png beside it")
        return page.parent
    if not (cfg.video or cfg.html):
        raise ValueError("video=false and html=false leave nothing to write: keep one of them")
    from mask_sup.report.figures import least_sure
    from mask_sup.report.overlays import thumbnail_step, thumbnails_of, write_overlays
    from mask_sup.report.page import write_page
    from mask_sup.report.predictions import read_predictions
    from mask_sup.report.scene import make_scene

    source = Path(cfg.poses).expanduser()
    poses = read_predictions(source)
    folder = Path(cfg.output).expanduser() if cfg.output else source.parent
    _check_writable(folder)
    told = cfg.fps or poses.fps
    fps = told or FPS
    scene = make_scene(poses, fps)
    step = thumbnail_step(poses) if cfg.html else 0
    with locked(folder, ".report.lock"):
        thumbnails = write_overlays(poses, scene, folder, fps, cfg.video, step)
        if cfg.html:
            path = folder / "report.html"
            worst = {frame: thumbnails_of(poses, frame) for frame in least_sure(poses, WORST)}
            write_page(path, poses, scene, thumbnails, step, worst, fps, told is not None)
    print(f"{len(poses.pictures)} frames of {len(poses.cameras)} view(s) shown in {folder}")
    return folder


def _check_writable(folder: Path) -> None:
    """Refuse before pictures are drawn, not after."""
    probe = folder / ".report.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(
            f"cannot write to {folder} ({error}): give another folder, output=<folder>"
        ) from error
