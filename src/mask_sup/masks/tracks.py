"""Who is who over time: detections of people are joined into tracks, moment after moment.

A track goes on where its place is expected from its motion, and where the colours are its own.
People who meet share one detection for a while: their tracks touch, and each goes on with the way
it had. Whoever comes back is known again by the colours of upper and lower body.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import gaussian_filter
from scipy.optimize import linear_sum_assignment

__all__ = ["Detection", "Track", "Tracker", "colours_of", "unlike"]

BINS = (5, 7, 7)  # of L, a and b
SOFT = 0.6  # bins over which counts are spread, so that noise changes little
RANGES = (0, 256, 72, 184, 72, 184)  # grey is in the middle of a bin; few colours are outside
LEARNT = 0.1  # share of a moment in the colours and the size of a track
STEADY = 0.25  # share of a moment in the motion of a track
KNOWN = 10  # moments after which a track that is not seen is known by its colours alone
NEAR = 1.0  # sizes off the expected place in which a track goes on; half of it more a moment
COLOURS = 2.0  # sizes that wholly other colours are worth
ALIKE = 0.4  # unlikeness below which somebody who comes back is the same
DOUBT = 15  # moments after people touched, in which colours tell who is who
LOOSE = 0.3  # what places count in doubt
INSIDE = 1.4  # sizes off the middle of a detection in which a track that is lost hides in it


class Detection(NamedTuple):
    """Somebody in one moment, or several who touch."""

    place: Float[np.ndarray, "k"]  # pixels, or mm
    size: float  # in the same unit: how far a person is wide and high, about
    colours: Float[np.ndarray, "c"]  # from `colours_of`
    moved: float = 0.0  # share of a picture that is theirs and ever changes
    mask: np.ndarray | None = None  # (h, w) where, in one picture
    alone: bool = True  # whether the colours are theirs and nobody else's


@dataclass
class Track:
    """Somebody over time."""

    last: Detection  # the last one that was theirs alone
    seen: int  # the moment of it
    place: np.ndarray  # of the last moment
    at: int  # that moment
    velocity: np.ndarray  # a moment
    colours: np.ndarray
    size: float
    moved: float = 0.0  # sum over all moments
    moments: list[int] = field(default_factory=list)
    apart: int = 0  # moments with nobody else
    touched: int = -DOUBT - 1  # the last moment with somebody else

    def expected(self, moment: int) -> np.ndarray:
        """Place at a moment."""
        return self.place + self.velocity * min(moment - self.at, KNOWN)


class Tracker:
    """Joins detections of one moment after another."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []

    def step(self, moment: int, found: Sequence[Detection]) -> list[list[int]]:
        """Numbers of the tracks in each detection of a moment: several where people touch."""
        alive = [t for t, track in enumerate(self.tracks) if moment - track.at <= KNOWN]
        owner = self._continued(moment, found, alive)
        held: list[list[int]] = [[] for _ in found]
        for t, d in owner.items():
            held[d].append(t)
        lost = [t for t in alive if t not in owner]
        for t in lost:
            d = self._hidden_in(moment, t, lost, found, held)
            if d is not None:
                held[d].append(t)
        for d, detection in enumerate(found):
            if not held[d]:
                taken = {t for tracks in held for t in tracks}
                held[d].append(self._known(moment, detection, taken))
        for tracks, detection in zip(held, found, strict=True):
            for t in tracks:
                self._update(self.tracks[t], moment, detection, len(tracks) > 1)
        return held

    def _continued(
        self, moment: int, found: Sequence[Detection], alive: Sequence[int]
    ) -> dict[int, int]:
        """Track -> detection, one to one."""
        cost = np.full((len(alive), len(found)), np.inf)
        for row, t in enumerate(alive):
            track = self.tracks[t]
            loose = LOOSE if moment - track.touched <= DOUBT else 1.0
            reach = NEAR * (1 + 0.5 * (moment - track.at)) / loose
            for d, detection in enumerate(found):
                off = np.linalg.norm(track.expected(moment) - detection.place) / track.size
                if off < reach:
                    cost[row, d] = loose * off
                    if detection.alone:
                        cost[row, d] += COLOURS * unlike(track.colours, detection.colours)
        rows, columns = linear_sum_assignment(np.where(np.isfinite(cost), cost, 1e6))
        return {
            alive[row]: int(d)
            for row, d in zip(rows, columns, strict=True)
            if np.isfinite(cost[row, d])
        }

    def _hidden_in(
        self,
        moment: int,
        t: int,
        lost: Sequence[int],
        found: Sequence[Detection],
        held: Sequence[Sequence[int]],
    ) -> int | None:
        """The detection of others, or of others who are lost, that a lost track lies in."""

        def off(track: int, detection: Detection) -> float:
            away = self.tracks[track].expected(moment) - detection.place
            return float(np.linalg.norm(away)) / detection.size

        shared = [
            d
            for d, detection in enumerate(found)
            if held[d] or any(off(other, detection) <= INSIDE for other in lost if other != t)
        ]
        best = min(shared, key=lambda d: off(t, found[d]), default=None)
        return best if best is not None and off(t, found[best]) <= INSIDE else None

    def _known(self, moment: int, detection: Detection, taken: set[int]) -> int:
        """The track of somebody who comes back, or a new one."""
        away = [
            t
            for t, track in enumerate(self.tracks)
            if t not in taken and self._may_come(track, moment, detection)
        ]
        apart = [unlike(self.tracks[t].colours, detection.colours) for t in away]
        if apart and min(apart) < ALIKE:
            return away[int(np.argmin(apart))]
        still = np.zeros_like(detection.place)
        place, colours = detection.place, detection.colours
        new = Track(detection, moment, place, moment, still, colours, detection.size)
        self.tracks.append(new)
        return len(self.tracks) - 1

    @staticmethod
    def _may_come(track: Track, moment: int, detection: Detection) -> bool:
        """Whether there was time to get there; nobody knows where somebody was after a while."""
        since = moment - track.at
        off = np.linalg.norm(track.expected(moment) - detection.place) / track.size
        return bool(since > KNOWN or off < NEAR * (1 + since))

    def _update(self, track: Track, moment: int, detection: Detection, shared: bool) -> None:
        track.moments.append(moment)
        if shared:
            track.touched = moment
            track.place, track.at = track.expected(moment), moment
            away = np.linalg.norm(track.place - detection.place)
            if away > INSIDE * detection.size:
                track.place = detection.place
            return
        track.moved += detection.moved
        track.apart += 1
        since = moment - track.at
        if 0 < since <= KNOWN:
            step = (detection.place - track.place) / since
            track.velocity = track.velocity + STEADY * (step - track.velocity)
        elif since:
            track.velocity = np.zeros_like(track.velocity)
        if detection.alone and moment - track.touched > DOUBT:
            track.colours = track.colours + LEARNT * (detection.colours - track.colours)
        track.size += LEARNT * (detection.size - track.size)
        track.place, track.at, track.last, track.seen = detection.place, moment, detection, moment


def colours_of(
    lab: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"]
) -> Float[np.ndarray, "c"]:
    """Shares of the colours in the upper and in the lower half of a mask that is not empty."""
    rows = np.flatnonzero(mask.any(1))
    middle = (rows[0] + rows[-1] + 1) // 2
    parts = []
    for half in (slice(None, middle), slice(middle, None)):
        inside = mask[half].astype(np.uint8)
        clipped = np.clip(lab[half], (0, *RANGES[2::2]), (255, RANGES[3] - 1, RANGES[5] - 1))
        counted = cv2.calcHist([clipped.astype(np.uint8)], [0, 1, 2], inside, BINS, RANGES)
        counted = gaussian_filter(counted, SOFT, mode="constant").ravel() + 1e-6
        parts.append(counted / counted.sum() / 2)
    return np.concatenate(parts).astype(np.float32)


def unlike(a: Float[np.ndarray, "c"], b: Float[np.ndarray, "c"]) -> float:
    """Hellinger's distance of two sets of shares: 0 for the same, 1 for wholly other colours."""
    return float(np.sqrt(max(0.0, 1.0 - float(np.sqrt(a * b).sum()))))
