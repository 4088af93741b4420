"""Posable human bodies with exact joints: eight people, and shapes of any build drawn at random.

Convention: metres, world z up; in the zero pose a person faces -y, the left hand is at +x, the
arms hang at the sides. A pose is one local rotation per control joint, in the axes of the standing
zero pose: `world[c] = world[parent(c)] @ local[c]`, and the identity everywhere is the zero pose.
"""

from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np

__all__ = ["CONTROLS", "PARTS", "Bodies", "Shape", "all_bodies"]

SIDES = ("left", "right")

# Control joint -> the bone of the body model that it turns. Bones in between follow their parent.
BONES = {"pelvis": "root", "spine": "spine04", "chest": "spine02", "neck": "neck01", "head": "head"}
for _side in SIDES:
    _letter = _side[0].upper()
    BONES |= {
        f"{_side}_clavicle": f"clavicle.{_letter}",
        f"{_side}_upper_arm": f"upperarm01.{_letter}",
        f"{_side}_lower_arm": f"lowerarm01.{_letter}",
        f"{_side}_hand": f"wrist.{_letter}",
        f"{_side}_upper_leg": f"upperleg01.{_letter}",
        f"{_side}_lower_leg": f"lowerleg01.{_letter}",
        f"{_side}_foot": f"foot.{_letter}",
    }

CONTROLS = tuple(BONES)
"""Names of the control joints, in the order of every array of rotations."""

# Labelled joint -> bone whose head it is; the others are means or points on the head.
JOINT_BONES = {"spine": "spine02", "neck": "neck01"}
for _side in SIDES:
    _letter = _side[0].upper()
    JOINT_BONES |= {
        f"{_side}_hip": f"upperleg01.{_letter}",
        f"{_side}_knee": f"lowerleg01.{_letter}",
        f"{_side}_ankle": f"foot.{_letter}",
        f"{_side}_shoulder": f"upperarm01.{_letter}",
        f"{_side}_elbow": f"lowerarm01.{_letter}",
        f"{_side}_wrist": f"wrist.{_letter}",
    }

# The order of conf/skeleton/human18.yaml.
JOINTS = (
    *("pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("spine", "neck", "nose", "head", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_shoulder", "right_elbow", "right_wrist", "thorax"),
)

PARTS = (
    "skin",
    "hair",
    "eyes",
    "shirt",
    "shirt_front",
    "sleeves",
    "forearms",
    "trousers",
    "shins",
    "shoes",
)
"""Names of the parts of the surface that are coloured apart; `Bodies.part` holds indices of it."""

CLOTHES = ("shirt", "shirt_front", "sleeves", "forearms", "trousers", "shins", "shoes")
CLOTH_THICKNESS = 0.008  # metres
# Standing at ease: the hanging arm leaves the body by this slope, and the elbow is a little bent.
ARM_SLOPE, ELBOW_AT_EASE, LEG_SLOPE = 0.13, 0.12, 0.02
BLENDED = 0.3  # at most, of the way from one person of the basis to another: who is drawn


def rotation_to(axes: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation that takes two directions (2, 3) onto two others: the first one exactly."""

    def frame(pair: np.ndarray) -> np.ndarray:
        first = pair[0] / np.linalg.norm(pair[0])
        third = np.cross(first, pair[1])
        third /= np.linalg.norm(third)
        return np.stack([first, np.cross(third, first), third], 1)

    return frame(target) @ frame(axes).T


def about_x(angle: float) -> np.ndarray:
    """Rotation about +x by an angle in radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


class Shape(NamedTuple):
    """One body as poses start from it: the model rests in an A, the zero pose stands at ease."""

    corrections: np.ndarray  # (b, 3, 3) rotations from rest to the zero pose
    rest_heads: np.ndarray  # (b, 3) bone heads at rest
    surface: np.ndarray  # (v, 3) clothed surface at rest
    zero_heads: np.ndarray  # (b, 3) bone heads in the zero pose
    head_frame: np.ndarray  # (3, 3) axes of the head at rest, in which the next two are told
    nose: np.ndarray  # (3,) from the head's joint
    head_top: np.ndarray  # (3,)


class Bodies:
    """Body surfaces of several people, posed by forward kinematics and linear-blend skinning.

    Wherever a person is asked for, the index of one of the eight or a `Shape` of `people` will do.

    Args:
        path: The baked bodies; None for those that the package carries.
    """

    def __init__(self, path: str | Path | None = None):
        if path is None:
            path = _asset("body_lite.npz")
        self._data = _arrays(path)
        self._bones = {name: i for i, name in enumerate(self._data["labels"].tolist())}
        self._parents = self._data["parents"].astype(int)
        self._controls = self._control_of_each_bone()
        self._control_parents = self._parent_of_each_control()
        self.faces = self._data["faces"].astype(np.int64)
        """(f, 3) vertices of each triangle, counter-clockwise seen from outside."""
        self._people = [self._person(index) for index in range(len(self))]

    def __len__(self) -> int:
        """Number of people with an index."""
        return len(self._data["rest"])

    def people(self, rng: np.random.Generator, n: int) -> list[Shape]:
        """Random adults and teenagers of all builds, 1.40 to 2.05 m tall.

        Each is a person of the basis on the way to another one: no two are the same.
        """
        basis = self._basis["people"]
        one, other = (basis[rng.integers(len(basis), size=n)] for _ in range(2))
        share = rng.uniform(0.0, BLENDED, (n, 1))
        return [self.drawn(coefficients) for coefficients in one + share * (other - one)]

    def drawn(self, coefficients: np.ndarray) -> Shape:
        """The body that lies at these coefficients (k,) of the basis of shapes, spread of one.

        Raises:
            ValueError: If there are more coefficients than the basis has.
        """
        components = self._basis["components"]
        if np.ndim(coefficients) != 1 or len(coefficients) > len(components):
            raise ValueError(
                f"expected up to {len(components)} coefficients of a shape, got an array of shape "
                f"{np.shape(coefficients)}"
            )
        flat = self._basis["mean"] + coefficients @ components[: len(coefficients)]
        points = flat.reshape(-1, 3)
        counts = np.cumsum([self._data["rest"].shape[1], len(self._parents), 1])
        rest, heads, nose, top = np.split(points, counts)
        head = heads[self._bones["head"]]
        return self._stand_up(rest, heads, np.eye(3), nose[0] - head, top[0] - head)

    def pose(
        self, person: int | Shape, rotations: np.ndarray, root_position: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Surface and joints of one person in one pose.

        Args:
            person: Which of the people, or a shape.
            rotations: (c, 3, 3) local rotations in the order of `CONTROLS`.
            root_position: (3,) where the pelvis joint (mid-hip) is, in metres.

        Returns:
            Vertices (1229, 3) and joints (18, 3), in metres, the joints in the order of
            `conf/skeleton/human18.yaml`.
        """
        shape = self._shape(person)
        turns = self._turns(rotations)
        heads = self._chain(turns, shape.zero_heads)
        heads = heads + (np.asarray(root_position) - self._pelvis(heads))
        turns = turns @ shape.corrections
        # v = sum_b w_b (R_b (v_rest - h_rest_b) + h_b), with the matrices blended first.
        offsets = heads - np.einsum("bij,bj->bi", turns, shape.rest_heads)
        matrices = np.concatenate([turns, offsets[:, :, None]], 2).reshape(len(heads), 12)
        blended = (self._blend @ matrices).reshape(-1, 3, 4)
        vertices = np.einsum("vij,vj->vi", blended[:, :, :3], shape.surface) + blended[:, :, 3]
        return vertices, self._joints(shape, turns, heads)

    def ground_height(self, person: int | Shape, rotations: np.ndarray) -> float:
        """Height of the pelvis joint at which the lowest point of the surface touches z = 0."""
        vertices, _ = self.pose(person, rotations, np.zeros(3))
        return float(-vertices[:, 2].min())

    def leg_length(self, person: int | Shape) -> float:
        """Hip to knee to ankle of one person, in metres."""
        heads = self._shape(person).zero_heads
        names = ("upperleg01.L", "lowerleg01.L", "foot.L")
        hip, knee, ankle = (heads[self._bones[name]] for name in names)
        return float(np.linalg.norm(knee - hip) + np.linalg.norm(ankle - knee))

    def control_joints(self, person: int | Shape) -> np.ndarray:
        """(c, 3) control joints in the zero pose, from mid-hip, in metres."""
        heads = self._shape(person).zero_heads
        return (heads - self._pelvis(heads))[[self._bones[bone] for bone in BONES.values()]]

    @cached_property
    def owner(self) -> np.ndarray:
        """(v,) the control joint that moves each vertex most, an index of `CONTROLS`."""
        weights = np.zeros((len(self._blend), len(CONTROLS)))
        np.add.at(weights.T, self._controls, self._blend.T)
        return weights.argmax(1)

    @cached_property
    def standing(self) -> np.ndarray:
        """(v, 3) surface of the first person in the zero pose, from mid-hip, in metres."""
        return self.pose(0, np.tile(np.eye(3), (len(CONTROLS), 1, 1)), np.zeros(3))[0]

    @cached_property
    def thigh_part(self) -> np.ndarray:
        """(v,) how far down the legs each vertex is: 0 at the hip, 1 at the knee, 2 the ankle.

        Infinite for what is neither leg nor seat.
        """
        joints = self.control_joints(0)
        hip, knee = (joints[CONTROLS.index(f"left_{n}_leg"), 2] for n in ("upper", "lower"))
        legs = [i for i, n in enumerate(CONTROLS) if n == "pelvis" or n.endswith("_leg")]
        down = (hip - self.standing[:, 2]) / (hip - knee)
        return np.where(np.isin(self.owner, legs), down, np.inf)

    @cached_property
    def part(self) -> np.ndarray:
        """(f,) part of the surface that each triangle belongs to, an index of `PARTS`."""
        rest = self._data["rest"].mean(0)
        bones = [self._dominant_bone(face) for face in self.faces]
        centres = rest[self.faces].mean(1)
        head = centres[[bone == "head" for bone in bones]]
        self._head_box = head.min(0), head.max(0)
        names = [self._part_name(b, c) for b, c in zip(bones, centres, strict=True)]
        return np.array([PARTS.index(name) for name in names])

    def _part_name(self, bone: str, centre: np.ndarray) -> str:
        """Which part a triangle is, by the bone that moves it most and by its place at rest."""
        stem = bone.split(".")[0]
        if stem in ("head", "eye"):
            return self._head_part(centre)
        if stem.startswith("neck"):
            return "skin"
        if stem.startswith("spine0") and stem not in ("spine05",) or stem == "clavicle":
            in_front = centre[1] < -0.03 and abs(centre[0]) < 0.055
            return "shirt_front" if in_front else "shirt"
        if stem.startswith(("shoulder", "upperarm")):
            return "sleeves"
        if stem.startswith("lowerarm"):
            return "forearms"
        if stem.startswith(("root", "pelvis", "upperleg", "spine05")):
            return "trousers"
        if stem.startswith("lowerleg"):
            return "shins"
        return "shoes" if stem.startswith(("foot", "toe")) else "skin"

    def _head_part(self, centre: np.ndarray) -> str:
        """Hair on the top and the back, eyes, and skin: a head must tell front from back."""
        low, high = self._head_box
        for letter in "LR":
            eye = self._data["rest_poses"][:, self._bones[f"eye.{letter}"], :3, 3].mean(0)
            if np.abs(centre - eye)[[0, 2]].max() < 0.013 and centre[1] < eye[1]:
                return "eyes"
        up = (centre[2] - low[2]) / (high[2] - low[2])
        back = (centre[1] - low[1]) / (high[1] - low[1])
        return "hair" if up > 0.84 - 0.9 * max(back - 0.3, 0.0) and up > 0.25 else "skin"

    def _dominant_bone(self, face: np.ndarray) -> str:
        weights = np.zeros(len(self._bones))
        np.add.at(weights, self._data["bi"][face], self._data["w"][face])
        return str(self._data["labels"][weights.argmax()])

    @cached_property
    def _blend(self) -> np.ndarray:
        """(v, b) skinning weights as a dense matrix: one product blends all bones."""
        weights = np.zeros((self._data["w"].shape[0], len(self._bones)))
        rows = np.arange(len(weights))[:, None]
        np.add.at(weights, (rows, self._data["bi"]), self._data["w"])
        return weights

    def _control_of_each_bone(self) -> np.ndarray:
        """(b,) the control that turns each bone: its own, or that of the nearest bone above."""
        own = {self._bones[bone]: i for i, bone in enumerate(BONES.values())}
        controls = np.zeros(len(self._parents), int)
        for bone, parent in enumerate(self._parents):
            controls[bone] = own.get(bone, controls[parent] if parent >= 0 else 0)
        return controls

    def _parent_of_each_control(self) -> list[int]:
        parents = [self._parents[self._bones[bone]] for bone in BONES.values()]
        return [-1 if p < 0 else int(self._controls[p]) for p in parents]

    def _turns(self, rotations: np.ndarray) -> np.ndarray:
        """(b, 3, 3) world rotation of each bone since the zero pose."""
        world = np.array(rotations, float)
        if world.shape != (len(CONTROLS), 3, 3):
            raise ValueError(
                f"expected rotations of shape {(len(CONTROLS), 3, 3)}, one per control joint "
                f"{list(CONTROLS)}, got {world.shape}"
            )
        for control, parent in enumerate(self._control_parents):
            if parent >= 0:
                world[control] = world[parent] @ world[control]
        return world[self._controls]

    def _chain(self, turns: np.ndarray, zero_heads: np.ndarray) -> np.ndarray:
        """(b, 3) places of the bone heads when each bone has turned; the root stays put."""
        heads = zero_heads.copy()
        for bone, parent in enumerate(self._parents):
            if parent >= 0:
                step = zero_heads[bone] - zero_heads[parent]
                heads[bone] = heads[parent] + turns[parent] @ step
        return heads

    def _shape(self, person: int | Shape) -> Shape:
        return person if isinstance(person, Shape) else self._people[person]

    def _pelvis(self, heads: np.ndarray) -> np.ndarray:
        return heads[[self._bones["upperleg01.L"], self._bones["upperleg01.R"]]].mean(0)

    def _joints(self, shape: Shape, turns: np.ndarray, heads: np.ndarray) -> np.ndarray:
        joints = {name: heads[self._bones[bone]] for name, bone in JOINT_BONES.items()}
        joints["pelvis"] = self._pelvis(heads)
        joints["thorax"] = (joints["left_shoulder"] + joints["right_shoulder"]) / 2
        head = self._bones["head"]
        frame = turns[head] @ shape.head_frame
        joints["nose"] = heads[head] + frame @ shape.nose
        joints["head"] = heads[head] + frame @ shape.head_top
        return np.stack([joints[name] for name in JOINTS])

    @cached_property
    def _basis(self) -> dict[str, np.ndarray]:
        """Mean (m,), components (k, m) and people (p, k) of the basis of shapes."""
        return {
            name: array.astype(float)
            for name, array in _arrays(_asset("body_shapes.npz")).items()
            if name in ("mean", "components", "people")
        }

    def _person(self, index: int) -> Shape:
        """One of the baked people."""
        frames, nose, top = (self._data[k][index] for k in ("rest_poses", "nose", "head_top"))
        rest, heads = self._data["rest"][index].astype(float), frames[:, :3, 3].astype(float)
        return self._stand_up(rest, heads, frames[self._bones["head"], :3, :3], nose, top)

    def _stand_up(
        self,
        rest: np.ndarray,
        heads: np.ndarray,
        head_frame: np.ndarray,
        nose: np.ndarray,
        head_top: np.ndarray,
    ) -> Shape:
        """A body from its bare surface and the heads of its bones, both at rest."""
        corrections = np.tile(np.eye(3), (len(self._parents), 1, 1))
        for letter, sign in (("L", 1.0), ("R", -1.0)):
            for control, turn in self._limb_corrections(heads, letter, sign).items():
                corrections[self._below(control)] = turn
        zero_heads = self._chain(corrections, heads)
        clothed = self._clothed(rest)
        return Shape(corrections, heads, clothed, zero_heads, head_frame, nose, head_top)

    def _limb_corrections(
        self, heads: np.ndarray, letter: str, sign: float
    ) -> dict[str, np.ndarray]:
        """World rotation of each limb bone that hangs the arms and straightens the legs."""

        def step(first: str, second: str) -> np.ndarray:
            first, second = (self._bones[f"{name}.{letter}"] for name in (first, second))
            return heads[second] - heads[first]

        upper, lower = step("upperarm01", "lowerarm01"), step("lowerarm01", "wrist")
        # The elbow is bent forward at rest, so its axis is known: it shall point to -x, as hinges
        # do in the zero pose, where a positive angle lifts the forearm forward.
        down, hinge = np.array([sign * ARM_SLOPE, 0.0, -1.0]), np.array([-1.0, 0.0, 0.0])
        bend = np.cross(upper, lower)
        forearm = about_x(-ELBOW_AT_EASE) @ down
        legs = np.array([sign * LEG_SLOPE, 0.0, -1.0])
        ahead = np.array([0.0, -1.0, 0.0])
        thigh, shank = step("upperleg01", "lowerleg01"), step("lowerleg01", "foot")
        return {
            f"upperarm01.{letter}": rotation_to(np.stack([upper, bend]), np.stack([down, hinge])),
            f"lowerarm01.{letter}": rotation_to(
                np.stack([lower, bend]), np.stack([forearm, hinge])
            ),
            f"upperleg01.{letter}": rotation_to(np.stack([thigh, ahead]), np.stack([legs, ahead])),
            f"lowerleg01.{letter}": rotation_to(np.stack([shank, ahead]), np.stack([legs, ahead])),
            f"foot.{letter}": np.eye(3),
        }

    def _below(self, bone: str) -> list[int]:
        """Indices of a bone and of all bones that hang on it."""
        below = {self._bones[bone]}
        for child, parent in enumerate(self._parents):
            if parent in below:
                below.add(child)
        return sorted(below)

    def _clothed(self, rest: np.ndarray) -> np.ndarray:
        """(v, 3) surface at rest, pushed out along its normals where there is cloth."""
        corners = rest[self.faces]
        across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals = np.zeros_like(rest)
        np.add.at(normals, self.faces, across[:, None])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
        clothed = np.isin(self.part, [PARTS.index(name) for name in CLOTHES])
        thickness = np.zeros(len(rest))
        thickness[self.faces[clothed]] = CLOTH_THICKNESS
        return rest + thickness[:, None] * normals


@lru_cache(maxsize=1)
def all_bodies() -> Bodies:
    """The bodies of the package, read once."""
    return Bodies()


def _asset(name: str) -> str:
    return str(resources.files("mask_sup") / "assets" / name)


def _arrays(path: str | Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as data:
        return {name: data[name] for name in data.files}
