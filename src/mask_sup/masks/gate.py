"""The quality gate: masks that show nobody, are cut off, doubled, leaking, jumping or missing.

Nothing is known about the person; a mask is compared with its neighbours in time, with what a
figure can be, and with the scene (`scene.py`).
"""

import contextlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from omegaconf import DictConfig

from mask_sup.files.disk import write_file
from mask_sup.files.masks import misfit, read_mask
from mask_sup.files.names import check_paired, natural_order, numbered, spans
from mask_sup.files.people import touching_in
from mask_sup.files.pictures import list_pictures
from mask_sup.geometry.degenerate import DEGENERATE, Sketch, degenerate, frozen, sketch
from mask_sup.masks.crumbs import REMEDY, crumb_limits
from mask_sup.masks.extractor import components
from mask_sup.masks.footage import Footage, find_footage, shrink
from mask_sup.masks.motion import MOTION, swapped
from mask_sup.masks.scene import SCENE, scene_in
from mask_sup.masks.several import SEVERAL, several_in

__all__ = ["KINDS", "Limits", "Measured", "check", "flag", "list_masks", "measure"]

VERSION = 1
SIZE = 480  # pixels of the longer side at which masks are measured
KINDS: Mapping[str, str] = {
    "missing": "there is no mask of this frame",
    "misshapen": "its sides are in another proportion than those of its picture",
    "unreadable": "the file is no picture, or shows more than one person's mask",
    **DEGENERATE,
    "crumbs": f"it is far smaller than a person; {REMEDY}",
    **SCENE,
    **MOTION,
    **SEVERAL,
    "cut_off": "the person touches the border of the picture",
    "doubled": "it has a second large part",
    "leaking": "it is larger than its neighbours, or covers what they leave free",
    "shrunk": "it is smaller than its neighbours",
    "jumping": "it lies elsewhere than its neighbours",
}
SPELT_OUT = (
    "unreadable",
    "misshapen",
    *DEGENERATE,
    "crumbs",
    *SCENE,
    *MOTION,
    *SEVERAL,
)
"""Kinds of which the frames are printed, too."""


class Limits(NamedTuple):
    """Where a mask begins to be suspicious; see conf/check_masks.yaml."""

    smallest: float
    border: float
    second: float
    area: float
    outside: float
    jump: float
    neighbours: int


class Measured(NamedTuple):
    """One mask in numbers; shares of areas, lengths as shares of the picture's longer side."""

    area: float  # of the picture
    centre: tuple[float, float]  # x, y; NaN where empty
    border: float  # share of the shorter side that touches the picture's border
    second: float  # area of the second part over that of the first
    outside: float  # share off the masks before and after; NaN where one of them is not there
    sketch: Sketch | None = None
    fault: str | None = None  # a kind that leaves nothing to measure


class Loaded(NamedTuple):
    """One mask as it is measured."""

    mask: np.ndarray  # (h, w) bool, at most `SIZE` large
    size: tuple[int, int]  # width and height in the file


def check(cfg: DictConfig) -> Path:
    """Flag the masks of all cameras: a table, check.json, and check.html with pictures.

    Returns:
        The JSON file.

    Raises:
        FileNotFoundError: If there are no masks.
        ValueError: If a kind to ignore is unknown, or masks and footage do not go together.
    """
    from mask_sup.masks.sheet import write_sheet

    if unknown := set(cfg.ignore) - set(KINDS):
        raise ValueError(f"ignore={sorted(unknown)}: expected kinds of {list(KINDS)}")
    root = Path(cfg.masks).expanduser()
    footage = {}
    if cfg.input:
        footage = {one.camera: one for one in find_footage(Path(cfg.input).expanduser(), True)}
    masks = list_masks(root, footage)
    if absent := [name for name in footage if name not in masks]:
        raise FileNotFoundError(f"no masks of {absent} in {root}: expected <camera>/*.png")
    numbers = expected_numbers(masks, footage)
    limits = Limits(**{name: cfg[name] for name in Limits._fields})
    sizes = {camera: one.size() for camera, one in footage.items()}
    flags = _flags(root, masks, numbers, footage, sizes, limits, cfg.ignore)
    output = Path(cfg.output).expanduser() if cfg.output else root
    report = {
        "version": VERSION,
        "masks": str(root),
        "limits": limits._asdict() | {"ignore": list(cfg.ignore)},
        "kinds": dict(KINDS),
        "cameras": {
            camera: {
                "masks": len(files),
                "frames": len(numbers[camera]),
                "flags": {str(i): kinds for i, kinds in flags[camera].items()},
            }
            for camera, files in masks.items()
        },
    }
    write_sheet(output / "check.html", masks, flags, footage, numbers, cfg.pictures)
    write_file(output / "check.json", json.dumps(report, indent=1) + "\n")
    _print_table(report["cameras"])
    for camera, files in masks.items():
        for line in _lines(files, numbers[camera], flags[camera], sizes.get(camera)):
            print(f"{camera}: {line}")
    print(f"flags in {output / 'check.json'}, pictures in {output / 'check.html'}")
    return output / "check.json"


def _flags(
    root: Path,
    masks: Mapping[str, Mapping[int, Path]],
    numbers: Mapping[str, Sequence[int]],
    footage: Mapping[str, Footage],
    sizes: Mapping[str, tuple[int, int]],
    limits: Limits,
    ignore: Sequence[str],
) -> dict[str, dict[int, list[str]]]:
    """Kinds per camera and frame, without those to ignore."""
    measured = {
        camera: measure(files, numbers[camera], camera, sizes.get(camera))
        for camera, files in masks.items()
    }
    still, flags = _frozen(measured), {}
    areas = {camera: [m.area for m in found.values() if m] for camera, found in measured.items()}
    crumbs = crumb_limits(areas)
    seen = {camera: scene_in(masks[camera], footage.get(camera)) for camera in masks}
    exchanged = swapped({camera: one.motion for camera, one in seen.items() if one.motion})
    for camera, found in measured.items():
        told = flag(found, limits, still[camera])
        elsewhere = ["swapped"] if camera in exchanged else []
        for i in found:
            more = elsewhere or seen[camera].kinds.get(i, [])
            nobody = {*DEGENERATE, "missing"} & set(told.get(i, ()))
            if more := [kind for kind in more if not (nobody and kind in MOTION)]:
                told[i] = [*told.get(i, ()), *more]
        people = several_in(masks[camera], _centres(found))
        touching = {i: ["touching"] for i in touching_in(root, camera) if i in found}
        for several in (people, touching):
            for i, kinds in several.items():
                told[i] = [*told.get(i, ()), *kinds]
        small = [i for i, m in found.items() if m and 0 < m.area < crumbs.get(camera, 0)]
        for i in small:
            kept = [kind for kind in told.get(i, ()) if kind not in ("empty", *MOTION)]
            told[i] = [*kept, "crumbs"]
        kept = {
            i: [kind for kind in kinds if kind not in ignore] for i, kinds in sorted(told.items())
        }
        flags[camera] = {i: kinds for i, kinds in kept.items() if kinds}
    return flags


def list_masks(
    root: Path, footage: Mapping[str, Footage] | None = None
) -> dict[str, dict[int, Path]]:
    """Camera -> number of the frame -> file.

    A mask that is called like a picture of the footage has the number of that picture.

    Raises:
        FileNotFoundError: If there are no masks.
        ValueError: If only some names have a number or two files have the same one.
    """
    cameras = {}
    for folder in natural_order(root.glob("*")):
        if not folder.is_dir() or folder.name.startswith("."):
            continue
        with contextlib.suppress(FileNotFoundError):  # a folder of something else
            files = list_pictures(folder)
            cameras[folder.name] = _numbered(files, (footage or {}).get(folder.name))
    if not cameras:
        raise FileNotFoundError(f"no masks in {root}: expected {root}/<camera>/000000.png")
    return cameras


def _numbered(files: Sequence[Path], footage: Footage | None) -> dict[int, Path]:
    if footage is not None:
        known = dict(zip(footage.names(), footage.numbers(), strict=True))
        if all(path.stem in known for path in files):
            return {known[path.stem]: path for path in files}
    return numbered(files)


def expected_numbers(
    masks: Mapping[str, Mapping[int, Path]], footage: Mapping[str, Footage]
) -> dict[str, Sequence[int]]:
    """The numbers that the masks of each camera should have.

    They are those of the footage; without it, from the lowest of any camera to the highest, in the
    steps in which all of them count.

    Raises:
        ValueError: If there are masks of frames that the footage has not.
    """
    known = sorted({number for files in masks.values() for number in files})
    step = int(np.gcd.reduce(np.diff(known))) if len(known) > 1 else 1
    numbers: dict[str, Sequence[int]] = {}
    for camera, files in masks.items():
        one = footage.get(camera)
        numbers[camera] = one.numbers() if one else range(known[0], known[-1] + 1, step)
        if one and (foreign := set(files) - set(numbers[camera])):
            if len(files) == one.count:
                check_paired([one.path / name for name in one.names()], list(files.values()))
            first, last = numbers[camera][0], numbers[camera][-1]
            raise ValueError(
                f"camera {camera!r} has a mask of frame {max(foreign)} but {one.path} has "
                f"{one.count} frames, {first} to {last}: give the footage of these masks, and "
                "masks that are numbered like it"
            )
    return numbers


def measure(
    files: Mapping[int, Path],
    numbers: Sequence[int],
    name: str = "masks",
    picture: tuple[int, int] | None = None,
) -> dict[int, Measured | None]:
    """Numbers of every mask of a camera, read one after another; None where it is missing.

    Args:
        files: By number of the frame.
        numbers: Those that there should be.
        name: Of the camera.
        picture: Width and height of its pictures; None: as the first mask.
    """
    from rich.progress import track

    found: dict[int, Measured | None] = {}
    before = None
    here = _load(files.get(numbers[0]))
    for i, then in zip(track(numbers, name), [*numbers[1:], None], strict=True):
        after = _load(files.get(then))
        found[i] = None if i not in files else _faulty("unreadable")
        if here is not None:
            picture = picture or here.size
            fault = "misshapen" if misfit(here.size, picture) else degenerate(here.mask)
            found[i] = _faulty(fault) if fault else _measured(here, before, after)
        before, here = here, after
    return found


def _faulty(kind: str) -> Measured:
    return Measured(0.0, (np.nan, np.nan), 0.0, 0.0, np.nan, fault=kind)


def _load(path: Path | None) -> Loaded | None:
    if path is None:
        return None
    try:
        mask = read_mask(path, may_be_empty=True)
    except ValueError:
        return None
    return Loaded(shrink(mask, SIZE) > 127, mask.shape[1::-1])


def _frozen(cameras: Mapping[str, Mapping[int, Measured | None]]) -> dict[str, set[int]]:
    """Numbers of frames in which a camera's mask stands still although another camera's moves."""
    sketches = [[one and one.sketch for one in found.values()] for found in cameras.values()]
    places = frozen(sketches)
    return {
        camera: {number for place, number in enumerate(found) if place in still}
        for (camera, found), still in zip(cameras.items(), places, strict=True)
    }


def _centres(found: Mapping[int, Measured | None]) -> dict[int, tuple[float, float, float]]:
    """x, y and the square root of the area, shares of the picture's longer side."""
    told = {}
    for i, one in found.items():
        if one and one.area and one.sketch is not None:
            height, width = one.sketch.small.shape
            told[i] = (*one.centre, float(np.sqrt(one.area * height * width)) / max(height, width))
    return told


def _measured(here: Loaded, before: Loaded | None, after: Loaded | None) -> Measured:
    mask = here.mask
    _, areas, _ = components(mask)
    rows, columns = np.nonzero(mask)
    longest, shortest = max(mask.shape), min(mask.shape)
    edges = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    outside = np.nan
    around = [one.mask for one in (before, after) if one is not None and one.mask.any()]
    if [one.shape for one in around] == [mask.shape] * 2:
        known = cv2.dilate((around[0] | around[1]).astype(np.uint8), np.ones((9, 9))) > 0
        outside = float((mask & ~known).sum() / mask.sum())
    return Measured(
        area=float(mask.mean()),
        centre=(float(columns.mean()) / longest, float(rows.mean()) / longest),
        border=max(int(edge.sum()) for edge in edges) / shortest,
        second=float(areas[1] / areas[0]) if len(areas) > 1 else 0.0,
        outside=outside,
        sketch=sketch(mask),
    )


def flag(
    measured: Mapping[int, Measured | None], limits: Limits, still: Collection[int] = ()
) -> dict[int, list[str]]:
    """Kinds of `KINDS` per frame; frames that are fine are not in it.

    Args:
        measured: By number of the frame.
        limits: Where a mask begins to be suspicious.
        still: Frames in which the mask is frozen.
    """
    order = sorted(measured)
    flags = {}
    usual = np.median([m.area for m in measured.values() if m and m.area] or [0.0])
    for place, i in enumerate(order):
        near = order[max(0, place - limits.neighbours) : place + limits.neighbours + 1]
        others = [measured[k] for k in near if k != i]
        others = [m for m in others if m is not None and m.area >= limits.smallest]
        kinds = ["frozen"] * (i in still) + _kinds(measured[i], others, float(usual), limits)
        if kinds:
            flags[i] = kinds
    return flags


def _kinds(
    mask: Measured | None, others: Sequence[Measured], usual: float, limits: Limits
) -> list[str]:
    if mask is None:
        return ["missing"]
    if mask.fault:
        return [mask.fault]
    if mask.area < limits.smallest:
        return ["empty"]
    kinds = []
    if mask.border > limits.border:
        kinds.append("cut_off")
    if mask.second > limits.second:
        kinds.append("doubled")
    if not others:
        return kinds
    around = float(np.median([other.area for other in others]))
    far = limits.area**3  # where a mask's neighbours leak as well, the usual area tells
    grown = mask.area > limits.area * around or mask.area > far * usual
    if grown or mask.outside > limits.outside:
        kinds.append("leaking")
    if mask.area * limits.area < around or mask.area * far < usual:
        kinds.append("shrunk")
    centres = np.array([other.centre for other in others])
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    moving = float(np.median(steps)) if len(steps) else 0.0
    away = float(np.linalg.norm(np.array(mask.centre) - np.median(centres, 0)))
    if away > limits.jump * np.sqrt(around) + 2 * moving:
        kinds.append("jumping")
    return kinds


def _lines(
    files: Mapping[int, Path],
    numbers: Sequence[int],
    flags: Mapping[int, Sequence[str]],
    picture: tuple[int, int] | None,
) -> Iterator[str]:
    """What is wrong with the masks of a camera as files, and in which frames."""
    for kind in SPELT_OUT:
        bad = [i for i in numbers if kind in flags.get(i, ())]
        if bad:
            yield f"{kind} in {len(bad)} of {len(numbers)} frames ({spans(bad, numbers)}): " + (
                _why(files[bad[0]], kind, picture)
            )
    first = next((read for path in files.values() if (read := _load(path))), None)
    if picture and first and first.size != picture and not misfit(first.size, picture):
        yield f"masks are {_by(first.size)}, pictures {_by(picture)}: they are scaled where used"


def _why(path: Path, kind: str, picture: tuple[int, int] | None) -> str:
    """The words of a kind, and for one mask what they come from."""
    if kind == "unreadable":
        try:
            read_mask(path, may_be_empty=True)
        except ValueError as error:
            return str(error)
    if kind == "misshapen":
        size = read_mask(path, may_be_empty=True).shape[1::-1]
        if picture:
            return f"masks are {_by(size)}, pictures {_by(picture)}: {misfit(size, picture)}"
        return f"{path.name} is {_by(size)}, others before it are not"
    return KINDS[kind]


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _print_table(cameras: Mapping[str, Mapping]) -> None:
    from rich.console import Console
    from rich.table import Table

    every = {
        camera: [kind for kinds in told["flags"].values() for kind in kinds]
        for camera, told in cameras.items()
    }
    shown = [kind for kind in KINDS if any(kind in kinds for kinds in every.values())]
    table = Table(title="masks that may be bad")
    for column in ("camera", "frames", *shown, "flagged"):
        table.add_column(column, justify="left" if column == "camera" else "right")
    for camera, told in cameras.items():
        counts = [str(every[camera].count(kind) or "") for kind in shown]
        table.add_row(camera, str(told["frames"]), *counts, str(len(told["flags"])))
    Console().print(table)
