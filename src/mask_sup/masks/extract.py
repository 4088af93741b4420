"""Footage -> masks: one camera after another, frame by frame, in constant memory.

While a camera is at work its masks are in `<output>/.<camera>.part`; the folder gets its name when
it is complete. A mask depends on its frame, on what the first pass over the footage found, and on
who is where in all of it (`survey.py`): a command that was killed goes on where it stopped and
writes the same bytes.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from omegaconf import DictConfig

from mask_sup.files.build import build
from mask_sup.files.config import plain
from mask_sup.files.disk import write_file
from mask_sup.files.lock import locked
from mask_sup.files.masks import read_mask
from mask_sup.files.words import shell_command
from mask_sup.masks.crumbs import REMEDY, crumb_limits
from mask_sup.masks.extractor import Extractor
from mask_sup.masks.followed import followed, tell_people
from mask_sup.masks.footage import Footage, find_footage, shrink
from mask_sup.masks.person import Following, person_asked
from mask_sup.masks.survey import Survey, motion_energy, survey

__all__ = ["extract", "extract_camera", "mask_frames"]

VERSION = 2  # of masks: how the person is found
LOOKED = 41  # masks of a camera, spread over all, that are looked at in the end
RECORD = "extraction.json"
BILEVEL = [cv2.IMWRITE_PNG_BILEVEL, 1]  # a bit a pixel, which is read in a third of the time
AROUND = ("install", "folder")  # keys of an extractor that say where it runs, and change no mask


def extract(cfg: DictConfig) -> Path:
    """Masks of every frame of every camera.

    Returns:
        The folder that was written.

    Raises:
        FileNotFoundError: If the input or something that the extractor needs is missing.
        ValueError: If the input is damaged or uneven, the output has masks of other settings, or
            what was found is far smaller than a person, or there are fewer people than asked for.
        OSError: If a mask cannot be written.
    """
    source = Path(cfg.input).expanduser()
    person = person_asked(cfg.person)
    footage = find_footage(source, cfg.uneven)
    output = Path(cfg.output).expanduser()
    regions = _regions(cfg.roi, footage)
    keys = ("extractor", "size", "samples", "person")
    shared = {"version": VERSION, **{key: plain(cfg[key]) for key in keys}}
    shared["extractor"] = {k: v for k, v in shared["extractor"].items() if k not in AROUND}
    settings = [
        shared | {"roi": regions.get(one.camera), "footage": one.identity()} for one in footage
    ]
    for one, told in zip(footage, settings, strict=True):  # all, before any work is done
        _compare_settings(output, one.camera, told)
    extractor = build(cfg.extractor, "extractor")
    with locked(output):
        surveys: list[Survey] = []
        todo = [one for one in footage if _missing(output / one.camera, one.names())]
        if todo and person is not None and not extractor.final:
            surveys = [
                survey_camera(one, extractor, told, output)
                for one, told in zip(footage, settings, strict=True)
            ]
        who = followed(surveys, person, source, footage, output)
        for one, told in zip(footage, settings, strict=True):
            extract_camera(one, extractor, output, told, who.get(one.camera))
        tell_people(who, footage, output)
    print(f"masks of {len(footage)} camera(s) are in {output}; see what is wrong with them:")
    print(shell_command("masks check", masks=output, input=cfg.input))
    _refuse_crumbs(footage, output)
    return output


def _refuse_crumbs(footage: Sequence[Footage], output: Path) -> None:
    """Look at some masks of every camera, so that a command that found nobody does not succeed."""
    areas = {}
    for one in footage:
        names = one.names()
        looked = np.linspace(0, len(names) - 1, min(LOOKED, len(names))).round().astype(int)
        masks = (_read(output / one.camera / f"{names[i]}.png") for i in looked)
        areas[one.camera] = [float((mask > 127).mean()) for mask in masks]
    if limits := crumb_limits(areas):
        shown = ", ".join(f"{camera} ({np.median(areas[camera]):.2%})" for camera in limits)
        raise ValueError(
            f"masks in {output} are crumbs, no person, in camera(s) {shown} of the picture; "
            f"expected above {max(limits.values()):.2%}. Most likely {REMEDY}"
        )


def survey_camera(
    footage: Footage, extractor: Extractor, settings: Mapping[str, Any], folder: Path | None = None
) -> Survey:
    """Who is where in a camera; the extractor is settled on it then.

    Args:
        footage: The camera.
        extractor: How its foreground is found.
        settings: `size`, `samples` and `roi`.
        folder: For what is kept on disk.
    """
    extractor.begin(footage)
    samples = _first_pass(footage, extractor, settings["size"], settings["samples"])
    motion = motion_energy(samples)
    if extractor.watches:
        extractor.settle(samples)
    del samples
    box = _shares(settings["roi"], footage) if settings["roi"] else None
    return survey(footage, extractor, settings["size"], motion, box, folder)


def extract_camera(
    footage: Footage,
    extractor: Extractor,
    output: Path,
    settings: Mapping[str, Any],
    person: Following | None = None,
) -> None:
    """Write the masks of one camera that are not there yet.

    Args:
        footage: The camera.
        extractor: How.
        output: Folder of the cameras' folders.
        settings: What the masks depend on: `size`, `samples`, `person`, `roi`, and more to compare.
        person: Whom to keep; None: everybody.
    """
    from rich.progress import track

    whole, part = output / footage.camera, _part(output, footage.camera)
    names = footage.names()
    if whole.is_dir() and not _missing(whole, names):
        print(f"{footage.camera}: {footage.count} masks are there already")
        return
    if whole.is_dir():
        whole.rename(part)  # somebody took masks away: they are made again
    part.mkdir(parents=True, exist_ok=True)
    write_file(part / RECORD, json.dumps(settings, indent=1))
    todo = _missing(part, names)  # the record says whose they are, so it comes first
    masks = mask_frames(footage, extractor, settings, todo, person)
    for index, mask in track(masks, footage.camera, total=len(todo)):
        write_file(part / f"{names[index]}.png", cv2.imencode(".png", mask, BILEVEL)[1].tobytes())
    if extractor.plate is not None:
        plate = cv2.cvtColor(extractor.plate, cv2.COLOR_RGB2BGR)
        path = output / f"{footage.camera}.plate.png"
        write_file(path, cv2.imencode(".png", plate)[1].tobytes())
    part.rename(whole)


def mask_frames(
    footage: Footage,
    extractor: Extractor,
    settings: Mapping[str, Any],
    todo: Sequence[int],
    person: Following | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Number and mask (h w, uint8, 0 or 255, size of the footage) of the frames in `todo`.

    Args:
        footage: The camera.
        extractor: How.
        settings: `size`, `samples` and `roi`.
        todo: Numbers of frames, rising.
        person: Whom to keep; None: everybody.
    """
    if not todo:
        return
    extractor.begin(footage)
    size = None if extractor.final else settings["size"]
    if extractor.watches:
        extractor.settle(_first_pass(footage, extractor, size, settings["samples"]))
    wanted = set(todo)
    for index, frame in enumerate(footage.frames()):
        small = shrink(frame, size)
        if index not in wanted:
            extractor.skip(small, index)
            continue
        box = _scaled(settings["roi"], frame.shape, small.shape)
        region = person.at(index) if person else None

        def choose(guess: np.ndarray, box=box, region=region) -> np.ndarray:
            inside = guess if box is None else _inside(guess, box)
            return region.choose(inside) if region else inside

        found = extractor.foreground(small, index, choose)
        yield index, _enlarge(found if extractor.final else choose(found), frame.shape)
        if index == todo[-1]:
            return


def _first_pass(
    footage: Footage, extractor: Extractor, size: int | None, samples: int
) -> np.ndarray:
    from rich.progress import track

    wanted = set(np.linspace(0, footage.count - 1, min(samples, footage.count)).round().astype(int))
    kept = []
    told = f"{footage.camera}: first pass"
    for index, frame in enumerate(track(footage.frames(), told, total=footage.count)):
        small = shrink(frame, size)
        if extractor.watches:
            extractor.watch(small)
        if index in wanted:
            kept.append(small)
    return np.stack(kept)


def _inside(mask: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    left, top, right, bottom = box
    inside = np.zeros_like(mask)
    inside[top:bottom, left:right] = mask[top:bottom, left:right]
    return inside


def _shares(region: Sequence[float], footage: Footage) -> list[float]:
    """A region by hand as shares of the picture's sides."""
    width, height = footage.size()
    box = _scaled(region, (height, width), (height, width))
    return [side / whole for side, whole in zip(box, (width, height) * 2, strict=True)]


def _enlarge(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    grey = mask.astype(np.uint8) * 255
    if mask.shape != shape[:2]:
        grey = cv2.resize(grey, shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.where(grey > 127, 255, 0).astype(np.uint8)


def _scaled(
    region: Sequence[float] | None, shape: tuple[int, ...], small: tuple[int, ...]
) -> tuple[int, int, int, int] | None:
    if region is None:
        return None
    left, top, right, bottom = region
    if not (0 <= left < right <= shape[1] and 0 <= top < bottom <= shape[0]):
        raise ValueError(
            f"roi [{left},{top},{right},{bottom}] does not lie in a picture of "
            f"{shape[1]}x{shape[0]}: expected [left,top,right,bottom] in pixels"
        )
    x, y = small[1] / shape[1], small[0] / shape[0]
    return round(left * x), round(top * y), round(right * x), round(bottom * y)


def _regions(roi: Any, footage: Sequence[Footage]) -> dict[str, list[float]]:
    """Regions by hand, per camera."""
    regions = {str(name): list(box) for name, box in (plain(roi) or {}).items()}
    names = [one.camera for one in footage]
    for name, box in regions.items():
        if name not in names or len(box) != 4:
            raise ValueError(
                f"roi={{{name}: {box}}}: expected one of the cameras {names} and "
                "[left,top,right,bottom] in pixels"
            )
    return regions


# -- files ----------------------------------------------------------------------------------------


def _part(output: Path, camera: str) -> Path:
    return output / f".{camera}.part"


def _missing(folder: Path, names: Sequence[str]) -> list[int]:
    there = {path.name for path in folder.glob("*.png")}
    return [i for i, name in enumerate(names) if f"{name}.png" not in there]


def _read(path: Path) -> np.ndarray | None:
    if not path.is_file():
        return None
    return read_mask(path, may_be_empty=True)


def _digest(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _compare_settings(output: Path, camera: str, settings: Mapping[str, Any]) -> None:
    """Refuse to go on with masks that were made in another way."""
    for folder in (output / camera, _part(output, camera)):
        if not folder.is_dir():
            continue
        record = folder / RECORD
        if not list(folder.glob("*.png")):
            continue
        if not record.is_file():
            raise ValueError(
                f"{folder} has masks that this command did not make (no {RECORD}): choose another "
                "output"
            )
        made = json.loads(record.read_text())
        if _digest(made) != _digest(settings):
            keys = sorted(k for k in {*made, *settings} if made.get(k) != settings.get(k))
            raise ValueError(
                f"{folder} has masks of other settings ({', '.join(keys)}): choose another output, "
                f"or delete {folder} and {output / camera}"
            )
