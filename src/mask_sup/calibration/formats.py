"""All formats: how a file is recognised, read and written."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import ParseError

import numpy as np

from mask_sup.calibration import (
    aist,
    anipose,
    colmap,
    easymocap,
    human36m,
    mpi_inf_3dhp,
    multical,
    opencap,
    opencv,
    panoptic,
    qualisys,
    vicon,
)
from mask_sup.calibration.cameras import Calibration, CalibrationError
from mask_sup.calibration.entries import (
    LARGEST_FILE,
    MISHAPS,
    MM,
    Cameras,
    Entry,
    LeftOut,
    Unread,
    read_text,
)
from mask_sup.files.errors import nearest
from mask_sup.files.words import said, shell_command

__all__ = ["FORMATS", "Format", "find_calibration", "read_calibration", "write_calibration"]

USUAL_MM = (500.0, 30_000.0)  # of the two cameras of a rig that are furthest apart
MOST_NAMES = 50  # that a message lists
BESIDE = "calibration"  # folder of a calibration beside that of the videos
RECORDING = "cameras.json"  # what a recording's calibration is called
SUFFIXES = (
    *(".json", ".toml", ".xml", ".yml", ".yaml", ".txt", ".calibration", ".xcp"),
    *opencap.SUFFIXES,
)


class Format(NamedTuple):
    """One format: `read` gives the cameras, and the unit where the file itself says it."""

    read: Callable[..., tuple[Cameras, str | None]]
    unit: str  # of translations where neither the file nor the caller says it
    layout: str  # for messages
    recognises: Callable[[Path, str], bool] = lambda path, text: False
    files: tuple[str, ...] = ()  # that a folder of this format consists of
    parts: Callable[[Path], list[Path]] = lambda folder: []  # that are one rig, if several
    write: Callable[[Calibration, Path], None] | None = None
    options: tuple[str, ...] = ()  # of `read`: "unit" (which must be said somewhere), "subject"


FORMATS = {
    "opencv": Format(
        opencv.read,
        "mm",
        opencv.LAYOUT,
        recognises=opencv.recognises,
        parts=opencv.storages,
        write=opencv.write,
        options=("unit",),
    ),
    "anipose": Format(
        anipose.read, "mm", anipose.LAYOUT, recognises=anipose.recognises, write=anipose.write
    ),
    "caliscope": Format(anipose.read, "m", anipose.LAYOUT, recognises=anipose.recognises_caliscope),
    "easymocap": Format(
        easymocap.read, "m", easymocap.LAYOUT, files=easymocap.FILES, write=easymocap.write
    ),
    "qualisys": Format(qualisys.read, "mm", qualisys.LAYOUT, recognises=qualisys.recognises),
    "human36m": Format(
        human36m.read, "mm", human36m.LAYOUT, recognises=human36m.recognises, options=("subject",)
    ),
    "mpi_inf_3dhp": Format(
        mpi_inf_3dhp.read, "mm", mpi_inf_3dhp.LAYOUT, recognises=mpi_inf_3dhp.recognises
    ),
    "panoptic": Format(panoptic.read, "cm", panoptic.LAYOUT, recognises=panoptic.recognises),
    "colmap": Format(colmap.read, "m", colmap.LAYOUT, files=colmap.FILES),
    "multical": Format(multical.read, "m", multical.LAYOUT, recognises=multical.recognises),
    "aist": Format(aist.read, "cm", aist.LAYOUT, recognises=aist.recognises),
    "vicon": Format(vicon.read, "mm", vicon.LAYOUT, recognises=vicon.recognises),
    "opencap": Format(
        opencap.read,
        "mm",
        opencap.LAYOUT,
        recognises=opencap.recognises,
        parts=opencap.pickles,
    ),
}
PARTS = {file for known in FORMATS.values() for file in known.files}


def read_calibration(
    path: str | Path,
    format: str | None = None,
    unit: str | None = None,
    cameras: Sequence[str] | None = None,
    subject: int | None = None,
    scale: float = 1.0,
) -> Calibration:
    """The cameras of a calibration in any format of `FORMATS`.

    Args:
        path: File, or folder: of a format of several files, or with one calibration in it
            (cameras.json counts before others).
        format: Name of the format; None: told by name and contents.
        unit: Unit of the file's translations, "mm", "cm" or "m". None: what the file says, else
            the usual one of its format: mm for opencv, anipose, qualisys, human36m, mpi_inf_3dhp,
            vicon and opencap, cm for panoptic and aist, m for caliscope, easymocap, colmap and
            multical.
        cameras: Names of those to keep, in this order; None: all.
        subject: Person whose cameras are wanted (human36m alone).
        scale: Factor of all distances, where a board was measured wrongly.

    Raises:
        FileNotFoundError: If the file, or one of a folder's files, is missing.
        CalibrationError: If the format is unknown or ambiguous, the file is damaged, or the cameras
            are implausible (`Calibration`).
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"no calibration at {path}: give a file, or a folder of files")
    if unit is not None and unit not in MM:
        raise CalibrationError(f"unit={unit!r}: expected one of {list(MM)}")
    if not (isinstance(scale, (int, float)) and 0 < scale < math.inf):
        raise CalibrationError(f"scale={scale!r}: expected a factor above 0")
    if format is None:
        path, format = _guess(path)
    elif format not in FORMATS:
        raise CalibrationError(f"format={format!r}: {nearest(format, list(FORMATS))}")
    known = FORMATS[format]
    if subject is not None and "subject" not in known.options:
        raise CalibrationError(
            f"{path} ({format}) has the cameras of no subject: leave subject out"
        )
    given = {"unit": unit, "subject": subject}
    options = {name: given[name] for name in known.options}
    entries, told, notes = _read(path, format, options, cameras)
    if told and unit and unit != told:
        raise CalibrationError(f"{path} says its unit is {told}, not {unit}: leave the unit out")
    mm = scale * MM[unit or told or known.unit]
    calibration = _assemble(entries, mm, str(path), notes)
    return calibration if unit or told else _doubting(calibration, known.unit)


def _doubting(calibration: Calibration, unit: str) -> Calibration:
    """The same cameras, with a note where the usual unit of their format makes an unusual rig."""
    centres = calibration.centres
    furthest = max(np.linalg.norm(centres - centre, axis=1).max() for centre in centres)
    if len(centres) == 1 or USUAL_MM[0] <= furthest <= USUAL_MM[1]:
        return calibration
    note = (
        f"{calibration.source} does not say its unit: taken for {unit}, its cameras are "
        f"{furthest / MM['m']:.3g} m apart at most; if they are not, convert it with another, "
        "unit=mm, cm or m"
    )
    return replace(calibration, notes=(*calibration.notes, note))


def _read(
    path: Path, format: str, options: dict, cameras: Sequence[str] | None
) -> tuple[list[Entry], str | None, tuple[str, ...]]:
    """The wanted cameras of one file, with every mishap of parsing told in the same way."""
    from yaml import YAMLError

    known = FORMATS[format]
    try:
        with np.errstate(all="ignore"):  # numbers that are not finite are found afterwards
            found, unit = known.read(path, **options)
        if not found:
            raise ValueError("no camera in it")
        entries, notes = _chosen(found, path) if cameras is None else (_named(found, cameras), ())
        return _readable(entries, found, path), unit, notes
    except CalibrationError as error:
        raise CalibrationError(f"{path}: {error}") from error
    except (*MISHAPS, IsADirectoryError, NotADirectoryError, ParseError, YAMLError) as error:
        raise CalibrationError(
            f"{path} is no camera file of the format {format} ({type(error).__name__}: {error}): "
            f"expected {known.layout}"
        ) from error


def _chosen(found: Cameras, path: Path) -> tuple[list[Entry | Unread], tuple[str, ...]]:
    """All cameras but those that are left out, and which those are."""
    kept = [camera for camera in found if not isinstance(camera, LeftOut)]
    left = [camera for camera in found if isinstance(camera, LeftOut)]
    if not kept:
        raise ValueError("; ".join(f"camera {camera.name!r} {camera.why}" for camera in left))
    return kept, tuple(f"camera {one.name!r} of {path} {one.why}: it is left out" for one in left)


def _named(found: Cameras, names: Sequence[str]) -> list[Entry | Unread]:
    """Only the named cameras, before any check: the others may well be damaged."""
    known = {one.name: one.camera if isinstance(one, LeftOut) else one for one in found}
    if missing := [name for name in names if name not in known]:
        raise CalibrationError(f"no camera {missing}: it has {list(known)[:MOST_NAMES]}")
    return [known[name] for name in names]


def _readable(entries: Sequence[Entry | Unread], found: Cameras, path: Path) -> list[Entry]:
    """The same cameras, if all could be read."""
    unread = [camera for camera in entries if isinstance(camera, Unread)]
    if not unread:
        return list(entries)
    error, good = unread[0].error, [camera.name for camera in found if isinstance(camera, Entry)]
    unread = unread[:MOST_NAMES]
    if not good:
        raise error
    listed = map(said, good) if len(good) <= MOST_NAMES else ["..."]
    kept, folder = ",".join(listed), path if path.is_dir() else path.parent
    paths = {"input": path, "output": folder / RECORDING}
    raise CalibrationError(
        f"{error}. To do without {', '.join(camera.name for camera in unread)}: "
        + shell_command("calibration convert", f"cameras=[{kept}]", **paths)
    ) from error


def _assemble(
    entries: Sequence[Entry], mm: float, source: str, notes: tuple[str, ...]
) -> Calibration:
    names, *parts, remarks = zip(*entries, strict=True)
    K, R, t, distortion, sizes = (np.array(part, float) for part in parts)
    told = [
        f"camera {n!r} of {source} {note}" for n, note in zip(names, remarks, strict=True) if note
    ]
    with np.errstate(over="ignore"):
        t = t * mm
    return Calibration(names, K, R, t, distortion, sizes, source, (*notes, *told))


def _guess(path: Path) -> tuple[Path, str]:
    """The format of a file or folder by its contents, else by its name."""
    if path.is_dir():
        if (path / RECORDING).is_file():
            return _guess(path / RECORDING)
        found = _candidates(path)
        if len(found) == 1:
            return found[0]
        if found:
            told = ", ".join(f"{file.name} ({format})" for file, format in found)
            raise CalibrationError(
                f"several calibrations in {path}: {told}; name the file (mask_sup.new: "
                "--calibration), or keep one of them there"
            )
    elif path.name in PARTS:
        return path.parent, next(name for name, f in FORMATS.items() if path.name in f.files)
    elif found := _recognised(path):
        if len(found) == 1:
            return path, found[0]
        raise CalibrationError(f"{path} may be any of {found}: say which, format=<name>")
    elif by_name := _by_name(path):
        return path, by_name
    raise CalibrationError(
        f"{path} is no camera file of a known format: expected one of {list(FORMATS)}; if it is "
        "one, say which, format=<name>"
    )


def _recognised(path: Path) -> list[str]:
    text = read_text(path)
    return [name for name, known in FORMATS.items() if known.recognises(path, text)]


def _by_name(path: Path) -> str | None:
    """For damaged files, so that the message is about their format."""
    names = {RECORDING: "opencv", "camera.calibration": "mpi_inf_3dhp"}
    suffixes = {".toml": "anipose", ".qca.txt": "qualisys", ".calibration": "mpi_inf_3dhp"}
    suffixes |= {".xcp": "vicon"} | dict.fromkeys(opencap.SUFFIXES, "opencap")
    ending = next((f for suffix, f in suffixes.items() if path.name.endswith(suffix)), None)
    return names.get(path.name, ending)


def _candidates(folder: Path) -> list[tuple[Path, str]]:
    """Every calibration in a folder."""
    found = [
        (folder, name)
        for name, known in FORMATS.items()
        if known.files and all((folder / file).is_file() for file in known.files)
    ]
    for path in sorted(folder.iterdir()):
        fits = path.is_file() and path.stat().st_size <= LARGEST_FILE
        if fits and path.suffix.lower() in SUFFIXES and path.name not in PARTS:
            found += [(path, format) for format in _recognised(path)]
    for name, known in FORMATS.items():
        parts = [path for path in known.parts(folder) if path.name not in PARTS]
        if len(parts) > 1:  # one file per camera
            found = [one for one in found if one[0] not in parts]
            found.append((folder, name))
    return found


def find_calibration(folder: Path) -> Path:
    """The calibration of a recording: cameras.json, else the only other one of a known format.

    It lies in the recording's folder, or in `calibration/` in there.

    Returns:
        What `read_calibration` takes: a file, or the folder itself.

    Raises:
        FileNotFoundError: If there is none.
        CalibrationError: If there are several.
    """
    for place in (folder, folder / BESIDE):
        if (place / RECORDING).is_file() or (place.is_dir() and _candidates(place)):
            return _guess(place)[0]
    raise FileNotFoundError(
        f"missing {folder / RECORDING}: a recording needs its cameras as "
        '{"unit": "mm", "cameras": {"cam01": {"K": ..., "R": ..., "t": ..., "dist": ...}}}, or '
        f"one calibration of the formats {list(FORMATS)} in it or in {folder / BESIDE}"
    )


def write_calibration(
    calibration: Calibration, path: str | Path, format: str | None = None
) -> None:
    """Write a calibration, in the usual unit of its format.

    Args:
        calibration: What to write.
        path: File; a folder for easymocap.
        format: "opencv" (cameras.json), "anipose" or "easymocap"; None: by the ending of `path`,
            .json, .toml, or none.

    Raises:
        CalibrationError: If the format is unknown or cannot be written.
    """
    path = Path(path).expanduser()
    endings = {".json": "opencv", ".toml": "anipose", "": "easymocap"}
    format = format or endings.get(path.suffix.lower())
    writers = {name: known.write for name, known in FORMATS.items() if known.write}
    if format not in writers:
        raise CalibrationError(
            f"cannot write {path} (format={format}): expected one of {list(writers)}, or a name "
            "that ends with .json, .toml, or nothing for a folder"
        )
    writers[format](calibration, path)
