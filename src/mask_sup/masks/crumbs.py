"""Masks of crumbs: what moves of a person who stays where they are is a hand or a few pixels."""

from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["REMEDY", "crumb_limits"]

CRUMB = 0.002  # share of the picture: a person of a tenth of its height covers about that
FAR = 16.0  # a camera four times as far away as the others sees that much less of the person
SEEN = 0.1  # share of the frames in which somebody should be seen at all
REMEDY = (
    "a person who stays where they are was taken for the scene: make the masks by a person network "
    "(extractor=mediapipe), or film the empty scene with each camera and give "
    "extractor.plates=<folder of <camera>.mp4>, or let the person leave their spot"
)


def crumb_limits(areas: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The cameras whose masks are mostly crumbs.

    Args:
        areas: Shares of the picture that the masks of each camera cover; empty masks are 0.

    Returns:
        For each of those cameras the share of the picture below which a mask is a crumb.
    """
    usual = {camera: _usual(found) for camera, found in areas.items()}
    limits = {}
    for camera, area in usual.items():
        others = [other for name, other in usual.items() if name != camera]
        limit = max(CRUMB, float(np.median(others)) / FAR if others else 0.0)
        if area < limit:
            limits[camera] = limit
    return limits


def _usual(areas: Sequence[float]) -> float:
    """The median of the masks with somebody in them; 0 where they are too few."""
    seen = [area for area in areas if area > 0]
    return float(np.median(seen)) if len(seen) > SEEN * len(areas) else 0.0
