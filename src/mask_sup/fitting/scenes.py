"""What is known of the scenes whose poses are fitted, and the poses that are found."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mask_sup.geometry.batch import Camera

__all__ = ["Build", "Fit", "Scenes", "better", "seen"]

SEEN = 0.5  # value of a mask somewhere in a view that is looked at


class Fit(NamedTuple):
    """Poses and how badly they explain their masks; alternatives have an axis more, k."""

    joints_world: Float[Tensor, "*n j 3"]
    residual: Float[Tensor, "*n"]
    """Mean squared difference of the drawn body and the masks, over all views."""
    cost: Float[Tensor, "*n"]
    """That, and what the anatomy has against the pose: what fits compete in."""

    @property
    def best(self) -> "Fit":
        """Of each scene the alternative of least cost."""
        return self.of(self.cost.argmin(1))

    def of(self, which: Int[Tensor, " n"]) -> "Fit":
        """Of each scene one of its alternatives."""
        rows = torch.arange(len(which))
        return Fit(*(value[rows, which] for value in self))


class Build(NamedTuple):
    """How subjects are built: lengths of their bones and radii of their capsules, mm."""

    lengths: Float[Tensor, "s b"]
    radius: Float[Tensor, "s c"]


class Scenes(NamedTuple):
    """What is known of scenes; sliced along their first axis."""

    camera: Camera
    mask: Float[Tensor, "n v h w"]
    """Foreground in [0, 1], at the size at which the body is drawn."""
    known: Float[Tensor, "n #v #h #w"]
    """0 where a picture ends and the person may go on beyond it, else 1."""
    lengths: Float[Tensor, "n b"]
    radius: Float[Tensor, "n c"]
    sequence: Int[Tensor, " n"]
    """Scenes in a row with the same number follow each other in time."""

    def part(self, which: slice | Tensor) -> "Scenes":
        """Some of the scenes."""
        camera, *rest = self
        return Scenes(camera.part(which), *(value[which] for value in rest))

    def repeated(self, count: int) -> "Scenes":
        """Each scene so many times, each time by itself."""
        many = self.part(torch.arange(len(self.mask)).repeat_interleave(count))
        return many._replace(sequence=torch.arange(len(many.mask)))

    @property
    def follows(self) -> Tensor:
        """Whether each scene but the first follows the one before it in time, (n - 1,)."""
        return self.sequence.diff() == 0

    @property
    def area(self) -> Float[Tensor, " n"]:
        """Share of the crops that is foreground."""
        return self.mask.mean((1, 2, 3)).clamp_min(1e-6)


def better(one: Fit, other: Fit) -> Fit:
    """Of each scene the fit of less cost."""
    both = Fit(*(torch.stack(part, 1) for part in zip(one, other, strict=True)))
    return both.best


def shows(mask: Float[Tensor, "*n h w"]) -> Bool[Tensor, "*n"]:
    """Which masks have foreground that is worth looking at."""
    return mask.amax((-1, -2)) > SEEN


def seen(
    camera: Camera, mask: Float[Tensor, "n v h w"], known: Float[Tensor, "n v h w"]
) -> tuple[Camera, Float[Tensor, "n v h w"], Float[Tensor, "n v h w"]]:
    """Scenes whose views without foreground are replaced by others of theirs.

    Raises:
        ValueError: If a scene has fewer than two with any.
    """
    there = shows(mask)
    if (few := there.sum(1) < 2).any():
        raise ValueError(
            f"{int(few.sum())} of {len(few)} scenes show foreground in fewer than two views, the "
            f"first is number {int(few.nonzero()[0])}: leave them out"
        )
    if there.all():
        return camera, mask, known
    places = torch.arange(there.shape[1]).expand_as(there)
    order = torch.where(there, places, places + there.shape[1]).argsort(1)  # seen ones first
    rank = torch.where(there, there.cumsum(1) - 1, (~there).cumsum(1) - 1)
    which = order.gather(1, rank % there.sum(1, keepdim=True))
    rows = torch.arange(len(mask))[:, None]
    return camera.part((rows, which)), mask[rows, which], known[rows, which]
