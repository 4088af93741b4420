"""What goes wrong with masks and calibrations, done to scenes that are right.

For benchmarks alone. Each fault is a function of scenes of one run, in the order of time, and a
source of randomness; it returns the scenes as somebody with that fault would have them. The world
of the embedded data is in mm, z up, with the floor at 0.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mask_sup.figure.body import Body, Capsules
from mask_sup.geometry.batch import Camera
from mask_sup.geometry.camera import crop_from_world

__all__ = ["FAULTS", "MASK_FAULTS", "Run"]

SEAT, BACK, THIN, THICK = 450.0, 900.0, 25.0, 40.0  # mm: heights of a chair, radii of its parts
HALF = 200.0  # mm, half of a seat's side
BESIDE = (300.0, 500.0)  # mm from the pelvis to the middle of a chair
OTHER = (500.0, 900.0)  # mm from one person to the other
SUN = (35.0, 60.0)  # degrees above the floor
FLAT = 0.6  # radius of a shadow's parts over that of the body's
TURNED = (4.0, 10.0)  # degrees that a camera of a wrong calibration is turned
HOLE, LEAK = (0.15, 0.3), (0.2, 0.4)  # crop units: radius of what is cut out or added
THICKER = 1.5  # radius of what is taken away over that of the limb


class Run(NamedTuple):
    """Scenes of one person, in the order of time."""

    camera: Camera
    mask: Float[Tensor, "n v h w"]
    truth: Float[Tensor, "n j 3"]


def _between(rng: np.random.Generator, ends: tuple[float, float]) -> float:
    return float(rng.uniform(*ends))


def _aside(rng: np.random.Generator, ends: tuple[float, float]) -> Tensor:
    """A way over the floor, mm."""
    turn, far = rng.uniform(0, 2 * math.pi), _between(rng, ends)
    return torch.tensor([far * math.cos(turn), far * math.sin(turn), 0.0])


def _with(run: Run, body: Body, ends: Tensor, radius: Tensor) -> Run:
    """The masks hold capsules, too."""
    drawn = body.draw(Capsules(ends, radius), run.camera, run.mask.shape[-1])
    return run._replace(mask=torch.maximum(run.mask, drawn))


def chair(run: Run, body: Body, rng: np.random.Generator) -> Run:
    """A chair stands by the person, in all masks of all moments."""
    at = run.truth[:, 0].median(0).values * torch.tensor([1.0, 1.0, 0.0]) + _aside(rng, BESIDE)
    x, y, z = torch.eye(3).unbind(0)
    corners = [at + HALF * (a * x + b * y) for a, b in ((-1, -1), (-1, 1), (1, 1), (1, -1))]
    legs = [(corner, corner + SEAT * z, THIN) for corner in corners]
    rows = [at + HALF * share * x + SEAT * z for share in (-1, -0.5, 0, 0.5, 1)]
    seat = [(row - HALF * y, row + HALF * y, THICK) for row in rows]
    back = [(c + SEAT * z, c + BACK * z, THIN) for c in corners[:2]]
    back += [(corners[0] + h * z, corners[1] + h * z, THICK) for h in (BACK, (SEAT + BACK) / 2)]
    parts = legs + seat + back
    ends = torch.stack([torch.stack(part[:2]) for part in parts]).expand(len(run.mask), -1, 2, 3)
    return _with(run, body, ends, torch.tensor([part[2] for part in parts]))


def shadow(run: Run, body: Body, rng: np.random.Generator) -> Run:
    """The person's shadow on the floor, in all masks."""
    turn, up = rng.uniform(0, 2 * math.pi), math.radians(_between(rng, SUN))
    way = torch.tensor([math.cos(turn), math.sin(turn), 0.0]) / math.tan(up)
    capsules = body.capsules(run.truth)
    height = capsules.ends[..., 2:].clamp_min(0)
    flat = capsules.ends * torch.tensor([1.0, 1.0, 0.0]) + height * way
    return _with(run, body, flat, FLAT * capsules.radius)


def _other(run: Run, body: Body, rng: np.random.Generator) -> Capsules:
    """Somebody else close by, who does the same half a turn apart, later."""
    root = run.truth[:, :1] * torch.tensor([1.0, 1.0, 0.0])
    turned = (run.truth - root) * torch.tensor([-1.0, -1.0, 1.0])
    there = root.mean(0) + _aside(rng, OTHER)
    return body.capsules(turned.roll(len(run.truth) // 2, 0) + there)


def second_person(run: Run, body: Body, rng: np.random.Generator) -> Run:
    """Somebody else is in all masks, too."""
    return _with(run, body, *_other(run, body, rng))


def wrong_person(run: Run, body: Body, rng: np.random.Generator) -> Run:
    """The masks of one view show somebody else, and nobody but him."""
    drawn, mask = (
        body.draw(_other(run, body, rng), run.camera, run.mask.shape[-1]),
        run.mask.clone(),
    )
    view = int(rng.integers(mask.shape[1]))
    mask[:, view] = drawn[:, view]
    return run._replace(mask=mask)


def frozen(run: Run, body: Body, rng: np.random.Generator) -> Run:
    """One camera's masks stay as they were at first."""
    view = int(rng.integers(run.mask.shape[1]))
    camera, mask = Camera(*(value.clone() for value in run.camera)), run.mask.clone()
    for value in (*camera, mask):
        value[:, view] = value[:1, view].clone()
    return run._replace(camera=camera, mask=mask)


def hole(run: Run, body: Body, rng: np.random.Generator) -> Run:
    """Something is cut out about a joint in every view and moment, each time another."""
    return _spots(run, rng, HOLE, torch.zeros(()))


def leak(run: Run, body: Body, rng: np.random.Generator) -> Run:
    """A blob about a joint in every second view and moment."""
    return _spots(run, rng, LEAK, torch.ones(()), every=2)


def _spots(
    run: Run, rng: np.random.Generator, sizes: tuple[float, float], value: Tensor, every: int = 1
) -> Run:
    n, v, size = run.mask.shape[:3]
    xy = crop_from_world(run.truth[:, None], run.camera)  # n v j 2
    joint = torch.from_numpy(rng.integers(xy.shape[2], size=(n, v)))
    middle = xy.gather(2, joint[..., None, None].expand(-1, -1, 1, 2))[:, :, 0]
    radius = torch.from_numpy(rng.uniform(*sizes, (n, v))).float()
    radius *= torch.from_numpy(rng.integers(every, size=(n, v)) == 0)
    centre = (torch.arange(size) * 2 + 1) / size - 1
    off = (
        torch.stack(torch.meshgrid(centre, centre, indexing="xy"), -1) - middle[..., None, None, :]
    )
    inside = off.norm(dim=-1) < radius[..., None, None]
    return run._replace(mask=torch.where(inside, value, run.mask))


def no_limb(run: Run, body: Body, rng: np.random.Generator) -> Run:
    """An arm or a leg is missing in two views, at all moments."""
    limb = (*body.arms, *body.legs)[int(rng.integers(4))]
    capsules = body.capsules(run.truth).only(body.of_limbs([limb]))
    drawn = body.draw(capsules, run.camera, run.mask.shape[-1], THICKER)
    views = torch.zeros(run.mask.shape[1])
    views[torch.from_numpy(rng.choice(len(views), 2, replace=False))] = 1
    return run._replace(mask=run.mask * (1 - drawn * views[:, None, None]))


def half_person(run: Run, body: Body, rng: np.random.Generator) -> Run:
    """Everything below the hips is missing, in all views."""
    hips = crop_from_world(run.truth[:, None, :1], run.camera)[..., 0, 1]
    size = run.mask.shape[-1]
    centre = (torch.arange(size) * 2 + 1) / size - 1
    return run._replace(mask=run.mask * (centre[:, None] < hips[..., None, None]))


def wrong_calibration(run: Run, body: Body, rng: np.random.Generator) -> Run:
    """One camera is turned."""
    view = int(rng.integers(run.mask.shape[1]))
    angle = math.radians(_between(rng, TURNED))
    axis = torch.from_numpy(rng.normal(size=3)).float()
    x, y, z = (angle * axis / axis.norm()).tolist()
    turn = torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]]))
    K, R, t = (value.clone() for value in run.camera)
    R[:, view], t[:, view] = turn @ R[:, view], t[:, view] @ turn.T
    return run._replace(camera=Camera(K, R, t))


def swapped_cameras(run: Run, body: Body, rng: np.random.Generator) -> Run:
    """The calibrations of two cameras are exchanged."""
    one, other = rng.choice(run.mask.shape[1], 2, replace=False).tolist()
    K, R, t = (value.clone() for value in run.camera)
    for value in (R, t):
        value[:, [one, other]] = value[:, [other, one]]
    return run._replace(camera=Camera(K, R, t))


Fault = Callable[[Run, Body, np.random.Generator], Run]
MASK_FAULTS: dict[str, Fault] = {
    "chair": chair,
    "shadow": shadow,
    "second person": second_person,
    "wrong person": wrong_person,
    "frozen camera": frozen,
    "holes": hole,
    "leaks": leak,
    "missing limb": no_limb,
    "half a person": half_person,
}
FAULTS: dict[str, Fault] = {
    **MASK_FAULTS,
    "wrong calibration": wrong_calibration,
    "swapped cameras": swapped_cameras,
}
