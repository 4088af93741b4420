"""The people of several surveys joined over views: one number for one person in all cameras."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mask_sup.calibration import Calibration
from mask_sup.masks.hull import Body, Hull, divided
from mask_sup.masks.spool import Spool
from mask_sup.masks.survey import SCALE, Survey
from mask_sup.masks.tracks import Detection, Tracker

__all__ = ["over_views"]

SIZE_MM = 500.0  # of a person, for `Detection.size`; two who touch may be wider
NEARBY = 20  # moments: a part without a hull is whose its track was that long before or after


def over_views(
    surveys: Sequence[Survey],
    cameras: Calibration,
    late: Mapping[str, int] | None,
    folder: Path | None = None,
) -> list[Survey]:
    """The same surveys, their pixels given to people who are the same in all of them.

    Args:
        surveys: Of cameras that film together.
        cameras: Theirs, in the same order, for whole pictures.
        late: Frames that each runs late, from 0 on.
        folder: For what is kept on disk while this runs.
    """
    hull = Hull(cameras, [one.size for one in surveys])
    starts = [round((late or {}).get(one.camera, 0) / one.step) for one in surveys]
    tracker = Tracker()
    touching: list[dict[int, set[int]]] = [{} for _ in surveys]
    owners: list[list[dict[int, int]]] = [[] for _ in surveys]
    first = [Spool(folder) for _ in surveys]
    for moment, places in enumerate(_moments(surveys, starts)):
        parts = [one.parts[place] for one, place in zip(surveys, places, strict=True)]
        people, numbers = _people(hull, tracker, moment, parts, surveys, places)
        for view, (part, spool) in enumerate(zip(parts, first, strict=True)):
            whose, shared = _whose(part, view, people, numbers)
            if shared:
                touching[view][places[view]] = shared
            owners[view].append(_owners(surveys[view].whose[places[view]], whose))
            spool.append(whose)
    return [
        replace(
            one,
            whose=_settled(one, starts[view], first[view], owners[view], folder),
            tracks=tracker.tracks,
            touching=touching[view],
        )
        for view, one in enumerate(surveys)
    ]


def _people(
    hull: Hull,
    tracker: Tracker,
    moment: int,
    parts: Sequence[np.ndarray],
    surveys: Sequence[Survey],
    places: Sequence[int],
) -> tuple[list[Body], list[int]]:
    """Everybody in a moment, and the numbers of their tracks."""
    bodies = hull.people(parts)
    found = [
        _detection(body, max(SIZE_MM, hull.spread(body)), bodies, surveys, places)
        for body in bodies
    ]
    held = tracker.step(moment, found)
    people, numbers = [], []
    for body, tracks in zip(bodies, held, strict=True):
        expected = [tracker.tracks[t].place for t in tracks]
        people += hull.parted(body, expected) if len(tracks) > 1 else [body]
        numbers += tracks
    return people, numbers


def _moments(surveys: Sequence[Survey], starts: Sequence[int]) -> Iterator[list[int]]:
    count = min(len(one.parts) - start for one, start in zip(surveys, starts, strict=True))
    for moment in range(max(0, count)):
        yield [start + moment for start in starts]


def _detection(
    body: Body,
    size: float,
    people: Sequence[Body],
    surveys: Sequence[Survey],
    places: Sequence[int],
) -> Detection:
    """Where somebody is, and what they look like where nobody else is in the same part."""
    alone, shared = [], []
    for view, (one, place) in enumerate(zip(surveys, places, strict=True)):
        looks = one.looks[place] / SCALE
        for part in body.parts[view]:
            others = sum(part in other.parts[view] for other in people) > 1
            (shared if others else alone).append(looks[part - 1])
    rows = np.stack(alone or shared)
    colours = rows[:, 1:].mean(0) + 1e-9
    moved = float(rows[:, 0].sum())
    return Detection(body.place, size, colours / colours.sum(), moved, alone=bool(alone))


def _whose(
    part: np.ndarray, view: int, people: Sequence[Body], numbers: Sequence[int]
) -> tuple[np.ndarray, set[int]]:
    """One more than the number of the person that each pixel is of (0: nobody); and who touch."""
    whose, shared = np.zeros(part.shape, np.uint16), set()
    for label in range(1, part.max() + 1):
        here = part == label
        owners = [i for i, body in enumerate(people) if label in body.parts[view]]
        if len(owners) == 1:
            whose[here] = numbers[owners[0]] + 1
        elif owners:
            regions = [people[i].regions[view] for i in owners]
            split = divided(here, regions, [people[i].depths[view] for i in owners])
            for k, i in enumerate(owners, start=1):
                whose[split == k] = numbers[i] + 1
            shared |= {numbers[i] for i in owners}
    return whose, shared


def _owners(before: np.ndarray, whose: np.ndarray) -> dict[int, int]:
    """Track of the one view -> person, as most of its pixels tell."""
    both = (before > 0) & (whose > 0)
    pairs, counts = np.unique(np.stack([before[both], whose[both]]), axis=1, return_counts=True)
    order = np.argsort(counts, kind="stable")  # the last one counts
    return {int(old): int(new) for old, new in pairs.T[order]}


def _settled(
    one: Survey,
    start: int,
    first: Spool,
    owners: Sequence[Mapping[int, int]],
    folder: Path | None,
) -> Spool:
    """Whose pixels of one view are; where no hull is, a track is whose it was shortly before."""
    whose = Spool(folder)
    for place in range(len(one.parts)):
        moment, before = place - start, one.whose[place]
        known = 0 <= moment < len(first)
        here = first[moment].copy() if known else np.zeros_like(before)
        there = set(np.unique(here).tolist())
        for old in np.unique(before[(here == 0) & (before > 0)]).tolist():
            new = _nearby(owners, moment, old)
            if new and new not in there:
                here[(here == 0) & (before == old)] = new
        whose.append(here)
    return whose


def _nearby(owners: Sequence[Mapping[int, int]], moment: int, old: int) -> int:
    for off in range(1, NEARBY + 1):
        for place in (moment - off, moment + off):
            if 0 <= place < len(owners) and old in owners[place]:
                return owners[place][old]
    return 0
