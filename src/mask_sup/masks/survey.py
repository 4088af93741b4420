"""Everybody in a camera's footage: looked for some times a second, before any mask is written.

What is kept of a moment is small and lies on disk: which parts the foreground has, and whose each
pixel is. `views.py` says the latter better where several calibrated cameras film.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Integer, UInt8

from mask_sup.files.video import frame_rate
from mask_sup.masks.extractor import Extractor, components, disc
from mask_sup.masks.footage import Footage, shrink
from mask_sup.masks.hull import divided
from mask_sup.masks.spool import Spool
from mask_sup.masks.tracks import Detection, Track, Tracker, colours_of

__all__ = ["REACH", "Survey", "joined", "motion_energy", "survey"]

SIDE = 240  # pixels of the longer side at which people are followed
RATE = 10.0  # moments a second that are looked at; of pictures without a rate each one
QUIET = 6.0  # grey levels of temporal deviation that are noise
SMALLEST = 0.0005  # share of the picture below which nothing is a person
REACH = 0.03  # of the longer side: gaps that a person is held together across
MOST = 12  # parts of a moment that are looked at, the largest ones
SCALE = 65535  # a share of 1, as it is kept


@dataclass
class Survey:
    """Who is where in the moments looked at of one camera.

    `parts` and `whose` hold a small picture of each moment: the number of the foreground's part,
    and one more than the number of the track, 0 for none. `looks` has a row per part: its share of
    the picture that ever moves, and its colours.
    """

    camera: str
    step: int  # frames from one moment to the next
    size: tuple[int, int]  # width and height of the small pictures
    parts: Spool
    whose: Spool
    looks: Spool
    tracks: list[Track] = field(default_factory=list)
    touching: dict[int, set[int]] = field(default_factory=dict)  # moment -> tracks that share


def survey(
    footage: Footage,
    extractor: Extractor,
    size: int | None,
    motion: Float32[np.ndarray, "h w"],
    box: Sequence[float] | None,
    folder: Path | None = None,
) -> Survey:
    """Follow everybody in one camera by place, motion and colours.

    Args:
        footage: The camera.
        extractor: Settled on it.
        size: Longer side at which it works; None: the whole one.
        motion: From `motion_energy`.
        box: Left, top, right, bottom as shares of the picture, outside of which nobody is.
        folder: For what is kept on disk while this runs.
    """
    from rich.progress import track

    rate = frame_rate(footage.path) if footage.path.is_file() else None
    step = max(1, round(rate / RATE)) if rate else 1
    found = Survey(footage.camera, step, (0, 0), Spool(folder), Spool(folder), Spool(folder))
    tracker = Tracker()
    moves = None
    told = f"{footage.camera}: who is there"
    for index, frame in enumerate(track(footage.frames(), told, total=footage.count)):
        small = shrink(frame, size)
        if index % step:
            extractor.skip(small, index)
            continue
        foreground = extractor.everyone(small, index)
        if moves is None:
            found.size = shrink(small, SIDE).shape[1::-1]
            moves = cv2.resize(motion, found.size, interpolation=cv2.INTER_AREA) > 0
        _look(found, tracker, foreground, small, moves, box)
    found.tracks = tracker.tracks
    return found


def _look(
    found: Survey,
    tracker: Tracker,
    foreground: np.ndarray,
    frame: np.ndarray,
    moves: np.ndarray,
    box: Sequence[float] | None,
) -> None:
    """Add a moment."""
    moment = len(found.parts)
    mask = cv2.resize(foreground.astype(np.uint8) * 255, found.size, interpolation=cv2.INTER_AREA)
    labels = joined(_within(mask > 127, box))
    lab = cv2.cvtColor(
        cv2.resize(frame, found.size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2Lab
    )
    seen = [_detection(lab, labels == part, moves) for part in range(1, labels.max() + 1)]
    held = tracker.step(moment, seen)
    whose = np.zeros(labels.shape, np.uint16)
    for part, tracks in enumerate(held, start=1):
        here = labels == part
        whose[here] = tracks[0] + 1
        if len(tracks) > 1:
            found.touching.setdefault(moment, set()).update(tracks)
            regions = [_expected(tracker.tracks[t]) for t in tracks]
            split = divided(here, regions, [0.0] * len(regions))
            for i, t in enumerate(tracks, start=1):
                whose[split == i] = t + 1
    looks = np.zeros((MOST, 1 + len(colours_of(lab, np.ones(labels.shape, bool)))))
    for row, one in zip(looks, seen, strict=False):
        row[0], row[1:] = one.moved, one.colours
    found.parts.append(labels)
    found.whose.append(whose)
    found.looks.append(np.rint(looks * SCALE))


def _detection(lab: np.ndarray, mask: np.ndarray, moves: np.ndarray) -> Detection:
    rows, columns = np.nonzero(mask)
    place = np.array([columns.mean(), rows.mean()])
    moved = float((mask & moves).mean())
    return Detection(place, float(np.sqrt(len(rows))), colours_of(lab, mask), moved, mask)


def _expected(track: Track) -> Bool[np.ndarray, "h w"]:
    """Where a track would be seen if nobody were in the way."""
    x, y = (track.place - track.last.place).tolist()
    mask = track.last.mask.astype(np.uint8)
    return cv2.warpAffine(mask, np.float32([[1, 0, x], [0, 1, y]]), mask.shape[::-1]) > 0


def joined(mask: Bool[np.ndarray, "h w"]) -> Integer[np.ndarray, "h w"]:
    """Parts of a foreground, across small gaps, that are large enough for a person; 1 is largest.

    At most `MOST` of them; the rest is 0.
    """
    radius = max(1, round(REACH * max(mask.shape) / 2))
    wide = cv2.dilate(mask.astype(np.uint8), disc(radius)) > 0
    labels = components(wide)[0]
    labels[~mask] = 0
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    order = np.argsort(-areas, kind="stable")[:MOST]
    rank = np.zeros(len(areas), np.int32)
    large = [label for label in order if areas[label] >= max(1, SMALLEST * mask.size)]
    rank[large] = np.arange(1, len(large) + 1)
    return rank[labels]


def _within(mask: np.ndarray, box: Sequence[float] | None) -> np.ndarray:
    """The mask without what lies outside of a box, given in shares of the picture."""
    if box is None:
        return mask
    height, width = mask.shape
    left, top, right, bottom = (
        round(share * side) for share, side in zip(box, (width, height) * 2, strict=True)
    )
    inside = np.zeros_like(mask)
    inside[top:bottom, left:right] = mask[top:bottom, left:right]
    return inside


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
