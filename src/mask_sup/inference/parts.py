"""Predictions of long recordings, part by part: memory holds the pictures of one part alone."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from mask_sup.data.moments import Moment
from mask_sup.fitting.fitter import PoseFitter
from mask_sup.fitting.sequences import renamed_in_time
from mask_sup.inference.poses import Predictor

__all__ = ["in_parts"]

PART = 600  # moments that are held in memory together, with their masks
SAMPLE = 48  # moments of a longer recording that tell how the person is built
JOINTS = {  # axis of the joints
    "joints_world_mm": 1,
    "reprojected_px": 2,
    "confidence": 1,
    "expected_error_mm": 1,
}

Arrays = dict[str, np.ndarray]


def in_parts(
    predictor: Predictor,
    moments: Sequence[Moment],
    made: Callable[[str, Callable[[], Arrays]], Arrays] = lambda _, make: make(),
) -> Arrays:
    """All arrays of poses.npz, and `boxes`, made part by part.

    Args:
        predictor: Of each part.
        moments: In the order of time.
        made: Name of a part, and what makes it -> it, as it was made before or now. What has one
            part is short, and is not asked for.
    """
    parts = [moments[i : i + PART] for i in range(0, len(moments), PART)]
    if len(parts) == 1:
        return predictor.poses(moments, None)
    subject = None
    if predictor.fitter is not None:
        few = moments[:: max(1, len(moments) // SAMPLE)]
        subject = made("subject", lambda: predictor.subject(few))
    found = []
    for number, part in enumerate(parts):
        print(f"part {number + 1} of {len(parts)}: {len(part)} moments")

        def one(part: Sequence[Moment] = part) -> Arrays:
            return predictor.poses(part, subject)

        found.append(made(f"{number:06d}", one))
    poses = _joined(found)
    if "front" in poses and predictor.fitter is not None:
        _name_in_time(poses, predictor.fitter, predictor.detector.skeleton.flip)
    return poses


def _name_in_time(poses: Arrays, fitter: PoseFitter, flip: Sequence[int]) -> None:
    """Exchange left and right, in place, in parts whose neighbours say so."""
    posed = np.isfinite(poses["unexplained"])
    joints, unexplained, front = (
        torch.from_numpy(poses[name][posed]) for name in ("joints_world_mm", "unexplained", "front")
    )
    changed = np.zeros_like(posed)
    changed[posed] = renamed_in_time(joints, unexplained, front, fitter.travel, flip).numpy()
    for name, axis in JOINTS.items():
        poses[name][changed] = np.take(poses[name][changed], flip, axis)
    poses["unexplained_limb"][changed] = poses["unexplained_limb"][changed][
        :, fitter.body.limbs_exchanged
    ]
    poses["front"][changed] *= -1


def _joined(parts: Sequence[Arrays]) -> Arrays:
    """The arrays of all parts; NaN for what parts lack that show nobody."""
    most = max(parts, key=len)

    def of(part: Arrays, name: str) -> np.ndarray:
        return part.get(name, np.full((len(part["boxes"]), *most[name].shape[1:]), np.nan))

    return {name: np.concatenate([of(part, name) for part in parts]) for name in most}
