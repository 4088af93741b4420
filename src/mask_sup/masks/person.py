"""Which part of a foreground is the person: the one that moves, from frame to frame."""

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from mask_sup.masks.extractor import components, disc

__all__ = ["choose_person", "motion_energy"]

SMALLEST = 0.0005  # share of the picture below which nothing is a person
QUIET = 6.0  # grey levels of temporal deviation that are noise
REACH = 0.03  # of the longer side: gaps that a person is held together across
FOLLOW = 0.04  # of the longer side: how far a person moves between two frames


def motion_energy(samples: UInt8[np.ndarray, "n h w 3"]) -> Float32[np.ndarray, "h w"]:
    """How much each pixel changes over the footage: grey levels of deviation above noise."""
    total = np.zeros(samples.shape[1:3])
    square = np.zeros_like(total)
    for sample in samples:
        grey = cv2.GaussianBlur(cv2.cvtColor(sample, cv2.COLOR_RGB2GRAY), (0, 0), 2).astype(float)
        total += grey
        square += grey**2
    mean = total / len(samples)
    deviation = np.sqrt(np.maximum(square / len(samples) - mean**2, 0))
    return np.maximum(deviation - QUIET, 0).astype(np.float32)


def choose_person(
    foreground: Bool[np.ndarray, "h w"],
    motion: Float32[np.ndarray, "h w"],
    before: Bool[np.ndarray, "h w"] | None,
    region: tuple[int, int, int, int] | None,
) -> Bool[np.ndarray, "h w"]:
    """The largest moving part of a foreground, where the person was before if that is known.

    Args:
        foreground: All that may be the person.
        motion: From `motion_energy`.
        before: The person in an earlier frame; None: unknown.
        region: Left, top, right, bottom in pixels, outside of which nobody is looked for.

    Returns:
        The person; empty where nobody is large enough.
    """
    if region is not None:
        left, top, right, bottom = region
        inside = np.zeros_like(foreground)
        inside[top:bottom, left:right] = foreground[top:bottom, left:right]
        foreground = inside
    longest = max(foreground.shape)
    joined = cv2.dilate(foreground.astype(np.uint8), disc(max(1, round(REACH * longest / 2))))
    labels = components(joined > 0)[0]
    labels[~foreground] = 0
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    energy = np.bincount(labels.ravel(), weights=motion.ravel())
    score = (energy + 1e-3 * areas) * (areas >= SMALLEST * foreground.size)
    if before is not None:
        near = cv2.dilate(before.astype(np.uint8), disc(max(1, round(FOLLOW * longest)))) > 0
        kept = np.bincount(labels[near], minlength=len(areas)) / np.maximum(areas, 1)
        score *= 0.05 + kept
    if score.max(initial=0) <= 0:
        return np.zeros_like(foreground)
    return labels == score.argmax()
