"""Cameras of the embedded data: one fixed rig, random rings, and windows cut out of their pictures.

World axes of `bodies.py` (z up), metres where a camera stands, millimetres in its t.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from mask_sup.data.lens import window

__all__ = [
    "AIM",
    "CENTRES",
    "FOCAL",
    "PICTURE",
    "RIGS",
    "RINGS",
    "STUDIO",
    "Rig",
    "Rings",
    "cut_out",
    "cut_through",
    "default_rig",
    "looking_at",
    "project",
    "random_ring",
    "strength",
]

# A rig like Human3.6M's: metres, z up; pictures of 1000x1000 pixels.
CENTRES = np.array(
    [
        [1.841, 4.955, 1.563],
        [1.761, -5.078, 1.606],
        [-1.846, 5.215, 1.491],
        [-1.794, -3.722, 1.574],
    ]
)
FOCAL, PICTURE = 1145.0, 1000
AIM = np.array([0.0, 0.3, 0.9])  # the middle of the capture space, where all cameras look


class Rig(NamedTuple):
    """Cameras (v) before a window is cut out of their pictures; millimetres."""

    K: np.ndarray  # (v, 3, 3)
    R: np.ndarray  # (v, 3, 3)
    t: np.ndarray  # (v, 3)


class Rings(NamedTuple):
    """What random rigs are drawn from: ranges with equal chances between the two numbers."""

    views: tuple[int, int]
    arc_deg: tuple[float, float]  # of the circle about the person that the cameras are spread over
    uneven: float  # a camera stands off its even place by up to this share of the gap
    elevation_deg: tuple[float, float]  # how high a camera stands, seen from the person's middle
    distance_m: tuple[float, float]  # from there
    focal_px: tuple[float, float]  # of a picture that is `PICTURE` pixels wide
    off_axis: tuple[float, float]  # the person's middle off the picture's, in half pictures
    principal: tuple[float, float]  # principal point off the picture's middle, in pictures
    roll_deg: tuple[float, float]
    apart_deg: float  # least angle between two cameras, seen from the person
    strength: float  # least `strength` of a rig
    cut_chance: float  # of a view whose window leaves out a part of the person
    cut: tuple[float, float]  # how much, as a share of the person's width or height


RINGS = Rings(
    views=(2, 8),
    arc_deg=(120.0, 360.0),
    uneven=0.3,
    elevation_deg=(-15.0, 60.0),
    distance_m=(3.0, 8.0),
    focal_px=(700.0, 2000.0),
    off_axis=(0.0, 0.6),
    principal=(-0.05, 0.05),
    roll_deg=(-15.0, 15.0),
    apart_deg=15.0,
    strength=0.25,
    cut_chance=0.15,
    cut=(0.1, 0.4),
)
STUDIO = RINGS._replace(views=(5, 8), arc_deg=(240.0, 360.0))
"""The same cameras, but so many of them, all about the person, that masks alone tell a pose."""
RIGS = {"h36m": None, "rings": RINGS, "studio": STUDIO}
"""What the rigs of each name are drawn from; None: there is one, `default_rig`."""
ATTEMPTS = 1000  # at directions of cameras; a few suffice


@lru_cache(maxsize=1)
def default_rig() -> Rig:
    """The four cameras for their whole pictures of 1000x1000 pixels."""
    return looking_at(CENTRES, AIM, FOCAL, PICTURE)


def looking_at(centres: np.ndarray, aim: np.ndarray, focal: float, size: float) -> Rig:
    """Upright cameras at `centres` (v, 3) whose optical axes meet `aim`, (3,) or (v, 3); metres.

    Args:
        centres: Where they stand, z up.
        aim: Where they look.
        focal: Focal length, pixels.
        size: Side of their square pictures, pixels; the principal point is in the middle.
    """
    forward = aim - centres
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    R = np.stack([right, np.cross(forward, right), forward], 1)
    t = -np.einsum("vij,vj->vi", R, centres) * 1000.0
    K = np.array([[focal, 0.0, size / 2], [0.0, focal, size / 2], [0.0, 0.0, 1.0]])
    return Rig(np.tile(K, (len(R), 1, 1)), R, t)


def random_ring(rng: np.random.Generator, middle: np.ndarray, rings: Rings = RINGS) -> Rig:
    """Cameras around a person, none of them like another, that tell all three dimensions.

    Args:
        rng: Where all randomness comes from.
        middle: (3,) where the person's middle mostly is, metres.
        rings: What is drawn from.

    Raises:
        ValueError: If cameras cannot stand so far apart, or so strong, in these ranges.
    """
    away = _directions(rng, rings)
    views = len(away)
    rig = looking_at(
        middle + rng.uniform(*rings.distance_m, (views, 1)) * away, middle, FOCAL, PICTURE
    )
    K, R, t = rig.K.copy(), rig.R, rig.t
    K[:, 0, 0] = K[:, 1, 1] = rng.uniform(*rings.focal_px, views)
    K[:, :2, 2] += PICTURE * rng.uniform(*rings.principal, (views, 2))
    off = rng.uniform(*rings.off_axis, views) * PICTURE / 2 / K[:, 0, 0]
    turn = np.stack(
        [
            _turned_aside(np.arctan(off[v]), rng.uniform(0, 2 * np.pi))
            @ _about_axis(np.radians(rng.uniform(*rings.roll_deg)))
            for v in range(views)
        ]
    )
    return Rig(K, turn @ R, np.einsum("vij,vj->vi", turn, t))


def strength(away: np.ndarray) -> float:
    """How well directions (v, 3) of cameras, unit length, fix a point in its worst direction.

    The least eigenvalue of sum(I - d d^T): what triangulation solves with, for cameras equally far
    away. 0 where all stand on one line with the point, 1 for two at a right angle.
    """
    away = np.asarray(away)
    return float(np.linalg.eigvalsh(len(away) * np.eye(3) - away.T @ away)[0])


def _directions(rng: np.random.Generator, rings: Rings) -> np.ndarray:
    """Directions (v, 3) from the person to cameras, unit length."""
    views = int(rng.integers(rings.views[0], rings.views[1], endpoint=True))
    for _ in range(ATTEMPTS):
        gap = np.radians(rng.uniform(*rings.arc_deg)) / views
        places = np.arange(views) + rng.uniform(-rings.uneven, rings.uneven, views)
        turn = rng.uniform(0, 2 * np.pi) + gap * places
        up = np.radians(rng.uniform(*rings.elevation_deg, views))
        away = np.stack([np.cos(up) * np.cos(turn), np.cos(up) * np.sin(turn), np.sin(up)], 1)
        nearest = (away @ away.T - 2 * np.eye(views)).max()
        if nearest <= np.cos(np.radians(rings.apart_deg)) and strength(away) >= rings.strength:
            return away
    raise ValueError(
        f"no {views} cameras found that stand {rings.apart_deg} degrees apart with a strength of "
        f"{rings.strength}: lower these, or widen arc_deg and elevation_deg"
    )


def _turned_aside(angle: float, way: float) -> np.ndarray:
    """A rotation (3, 3) of a camera that moves what is in its middle in the direction `way`."""
    axis = np.array([-np.sin(way), np.cos(way), 0.0])
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _about_axis(angle: float) -> np.ndarray:
    """A rotation (3, 3) of a camera about its optical axis."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def cut_out(K: np.ndarray, points: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """The camera matrix of a square window around the projected points (n, 2), `size` pixels wide.

    Continuous pixels: cutting out is a shift of K, resizing is a scale, with no half pixels.
    """
    low, high = points.min(0), points.max(0)
    extent = (high - low).max()
    side = extent * rng.uniform(1.1, 1.5)
    # The person stays inside, but not in the middle: some of the margin goes to either side.
    slack = (side - (high - low)) / 2 * 0.9
    corner = (low + high) / 2 - side / 2 + rng.uniform(-1.0, 1.0, 2) * np.minimum(slack, side / 4)
    return window((*corner, side), size) @ K


def cut_through(
    K: np.ndarray,
    points: np.ndarray,
    size: int,
    rng: np.random.Generator,
    share: tuple[float, float] = RINGS.cut,
) -> np.ndarray:
    """A window as `cut_out` makes it, but moved so that a part of the points is outside.

    A `share` of their width or height, drawn from the range, is left out on one of the four sides.
    """
    whole = cut_out(K, points, size, rng) @ np.linalg.inv(K)
    side = size / whole[0, 0]
    corner = -whole[:2, 2] / whole[0, 0]
    low, high = points.min(0), points.max(0)
    axis, out = int(rng.integers(2)), rng.uniform(*share)
    beyond = out * (high - low)[axis]
    corner[axis] = low[axis] + beyond if rng.uniform() < 0.5 else high[axis] - beyond - side
    return window((*corner, side), size) @ K


def project(K: np.ndarray, in_camera: np.ndarray) -> np.ndarray:
    """Continuous pixels (n, 2) of points (n, 3) in camera axes."""
    pixels = in_camera @ K.T
    return pixels[:, :2] / pixels[:, 2:]
