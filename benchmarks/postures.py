"""Postures that no training of ours has seen: sitting, kneeling, lying, bowing, on all fours.

For benchmarks alone. Each is a root lean, thighs and knees, a trunk and two arms, all varied at
random from key to key, on the embedded bodies. They rest on their lowest point, on no chair.
"""

from typing import NamedTuple

import numpy as np

from mask_sup.synthetic.bodies import CONTROLS, SIDES
from mask_sup.synthetic.motion import (
    GESTURES,
    SPREAD,
    Motion,
    _arm,
    _assembled,
    _head,
    _limited,
    _rotation,
    _smooth,
    _trunk,
    _turned,
)

__all__ = ["POSTURES", "posture"]


class Posture(NamedTuple):
    """Mean and spread of angles, degrees; lean forward, thighs forward and apart, knees bent."""

    root: tuple[float, float]
    thighs: tuple[float, float]
    apart: tuple[float, float]
    knees: tuple[float, float]
    lean: tuple[float, float]
    arms: tuple[str, ...]
    other_leg: tuple[float, float] | None = None  # thigh and knee of one leg, where they differ
    feet: tuple[float, float] = (0, 0)  # bent downward, as toes are pointed


POSTURES = {
    "sitting": Posture(
        (0, 10), (85, 10), (8, 8), (80, 15), (10, 12),
        ("hang", "talk_low", "belly", "offer", "chin", "front_low", "talk_high"),
    ),
    "kneeling": Posture(
        (5, 8), (10, 10), (5, 5), (115, 15), (5, 10), ("hang", "hip", "talk_low", "front", "over")
    ),
    "on one knee": Posture(
        (5, 8), (10, 8), (5, 5), (100, 10), (10, 10),
        ("hang", "front_low", "offer", "talk_low"), (85, 85),
    ),
    "on the back": Posture(
        (-90, 8), (15, 20), (8, 8), (25, 25), (0, 6),
        ("hang", "side", "over", "belly", "front_high", "side_low"),
    ),
    "on the belly": Posture(
        (90, 8), (5, 8), (10, 8), (20, 20), (0, 6), ("hang", "over", "front_high", "side")
    ),
    "bowing": Posture(
        (45, 12), (50, 10), (6, 5), (12, 10), (40, 12),
        ("front", "front_low", "hang", "reach_down"),
    ),
    "on all fours": Posture((80, 8), (85, 8), (6, 5), (85, 8), (5, 6), ("front",)),
    "propped": Posture((-30, 8), (75, 10), (10, 8), (70, 20), (0, 6), ("behind",)),
    "on the heels": Posture(
        (0, 8), (80, 8), (8, 5), (140, 5), (5, 10), ("front_low", "hang", "talk_low", "belly"),
        feet=(60, 8),
    ),
}  # fmt: skip
KEYS, ROLL, SIDEWAYS, TWIST = 3, 6.0, 6.0, 8.0  # key poses; spreads in degrees
LATER = 0.5  # of a spread that varies from key to key
STILL_ARMS = 0.8  # of the usual spread of gestures
OTHER_LEG = 8.0
MOST_BENT = 2.5  # radians, of a knee
HEAD = (10.0, 6.0, 18.0)


def posture(name: str, rng: np.random.Generator, frames: int, fps: float) -> Motion:
    """Some seconds of a posture, headed anywhere."""
    told, times = POSTURES[name], np.arange(frames) / fps
    keys = np.linspace(0, frames / fps, KEYS)

    def angle(mean: float, spread: float) -> np.ndarray:
        varied = mean + spread * (rng.normal() + LATER * rng.normal(size=KEYS))
        return _smooth(keys, np.radians(varied), times)

    parts = {CONTROLS[0]: _rotation(angle(*told.root), angle(0, ROLL), 0.0)}
    other = rng.choice(SIDES)
    for side in SIDES:
        sign, thighs, knees = 1.0 if side == "left" else -1.0, told.thighs, told.knees
        if told.other_leg and side == other:
            thighs, knees = ((mean, OTHER_LEG) for mean in told.other_leg)
        leg = _rotation(-angle(*thighs), -sign * angle(*told.apart), 0.0)
        parts[f"{side}_upper_leg"] = leg
        parts[f"{side}_lower_leg"] = _rotation(np.clip(angle(*knees), 0, MOST_BENT), 0.0, 0.0)
        if told.feet != (0, 0):
            parts[f"{side}_foot"] = _rotation(angle(*told.feet), 0.0, 0.0)
        gesture = np.array(GESTURES[rng.choice(told.arms)])
        varied = gesture + STILL_ARMS * SPREAD * rng.normal(size=(KEYS, len(SPREAD)))
        parts |= _arm(side, _smooth(keys, _limited(np.radians(varied)), times))
    trunk = np.stack([angle(*told.lean), angle(0, SIDEWAYS), angle(0, TWIST)], 1)
    head = np.radians(rng.normal(0, HEAD, (KEYS, 3)))
    parts |= _trunk(trunk) | _head(_smooth(keys, head, times))
    motion = _assembled(name, parts, np.zeros((frames, 2)))
    return _turned(motion._replace(fps=fps), rng.uniform(-np.pi, np.pi))
