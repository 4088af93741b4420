"""Poses that rest on what they touch: a figure of balls, joint limits and a solver for them.

A wanted pose is moved as little as possible until its contacts are on the ground (or on each
other), nothing else is below it, no limb is inside another part, every joint is within its limits
and the centre of mass is over what supports it. All poses of a movement are solved at once.

Convention: that of `bodies.py` and `motion.py`.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from mask_sup.synthetic.bodies import CONTROLS, SIDES, Bodies, Shape

__all__ = [
    "CONTROL",
    "LIMITS",
    "Contacts",
    "Figure",
    "Poses",
    "angles_of",
    "faults",
    "figure_of",
    "joints_and_balls",
    "limited",
    "resting_heights",
    "rotations_of",
    "solved",
]

CONTROL = {name: i for i, name in enumerate(CONTROLS)}
PARENT = {"spine": "pelvis", "chest": "spine", "neck": "chest", "head": "neck"}
for _side in SIDES:
    PARENT |= {
        f"{_side}_clavicle": "chest",
        f"{_side}_upper_arm": f"{_side}_clavicle",
        f"{_side}_lower_arm": f"{_side}_upper_arm",
        f"{_side}_hand": f"{_side}_lower_arm",
        f"{_side}_upper_leg": "pelvis",
        f"{_side}_lower_leg": f"{_side}_upper_leg",
        f"{_side}_foot": f"{_side}_lower_leg",
    }
PARENTS = [CONTROL[PARENT[name]] if name in PARENT else -1 for name in CONTROLS]

LIMITS: dict[str, dict[str, tuple[float, float]]] = {
    # Spine and chest, neck and head share a movement in halves: these are of one half.
    "spine": {"lean": (-16, 40), "bend": (-18, 18), "twist": (-22, 22)},
    "chest": {"lean": (-16, 40), "bend": (-18, 18), "twist": (-22, 22)},
    "neck": {"nod": (-30, 28), "tilt": (-20, 20), "turn": (-38, 38)},
    "head": {"nod": (-30, 28), "tilt": (-20, 20), "turn": (-38, 38)},
    "clavicle": {"roll": (-5, 5), "raise": (-8, 38), "forward": (-15, 20)},
    "upper_arm": {"flex": (-55, 172), "abduct": (-45, 150), "twist": (-95, 95)},
    "lower_arm": {"bend": (0, 148)},
    "hand": {"deviate": (-25, 25), "bend": (-85, 80), "turn": (-75, 75)},
    "upper_leg": {"flex": (-25, 130), "abduct": (-30, 65), "twist": (-70, 45)},
    "lower_leg": {"bend": (0, 152)},
    "foot": {"point": (-38, 72), "roll": (-20, 20), "turn": (-15, 15)},
}
"""Ranges of the joints, degrees, by the signs of `motion.py`; both sides alike."""

HINGES = ("lower_arm", "lower_leg")
SWINGING = ("upper_arm", "upper_leg")  # told by where the bone points and a twist about it
# Segment masses as parts of the body's (de Leva 1996, rounded, means of women and men).
MASSES = {"pelvis": 0.13, "spine": 0.15, "chest": 0.16, "neck": 0.01, "head": 0.06}
MASSES |= {"upper_arm": 0.026, "lower_arm": 0.015, "hand": 0.006, "clavicle": 0.0}
MASSES |= {"upper_leg": 0.144, "lower_leg": 0.046, "foot": 0.013}

SOFT, BELLY = 0.008, 0.06  # metres that limbs, and belly and thighs, give way where they touch
SOLE, INSTEP = 0.028, 0.042  # metres, radii of the balls under a foot and in its middle
# Of the balls of the trunk, metres: half a slice that is measured, how far off the middle one sits,
# radii of neck and face, the nose before it; and their radii as parts of what was measured.
SLICE, SEAT, NECK, FACE, NOSE = 0.06, 0.08, 0.055, 0.07, 0.03
WITHIN, BUTTOCK = 0.92, 0.39
PALM, FINGERS = 0.03, 0.02  # metres, radii
MOST_SWING = np.radians(172)  # of an arm
WALL, FADES = 60.0, 0.6  # stiffness against a joint limit that was run into, and what is left later
MOST_TURN = 0.4  # radians of a joint in one step of the solver
AROUND = 1.4  # radii of a ball: skin nearer than that is its own
STILL = 2e-3  # radians or metres: a step that ends the search
REACHES = 0.9  # of the way from the edge of the support that the centre of mass is pushed to


class Figure(NamedTuple):
    """A body as balls on its bones; metres."""

    offsets: np.ndarray  # (c, 3) each control joint from its parent's, the pelvis' from mid-hip
    names: tuple[str, ...]  # of the balls
    control: np.ndarray  # (s,) the control joint that carries each ball
    centre: np.ndarray  # (s, 3) from that joint, zero pose
    radius: np.ndarray  # (s,)
    mass: np.ndarray  # (s,) sums to one
    leg: float  # hip to ankle
    pairs: np.ndarray  # (p, 2) balls that may meet
    apart: np.ndarray  # (p,) least distance of their centres


class Poses(NamedTuple):
    """Any number of poses of a figure."""

    rotations: np.ndarray  # (f, c, 3, 3)
    root: np.ndarray  # (f, 3) mid-hip


class Contacts(NamedTuple):
    """What the poses touch."""

    ground: np.ndarray  # (f, s) bool: this ball lies on the ground
    height: np.ndarray  # (f, s) of its centre then: about its radius
    place: np.ndarray  # (f, s, 2) where on the ground; NaN: anywhere
    touching: np.ndarray  # (f, s, s) bool: these two balls touch
    airborne: np.ndarray  # (f,) bool: there is no ground
    balanced: np.ndarray  # (f,) bool: the centre of mass must be over the contacts


def figure_of(bodies: Bodies, person: int | Shape) -> Figure:
    """The balls that fill a body, measured on its surface in the zero pose."""
    still = np.tile(np.eye(3), (len(CONTROLS), 1, 1))
    vertices, _ = bodies.pose(person, still, np.zeros(3))
    joints = bodies.control_joints(person)
    owner = bodies.owner
    balls: dict[str, tuple[str, np.ndarray, float]] = {}
    for name, control, middle, radius in _trunk_balls(vertices, owner, joints):
        balls[name] = control, middle, radius
    for side in SIDES:
        for name, control, middle, radius in _limb_balls(side, vertices, owner, joints):
            balls[f"{side}_{name}"] = f"{side}_{control}", middle, radius
    control = np.array([CONTROL[c] for c, _, _ in balls.values()])
    at = np.stack([middle for _, middle, _ in balls.values()])
    radius = np.array([r for _, _, r in balls.values()])
    counts = np.bincount(control, minlength=len(CONTROLS))
    mass = np.array([MASSES[_kind(CONTROLS[c])] / counts[c] for c in control])
    parents = np.array(PARENTS)
    offsets = np.where(parents[:, None] >= 0, joints - joints[parents], 0.0)
    offsets[parents == 0] = joints[parents == 0]  # mid-hip is the origin
    joints = joints.copy()
    joints[0] = 0.0
    pairs, apart = _pairs(tuple(balls), control, at, radius)
    leg = bodies.leg_length(person)
    names = tuple(balls)
    mass = mass / mass.sum()
    return Figure(offsets, names, control, at - joints[control], radius, mass, leg, pairs, apart)


def _kind(control: str) -> str:
    """A control without its side: the key of `LIMITS`."""
    return control.removeprefix("left_").removeprefix("right_")


Ball = tuple[str, str, np.ndarray, float]


def _trunk_balls(vertices: np.ndarray, owner: np.ndarray, joints: np.ndarray) -> Iterator[Ball]:
    """Name, control, middle and radius of the balls of trunk, neck and head."""
    trunk = np.isin(owner, [CONTROL[n] for n in ("pelvis", "spine", "chest")])
    thighs = np.isin(owner, [CONTROL[f"{s}_upper_leg"] for s in SIDES])
    levels = [CONTROL[n] for n in ("left_upper_leg", "spine", "chest", "neck")]
    hip, waist, chest, neck = joints[levels, 2]
    stations = {
        "hips": ("pelvis", 0.45 * hip + 0.55 * waist),
        "waist": ("spine", 0.3 * waist + 0.7 * chest),
        "ribs": ("chest", 0.7 * chest + 0.3 * neck),
        "breast": ("chest", 0.36 * chest + 0.64 * neck),
    }
    for name, (control, height) in stations.items():
        # Two balls side by side, as deep as the trunk is there and together as wide.
        near = vertices[trunk & (np.abs(vertices[:, 2] - height) < SLICE)]
        low, high = near.min(0), near.max(0)
        radius = WITHIN * min((high - low)[:2]) / 2
        wide = max((high - low)[0] / 2 - radius, 0.01)
        for sign, side in zip((1.0, -1.0), SIDES, strict=True):
            middle = np.array([sign * wide, (low[1] + high[1]) / 2, height])
            yield f"{side}_{name}", control, middle, radius
    around = vertices[(trunk | thighs) & (np.abs(vertices[:, 2] - hip) < SEAT)]
    for sign, side in zip((1.0, -1.0), SIDES, strict=True):
        seat = around[np.abs(around[:, 0] - sign * SEAT) < SLICE]
        radius = BUTTOCK * np.ptp(seat[:, 1])
        middle = np.array([sign * SEAT, seat[:, 1].max() - radius, hip - 0.02])
        yield f"{side}_buttock", "pelvis", middle, radius
    yield "neck", "neck", (joints[CONTROL["neck"]] + joints[CONTROL["head"]]) / 2, NECK
    head = vertices[owner == CONTROL["head"]]
    low, high = head.min(0), head.max(0)
    radius = (high[0] - low[0]) / 2
    yield "head", "head", np.array([0.0, high[1] - radius, high[2] - radius]), radius
    yield "face", "head", np.array([0.0, low[1] + NOSE + FACE, high[2] - 2 * FACE]), FACE


def _limb_balls(
    side: str, vertices: np.ndarray, owner: np.ndarray, joints: np.ndarray
) -> Iterator[Ball]:
    """Name, control without side, middle and radius of the balls of an arm and a leg."""
    segments = {
        "upper_arm": (
            "lower_arm",
            {"shoulder": 0.08, "biceps": 0.38, "triceps": 0.68, "elbow": 0.97},
        ),
        "lower_arm": ("hand", {"forearm": 0.33, "pulse": 0.63, "wrist": 0.92}),
        "upper_leg": (
            "lower_leg",
            {"hip": 0.22, "groin": 0.42, "thigh": 0.62, "leg": 0.8, "knee": 0.98},
        ),
        "lower_leg": ("foot", {"calf": 0.25, "shank": 0.48, "shin": 0.7, "ankle": 0.95}),
    }
    for control, (end, stations) in segments.items():
        first, last = joints[CONTROL[f"{side}_{control}"]], joints[CONTROL[f"{side}_{end}"]]
        way = last - first
        length = np.linalg.norm(way)
        around = (control, end) if end not in ("hand", "foot") else (control,)
        mine = vertices[np.isin(owner, [CONTROL[f"{side}_{c}"] for c in around])]
        along = (mine - first) @ way / length**2
        for name, part in stations.items():
            ring = mine[np.abs(along - part) < 0.16]
            flat = ring - np.outer((ring - first) @ way / length**2, way) - first
            shift = (flat.min(0) + flat.max(0)) / 2
            radius = float(np.median(np.linalg.norm(flat - shift, axis=1))) * 0.95
            yield name, control, first + part * way + shift, radius
    hand = vertices[owner == CONTROL[f"{side}_hand"]]
    low, high = hand.min(0), hand.max(0)
    across = (low + high)[:2] / 2
    for name, height, radius in (("palm", 0.7, PALM), ("fingers", 0.2, FINGERS)):
        yield name, "hand", np.array([*across, low[2] + height * (high[2] - low[2])]), radius
    foot = vertices[owner == CONTROL[f"{side}_foot"]]
    low, high = foot.min(0), foot.max(0)
    middle = (low[0] + high[0]) / 2
    for name, part in (("heel", 0.0), ("ball", 0.68), ("toes", 1.0)):
        y = high[1] - SOLE + part * (low[1] - high[1] + 2 * SOLE)
        yield name, "foot", np.array([middle, y, low[2] + SOLE]), SOLE
    y = high[1] + 0.4 * (low[1] - high[1])
    yield "instep", "foot", np.array([middle, y, low[2] + INSTEP]), INSTEP


def _pairs(
    names: tuple[str, ...], control: np.ndarray, at: np.ndarray, radius: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of balls that may meet, and how near they may come."""
    pairs, apart = [], []
    trunk = {CONTROL[n] for n in ("pelvis", "spine", "chest", "neck", "head")}
    for i in range(len(names)):
        for j in range(i):
            one, other = control[i], control[j]
            if one == other or PARENTS[one] == other or PARENTS[other] == one:
                continue
            if one in trunk and other in trunk:
                continue
            soft = SOFT
            thigh = {names[i].split("_")[-1], names[j].split("_")[-1]} & {"hip", "groin", "thigh"}
            if thigh and {one, other} & trunk:
                soft = BELLY  # belly and thigh give way to each other
            pairs.append((i, j))
            rest = np.linalg.norm(at[i] - at[j])
            apart.append(min(radius[i] + radius[j] - soft, rest))
    return np.array(pairs), np.array(apart)


# ---------------------------------------------------------------------------------------------
# Joint limits


def _table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signs, lowest and highest angles (c, 3): what makes `LIMITS` those of one control."""
    signs = np.ones((len(CONTROLS), 3))
    low, high = np.full((len(CONTROLS), 3), -np.pi), np.full((len(CONTROLS), 3), np.pi)
    for index, name in enumerate(CONTROLS):
        kind, side = _kind(name), 1.0 if name.startswith("left") else -1.0
        if kind in (*SWINGING, "clavicle"):
            signs[index] = -1.0, -side, -side
        elif kind in ("hand", "foot"):
            signs[index] = 1.0, side, side
        elif kind == "lower_arm":
            signs[index] = -1.0, 1.0, 1.0
        if kind in LIMITS:
            ranges = [*LIMITS[kind].values(), (0, 0), (0, 0)][:3]  # hinges turn about one axis
            low[index], high[index] = np.radians(ranges).T
    return signs, low, high


_SIGNS, _LOW, _HIGH = _table()
_SWINGING = [i for i, name in enumerate(CONTROLS) if _kind(name) in SWINGING]
_ARMS = [CONTROL[f"{side}_upper_arm"] for side in SIDES]
_BLADES = [CONTROL[f"{side}_clavicle"] for side in SIDES]


def limited(rotations: np.ndarray) -> np.ndarray:
    """The rotations (f, c, 3, 3) with every joint brought back within `LIMITS`."""
    angles = np.clip(angles_of(rotations), _LOW, _HIGH)
    size = np.linalg.norm(angles[:, _SWINGING, :2], axis=-1, keepdims=True)
    angles[:, _SWINGING, :2] *= np.minimum(1.0, MOST_SWING / np.maximum(size, 1e-9))
    within = rotations_of(angles)
    within[:, 0] = rotations[:, 0]
    return within


def angles_of(rotations: np.ndarray) -> np.ndarray:
    """(f, c, 3) signed angles in radians, in the order of the rows of `LIMITS`.

    Arms and thighs are told by the shortest swing from hanging down and a twist, an arm's from the
    chest (the shoulder blade takes part in it); all else by rotation vectors.
    """
    local = rotations.copy()
    local[:, _ARMS] = rotations[:, _BLADES] @ rotations[:, _ARMS]
    vectors = Rotation.from_matrix(local.reshape(-1, 3, 3)).as_rotvec().reshape(local.shape[:3])
    turned = local[:, _SWINGING]
    down = -turned[..., 2]  # where the bone points
    axis = np.stack([down[..., 1], -down[..., 0], 0 * down[..., 0]], -1)
    sine = np.linalg.norm(axis, axis=-1, keepdims=True)
    swing = axis / np.maximum(sine, 1e-9) * np.arctan2(sine, -down[..., 2:])
    flat = Rotation.from_rotvec(swing.reshape(-1, 3)).as_matrix().reshape(turned.shape)
    twist = np.swapaxes(flat, -1, -2) @ turned
    swing[..., 2] = np.arctan2(
        twist[..., 1, 0] - twist[..., 0, 1], twist[..., 0, 0] + twist[..., 1, 1]
    )
    # Past the top, an arm has come over the front, not round the back.
    back = (-swing[..., :1] < np.radians(-100)) * 2 * np.pi
    swing[..., :2] *= (
        1 - back / np.maximum(np.linalg.norm(swing[..., :2], axis=-1), 1e-9)[..., None]
    )
    vectors[:, _SWINGING] = swing
    return _SIGNS * vectors


def rotations_of(angles: np.ndarray) -> np.ndarray:
    """The inverse of `angles_of`: (f, c, 3, 3) from (f, c, 3)."""
    vectors = _SIGNS * angles
    twists = vectors[:, _SWINGING] * [0.0, 0.0, 1.0]
    vectors[:, _SWINGING, 2] = 0.0
    local = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(*angles.shape, 3)
    turns = Rotation.from_rotvec(twists.reshape(-1, 3)).as_matrix().reshape(*twists.shape, 3)
    local[:, _SWINGING] = local[:, _SWINGING] @ turns
    local[:, _ARMS] = np.swapaxes(local[:, _BLADES], -1, -2) @ local[:, _ARMS]
    return local


# ---------------------------------------------------------------------------------------------
# The solver


# Degrees of freedom: three of the root's place, then about the axes of each control joint.
DOFS = [
    (CONTROL[name], axis) for name in CONTROLS for axis in range(1 if _kind(name) in HINGES else 3)
]
_DOF_CONTROL = np.array([control for control, _ in DOFS])
_DOF_AXIS = np.array([axis for _, axis in DOFS])


STRENGTHS = {
    "pose": 1.0,
    "ground": 30.0,
    "place": 10.0,
    "below": 30.0,
    "inside": 40.0,
    "touch": 15.0,
    "balance": 12.0,
    "damping": 0.05,
}
"""How much each wish counts: residuals in radians and metres times these."""

STIFFNESS = {"pelvis": 0.7, "clavicle": 2.5, "hand": 0.35, "foot": 0.35, "head": 1.0, "neck": 1.0}
_STIFF = np.array([STIFFNESS.get(_kind(CONTROLS[control]), 0.8) for control, _ in DOFS])


def joints_and_balls(figure: Figure, poses: Poses) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """World rotations (f, c, 3, 3), control joints (f, c, 3) and balls (f, s, 3)."""
    world = poses.rotations.copy()
    joints = np.empty(world.shape[:3])
    joints[:, 0] = poses.root
    for control, parent in enumerate(PARENTS):
        if parent >= 0:
            joints[:, control] = joints[:, parent] + world[:, parent] @ figure.offsets[control]
            world[:, control] = world[:, parent] @ world[:, control]
    turned = np.einsum("fsij,sj->fsi", world[:, figure.control], figure.centre)
    return world, joints, joints[:, figure.control] + turned


def solved(
    figure: Figure, wanted: Poses, contacts: Contacts, steps: int, start: Poses | None = None
) -> Poses:
    """The poses nearest to the wanted ones that meet their contacts (damped Gauss-Newton).

    Args:
        figure: Whose poses.
        wanted: Where they should be.
        contacts: What they touch.
        steps: How many at most.
        start: Where to begin; None: at the wanted ones.
    """
    start = start or wanted
    poses = Poses(limited(start.rotations), start.root.copy())
    moves = _moves(figure)
    stiff = (STRENGTHS["pose"] * _STIFF) ** 2
    same = _DOF_CONTROL[:, None] == _DOF_CONTROL
    live = np.arange(len(poses.root))
    walls = np.zeros((len(live), len(CONTROLS), 3, 3))
    for _ in range(steps):
        now = Poses(poses.rotations[live], poses.root[live])
        world, joints, balls = joints_and_balls(figure, now)
        jacobian = _jacobian(world, joints, balls, moves)
        off = _away(wanted.rotations[live], now.rotations)
        some = Contacts(*(array[live] for array in contacts))
        square, slope = _wishes(figure, some, balls, jacobian)
        square[:, 3:, 3:] += (
            same * walls[live][:, _DOF_CONTROL[:, None], _DOF_AXIS[:, None], _DOF_AXIS]
        )
        square += np.diag(np.concatenate([np.zeros(3), stiff]) + STRENGTHS["damping"])
        slope[:, 3:] += stiff * off
        turn = -np.linalg.solve(square, slope[..., None])[..., 0]
        moved, struck = _moved(now, turn)
        poses.rotations[live], poses.root[live] = moved
        walls[live] = FADES * walls[live] + struck
        live = live[np.abs(turn).max(1) > STILL]
        if not len(live):
            break
    return poses


def _moves(figure: Figure) -> np.ndarray:
    """(d, s) whether a degree of freedom moves a ball."""
    above = np.zeros((len(CONTROLS), len(CONTROLS)), bool)  # [c, a]: a is c or above it
    for control, parent in enumerate(PARENTS):
        above[control, control] = True
        if parent >= 0:
            above[control] |= above[parent]
    return above[figure.control][:, _DOF_CONTROL].T


def _jacobian(
    world: np.ndarray, joints: np.ndarray, balls: np.ndarray, moves: np.ndarray
) -> np.ndarray:
    """(f, s, 3, 3 + d) how each ball moves with each degree of freedom."""
    axes = world[:, _DOF_CONTROL, :, _DOF_AXIS]  # (d, f, 3)
    axes = np.swapaxes(axes, 0, 1)
    arms = balls[:, None] - joints[:, _DOF_CONTROL][:, :, None]  # (f, d, s, 3)
    x, y, z = np.moveaxis(axes[:, :, None] * moves[None, :, :, None], -1, 0)
    a, b, c = np.moveaxis(arms, -1, 0)
    turned = np.stack([y * c - z * b, z * a - x * c, x * b - y * a], -1)
    shifted = np.broadcast_to(np.eye(3), (*balls.shape[:2], 3, 3))
    return np.concatenate([shifted, np.transpose(turned, (0, 2, 3, 1))], -1)


def _wishes(
    figure: Figure, contacts: Contacts, balls: np.ndarray, jacobian: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What contacts ask for, as normal equations: matrices (f, 3 + d, 3 + d), slopes (f, 3 + d)."""
    square = np.zeros((len(balls), jacobian.shape[-1], jacobian.shape[-1]))
    slope = np.zeros(square.shape[:2])

    def wish(frames: np.ndarray, strength: np.ndarray, rows: np.ndarray, rests: np.ndarray) -> None:
        """Rows (g, k, 3 + d), residuals (g, k) and what they count (g, k), of some frames (g,)."""
        weighed = rows * (strength**2)[..., None]
        square[frames] += np.swapaxes(weighed, 1, 2) @ rows
        slope[frames] += (rests[:, None] @ weighed)[:, 0]

    frames = np.arange(len(balls))
    grounded = ~contacts.airborne[:, None]
    lies = contacts.ground & grounded
    height = balls[..., 2] - contacts.height
    under = ~lies & grounded & (height < 0)
    wish(frames, STRENGTHS["ground"] * lies + STRENGTHS["below"] * under, jacobian[:, :, 2], height)
    held = lies & ~np.isnan(contacts.place[..., 0])
    if held.any():
        for axis in range(2):
            off = np.where(held, balls[..., axis] - contacts.place[..., axis], 0.0)
            wish(frames, STRENGTHS["place"] * held, jacobian[:, :, axis], off)
    for frame in np.flatnonzero(contacts.balanced & lies.any(1)):
        middle = (figure.mass @ balls[frame])[:2]
        off = middle - _support(middle, balls[frame, lies[frame], :2])
        rate = np.einsum("s,sid->id", figure.mass, jacobian[frame])[:2]
        rate = rate - jacobian[frame, lies[frame], :2].mean(0)
        if off.any():
            wish(frame[None], np.full((1, 2), STRENGTHS["balance"]), rate[None], off[None])
    first, second = figure.pairs.T
    way = balls[:, first] - balls[:, second]
    gap = np.linalg.norm(way, axis=-1) - figure.apart
    soft = contacts.touching.any((1, 2))
    for frame in np.flatnonzero(soft | (gap < 0).any(1)):
        inside = gap[frame] < 0
        one, other = np.nonzero(contacts.touching[frame])
        rest = np.linalg.norm(balls[frame, one] - balls[frame, other], axis=-1)
        rest = rest - figure.radius[one] - figure.radius[other] + SOFT / 2
        strength = np.repeat([STRENGTHS["inside"], STRENGTHS["touch"]], [inside.sum(), len(one)])
        one, other = np.append(first[inside], one), np.append(second[inside], other)
        towards = balls[frame, one] - balls[frame, other]
        towards /= np.maximum(np.linalg.norm(towards, axis=-1, keepdims=True), 1e-6)
        rows = np.einsum("ki,kid->kd", towards, jacobian[frame, one] - jacobian[frame, other])
        rests = np.append(gap[frame][inside], rest)
        wish(frame[None], strength[None], rows[None], rests[None])
    return square, slope


def _support(point: np.ndarray, contacts: np.ndarray) -> np.ndarray:
    """The point itself where it is over its contacts (k, 2); else where it should be."""
    ways = contacts - point
    angles = np.sort(np.arctan2(ways[:, 1], ways[:, 0]))
    gaps = np.diff(np.append(angles, angles[0] + 2 * np.pi))
    if len(contacts) > 2 and gaps.max() < np.pi:
        return point
    start, end = (contacts[i.ravel()] for i in np.meshgrid(*2 * [range(len(contacts))]))
    step = end - start
    share = ((point - start) * step).sum(1) / np.maximum((step**2).sum(1), 1e-12)
    near = start + np.clip(share, 0.0, 1.0)[:, None] * step
    nearest = near[np.linalg.norm(near - point, axis=1).argmin()]
    return REACHES * nearest + (1 - REACHES) * contacts.mean(0)


def _away(wanted: np.ndarray, now: np.ndarray) -> np.ndarray:
    """(f, d) how far each degree of freedom is from where it is wanted."""
    off = np.swapaxes(wanted, -1, -2) @ now
    vectors = Rotation.from_matrix(off.reshape(-1, 3, 3)).as_rotvec().reshape(off.shape[:3])
    return vectors[:, _DOF_CONTROL, _DOF_AXIS]


def _moved(poses: Poses, turn: np.ndarray) -> tuple[Poses, np.ndarray]:
    """The poses after a step, and stiff walls (f, c, 3, 3) where it ran against a limit."""
    root = poses.root + np.clip(turn[:, :3], -0.3, 0.3)
    vectors = np.zeros((len(turn), len(CONTROLS), 3))
    vectors[:, _DOF_CONTROL, _DOF_AXIS] = turn[:, 3:]
    size = np.linalg.norm(vectors, axis=-1, keepdims=True)
    vectors *= np.minimum(1.0, MOST_TURN / np.maximum(size, 1e-9))
    turns = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(poses.rotations.shape)
    free = poses.rotations @ turns
    within = limited(free)
    back = np.swapaxes(free, -1, -2) @ within
    # Twice the axis times the sine of the angle: enough for a direction.
    pushed = np.stack([back[..., 2, 1], back[..., 0, 2], back[..., 1, 0]], -1) - np.stack(
        [back[..., 1, 2], back[..., 2, 0], back[..., 0, 1]], -1
    )
    size = np.linalg.norm(pushed, axis=-1, keepdims=True)
    way = np.where(size > 2e-3, pushed / np.maximum(size, 1e-9), 0.0)
    return Poses(within, root), WALL * way[..., :, None] * way[..., None, :]


def resting_heights(
    bodies: Bodies, person: int | Shape, figure: Figure, poses: Poses, ground: np.ndarray
) -> np.ndarray:
    """(f, s) height of each ball over the lowest point of the skin around it; else its radius.

    Where skin is pressed or folded, as under who sits, the balls alone do not tell where it ends;
    and hands and feet are flatter than balls.
    """
    heights = np.tile(figure.radius, (len(ground), 1))
    _, _, balls = joints_and_balls(figure, poses)
    flat = [i for i, c in enumerate(figure.control) if _kind(CONTROLS[c]) in ("hand", "foot")]
    own = {ball: _nearest_skin(bodies, person, figure, ball) for ball in flat}
    for frame in range(len(ground)):
        vertices, _ = bodies.pose(person, poses.rotations[frame], poses.root[frame])
        for ball in np.union1d(np.flatnonzero(ground[frame]), flat):
            middle = balls[frame, ball]
            if ball in own:
                near = vertices[own[ball]]
            else:
                far = np.linalg.norm(vertices - middle, axis=1)
                near = vertices[far < AROUND * figure.radius[ball]]
            if len(near):
                heights[frame, ball] = middle[2] - near[:, 2].min()
    return heights


def _nearest_skin(bodies: Bodies, person: int | Shape, figure: Figure, ball: int) -> np.ndarray:
    """Vertices of a hand or a foot that are nearer to this ball than to its others."""
    control = figure.control[ball]
    mine = np.flatnonzero(bodies.owner == control)
    still = np.tile(np.eye(3), (len(CONTROLS), 1, 1))
    skin = bodies.pose(person, still, np.zeros(3))[0][mine] - bodies.control_joints(person)[control]
    others = np.flatnonzero(figure.control == control)
    nearest = np.linalg.norm(skin[:, None] - figure.centre[others], axis=-1).argmin(1)
    return mine[others[nearest] == ball]


def faults(figure: Figure, poses: Poses, contacts: Contacts) -> Mapping[str, np.ndarray]:
    """(f,) metres that each pose misses: contacts off the ground, balls below it, balls inside."""
    _, _, balls = joints_and_balls(figure, poses)
    height = balls[..., 2] - contacts.height
    far = np.linalg.norm(balls[:, figure.pairs[:, 0]] - balls[:, figure.pairs[:, 1]], axis=-1)
    air = contacts.airborne
    return {
        "off": np.where(air, 0.0, np.abs(np.where(contacts.ground, height, 0.0)).max(1)),
        "below": np.where(air, 0.0, np.clip(-height, 0.0, None).max(1)),
        "inside": np.clip(figure.apart - far, 0.0, None).max(1),
    }
