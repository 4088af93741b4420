"""Human3.6M: the official release, h36m-fetch's output, and the layout of X-as-Supervision.

Official (as unpacked from the site, or by h36m-fetch under `extracted/`):
    metadata.xml
    S1/Videos/Directions 1.54138969.mp4
    S1/MyPoseFeatures/D3_Positions/Directions 1.cdf     or S1/Poses_D3_Positions/
    S1/MySegmentsMat/ground_truth_bs/Directions 1.54138969.mat     or .mp4
h36m-fetch (needs metadata.xml and the official masks as well):
    processed/S1/Directions-1/imageSequence/54138969/img_000001.jpg
    processed/S1/Directions-1/annot.h5
X-as-Supervision:
    images/s_01_act_02_subact_01_ca_01/s_01_act_02_subact_01_ca_01_000001.jpg
    annot/s_01_act_02_subact_01_ca_01/matlab_meta.txt
    sam_masks/hm36/s_01_act_02_subact_01_ca_01/s_01_act_02_subact_01_ca_01_000001.png
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from mask_sup.calibration.cameras import CalibrationError
from mask_sup.calibration.entries import Entry, parse_xml, pinhole, read_text
from mask_sup.calibration.human36m import SIZES
from mask_sup.calibration.human36m import read as read_cameras
from mask_sup.prepare.frames import Frames, MatMasks, Pictures, VideoFrames, numbered, opened
from mask_sup.prepare.protocol import Protocol
from mask_sup.prepare.release import (
    Clip,
    Release,
    common_count,
    names_in,
    refuse_holes,
    refuse_missing,
)

__all__ = ["JOINTS", "KNOWN_BAD", "find_clips", "human18"]

CAMERAS = tuple(SIZES)
# Of the release's 32 joints: human18 without the thorax, which is the middle of the shoulders.
JOINTS = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
SHOULDERS = (17, 25)
ACTIONS = {
    2: "Directions", 3: "Discussion", 4: "Eating", 5: "Greeting", 6: "Phoning", 7: "Posing",
    8: "Purchases", 9: "Sitting", 10: "SittingDown", 11: "Smoking", 12: "TakingPhoto",
    13: "Waiting", 14: "Walking", 15: "WalkingDog", 16: "WalkingTogether",
}  # fmt: skip
ALL = 1  # the action that joins all others
KNOWN_BAD = {("S11", "Directions"): "the video of camera 54138969 is damaged"}
SAM = "SAM, prompted with labelled joints: not free of annotations"
GIVEN = "ground_truth_bs (background subtraction, no labels)"


def human18(joints: np.ndarray) -> np.ndarray:
    """(..., 18, 3) from the release's (..., 32, 3).

    Source: joint numbers of SPIN's and mmpose's readers of Human3.6M.
    """
    thorax = joints[..., SHOULDERS, :].mean(-2, keepdims=True)
    return np.concatenate([joints[..., JOINTS, :], thorax], axis=-2)


def find_clips(root: Path, protocol: Protocol, masks: Path | None = None) -> Release:
    """The sequences that a protocol asks for, in whichever layout they are.

    Args:
        root: Folder of the release.
        protocol: Which subjects, actions and frames.
        masks: Folder with the masks, `S1/...` as in the official layout; None: with the release.

    Raises:
        FileNotFoundError: If no layout is recognised, or a file that should be there is missing;
            with all that are missing.
        ValueError: If a file is damaged or of another release.
    """
    if (root / "images").is_dir() and (root / "annot").is_dir():
        return _authors(root, protocol, masks)
    if (root / "processed").is_dir():
        return _fetched(root, protocol, masks)
    for folder in (root, root / "extracted"):
        if any(folder.glob("S*/Videos")):
            return _official(folder, root, protocol, masks)
    raise FileNotFoundError(
        f"no Human3.6M in {root}: expected S1/Videos/... (official), processed/S1/... (h36m-fetch) "
        f"or images/s_01_act_02_... (X-as-Supervision), found {names_in(root)}"
    )


# ---- official ------------------------------------------------------------------------------------


def _official(folder: Path, root: Path, protocol: Protocol, masks: Path | None) -> Release:
    metadata = _metadata(root, folder)
    clips, skipped, notes, missing = [], {}, [], []
    for subject, action, sub, prefix in _mapping(metadata, protocol):
        name = f"{subject}/{action}.{sub}"
        if why := _excluded(name, subject, prefix, protocol):
            skipped[name] = why
            continue
        home = folder / subject
        pictures = tuple(VideoFrames(home / "Videos" / f"{prefix}.{c}.mp4") for c in CAMERAS)
        places = (home / "MyPoseFeatures" / "D3_Positions", home / "Poses_D3_Positions")
        poses = next((p for p in places if p.is_dir()), places[0]) / f"{prefix}.cdf"
        found = [_mask(masks / subject if masks else home, prefix, c) for c in CAMERAS]
        gone = [p.path for p in (*pictures, *found) if not p.path.is_file()]
        if gone or not poses.is_file():
            missing += gone if poses.is_file() else [*gone, poses]
            continue
        joints = human18(_positions(poses))
        count = common_count(name, len(joints), (*pictures, *found), notes)
        cameras = _cameras(metadata, subject)
        clips.append(_clip(name, action, protocol, count, cameras, pictures, tuple(found), joints))
    refuse_missing(missing, root)
    return Release(clips, "official", _kind(clips), skipped, notes)


def _metadata(*folders: Path) -> Path:
    for folder in folders:
        if (folder / "metadata.xml").is_file():
            return folder / "metadata.xml"
    raise FileNotFoundError(
        f"no metadata.xml in {folders[0]}: it holds the cameras and comes with the release's code "
        "(Release-v1.2/H36M/metadata.xml, also in h36m-fetch); copy it there"
    )


@cache
def _cameras(metadata: Path, subject: str) -> list[Entry]:
    """The cameras as they stood for a subject; the file is read once for all its sequences."""
    return read_cameras(metadata, int(subject[1:]))[0]


def _mapping(metadata: Path, protocol: Protocol) -> Iterator[tuple[str, str, int, str]]:
    """Subject, action, sub-action and file prefix of each sequence that is asked for."""
    tree = parse_xml(read_text(metadata))
    rows = [[cell.text or "" for cell in row.findall("td")] for row in tree.findall("mapping/tr")]
    if len(rows) < 2 or len(rows[0]) < 3:
        raise CalibrationError(f"{metadata} has no mapping of actions to files: not Human3.6M's")
    subjects = rows[0][2:]
    for action, sub, *prefixes in rows[1:]:
        number = int(action)
        if number == ALL or number not in ACTIONS:
            continue
        for subject, prefix in zip(subjects, prefixes, strict=False):
            if prefix and protocol.wants(subject, ACTIONS[number]):
                yield subject, ACTIONS[number], int(sub), prefix


def _mask(home: Path, prefix: str, camera: str) -> MatMasks | VideoFrames:
    """The background subtraction's masks; the exact .mat before the compressed .mp4."""
    folder = home / "MySegmentsMat" / "ground_truth_bs"
    folder = folder if folder.is_dir() else home / "ground_truth_bs"
    video = folder / f"{prefix}.{camera}.mp4"
    if video.is_file() and not video.with_suffix(".mat").is_file():
        return VideoFrames(video, channel=0, blur=5)
    return MatMasks(folder / f"{prefix}.{camera}.mat")


def _kind(clips: Sequence[Clip]) -> str:
    videos = any(isinstance(mask, VideoFrames) for clip in clips for mask in clip.masks)
    return GIVEN + (", some from compressed video" if videos else "")


def _positions(path: Path) -> np.ndarray:
    """(n, 32, 3) mm of a D3_Positions file.

    Raises:
        ValueError: If it is cut off or of another kind.
    """
    import cdflib

    try:
        pose = np.asarray(cdflib.CDF(str(path)).varget("Pose"), float)
    except Exception as error:  # cdflib raises whatever its bytes lead to
        raise ValueError(
            f"{path} cannot be read as CDF ({error}): copy it again from the release"
        ) from error
    if pose.ndim != 3 or pose.shape[0] != 1 or pose.shape[2] != 96:
        raise ValueError(
            f"{path}: Pose has the shape {pose.shape}, expected (1, frames, 96): is it "
            "D3_Positions (32 joints in the world)?"
        )
    return pose[0].reshape(-1, 32, 3)


# ---- h36m-fetch ----------------------------------------------------------------------------------


def _fetched(root: Path, protocol: Protocol, masks: Path | None) -> Release:
    metadata = _metadata(root, root / "processed")
    clips, skipped, notes, missing = [], {}, [], []
    for subject, action, sub, prefix in _mapping(metadata, protocol):
        name = f"{subject}/{action}.{sub}"
        folder = root / "processed" / subject / f"{action}-{sub}"
        if why := _excluded(name, subject, prefix, protocol):
            skipped[name] = why
            continue
        home = masks / subject if masks else root / "extracted" / subject
        found = tuple(_mask(home, prefix, c) for c in CAMERAS)
        gone = [p.path for p in found if not p.path.is_file()]
        gone += [folder / "annot.h5"] * (not (folder / "annot.h5").is_file())
        if gone:
            missing += gone
            continue
        pictures = tuple(_pictures(folder / "imageSequence" / c) for c in CAMERAS)
        cameras = _cameras(metadata, subject)
        joints = _annotated(folder / "annot.h5", cameras[0], pictures[0].count())
        clip = _clip(name, action, protocol, len(joints), cameras, pictures, found, human18(joints))
        held = set.intersection(*(set(p.numbers or ()) for p in pictures))
        held &= set(range(min(mask.count() or 0 for mask in found)))
        frames = {s: tuple(n for n in chosen if n in held) for s, chosen in clip.frames.items()}
        clips.append(clip._replace(frames=frames))
    refuse_missing(missing, root)
    if clips and not any(chosen for clip in clips for chosen in clip.frames.values()):
        raise ValueError(
            f"{root}: none of the frames that the protocol {protocol.name} asks for were kept by "
            "h36m-fetch (every 64th of S9 and S11): let it keep more, or choose another protocol"
        )
    return Release(clips, "h36m-fetch", _kind(clips), skipped, notes)


def _pictures(folder: Path) -> Pictures:
    """Pictures whose names count from 1."""
    found = numbered(folder, "*.jpg", 1)
    if not found.paths:
        raise FileNotFoundError(f"no pictures in {folder}: expected img_000001.jpg and so on")
    return found


def _annotated(path: Path, camera: Entry, count: int) -> np.ndarray:
    """(count, 32, 3) world joints of annot.h5; NaN where it has none."""
    with opened(path) as file:
        keys = ("pose/3d", "frame", "camera")
        if lacking := [key for key in keys if key not in file]:
            raise ValueError(f"{path} lacks {lacking}: not written by h36m-fetch")
        pose, frame, seen_by = (np.asarray(file[key]) for key in keys)
    own = seen_by == int(camera.name)
    joints = np.full((max(count, int(frame[own].max())), 32, 3), np.nan)
    # In the axes of the camera; x_cam = R x_world + t.
    joints[frame[own] - 1] = (pose[own].reshape(-1, 32, 3) - camera.t) @ camera.R
    return joints


# ---- X-as-Supervision ----------------------------------------------------------------------------


def _authors(root: Path, protocol: Protocol, masks: Path | None) -> Release:
    clips, skipped, missing = [], {}, []
    folders = sorted((root / "images").glob("s_*_ca_01"))
    for folder in folders:
        parts = re.fullmatch(r"s_(\d+)_act_(\d+)_subact_(\d+)_ca_01", folder.name)
        if parts is None:
            continue
        subject, action = f"S{int(parts[1])}", ACTIONS.get(int(parts[2]))
        if action is None or not protocol.wants(subject, action):
            continue
        name = f"{subject}/{action}.{int(parts[3])}"
        if why := _excluded(name, subject, "", protocol):
            skipped[name] = why
            continue
        names = [folder.name[:-1] + str(camera) for camera in (1, 2, 3, 4)]
        metas = [root / "annot" / n / "matlab_meta.txt" for n in names]
        segments = [(masks or root / "sam_masks" / "hm36") / n for n in names]
        gone = [p for p in metas if not p.is_file()]
        gone += [p for p in (*segments, *(root / "images" / n for n in names)) if not p.is_dir()]
        if gone:
            missing += gone
            continue
        read = [_meta(path, camera) for path, camera in zip(metas, CAMERAS, strict=True)]
        joints = human18(read[0][1])
        pictures = tuple(_pictures(root / "images" / n) for n in names)
        found = tuple(numbered(s, "*.png", 1, mask=True) for s in segments)
        clip = _clip(
            name, action, protocol, len(joints), [r[0] for r in read], pictures, found, joints
        )
        for source in (*pictures, *found):
            refuse_holes(name, source, clip.frames)
        clips.append(clip)
    refuse_missing(missing, root)
    return Release(clips, "X-as-Supervision", "given" if masks else SAM, skipped, [])


def _meta(path: Path, camera: str) -> tuple[Entry, np.ndarray]:
    """One camera and its (n, 32, 3) world joints, mm, from matlab_meta.txt."""
    lines = [line.split() for line in path.read_text().splitlines() if line.strip()]
    try:
        count = int(float(lines[0][0]))
        width, height = (float(x) for x in lines[1][-2:])
        rotation, centre, focal, middle, k, p = (
            np.array([float(x) for x in line if _is_number(x)]) for line in lines[2:8]
        )
        joints = np.array([[float(x) for x in line[-96:]] for line in lines[9 : 9 + count]])
        joints = joints.reshape(count, 32, 3)
        R = rotation.reshape(3, 3).T
        lens = np.array([k[0], k[1], p[0], p[1], k[2]])
        K = pinhole(focal[0], focal[1], middle[0], middle[1])
    except (IndexError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged ({error}): expected the number of frames, size, rotation, centre, "
            "focal length, principal point, k, p, joints, then 96 numbers a frame"
        ) from error
    return Entry(camera, K, R, -R @ centre, lens, (width, height)), joints


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# ---- all layouts ---------------------------------------------------------------------------------


def _excluded(name: str, subject: str, prefix: str, protocol: Protocol) -> str | None:
    """Why a sequence is left out."""
    return KNOWN_BAD.get((subject, prefix)) or protocol.exclude.get(name)


def _clip(
    name: str,
    action: str,
    protocol: Protocol,
    count: int,
    cameras: Sequence[Entry],
    pictures: tuple[Frames, ...],
    masks: tuple[Frames, ...],
    joints: np.ndarray,
) -> Clip:
    chosen = [
        i for i, c in enumerate(cameras) if protocol.cameras is None or c.name in protocol.cameras
    ]
    subject, sequence = name.split("/")
    parts: Mapping[str, np.ndarray] = {
        key: np.stack([getattr(cameras[i], key) for i in chosen])
        for key in ("K", "R", "t", "distortion")
    }
    return Clip(
        name,
        action,
        protocol.frames(subject, sequence, count),
        tuple(cameras[i].name for i in chosen),
        **parts,
        pictures=tuple(pictures[i] for i in chosen),
        masks=tuple(masks[i] for i in chosen),
        joints_world=joints,
    )
