"""The commands `check` and `refine`: a calibration and a folder of masks -> what they say of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float
from omegaconf import DictConfig

from mask_sup.calibration.cameras import Calibration, CalibrationError
from mask_sup.calibration.check import Look, MasksError, Rig
from mask_sup.calibration.check import check as find_fault
from mask_sup.calibration.fitting import among
from mask_sup.calibration.formats import find_calibration, read_calibration, write_calibration
from mask_sup.calibration.offsets import OFFSETS, read_offsets
from mask_sup.calibration.settle import settle
from mask_sup.calibration.silhouettes import gaps, mean_gap
from mask_sup.files.disk import write_file
from mask_sup.files.masks import fitted, misfit, read_mask
from mask_sup.files.names import check_steps, numbered
from mask_sup.files.people import touching_in
from mask_sup.files.pictures import list_pictures
from mask_sup.files.poses import read_poses
from mask_sup.geometry.degenerate import degenerate

__all__ = ["check", "refine", "rig_from_masks"]

SIDE = 640  # pixels; larger masks are looked at in this size


def check(cfg: DictConfig) -> None:
    """Print which camera is wrong and how; write it as JSON where `cfg.output` says.

    Raises:
        FileNotFoundError: If the calibration or a camera's masks are missing.
        CalibrationError: If the calibration is damaged.
        ValueError: If masks of the cameras differ in number, or are too few or empty.
    """
    calibration, rig = _inputs(cfg)
    finding = find_fault(rig, cfg.moments, cfg.rays)
    if finding.gap is not None:
        told = f"mean gap {finding.gap:.2f} % of the person's size"
        print(f"{told}, {len(calibration.names)} cameras")
        for name, share in zip(calibration.names, finding.without, strict=True):
            print(f"  without {name}: {share:.2f} %")
    for line in finding.left_out:
        print(f"left out: {line}")
    print(f"{finding.fault}: {finding.words}")
    if finding.scale:
        print(f"! {finding.scale}")
    if finding.fault not in ("none", "masks", "unclear"):
        print(f"with that undone the gap is {finding.mended:.2f} %")
    if cfg.output:
        write_file(Path(cfg.output).expanduser(), json.dumps(asdict(finding), indent=2) + "\n")


def refine(cfg: DictConfig) -> None:
    """Write the calibration with extrinsics that the masks, and joints if given, agree on.

    Raises:
        FileNotFoundError: If the calibration, a camera's masks or the poses are missing.
        CalibrationError: If the calibration is damaged.
        MasksError: If masks are at fault; nothing is written then.
        ValueError: If masks of the cameras differ in number, or are too few or empty.
    """
    calibration, rig = _inputs(cfg)
    joints = _joints(Path(cfg.poses).expanduser(), calibration, rig) if cfg.poses else None
    look = Look(rig, cfg.moments, cfg.rays)
    look.leave_strangers_out()
    for line in look.left_out():
        print(f"left out: {line}")
    scene = look.scene()
    _refuse_bad_masks(rig, cfg)
    better = settle(scene, range(len(rig.names)), joints)
    moved = replace(calibration, R=better.R, t=better.t)
    for name, R, S, a, b in zip(
        rig.names, rig.R, better.R, calibration.centres, moved.centres, strict=True
    ):
        angle = np.degrees(np.arccos(np.clip((np.trace(R @ S.T) - 1) / 2, -1.0, 1.0)))
        print(f"{name}: turned {angle:.2f} degrees, moved {np.linalg.norm(b - a):.0f} mm")
    before, after = mean_gap(gaps(scene)), mean_gap(gaps(better))
    print(f"mean gap {before:.2f} -> {after:.2f} % of the person's size")
    write_calibration(moved, cfg.output, None)
    print(f"written to {cfg.output}")


def _refuse_bad_masks(rig: Rig, cfg: DictConfig) -> None:
    """Mend no camera where a check would blame masks; two cameras cannot be checked."""
    if len(rig.names) > 2:
        finding = find_fault(rig, cfg.moments, cfg.rays)
        if finding.fault == "masks":
            raise MasksError(f"{finding.words}; nothing is refined before that", finding.cameras)


def _inputs(cfg: DictConfig) -> tuple[Calibration, Rig]:
    source = Path(cfg.input).expanduser()
    folder = source if source.is_dir() else source.parent
    masks = Path(cfg.masks).expanduser() if cfg.masks else folder / "masks"
    path = find_calibration(source) if source.is_dir() else source
    calibration = read_calibration(path, cfg.format, cfg.unit)
    with_masks = [name for name in calibration.names if (masks / name).is_dir()]
    if with_masks:  # else the first that is missing is told
        calibration = among(calibration, with_masks, "masks")
    late = read_offsets(folder / OFFSETS, calibration.names)
    return calibration, rig_from_masks(calibration, masks, late)


def rig_from_masks(
    calibration: Calibration, folder: Path, late: Mapping[str, int] | None = None
) -> Rig:
    """The cameras with their masks, `folder/<camera>/*.png`, made small and free of distortion.

    Args:
        calibration: Of the cameras.
        folder: Of the masks.
        late: Frames that each camera runs late, from 0 on; None: they run together.

    Raises:
        FileNotFoundError: If a camera has no masks.
        ValueError: If cameras differ in their masks' number, or in the steps between those.
        CalibrationError: If the size of the masks does not fit the calibration.
    """
    files = [list_pictures(folder / name) for name in calibration.names]
    cameras = dict(zip(calibration.names, files, strict=True))
    counts = {name: len(paths) for name, paths in cameras.items()}
    if late is None and len(set(counts.values())) > 1:
        raise ValueError(
            f"all cameras need the same number of masks in {folder}, got {counts}; for cameras "
            "started by hand run python -m mask_sup.sync"
        )
    check_steps(cameras)
    start = [late[name] if late else 0 for name in calibration.names]
    frames = min(len(paths) - first for paths, first in zip(files, start, strict=True))
    sizes = [read_mask(paths[0], may_be_empty=True).shape[1::-1] for paths in files]
    _refuse_turned(calibration, folder, sizes)
    scaled = calibration.fitted_to(sizes)
    scaled.tell()
    K, maps = scaled.K.copy(), []
    for view, (width, height) in enumerate(sizes):
        scale = min(1.0, SIDE / max(width, height))
        K[view, :2] *= scale
        small = (round(width * scale), round(height * scale))
        given, wanted = _opencv(scaled.K[view]), _opencv(K[view])
        parts = (scaled.distortion[view], None, wanted, small, cv2.CV_32FC1)
        maps.append(cv2.initUndistortRectifyMap(given, *parts))

    def mask(view: int, frame: int) -> np.ndarray:
        path = files[view][start[view] + frame]
        full = fitted(read_mask(path, may_be_empty=True), sizes[view], path)
        # What is white or inverted stays so in the corners that an ideal lens adds.
        beyond = 255 if degenerate(full > 127) in ("white", "inverted") else 0
        edge = {"borderMode": cv2.BORDER_CONSTANT, "borderValue": beyond}
        return cv2.remap(full, *maps[view], cv2.INTER_LINEAR, **edge) > 127

    numbers = [list(numbered(paths)) for paths in files]
    touching = [frozenset(touching_in(folder, name)) for name in scaled.names]

    def number(view: int, frame: int) -> int:
        return numbers[view][start[view] + frame]

    def guessed(view: int, frame: int) -> bool:
        return number(view, frame) in touching[view]

    return Rig(scaled.names, K, scaled.R, scaled.t, frames, mask, number, guessed)


def _refuse_turned(
    calibration: Calibration, folder: Path, sizes: Sequence[tuple[int, int]]
) -> None:
    """Refuse masks that lie on their side where the calibration stands, or the other way round."""
    for name, size, told in zip(calibration.names, sizes, calibration.sizes, strict=True):
        if np.isnan(told).any():
            continue
        width, height = (int(side) for side in told)
        if (wrong := misfit(size, (width, height))).startswith("turned"):
            raise CalibrationError(
                f"the masks of {name!r} in {folder} are {size[0]}x{size[1]} but the camera is "
                f"calibrated for {width}x{height}: one of the two is {wrong}; make the masks "
                "from pictures as players show them, or calibrate with turned ones"
            )


def _opencv(K: np.ndarray) -> np.ndarray:
    """K for pixels counted from the middle of the first one, from K for its corner."""
    return np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1.0]]) @ K


def _joints(path: Path, calibration: Calibration, rig: Rig) -> Float[np.ndarray, "m v j 2"]:
    """Detected joints of poses.npz in the pixels of the rig, without lens distortion."""
    _, arrays = read_poses(path)
    xy, sizes = arrays["joints_px"].astype(float), arrays["picture_size_px"][0]
    if xy.shape[1] != len(rig.names):
        raise ValueError(
            f"{path} has {xy.shape[1]} view(s), the calibration the cameras {list(rig.names)}: "
            "predict the recording of this calibration"
        )
    scaled = calibration.fitted_to(sizes)
    for view in range(len(rig.names)):
        flat = xy[:, view].reshape(-1, 1, 2)
        found = cv2.undistortPoints(
            flat, scaled.K[view], scaled.distortion[view], None, rig.K[view]
        )
        xy[:, view] = found.reshape(xy[:, view].shape)
    return xy
