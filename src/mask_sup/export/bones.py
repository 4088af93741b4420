"""A figure with bones of constant length fitted to a clip: what BVH and other rigs animate.

Rest pose: a T-pose in axes with y up. The person faces +z, the left arm points to +x, legs hang
down, the head looks ahead. Bones whose name is not among `REST` go up, or, on the sides, straight
on from the bone before. Where a joint carries several bones (pelvis, thorax), the angles between
them at rest are the mean of the motion, so that what is rigid in the body stays so.

Every bone has the median of its lengths over the motion. Rotations follow from the root outwards:
each joint turns so that the joints it carries come as near as possible to where they were seen,
from where the joint itself has come to be. With one child that is the shortest turn from the
parent's orientation, which adds no twist; with several it is the least-squares rotation.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from mask_sup.export.clip import Clip, y_up

__all__ = ["Figure", "fit_figure"]

# Direction of the bone that ends at a joint, at rest; sideways is for the left, mirrored on the
# right. Those of the head are of a person who looks ahead.
REST = {
    "hip": (1.0, 0.0, 0.0),
    "knee": (0.0, -1.0, 0.0),
    "ankle": (0.0, -1.0, 0.0),
    "shoulder": (1.0, 0.0, 0.0),
    "elbow": (1.0, 0.0, 0.0),
    "wrist": (1.0, 0.0, 0.0),
    "nose": (0.0, 0.53, 0.85),
    "head": (0.0, 0.81, -0.59),
}
UP = (0.0, 1.0, 0.0)
MEAN_ROUNDS = 5  # the mean shape has settled to a tenth of a degree after two
TINY_MM = 1e-6


class Figure(NamedTuple):
    """A skeleton of constant bone lengths in motion, y up."""

    joints: tuple[str, ...]
    parent: list[int]
    """Index of each joint's parent; -1 for the root."""
    offsets_mm: Float[np.ndarray, "j 3"]
    """Each joint from its parent in the rest pose; 0 for the root."""
    turns: Float[np.ndarray, "t j 3 3"]
    """Rotation of each joint in the axes of its parent; all identities are the rest pose."""
    root_mm: Float[np.ndarray, "t 3"]

    @property
    def order(self) -> list[int]:
        """Joints from the root outwards, branch by branch."""
        return _outwards(self.parent)

    def children(self, joint: int) -> list[int]:
        """Joints that hang on a joint."""
        return [child for child, parent in enumerate(self.parent) if parent == joint]

    def positions(self) -> Float[np.ndarray, "t j 3"]:
        """Where the joints are, mm, by forward kinematics."""
        places = np.zeros((*self.turns.shape[:2], 3))
        world = np.zeros_like(self.turns)
        for joint in self.order:
            parent = self.parent[joint]
            if parent < 0:
                places[:, joint], world[:, joint] = self.root_mm, self.turns[:, joint]
            else:
                places[:, joint] = places[:, parent] + world[:, parent] @ self.offsets_mm[joint]
                world[:, joint] = world[:, parent] @ self.turns[:, joint]
        return places


def fit_figure(clip: Clip) -> Figure:
    """The figure that moves as the clip does, in axes with y up.

    Where the root or a joint's children are unknown, the last known place or rotation is held (at
    the start: the first one).

    Raises:
        ValueError: If a bone is seen in no frame, so that its length is unknown.
    """
    clip = y_up(clip)
    parent = clip.parent_index
    order = _outwards(parent)
    offsets = _rest_offsets(clip, parent, order)
    seen = clip.points_mm
    places, world = np.zeros_like(seen), np.zeros((*seen.shape, 3))
    turns = np.zeros_like(world)
    places[:, order[0]] = _held(seen[:, order[0]])
    for joint in order:
        above = world[:, parent[joint]] if parent[joint] >= 0 else np.eye(3)
        children = [child for child in order if parent[child] == joint]
        aims = seen[:, children] - places[:, joint, None]
        turns[:, joint] = _held(_turns(above, offsets[children], aims))
        world[:, joint] = above @ turns[:, joint]
        for child in children:
            places[:, child] = places[:, joint] + world[:, joint] @ offsets[child]
    return Figure(clip.joints, parent, offsets, turns, places[:, order[0]])


def _outwards(parent: list[int]) -> list[int]:
    def below(joint: int) -> list[int]:
        return [joint, *(j for c, p in enumerate(parent) if p == joint for j in below(c))]

    return below(parent.index(-1))


def _turns(
    above: np.ndarray, offsets: Float[np.ndarray, "c 3"], aims: Float[np.ndarray, "t c 3"]
) -> Float[np.ndarray, "t 3 3"]:
    """Local rotations of a joint that take its bones at rest to their aims; NaN where unknown."""
    if not len(offsets):
        return np.tile(np.eye(3), (len(aims), 1, 1))
    turns = np.full((len(aims), 3, 3), np.nan)
    known = np.isfinite(aims).all((1, 2)) & (np.linalg.norm(aims, axis=-1) > TINY_MM).all(1)
    local = np.einsum("...ji,...cj->...ci", above, aims)[known]  # in the axes of the parent
    turn = _shortest_turn(offsets[0], local[:, 0]) if len(offsets) == 1 else _fit(offsets, local)
    turns[known] = turn
    return turns


def _shortest_turn(
    start: Float[np.ndarray, "3"], end: Float[np.ndarray, "t 3"]
) -> Float[np.ndarray, "t 3 3"]:
    """The rotation by the smallest angle that takes one direction to others."""
    from scipy.spatial.transform import Rotation

    across = np.cross(start, end)
    sine, cosine = np.linalg.norm(across, axis=-1, keepdims=True), (end @ start)[:, None]
    # Half a turn has no shortest way: take one about any axis across.
    spare = np.cross(start, np.eye(3)[np.abs(start).argmin()])
    straight = sine <= 1e-9 * np.abs(cosine)
    axis = np.where(straight, spare / np.linalg.norm(spare), across / np.where(straight, 1, sine))
    return Rotation.from_rotvec(axis * np.arctan2(sine, cosine)).as_matrix()


def _fit(
    offsets: Float[np.ndarray, "c 3"], aims: Float[np.ndarray, "t c 3"]
) -> Float[np.ndarray, "t 3 3"]:
    """The rotations that bring several bones nearest to their aims, in the least-squares sense."""
    u, _, vt = np.linalg.svd(np.einsum("tci,cj->tij", aims, offsets))
    u[..., 2] *= np.linalg.det(u @ vt)[:, None]  # a rotation, not a mirror
    return u @ vt


def _held(track: np.ndarray) -> np.ndarray:
    """Frames with NaN take the values of the last frame without, the first ones of the next."""
    known = np.isfinite(track).reshape(len(track), -1).all(1)
    if not known.any():
        return np.broadcast_to(np.eye(*track.shape[1:]), track.shape)
    last = np.maximum.accumulate(np.where(known, np.arange(len(track)), -1))
    return track[np.where(last < 0, known.argmax(), last)]


def _rest_offsets(clip: Clip, parent: list[int], order: list[int]) -> Float[np.ndarray, "j 3"]:
    bones = np.zeros_like(clip.points_mm)
    offsets = np.zeros((len(parent), 3))
    for joint in order[1:]:
        bones[:, joint] = clip.points_mm[:, joint] - clip.points_mm[:, parent[joint]]
        lengths = np.linalg.norm(bones[:, joint], axis=-1)
        if not np.isfinite(lengths).any():
            raise ValueError(
                f"the bone {clip.joints[parent[joint]]} - {clip.joints[joint]} is seen in no "
                "frame: lower min_confidence, or choose a format without bones (trc, c3d, csv)"
            )
        offsets[joint] = np.nanmedian(lengths) * _rest_direction(
            clip.joints[joint], offsets[parent[joint]]
        )
    for joint in order:
        children = [child for child in order if parent[child] == joint]
        if len(children) > 1:
            offsets[children] = _mean_shape(offsets[children], bones[:, children])
    return offsets


def _rest_direction(name: str, onwards: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    side, _, part = name.rpartition("_")
    direction = np.array(REST.get(part, UP))
    if side and part not in REST and onwards.any():
        direction = onwards
    if side == "right" and part in REST:
        direction = direction * [-1, 1, 1]
    return direction / np.linalg.norm(direction)


def _mean_shape(
    start: Float[np.ndarray, "c 3"], bones: Float[np.ndarray, "t c 3"]
) -> Float[np.ndarray, "c 3"]:
    """Bones of one joint in their mean arrangement, turned as those of `start`, as long as they."""
    known = bones[np.isfinite(bones).all((1, 2))]
    if not len(known):
        return start
    lengths = np.linalg.norm(start, axis=-1, keepdims=True)
    shape = start
    for _ in range(MEAN_ROUNDS):
        shape = np.einsum("tji,tcj->ci", _fit(shape, known), known)
        shape *= lengths / np.linalg.norm(shape, axis=-1, keepdims=True)
    return shape @ _fit(shape, start[None])[0].T
