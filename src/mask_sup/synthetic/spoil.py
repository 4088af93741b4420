"""True masks made worse in the ways in which extractors make theirs: one function per fault.

Every fault takes an amount that is drawn from the range in `RECIPE`, in the unit that is told
there. "Size" is the longer side of the box around the mask when a fault is met, in pixels.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import cv2
import numpy as np

from mask_sup.synthetic.bodies import JOINTS
from mask_sup.synthetic.rigs import project

__all__ = ["FAULTS", "LIMBS", "RECIPE", "Fault", "Shot", "on_floor", "spoilt_mask"]

MM = 1000.0
FINE = 2  # subpixels along a side where a surface is filled
LONGEST = 2.0  # metres of shadow per metre up, however low the light
LEAST = 0.4  # share of the true mask's area that a spoilt one has: others are thrown out, not used
FLATTEST = 0.6  # shorter over longer axis of a blob


class Fault(NamedTuple):
    """How often a fault is met and how large it is; all values of a range are as likely."""

    chance: float
    """Of each mask; faults are met independently of each other."""
    amount: tuple[float, float]
    count: tuple[int, int] = (1, 1)
    """How often it is met in one mask."""


RECIPE: Mapping[str, Fault] = {
    "lag": Fault(0.1, (-3.0, 3.0)),  # frames of a video of 25 a second by which it is late
    "limb": Fault(0.1, (0.5, 1.0)),  # share of the limb that is missing, from its end
    "hole": Fault(0.15, (0.03, 0.08), (1, 3)),  # longer half axis over the size
    "leak": Fault(0.15, (0.03, 0.1), (1, 3)),  # longer half axis over the size
    "shadow": Fault(0.15, (0.2, 1.2)),  # metres over the ground up to which the body casts it
    "halo": Fault(0.4, (-0.012, 0.025)),  # pixels over the size: edges outward, or inward
    "shift": Fault(0.1, (0.01, 0.03)),  # pixels over the size, in any direction
}
"""In the order in which faults are met: what comes later spoils what came before."""

# Joints of what may be missing: what lies nearer to one of these bones than to any other.
LIMBS = {
    f"{side}_{name}": tuple(f"{side}_{joint}" for joint in joints)
    for side in ("left", "right")
    for name, joints in (
        ("arm", ("shoulder", "elbow", "wrist")),
        ("forearm", ("elbow", "wrist")),
        ("leg", ("hip", "knee", "ankle")),
        ("shank", ("knee", "ankle")),
    )
} | {"head": ("neck", "nose", "head")}
TRUNK = (
    *(("pelvis", f"{side}_hip") for side in ("left", "right")),
    *(("thorax", f"{side}_shoulder") for side in ("left", "right")),
    *(("spine", f"{side}_hip") for side in ("left", "right")),
    *(("spine", f"{side}_shoulder") for side in ("left", "right")),
    ("pelvis", "spine"),
    ("spine", "thorax"),
    ("thorax", "neck"),
)


class Shot(NamedTuple):
    """All that faults need to know of one picture."""

    vertices: np.ndarray  # (p, 3) of the surface, world, mm
    joints: np.ndarray  # (j, 3) world, mm
    pace: np.ndarray  # (p, 3) mm that the vertices move in a frame of a video of 25 a second
    faces: np.ndarray  # (f, 3)
    light: np.ndarray  # (3,) where the light comes from, world
    K: np.ndarray  # (3, 3) for the pixels of the mask
    R: np.ndarray  # (3, 3) world -> camera
    t: np.ndarray  # (3,) mm

    def seen(self, points: np.ndarray) -> np.ndarray:
        """Continuous pixels (n, 2) of points (n, 3) in mm."""
        return project(self.K, points @ self.R.T + self.t)


def spoilt_mask(
    mask: np.ndarray,
    shot: Shot,
    rng: np.random.Generator,
    recipe: Mapping[str, Fault] = RECIPE,
) -> np.ndarray:
    """A mask (h, w) of 0 and 255 with the faults that chance sends.

    A mask of which less than a share `LEAST` is left stays as it was.

    Raises:
        ValueError: If the recipe names an unknown fault.
    """
    if unknown := sorted(set(recipe) - set(FAULTS)):
        raise ValueError(f"unknown faults of masks {unknown}: expected some of {list(FAULTS)}")
    true = spoilt = mask > 127
    for name, fault in recipe.items():
        if rng.uniform() < fault.chance:
            for _ in range(rng.integers(*fault.count, endpoint=True)):
                amount = rng.uniform(*fault.amount)
                if spoilt.any():
                    spoilt = FAULTS[name](spoilt, shot, amount, rng)
    if spoilt.sum() < LEAST * true.sum():
        spoilt = true
    return np.where(spoilt, 255, 0).astype(np.uint8)


# ---- one function per fault: mask (h, w) bool, what is shown, amount, chance -> mask -------------


def lag(mask: np.ndarray, shot: Shot, amount: float, rng: np.random.Generator) -> np.ndarray:
    """The person's mask of a moment later, or earlier."""
    return filled(shot.seen(shot.vertices + amount * shot.pace), shot.faces, mask.shape)


def limb(mask: np.ndarray, shot: Shot, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Without one of `LIMBS`: of what is nearest to its bones, a share from its end on."""
    name = list(LIMBS)[rng.integers(len(LIMBS))]
    at = dict(zip(JOINTS, shot.seen(shot.joints), strict=True))
    rows, columns = np.nonzero(mask)
    pixels = np.stack([columns, rows], 1) + 0.5
    gone = [(at[a], at[b]) for a, b in _bones(LIMBS[name])]
    others = [bone for joints in LIMBS.values() for bone in _bones(joints)]
    others = [bone for bone in (*others, *TRUNK) if bone not in _bones(LIMBS[name])]
    rest = [(at[a], at[b]) for a, b in others]
    away, along = _nearest(pixels, gone)
    missing = (away < _nearest(pixels, rest)[0]) & (along > (1 - amount) * len(gone))
    left = mask.copy()
    left[rows[missing], columns[missing]] = False
    return left


def hole(mask: np.ndarray, shot: Shot, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Without a blob around a point of it."""
    return mask & ~_blob(mask, mask, amount, rng)


def leak(mask: np.ndarray, shot: Shot, amount: float, rng: np.random.Generator) -> np.ndarray:
    """With a blob around a point of its border."""
    border = mask & (cv2.erode(mask.astype(np.uint8), np.ones((3, 3))) == 0)
    return mask | _blob(mask, border, amount, rng) if border.any() else mask


def shadow(mask: np.ndarray, shot: Shot, amount: float, rng: np.random.Generator) -> np.ndarray:
    """With the shadow that the body casts on the ground up to some height: that at the feet."""
    low = (shot.vertices[shot.faces, 2] < amount * MM).all(1)
    lean = -shot.light[:2] / shot.light[2]
    lean *= min(1.0, LONGEST / max(np.linalg.norm(lean), 1e-9))
    cast = on_floor(shot.vertices, lean)
    return mask | filled(shot.seen(cast), shot.faces[low], mask.shape)


def halo(mask: np.ndarray, shot: Shot, amount: float, rng: np.random.Generator) -> np.ndarray:
    """With its edges outward by some pixels, or inward where the amount is negative."""
    reach = abs(amount) * _size(mask)
    if amount > 0:
        return _distance(~mask) <= reach
    return _distance(mask) > reach


def shift(mask: np.ndarray, shot: Shot, amount: float, rng: np.random.Generator) -> np.ndarray:
    """In another place of the picture, by whole pixels."""
    way = rng.uniform(0, 2 * np.pi)
    dx, dy = np.rint(amount * _size(mask) * np.array([np.cos(way), np.sin(way)]))
    moved = cv2.warpAffine(
        mask.astype(np.uint8),
        np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]]),
        mask.shape[::-1],
        flags=cv2.INTER_NEAREST,
    )
    return moved > 0


FAULTS: Mapping[str, Callable[[np.ndarray, Shot, float, np.random.Generator], np.ndarray]] = {
    "lag": lag,
    "limb": limb,
    "hole": hole,
    "leak": leak,
    "shadow": shadow,
    "halo": halo,
    "shift": shift,
}


def on_floor(vertices: np.ndarray, lean: np.ndarray) -> np.ndarray:
    """Where points (n, 3) cast their shadow on the ground z = 0, `lean` (2,) sideways per up."""
    cast = vertices.copy()
    cast[:, :2] += vertices[:, 2:] * lean
    cast[:, 2] = 0.0
    return cast


def filled(pixels: np.ndarray, faces: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Where triangles cover half a pixel of a picture (h, w); bool."""
    canvas = np.zeros((shape[0] * FINE, shape[1] * FINE), np.uint8)
    # OpenCV puts pixel centres at whole numbers, and takes fixed-point numbers.
    points = np.rint((pixels * FINE - 0.5)[faces] * 16).astype(np.int32)
    for triangle in points:
        cv2.fillConvexPoly(canvas, triangle, 255, cv2.LINE_8, 4)
    return cv2.resize(canvas, shape[::-1], interpolation=cv2.INTER_AREA) > 127


def _size(mask: np.ndarray) -> int:
    """The longer side of the box around a mask, pixels."""
    return max(cv2.boundingRect(mask.astype(np.uint8))[2:])


def _distance(inside: np.ndarray) -> np.ndarray:
    """Of each pixel, from the nearest one that is not inside, pixels."""
    return cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def _blob(
    mask: np.ndarray, where: np.ndarray, amount: float, rng: np.random.Generator
) -> np.ndarray:
    """An ellipse around one of the pixels that are marked `where`; bool."""
    y, x = np.argwhere(where)[rng.integers(where.sum())]
    axes = amount * _size(mask) * np.array([1.0, rng.uniform(FLATTEST, 1.0)])
    canvas = np.zeros(mask.shape, np.uint8)
    size = [max(1, round(axis)) for axis in axes]
    angle = rng.uniform(0, 180)
    return cv2.ellipse(canvas, (int(x), int(y)), size, angle, 0, 360, 1, cv2.FILLED) > 0


def _bones(joints: tuple[str, ...]) -> list[tuple[str, str]]:
    return list(zip(joints, joints[1:], strict=False))


def _nearest(
    pixels: np.ndarray, bones: list[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """How far each pixel is from the nearest bone, and how far along the chain of bones that is."""
    ways, places = [], []
    for number, (start, end) in enumerate(bones):
        bone = end - start
        share = np.clip((pixels - start) @ bone / max(bone @ bone, 1e-9), 0.0, 1.0)
        ways.append(np.linalg.norm(pixels - start - share[:, None] * bone, axis=1))
        places.append(number + share)
    nearest = np.argmin(ways, 0)
    columns = np.arange(len(pixels))
    return np.array(ways)[nearest, columns], np.array(places)[nearest, columns]
