"""Where the person is in pictures without masks: boxes as they are given, or looked for.

Given are four numbers for all pictures, left, top, width and height, or a CSV file:

    picture,x,y,width,height
    000000.jpg,412,80,190,455

in pixels of the pictures as they were taken, from the upper left corner. A picture is told by its
file's name, with or without its ending, or the frame's number alone (0 is a video's first). In a
recording the camera and a slash come first, cam01/000000; and cam01 alone tells of all its
pictures that have no row of their own. Where nobody is seen, all four numbers are left out:
cam01/000017,,,, . Other columns and rows of other pictures are left alone.
"""

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mask_sup.data.lens import straight_box
from mask_sup.data.moments import NOBODY, Crop, Moment, View, crop_view
from mask_sup.figure.skeleton import Skeleton
from mask_sup.files.pictures import picture_size
from mask_sup.geometry.camera import px_from_crop

__all__ = ["box_around", "look_for", "settled", "with_boxes", "with_each_box"]

COLUMNS = ("picture", "x", "y", "width", "height")
EXPECTED = (
    "expected left, top, width and height of the person in pixels of the pictures as they are: "
    "box=[x,y,width,height] for all of them, or a CSV file with the columns " + ",".join(COLUMNS)
)
LEAST = 2.0  # pixels of a box's sides; less is a share of the picture's, by mistake
INSIDE = 0.5  # share of a box that its picture holds at least
SHOWN = 3  # names that a message lists
LOOKS = 4  # at a picture whose box nobody knows, at most: at all of it, then at the person
SETTLED = 0.1  # of a square's side by which it may move or grow and is the same
NEAREST = 8  # times that the person's box may be smaller than the crop that it was found in

Box = tuple[float, float, float, float]


def with_boxes(moments: Sequence[Moment], given: Any) -> list[Moment]:
    """Moments whose views say where the person is, as an ideal lens sees it.

    Args:
        moments: Their views have no masks.
        given: Four numbers, or the path of a CSV file as above.

    Raises:
        FileNotFoundError: If there is no such file, or a picture is missing.
        ValueError: If it is neither, a picture has no box, or a box is not in its picture.
    """
    if isinstance(given, str | Path):
        found = _by_name(Path(given).expanduser(), moments)
    else:
        box = _box(given, "box=")
        found = [[box] * len(moment.views) for moment in moments]
    return _placed(moments, found)


def with_each_box(moments: Sequence[Moment], given: Sequence[Sequence[Any]]) -> list[Moment]:
    """The same of a box for each view of each moment: four numbers, or None where nobody is seen.

    Raises:
        ValueError: If one is no box, or not in its picture.
    """
    found = [
        [
            NOBODY if box is None else _box(box, f"the box of {view.image}:")
            for box, view in zip(boxes, moment.views, strict=True)
        ]
        for boxes, moment in zip(given, moments, strict=True)
    ]
    return _placed(moments, found)


def _placed(moments: Sequence[Moment], found: Sequence[Sequence[Box]]) -> list[Moment]:
    """Moments whose views have these boxes of the pictures as they were taken."""
    return [
        moment._replace(
            views=tuple(
                view._replace(box=_straight(box, view))
                for view, box in zip(moment.views, boxes, strict=True)
            )
        )
        for moment, boxes in zip(moments, found, strict=True)
    ]


def look_for(
    views: Sequence[View],
    detected: Callable[[list[Crop]], Any],
    skeleton: Skeleton,
    settings: Mapping[str, Any],
) -> Sequence[View]:
    """Views with the boxes of people, as they are known, or found by looking up to `LOOKS` times.

    The first look is at the whole picture, each other one at where the one before found joints,
    until that is where it looked. Nothing is handed over from picture to picture.

    Args:
        views: All of them with a mask or a box, or none.
        detected: Crops -> joints (n j 3) in them, a tensor.
        skeleton: Joints end below the top of the head and above the soles; it tells by how much.
        settings: Of `crop_view`.
    """
    if any(view.mask is not None or view.box is not None for view in views):
        return views
    views, heights, padding = list(views), skeleton.heights.values(), 1.0
    grown, lost = 1 / (max(heights) - min(heights)), range(len(views))
    for _ in range(LOOKS):
        crops = [crop_view(views[i], **{**settings, "padding": padding}) for i in lost]
        joints, before = detected(crops)[..., :2].numpy(), [views[i].box for i in lost]
        for i, xy, crop in zip(lost, joints, crops, strict=True):
            views[i] = views[i]._replace(box=box_around(xy, crop, grown))
        lost = [i for i, box in zip(lost, before, strict=True) if not settled(box, views[i].box)]
        if not lost:
            break
        padding = settings["padding"]
    return views


def box_around(xy_crop: Float[np.ndarray, "j 2"], crop: Crop, grown: float) -> Box:
    """The box of a person, by joints that were seen in a crop: left, top, width and height, pixels.

    It is a square about their middle, inside of the picture but for its growth.

    Args:
        xy_crop: Joints in crop coordinates.
        crop: What they were seen in.
        grown: Side of the person's box over that of the joints', as flesh goes beyond them.
    """
    px = np.clip(px_from_crop(xy_crop, crop.box), 0, crop.size)
    low, high = px.min(0), px.max(0)
    side = max(LEAST, grown * float((high - low).max()), crop.box[2] / NEAREST)
    left, top = ((low + high - side) / 2).tolist()
    return left, top, side, side


def settled(before: Box | None, after: Box) -> bool:
    """Whether a square is where it was looked for, so that another look tells no more.

    Args:
        before: The square that was looked at; None: the whole picture.
        after: What was found there.

    >>> settled((10, 10, 100, 100), (12, 8, 104, 104)), settled((10, 10, 100, 100), (40, 8, 60, 60))
    (True, False)
    """
    if before is None:
        return False
    side = before[2]
    moved = np.add(after[:2], after[2] / 2) - np.add(before[:2], side / 2)
    return bool(max(*np.abs(moved), abs(after[2] - side)) <= SETTLED * side)


def _by_name(path: Path, moments: Sequence[Moment]) -> list[list[Box]]:
    """The boxes of a file, by moment and view."""
    boxes, missing, found = _read(path), [], []
    for moment in moments:
        found.append([])
        for view in moment.views:
            names = _names(view, several=len(moment.views) > 1)
            known = next((name for name in names if name in boxes), None)
            missing += [names[0]] if known is None else []
            found[-1].append(boxes.get(known))
    if missing:
        raise ValueError(
            f"{path} has no box for {len(missing)} of {sum(map(len, found))} pictures: "
            f"{_some(missing)}\n  its rows are of {_some(list(boxes))}\n"
            "  add a row for each, or give masks in place of boxes"
        )
    return found


def _names(view: View, several: bool) -> list[str]:
    """What a row may call the picture of a view, its own names first."""
    path = Path(view.image)
    names = [path.name, path.stem]
    names += [str(int(path.stem))] if path.stem.isdecimal() else []
    camera = path.parent.name
    longer = [f"{camera}/{name}" for name in names]
    return [*longer, camera] if several else names + longer


def _read(path: Path) -> Mapping[str, Box]:
    """The rows of a file by the name of their picture."""
    if not path.is_file():
        raise FileNotFoundError(f"no file of boxes at {path}\n  {EXPECTED}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV file ({error})\n  {EXPECTED}") from error
    columns = list(rows[0]) if rows else []
    if lacking := [name for name in COLUMNS if name not in columns]:
        told = f"has the columns {columns}, not {lacking}" if rows else "has no rows"
        raise ValueError(f"{path} {told}\n  {EXPECTED}")
    boxes = {}
    for number, row in enumerate(rows, start=2):  # the first line has the columns
        name, where = (row["picture"] or "").strip(), f"line {number} of {path}:"
        if name in boxes:
            raise ValueError(
                f"{where} a second box for {name}; keep one: a picture shows one person"
            )
        values = [row[column] for column in COLUMNS[1:]]
        boxes[name] = NOBODY if values == [""] * len(values) else _box(values, where)
    return boxes


def _box(given: Any, where: str) -> Box:
    """Four numbers that may be a box."""
    try:
        numbers = tuple(map(float, given))
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != len(COLUMNS) - 1 or not all(map(math.isfinite, numbers)):
        raise ValueError(f"{where} {_told(given)} is no box of four numbers\n  {EXPECTED}")
    if min(numbers[2:]) < LEAST:
        raise ValueError(
            f"{where} {_told(given)} is {numbers[2]:g} wide and {numbers[3]:g} high: sides are at "
            f"least {LEAST:g} pixels\n  {EXPECTED}; neither shares of it, nor its other corner"
        )
    return numbers


def _told(given: Any) -> str:
    several = isinstance(given, Sequence) and not isinstance(given, str)
    return f"[{', '.join(map(str, given))}]" if several else str(given)


def _straight(box: Box, view: View) -> Box:
    """A box as an ideal lens sees it, checked against its picture."""
    if box == NOBODY:
        return box
    width, height = picture_size(view.image)
    x, y, w, h = box
    across, down = min(x + w, width) - max(x, 0), min(y + h, height) - max(y, 0)
    if max(across, 0) * max(down, 0) < INSIDE * w * h:
        raise ValueError(
            f"the box {_told([f'{value:g}' for value in box])} lies for the most part outside of "
            f"{view.image}, which is {width}x{height}\n  {EXPECTED}"
        )
    straight = straight_box(box, view.K, view.distortion)
    if straight is None:
        raise ValueError(
            f"the box {_told([f'{value:g}' for value in box])} of {view.image} lies where the "
            f"lens's model {view.distortion.tolist()} cannot be undone\n  expected a lens that "
            "bends no pixel of it back: correct the calibration, or keep the box off the border"
        )
    return straight


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
