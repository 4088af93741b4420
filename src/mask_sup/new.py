"""mask-sup new my_project --videos DIR: a folder to work in, from a folder of videos.

Looks at the videos (number, size, rate, frames), the calibration and the masks that lie beside
them, says what does not go together, and writes a commented config that trains on them.
"""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import yaml

from mask_sup.calibration import (
    Calibration,
    CalibrationError,
    find_calibration,
    opencap,
    write_calibration,
)
from mask_sup.calibration.convert import Asked
from mask_sup.calibration.fitting import among
from mask_sup.calibration.formats import RECORDING, SUFFIXES
from mask_sup.files.disk import write_file
from mask_sup.files.verbs import Command
from mask_sup.files.words import shell_command

__all__ = ["Inspected", "inspect", "new_project"]

CONFIG = """\
# @package _global_
# python -m mask_sup.train --config-dir {shown} +experiment={name}
# or from the detector in the package, in minutes: cascade=adapt
#
{cameras}
defaults:
  - recording

name: {name}
data:
  source:
    root: {folder}
    masks: null            # folder of <camera>/000000.png; null: masks/ in the project
    every: {every}               # use every n-th frame; {used} of {frames} moments are used so
"""
ABOUT = """\
A folder to work in, from a folder of videos.

    mask-sup new my_project --videos recordings/walk

Looks at the videos (number, size, rate, frames), the calibration and the masks that lie beside
them, says what does not go together, and writes a commented config that trains on them."""
FOLDER = click.Path(path_type=Path)
MOMENTS = 1000  # that a training on a laptop has use for
AS_IT_IS = Asked()
# Words of `calibration convert`, as options here.
OPTIONS = {
    "format": "of the calibration; else told by its name and contents",
    "unit": "mm, cm or m, of the calibration; else what it says, or usual for its format",
    "scale": "factor of all distances, where a board or wand was measured wrongly",
    "cameras": "'[cam01, cam02]': these alone; others need not be readable",
    "subject": "1 to 11, for Human3.6M's metadata.xml",
    "calibrated_size": "'[width, height]' of the pictures that K is for, where no file says it",
    "turn": "'{cam01: 90}': degrees clockwise, as its video was turned",
    "rename": "'{int_cam01_img: cam01}': as their videos; or '[cam01, cam02]', all in order",
}


@dataclass(frozen=True)
class Inspected:
    """What a folder of videos holds."""

    videos: dict[str, Path]  # by camera
    sizes: dict[str, tuple[int, int]]  # width, height
    rates: dict[str, float | None]  # frames a second
    frames: dict[str, int]
    calibration: Calibration | None
    source: Path | None  # the calibration's file or folder
    doubts: tuple[str, ...]  # what does not go together, and what to do

    def lines(self) -> list[str]:
        """One line per camera."""
        return [
            f"{name}: {self.sizes[name][0]}x{self.sizes[name][1]}, {self.frames[name]} frames, "
            + (f"{rate:g} a second" if (rate := self.rates[name]) else "rate unknown")
            for name in self.videos
        ]


def inspect(folder: Path, calibration: Path | None = None, asked: Asked = AS_IT_IS) -> Inspected:
    """Look at the videos of a folder, one per camera, and their calibration.

    Args:
        folder: Of the videos.
        calibration: File or folder; None: what lies in or above the folder of the videos.
        asked: How the calibration is to be read and changed.

    Raises:
        FileNotFoundError: If there is no such folder, no video in it, or no such calibration.
        ValueError: If a video is damaged, or the calibration cannot be read as asked.
    """
    from mask_sup.files.video import frame_rate
    from mask_sup.masks.footage import GAP, find_footage

    footage = [one for one in find_footage(folder, uneven=True) if one.path.is_file()]
    if not footage:
        raise FileNotFoundError(f"no videos in {folder}: expected one per camera, cam01.mp4, ...")
    videos = {one.camera: one.path for one in footage}
    sizes = {one.camera: next(one.frames()).shape[1::-1] for one in footage}
    frames = {one.camera: one.count for one in footage}
    rates = {name: frame_rate(path) for name, path in videos.items()}
    doubts = [
        f"{one.camera} has a variable frame rate (gaps of {one.gap:.1f} intervals): convert it to "
        "a constant one, ffmpeg -i in.mp4 -vf fps=60 out.mp4"
        for one in footage
        if one.gap > GAP
    ]
    if len({round(rate, 1) for rate in rates.values() if rate}) > 1:
        doubts.append(f"cameras differ in their frame rate: {rates}; convert them to one")
    if len(set(frames.values())) > 1:
        doubts.append(
            f"cameras differ in their number of frames: {frames}; if they were started by hand, "
            "run python -m mask_sup.sync once there are masks"
        )
    if len(videos) == 1:
        doubts.append("one camera: 3D is trained from two or more; predict works with one")
    read, source = _calibration(folder, calibration, asked, doubts)
    fitted = read and _fitted(read, sizes, doubts)
    return Inspected(videos, sizes, rates, frames, fitted, source, tuple(doubts))


def _calibration(
    folder: Path, given: Path | None, asked: Asked, doubts: list[str]
) -> tuple[Calibration | None, Path | None]:
    if given is not None and not given.exists():
        raise FileNotFoundError(f"no calibration at {given}: give a file, or a folder of files")
    for place in (folder, folder.parent):
        try:
            source = given or find_calibration(place)
            return asked.read(source), source
        except FileNotFoundError:
            continue
        except CalibrationError as error:
            if asked != AS_IT_IS:
                raise
            doubts.append(f"{error}")
            return None, None
    doubts.append(
        "no calibration found: put one into the project (Qualisys, Vicon, Anipose, Pose2Sim, "
        "EasyMocap, OpenCV, COLMAP, ... see python -m mask_sup.calibration convert --help)"
    )
    return None, None


def _fitted(
    calibration: Calibration, sizes: dict[str, tuple[int, int]], doubts: list[str]
) -> Calibration:
    """The cameras of the videos, for the pixels of these; what does not fit becomes a doubt."""
    try:
        calibration = among(calibration, sorted(sizes), "videos")
        calibration = calibration.fitted_to([sizes[name] for name in calibration.names])
    except CalibrationError as error:
        doubts.append(f"{error}")
    doubts += calibration.remarks
    return calibration


def _files(source: Path | None) -> dict[str, Path]:
    """The files of a calibration, by what they are called in a project."""
    if source is None or source.is_file():
        return {source.name: source} if source else {}
    inside = [path for path in sorted(source.iterdir()) if path.suffix.lower() in SUFFIXES]
    below = [] if inside else opencap.pickles(source)  # <camera>/<one name for all>
    return {path.name: path for path in inside} | {p.parent.name + p.suffix: p for p in below}


def experiment_name(folder: Path) -> str:
    """The folder's name as the command line can say it: Hydra's grammar has other uses for some.

    >>> experiment_name(Path("walk 3")), experiment_name(Path("null")), experiment_name(Path("*"))
    ('walk_3', 'project_null', 'project')
    """
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", folder.resolve().name).strip("_-")
    if not name:
        return "project"
    plain_word = isinstance(yaml.safe_load(name), str) and name[0].isalpha()
    return name if plain_word else f"project_{name}"


def shown(path: Path) -> str:
    """A path as a shell takes it, on one line."""
    return _one_line(shlex.quote(str(path)))


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _quoted(text: str) -> str:
    """A string of YAML that OmegaConf reads as it is: no interpolation."""
    return json.dumps(text.replace("${", "\\${"))


def new_project(
    folder: Path, videos: Path, calibration: Path | None = None, asked: Asked = AS_IT_IS
) -> Inspected:
    """Make a project folder: links to the videos, the calibration, a commented config.

    The calibration's files are copied; one that is read or changed as asked is written as
    cameras.json instead.

    Raises:
        FileExistsError: If the folder is there already and not empty.
        FileNotFoundError: If there are no videos, or no such calibration.
        ValueError: If a video is damaged, or the calibration cannot be read as asked.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: give another name, or remove it")
    found = inspect(videos, calibration, asked)
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    for name, path in found.videos.items():
        (folder / "videos" / f"{name}{path.suffix}").symlink_to(path.resolve())
    if asked != AS_IT_IS and found.calibration is not None:
        write_calibration(found.calibration, folder / RECORDING)
    else:
        for name, path in _files(found.source).items():
            shutil.copy(path, folder / name)
    (folder / "experiment").mkdir()
    name, frames = experiment_name(folder), min(found.frames.values())
    every = max(1, round(frames / MOMENTS))
    text = CONFIG.format(
        folder=_quoted(str(folder.resolve())),
        shown=shown(folder.resolve()),
        name=name,
        cameras="\n".join(f"# {_one_line(line)}" for line in (*found.lines(), *found.doubts)),
        every=every,
        used=len(range(0, frames, every)),
        frames=frames,
    )
    write_file(folder / "experiment" / f"{name}.yaml", text)
    return found


def _said(text: str) -> Any:
    """A word of the command line: text, a number, a list or a mapping, as `convert` takes it."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise click.BadParameter(
            f"{text!r} cannot be read: expected such as '[cam01, cam02]' or '{{cam01: 90}}'"
        ) from None


def _options(function: Callable[..., None]) -> Callable[..., None]:
    """`OPTIONS` of a command."""
    for option, told in reversed(OPTIONS.items()):
        name = f"--{option.replace('_', '-')}"
        function = click.option(name, type=_said, metavar="VALUE", help=told)(function)
    return function


@click.command("new", cls=Command, help=ABOUT)
@click.argument("project", type=FOLDER)
@click.option("--videos", type=FOLDER, required=True, help="Folder of one video per camera.")
@click.option(
    "--calibration", type=FOLDER, help="File or folder; else what lies beside the videos."
)
@_options
def main(project: Path, videos: Path, calibration: Path | None, **asked: Any) -> None:
    """Make a project and say what comes next."""
    found = new_project(project, videos, calibration, Asked(**asked))
    print("\n".join(found.lines()))
    if found.calibration is not None:
        print(f"calibration: {found.source}, cameras {list(found.calibration.names)}")
    for doubt in found.doubts:
        print(f"! {doubt}")
    name = experiment_name(project)
    if name != project.resolve().name:
        print(f"the experiment is called {name}: the command line cannot say the folder's name")
    told = (
        shell_command("masks", "extractor=grabcut", input=project, output=project / "masks"),
        shell_command("masks check", masks=project / "masks", input=project),
        shell_command("calibration check", input=project),
        f"python -m mask_sup.train --config-dir {shlex.quote(str(project))} +experiment={name} "
        "cascade=adapt",
        shell_command("predict", input=project, output="poses"),
        shell_command("export", poses="poses/poses.npz"),
        shell_command("report", poses="poses/poses.npz"),
    )
    print("next:", *told, sep="\n  ")
    print(f"written: {project}/experiment/{name}.yaml")


if __name__ == "__main__":
    main()
