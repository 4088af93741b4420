"""Small footage with known masks: a textured figure walks over a textured scene."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

WIDTH, HEIGHT = 240, 160


def texture(rng, height, width, low, high, grain):
    small = rng.integers(low, high, (height // grain + 1, width // grain + 1, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def figure(canvas, x, swing, skin):
    """Draw head, trunk, legs and an arm; returns where."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    x = round(x)
    cv2.circle(mask, (x, 40), 12, 255, -1)
    cv2.rectangle(mask, (x - 14, 52), (x + 14, 100), 255, -1)
    cv2.line(mask, (x - 7, 100), (x - 7 - swing, 146), 255, 11)
    cv2.line(mask, (x + 7, 100), (x + 7 + swing, 146), 255, 11)
    cv2.line(mask, (x + 12, 58), (x + 28, 84 + swing), 255, 8)
    inside = mask > 0
    shift = np.roll(skin, x, axis=1)
    canvas[inside] = shift[inside]
    return inside


def walk(count=24, stays=0.0, bystander=True, seed=0):
    """Frames (RGB) and masks of a figure that crosses the picture.

    Args:
        count: Number of frames.
        stays: Share of the frames in which it stands in the middle.
        bystander: Whether somebody stands at the side throughout.
        seed: Of textures and noise.
    """
    rng = np.random.default_rng(seed)
    scene = texture(rng, HEIGHT, WIDTH, 60, 200, 12)
    skin = texture(rng, HEIGHT, WIDTH, 0, 90, 6) + np.array([60, 10, 0], np.uint8)
    if bystander:
        figure(scene, 205, 4, texture(rng, HEIGHT, WIDTH, 0, 120, 6))
    away = np.linspace(-1, 1, count)
    ramp = 0.5 + 0.5 * np.sign(away) * np.maximum(np.abs(away) - stays, 0) / (1 - stays)
    frames, masks = [], []
    for k, place in enumerate(ramp):
        frame = scene.copy()
        masks.append(figure(frame, 40 + 110 * place, round(6 * np.sin(k)), skin))
        noise = rng.normal(0, 1.5, frame.shape)
        frames.append(np.clip(frame + noise, 0, 255).astype(np.uint8))
    return frames, masks


@pytest.fixture(scope="session", name="walk")
def walk_fixture() -> Callable[..., tuple[list[np.ndarray], list[np.ndarray]]]:
    """Count, stays, bystander -> frames and masks."""
    return walk


@pytest.fixture(scope="session")
def walked(tmp_path_factory, write_video) -> tuple[Path, list[np.ndarray]]:
    """A video of a figure that crosses the picture, and its masks."""
    frames, masks = walk()
    path = tmp_path_factory.mktemp("walk") / "cam01.mp4"
    write_video(path, frames, "libx264", crf="18")
    return path, masks


def overlap(a, b):
    return (a & b).sum() / max(1, (a | b).sum())


@pytest.fixture(scope="session")
def iou() -> Callable[..., float]:
    """Two lists of masks -> mean overlap."""
    return lambda found, true: float(
        np.mean([overlap(a, b) for a, b in zip(found, true, strict=True)])
    )
