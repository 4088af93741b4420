"""Masks of one camera that lack the person's legs now and then, for tests of what reads rigs."""

from collections.abc import Callable, Container

import numpy as np

from mask_sup.calibration.check import Rig

VIEW = 1  # the camera whose masks these are


def without_legs(
    rig: Rig, frames: Container[int], left: float, nobody: Container[int] = ()
) -> Callable[[int, int], np.ndarray]:
    """The rig's `mask`: the upper share `left` of the rows in some frames, and nobody in others."""

    def mask(view: int, frame: int) -> np.ndarray:
        whole = rig.mask(view, frame).copy()
        if view == VIEW and frame in frames:
            rows = np.flatnonzero(whole.any(1))
            whole[rows[int(left * len(rows))] :] = False
        elif view == VIEW and frame in nobody:
            whole[:] = False
        return whole

    return mask


def near(frames: list[int], reach: int = 5) -> set[int]:
    """The frames so near to any of these, and these."""
    return {other for frame in frames for other in range(frame - reach, frame + reach + 1)}
