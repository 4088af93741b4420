"""The articulated figure: named joints, their parents, and the bones that are drawn, by group.

Everything that depends on a joint layout reads it from one `Skeleton`, built from
`conf/skeleton/*.yaml`; no joint number is written anywhere else.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

__all__ = ["FreeKeypoints", "Skeleton"]


@dataclass(frozen=True)
class Skeleton:
    """A tree of joints and the segments drawn between them (P in the paper, sec. 3.2).

    Attributes:
        name: Short name, stored in checkpoints and pose files.
        joints: Joint names in tensor order.
        parents: Parent of each joint by name; the root is the one joint that is not a key.
        bones: Drawn segments by group, as pairs of joint names. A segment need not be a tree edge
            (the fillers of the torso are not).
        pairs: (right, left) joint names that swap under a left-right flip.
        heights: Rough height of each joint of a standing figure, as a share of its stature: 0 at
            the ground, 1 at the top. Read by the upright start alone.

    Raises:
        ValueError: If a name is unknown or double, the parents form no single tree, a bone group is
            empty, a bone or pair is not two joints, a height is missing, or a `right_`/`left_`
            joint has no partner in `pairs`.
    """

    name: str
    joints: Sequence[str]
    parents: Mapping[str, str]
    bones: Mapping[str, Sequence[Sequence[str]]]
    pairs: Sequence[Sequence[str]]
    heights: Mapping[str, float]

    def __post_init__(self):
        joints = list(self.joints)
        if len(set(joints)) != len(joints):
            twice = sorted({j for j in joints if joints.count(j) > 1})
            raise ValueError(f"skeleton {self.name!r}: joints listed twice: {twice}")
        couples = [*self.pairs, *(bone for group in self.bones.values() for bone in group)]
        if odd := [list(couple) for couple in couples if len(couple) != 2]:
            raise ValueError(f"skeleton {self.name!r}: a bone or pair is two joints, got {odd}")
        used = {*self.parents, *self.parents.values()}
        used |= {j for group in self.bones.values() for bone in group for j in bone}
        used |= {j for pair in self.pairs for j in pair}
        if unknown := sorted(used - set(joints)):
            raise ValueError(
                f"skeleton {self.name!r}: {unknown} named in parents, bones or pairs "
                f"but not in joints {joints}"
            )
        if wrong := sorted(set(joints) ^ set(self.heights)):
            raise ValueError(
                f"skeleton {self.name!r}: heights must name every joint once, not so for {wrong}"
            )
        roots = [j for j in joints if j not in self.parents]
        if len(roots) != 1:
            raise ValueError(
                f"skeleton {self.name!r}: expected one joint without a parent (root), got {roots}"
            )
        for joint in joints:
            self._chain(joint)
        if empty := [group for group, bones in self.bones.items() if not bones]:
            raise ValueError(f"skeleton {self.name!r}: bone groups {empty} hold no bones")
        paired = [j for pair in self.pairs for j in pair]
        sided = {j for j in joints if j.startswith(("right_", "left_"))}
        if missing := sorted(sided - set(paired)):
            raise ValueError(
                f"skeleton {self.name!r}: {missing} have a side in their name but no partner: "
                "add them to pairs"
            )
        if len(set(paired)) != len(paired):
            raise ValueError(f"skeleton {self.name!r}: a joint stands in two pairs: {self.pairs}")

    def _chain(self, joint: str) -> list[str]:
        """The joints from `joint` up to the root."""
        chain = [joint]
        while chain[-1] in self.parents:
            chain.append(self.parents[chain[-1]])
            if len(chain) > len(self.joints):
                raise ValueError(f"skeleton {self.name!r}: the parents of {joint!r} form a loop")
        return chain

    @property
    def labelled(self) -> "Skeleton":
        """The figure that labels are of: itself, where its joints are joints."""
        return self

    @property
    def is_free(self) -> bool:
        """Whether these are points that nobody has named: labels are of another figure."""
        return self.labelled is not self

    @cached_property
    def index(self) -> dict[str, int]:
        """Position of each joint name in the tensors."""
        return {name: i for i, name in enumerate(self.joints)}

    @cached_property
    def root(self) -> int:
        """Index of the joint without a parent."""
        return next(self.index[j] for j in self.joints if j not in self.parents)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Names of the bone groups."""
        return tuple(self.bones)

    @cached_property
    def flip(self) -> list[int]:
        """Joint order after a left-right flip: `pose[flip]` is the mirrored naming of `pose`."""
        order = list(range(len(self.joints)))
        for right, left in self.pairs:
            r, lf = self.index[right], self.index[left]
            order[r], order[lf] = lf, r
        return order

    @cached_property
    def tree(self) -> list[tuple[int, int]]:
        """(parent, child) index pairs of the kinematic tree, in joint order."""
        return [
            (self.index[self.parents[j]], self.index[j]) for j in self.joints if j in self.parents
        ]

    def segments(self, groups: Iterable[str]) -> list[tuple[int, int]]:
        """Index pairs of the segments of the named bone groups, in the order of `bones`."""
        groups = tuple(groups)
        self._check_groups(groups)
        return [
            (self.index[a], self.index[b])
            for group, bones in self.bones.items()
            if group in groups
            for a, b in bones
        ]

    def drawn_joints(self, groups: Iterable[str]) -> list[int]:
        """Joints that the named bone groups touch."""
        return sorted({j for segment in self.segments(groups) for j in segment})

    def resting(self, groups: Iterable[str]) -> list[tuple[int, int]]:
        """(joint, anchor) pairs: each joint that is not drawn, and its nearest drawn ancestor."""
        drawn = set(self.drawn_joints(groups))
        pairs = []
        for joint, name in enumerate(self.joints):
            if joint not in drawn:
                chain = [self.index[j] for j in self._chain(name)]
                anchor = next((j for j in chain if j in drawn), self.root)
                if anchor != joint:
                    pairs.append((joint, anchor))
        return pairs

    def _check_groups(self, groups: Iterable[str]) -> None:
        if unknown := sorted(set(groups) - set(self.bones)):
            raise ValueError(
                f"skeleton {self.name!r} has the bone groups {list(self.bones)}, not {unknown}"
            )


class FreeKeypoints(Skeleton):
    """Points without a skeleton, the figure of the Gaussian baseline (Eq. 3).

    They have numbers instead of names, no sides, no tree and one bone group, `points`, which a
    `GaussianRenderer` draws: every point is a blob. What they are is for SPP to learn from labels
    (`mask_sup.method.postprocess`), which are of another figure. Depth is measured from the first.

    Args:
        name: Short name.
        points: How many, L. The paper says usually at least twice as many as joints, 2 J.
        labelled: The figure of the labels.

    Raises:
        ValueError: If there are fewer than two points.
    """

    _labelled: Skeleton

    def __init__(self, name: str, points: int, labelled: Skeleton):
        if points < 2:
            raise ValueError(f"skeleton {name!r}: expected two free points or more, got {points}")
        joints = [f"point_{i}" for i in range(points)]
        star = dict.fromkeys(joints[1:], joints[0])
        super().__init__(
            name=name,
            joints=joints,
            parents=star,
            bones={"points": [[joints[0], joint] for joint in joints[1:]]},
            pairs=[],
            heights=dict.fromkeys(joints, 0.5),
        )
        object.__setattr__(self, "_labelled", labelled)

    @property
    def labelled(self) -> Skeleton:
        """The figure that labels are of."""
        return self._labelled

    @property
    def tree(self) -> list[tuple[int, int]]:
        """None: no point hangs on another."""
        return []
