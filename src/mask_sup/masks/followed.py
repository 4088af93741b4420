"""The person asked for, in every camera of an input; over views where a calibration is there."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from mask_sup.calibration import (
    CalibrationError,
    find_calibration,
    read_calibration,
)
from mask_sup.calibration.offsets import OFFSETS, read_offsets
from mask_sup.files.disk import write_file
from mask_sup.files.people import PEOPLE
from mask_sup.masks.footage import Footage
from mask_sup.masks.hull import FEWEST_VIEWS
from mask_sup.masks.person import Following, people_among
from mask_sup.masks.survey import Survey
from mask_sup.masks.views import over_views

__all__ = ["followed", "tell_people"]

MEET = 0.5  # share of the foreground that has to lie in hulls, to believe a calibration


def followed(
    surveys: Sequence[Survey],
    person: int | None,
    source: Path,
    footage: Sequence[Footage],
    folder: Path | None = None,
) -> dict[str, Following]:
    """Camera -> the person in it; nothing where there are no surveys.

    Args:
        surveys: Of all cameras.
        person: Number of the person, the one seen most is 0.
        source: The input: a recording may hold a calibration.
        footage: Of all cameras.
        folder: For what is kept on disk while this runs.

    Raises:
        ValueError: If there are fewer people.
    """
    if not surveys or person is None:
        return {}
    together = _together(surveys, source, footage, folder)
    found = {}
    for one in together or surveys:
        people = people_among(one.tracks)
        if person and person >= len(people):
            raise ValueError(
                f"person={person}: {len(people)} people are found in "
                f"{'all cameras together' if together else f'camera {one.camera!r}'}, numbers "
                f"{list(range(len(people)))}: give one of these, or person=all for all foreground"
            )
        track = people[person] if people else len(one.tracks)
        found[one.camera] = Following(one, track, [t for t in people if t != track])
    return found


def _together(
    surveys: Sequence[Survey], source: Path, footage: Sequence[Footage], folder: Path | None
) -> list[Survey] | None:
    """The surveys with one number for one person in all cameras; None: cameras stand alone."""
    if len(surveys) < FEWEST_VIEWS or source.is_file():
        return None
    home = source.parent if source.name in ("videos", "frames") else source
    names = [one.camera for one in footage]
    try:
        cameras = read_calibration(find_calibration(home)).select(names)
        cameras = cameras.fitted_to([one.size() for one in footage])
        late = read_offsets(home / OFFSETS, names)
    except FileNotFoundError:
        why = f"there is no calibration in {home}"
    except (CalibrationError, ValueError) as error:
        why = str(error)
    else:
        joined = over_views(surveys, cameras, late, folder)
        share = _meeting(joined)
        if share >= MEET:
            return joined
        why = (
            f"{share:.0%} of the foreground of all cameras meet in hulls, expected {MEET:.0%}: is "
            "the calibration right?"
        )
    if any(len(people_among(one.tracks)) > 1 for one in surveys):
        print(f"! people are followed in each camera by itself, {why}")
        print("! who is person 0 may differ from camera to camera: look at the masks")
    return None


def _meeting(joined: Sequence[Survey]) -> float:
    """Share of the foreground that is somebody's."""
    owned = whole = 0
    for one in joined:
        for place in range(len(one.parts)):
            part = one.parts[place] > 0
            whole += int(part.sum())
            owned += int((part & (one.whose[place] > 0)).sum())
    return owned / max(1, whole)


def tell_people(who: Mapping[str, Following], footage: Sequence[Footage], output: Path) -> None:
    """Say and write how many people there are, and in which frames they touch."""
    if not who:
        return
    told = {}
    for one in footage:
        following = who[one.camera]
        step, numbers = following.found.step, one.numbers()
        touching = [
            int(numbers[i])
            for moment in following.touching()
            for i in range(moment * step, min(moment * step + step, one.count))
        ]
        count = 1 + len(following.others)
        told[one.camera] = {"people": count, "touching": touching}
        if count > 1:
            share = len(touching) / one.count
            print(
                f"{one.camera}: {count} people, of whom one is kept; in {share:.0%} of the frames "
                "another one touches or covers them, and masks are a guess there"
            )
    write_file(output / PEOPLE, json.dumps(told, indent=1) + "\n")
