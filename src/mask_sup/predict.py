"""python -m mask_sup.predict: a checkpoint and pictures -> poses.npz and overlays.

The input is a picture, a folder of pictures, a video, or the folder of a recording with its
calibration (`mask_sup.data.recording`). Where the person is in a picture tells its mask; without
masks, a detector of whole pictures is told by a box (`mask_sup.data.boxes`), or looks again where
it found joints. Nothing here reads a label.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from mask_sup.files.build import trust_from_command_line
from mask_sup.files.config import plain
from mask_sup.files.device import check_device
from mask_sup.files.kept import Kept
from mask_sup.files.left_out import left_out_in_words
from mask_sup.files.lock import locked
from mask_sup.files.poses import verdict_in_words
from mask_sup.files.ranges import check_ranges
from mask_sup.files.threads import settle_threads
from mask_sup.files.words import command, shell_command

__all__ = ["predict"]

PARTS = ".parts"


def predict(cfg: DictConfig) -> Path:
    """Poses of every picture, written to `poses.npz`; overlays beside it.

    Returns:
        The folder that was written.

    Raises:
        FileNotFoundError: If the input, a picture or a mask is missing.
        ValueError: If the detector was trained on masked input and there are no masks, a box is
            none, there is no such device, or another prediction writes to the folder.
    """
    source = Path(cfg.input).expanduser()
    if not source.exists():  # told before anything is loaded
        raise FileNotFoundError(f"no input at {source}: give a picture, video, folder or recording")
    if cfg.masks and not Path(cfg.masks).expanduser().exists():
        raise FileNotFoundError(f"no masks at {cfg.masks}: give their folder, or a file for one")
    check_device(cfg.device)
    from mask_sup.models.checkpoint import run_folder

    folder = run_folder(cfg.checkpoint) / "predictions" / source.stem
    folder = Path(cfg.output) if cfg.output else folder
    with locked(folder, ".predict.lock"):
        return _predict(cfg, folder)


def _predict(cfg: DictConfig, folder: Path) -> Path:
    """What `predict` does, once the folder is its own."""
    from mask_sup.data.boxes import with_boxes
    from mask_sup.data.moments import check_views
    from mask_sup.inference.inputs import box_from, input_fps, input_moments
    from mask_sup.inference.making import fitter_for, predictor_for
    from mask_sup.inference.measures import WITH_WORLD
    from mask_sup.inference.overlays import draw_overlays
    from mask_sup.inference.parts import in_parts
    from mask_sup.inference.results import Request, gathered
    from mask_sup.method.settings import at_test, of_checkpoint
    from mask_sup.models.checkpoint import read_checkpoint, restore
    from mask_sup.models.shipped import say_shipped, weights_file

    checkpoint = read_checkpoint(cfg.checkpoint)
    say_shipped("checkpoint", cfg.checkpoint)
    detector = restore(checkpoint).to(cfg.device)
    source = Path(cfg.input).expanduser()
    given = plain(cfg)["box"]
    box = box_from(source, cfg.masks or None, given)
    if detector.mask_input and box != "mask":
        raise ValueError(_masks_wanted(cfg, source))
    moments = input_moments(source, cfg.masks, cfg.every, folder, box == "mask")
    if box == "given":
        moments = with_boxes(moments, given)
    elif box == "found":
        print("no masks and no box=: the detector looks for the person by its own joints")
    views = [view for moment in moments for view in moment.views]
    check_views(views)
    fps = input_fps(source, cfg.every)
    fitter = fitter_for(moments, detector.skeleton, cfg.fit, cfg)
    files = [path for view in views for path in (view.image, view.mask) if path is not None]
    files = [(str(path), _stamp(path)) for path in files]
    cameras = [[part.tolist() for part in view[2:6]] for view in moments[0].views]
    told = [plain(cfg), _stamp(weights_file(cfg.checkpoint)), files, cameras]
    kept = Kept(folder / PARTS, [*told, [view.box for view in views]])
    settle_threads()
    trained = checkpoint["config"]["data"]
    predictor = predictor_for(detector, trained, fitter, cfg.fit, cfg.person_height, cfg.device)
    arrays = in_parts(predictor, moments, kept.made)
    fitted = fitter if cfg.fit is not False else None
    facts = of_checkpoint(checkpoint) | at_test(checkpoint["config"]["detector"], fitted, box)
    request = Request(str(cfg.checkpoint), str(cfg.input), cfg.every, cfg.person_height)
    poses = gathered(arrays, predictor, moments, request, facts, box, fps)
    cameras = [view.image.parent.name for view in moments[0].views]
    left_out = left_out_in_words(
        np.isfinite(poses.arrays["person_px"]),
        cameras,
        needed=WITH_WORLD if poses.frame == "world" else 1,
    )
    folder.mkdir(parents=True, exist_ok=True)
    poses.save(folder / "poses.npz")
    kept.forget()
    if cfg.overlays:
        draw_overlays(folder, poses)
    print(f"{len(moments)} poses from {len(moments[0].views)} view(s) written to {folder}")
    print("".join(f"{line}\n" for line in left_out), end="")
    _tell(poses.arrays, cameras, poses.limbs)
    return folder


def _tell(poses: Mapping[str, np.ndarray], cameras: Sequence[str], limbs: Sequence[str]) -> None:
    """Print what speaks against the poses."""
    from mask_sup.geometry.size import scale_in_words

    if words := scale_in_words(poses.get("size_mm", np.zeros(0))):
        print(f"! {words}")
    if "unexplained" in poses:
        told, *wrong = verdict_in_words(poses, cameras, limbs)
        print("\n! ".join([told, *wrong]))


def _masks_wanted(cfg: DictConfig, source: Path) -> str:
    """What to do where a detector of masked pictures is given none."""
    from mask_sup.data.recording import is_recording
    from mask_sup.files.pictures import PICTURE_SUFFIXES
    from mask_sup.inference.inputs import brings_masks

    got = "a box, which leaves the background in" if cfg.box is not None else "none"
    footage = source.parent if source.suffix.lower() in PICTURE_SUFFIXES else source
    output, again = source / "masks", ""
    if not is_recording(source):
        output = footage.parent / f"{footage.stem}_masks"
        camera = footage.name if footage.is_dir() else footage.stem
        paths = {"checkpoint": cfg.checkpoint, "input": footage, "masks": output / camera}
        again = f"\n  and then say {shell_command('predict', **paths)}"
    make = f"make them: {shell_command('masks', input=footage, output=output)}{again}"
    return (
        f"the detector of checkpoint={cfg.checkpoint} was trained on masked input\n"
        f"  expected the folder of masks, masks=<folder>, with one mask per picture; got {got}\n"
        f"  {'leave box= out: the recording has masks' if brings_masks(source) else make}\n"
        "  or give a checkpoint that was trained with detector.mask_input=false"
    )


def _stamp(path: Path) -> list[int]:
    told = path.stat()
    return [told.st_size, told.st_mtime_ns]


@command("predict")
def main(cfg: DictConfig) -> None:
    """2D and 3D poses of pictures, a video or a recording: poses.npz, and overlays."""
    cfg = trust_from_command_line(cfg, HydraConfig.get().overrides.task)
    check_ranges(cfg)
    predict(cfg)


if __name__ == "__main__":
    main()
