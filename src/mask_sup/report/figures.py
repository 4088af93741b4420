"""The numbers of a report: per joint, camera, bone and moment, and what they warn of.

Missing joints are NaN and are left out of every mean; a mean over nothing is NaN.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mask_sup.figure.skeleton import Skeleton
from mask_sup.files.left_out import left_out_in_words
from mask_sup.files.poses import moment_in_words, verdict_in_words
from mask_sup.geometry.size import scale_in_words
from mask_sup.report.predictions import Predictions

__all__ = [
    "BoneFigures",
    "CameraFigures",
    "JointFigures",
    "bone_figures",
    "bone_lengths",
    "bone_spread",
    "camera_figures",
    "error_over_time",
    "exchanged_frames",
    "joint_figures",
    "least_sure",
    "mean_known",
    "moment_told",
    "side_difference",
    "warnings_in_words",
]

SUSPICIOUS_CAMERA = 2.0  # times the others' reprojection error
RARELY_FOUND = 0.9  # share of frames
VARYING_BONE = 0.15  # standard deviation over mean length
UNEQUAL_SIDES = 0.15  # of the mean length of the two
EXCHANGED = 0.5  # distance to the frame before, with sides exchanged over as named


class JointFigures(NamedTuple):
    """One joint over all frames and views."""

    name: str
    error_px: float  # mean reprojection error; NaN without triangulation
    found: float  # share of the frames and views that show somebody with a position
    confidence: float  # mean; NaN where the file has none


class CameraFigures(NamedTuple):
    """One camera over all frames and joints."""

    name: str
    error_px: float  # mean reprojection error; NaN without triangulation
    high_px: float  # the error that 95 % stay below
    person_px: float  # median of the larger side of the box around the person's joints
    worst_joint: str  # with the largest mean error; empty without triangulation
    unexplained: float = np.nan  # mean share of its masks; NaN where not known


class BoneFigures(NamedTuple):
    """The lengths over all frames of a bone, or of a right and a left bone."""

    name: str
    mean_mm: dict[str, float]  # by side: right and left, or middle
    deviation_mm: dict[str, float]  # standard deviation, by side


def mean_known(values: np.ndarray, axis: int | tuple[int, ...] | None = None) -> np.ndarray:
    """The mean of what is not NaN, NaN where there is nothing.

    >>> mean_known(np.array([[1.0, np.nan, 3.0], [np.nan] * 3]), axis=1).tolist()
    [2.0, nan]
    """
    known = np.isfinite(values)
    count = known.sum(axis)
    total = np.where(known, values, 0.0).sum(axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def joint_figures(poses: Predictions) -> list[JointFigures]:
    """A row per joint, in the order of the skeleton."""
    unknown = np.full(len(poses.skeleton.joints), np.nan)
    error = unknown if poses.error_px is None else mean_known(poses.error_px, (0, 1))
    confidence = unknown if poses.confidence is None else mean_known(poses.confidence, 0)
    known = np.isfinite(poses.joints_px).all(-1)
    found = known[known.any(-1)].mean(0)
    rows = zip(poses.skeleton.joints, error, found, confidence, strict=True)
    return [JointFigures(name, float(e), float(f), float(c)) for name, e, f, c in rows]


def camera_figures(poses: Predictions) -> list[CameraFigures]:
    """A row per view."""
    rows = []
    for k, name in enumerate(poses.cameras):
        person = _person_px(poses.joints_px[:, k])
        masks = poses.unexplained_view
        unexplained = np.nan if masks is None else float(mean_known(masks[:, k]))
        error = None if poses.error_px is None else poses.error_px[:, k]
        if error is None or not np.isfinite(error).any():
            rows.append(CameraFigures(name, np.nan, np.nan, person, "", unexplained))
            continue
        worst = poses.skeleton.joints[int(np.nanargmax(mean_known(error, 0)))]
        high = float(np.nanpercentile(error, 95))
        mean = float(mean_known(error))
        rows.append(CameraFigures(name, mean, high, person, worst, unexplained))
    return rows


def _person_px(xy_px: Float[np.ndarray, "n j 2"]) -> float:
    low = np.where(np.isfinite(xy_px), xy_px, np.inf).min(1)
    high = np.where(np.isfinite(xy_px), xy_px, -np.inf).max(1)
    sides = (high - low).max(-1)
    sides = sides[np.isfinite(sides)]
    return float(np.median(sides)) if len(sides) else np.nan


def error_over_time(poses: Predictions) -> Float[np.ndarray, "n v"] | None:
    """How badly each frame and view is met; None where nothing tells.

    Percent of the masks that the body leaves unexplained where that is known; else the mean
    reprojection error, pixels.
    """
    if poses.unexplained_view is not None:
        return 100 * poses.unexplained_view
    return None if poses.error_px is None else mean_known(poses.error_px, -1)


def moment_told(poses: Predictions, frame: int) -> str:
    """What is known of how far a frame can be trusted, in words."""
    sure = f"confidence {float(mean_known(poses.confidence[frame])):.2f}"
    if poses.unexplained_view is None or not np.isfinite(poses.unexplained[frame]):
        return sure
    limbs = poses.header["limbs"]
    return f"{sure}, {moment_in_words(poses._asdict(), frame, poses.cameras, limbs)}"


def least_sure(poses: Predictions, count: int) -> list[int]:
    """Frames whose joints are trusted least, the worst first, spread over the recording."""
    if poses.confidence is None:
        return []
    sure, found = mean_known(poses.confidence, -1), []
    near = len(sure) // (2 * count)
    for frame in np.argsort(sure):
        if all(abs(frame - other) > near for other in found) and len(found) < count:
            found.append(int(frame))
    return found


def bone_lengths(
    points_mm: Float[np.ndarray, "n j 3"], skeleton: Skeleton
) -> Float[np.ndarray, "n b"]:
    """Length of every bone of the tree in every frame, in the order of `skeleton.tree`."""
    parents, children = np.array(skeleton.tree).T
    return np.linalg.norm(points_mm[:, children] - points_mm[:, parents], axis=-1)


def bone_figures(points_mm: Float[np.ndarray, "n j 3"], skeleton: Skeleton) -> list[BoneFigures]:
    """Mean length and deviation of every bone, right and left in one row; mm."""
    rows: dict[str, BoneFigures] = {}
    for (parent, child), length in zip(
        skeleton.tree, bone_lengths(points_mm, skeleton).T, strict=True
    ):
        side, end = _side(skeleton.joints[child])
        name = f"{_side(skeleton.joints[parent])[1]} to {end}".replace("_", " ")
        row = rows.setdefault(name, BoneFigures(name, {}, {}))
        mean = mean_known(length)
        row.mean_mm[side] = float(mean)
        row.deviation_mm[side] = float(np.sqrt(mean_known(np.square(length - mean))))
    return list(rows.values())


def side_difference(row: BoneFigures) -> float:
    """Right minus left over their mean; NaN for a bone of one side or the middle."""
    right, left = (row.mean_mm.get(side, np.nan) for side in ("right", "left"))
    return 2 * (right - left) / max(right + left, 1e-9)


def bone_spread(rows: list[BoneFigures]) -> float:
    """Median over bones of standard deviation over mean length."""
    shares = [
        row.deviation_mm[side] / max(mean, 1e-9)
        for row in rows
        for side, mean in row.mean_mm.items()
        if np.isfinite(mean)
    ]
    return float(np.median(shares)) if shares else np.nan


def _side(joint: str) -> tuple[str, str]:
    """The side of a joint, and its name without it."""
    for side in ("right", "left"):
        if joint.startswith(f"{side}_"):
            return side, joint.removeprefix(f"{side}_")
    return "middle", joint


def exchanged_frames(points_mm: Float[np.ndarray, "n j 3"], skeleton: Skeleton) -> list[int]:
    """Frames in which left and right have changed places since the frame before.

    There the pose is much nearer to the one before once its sides are exchanged.
    """
    paired = np.array(skeleton.flip) != np.arange(len(skeleton.joints))
    if not paired.any() or len(points_mm) < 2:
        return []
    before, now = points_mm[:-1], points_mm[1:]
    named = mean_known(np.linalg.norm(now - before, axis=-1)[:, paired], -1)
    swapped = np.linalg.norm(now[:, skeleton.flip] - before, axis=-1)
    swapped = mean_known(swapped[:, paired], -1)
    return [int(frame) + 1 for frame in np.nonzero(swapped < EXCHANGED * named)[0]]


def warnings_in_words(poses: Predictions) -> list[str]:
    """What a reader should know before trusting the poses; empty where nothing stands out."""
    told = []
    if poses.joints_world_mm is None:
        told.append(
            "There is no pose in the world: depth comes from single pictures and the scale from "
            "the height given for the person. Angles are more reliable than lengths."
        )
    shown = np.isfinite(poses.joints_px).any((-1, -2))
    needed = 1 if poses.joints_world_mm is None else 2
    told += [line.removeprefix("! ") for line in left_out_in_words(shown, poses.cameras, needed)]
    if poses.unexplained_view is None:  # else the masks tell more than views that agree
        told += _camera_warnings(camera_figures(poses))
    else:
        lines = verdict_in_words(poses._asdict(), poses.cameras, poses.header["limbs"])[1:]
        told += [f"{line[0].upper()}{line[1:]}." for line in lines]
    if poses.size_mm is not None and (words := scale_in_words(poses.size_mm)):
        told.append(f"{words[0].upper()}{words[1:]}.")
    missing = [
        f"{row.name.replace('_', ' ')} ({100 * (1 - row.found):.0f} %)"
        for row in joint_figures(poses)
        if row.found < RARELY_FOUND
    ]
    if missing:
        told.append(f"Joints that are missing in many pictures: {', '.join(missing)}.")
    told += _bone_warnings(bone_figures(poses.points_mm, poses.skeleton))
    if exchanged := exchanged_frames(poses.points_mm, poses.skeleton):
        frames = ", ".join(map(str, exchanged[:8])) + (" and more" if len(exchanged) > 8 else "")
        told.append(
            f"Left and right change places at frame {frames}: check which side is which there."
        )
    return told


def _camera_warnings(rows: list[CameraFigures]) -> list[str]:
    """Cameras that disagree with the others; of two, nothing tells which one is wrong."""
    told = []
    for row in rows if len(rows) > 2 else []:
        others = float(mean_known(np.array([other.error_px for other in rows if other is not row])))
        if row.error_px > SUSPICIOUS_CAMERA * others:
            told.append(
                f"Camera {row.name} is off by {row.error_px:.1f} px, {row.error_px / others:.1f} "
                f"times the others' {others:.1f} px: suspect its calibration, its "
                "synchronisation, or what is detected in it."
            )
    return told


def _bone_warnings(rows: list[BoneFigures]) -> list[str]:
    told = []
    varying = [
        f"{row.name if side == 'middle' else f'{side} {row.name}'} ({100 * share:.0f} %)"
        for row in rows
        for side, mean in row.mean_mm.items()
        if (share := row.deviation_mm[side] / max(mean, 1e-9)) > VARYING_BONE
    ]
    if varying:
        told.append(
            f"Bones do not stretch, but the length of these varies: {', '.join(varying)}. "
            "The joints at their ends are uncertain."
        )
    unequal = [
        f"{row.name} ({'right' if gap > 0 else 'left'} longer by {100 * abs(gap):.0f} %)"
        for row in rows
        if abs(gap := side_difference(row)) > UNEQUAL_SIDES
    ]
    if unequal:
        told.append(f"Right and left differ in length: {', '.join(unequal)}.")
    return told
