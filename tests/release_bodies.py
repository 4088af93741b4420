"""Pictures and masks of the embedded bodies in any camera, for fabricated releases."""

from functools import cache

import cv2
import numpy as np

from mask_sup.synthetic.bodies import all_bodies
from mask_sup.synthetic.data import draw_body, grain_of, posed
from mask_sup.synthetic.looks import random_look
from mask_sup.synthetic.motion import procedural_motion

NAMES = (
    *("pelvis", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("spine", "neck", "nose", "head", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_shoulder", "right_elbow", "right_wrist", "thorax"),
)  # in the order of all_bodies() and human18


@cache
def walk(person, count):
    """Vertices (count, n, 3) and joints (count, 18, 3) of a walk, mm, z up."""
    motion = procedural_motion("walking", np.random.default_rng(person), 2.0, 25.0)
    found = [posed(person % len(all_bodies()), motion, 3 * i, np.zeros(2)) for i in range(count)]
    return np.stack([1000 * v for v, _ in found]), np.stack([1000 * j for _, j in found])


def middle(person, count):
    """Where a walk happens, mm."""
    vertices, _ = walk(person, count)
    return (vertices.min((0, 1)) + vertices.max((0, 1))) / 2


def looking(centre, at):
    """R and t of a camera at a place, mm, that looks at a point and stands upright."""
    forward = (at - centre) / np.linalg.norm(at - centre)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])
    return R, -R @ centre


def pixels(K, R, t, points):
    """Where OpenCV projects world points (n, 3)."""
    return cv2.projectPoints(points, cv2.Rodrigues(R)[0], t, K, np.zeros(5))[0][:, 0]


def film(person, vertices, K, R, t, size):
    """Picture (h, w, 3) RGB and mask (h, w) of 0 and 255; size is width and height."""
    look = random_look(np.random.default_rng(person), 1, "plain")
    room = np.full((2 * size[1], 2 * size[0], 3), 140, np.float32)
    body = person % len(all_bodies())
    picture, mask = draw_body(
        pixels(K, R, t, vertices),
        vertices @ R.T + t,
        room,
        look,
        R @ look.light,
        grain_of(body, look),
    )
    return np.clip(picture, 0, 255).astype(np.uint8)[..., ::-1].copy(), mask


def dot(picture, at):
    """Paint a green dot on a black one into an RGB picture, at continuous pixels."""
    centre = np.rint((np.asarray(at) - 0.5) * 16).astype(int).tolist()
    for radius, colour in ((9, (0, 0, 0)), (6, (0, 255, 0))):
        cv2.circle(picture, centre, radius * 16, colour, -1, cv2.LINE_AA, 4)
    return picture


def dot_in(picture):
    """The middle of the green dot, continuous pixels."""
    grey = picture.astype(int)
    green = np.clip(grey[..., 1] - np.maximum(grey[..., 0], grey[..., 2]) - 100, 0, None)
    rows, columns = np.indices(green.shape) + 0.5
    return np.array([(columns * green).sum(), (rows * green).sum()]) / green.sum()
