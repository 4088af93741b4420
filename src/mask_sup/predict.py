"""python -m mask_sup.predict: a checkpoint and pictures -> poses.npz and overlays.

The input is a picture, a folder of pictures, a video, or the folder of a recording with its
calibration (`mask_sup.data.recording`). Nothing here reads a label.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
import numpy as np
from hydra.core.hydra_config import HydraConfig
from jaxtyping import Float
from omegaconf import DictConfig

from mask_sup.files.build import trust_from_command_line
from mask_sup.files.config import conf_dir
from mask_sup.files.lock import locked
from mask_sup.files.poses import UNSURE, write_poses
from mask_sup.files.ranges import check_ranges

if TYPE_CHECKING:
    from mask_sup.data.moments import Moment, View

__all__ = [
    "distort_px",
    "input_fps",
    "input_moments",
    "joint_confidence",
    "predict",
    "scale_to_height",
]

BATCH = 16
EXIF_ORIENTATION = 274
RATES_AGREE = 1.002  # 59.94 and 60 frames a second are one rate
SHEET_MOMENTS, SHEET_COLUMNS, SHEET_SIZE = 20, 8, 240


def predict(cfg: DictConfig) -> Path:
    """Poses of every picture, written to `poses.npz`; overlays beside it.

    Returns:
        The folder that was written.

    Raises:
        FileNotFoundError: If the input, a picture or a mask is missing.
        ValueError: If the detector was trained on masked input and there are no masks, or another
            prediction writes to the folder.
    """
    from mask_sup.models.checkpoint import run_folder

    folder = run_folder(cfg.checkpoint) / "predictions" / Path(cfg.input).expanduser().stem
    folder = Path(cfg.output) if cfg.output else folder
    with locked(folder, ".predict.lock"):
        return _predict(cfg, folder)


def _predict(cfg: DictConfig, folder: Path) -> Path:
    """What `predict` does, once the folder is its own."""
    import torch
    from rich.progress import track

    from mask_sup.data.moments import check_view, crop_view
    from mask_sup.method.settings import at_test, of_checkpoint
    from mask_sup.models.checkpoint import read_checkpoint, restore

    checkpoint = read_checkpoint(cfg.checkpoint)
    detector = restore(checkpoint).to(cfg.device)
    trained = checkpoint["config"]["data"]
    source = Path(cfg.input).expanduser()
    moments = input_moments(source, cfg.masks, cfg.every, folder)
    views = [view for moment in moments for view in moment.views]
    for view in views:
        check_view(view)
    if detector.mask_input and any(view.mask is None for view in views):
        raise ValueError(
            "this detector was trained on masked input: give the folder of masks, "
            "masks=<folder>, with one mask per picture"
        )
    fps = input_fps(source, cfg.every)
    settings = {
        "image_size": trained["image_size"],
        "mask_size": trained["mask_size"],
        "padding": trained["padding"],
        "mask_input": detector.mask_input,
    }
    count = len(moments[0].views)
    found, boxes = [], []
    with torch.inference_mode():
        for start in track(range(0, len(views), BATCH), "predicting"):
            crops = [crop_view(view, **settings) for view in views[start : start + BATCH]]
            images = torch.from_numpy(np.stack([crop.image for crop in crops]))
            images = images.to(cfg.device).permute(0, 3, 1, 2).float() / 255
            found.append(detector(images).cpu())
            boxes += [crop.box for crop in crops]
    joints_crop = torch.cat(found).reshape(len(moments), count, -1, 3)
    person_px = np.reshape([side / trained["padding"] for _, _, side in boxes], (-1, count))
    poses = _poses(moments, joints_crop, boxes, person_px, detector, cfg.person_height)
    folder.mkdir(parents=True, exist_ok=True)
    pictures = np.array([[str(view.image) for view in moment.views] for moment in moments])
    facts = of_checkpoint(checkpoint) | at_test(checkpoint["config"]["detector"])
    write_poses(folder / "poses.npz", poses, pictures, detector.skeleton, fps, cfg, facts)
    if cfg.overlays:
        _overlays(folder, moments, poses, boxes, detector.skeleton)
    print(f"{len(moments)} poses from {count} view(s) written to {folder}")
    return folder


def input_moments(
    source: Path, masks: str | Path | None, every: int, folder: Path
) -> "list[Moment]":
    """What there is to predict: each moment with its views.

    Args:
        source: Picture, folder of pictures, video, or folder of a recording.
        masks: Folder of masks, one per picture with its number; None: none, or the recording's.
        every: Keep every n-th frame.
        folder: Where the frames of a single video are put.

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
        return recording.moments("train")
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
    moments: "Sequence[Moment]",
    joints_crop: Any,
    boxes: Sequence[Any],
    person_px: np.ndarray,
    detector: Any,
    height: float,
) -> dict[str, np.ndarray]:
    """All arrays of poses.npz from the detections."""
    import torch

    from mask_sup.geometry.batch import Camera
    from mask_sup.geometry.camera import crop_from_world, fold_crop, is_calibrated, px_from_crop
    from mask_sup.geometry.triangulate import triangulate_robustly

    n, v = joints_crop.shape[:2]
    views = [view for moment in moments for view in moment.views]
    crop = joints_crop.numpy()

    def to_px(xy: np.ndarray) -> np.ndarray:
        flat = xy.reshape(n * v, -1, 2)
        pixels = [
            distort_px(px_from_crop(one, box), view)
            for one, box, view in zip(flat, boxes, views, strict=True)
        ]
        return np.stack(pixels).reshape(n, v, -1, 2)

    poses = {
        "joints_px": to_px(crop[..., :2]),
        "joints_root_mm": scale_to_height(crop, detector.skeleton, detector.depth_range, height),
        "person_px": person_px,
        "picture_size_px": np.array([_picture_size(view.image) for view in views]).reshape(n, v, 2),
    }
    if v > 1:
        pairs = zip(views, boxes, strict=True)
        parts = zip(*((fold_crop(view.K, box), view.R, view.t) for view, box in pairs), strict=True)
        stacks = (torch.tensor(np.stack(part)).float() for part in parts)
        camera = Camera(*(stack.unflatten(0, (n, v)) for stack in stacks))
        if is_calibrated(camera):
            world = triangulate_robustly(joints_crop[..., :2], camera)
            again = to_px(crop_from_world(world.unsqueeze(1), camera).numpy())
            poses["joints_world_mm"] = world.numpy()
            poses["reprojected_px"] = again
            error = np.linalg.norm(again - poses["joints_px"], axis=-1)
            poses["reprojection_error_px"] = error
            poses["confidence"] = joint_confidence(error, person_px)
    return poses


def joint_confidence(
    error_px: Float[np.ndarray, "*n v j"], person_px: Float[np.ndarray, "*n v"]
) -> Float[np.ndarray, "*n j"]:
    """How far triangulated joints can be trusted: 1 for views that agree, towards 0 otherwise.

    Confidence is 1 / (1 + (s / 0.05)^2), where s is the expected distance from the true joint as a
    share of the person's size: 0.5 at 5 %, which is 85 mm on a person of 1700 mm. With e, the
    reprojection error over the person's size in a view,

        s^2 = 9 / (2 v) * sum over the v views of e^2 / (2 v - 3)

    v views give 2 v numbers for 3 unknowns, so that the errors tell the variance of detections by
    2 v - 3; and v views from all around leave 9 / (2 v) of it to the joint. It says nothing of
    errors that all views share, such as left and right named the wrong way in all of them.

    Args:
        error_px: Distance of detected and reprojected joints, pixels; at least two views.
        person_px: Larger side of the person's mask in each view, pixels.

    >>> joint_confidence(np.array([[3.0], [4.0]]), np.array([100.0, 100.0])).round(3)
    array([0.308])
    """
    views = error_px.shape[-2]
    share = np.square(error_px / person_px[..., None]).sum(-2)
    expected = 9 / (2 * views) * share / (2 * views - 3)
    return 1 / (1 + expected / UNSURE**2)


def _picture_size(path: Path) -> tuple[int, int]:
    """Width and height as the picture is shown, from its head alone."""
    from PIL import Image

    with Image.open(path) as picture:
        turned = picture.getexif().get(EXIF_ORIENTATION, 1) >= 5  # a quarter turn, as cv2 does
        return picture.size[::-1] if turned else picture.size


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
    boxes: Sequence[tuple[float, float, float]],
    skeleton: Any,
) -> None:
    """A picture per frame with all its views, and a contact sheet of the crops of a few."""
    from rich.progress import track

    from mask_sup.data.moments import crop_square
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
            here = boxes[i * len(pictures) : (i + 1) * len(pictures)]
            crops += [crop_square(p, b, SHEET_SIZE) for p, b in zip(pictures, here, strict=True)]
    views = len(moments[0].views)
    columns = views * max(1, SHEET_COLUMNS // views)  # a moment's views stay in one row
    crops += [np.zeros_like(crops[0])] * (-len(crops) % columns)
    rows = [crops[i : i + columns] for i in range(0, len(crops), columns)]
    write_png(folder / "contact_sheet.png", pose_sheet(rows, SHEET_SIZE))


@hydra.main(version_base="1.3", config_path=conf_dir(), config_name="predict")
def main(cfg: DictConfig) -> None:
    """Predict poses."""
    cfg = trust_from_command_line(cfg, HydraConfig.get().overrides.task)
    check_ranges(cfg)
    predict(cfg)


if __name__ == "__main__":
    main()
