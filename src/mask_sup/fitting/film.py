"""Films: key moments are searched, those between start from what their neighbours found.

At 60 frames a second a pose hardly changes from one frame to the next. Key moments are as far apart
as movements allow: a few of them get the whole recipe, the others start between those and search
their limbs, and all the rest follow the gradient from between their keys. What is then explained
worse than its keys is searched, too.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mask_sup.fitting.fitter import Fitted, PoseFitter
from mask_sup.fitting.scenes import Build
from mask_sup.fitting.sequences import distance
from mask_sup.geometry.batch import Camera

__all__ = ["between", "fit_film", "key_moments"]

MOSTLY = 0.9  # of the moments


def fit_film(
    fitter: PoseFitter,
    joints_world: Float[Tensor, "n j 3"],
    camera: Camera,
    mask: Float[Tensor, "n v hm wm"],
    sequence: Int[Tensor, " n"],
    build: Build | None = None,
) -> Fitted:
    """Poses of one subject on film that explain the masks.

    Args:
        fitter: Its recipes `keys`, `follow`, `improve` and `settle`, and settings of `film`.
        joints_world: Where to start, mm.
        camera: Cameras of the views (n v).
        mask: As in `PoseFitter.fit`.
        sequence: Moments in a row with the same number follow each other in time.
        build: How the subject is built, if known; None: it is learned from the key moments.
    """
    settings, flip = fitter.film, fitter.body.skeleton.flip

    def some(which: Tensor) -> dict[str, Any]:
        return {"camera": camera.part(which), "mask": mask[which], "sequence": sequence[which]}

    every = torch.arange(len(mask))
    keys = key_moments(fitter.scaled(mask), sequence, settings["change"], settings["apart"])
    first = keys[_every(settings["thinned"], sequence[keys])]
    found = fitter.fit("keys", joints_world[first], build=build, **some(first))
    for recipe, known, wanted in (("follow", first, keys), ("settle", keys, every)):
        if len(wanted) == len(known):
            continue
        start, before, after = between(found.joints_world, known, wanted, flip)
        usual = torch.maximum(found.unexplained[before], found.unexplained[after])
        front = torch.minimum(found.front[before], found.front[after])
        spread = torch.maximum(found.spread[before], found.spread[after])
        found = fitter.fit(recipe, start, build=found.build, **some(wanted))
        found = _mended(fitter, found, found.unexplained > settings["worse"] * usual, some, wanted)
        found = found._replace(
            front=torch.where(found.front.isnan(), front, found.front),
            spread=torch.where(found.spread.isnan(), spread, found.spread),
        )
    return found


def _mended(
    fitter: PoseFitter, found: Fitted, worse: Tensor, some: Callable, wanted: Tensor
) -> Fitted:
    """Moments that are explained worse than their neighbours are searched, too."""
    which = worse.nonzero().flatten()
    if not len(which):
        return found
    joints = found.joints_world.clone()
    again = fitter.fit("improve", joints[which], build=found.build, **some(wanted[which]))
    better = again.unexplained < found.unexplained[which]
    joints[which[better]] = again.joints_world[better]
    settled = fitter.fit("settle", joints, build=found.build, **some(wanted))
    return settled._replace(front=found.front, spread=found.spread)


def key_moments(
    mask: Float[Tensor, "n v h w"], sequence: Int[Tensor, " n"], change: float, apart: int
) -> Int[Tensor, " k"]:
    """Moments so far apart that masks mostly change by no more than `change` between them.

    Args:
        mask: Foreground in [0, 1].
        sequence: Moments in a row with the same number follow each other in time.
        change: Mean squared difference, as a share of the foreground, of all but a tenth.
        apart: Most moments from one key to the next.
    """
    step, area = apart, mask.mean((1, 2, 3)).clamp_min(1e-6)
    while step > 1:
        same = sequence[step:] == sequence[:-step]
        changes = ((mask[step:] - mask[:-step]).square().mean((1, 2, 3)) / area[step:])[same]
        if len(changes) and float(changes.quantile(MOSTLY)) <= change:
            break
        step -= 1
    return _every(step, sequence)


def _every(count: int, sequence: Tensor) -> Tensor:
    """Places of every `count`-th moment of each sequence, and of its last one."""
    place, edge = torch.arange(len(sequence)), torch.ones(1, dtype=torch.bool)
    begins = torch.cat([edge, sequence.diff() != 0])
    ends = torch.cat([begins[1:], edge])
    first = torch.where(begins, place, 0).cummax(0).values
    return (((place - first) % count == 0) | ends).nonzero().flatten()


def between(
    poses: Float[Tensor, "k j 3"],
    keys: Int[Tensor, " k"],
    wanted: Int[Tensor, " n"],
    flip: list[int],
) -> tuple[Float[Tensor, "n j 3"], Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Poses of moments on straight ways between those of keys, and each one's two keys.

    A key whose sides are named the other way is renamed like the one before it, on the way there.
    """
    before = torch.searchsorted(keys, wanted, right=True) - 1
    after = torch.where(keys[before] == wanted, before, before + 1)
    one, other = poses[before], poses[after]
    renamed = other[:, list(flip)]
    nearer = distance(one, renamed) < distance(one, other)
    other = torch.where(nearer[:, None, None], renamed, other)
    span = (keys[after] - keys[before]).clamp_min(1)
    share = (wanted - keys[before]) / span
    return torch.lerp(one, other, share[:, None, None]), before, after
