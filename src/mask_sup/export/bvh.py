"""BVH: a skeleton with bones of constant length and the rotations of its joints, for animation."""

import warnings
from pathlib import Path

import numpy as np

from mask_sup.export.bones import Figure, fit_figure
from mask_sup.export.clip import Clip, known_fps

__all__ = ["write_bvh"]

CM_PER_MM = 0.1
ORDER = "ZXY"
DECIMALS = 6  # of degrees and centimetres
TIP = 0.25  # of the last bone's length: how far it goes on beyond the last joint


def write_bvh(clip: Clip, path: Path) -> None:
    """The fitted figure (`mask_sup.export.bones`) in centimetres, y up; no joint is left out.

    The root has a position and a rotation, every other joint a rotation, in the order Z, X, Y. The
    last joint of a limb does not turn; an `End Site` beyond it shows its direction. Unknown joints
    hold their last pose.

    Raises:
        ValueError: If the frame rate or the length of a bone is unknown.
    """
    fps = known_fps(clip, "a BVH file")
    figure = fit_figure(clip)
    lines = ["HIERARCHY", *_joint(figure, figure.order[0], 0)]
    lines += ["MOTION", f"Frames: {len(figure.turns)}", f"Frame Time: {1 / fps:.8f}"]
    lines += [" ".join(f"{value:.{DECIMALS}f}" for value in row) for row in _channels(figure)]
    path.write_text("\n".join(lines) + "\n")


def _joint(figure: Figure, joint: int, depth: int) -> list[str]:
    """The lines of a joint and of all that hangs on it."""
    rotations = " ".join(f"{axis}rotation" for axis in ORDER)
    channels = f"CHANNELS 3 {rotations}"
    if depth == 0:
        channels = f"CHANNELS 6 Xposition Yposition Zposition {rotations}"
    offset = figure.offsets_mm[joint]
    kind = "JOINT" if depth else "ROOT"
    lines = [f"{kind} {figure.joints[joint]}", "{", f"\t{_offset(offset)}", f"\t{channels}"]
    children = figure.children(joint)
    below = [line for child in children for line in _joint(figure, child, depth + 1)]
    if not children:
        below = ["End Site", "{", f"\t{_offset(TIP * offset)}", "}"]
    return [*lines, *(f"\t{line}" for line in below), "}"]


def _offset(offset_mm: np.ndarray) -> str:
    return "OFFSET " + " ".join(f"{value:.{DECIMALS}f}" for value in CM_PER_MM * offset_mm)


def _channels(figure: Figure) -> np.ndarray:
    """(t, 3 + 3 j) position of the root and the angles of all joints, in the order of the file."""
    from scipy.spatial.transform import Rotation

    turns = figure.turns[:, figure.order]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of gimbal lock: any of its angles give the same pose
        angles = Rotation.from_matrix(turns.reshape(-1, 3, 3)).as_euler(ORDER, degrees=True)
    angles = np.unwrap(angles.reshape(len(turns), -1), axis=0, period=360)
    return np.concatenate([CM_PER_MM * figure.root_mm, angles], 1)
