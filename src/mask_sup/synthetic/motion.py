"""Movements to pose the bodies with: a seeded generator of six actions, and real motion capture.

Convention: the axes of `bodies.py` (z up, a person who faces -y has the left hand at +x), metres,
radians, local rotations in the order of `bodies.CONTROLS`. Angles are signed so that a positive
one is the everyday direction: flexion forward, abduction away from the body, lean forward, knees
and elbows bent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from mask_sup.synthetic.bodies import CONTROLS, SIDES
from mask_sup.synthetic.names import ACTIONS

__all__ = ["ACTIONS", "Motion", "mocap_clips", "procedural_motion"]


class Motion(NamedTuple):
    """A movement that any of the bodies can perform."""

    action: str
    fps: float
    rotations: np.ndarray  # (t, c, 3, 3) local rotations in the order of `bodies.CONTROLS`
    position: np.ndarray  # (t, 2) where the pelvis is over the ground
    lift: np.ndarray  # (t,) height of the lowest point of the body over the ground: 0 unless a jump


# ---------------------------------------------------------------------------------------------
# Arms: one named gesture per arm, in degrees. The upper arm goes forward by `flex` and outward by
# `abduct`, is turned about itself by `twist` (positive: the bent forearm goes inward), the elbow is
# bent by `elbow`, the hand nods by `hand`. Around each gesture, angles vary by `SPREAD`.

ARM_ANGLES = ("flex", "abduct", "twist", "elbow", "hand")
SPREAD = np.array([9.0, 8.0, 10.0, 11.0, 12.0])
GESTURES = {
    "hang": (0, 4, 5, 12, 0),
    "swing_back": (-25, 8, 5, 15, 0),
    "hip": (-22, 42, 55, 88, -10),
    "pocket": (-15, 12, 8, 35, 0),
    "crossed": (28, 4, 72, 105, 0),
    "belly": (8, 8, 52, 85, 0),
    "behind": (-32, 12, -5, 40, 0),
    "offer": (35, 10, -5, 65, 10),
    "talk_low": (15, 14, 10, 85, 0),
    "talk_high": (40, 22, 15, 105, 0),
    "shrug": (12, 22, -45, 95, 20),
    "chin": (42, 5, 35, 135, 0),
    "watch": (40, 14, 55, 85, 0),
    "phone": (38, 38, 10, 140, 0),
    "front": (85, 5, 0, 10, 0),
    "front_low": (50, 8, 0, 15, 0),
    "front_high": (130, 10, 0, 15, 0),
    "side": (5, 85, 0, 8, 0),
    "side_low": (5, 50, 0, 12, 0),
    "diagonal": (55, 60, 0, 12, 0),
    "over": (160, 15, 0, 15, 0),
    "over_bent": (125, 40, 20, 95, 0),
    "head": (100, 65, 25, 125, 0),
    "wave": (25, 75, -85, 85, 0),
    "wave_high": (120, 45, 0, 45, 0),
    "across": (65, -12, 30, 40, 0),
    "shake": (38, 4, 10, 45, 0),
    "flex": (15, 85, -80, 110, 0),
    "reach_down": (35, 4, 0, 8, 0),
}


@dataclass(frozen=True)
class Style:
    """How one action moves; chances are per key pose, angles in degrees, lengths in metres."""

    gestures: Mapping[str, float | int]  # relative frequency of each arm gesture
    both_arms: float = 0.3  # chance that the second arm does as the first
    keep_arm: float = 0.35  # chance that an arm stays as it was in the last key pose
    tempo: tuple[float, float] = (0.7, 1.6)  # seconds between key poses
    step: float = 0.3  # chance that a foot is put elsewhere
    stance: tuple[float, float] = (0.15, 0.45)  # distance of the feet
    turn: float = 25.0  # spread of the heading from one key pose to the next
    lean: float = 6.0  # spread of the trunk forward and back
    bend: float = 5.0  # ... to the side
    twist: float = 12.0  # ... about itself
    bow: float = 0.0  # chance of a deep bow
    crouch: float = 0.08  # chance of deeply bent knees
    raise_leg: float = 0.0  # chance of a lifted foot
    head: float = 18.0  # spread of the head's turn


STYLES = {
    "directions": Style(
        {"front": 3, "side": 3, "diagonal": 3, "front_high": 1.5, "front_low": 1.5, "side_low": 1}
        | {"hang": 5, "hip": 1.5, "across": 1.5, "offer": 1.5, "over": 0.7, "talk_low": 1},
        both_arms=0.2,
        step=0.35,
        turn=35.0,
        twist=16.0,
        head=25.0,
    ),
    "discussion": Style(
        {"talk_low": 4, "talk_high": 3, "offer": 3, "shrug": 2, "belly": 1.5, "hang": 2, "hip": 1}
        | {"chin": 1, "crossed": 1, "diagonal": 0.7, "across": 0.7},
        both_arms=0.45,
        keep_arm=0.2,
        tempo=(0.5, 1.1),
        head=22.0,
    ),
    "posing": Style(
        {"hip": 3, "over": 2, "over_bent": 1.5, "head": 2, "flex": 2, "side": 2, "front": 1.5}
        | {"crossed": 1.5, "behind": 1.5, "chin": 1, "wave_high": 1, "front_high": 1, "hang": 1}
        | {"diagonal": 1, "side_low": 1, "across": 1, "reach_down": 0.7},
        both_arms=0.45,
        stance=(0.12, 0.75),
        step=0.45,
        lean=13.0,
        bend=13.0,
        twist=22.0,
        crouch=0.25,
        raise_leg=0.14,
        bow=0.06,
    ),
    "waiting": Style(
        {"hang": 4, "pocket": 3, "crossed": 3, "behind": 2, "hip": 2, "belly": 2, "watch": 1}
        | {"chin": 1, "phone": 1.5, "head": 0.4, "over": 0.3, "over_bent": 0.3},
        both_arms=0.55,
        keep_arm=0.5,
        tempo=(1.0, 2.2),
        step=0.4,
        lean=7.0,
        head=25.0,
    ),
    "greeting": Style(
        {"wave": 4, "wave_high": 3, "shake": 3, "over": 1.2, "diagonal": 1.5, "offer": 1.5}
        | {"hang": 4, "side": 1, "front": 1, "reach_down": 1},
        both_arms=0.25,
        keep_arm=0.3,
        tempo=(0.5, 1.2),
        bow=0.18,
        lean=10.0,
    ),
}

# The generator's own plain figure, metres: hip half-width, thigh, shank, ankle over the sole, ankle
# to ball of the foot. Rotations made with it fit all bodies up to a centimetre or two at the feet.
HIP, THIGH, SHANK, ANKLE, BALL = 0.12, 0.41, 0.45, 0.08, 0.14
LEG = THIGH + SHANK
REACH = 0.995  # of the leg's length: a leg is never quite straight
TORSO_RADII = (0.15, 0.11)  # metres, half width and half depth that no forearm may enter


def procedural_motion(
    action: str, rng: np.random.Generator, seconds: float = 2.0, fps: float = 5.0
) -> Motion:
    """A random movement of one action; the same generator state gives the same movement.

    Args:
        action: One of `ACTIONS`.
        rng: Where all randomness comes from.
        seconds: How long it lasts.
        fps: Frames a second.

    Returns:
        About `seconds * fps` frames, headed anywhere, within about a metre of the origin.

    Raises:
        ValueError: If the action is unknown.
    """
    if action not in ACTIONS:
        raise ValueError(f"unknown action {action!r}: expected one of {list(ACTIONS)}")
    times = np.arange(round(seconds * fps)) / fps
    make = _walk if action == "walking" else _stand
    motion = make(action, times, rng)
    return _turned(motion._replace(fps=fps), rng.uniform(-np.pi, np.pi))


def mocap_clips(path: str | Path | None = None) -> list[Motion]:
    """The embedded clips of real motion capture (see assets/README.md), one Motion each."""
    if path is None:
        path = str(resources.files("mask_sup") / "assets" / "mocap.npz")
    with np.load(path, allow_pickle=False) as data:
        clips = {name: data[name] for name in data.files}
    order = [clips["controls"].tolist().index(name) for name in CONTROLS]
    quaternions = np.roll(clips["quaternions"][:, order], -1, axis=2)
    matrices = Rotation.from_quat(quaternions.reshape(-1, 4)).as_matrix()
    matrices = matrices.reshape(-1, len(CONTROLS), 3, 3)
    ends = np.cumsum(clips["lengths"])[:-1]
    parts = (np.split(a, ends) for a in (matrices, clips["position"], clips["lift"]))
    return [
        Motion(str(name), float(clips["fps"]), rotations, position - position.mean(0), lift)
        for name, rotations, position, lift in zip(clips["names"], *parts, strict=True)
    ]


# ---------------------------------------------------------------------------------------------
# Rotations from angles


def _rotation(x=0.0, y=0.0, z=0.0) -> np.ndarray:
    """(t, 3, 3) rotations from rotation vectors given by their components, radians."""
    vector = np.stack(np.broadcast_arrays(*np.atleast_1d(x, y, z)), -1).astype(float)
    return Rotation.from_rotvec(vector).as_matrix()


def _arm(side: str, angles: np.ndarray) -> dict[str, np.ndarray]:
    """Local rotations of one arm from its angles (t, 5) in radians, as in `ARM_ANGLES`."""
    flex, abduct, twist, elbow, hand = angles.T
    sign = 1.0 if side == "left" else -1.0
    swing = _rotation(-flex, -sign * abduct, 0.0)
    # The shoulder blade takes part of every raise above the horizontal.
    raised = np.clip(np.hypot(flex, abduct) - np.radians(60), 0.0, None) * 0.3
    clavicle = _rotation(0.0, -sign * raised, 0.0)
    upper = np.swapaxes(clavicle, 1, 2) @ swing @ _rotation(0.0, 0.0, -sign * twist)
    return {
        f"{side}_clavicle": clavicle,
        f"{side}_upper_arm": upper,
        f"{side}_lower_arm": _rotation(-elbow, 0.0, 0.0),
        f"{side}_hand": _rotation(0.0, sign * hand, 0.0),
    }


def _trunk(angles: np.ndarray) -> dict[str, np.ndarray]:
    """Spine and chest, half each, from (t, 3) lean forward, bend to the left and twist to it."""
    lean, bend, twist = angles.T / 2
    half = _rotation(lean, bend, twist)
    return {"spine": half, "chest": half}


def _head(angles: np.ndarray) -> dict[str, np.ndarray]:
    """Neck and head, half each, from (t, 3) nod, tilt and turn."""
    nod, tilt, turn = angles.T / 2
    half = _rotation(nod, tilt, turn)
    return {"neck": half, "head": half}


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _leg(
    side: str,
    pelvis: np.ndarray,
    turn: np.ndarray,
    ankle: np.ndarray,
    foot: np.ndarray,
    knee_out: np.ndarray | float = 0.1,
) -> dict[str, np.ndarray]:
    """Local rotations of one leg that put the ankle where it shall be (two-bone closed form).

    Args:
        side: Of the person.
        pelvis: (t, 3) mid-hip.
        turn: (t, 3, 3) world rotation of the pelvis.
        ankle: (t, 3) where the ankle shall be; a leg that is too short points there.
        foot: (t, 3, 3) world rotation of the foot.
        knee_out: How far the knee turns out of straight ahead, radians.
    """
    sign = 1.0 if side == "left" else -1.0
    way = ankle - (pelvis + turn @ np.array([sign * HIP, 0.0, 0.0]))
    distance = np.linalg.norm(way, axis=-1)
    reach = np.clip(distance, 0.35 * LEG, REACH * LEG)
    down = way / distance[:, None]
    # The knee bends in the plane between the headings of the pelvis and the foot.
    left = turn[..., :, 0] + foot[..., :, 0]
    left = _unit(left) @ _rotation(z=sign * knee_out)[0].T
    hinge = _unit(left - (left * down).sum(-1, keepdims=True) * down)
    cosine = (THIGH**2 + SHANK**2 - reach**2) / (2 * THIGH * SHANK)
    bend = np.pi - np.arccos(np.clip(cosine, -1.0, 1.0))
    ahead = np.arcsin(np.clip(SHANK * np.sin(bend) / reach, -1.0, 1.0))
    straight = np.stack([hinge, np.cross(-down, hinge), -down], -1)
    thigh = straight @ _rotation(x=-ahead)
    shank = thigh @ _rotation(x=bend)
    return {
        f"{side}_upper_leg": np.swapaxes(turn, 1, 2) @ thigh,
        f"{side}_lower_leg": _rotation(x=bend),
        f"{side}_foot": np.swapaxes(shank, 1, 2) @ foot,
    }


def _assembled(action: str, parts: dict[str, np.ndarray], position: np.ndarray) -> Motion:
    still = np.tile(np.eye(3), (len(position), 1, 1))
    rotations = np.stack(
        [np.broadcast_to(parts.get(name, still), still.shape) for name in CONTROLS], 1
    )
    return Motion(action, 0.0, rotations, position, np.zeros(len(position)))


def _turned(motion: Motion, heading: float) -> Motion:
    """The same movement seen from elsewhere: turned about the vertical, centred on the origin."""
    about_z = _rotation(z=heading)[0]
    rotations = motion.rotations.copy()
    rotations[:, 0] = about_z @ rotations[:, 0]
    position = motion.position - motion.position.mean(0)
    return motion._replace(rotations=rotations, position=position @ about_z[:2, :2].T)


# ---------------------------------------------------------------------------------------------
# Standing actions: random key poses, joined smoothly


def _smooth(keys: np.ndarray, values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Values between key poses without overshoot, so that no joint limit is passed."""
    return PchipInterpolator(keys, values, axis=0)(times)


def _stand(action: str, times: np.ndarray, rng: np.random.Generator) -> Motion:
    """Feet on the ground, now and then a step; trunk, head and arms go from pose to pose."""
    style = _with_mood(STYLES[action], rng)
    keys = _key_times(style, times, rng)
    lean = _key_trunks(style, len(keys), rng)
    feet = _key_feet(style, len(keys), rng)
    arms = dict(zip(SIDES, _key_arms(style, len(keys), rng), strict=True))
    parts = _trunk(_smooth(keys, lean, times) + _sway(times, rng, 3, np.radians(1.5)))
    head = rng.normal(0, np.radians(style.head) * np.array([0.45, 0.3, 1.0]), (len(keys), 3))
    head[:, 0] -= 0.35 * np.clip(lean[:, 0], 0.0, None)  # who bends still looks ahead
    head = np.clip(head, -np.radians([35, 22, 55]), np.radians([35, 22, 55]))
    parts |= _head(_smooth(keys, head, times))
    for side in SIDES:
        angles = _smooth(keys, arms[side], times) + _waving(style, arms[side], keys, times, rng)
        parts |= _arm(side, _limited(angles))
    legs, position = _standing_legs(keys, feet, lean, times, rng)
    return _assembled(action, parts | legs, position)


def _with_mood(style: Style, rng: np.random.Generator) -> Style:
    """One person moves more than another: the style, larger or smaller as a whole."""
    size = rng.uniform(0.6, 1.4)
    spreads = {name: getattr(style, name) * size for name in ("lean", "bend", "twist", "head")}
    return replace(style, **spreads)


def _key_times(style: Style, times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Times of key poses, from before the first frame to after the last."""
    keys = [-rng.uniform(*style.tempo)]
    while keys[-1] <= times[-1] or len(keys) < 3:
        keys.append(keys[-1] + rng.uniform(*style.tempo))
    return np.array(keys)


def _sway(times: np.ndarray, rng: np.random.Generator, n: int, size: float) -> np.ndarray:
    """(t, n) slow small movement: nobody stands still."""
    rate = rng.uniform(0.15, 0.5, n)
    return size * np.sin(2 * np.pi * (times[:, None] * rate + rng.uniform(size=n)))


def _key_trunks(style: Style, n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, 3) lean, bend and twist of the trunk in each key pose."""
    angles = rng.normal(0, np.radians([style.lean, style.bend, style.twist]), (n, 3))
    angles[:, 0] += np.radians(3)
    bows = rng.uniform(size=n) < style.bow
    angles[bows, 0] += np.radians(rng.uniform(25, 65, bows.sum()))
    return np.clip(angles, np.radians([-12, -25, -35]), np.radians([75, 25, 35]))


def _key_arms(style: Style, n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """For each side, (n, 5) arm angles in each key pose."""
    names = list(style.gestures)
    chances = np.array([style.gestures[name] for name in names])
    chances = chances / chances.sum()
    arms = np.zeros((n, 2, len(ARM_ANGLES)))
    for key in range(n):
        kinds = rng.choice(names, 2, p=chances)
        if rng.uniform() < style.both_arms:
            kinds[1] = kinds[0]
        kept = rng.uniform(size=2) < style.keep_arm
        for side in range(2):
            keep = key > 0 and kept[side]
            arms[key, side] = arms[key - 1, side] if keep else _free_gesture(str(kinds[side]), rng)
    return [arms[:, 0], arms[:, 1]]


def _free_gesture(name: str, rng: np.random.Generator) -> np.ndarray:
    """Angles of one arm near a gesture, such that the arm does not enter the trunk."""
    for _ in range(20):
        angles = _limited(np.radians(GESTURES[name] + SPREAD * rng.normal(size=len(SPREAD))))
        if _clear_of_trunk(angles):
            return angles
    return _limited(np.radians(np.array(GESTURES[name], float)))


def _limited(angles: np.ndarray) -> np.ndarray:
    low = np.radians([-45, -15, -95, 0, -45])
    high = np.radians([172, 150, 95, 145, 45])
    return np.clip(angles, low, high)


def _clear_of_trunk(angles: np.ndarray) -> bool:
    """Whether elbow, mid-forearm and wrist of a left arm stay out of an upright trunk."""
    arm = {name: r[0] for name, r in _arm("left", angles[None]).items()}
    upper = arm["left_clavicle"] @ arm["left_upper_arm"]
    lower = upper @ arm["left_lower_arm"]
    elbow = np.array([0.19, 0.0, 0.0]) + upper @ [0.0, 0.0, -0.27]
    points = elbow + np.array([[0.0], [0.5], [1.0], [1.3]]) * (lower @ [0.0, 0.0, -0.25])
    across, deep = TORSO_RADII
    inside = (points[:, 0] / across) ** 2 + (points[:, 1] / deep) ** 2 < 1.0
    skull = np.linalg.norm(points - [0.0, -0.03, 0.24], axis=1) < 0.12
    return not (skull | (inside & (points[:, 2] < 0.08))).any()


def _waving(
    style: Style, arm: np.ndarray, keys: np.ndarray, times: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(t, 5) the quick part of gestures: a raised bent arm may wave, a talking one beats."""
    raised = np.clip(_smooth(keys, arm[:, 3], times) / np.radians(70), 0.0, 1.0)
    lively = 14.0 if style.gestures.get("wave") else 5.0
    size = np.radians(lively) * raised * rng.uniform(0.3, 1.0)
    beat = np.sin(2 * np.pi * (rng.uniform(1.0, 2.2) * times + rng.uniform()))
    wave = np.zeros((len(times), len(ARM_ANGLES)))
    wave[:, 2] = size * beat
    wave[:, 3] = 0.6 * size * beat
    return wave


class _Feet(NamedTuple):
    """Key poses of the lower body."""

    place: np.ndarray  # (n, 2 sides, 3) x, y and heading of each foot
    lifted: np.ndarray  # (n, 2) height of each foot in the key pose
    heading: np.ndarray  # (n,) of the pelvis
    weight: np.ndarray  # (n,) where the pelvis is: 0 over the right foot, 1 over the left
    height: np.ndarray  # (n,) of the hips, as a part of the leg's length


def _key_feet(style: Style, n: int, rng: np.random.Generator) -> _Feet:
    """Random stances, each from the last by moving at most one foot."""
    heading, centre = 0.0, np.zeros(2)
    width, ahead = rng.uniform(*style.stance), rng.normal(0, 0.06)
    places, headings = [], []
    current = _foot_places(centre, heading, width, ahead, rng)
    for _ in range(n):
        if rng.uniform() < style.step:
            heading += np.radians(rng.normal(0, style.turn))
            centre = centre + rng.normal(0, 0.1, 2)
            width, ahead = rng.uniform(*style.stance), rng.normal(0, 0.12)
            mover = int(rng.integers(2))
            current = current.copy()
            current[mover] = _foot_places(centre, heading, width, ahead, rng)[mover]
            current = _uncrossed(current, heading, mover)
        places.append(current)
        headings.append(heading + np.radians(rng.normal(0, 8)))
    height = rng.uniform(0.975, 0.998, n)
    crouched = rng.uniform(size=n) < style.crouch
    height[crouched] = rng.uniform(0.62, 0.92, crouched.sum())
    weight = np.clip(rng.normal(0.5, 0.3, n), 0.0, 1.0)
    lifted = np.zeros((n, 2))
    for key in np.flatnonzero(rng.uniform(size=n) < style.raise_leg):
        side = int(rng.integers(2))
        lifted[key, side] = rng.uniform(0.1, 0.45)
        weight[key] = float(side == 1)  # sides are left, right: stand on the other foot
    return _Feet(np.stack(places), lifted, np.array(headings), weight, height)


def _foot_places(
    centre: np.ndarray, heading: float, width: float, ahead: float, rng: np.random.Generator
) -> np.ndarray:
    """(2, 3) left and right foot for a stance."""
    out = np.radians(rng.uniform(0, 18, 2)) * [1.0, -1.0]
    offsets = np.array([[width / 2, -ahead], [-width / 2, ahead]])
    turn = _rotation(z=heading)[0][:2, :2]
    return np.concatenate([centre + offsets @ turn.T, (heading + out)[:, None]], 1)


def _uncrossed(feet: np.ndarray, heading: float, mover: int) -> np.ndarray:
    """The stance with the moved foot kept on its own side and within a step of the other."""
    turn = _rotation(z=heading)[0][:2, :2]
    offset = (feet[0, :2] - feet[1, :2]) @ turn
    offset = np.array([np.clip(offset[0], 0.13, 0.8), np.clip(offset[1], -0.45, 0.45)])
    feet = feet.copy()
    feet[mover, :2] = feet[1 - mover, :2] + (1 - 2 * mover) * (turn @ offset)
    # The other foot follows a large turn on the spot.
    feet[1 - mover, 2] = heading + np.clip(feet[1 - mover, 2] - heading, -0.6, 0.6)
    return feet


def _standing_legs(
    keys: np.ndarray,
    feet: _Feet,
    trunk: np.ndarray,
    times: np.ndarray,
    rng: np.random.Generator,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Rotations of pelvis and legs, and the place of the pelvis (t, 2)."""
    heading = _smooth(keys, feet.heading, times)
    weight = 0.25 + 0.5 * feet.weight[:, None]
    weight = np.where(feet.lifted.any(1)[:, None], feet.weight[:, None], weight)
    over = feet.place[:, 0, :2] * weight + feet.place[:, 1, :2] * (1 - weight)
    # Bending forward moves the hips back, or one would fall.
    back = 0.22 * np.sin(np.clip(trunk[:, 0], 0.0, None))
    over = over + back[:, None] * np.stack([-np.sin(feet.heading), np.cos(feet.heading)], 1)
    over = _smooth(keys, over, times) + _sway(times, rng, 2, 0.012)
    tilt = _smooth(keys, trunk[:, :2] * [0.35, 0.3], times)
    turn = _rotation(z=heading) @ _rotation(tilt[:, 0], tilt[:, 1])
    ankles, soles = {}, {}
    for i, side in enumerate(SIDES):
        place = _smooth(keys, feet.place[:, i], times)
        lifted = _smooth(keys, feet.lifted[:, i], times) + _step_height(
            keys, feet.place[:, i, :2], times
        )
        ankles[side] = np.concatenate([place[:, :2], (ANKLE + lifted)[:, None]], 1)
        soles[side] = _rotation(z=place[:, 2]) @ _rotation(x=np.clip(1.6 * lifted, 0.0, 0.5))
    height = ANKLE + LEG * _smooth(keys, feet.height, times)
    height = _within_reach(over, height, turn, ankles)
    pelvis = np.concatenate([over, height[:, None]], 1)
    parts = {"pelvis": turn}
    for side in SIDES:
        parts |= _leg(side, pelvis, turn, ankles[side], soles[side])
    return parts, over


def _step_height(keys: np.ndarray, place: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(t,) height of a foot over the ground while it is on its way to another place."""
    moved = np.linalg.norm(np.diff(place, axis=0), axis=1)
    interval = np.clip(np.searchsorted(keys, times, side="right") - 1, 0, len(moved) - 1)
    phase = (times - keys[interval]) / np.diff(keys)[interval]
    height = 0.09 * np.clip(moved[interval] / 0.25, 0.0, 1.0)
    return height * np.sin(np.pi * np.clip(phase, 0.0, 1.0)) ** 2


def _within_reach(
    over: np.ndarray, height: np.ndarray, turn: np.ndarray, ankles: dict[str, np.ndarray]
) -> np.ndarray:
    """(t,) hip height lowered until the legs reach both feet that stand."""
    for side, sign in zip(SIDES, (1.0, -1.0), strict=True):
        hip = turn @ np.array([sign * HIP, 0.0, 0.0])
        flat = ankles[side][:, :2] - over - hip[:, :2]
        square = np.clip((REACH * LEG) ** 2 - (flat**2).sum(1), (0.4 * LEG) ** 2, None)
        height = np.minimum(height, ankles[side][:, 2] - hip[:, 2] + np.sqrt(square))
    return height


# ---------------------------------------------------------------------------------------------
# Walking: footfalls along an arc, closed-form legs, arms that swing against them


class _Gait(NamedTuple):
    """One way to walk."""

    step: float  # metres
    speed: float  # metres a second
    curvature: float  # 1 / metres
    width: float  # distance of the tracks of the feet
    clearance: float  # height of the swinging foot
    arms: float  # swing of the arms, radians
    elbow: float  # radians
    lean: float  # radians
    start: float  # phase of the first frame, in steps


STANCE = 0.6  # of a cycle that a foot stands
HEEL_UP = np.radians(48)  # pitch of the foot when it leaves the ground
TOE_UP = np.radians(18)  # ... and when the heel meets it


def _walk(action: str, times: np.ndarray, rng: np.random.Generator) -> Motion:
    gait = _Gait(
        step=rng.uniform(0.48, 0.74),
        speed=rng.uniform(0.75, 1.5),
        curvature=rng.normal(0, 0.45),
        width=rng.uniform(0.12, 0.22),
        clearance=rng.uniform(0.04, 0.09),
        arms=np.radians(rng.uniform(12, 36)),
        elbow=np.radians(rng.uniform(10, 45)),
        lean=np.radians(rng.uniform(-2, 8)),
        start=rng.uniform(0, 2),
    )
    steps = gait.start + gait.speed / gait.step * (times - times.mean())
    phase = np.pi * steps  # at 0 the left heel has just met the ground
    sway = 0.025 * np.sin(phase - 0.3)
    middle, heading = _along(gait, steps * gait.step, sway)
    turn = _rotation(z=heading - np.radians(5) * np.cos(phase)) @ _rotation(
        x=0.4 * gait.lean, y=np.radians(3) * np.sin(phase)
    )
    ankles, soles = _walking_feet(gait, steps)
    height = ANKLE + LEG * (0.99 - 0.012 * np.cos(2 * phase))
    height = _within_reach(middle, height, turn, ankles)
    pelvis = np.concatenate([middle, height[:, None]], 1)
    parts = {"pelvis": turn}
    for side in SIDES:
        parts |= _leg(side, pelvis, turn, ankles[side], soles[side], knee_out=0.04)
    trunk = np.stack([0 * phase + gait.lean, 0.03 * np.sin(phase), 0.16 * np.cos(phase)], 1)
    parts |= _trunk(trunk) | _walking_arms(gait, phase, rng)
    look = rng.normal(0, np.radians([8, 4, 18]), 3) + _sway(times, rng, 3, np.radians(5))
    return _assembled(action, parts | _head(look), middle)


def _along(gait: _Gait, distance: np.ndarray, left: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Place (t, 2) and heading (t,) at a distance along the arc, some way to its left."""
    heading = gait.curvature * distance
    # sin(k s) / k and (1 - cos(k s)) / k without the division by a k of zero.
    across = distance * np.sinc(heading / (2 * np.pi))
    middle = across[:, None] * np.stack([np.sin(heading / 2), -np.cos(heading / 2)], 1)
    sideways = np.stack([np.cos(heading), np.sin(heading)], 1)
    return middle + np.asarray(left)[:, None] * sideways, heading


def _walking_feet(
    gait: _Gait, steps: np.ndarray
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Ankles (t, 3) and foot rotations (t, 3, 3): stand, roll over the ball, swing, meet."""
    ankles, soles = {}, {}
    for side, sign, shift in zip(SIDES, (1.0, -1.0), (0.0, 1.0), strict=True):
        cycle = (steps - shift) / 2
        number, part = np.floor(cycle), cycle % 1.0
        swing = np.clip((part - STANCE) / (1 - STANCE), 0.0, 1.0)
        forward = swing**2 * (3 - 2 * swing)
        # A foot lands ahead of the hips by half of what it travels under them while it stands.
        distance = (2 * (number + forward) + shift) * gait.step + STANCE * gait.step
        place, heading = _along(gait, distance, np.full(len(steps), sign * gait.width / 2))
        roll = np.clip((part - 0.62 * STANCE) / (0.38 * STANCE), 0.0, 1.0) ** 2 * (swing <= 0)
        pitch = HEEL_UP * (roll + (swing > 0) * np.clip(1 - 1.6 * swing, 0.0, None))
        meet = np.clip(1 - part / 0.08, 0.0, 1.0) + np.clip((swing - 0.6) / 0.4, 0.0, 1.0)
        pitch = pitch - TOE_UP * np.minimum(meet, 1.0)
        soles[side] = _rotation(z=heading + sign * 0.1) @ _rotation(x=pitch)
        # Heel up turns about the ball of the foot, toe up about the heel, close to the ankle.
        pivot = np.where(pitch > 0, -BALL, 0.04)
        arm = np.stack([0 * pivot, -pivot, 0 * pivot + ANKLE], 1)
        upright = _rotation(z=heading + sign * 0.1)
        ground = np.concatenate([place, 0 * place[:, :1]], 1)
        ball = ground - np.einsum("tij,tj->ti", upright, arm * [1, 1, 0])
        lift = gait.clearance * np.sin(np.pi * swing) ** 2 * (swing > 0)
        ankles[side] = ball + np.einsum("tij,tj->ti", soles[side], arm)
        ankles[side][:, 2] += lift
    return ankles, soles


def _walking_arms(
    gait: _Gait, phase: np.ndarray, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Arms that swing against the legs; sometimes one does something else meanwhile."""
    parts = {}
    busy = rng.uniform(size=2) < 0.12
    for i, (side, sign) in enumerate(zip(SIDES, (1.0, -1.0), strict=True)):
        if busy[i]:
            name = str(rng.choice(["pocket", "hip", "phone", "talk_low", "wave", "watch"]))
            angles = np.tile(_free_gesture(name, rng), (len(phase), 1))
        else:
            # The left heel meets the ground at phase 0: the left arm is behind.
            swing = -sign * np.cos(phase)
            angles = np.zeros((len(phase), len(ARM_ANGLES)))
            angles[:, 0] = gait.arms * (swing + 0.15)
            angles[:, 1] = np.radians(rng.uniform(3, 10))
            angles[:, 2] = np.radians(rng.uniform(0, 20))
            angles[:, 3] = gait.elbow * (1 + 0.35 * swing)
        parts |= _arm(side, _limited(angles))
    return parts
