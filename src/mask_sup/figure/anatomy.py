"""Label-free knowledge of how people are built, as terms on triangulated 3D joints.

None of it is in the paper, and `anatomy=none` leaves all of it out. Nothing here is a pose or a
template of one: the terms speak of lengths, midpoints and the order of joints along a chain.
Every term is a mean of squared metres, so that weights compare.
"""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, distributed, nn

from mask_sup.figure.skeleton import Skeleton

__all__ = ["ANATOMY_TERMS", "Anatomy", "NoAnatomy", "bone_lengths"]

MM_PER_M = 1000.0
ANATOMY_TERMS = {"symmetry", "constancy", "midpoints", "chains", "too_long", "too_short"}


def bone_lengths(
    joints: Float[Tensor, "*n j 3"], bones: Sequence[tuple[int, int]]
) -> Float[Tensor, "*n b"]:
    """Length of each bone, in the unit of the joints; differentiable where both ends coincide."""
    a, b = torch.tensor(bones, device=joints.device).T
    return (joints[..., b, :] - joints[..., a, :]).square().sum(-1).add(1e-6).sqrt()


class Anatomy(nn.Module):
    """Terms on world joints, by name, for stages to weigh.

    `symmetry`: left and right bones are equally long. `constancy`: a bone is as long as this
    person's running mean over the training (both sides together). `midpoints`, `chains`: joints
    that lie between others. `too_long`, `too_short`: the sides of a length band. They are apart
    because `too_short` from the first step forces the hips asunder in a random direction, while
    `too_long` keeps the trunk from lying along a leg.

    Args:
        skeleton: Joint names, tree and left-right pairs.
        midpoints: Joint -> the two joints whose middle it is.
        chains: Joint -> (from, to, share, slack): it lies at about `share` of the way between two
            others; within `slack` mm of that place it is free.
        lengths: Child joint -> length in mm of the bone to its parent, for an adult of average
            build; one entry serves both sides (named without `right_` or `left_`).
        tolerance: Relative deviation from `lengths` that is free.
        memory: Share of a person's running means that each training step keeps, in [0, 1).
        people: Most people in the training data.

    Raises:
        ValueError: If a joint is unknown or a bone of the tree has no length.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        midpoints: Mapping[str, Sequence[str]],
        chains: Mapping[str, Sequence[object]],
        lengths: Mapping[str, float],
        tolerance: float,
        memory: float,
        people: int,
    ):
        super().__init__()
        named = [j for k, v in midpoints.items() for j in (k, *v)]
        named += [j for k, v in chains.items() for j in (k, *v[:2])]
        if unknown := sorted(set(named) - set(skeleton.joints)):
            raise ValueError(f"anatomy names {unknown}, not joints of skeleton {skeleton.name!r}")
        self.tree = skeleton.tree
        children = [skeleton.joints[child] for _, child in self.tree]
        plain = [name.removeprefix("right_").removeprefix("left_") for name in children]
        if missing := sorted(set(plain) - set(lengths)):
            raise ValueError(f"anatomy.lengths lacks {missing}: give the length of each bone, mm")
        index = skeleton.index
        self.right, self.left = (
            [children.index(pair[side]) for pair in skeleton.pairs] for side in (0, 1)
        )
        self.midpoints = [(index[j], index[a], index[b]) for j, (a, b) in midpoints.items()]
        self.chains = [
            (index[j], index[str(a)], index[str(b)]) for j, (a, b, _, _) in chains.items()
        ]
        self.tolerance, self.memory = tolerance, memory
        self._keep("share", [share for _, _, share, _ in chains.values()])
        self._keep("slack", [slack for _, _, _, slack in chains.values()])
        self._keep("length", [lengths[name] for name in plain])
        self.register_buffer("running", torch.zeros(people, len(self.tree)))  # mm; 0: not seen yet

    def _keep(self, name: str, values: Sequence[object]) -> None:
        self.register_buffer(name, torch.tensor([float(v) for v in values]), persistent=False)

    def forward(
        self, joints_world: Float[Tensor, "n j 3"], person: Int[Tensor, " n"]
    ) -> dict[str, Float[Tensor, ""]]:
        """The terms of a batch of poses, square metres, and whose they are.

        Raises:
            ValueError: If there are more people than the anatomy remembers.
        """
        if int(person.max()) >= len(self.running):
            raise ValueError(
                f"the data shows more than {len(self.running)} people: raise anatomy.people"
            )
        lengths = bone_lengths(joints_world, self.tree)
        self._remember(lengths.detach(), person)
        terms = self.terms(joints_world, self.length, self.tolerance)
        terms["constancy"] = ((lengths - self.running[person]) / MM_PER_M).square().mean(-1)
        return {name: term.mean() for name, term in terms.items()}

    def terms(
        self, joints: Float[Tensor, "*n j 3"], length: Float[Tensor, "*#n b"], tolerance: float
    ) -> dict[str, Float[Tensor, "*n"]]:
        """The terms of each pose that need no memory, for bones of a given length in mm."""
        lengths = bone_lengths(joints, self.tree)
        right, left = self.right, self.left
        terms = {
            "symmetry": lengths[..., right] - lengths[..., left],
            "midpoints": self._off(joints, self.midpoints, 0.5),
            "chains": (self._off(joints, self.chains, self.share) - self.slack).relu(),
            "too_long": (lengths - length * (1 + tolerance)).relu(),
            "too_short": (length * (1 - tolerance) - lengths).relu(),
        }
        return {name: (term / MM_PER_M).square().mean(-1) for name, term in terms.items()}

    def _remember(self, lengths: Tensor, person: Tensor) -> None:
        """Move the running mean lengths towards this batch's, in training only."""
        if not self.training:
            return
        right, left = self.right, self.left
        lengths = lengths.clone()
        lengths[:, right] = lengths[:, left] = (lengths[:, right] + lengths[:, left]) / 2
        for who, mean in self._means(lengths, person):
            before = self.running[who]
            keep = torch.where(before > 0, self.memory, 0.0)
            self.running[who] = keep * before + (1 - keep) * mean

    def _means(self, lengths: Tensor, person: Tensor) -> list[tuple[int, Tensor]]:
        """Mean lengths of each person in the batch, over all processes that train together."""
        if not (distributed.is_initialized() and distributed.get_world_size() > 1):
            return [(who, lengths[person == who].mean(0)) for who in person.unique().tolist()]
        sums = torch.zeros_like(self.running, dtype=lengths.dtype).index_add(0, person, lengths)
        counts = lengths.new_zeros(len(sums)).index_add(0, person, lengths.new_ones(len(person)))
        for part in (sums, counts):  # of all people: which ones a process sees differs
            distributed.all_reduce(part)
        return [(who, sums[who] / counts[who]) for who in counts.nonzero().flatten().tolist()]

    def _off(
        self, joints: Tensor, triples: Sequence[Sequence[int]], share: Tensor | float
    ) -> Tensor:
        """Distance of each first joint from its place between the second and the third."""
        joint, a, b = (joints[..., list(column), :] for column in zip(*triples, strict=True))
        share = share.unsqueeze(-1) if isinstance(share, Tensor) else share
        return (joint - torch.lerp(a, b, share)).square().sum(-1).add(1e-6).sqrt()


class NoAnatomy(nn.Module):
    """The paper's setting: no terms."""

    def __init__(self, skeleton: Skeleton):
        super().__init__()

    def forward(
        self, joints_world: Float[Tensor, "n j 3"], person: Int[Tensor, " n"]
    ) -> dict[str, Float[Tensor, ""]]:
        """Nothing."""
        return {}
