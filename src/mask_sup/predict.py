"""python -m mask_sup.predict: a checkpoint and pictures -> poses.npz and overlays.

The input is a picture, a folder of pictures, a video, or the folder of a recording with its
calibration (`mask_sup.data.recording`). Where the person is in a picture tells its mask; without
masks, a detector of whole pictures is told by a box (`mask_sup.data.boxes`), or looks again where
it found joints. Nothing here reads a label.
"""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from hydra.core.hydra_config import HydraConfig
from jaxtyping import Float
from omegaconf import DictConfig

from mask_sup.files.build import build, trust_from_command_line
from mask_sup.files.config import plain
from mask_sup.files.kept import Kept
from mask_sup.files.left_out import left_out_in_words
from mask_sup.files.lock import locked
from mask_sup.files.poses import confidence_of, healthy, verdict_in_words, write_poses
from mask_sup.files.ranges import check_ranges
from mask_sup.files.threads import settle_threads
from mask_sup.files.words import command, shell_command

if TYPE_CHECKING:
    from mask_sup.data.moments import Moment, View

__all__ = [
    "distort_px",
    "input_fps",
    "input_moments",
    "agreement",
    "predict",
    "scale_to_height",
]

BATCH = 16
PART = 600  # moments that are held in memory together, with their masks
PARTS = ".parts"
WITH_WORLD = 2  # views that show somebody, without which a moment has no pose in the world
FINE = 2  # pixels of a mask that is kept, along a side, for each that poses are fitted to
SAMPLE = 48  # moments of a longer recording that tell how the person is built
JOINTS = {  # axis of the joints
    "joints_world_mm": 1,
    "reprojected_px": 2,
    "confidence": 1,
    "expected_error_mm": 1,
}
RATES_AGREE = 1.002  # 59.94 and 60 frames a second are one rate
SHEET_MOMENTS, SHEET_COLUMNS, SHEET_SIZE = 20, 8, 240


def predict(cfg: DictConfig) -> Path:
    """Poses of every picture, written to `poses.npz`; overlays beside it.

    Returns:
        The folder that was written.

    Raises:
        FileNotFoundError: If the input, a picture or a mask is missing.
        ValueError: If the detector was trained on masked input and there are no masks, a box is
            none, or another prediction writes to the folder.
    """
    from mask_sup.models.checkpoint import run_folder

    folder = run_folder(cfg.checkpoint) / "predictions" / Path(cfg.input).expanduser().stem
    folder = Path(cfg.output) if cfg.output else folder
    with locked(folder, ".predict.lock"):
        return _predict(cfg, folder)


def _predict(cfg: DictConfig, folder: Path) -> Path:
    """What `predict` does, once the folder is its own."""
    from mask_sup.data.boxes import with_boxes
    from mask_sup.data.moments import check_views
    from mask_sup.geometry.size import scale_in_words
    from mask_sup.method.settings import at_test, of_checkpoint
    from mask_sup.models.checkpoint import read_checkpoint, restore
    from mask_sup.models.shipped import say_shipped, weights_file

    checkpoint = read_checkpoint(cfg.checkpoint)
    say_shipped("checkpoint", cfg.checkpoint)
    detector = restore(checkpoint).to(cfg.device)
    source = Path(cfg.input).expanduser()
    given = plain(cfg)["box"]
    box = _box_from(source, cfg.masks, given)
    if detector.mask_input and box != "mask" and source.exists():
        raise ValueError(_masks_wanted(cfg, source))
    moments = input_moments(source, cfg.masks, cfg.every, folder, box == "mask")
    if box == "given":
        moments = with_boxes(moments, given)
    elif box == "found":
        print("no masks and no box=: the detector looks for the person by its own joints")
    views = [view for moment in moments for view in moment.views]
    check_views(views)
    fps = input_fps(source, cfg.every)
    fitter = _fitter(cfg, detector, moments)
    files = [path for view in views for path in (view.image, view.mask) if path is not None]
    files = [(str(path), _stamp(path)) for path in files]
    cameras = [[part.tolist() for part in view[2:6]] for view in moments[0].views]
    told = [plain(cfg), _stamp(weights_file(cfg.checkpoint)), files, cameras]
    kept = Kept(folder / PARTS, [*told, [view.box for view in views]])
    settle_threads()
    poses = _in_parts(cfg, detector, checkpoint["config"]["data"], moments, fitter, kept)
    boxes = poses.pop("boxes")
    cameras = [view.image.parent.name for view in moments[0].views]
    left_out = left_out_in_words(
        np.isfinite(poses["person_px"]),
        cameras,
        needed=WITH_WORLD if "joints_world_mm" in poses else 1,
    )
    folder.mkdir(parents=True, exist_ok=True)
    pictures = np.array([[str(view.image) for view in moment.views] for moment in moments])
    fitted = fitter if cfg.fit is not False else None
    facts = of_checkpoint(checkpoint) | at_test(checkpoint["config"]["detector"], fitted, box)
    limbs = fitter.body.limb_names if fitter is not None else []
    if "unexplained" in poses:
        poses["healthy"] = healthy(poses).astype(np.uint8)
    skeleton = detector.skeleton
    write_poses(folder / "poses.npz", poses, pictures, skeleton, limbs, fps, cfg, facts, box)
    kept.forget()
    if cfg.overlays:
        _overlays(folder, moments, poses, boxes, detector.skeleton)
    print(f"{len(moments)} poses from {len(moments[0].views)} view(s) written to {folder}")
    print("".join(f"{line}\n" for line in left_out), end="")
    if words := scale_in_words(poses.get("size_mm", np.zeros(0))):
        print(f"! {words}")
    if "unexplained" in poses:
        told, *wrong = verdict_in_words(poses, cameras, limbs)
        print("\n! ".join([told, *wrong]))
    return folder


def _box_from(source: Path, masks: str | None, given: Any) -> str:
    """Where the person's boxes come from: the `mask`, as `given`, or `found` by the detector.

    Raises:
        ValueError: If both masks and a box are given.
    """
    if masks and given is not None:
        raise ValueError(
            f"box={given} and masks={masks}: expected one of the two, as a mask has a box of its "
            "own\n  leave one of them out"
        )
    if given is not None:
        return "given"
    return "mask" if masks or _brings_masks(source) else "found"


def _brings_masks(source: Path) -> bool:
    """Whether the input is a recording with masks of its own."""
    from mask_sup.data.recording import is_recording

    return (source / "masks").is_dir() and is_recording(source)


def _masks_wanted(cfg: DictConfig, source: Path) -> str:
    """What to do where a detector of masked pictures is given none."""
    from mask_sup.data.recording import is_recording
    from mask_sup.files.pictures import PICTURE_SUFFIXES

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
        f"  {'leave box= out: the recording has masks' if _brings_masks(source) else make}\n"
        "  or give a checkpoint that was trained with detector.mask_input=false"
    )


def _fitter(cfg: DictConfig, detector: Any, moments: "Sequence[Moment]") -> Any:
    """What fits poses to the masks of calibrated views, or judges them (`fit=false`) by these.

    Returns:
        None where one of these is lacking.

    Raises:
        ValueError: If `fit=true` was asked for and cannot be done.
    """
    lacking = []
    if len(moments[0].views) < 2:
        lacking.append("two views or more")
    if not all(np.isfinite(view.K).all() for view in moments[0].views):
        lacking.append("a calibration")
    if any(view.mask is None for moment in moments for view in moment.views):
        lacking.append("a mask for each picture")
        if len(lacking) == 1 and cfg.fit is None:
            print("no poses are fitted: that takes masks of the calibrated views (masks=<folder>)")
    if lacking and cfg.fit is not True:
        return None
    if lacking:
        raise ValueError(
            f"fit=true explains the masks of calibrated views: this input lacks "
            f"{' and '.join(lacking)}; without, use fit=false: the detector alone"
        )
    skeleton = detector.skeleton
    anatomy, body = (build(cfg[part], part, skeleton=skeleton) for part in ("anatomy", "body"))
    return build(cfg.fitter, "fitter", body=body, anatomy=anatomy)


def _in_parts(
    cfg: DictConfig,
    detector: Any,
    trained: "Mapping[str, Any]",
    moments: "Sequence[Moment]",
    fitter: Any,
    kept: Kept,
) -> dict[str, np.ndarray]:
    """All arrays of poses.npz, and `boxes`, made part by part; parts made before are taken over.

    Memory holds the pictures and masks of one part, however long the input is. What has one part
    is short, and nothing of it is kept.
    """
    import torch

    from mask_sup.fitting.sequences import renamed_in_time

    settings = {
        "image_size": trained["image_size"],
        "mask_size": trained["mask_size"] if fitter is None else FINE * fitter.body.size,
        "padding": trained["padding"],
        "mask_input": detector.mask_input,
    }
    parts = [moments[i : i + PART] for i in range(0, len(moments), PART)]
    subject = None
    if fitter is not None and len(parts) > 1:
        few = moments[:: max(1, len(moments) // SAMPLE)]
        subject = kept.made("subject", lambda: _subject(cfg, detector, settings, few, fitter))
    made = []
    for number, part in enumerate(parts):
        if len(parts) > 1:
            print(f"part {number + 1} of {len(parts)}: {len(part)} moments")

        def one(part: "Sequence[Moment]" = part) -> dict[str, np.ndarray]:
            seen = _look(cfg, detector, settings, part)
            with _quickly(cfg):
                return _poses(cfg, detector, settings, part, fitter, subject, *seen)

        made.append(kept.made(f"{number:06d}", one) if len(parts) > 1 else one())
    poses = _joined(made)
    if "front" in poses and len(parts) > 1:
        posed = np.isfinite(poses["unexplained"])
        changed = np.zeros_like(posed)
        changed[posed] = renamed_in_time(
            *(
                torch.from_numpy(poses[n][posed])
                for n in ("joints_world_mm", "unexplained", "front")
            ),
            fitter.travel,
            detector.skeleton.flip,
        ).numpy()
        for name, axis in JOINTS.items():
            poses[name][changed] = np.take(poses[name][changed], detector.skeleton.flip, axis)
        turned = fitter.body.limbs_exchanged
        poses["unexplained_limb"][changed] = poses["unexplained_limb"][changed][:, turned]
        poses["front"][changed] *= -1
    return poses


def _joined(parts: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The arrays of all parts; NaN for what parts lack that show nobody."""
    most = max(parts, key=len)

    def of(part: dict[str, np.ndarray], name: str) -> np.ndarray:
        return part.get(name, np.full((len(part["boxes"]), *most[name].shape[1:]), np.nan))

    return {name: np.concatenate([of(part, name) for part in parts]) for name in most}


def _stamp(path: Path) -> list[int]:
    told = path.stat()
    return [told.st_size, told.st_mtime_ns]


def _look(
    cfg: DictConfig, detector: Any, settings: dict[str, Any], moments: "Sequence[Moment]"
) -> tuple[Any, Any, np.ndarray, np.ndarray]:
    """Detections (n v j 3), masks (n v h w), boxes (n v 3) and sizes (n v 2) of moments.

    Masks are in [0, 1], NaN where a picture ends and the person may go on. Each of several threads
    reads, crops and looks at a batch of its own: threads that shared one would wait for each other.
    """
    import torch
    from rich.progress import track

    from mask_sup.data.boxes import look_for
    from mask_sup.data.moments import crop_view
    from mask_sup.files.ahead import ahead

    views = [view for moment in moments for view in moment.views]
    alone = torch.device(cfg.device).type == "cpu"  # others have one batch at a time, of full size
    size = max(1, BATCH // torch.get_num_threads()) if alone else BATCH
    one_by_one = nullcontext() if alone else Lock()

    def detected(crops: list[Any]) -> Any:
        images = torch.from_numpy(np.stack([crop.image for crop in crops]))
        with one_by_one, torch.inference_mode():
            return detector(images.to(cfg.device).permute(0, 3, 1, 2).float() / 255).cpu()

    def look(start: int) -> tuple[Any, list[tuple]]:
        some = look_for(views[start : start + size], detected, detector.skeleton, settings)
        crops = [crop_view(view, **settings, may_be_empty=True) for view in some]
        return detected(crops), [crop[1:] for crop in crops]  # pictures are let go

    starts = range(0, len(views), size)
    with ahead(look, starts) as seen:
        found, told = zip(*track(seen, "predicting", total=len(starts)), strict=True)
    masks, unknown, boxes, sizes = zip(*(one for some in told for one in some), strict=True)
    shape = (len(moments), len(moments[0].views))
    joints, mask = torch.cat(found).unflatten(0, shape), torch.from_numpy(np.stack(masks)) / 255
    mask[torch.from_numpy(np.stack(unknown))] = torch.nan
    boxes, sizes = np.reshape(boxes, (*shape, 3)), np.reshape(sizes, (*shape, 2))
    return joints.clone(), mask.unflatten(0, shape), boxes, sizes


def _cameras(moments: "Sequence[Moment]", boxes: np.ndarray) -> Any:
    """Cameras of the crops (n v)."""
    import torch

    from mask_sup.geometry.batch import Camera
    from mask_sup.geometry.camera import fold_crop

    views = [view for moment in moments for view in moment.views]
    each = zip(views, boxes.reshape(-1, 3).tolist(), strict=True)
    parts = zip(
        *((fold_crop(view.K, tuple(box)), view.R, view.t) for view, box in each), strict=True
    )
    stacks = (torch.tensor(np.stack(part)).float() for part in parts)
    return Camera(*(stack.unflatten(0, boxes.shape[:2]) for stack in stacks))


def _recipe(cfg: DictConfig) -> str:
    """What the fitter does: poses are searched, or held against the masks as they are."""
    return "judge" if cfg.fit is False else "fit"


def _quickly(cfg: DictConfig) -> Any:
    """Without a search there is nothing that is worth more than one thread."""
    from mask_sup.files.ahead import unsplit

    return unsplit() if cfg.fit is False else nullcontext()


def _subject(
    cfg: DictConfig,
    detector: Any,
    settings: dict[str, Any],
    moments: "Sequence[Moment]",
    fitter: Any,
) -> dict[str, np.ndarray]:
    """How the person is built, from moments spread over a long recording; {} if they show none."""
    from mask_sup.geometry.triangulate import triangulate_robustly

    joints, mask, boxes, _ = _look(cfg, detector, settings, moments)
    camera = _cameras(moments, boxes)
    shown = fitter.shows(mask)
    posed = (shown.sum(1) >= WITH_WORLD).nonzero().flatten()
    if not len(posed):
        return {}
    start = triangulate_robustly(joints[..., :2], camera, shown)[posed]
    with _quickly(cfg):
        found = fitter.fit(_recipe(cfg), start, camera.part(posed), mask[posed])
    return {name: value.numpy() for name, value in found.build._asdict().items()}


def input_moments(
    source: Path, masks: str | Path | None, every: int, folder: Path, masked: bool = True
) -> "list[Moment]":
    """What there is to predict: each moment with its views.

    Args:
        source: Picture, folder of pictures, video, or folder of a recording.
        masks: Folder of masks, one per picture with its number; None: none, or the recording's.
        every: Keep every n-th frame.
        folder: Where the frames of a single video are put.
        masked: Whether a recording's own masks are looked for.

    Raises:
        FileNotFoundError: If there is nothing at `source`.
        ValueError: If it is none of these, or pictures and masks do not go together.
    """
    from mask_sup.data.images import uncalibrated_view
    from mask_sup.data.moments import Moment
    from mask_sup.data.recording import RecordingData, is_recording
    from mask_sup.files.names import check_paired
    from mask_sup.files.pictures import PICTURE_SUFFIXES, list_pictures
    from mask_sup.files.video import VIDEO_SUFFIXES, extract_frames

    if every < 1:
        raise ValueError(f"every={every}: expected 1 for all frames, 2 for every second one, ...")
    if not source.exists():
        raise FileNotFoundError(f"no input at {source}: give a picture, video, folder or recording")
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
    from mask_sup.calibration import find_calibration, read_calibration
    from mask_sup.data.recording import is_recording
    from mask_sup.files.video import VIDEO_SUFFIXES, frame_rate

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


def _poses(
    cfg: DictConfig,
    detector: Any,
    settings: dict[str, Any],
    moments: "Sequence[Moment]",
    fitter: Any,
    subject: dict[str, np.ndarray] | None,
    joints: Any,
    mask: Any,
    boxes: np.ndarray,
    sizes: np.ndarray,
) -> dict[str, np.ndarray]:
    """All arrays of poses.npz for some moments, and `boxes`, of what `_look` saw."""
    import torch

    from mask_sup.geometry.camera import crop_from_world, is_calibrated, px_from_crop
    from mask_sup.geometry.size import area_and_middle, silhouette_sizes
    from mask_sup.geometry.triangulate import triangulate_robustly

    n, v = boxes.shape[:2]
    views = [view for moment in moments for view in moment.views]
    shown = (mask > 0.5).any(-1).any(-1) if fitter is None else fitter.shows(mask)
    crop, person_px = joints.numpy(), boxes[..., 2] / settings["padding"]

    def to_px(xy: np.ndarray) -> np.ndarray:
        flat = xy.reshape(n * v, -1, 2)
        pixels = [
            distort_px(px_from_crop(one, tuple(box)), view)
            for one, box, view in zip(flat, boxes.reshape(-1, 3).tolist(), views, strict=True)
        ]
        return np.stack(pixels).reshape(n, v, -1, 2)

    poses = {
        "boxes": boxes,
        "joints_px": to_px(crop[..., :2]),
        "joints_root_mm": scale_to_height(
            crop, detector.skeleton, detector.depth_range, cfg.person_height
        ),
        "person_px": person_px,
        "picture_size_px": sizes,
    }
    for name in ("joints_px", "joints_root_mm", "person_px"):
        poses[name][~shown.numpy()] = np.nan
    camera = _cameras(moments, boxes)
    if v == 1 or not is_calibrated(camera):
        return poses
    world, posed = triangulate_robustly(joints[..., :2], camera, shown), shown.sum(1) >= WITH_WORLD
    if all(view.mask is not None for view in views):
        seen = area_and_middle(mask.nan_to_num().numpy())
        poses["size_mm"] = silhouette_sizes(*seen, *(part.double().numpy() for part in camera))
    if fitter is not None and posed.any():
        world, told = _judged(posed, fitter, _recipe(cfg), world, camera, mask, moments, subject)
        poses |= told
    world[~posed] = torch.nan
    again = to_px(crop_from_world(world.unsqueeze(1), camera).numpy())
    error = np.linalg.norm(again - poses["joints_px"], axis=-1)
    agreed = agreement(error, poses["person_px"])
    if "expected_error_mm" not in poses:
        expected = agreed
    else:
        stature = poses.pop("stature_mm")[:, None]
        expected = poses["expected_error_mm"] / stature
        if cfg.fit is False:  # else the error is of the detector's, which was a start alone
            expected = np.hypot(expected, agreed)
            poses["expected_error_mm"] = expected * stature
    confidence = np.where(posed.numpy()[:, None], confidence_of(expected), 0.0)
    return poses | {
        "confidence": confidence,
        "joints_world_mm": world.numpy(),
        "reprojected_px": again,
        "reprojection_error_px": error,
    }


def _judged(
    posed: Any,
    fitter: Any,
    recipe: str,
    start: Any,
    camera: Any,
    mask: Any,
    moments: "Sequence[Moment]",
    subject: dict[str, np.ndarray] | None,
) -> tuple[Any, dict[str, np.ndarray]]:
    """Poses that explain the masks (recipe `judge`: as they are), and what speaks against them.

    Moments that are not `posed`, as too few views show somebody, keep their start and get NaN;
    those before and after such a gap do not follow each other in time.
    """
    import torch

    from mask_sup.fitting.film import fit_film
    from mask_sup.fitting.scenes import Build
    from mask_sup.fitting.verdict import judge

    known, which = None, posed.nonzero().flatten()
    if subject:
        known = Build(*(torch.from_numpy(subject[name]) for name in Build._fields))
    gaps = (which.diff(prepend=which[:1]) > 1).cumsum(0).tolist()
    some = [moments[i] for i in which.tolist()]
    names = [(m.sequence or m.name, gap) for m, gap in zip(some, gaps, strict=True)]
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    sequence = torch.tensor([number[name] for name in names])
    camera, foreground = camera.part(which), mask[which]
    if recipe == "judge":
        found = fitter.fit(recipe, start[which], camera, foreground, build=known)
    else:
        found = fit_film(fitter, start[which], camera, foreground, sequence, known)
    start[which] = found.joints_world
    verdict = judge(fitter, found, camera, foreground, sequence)
    told = {
        "unexplained": found.unexplained,
        "unexplained_view": verdict.unexplained_view,
        "unexplained_limb": verdict.unexplained_limb,
        "strain": verdict.strain,
        "front": found.front,
        "expected_error_mm": verdict.expected_mm,
        "stature_mm": torch.full((len(which),), fitter.stature(found.build)),
    }

    def everywhere(values: Any) -> np.ndarray:
        whole = np.full((len(moments), *values.shape[1:]), np.nan, np.float32)
        whole[which.numpy()] = values.numpy()
        return whole

    return start, {name: everywhere(values) for name, values in told.items()}


def agreement(
    error_px: Float[np.ndarray, "*n v j"], person_px: Float[np.ndarray, "*n v"]
) -> Float[np.ndarray, "*n j"]:
    """How far triangulated joints are off, as views disagree: a share s of the person's size.

    With e, the reprojection error over the person's size in a view,

        s^2 = 9 / (2 v) * sum over the v views of e^2 / (2 v - 3)

    v views give 2 v numbers for 3 unknowns, so that the errors tell the variance of detections by
    2 v - 3; and v views from all around leave 9 / (2 v) of it to the joint. It says nothing of
    errors that all views share, such as left and right named the wrong way in all of them.

    Args:
        error_px: Distance of detected and reprojected joints, pixels; NaN in views that do not
            count. With fewer than two that do, NaN.
        person_px: Larger side of the person's mask in each view, pixels.

    >>> agreement(np.array([[3.0], [4.0]]), np.array([100.0, 100.0])).round(3)
    array([0.075])
    """
    views = np.isfinite(error_px).sum(-2)
    share = np.nansum(np.square(error_px / person_px[..., None]), -2)
    expected = 9 / np.maximum(2 * views, 1) * share / np.maximum(2 * views - 3, 1)
    return np.where(views >= WITH_WORLD, np.sqrt(expected), np.nan)


def distort_px(xy_px: Float[np.ndarray, "j 2"], view: "View") -> Float[np.ndarray, "j 2"]:
    """Pixels of an ideal lens -> pixels of the picture as it was taken (OpenCV's model)."""
    import cv2

    if not np.any(view.distortion):
        return xy_px
    rays = np.concatenate([xy_px, np.ones_like(xy_px[:, :1])], 1) @ np.linalg.inv(view.K).T
    return cv2.projectPoints(rays, np.zeros(3), np.zeros(3), view.K, view.distortion)[0][:, 0]


def scale_to_height(
    joints_crop: Float[np.ndarray, "*n j 3"], skeleton: Any, depth_range: float, height: float
) -> Float[np.ndarray, "*n j 3"]:
    """Root-relative single-view poses in mm under weak perspective, for a person of known height.

    A picture cannot know scale: the crop's scale is chosen so that trunk, head and legs have the
    summed length of a standing figure of this height (`Skeleton.heights`).

    Args:
        joints_crop: x, y in crop coordinates and z in [-1, 1].
        skeleton: Tree and heights.
        depth_range: Depth in mm that z spans.
        height: Stature in mm.

    Returns:
        x right, y down, z away from the camera, mm, relative to the root.
    """
    names, heights = skeleton.joints, skeleton.heights
    arms = {j for pair in skeleton.segments(["arms"]) for j in pair}
    bones = [(a, b) for a, b in skeleton.tree if b not in arms]
    length = height * sum(abs(heights[names[a]] - heights[names[b]]) for a, b in bones)
    pose = joints_crop - joints_crop[..., skeleton.root, None, :]
    a, b = np.array(bones).T
    across = np.square(pose[..., b, :2] - pose[..., a, :2]).sum(-1)
    along = np.square((pose[..., b, 2] - pose[..., a, 2]) * depth_range / 2)
    low, high = np.zeros(pose.shape[:-2]), np.full(pose.shape[:-2], 100.0 * height)
    for _ in range(60):  # bisection: the length grows with the scale
        middle = (low + high) / 2
        short = np.sqrt(np.square(middle)[..., None] * across + along).sum(-1) < length
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    xy = pose[..., :2] * high[..., None, None]
    return np.concatenate([xy, pose[..., 2:] * depth_range / 2], -1)


def _overlays(
    folder: Path,
    moments: "Sequence[Moment]",
    poses: dict[str, np.ndarray],
    boxes: np.ndarray,
    skeleton: Any,
) -> None:
    """A picture per frame with all its views, and a contact sheet of the crops of a few."""
    from rich.progress import track

    from mask_sup.data.lens import crop_square
    from mask_sup.figure.draw import draw_skeleton, pose_sheet
    from mask_sup.files.pictures import read_image, write_png

    drawn = poses.get("reprojected_px", poses["joints_px"])
    shown = set(np.linspace(0, len(moments) - 1, min(SHEET_MOMENTS, len(moments))).round())
    crops = []
    for i, moment in enumerate(track(moments, "drawing")):
        pictures = [
            draw_skeleton(read_image(view.image), drawn[i, k], skeleton)
            for k, view in enumerate(moment.views)
        ]
        size = min(720, max(pictures[0].shape[:2]))
        write_png(folder / "overlays" / f"{i:06d}.png", pose_sheet([pictures], size))
        if i in shown:
            crops += [
                crop_square(picture, tuple(box), SHEET_SIZE)
                for picture, box in zip(pictures, boxes[i].tolist(), strict=True)
            ]
    views = len(moments[0].views)
    columns = views * max(1, SHEET_COLUMNS // views)  # a moment's views stay in one row
    crops += [np.zeros_like(crops[0])] * (-len(crops) % columns)
    rows = [crops[i : i + columns] for i in range(0, len(crops), columns)]
    write_png(folder / "contact_sheet.png", pose_sheet(rows, SHEET_SIZE))


@command("predict")
def main(cfg: DictConfig) -> None:
    """2D and 3D poses of pictures, a video or a recording: poses.npz, and overlays."""
    cfg = trust_from_command_line(cfg, HydraConfig.get().overrides.task)
    check_ranges(cfg)
    predict(cfg)


if __name__ == "__main__":
    main()
