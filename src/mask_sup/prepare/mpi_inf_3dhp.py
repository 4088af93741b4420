"""MPI-INF-3DHP: videos of the training set, pictures of the test set.

Training set, and where the person is in it, from the green screen:
    S1/Seq1/annot.mat
    S1/Seq1/camera.calibration
    S1/Seq1/imageSequence/video_0.avi
    S1/Seq1/FGmasks/video_0.avi        red: the person
    S1/Seq1/ChairMasks/video_0.avi     red: dark where the chair is
Test set, which has no masks:
    mpi_inf_3dhp_test_set/TS1/annot_data.mat
    mpi_inf_3dhp_test_set/TS1/imageSequence/img_000001.jpg
A folder of masks of one's own, as `python -m mask_sup.masks` writes them; those of the test set may
also lie in masks/TS1, numbered like the pictures:
    masks/S1/Seq2/video_0/000000.png
    masks/TS1/imageSequence/000000.png     or masks/TS1/000001.png

Labels of the test set are those in millimetres (annot3), not those scaled to one height
(univ_annot3), so figures differ from papers that use the latter.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mask_sup.calibration.entries import Entry, pinhole
from mask_sup.calibration.mpi_inf_3dhp import read as read_cameras
from mask_sup.files.words import shell_command
from mask_sup.prepare.frames import Pictures, VideoFrames, numbered, opened
from mask_sup.prepare.protocol import Protocol
from mask_sup.prepare.release import (
    Clip,
    Release,
    common_count,
    names_in,
    refuse_holes,
    refuse_missing,
)

__all__ = ["JOINTS", "TEST_JOINTS", "find_clips", "human18", "human18_test"]

# Number of frames that have pictures, and how many a second (mpii_get_sequence_info.m).
SEQUENCES = {
    "S1/Seq1": (6416, 25), "S1/Seq2": (12430, 50), "S2/Seq1": (6502, 25), "S2/Seq2": (6081, 25),
    "S3/Seq1": (12488, 50), "S3/Seq2": (12283, 50), "S4/Seq1": (6171, 25), "S4/Seq2": (6675, 25),
    "S5/Seq1": (12820, 50), "S5/Seq2": (12312, 50), "S6/Seq1": (6188, 25), "S6/Seq2": (6145, 25),
    "S7/Seq1": (6239, 25), "S7/Seq2": (6320, 25), "S8/Seq1": (6468, 25), "S8/Seq2": (6054, 25),
}  # fmt: skip
TRAINING = tuple(f"S{i}" for i in range(1, 9))
RATE = 25  # frames a second that strides are meant at
CAMERAS = ("0", "2", "4", "7", "8")  # at the height of the chest
WITHOUT_MASKS = ("S1/Seq2", "S4/Seq2")
GREEN = "FGmasks (green screen, no labels), from compressed video"
# Of the training set's 28 joints: human18, with the middle of the head for the nose.
JOINTS = (4, 23, 24, 25, 18, 19, 20, 2, 5, 6, 7, 9, 10, 11, 14, 15, 16, 1)

TEST_SET = "mpi_inf_3dhp_test_set"
TEST = tuple(f"TS{i}" for i in range(1, 7))
ACTIONS = (  # of activity_annotation 1 to 7
    "Stand/Walk", "Exercise", "Sit on Chair", "Crouch/Reach", "On the Floor", "Sports",
    "Miscellaneous",
)  # fmt: skip
# Of the test set's 17 joints: human18 without the thorax, with the middle of the head for the nose.
TEST_JOINTS = (14, 8, 9, 10, 11, 12, 13, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4)

FAR_PX = 50  # between the two kinds of labels: no camera of theirs


def human18(joints: np.ndarray) -> np.ndarray:
    """(..., 18, 3) from the training set's (..., 28, 3)."""
    return joints[..., JOINTS, :]


def human18_test(joints: np.ndarray) -> np.ndarray:
    """(..., 18, 3) from the test set's (..., 17, 3); the thorax is NaN."""
    thorax = np.full_like(joints[..., :1, :], np.nan)
    return np.concatenate([joints[..., TEST_JOINTS, :], thorax], axis=-2)


def find_clips(root: Path, protocol: Protocol, masks: Path | None = None) -> Release:
    """The sequences that a protocol asks for.

    Args:
        root: Folder of the release.
        protocol: Which subjects (S1 to S8, TS1 to TS6), cameras and frames. Strides are meant at 25
            frames a second.
        masks: Folder of masks that are not in the release; where it has a sequence of the training
            set, its masks count before the release's.

    Raises:
        FileNotFoundError: If this is no such release, or a file that should be there is missing;
            with all that are missing.
        ValueError: If a file is damaged or of another sequence, or the protocol asks for what
            there is not.
    """
    asked = {subject for split in protocol.splits.values() for subject in split.subjects}
    if unknown := sorted(asked - {*TRAINING, *TEST}):
        raise ValueError(
            f"protocol {protocol.name} asks for {unknown}: MPI-INF-3DHP has S1 to S8 (training "
            "set) and TS1 to TS6 (test set)"
        )
    if asked & {*TRAINING} and asked & {*TEST} and len(protocol.cameras or CAMERAS) > 1:
        raise ValueError(
            f"protocol {protocol.name} asks for the training set in several cameras and the test "
            "set in its one: a store has one number of views. Prepare the test set into a folder "
            "of its own, by the protocol mpi_inf_3dhp_test"
        )
    if not any((root / name).is_dir() for name in (*TRAINING, TEST_SET)):
        raise FileNotFoundError(
            f"no MPI-INF-3DHP in {root}: expected S1/Seq1/... or {TEST_SET}/TS1/..., found "
            f"{names_in(root)}"
        )
    training, test = _training(root, protocol, masks), _test(root / TEST_SET, protocol, masks)
    return Release(
        training.clips + test.clips,
        "official",
        "; ".join(part.masks for part in (training, test) if part.clips),
        training.skipped | test.skipped,
        training.notes + test.notes,
    )


# ---- training set --------------------------------------------------------------------------------


class Files(NamedTuple):
    """What there is of a sequence in the cameras that are asked for."""

    pictures: tuple[VideoFrames, ...]
    masks: tuple[VideoFrames, ...] | tuple[Pictures, ...]
    chairs: tuple[VideoFrames, ...] | None  # None: the release has none of the sequence
    missing: list[Path]


def _training(root: Path, protocol: Protocol, masks: Path | None) -> Release:
    clips, skipped, notes, missing, given = [], {}, [], [], []
    for name in SEQUENCES:
        subject = name.split("/")[0]
        if not protocol.wants(subject, ""):
            continue
        own = masks / name if masks and (masks / name).is_dir() else None
        if why := protocol.exclude.get(name):
            skipped[name] = why
            continue
        if name in WITHOUT_MASKS and own is None:
            skipped[name] = (
                "the release has no masks of it; python -m mask_sup.masks makes some, give their "
                f"folder by --masks, with video_0 in {name}"
            )
            continue
        files = _files(root / name, own, protocol.cameras or CAMERAS)
        if files.missing:
            missing += files.missing
            continue
        if own:
            given.append(name)
        clips.append(_sequence(root / name, name, protocol, files, notes))
    refuse_missing(missing, root)
    told = GREEN + (f"; given for {', '.join(given)}" if given else "")
    return Release(clips, "official", told, skipped, notes)


def _files(home: Path, own: Path | None, cameras: Sequence[str]) -> Files:
    """The files of a sequence; masks from a folder of one's own, if it has the sequence."""

    def videos(folder: str, **options: Any) -> tuple[VideoFrames, ...]:
        return tuple(VideoFrames(home / folder / f"video_{c}.avi", **options) for c in cameras)

    pictures = videos("imageSequence")
    chairs = videos("ChairMasks", channel=0, blur=5, inverse=True)
    chairs = chairs if any(video.path.is_file() for video in chairs) else None
    needed = [home / "annot.mat", home / "camera.calibration"]
    needed += [video.path for video in (*pictures, *(chairs or ()))]
    if own is None:
        masks = videos("FGmasks", channel=0, blur=5)
        needed += [video.path for video in masks]
    else:
        folders = [own / f"video_{camera}" for camera in cameras]
        masks = tuple(numbered(folder, "*.png", 0, True) for folder in folders)
        needed += [folder for folder, mask in zip(folders, masks, strict=True) if not mask.paths]
    return Files(pictures, masks, chairs, [path for path in needed if not path.is_file()])


def _sequence(home: Path, name: str, protocol: Protocol, files: Files, notes: list[str]) -> Clip:
    """One sequence of the training set, all of whose files are there."""
    names, (length, rate) = protocol.cameras or CAMERAS, SEQUENCES[name]
    px, mm = _annotations(home / "annot.mat", names)
    cameras = _cameras(home / "camera.calibration", names)
    world = (mm - cameras[0].t) @ cameras[0].R  # x_cam = R x_world + t
    _refuse_other_cameras(home, cameras, px, world)
    sources = (*files.pictures, *files.masks, *(files.chairs or ()))
    # Labels may go on after the pictures' end: what holds all of the release's frames is whole.
    short = [source for source in sources if (source.count() or 0) < length]
    count = common_count(name, min(len(world), length), short, notes)
    if rate != RATE:
        notes.append(f"{name}: {rate} frames a second: strides are {rate // RATE} times as long")
    if files.chairs is None:
        notes.append(f"{name}: no ChairMasks, so moments behind the chair are kept")
    frames = _at_rate(protocol, rate).frames(*name.split("/"), count)
    for mask in files.masks:
        if isinstance(mask, Pictures):
            refuse_holes(name, mask, frames)
    return Clip(
        name,
        "",
        frames,
        tuple(names),
        K=np.stack([camera.K for camera in cameras]),
        R=np.stack([camera.R for camera in cameras]),
        t=np.stack([camera.t for camera in cameras]),
        distortion=np.stack([camera.distortion for camera in cameras]),
        pictures=files.pictures,
        masks=files.masks,
        joints_world=human18(world),
        occluders=files.chairs,
    )


def _annotations(path: Path, cameras: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Joints in pixels of each camera (v, n, 28, 2), and in the axes of the first one (n, 28, 3).

    Raises:
        ValueError: If the file is cut off or of another kind.
    """
    from scipy.io import loadmat

    try:
        found = loadmat(path, variable_names=["annot2", "annot3"])
        px = np.stack([found["annot2"][int(c)][0].reshape(-1, 28, 2) for c in cameras])
        mm = found["annot3"][int(cameras[0])][0].reshape(-1, 28, 3)
        return px.astype(float), mm.astype(float)
    except Exception as error:  # scipy raises whatever its bytes lead to
        raise ValueError(
            f"{path} cannot be read ({type(error).__name__}: {error}): expected annot2 and annot3 "
            f"of 28 joints in the cameras {list(cameras)}; copy it again from the release"
        ) from error


def _cameras(path: Path, names: Sequence[str]) -> list[Entry]:
    """The cameras by the numbers of their videos, which is their order in the file."""
    try:
        entries = read_cameras(path)[0]
        return [entries[int(name)] for name in names]
    except (ValueError, KeyError, IndexError) as error:
        raise ValueError(
            f"{path} does not tell the cameras {list(names)} ({error}): expected 14 cameras of "
            "seven lines each; copy it again from the release"
        ) from error


def _refuse_other_cameras(
    home: Path, cameras: Sequence[Entry], px: np.ndarray, world: np.ndarray
) -> None:
    """Raise ValueError if world joints are projected far from the labels in pixels."""
    for camera, labels in zip(cameras, px, strict=True):
        seen = (world @ camera.R.T + camera.t) @ camera.K.T
        off = np.median(np.linalg.norm(seen[..., :2] / seen[..., 2:] - labels, axis=-1))
        if not off < FAR_PX:
            raise ValueError(
                f"{home}: by camera.calibration, the joints of annot.mat lie {off:.0f} pixels from "
                f"where annot.mat has them in camera {camera.name}: files of two sequences, copy "
                "both again from the release"
            )


def _at_rate(protocol: Protocol, rate: int) -> Protocol:
    """The protocol with the strides of so many frames a second."""
    splits = {
        name: replace(split, stride=split.stride * rate // RATE)
        for name, split in protocol.splits.items()
    }
    return replace(protocol, splits=splits)


# ---- test set ------------------------------------------------------------------------------------


def _test(root: Path, protocol: Protocol, masks: Path | None) -> Release:
    clips, skipped, notes = [], {}, []
    for subject in TEST:
        actions = [action for action in ACTIONS if protocol.wants(subject, action)]
        if not actions:
            continue
        home = root / subject
        px, mm, valid, activity = _labels(home / "annot_data.mat")
        K, off = _intrinsics(home, px[valid], mm[valid])
        notes.append(
            f"{subject}: K by least squares from {valid.sum()} labelled frames, {off:.2f} pixels "
            f"off in the middle; {(~valid).sum()} frames are not valid and left out"
        )
        pictures = numbered(home / "imageSequence", "*.jpg", 1)
        if not pictures.paths:
            raise FileNotFoundError(f"no pictures in {home / 'imageSequence'}: unpack them again")
        found = _test_masks(home / "imageSequence", masks, subject)
        for action in actions:
            sequence = action.replace("/", "-").replace(" ", "-")
            name = f"{subject}/{sequence}"
            held = np.flatnonzero(valid & (activity == 1 + ACTIONS.index(action)))
            if why := protocol.exclude.get(name):
                skipped[name] = why
            elif len(held):
                chosen = protocol.frames(subject, sequence, len(held))
                frames = {split: tuple(held[list(c)].tolist()) for split, c in chosen.items()}
                refuse_holes(name, pictures, frames)
                refuse_holes(name, found, frames)
                clips.append(
                    Clip(
                        name,
                        action,
                        frames,
                        ("0",),
                        K=K[None],
                        R=np.eye(3)[None],
                        t=np.zeros((1, 3)),
                        distortion=np.zeros((1, 5)),
                        pictures=(pictures,),
                        masks=(found,),
                        joints_world=human18_test(mm),
                    )
                )
    return Release(clips, "official", f"given in {masks}", skipped, notes)


def _labels(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Joints in pixels (n, 17, 2) and in mm in camera axes (n, 17, 3), valid and activity (n,).

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If it is cut off or of another kind.
    """
    with opened(path) as file:
        keys = ("annot2", "annot3", "valid_frame", "activity_annotation")
        if lacking := [key for key in keys if key not in file]:
            raise ValueError(f"{path} lacks {lacking}: not annot_data.mat of {TEST_SET}")
        px, mm, valid, activity = (np.asarray(file[key], float) for key in keys)
    count, joints = valid.size, []
    for key, values, axes in (("annot2", px, 2), ("annot3", mm, 3)):
        if values.shape == (axes, 17, 1, count):  # MATLAB's order of axes
            values = values.T
        if values.shape != (count, 1, 17, axes) or activity.size != count:
            raise ValueError(
                f"{path}: {key} has the shape {values.shape}, expected ({count}, 1, 17, {axes}) "
                f"and {count} activities as there are frames in valid_frame, got {activity.size}"
            )
        joints.append(values[:, 0])
    if not valid.any():
        raise ValueError(f"{path}: no frame is valid; copy it again from the release")
    return joints[0], joints[1], valid.ravel() > 0, activity.ravel().astype(int)


def _intrinsics(home: Path, px: np.ndarray, mm: np.ndarray) -> tuple[np.ndarray, float]:
    """K of an ideal lens by least squares, and the median distance from it, pixels.

    Raises:
        ValueError: If the labels are no projection of each other.
    """
    rays = mm[..., :2] / mm[..., 2:]
    (fx, cx), (fy, cy) = (np.polyfit(rays[..., i].ravel(), px[..., i].ravel(), 1) for i in (0, 1))
    off = float(np.median(np.linalg.norm(rays * [fx, fy] + [cx, cy] - px, axis=-1)))
    if not off < FAR_PX:
        raise ValueError(
            f"{home / 'annot_data.mat'}: annot3 is {off:.0f} pixels from annot2 by any lens: "
            "expected millimetres in camera axes; copy it again from the release"
        )
    return pinhole(fx, fy, cx, cy), off


def _test_masks(pictures: Path, masks: Path | None, subject: str) -> Pictures:
    """Masks numbered like the pictures, as they are made here, or from 0."""
    folder = (masks or Path("masks")) / subject
    inside = folder / pictures.name
    for place in (inside, folder) if masks else ():
        found = numbered(place, "*.png", 0, True)
        if found.numbers:
            return numbered(place, "*.png", 1, True) if found.numbers[0] else found
    raise FileNotFoundError(
        f"no masks of {subject}: the test set has none. Expected {inside}/img_000001.png ..., "
        f"made by\n  {shell_command('masks', input=pictures, output=folder)}\nor "
        f"{folder}/000001.png, numbered like the pictures; then give --masks {folder.parent}"
    )
