"""Which part of a foreground is the person asked for: they are followed, and the region with them.

Everybody's tracks are known from `survey.py`. People are numbered by how much of the pictures that
ever changes they cover over the whole time: 0 is seen most.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool

from mask_sup.masks.survey import Survey, joined
from mask_sup.masks.tracks import Track

__all__ = ["ALL", "Following", "Region", "people_among", "person_asked"]

ALL = "all"
PART = 0.1  # of what person 0 covers over time: below that somebody is a crumb, a door, a shadow
APART = 0.25  # share of their moments in which they are: else a track is thought to hide in another
SHORTEST = 3  # moments in which a person is seen with nobody else
REACH = 0.6  # of a person's size: how far from where they are expected a pixel of theirs may be
KEPT = 0.5  # share of a part within that, to be theirs beside their largest part


def person_asked(person: object) -> int | None:
    """The number of the person to keep; None: everybody.

    Raises:
        ValueError: If it is neither a number from 0 on nor `all`.
    """
    if person == ALL:
        return None
    if isinstance(person, bool) or not isinstance(person, int) or person < 0:
        raise ValueError(
            f"person={person}: expected which person to keep, 0 for the one seen most, 1 for the "
            f"next, or {ALL} for all foreground (once true and false)"
        )
    return person


def people_among(tracks: Sequence[Track]) -> list[int]:
    """Numbers of the tracks that are people, the one seen most first.

    Where nothing ever changes, as with somebody who stands still, the largest is seen most.
    """

    def seen(t: int) -> tuple[float, float]:
        return tracks[t].moved, tracks[t].size * len(tracks[t].moments)

    order = sorted(range(len(tracks)), key=seen, reverse=True)
    most = tracks[order[0]].moved if order else 0.0
    return order[:1] + [
        t
        for t in order[1:]
        if tracks[t].moved > PART * most
        and tracks[t].apart >= max(SHORTEST, APART * len(tracks[t].moments))
    ]


class Region(NamedTuple):
    """Where the person is expected in a frame, in a small picture."""

    own: Bool[np.ndarray, "h w"]
    others: Bool[np.ndarray, "h w"]

    def choose(self, foreground: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
        """The person in a foreground of any size; empty where nobody is expected."""
        if not self.own.any():
            return np.zeros_like(foreground)
        size = foreground.shape[::-1]
        away, others = (
            cv2.resize(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3), size)
            if mask.any()
            else np.full(foreground.shape, np.inf, np.float32)
            for mask in (self.own, self.others)
        )
        near = away <= REACH * np.sqrt(self.own.sum())
        labels = joined(foreground & near & (away <= others))
        if not labels.any():
            return labels > 0
        areas = np.bincount(labels.ravel())
        inside = np.bincount(labels[away < 1.5], minlength=len(areas))
        inside[0] = 0
        kept = inside > KEPT * areas
        kept[inside.argmax()] = inside.any()
        kept[0] = False
        return kept[labels]


class Following:
    """One person in one camera.

    Args:
        found: Who is where in that camera.
        track: The person's.
        others: Tracks of the other people.
    """

    def __init__(self, found: Survey, track: int, others: Sequence[int]):
        self.found, self.track, self.others = found, track, list(others)
        self._kept: dict[int, Region] = {}

    def at(self, index: int) -> Region:
        """Where the person is expected in a frame: moved on from the nearest moment."""
        last = len(self.found.whose) - 1
        before = min(index // self.found.step, last)
        after = min(before + 1, last)
        share = min(1.0, index / self.found.step - before)
        near, far = (before, after) if share < 0.5 else (after, before)
        region, other = self._moment(near), self._moment(far)
        if near == far or not (region.own.any() and other.own.any()):
            return region
        step = np.subtract(_middle(other.own), _middle(region.own))
        x, y = (min(share, 1 - share) * step).tolist()
        moved = cv2.warpAffine(
            region.own.astype(np.uint8), np.float32([[1, 0, x], [0, 1, y]]), self.found.size
        )
        return region._replace(own=moved > 0)

    def _moment(self, moment: int) -> Region:
        if moment not in self._kept:
            whose = self.found.whose[moment]
            for old in [kept for kept in self._kept if kept < moment - 1]:
                del self._kept[old]
            others = np.isin(whose, [t + 1 for t in self.others])
            self._kept[moment] = Region(whose == self.track + 1, others)
        return self._kept[moment]

    def touching(self) -> list[int]:
        """Numbers of the moments in which the person touches or hides another one."""
        people = {self.track, *self.others}
        return sorted(
            moment
            for moment, tracks in self.found.touching.items()
            if self.track in tracks and len(tracks & people) > 1
        )


def _middle(mask: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return float(columns.mean()), float(rows.mean())
