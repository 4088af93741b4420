"""Painted rooms: what embedded people stand in, and what people may be pasted into."""

import cv2
import numpy as np

__all__ = ["ROOM", "cloth_colour", "painted_room", "plain_room"]

ROOM = 256  # pixels, side of a painted background


def painted_room(rng: np.random.Generator) -> np.ndarray:
    """A wall and a floor with gradients, things standing about, and blotches.

    Returns:
        (h, w, 3) float32 BGR, 0 to 255.
    """
    picture = np.empty((ROOM, ROOM, 3), np.float32)
    horizon = int(ROOM * rng.uniform(0.35, 0.8))
    for rows in (slice(None, horizon), slice(horizon, None)):
        # Light falls off across a wall; its tint hardly changes.
        corners = _wall_colour(rng) + rng.normal(0, 25, (2, 2, 1)) + rng.normal(0, 6, (2, 2, 3))
        height = picture[rows].shape[0]
        picture[rows] = cv2.resize(corners.astype(np.float32), (ROOM, height))
    for _ in range(rng.integers(0, 7)):
        _put_something(picture, rng)
    for cells, strength in ((6, 10.0), (40, 6.0)):
        blotches = rng.normal(0, strength, (cells, cells)).astype(np.float32)
        picture += cv2.resize(blotches, (ROOM, ROOM), interpolation=cv2.INTER_CUBIC)[..., None]
    return np.clip(picture, 0.0, 255.0)


def plain_room(rng: np.random.Generator) -> np.ndarray:
    """One colour all over: (h, w, 3) float32 BGR, 0 to 255."""
    return np.full((ROOM, ROOM, 3), _wall_colour(rng), np.float32)


def cloth_colour(rng: np.random.Generator) -> np.ndarray:
    """A BGR colour of any hue, often pale, dark or grey: (3,), 0 to 255."""
    return _colour(rng.uniform(0, 180), 255 * rng.uniform() ** 1.3, rng.uniform(25, 245))


def _wall_colour(rng: np.random.Generator) -> np.ndarray:
    """A BGR colour for walls and floors: mostly muted."""
    return _colour(rng.uniform(0, 180), 200 * rng.uniform() ** 2.5, rng.uniform(50, 240))


def _colour(hue: float, saturation: float, value: float) -> np.ndarray:
    """BGR, 0 to 255, of hue 0 to 180 and saturation and value 0 to 255."""
    hsv = np.array([[[hue, saturation, value]]]).astype(np.uint8)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0].astype(float)


def _put_something(picture: np.ndarray, rng: np.random.Generator) -> None:
    """Draws a box, a pole or a ball into a background."""
    colour = (_wall_colour(rng) if rng.uniform() < 0.6 else cloth_colour(rng)).tolist()
    x, y = (int(v) for v in rng.integers(0, ROOM, 2))
    kind = rng.integers(3)
    if kind == 0:
        wide, high = (int(v) for v in rng.integers(12, 110, 2))
        cv2.rectangle(picture, (x, y), (x + wide, y + high), colour, cv2.FILLED)
    elif kind == 1:
        wide = int(rng.integers(3, 16))
        cv2.rectangle(picture, (x, 0), (x + wide, ROOM), colour, cv2.FILLED)
    else:
        cv2.circle(picture, (x, y), int(rng.integers(6, 40)), colour, cv2.FILLED)
