"""Masks of simple shapes."""

import cv2
import numpy as np


def disc(size=65, radius=20.0):
    y, x = np.mgrid[:size, :size] - size // 2
    return x**2 + y**2 <= radius**2


def figure(seed, size=64):
    """A body with four limbs that bend at random, some of them in two pieces."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((size, size), np.uint8)
    middle = rng.uniform(0.4, 0.6, 2) * size
    cv2.ellipse(mask, middle.astype(int).tolist(), (size // 12, size // 6), 0, 0, 360, 1, -1)
    for direction in rng.uniform(0, 2 * np.pi, 4):
        joint = middle
        for turn in rng.uniform(-1, 1, 2):
            step = size * 0.2 * np.array([np.cos(direction + turn), np.sin(direction + turn)])
            ends = [tuple(np.int32(point).tolist()) for point in (joint, joint + step)]
            cv2.line(mask, *ends, 1, size // 20)
            joint = joint + step
    mask[rng.integers(size)] = 0
    return mask.astype(bool)
