"""Masks that show more than one person: a second figure beside the first, or leaps between two.

Told from the masks alone, and carefully: a second part is nobody where it is small or close (an arm
or legs that something cuts off), flat (a shadow), or never moves (a chair; `scene.py` tells that).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool

from mask_sup.files.people import PEOPLE
from mask_sup.masks.extractor import components
from mask_sup.masks.person import ALL
from mask_sup.masks.sample import FEWEST, near, sampled

__all__ = ["SEVERAL", "leaps", "second_figure", "several_in"]

SEVERAL: Mapping[str, str] = {
    "people": (
        "two people: a second figure is in the mask, or it leaps from one to the other. Make the "
        f"masks by python -m mask_sup.masks, which follows one of them (person=0, the next is "
        f"person=1; not person={ALL}), or by a tool with instances such as SAM"
    ),
    "touching": (
        "somebody else touches or covers the person, and whose a pixel is was guessed "
        f"({PEOPLE}). Train without: data.source.drop_flagged=true"
    ),
}
SIDE = 240  # pixels of the longer side at which masks are looked at
AREA = 0.15  # of the first figure's area: the second has at least that
LENGTH = 0.35  # of its longer side, likewise
GAP = 0.25  # of its longer side: between the two
FLAT = 1.5  # width over height of a shadow
STAYS = 0.9  # share of the frames in which a thing's pixels are foreground
THING = 0.8  # share of a part's pixels that stay, of a thing
OFTEN = 0.08  # share of the frames with a second figure, below which all of them are chance

LEAP = 2.0  # square roots of the area: a step from frame to frame that nobody makes
WALK = 0.3  # of that unit: the usual step, above which frames are too far apart to tell
SAME = 2.0  # times: areas before and after, that may be of two people
WHOLE = 0.5  # of the usual area: less may be a limb at the border of the picture


class _Part(NamedTuple):
    mask: Bool[np.ndarray, "h w"]
    area: int
    width: int
    height: int


def several_in(
    files: Mapping[int, Path], centres: Mapping[int, tuple[float, float, float]]
) -> dict[int, list[str]]:
    """Frames of a camera in which two people are seen.

    Args:
        files: Its masks by number of the frame.
        centres: x, y and the square root of the area of masks that show somebody, one unit.
    """
    numbers = sorted(files)
    masks = sampled(files, SIDE)
    found = set(leaps(centres))
    if len(masks) >= FEWEST:
        stays = np.mean(list(masks.values()), 0) >= STAYS
        seen = [i for i, mask in masks.items() if second_figure(mask, stays)]
        if len(seen) > OFTEN * len(masks):
            found |= set(near(seen, list(masks), numbers))
    return {i: ["people"] for i in sorted(found)}


def second_figure(mask: Bool[np.ndarray, "h w"], stays: Bool[np.ndarray, "h w"]) -> bool:
    """Whether two figures are apart from each other in a mask.

    Args:
        mask: Of one moment.
        stays: Where there is foreground nearly throughout.
    """
    labels, areas, _ = components(mask)
    if len(areas) < 2:
        return False
    first = _part(labels == 1)
    for label in range(2, len(areas) + 1):
        if areas[label - 1] < AREA * areas[0]:
            return False
        second = _part(labels == label)
        long = max(first.width, first.height)
        flat = any(one.width > FLAT * one.height for one in (first, second))
        thing = any((stays & one.mask).sum() > THING * one.area for one in (first, second))
        if (
            not (thing or flat)
            and max(second.width, second.height) > LENGTH * long
            and _gap(first.mask, second.mask) > GAP * long
        ):
            return True
    return False


def _part(mask: np.ndarray) -> _Part:
    _, _, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return _Part(mask, int(mask.sum()), width, height)


def _gap(first: np.ndarray, second: np.ndarray) -> float:
    away = cv2.distanceTransform((~first).astype(np.uint8), cv2.DIST_L2, 3)
    return float(away[second].min())


def leaps(centres: Mapping[int, tuple[float, float, float]]) -> list[int]:
    """Frames before which a mask leaps further than a person moves, to one as large.

    Args:
        centres: x, y and the square root of the area, in one unit.
    """
    numbers = sorted(centres)
    rows = np.array([centres[i] for i in numbers], float).reshape(-1, 3)
    if len(rows) < FEWEST:
        return []
    size = np.maximum(np.minimum(rows[1:, 2], rows[:-1, 2]), 1e-9)
    steps = np.linalg.norm(np.diff(rows[:, :2], axis=0), axis=1) / size
    usual = float(np.median(steps))
    alike = (np.maximum(rows[1:, 2], rows[:-1, 2]) / size) ** 2 < SAME
    next_to = np.diff(numbers) == int(np.min(np.diff(numbers)))
    whole = size**2 > WHOLE * float(np.median(rows[:, 2] ** 2))
    far = (steps > LEAP) & alike & next_to & whole
    return [numbers[k + 1] for k in np.flatnonzero(far)] if usual < WALK else []
