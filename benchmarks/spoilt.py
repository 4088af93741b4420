"""Films of the embedded bodies whose true masks are spoilt in the ways that masks of people are."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import cv2
import numpy as np

from mask_sup.synthetic.bodies import JOINTS
from mask_sup.synthetic.data import draw_body, grain_of, posed, room_behind
from mask_sup.synthetic.looks import random_look
from mask_sup.synthetic.motion import procedural_motion
from mask_sup.synthetic.rigs import default_rig, project
from mask_sup.synthetic.spoil import on_floor

__all__ = ["FAULTS", "Fault", "Film", "Spoilt", "film", "spoilt"]

PERSON = 6  # one that training has not seen
NOISE = 1.5  # grey levels, of the cameras
MM = 1000.0
# A chair as boxes, metres: (low corner, high corner); it faces +x, its seat's middle is the origin.
LEG, SEAT, BACK, HALF = 0.02, 0.45, 0.95, 0.23
CHAIR = (
    ((-HALF, -HALF, SEAT - 0.05), (HALF, HALF, SEAT)),
    ((-HALF, -HALF, SEAT), (-HALF + 0.05, HALF, BACK)),
    *(
        ((x - LEG, y - LEG, 0.0), (x + LEG, y + LEG, SEAT))
        for x in (-HALF + LEG, HALF - LEG)
        for y in (-HALF + LEG, HALF - LEG)
    ),
)
BEHIND, AWAY = 0.25, 1.2  # metres from the person's usual place
SHADOW_LIGHT, SUN = 0.62, (0.7, 0.35)  # of the floor's lightness; metres of shadow per metre up
CRUMB = 0.006  # radius of what is left of a person, share of the picture
SOME = slice(8, 14)  # frames in which some masks are empty, white, ...
SPOILT_VIEW, OTHER_VIEW = 1, 2


class Film(NamedTuple):
    """A person before cameras (v), n frames."""

    pictures: np.ndarray  # (v, n, h, w, 3) uint8 RGB
    masks: np.ndarray  # (v, n, h, w) bool
    K: np.ndarray  # (v, 3, 3) camera -> continuous pixels
    R: np.ndarray  # (v, 3, 3) world -> camera
    t: np.ndarray  # (v, 3) mm
    vertices: np.ndarray  # (n, p, 3) mm
    joints: np.ndarray  # (n, j, 3) mm


class Spoilt(NamedTuple):
    """A film whose masks are wrong in a known way."""

    pictures: np.ndarray
    masks: np.ndarray
    bad: np.ndarray  # (v, n) bool: which masks are wrong


class Fault(NamedTuple):
    """A way in which masks are wrong."""

    kinds: tuple[str, ...]
    """What `masks check` may call it."""
    spoil: Callable[[Film], Spoilt]


def film(action: str, seed: int, size: int, seconds: float, fps: float) -> Film:
    """Four cameras, a room each, and true masks."""
    rng, rig = np.random.default_rng(seed), default_rig()
    shrink = size / (2 * rig.K[0, 0, 2])
    K = np.diag([shrink, shrink, 1.0]) @ rig.K
    motion = procedural_motion(action, rng, seconds, fps)
    look = random_look(rng, len(K), "scene")
    grain = grain_of(PERSON, look)
    shown = [posed(PERSON, motion, frame, np.zeros(2)) for frame in range(len(motion.rotations))]
    pictures, masks = [], []
    for view in range(len(K)):
        room = room_behind(look.room[view], K[view], rig.K[view], size)
        light = rig.R[view] @ look.light
        for vertices, _ in shown:
            seen = vertices * MM @ rig.R[view].T + rig.t[view]
            picture, mask = draw_body(project(K[view], seen), seen, room, look, light, grain)
            picture += rng.normal(0, NOISE, picture.shape)
            pictures.append(np.clip(np.rint(picture), 0, 255).astype(np.uint8)[..., ::-1])
            masks.append(mask > 127)
    shape = (len(K), len(shown))
    return Film(
        np.stack(pictures).reshape(*shape, size, size, 3),
        np.stack(masks).reshape(*shape, size, size),
        K,
        rig.R,
        rig.t,
        *(np.stack(part) * MM for part in zip(*shown, strict=True)),
    )


def seen(shot: Film, view: int, points: np.ndarray) -> np.ndarray:
    """Continuous pixels (n, 2) of points (n, 3) in mm."""
    return project(shot.K[view], points @ shot.R[view].T + shot.t[view])


def _filled(shot: Film, view: int, hulls: list[np.ndarray]) -> np.ndarray:
    """Where the hulls of points (mm) are seen."""
    canvas = np.zeros(shot.masks.shape[2:], np.uint8)
    for points in hulls:
        pixels = cv2.convexHull(seen(shot, view, points).astype(np.float32))
        cv2.fillConvexPoly(canvas, np.rint(pixels).astype(np.int32), 1)
    return canvas > 0


def _middle(shot: Film) -> np.ndarray:
    """Where the person mostly is on the ground, metres."""
    return np.median(shot.joints[:, 0, :2], 0) / MM


def chair(shot: Film, away: float) -> Spoilt:
    """A chair in all masks and pictures, so many metres from where the person mostly is."""
    rng = np.random.default_rng(int(shot.joints.sum()) % 1000)
    angle = rng.uniform(-np.pi, np.pi)
    x, y = _middle(shot) + away * np.array([np.cos(angle), np.sin(angle)])
    colour = rng.uniform(30, 220, 3).astype(np.uint8)
    c, s = np.cos(angle), np.sin(angle)
    boxes = []
    for low, high in CHAIR:
        corners = np.stack(np.meshgrid(*zip(low, high, strict=True)), -1).reshape(-1, 3)
        turned = corners @ np.array([[-c, -s, 0.0], [s, -c, 0.0], [0.0, 0.0, 1.0]])
        boxes.append((turned + [x, y, 0.0]) * MM)
    pictures, masks = shot.pictures.copy(), shot.masks.copy()
    for view in range(len(masks)):
        there = _filled(shot, view, boxes)
        for picture, mask in zip(pictures[view], masks[view], strict=True):
            picture[there & ~mask] = colour
        masks[view] |= there
    return Spoilt(pictures, masks, np.ones(masks.shape[:2], bool))


def shadow(shot: Film) -> Spoilt:
    """The body's shadow on the floor, in all pictures and masks."""
    pictures, masks = shot.pictures.copy(), shot.masks.copy()
    for frame, vertices in enumerate(shot.vertices):
        floor = on_floor(vertices, np.array(SUN))
        for view in range(len(masks)):
            canvas = np.zeros(masks.shape[2:], np.uint8)
            points = np.rint(seen(shot, view, floor)).astype(int)
            inside = ((points >= 0) & (points < canvas.shape[0])).all(1)
            canvas[points[inside, 1], points[inside, 0]] = 1
            radius = max(2, canvas.shape[0] // 80)
            canvas = cv2.morphologyEx(canvas, cv2.MORPH_CLOSE, np.ones((2 * radius + 1,) * 2))
            dark = (canvas > 0) & ~masks[view, frame]
            pictures[view, frame][dark] = np.rint(pictures[view, frame][dark] * SHADOW_LIGHT)
            masks[view, frame] |= dark
    return Spoilt(pictures, masks, np.ones(masks.shape[:2], bool))


def crumbs(shot: Film) -> Spoilt:
    """What is left of a person who stays: the hands alone."""
    masks = np.zeros_like(shot.masks)
    radius = max(2, round(CRUMB * masks.shape[2]))
    for side in ("left_wrist", "right_wrist"):
        joint = JOINTS.index(side)
        for view in range(len(masks)):
            for mask, xy in zip(masks[view], seen(shot, view, shot.joints[:, joint]), strict=True):
                disc = np.zeros(mask.shape, np.uint8)
                cv2.circle(disc, np.rint(xy).astype(int).tolist(), radius, 1, -1)
                mask |= disc > 0
    return Spoilt(shot.pictures, masks & shot.masks, np.ones(masks.shape[:2], bool))


def half(shot: Film, views: slice) -> Spoilt:
    """Nothing below the pelvis in some views."""
    masks, bad = shot.masks.copy(), np.zeros(shot.masks.shape[:2], bool)
    bad[views] = True
    for view in np.flatnonzero(bad.any(1)):
        for mask, (_, y) in zip(masks[view], seen(shot, view, shot.joints[:, 0]), strict=True):
            mask[max(0, round(y)) :] = False
    return Spoilt(shot.pictures, masks, bad)


def replaced(make: Callable[[np.ndarray], np.ndarray], frames: slice) -> Callable[[Film], Spoilt]:
    """The masks of one view in some frames, made from the true ones (n, h, w)."""

    def spoil(shot: Film) -> Spoilt:
        masks, bad = shot.masks.copy(), np.zeros(shot.masks.shape[:2], bool)
        masks[SPOILT_VIEW, frames] = make(masks[SPOILT_VIEW, frames])
        bad[SPOILT_VIEW, frames] = True
        return Spoilt(shot.pictures, masks, bad)

    return spoil


def swapped(shot: Film) -> Spoilt:
    """Two views' masks in the place of each other."""
    masks, bad = shot.masks.copy(), np.zeros(shot.masks.shape[:2], bool)
    pair = [SPOILT_VIEW, OTHER_VIEW]
    masks[pair] = masks[pair[::-1]]
    bad[pair] = True
    return Spoilt(shot.pictures, masks, bad)


def faultless(shot: Film) -> Spoilt:
    """The true masks."""
    return Spoilt(shot.pictures, shot.masks, np.zeros(shot.masks.shape[:2], bool))


ALL, ONE = slice(None), slice(SPOILT_VIEW, SPOILT_VIEW + 1)
FAULTS: Mapping[str, Fault] = {
    "none": Fault((), faultless),
    "chair behind": Fault(("object",), lambda shot: chair(shot, BEHIND)),
    "chair elsewhere": Fault(("object",), lambda shot: chair(shot, AWAY)),
    "shadow": Fault(("shadow",), shadow),
    "crumbs": Fault(("crumbs",), crumbs),
    "upper half, all views": Fault(("partial",), lambda shot: half(shot, ALL)),
    "upper half, one view": Fault(("partial",), lambda shot: half(shot, ONE)),
    "frozen": Fault(("frozen",), replaced(lambda masks: masks[:1], ALL)),
    "inverted": Fault(("inverted",), replaced(np.logical_not, ALL)),
    "white": Fault(("white",), replaced(np.ones_like, SOME)),
    "empty in some frames": Fault(("empty",), replaced(np.zeros_like, SOME)),
    "two views' masks swapped": Fault(("swapped",), swapped),
}


def spoilt(name: str, shot: Film) -> Spoilt:
    """The film with a fault of `FAULTS`."""
    return FAULTS[name].spoil(shot)
