"""What the names of files say: their order, and of which frame each of them is."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

__all__ = ["check_paired", "check_steps", "frame_numbers", "natural_order", "numbered", "spans"]

SHOWN = 5  # numbers of frames that a message lists
SPANS = 6  # runs of frames that are printed
Named = TypeVar("Named", Path, str)


def natural_order(names: Iterable[Named]) -> list[Named]:
    """Names or paths as people count, folder by folder: 2.png before 10.png and 000010.png.

    >>> natural_order(["cam10", "cam2", "cam1"])
    ['cam1', 'cam2', 'cam10']
    """
    return sorted(names, key=_counted)


def _counted(name: Path | str) -> tuple:
    path = Path(name)
    folders = tuple(map(_pieces, path.parts[:-1]))
    return folders, _pieces(path.stem), _pieces(path.name), path.name


def _pieces(text: str) -> tuple[str | int, ...]:
    """Text and numbers in turn, text first."""
    parts = re.split("([0-9]+)", text)
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts))


def frame_numbers(paths: Sequence[Path]) -> list[int] | None:
    """The number of the frame in each name: the last one that counts up over the folder.

    Of cam1_take2_0000.png, cam1_take2_0001.png, ... that is the third: the others stay. A name that
    is alone has nothing to count with: its last number is taken.

    Args:
        paths: In natural order.

    Returns:
        None where no number counts up, or a name has none.

    Raises:
        ValueError: If two names have the same number.
    """
    found = [_pieces(path.stem)[1::2] for path in paths]
    groups = min(map(len, found), default=0)
    if len(paths) < 2:
        return [numbers[-1] for numbers in found] if groups or not paths else None
    columns = [[numbers[-k] for numbers in found] for k in range(1, groups + 1)]
    varying = [column for column in columns if len(set(column)) > 1]
    for column in varying:
        if all(a < b for a, b in pairwise(column)):
            return column
    if varying and all(a <= b for a, b in pairwise(varying[0])):
        k = next(k for k, (a, b) in enumerate(pairwise(varying[0])) if a == b)
        raise ValueError(f"{paths[k]} and {paths[k + 1]} are of one frame: delete one")
    return None


def numbered(paths: Sequence[Path]) -> dict[int, Path]:
    """Number of the frame -> file; where names have no numbers, their place counts.

    Args:
        paths: In natural order.

    Raises:
        ValueError: If two names have the same number, or some have one and others none.
    """
    bare = [path for path in paths if len(_pieces(path.stem)) == 1]
    if 0 < len(bare) < len(paths):
        raise ValueError(
            f"{bare[0]} has no frame number in its name, other files of its folder have one: "
            "expected names like 000000.png; rename it or take it away"
        )
    numbers = frame_numbers(paths)
    return dict(zip(range(len(paths)) if numbers is None else numbers, paths, strict=True))


def check_paired(pictures: Sequence[Path], masks: Sequence[Path]) -> None:
    """Refuse pictures and masks of a camera whose names say that they are of other frames.

    The numbers of the frames have to be equal; where a side has none, the stems. One picture and
    one mask always go together.

    Args:
        pictures: In natural order.
        masks: As many, in natural order.

    Raises:
        ValueError: If the names differ.
    """
    sides = [path.stem for path in pictures], [path.stem for path in masks]
    if len(pictures) < 2 or sides[0] == sides[1]:
        return
    numbers = frame_numbers(pictures), frame_numbers(masks)
    counted = numbers[0] is not None and numbers[1] is not None
    if counted and numbers[0] == numbers[1]:
        return
    told = numbers if counted else sides
    kind = "numbers" if counted else "names (one side has no numbers that count up)"
    raise ValueError(
        f"pictures and masks go together by the {kind} of their files, which differ:\n"
        f"  pictures {_span(pictures, told[0])}\n  masks    {_span(masks, told[1])}\n"
        f"  {_mending(pictures, masks, *told)}"
    )


def _span(paths: Sequence[Path], told: Sequence[int | str]) -> str:
    return f"{told[0]} to {told[-1]}, {len(paths)} files in {paths[0].parent}"


def _mending(
    pictures: Sequence[Path], masks: Sequence[Path], first: Sequence, second: Sequence
) -> str:
    """What differs between the names of two sides, and what to do about it."""
    if isinstance(first[0], int) and isinstance(second[0], int):
        shifts = {b - a for a, b in zip(first, second, strict=True)}
        if len(shifts) == 1:
            name = f"{pictures[0].stem}{masks[0].suffix}"
            return (
                f"every mask has the number of its picture {shifts.pop():+d}; if they are of the "
                f"same frames, rename the masks: {masks[0].name} to {name} and so on"
            )
    without = [name for name in first if name not in set(second)]
    more = [name for name in second if name not in set(first)]
    return (
        f"pictures without a mask: {_some(without)}; masks without a picture: {_some(more)}; make "
        "the masks again from these pictures, or name each like its picture"
    )


def _some(names: Sequence[int | str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(str, names[:SHOWN])) + more if names else "none"


def check_steps(cameras: Mapping[str, Sequence[Path]]) -> None:
    """Refuse cameras whose frames of one place in the row are of other moments, by their numbers.

    Each camera may count from where it likes, but the steps have to be the same in all: one that
    lacks a frame in between is out of step from there on.

    Args:
        cameras: Pictures or masks of each, in natural order; their number may differ.

    Raises:
        ValueError: If a camera skips a number that another has.
    """
    steps = {}
    for name, paths in cameras.items():
        numbers = frame_numbers(paths)
        if numbers is not None:
            steps[name] = [b - a for a, b in pairwise(numbers)], paths
    for (one, (first, some)), (other, (second, others)) in pairwise(steps.items()):
        for k, (a, b) in enumerate(zip(first, second, strict=False)):
            if a != b:
                raise ValueError(
                    f"the files of cameras {one!r} and {other!r} are not of the same moments:\n"
                    f"  after {some[k]} comes {some[k + 1].name},\n"
                    f"  after {others[k]} comes {others[k + 1].name}\n"
                    "  expected equal steps; add the frames that lack, or take them from all "
                    "cameras"
                )


def spans(bad: Sequence[int], numbers: Sequence[int]) -> str:
    """Frames that follow each other as from-to.

    >>> spans([0, 4, 8, 16], range(0, 20, 4))
    '0-8, 16'
    """
    places = {number: place for place, number in enumerate(numbers)}
    runs: list[list[int]] = []
    for number in bad:
        if runs and places[number] == places[runs[-1][-1]] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    told = [f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs]
    return ", ".join(told[:SPANS]) + ", ..." * (len(told) > SPANS)
