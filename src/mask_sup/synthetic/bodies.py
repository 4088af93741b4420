"""Eight posable human bodies with exact joints: the people of the embedded data.

Convention: metres, world z up; in the zero pose a person faces -y, the left hand is at +x, the
arms hang at the sides. A pose is one local rotation per control joint, in the axes of the standing
zero pose: `world[c] = world[parent(c)] @ local[c]`, and the identity everywhere is the zero pose.
"""

from functools import cached_property
from importlib import resources
from pathlib import Path

import numpy as np

__all__ = ["CONTROLS", "PARTS", "Bodies"]

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


class Bodies:
    """Body surfaces of several people, posed by forward kinematics and linear-blend skinning.

    Args:
        path: The baked bodies; None for those that the package carries.
    """

    def __init__(self, path: str | Path | None = None):
        if path is None:
            path = str(resources.files("mask_sup") / "assets" / "body_lite.npz")
        with np.load(path, allow_pickle=False) as data:
            self._data = {name: data[name] for name in data.files}
        self._bones = {name: i for i, name in enumerate(self._data["labels"].tolist())}
        self._parents = self._data["parents"].astype(int)
        self._controls = self._control_of_each_bone()
        self._control_parents = self._parent_of_each_control()
        self.faces = self._data["faces"].astype(np.int64)
        """(f, 3) vertices of each triangle, counter-clockwise seen from outside."""
        self._zero = [self._stand_up(person) for person in range(len(self))]

    def __len__(self) -> int:
        """Number of people."""
        return len(self._data["rest"])

    def pose(
        self, person: int, rotations: np.ndarray, root_position: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Surface and joints of one person in one pose.

        Args:
            person: Which of the people.
            rotations: (c, 3, 3) local rotations in the order of `CONTROLS`.
            root_position: (3,) where the pelvis joint (mid-hip) is, in metres.

        Returns:
            Vertices (1229, 3) and joints (18, 3), in metres, the joints in the order of
            `conf/skeleton/human18.yaml`.
        """
        turns, heads = self._bone_frames(person, rotations)
        heads = heads + (np.asarray(root_position) - self._pelvis(heads))
        corrections, rest_heads, surface, _ = self._zero[person]
        turns = turns @ corrections
        # v = sum_b w_b (R_b (v_rest - h_rest_b) + h_b), with the matrices blended first.
        offsets = heads - np.einsum("bij,bj->bi", turns, rest_heads)
        matrices = np.concatenate([turns, offsets[:, :, None]], 2).reshape(len(heads), 12)
        blended = (self._blend @ matrices).reshape(-1, 3, 4)
        vertices = np.einsum("vij,vj->vi", blended[:, :, :3], surface) + blended[:, :, 3]
        return vertices, self._joints(person, turns, heads)

    def ground_height(self, person: int, rotations: np.ndarray) -> float:
        """Height of the pelvis joint at which the lowest point of the surface touches z = 0."""
        vertices, _ = self.pose(person, rotations, np.zeros(3))
        return float(-vertices[:, 2].min())

    def leg_length(self, person: int) -> float:
        """Hip to knee to ankle of one person, in metres."""
        heads = self._zero[person][3]
        names = ("upperleg01.L", "lowerleg01.L", "foot.L")
        hip, knee, ankle = (heads[self._bones[name]] for name in names)
        return float(np.linalg.norm(knee - hip) + np.linalg.norm(ankle - knee))

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

    def _bone_frames(self, person: int, rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        turns = self._turns(rotations)
        return turns, self._chain(turns, self._zero[person][3])

    def _pelvis(self, heads: np.ndarray) -> np.ndarray:
        return heads[[self._bones["upperleg01.L"], self._bones["upperleg01.R"]]].mean(0)

    def _joints(self, person: int, turns: np.ndarray, heads: np.ndarray) -> np.ndarray:
        joints = {name: heads[self._bones[bone]] for name, bone in JOINT_BONES.items()}
        joints["pelvis"] = self._pelvis(heads)
        joints["thorax"] = (joints["left_shoulder"] + joints["right_shoulder"]) / 2
        head = self._bones["head"]
        frame = turns[head] @ self._data["rest_poses"][person, head, :3, :3]
        for name, point in (("nose", "nose"), ("head", "head_top")):
            joints[name] = heads[head] + frame @ self._data[point][person]
        return np.stack([joints[name] for name in JOINTS])

    def _stand_up(self, person: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """What poses start from: the model rests in an A, the zero pose stands at ease.

        Returns:
            (b, 3, 3) rotations from rest to the zero pose, the bone heads at rest (b, 3), the
            clothed surface at rest (v, 3), and the bone heads in the zero pose (b, 3).
        """
        rest_heads = self._data["rest_poses"][person, :, :3, 3].astype(float)
        corrections = np.tile(np.eye(3), (len(self._parents), 1, 1))
        for letter, sign in (("L", 1.0), ("R", -1.0)):
            for control, turn in self._limb_corrections(rest_heads, letter, sign).items():
                corrections[self._below(control)] = turn
        zero_heads = self._chain(corrections, rest_heads)
        return corrections, rest_heads, self._clothed(person), zero_heads

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

    def _clothed(self, person: int) -> np.ndarray:
        """(v, 3) surface at rest, pushed out along its normals where there is cloth."""
        rest = self._data["rest"][person].astype(float)
        corners = rest[self.faces]
        across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals = np.zeros_like(rest)
        np.add.at(normals, self.faces, across[:, None])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
        clothed = np.isin(self.part, [PARTS.index(name) for name in CLOTHES])
        thickness = np.zeros(len(rest))
        thickness[self.faces[clothed]] = CLOTH_THICKNESS
        return rest + thickness[:, None] * normals
