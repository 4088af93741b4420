"""Folders of cases that users ran into, through the program as it is: what came, what comes.

python benchmarks/cases.py <folder of cases>: a case is a folder with a README that says what came
before, and files. Each check here does what a user would do, by the commands, and computes whether
what comes is right; a folder that no check knows is told. Most cases film one rig: its cameras are
read from the case whose calibration nobody doubted, and others are compared with it.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from record import record
from rich.console import Console
from rich.table import Table

from mask_sup.calibration import Calibration, read_calibration
from mask_sup.data.moments import View, taken_mask
from mask_sup.data.recording import RecordingData
from mask_sup.files.disk import write_arrays
from mask_sup.files.masks import read_mask
from mask_sup.files.pictures import list_pictures, write_png
from mask_sup.files.poses import VERSION
from mask_sup.files.video import VideoWriter
from mask_sup.files.words import shell_command

RIG = "20-white-masks/calibration.toml"
LENS = (-0.2, 0.08, 0.001, -0.002, 0.01)
IDEAL = (0.0,) * 5
PERSON = 9562  # foreground pixels of the frame that all files of 06 show
NEAR_MM, NEAR = 1.0, 1e-3  # centres, and all other numbers
SIZE = (640, 640)  # pixels, width and height
FEW = 3  # frames of a video that is looked at for its size alone
FPS = 25
SHOWN = 160  # letters of a message in the table
SECONDS = 300  # that a command may take
MESSAGE = ("! ", "masks: ", "none: all cameras agree")  # how lines begin that matter


class Tried(NamedTuple):
    """What a user typed, what came, and whether that is right."""

    typed: str
    now: str
    right: bool


class Said(NamedTuple):
    """What a command left: its exit status and all that it printed."""

    typed: str
    status: int
    text: str

    @property
    def line(self) -> str:
        """The line that tells most: an error, else a doubt or a finding, else the last one."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        errors = [line.partition("Error: ")[2] for line in lines if "Error: " in line]
        told = [line for line in lines if line.startswith(MESSAGE)]
        return (errors or told or lines[-1:] or ["nothing"])[0]


def shell(folder: Path, line: str) -> Said:
    """What a command line does that is typed in a folder."""
    python = f"{shlex.quote(sys.executable)} -m "
    done = subprocess.run(
        line.replace("python -m ", python),
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=os.environ | {"COLUMNS": "400"},
    )
    return Said(line, done.returncode, done.stdout + done.stderr)


def say(folder: Path, name: str, *words: str, **paths: Path | str) -> Said:
    """What a command of the program does."""
    return shell(folder, shell_command(name, *words, **paths))


def told_command(text: str) -> str:
    """The first command that a message gives to copy, up to the end of its last option."""
    _, found, rest = text.partition("python -m mask_sup.calibration convert ")
    words = []
    for word in shlex.split(rest.partition("\n")[0]):
        words.append(word.rstrip(","))
        if not words[-1].partition("=")[1] or word.endswith(","):
            break
    kept = [shlex.quote(word) for word in words if "=" in word]
    return found + " ".join(kept)


def film(
    folder: Path, names: Sequence[str], size: tuple[int, int] = SIZE, frames: int = FEW
) -> Path:
    """Grey videos of a size, one per camera."""
    for name in names:
        with VideoWriter(folder / f"{name}.mp4", FPS) as video:
            for _ in range(frames):
                video.write(np.full((size[1], size[0], 3), 99, np.uint8))
    return folder


def is_rig(found: Calibration, rig: Calibration, lens: Sequence[float] | None) -> bool:
    """Whether cameras are those of the rig, in its world; lens None: of a model that is fitted."""
    return bool(
        len(found.names) == len(rig.names)
        and np.abs(found.centres - rig.centres).max() < NEAR_MM
        and np.abs(found.R - rig.R).max() < NEAR
        and np.abs(found.K - rig.K).max() < NEAR
        and (lens is None or np.abs(found.distortion - lens).max() < NEAR)
    )


def in_world_of_first(rig: Calibration) -> Calibration:
    """The rig in the axes of its first camera."""
    R, t = rig.R @ rig.R[0].T, rig.t - (rig.R @ rig.R[0].T) @ rig.t[0]
    return Calibration(rig.names, rig.K, R, t, rig.distortion, rig.sizes)


def converted(folder: Path, *words: str, **paths: Path | str) -> tuple[Said, Calibration | None]:
    """A calibration through the command, as it is read back."""
    output = folder / "converted.json"
    output.unlink(missing_ok=True)
    said = say(folder, "calibration convert", *words, **paths, output=output.name)
    return said, read_calibration(output) if output.is_file() else None


def judged(said: Said, found: Calibration | None, rig: Calibration, lens: Sequence[float]) -> Tried:
    """Whether a calibration that was converted is the rig."""
    right = found is not None and is_rig(found, rig, lens)
    told = (
        said.line
        if found is None
        else f"{len(found.names)} cameras, k1 {found.distortion[0, 0]:.4g}"
    )
    return Tried(said.typed, told, right)


# -- the cases: folder with a copy of the files, the rig -> what was tried -------------------------


def unpadded_names(work: Path, rig: Calibration) -> list[Tried]:
    """Pictures 000000.png, ... and masks 0.png, ..., 11.png of each camera."""
    numbers = [int(path.stem) for path in list_pictures(work)]
    shutil.copy(work.parent / RIG, work / "calibration.toml")
    for name in rig.names:
        for number in numbers:
            copy(work / f"{number}.png", work / "masks" / name / f"{number}.png")
            copy(work / f"{number}.png", work / "frames" / name / f"{number:06d}.png")
    moments = RecordingData(work, None, joints=18, every=1).moments("train")
    pairs = [(int(v.image.stem), int(v.mask.stem)) for moment in moments for v in moment.views]
    wrong = sum(picture != mask for picture, mask in pairs)
    said = say(work, "masks check", masks="masks", input=".")
    read = json.loads((work / "masks" / "check.json").read_text())["cameras"]
    jumps = sum("jumping" in f"{camera['flags']}" for camera in read.values())
    right = numbers == sorted(numbers) and wrong == jumps == 0 and said.status == 0
    told = f"order {numbers}, {wrong} of {len(pairs)} pairs wrong, {jumps} cameras jump"
    return [Tried(said.typed, told, right)]


def hydra_paths(work: Path, rig: Calibration) -> list[Tried]:
    """The loop of repro.sh, with videos and masks in the folders."""
    tried, masks = [], list_pictures(work.parent / "01-unpadded-names")
    for name in ("Vidéos", "Trial (1)", "S01, walk", "speed=3"):
        film(work / name / "videos", ["cam0"], frames=len(masks))
        for path in masks:
            copy(path, work / name / "masks" / "cam0" / path.name)
        line = f'n={shlex.quote(name)}; python -m mask_sup.masks check masks="$n/masks" input="$n"'
        said = shell(work, line)
        written = work / name / "masks" / "check.json"
        count = (
            json.loads(written.read_text())["cameras"]["cam0"]["masks"] if written.is_file() else 0
        )
        right = said.status == 0 and count == len(masks)
        tried.append(Tried(line, f"{count} masks read" if right else said.line, right))
    return tried


def distortion_key(work: Path, rig: Calibration) -> list[Tried]:
    """The lens of the files is that of the rig that was converted."""
    files = "k1_distcoeffs", "k2_toml_dist.toml"
    return [judged(*converted(work, input=file), rig, LENS) for file in files]


def qualisys_hybrid(work: Path, rig: Calibration) -> list[Tried]:
    """Cameras that film are kept, those for markers are left out aloud."""
    tried = []
    for file in ("hybrid_mixed.qca.txt", "hybrid_only.qca.txt"):
        said, found = converted(work, input=file)
        names = found.names if found else ()
        right = found is not None and is_rig(found, rig, IDEAL) and names == rig.names
        told = f"cameras {', '.join(names)}; told of those left out: {'left out' in said.text}"
        tried.append(
            Tried(said.typed, told if found else said.line, right and "left out" in said.text)
        )
    return tried


def mask_kinds(work: Path, rig: Calibration) -> list[Tried]:
    """Files of all kinds show the same pixels."""
    tried = []
    for path in list_pictures(work):
        try:
            count = int((read_mask(path) > 127).sum())
            tried.append(
                Tried(f"masks=<folder> with {path.name}", f"{count} pixels", count == PERSON)
            )
        except ValueError as error:
            tried.append(Tried(f"masks=<folder> with {path.name}", f"{error}", False))
    return tried


def mask_size(work: Path, rig: Calibration) -> list[Tried]:
    """Masks on their side are named; those of half the size go with their pictures."""
    said = say(work, "masks check", masks="n7/masks", input="n7")
    cameras = sorted(path.name for path in (work / "n7" / "masks").iterdir() if path.is_dir())
    named = [n for n in cameras if f"{n}: misshapen" in said.text and "turned by 90" in said.text]
    tried = [Tried(said.typed, f"named as turned: {', '.join(named)}", named == cameras)]
    mask = np.rot90(read_mask(list_pictures(work / "n7" / "masks" / cameras[0])[0]))
    picture, half = work / "whole" / "000000.png", work / "half" / "000000.png"
    write_png(picture, np.ascontiguousarray(mask))
    write_png(half, np.ascontiguousarray(mask[::2, ::2]))
    lens = np.zeros(5)
    taken = taken_mask(View(picture, half, np.eye(3), np.eye(3), np.zeros(3), lens)) > 127
    overlap = (taken & (mask > 127)).sum() / (taken | (mask > 127)).sum()
    told = f"read at {taken.shape[1]}x{taken.shape[0]}, IoU with the whole one {overlap:.3f}"
    return [*tried, Tried("masks=<folder of half the size>", told, overlap > 0.9)]


def camera_names(work: Path, rig: Calibration) -> list[Tried]:
    """`new` tells a command that renames; it is run as it stands, and `new` once more."""
    tried = []
    for file, names in (
        ("Calib_scene.toml", [f"cam0{i}" for i in range(1, 5)]),
        ("session_camera_calibration.toml", [f"session_Cam{i}_synchronized" for i in range(1, 5)]),
    ):
        place = work / file.partition(".")[0]
        copy(work / file, place / file)
        film(place / "videos", names)
        steps = [shell(place, f"python -m mask_sup.new p0 --videos videos --calibration {file}")]
        if "give the unit of the file" in steps[0].text:  # Pose2Sim's is metres
            paths = {"input": file, "output": "metres.json"}
            steps.append(say(place, "calibration convert", "unit=m", **paths))
            line = "python -m mask_sup.new p1 --videos videos --calibration metres.json"
            steps.append(shell(place, line))
        steps.append(shell(place, told_command(steps[-1].text)))
        line = "python -m mask_sup.new p --videos videos --calibration cameras.json"
        steps.append(shell(place, line))
        found = find(place / "p")
        right = found is not None and list(found.names) == names and is_rig(found, rig, None)
        now = f"cameras {', '.join(found.names)}" if found else steps[-1].line
        tried.append(Tried("; ".join(step.typed for step in steps), now, right))
    return tried


def find(project: Path) -> Calibration | None:
    """The cameras that a recording's commands take; None if they take none."""
    try:
        return RecordingData(project, None, joints=18, every=1)._calibration()
    except (OSError, ValueError):
        return None


def extra_camera(work: Path, rig: Calibration) -> list[Tried]:
    """`new` goes on, and so does the check of the project."""
    film(work / "videos", rig.names)
    new = shell(work, "python -m mask_sup.new p --videos videos --calibration k14_extra.toml")
    good_masks(work.parent, work / "p" / "masks")
    check = say(work, "calibration check", input="p")
    found = find(work / "p")
    right = (
        new.status == check.status == 0
        and found is not None
        and is_rig(found, rig, None)
        and "['cam4'] are left out" in new.text
        and "all cameras agree" in check.text
    )
    return [Tried(f"{new.typed}; {check.typed}", f"{new.line}; then: {check.line}", right)]


def good_masks(cases: Path, folder: Path) -> None:
    """The masks of the rig: those of 21, the inverted ones turned back."""
    for path in sorted((cases / "21-one-camera-inverted" / "masks").glob("*/*.png")):
        mask = read_mask(path)
        mended = 255 - mask if (mask > 127).mean() > 0.5 else mask
        write_png(folder / path.parent.name / path.name, mended)


def choice_after_reading(work: Path, rig: Calibration) -> list[Tried]:
    """Cameras that can be read are chosen, whatever the others are."""
    tried, kept = [], rig.select(rig.names[:3])
    for file in ("k7_uncalibrated.toml", "k7_fisheye.toml"):
        said, found = converted(work, "cameras=[cam_0,cam_1,cam_2]", input=file)
        tried.append(judged(said, found, kept, LENS))
    return tried


def two_files(work: Path, rig: Calibration) -> list[Tried]:
    """The file that is named is the one that the project has."""
    film(work / "videos", [f"cam_{i}" for i in range(4)])
    line = "python -m mask_sup.new p --videos videos --calibration camera_array.toml"
    said, found = shell(work, line), find(work / "p")
    right = said.status == 0 and found is not None and is_rig(found, rig, None)
    return [Tried(line, f"{len(found.names)} cameras" if found else said.line, right)]


def turned_camera(work: Path, rig: Calibration) -> list[Tried]:
    """A point that camera 2 saw at (x, y) is at (height - y, x) once its video is turned."""
    before = read_calibration(work / "camera_array.toml")
    said, after = converted(work, "turn={cam_2: 90}", input="camera_array.toml")
    if after is None:
        return [Tried(said.typed, said.line, False)]
    points = np.random.default_rng(0).normal([0, 0, 900], 400, (50, 3))
    pixels = [project(c, 2, points) for c in (before, after)]
    meant = np.stack([before.sizes[2, 1] - pixels[0][:, 1], pixels[0][:, 0]], 1)
    off = float(np.abs(pixels[1] - meant).max())
    others = [0, 1, 3]
    same = np.allclose(before.R[others], after.R[others]) and np.allclose(
        before.K[others], after.K[others]
    )
    right = off <= 1 and same and (after.sizes[2] == before.sizes[2, ::-1]).all()
    told = f"points of the turned video are off by {off:.2g} px"
    return [Tried(said.typed, told, bool(right))]


def project(rig: Calibration, camera: int, points: np.ndarray) -> np.ndarray:
    """Pixels (n, 2) of points of the world in a camera."""
    axis = cv2.Rodrigues(rig.R[camera])[0]
    seen = cv2.projectPoints(points, axis, rig.t[camera], rig.K[camera], rig.distortion[camera])[0]
    return seen[:, 0]


def trc_last_marker(work: Path, rig: Calibration) -> list[Tried]:
    """The motion of the file as poses.npz, exported anew, and read as OpenSim does."""
    lines = (work / "motion.trc").read_text().splitlines()
    names = [cell for cell in lines[3].split("\t")[2:] if cell.strip()]
    rows = [line.split("\t")[2:] for line in lines[6:] if line.strip()]
    rows = [(row + [""] * (3 * len(names)))[: 3 * len(names)] for row in rows]
    world = np.array([[float(cell or "nan") for cell in row] for row in rows])
    world = world.reshape(len(rows), len(names), 3)
    header = {
        "version": VERSION,
        "skeleton": "human18",
        "joints": names,
        "parents": dict.fromkeys(names[1:], names[0]),
        "fps": FPS,
        "arrays": {},
    }
    pixels = np.zeros((len(rows), 1, len(names), 2))
    arrays = {
        "pictures": np.array([[f"{i}.png"] for i in range(len(rows))]),
        "picture_size_px": np.tile(SIZE, (len(rows), 1, 1)),
        "joints_px": pixels,
        "reprojected_px": pixels,
        "joints_root_mm": np.zeros((len(rows), 1, len(names), 3)),
        "joints_world_mm": world,
        "confidence": np.ones((len(rows), len(names))),
    }
    write_arrays(work / "poses.npz", header, arrays)
    said = say(work, "export", "formats=[trc]", "up=y", poses="poses.npz", output="out")
    (written,) = (work / "out").glob("*.trc")
    unknown = int(np.isnan(world[:, -1, 0]).sum())
    read = shell(work, f"{shlex.quote(sys.executable)} trc_opensim.py {shlex.quote(str(written))}")
    right = said.status == read.status == 0 and "refused (RowLengthMismatch): 0 " in read.text
    told = f"last marker unknown in {unknown} of {len(rows)} rows: {read.text.strip()}"
    return [Tried(said.typed, told, right and unknown > 0)]


def k_of_other_size(work: Path, rig: Calibration) -> list[Tried]:
    """The doubt is told with its numbers, and what it tells to do gives the true K."""
    film(work / "videos", rig.names)
    said = shell(work, "python -m mask_sup.new p --videos videos --calibration .")
    doubt = next((line for line in said.text.splitlines() if "far off the middle" in line), "")
    words = ("calibrated_size=[320,320]",)
    _, found = converted(work, *words, input=".", videos="videos")
    named = all(word in doubt for word in ("160", "640x640", words[0]))
    right = named and found is not None and is_rig(found, rig, IDEAL)
    return [Tried(said.typed, doubt or said.line, right)]


def formats(work: Path, rig: Calibration) -> list[Tried]:
    """Each is the same rig, in its world or in that of its first camera."""
    first = in_world_of_first(rig)
    stereo = in_world_of_first(rig.select([rig.names[0], rig.names[2]]))
    one = rig.select(rig.names[:1])
    return [
        judged(*converted(work, *words, input=file), meant, lens)
        for file, meant, lens, words in (
            ("k3_mccalib.yml", rig, LENS, ()),
            ("k4_jarvis", rig, LENS, ()),
            ("k5_stereo", stereo, LENS, ()),
            ("k6_multical.json", first, LENS, ()),
            ("k18_aist.json", rig, LENS, ("unit=mm",)),  # without a unit it is doubted, for cm
            ("k12.xcp", rig, None, ()),
            ("k13_cameraIntrinsicsExtrinsics.pickle", one, LENS, ()),
        )
    ]


def white_masks(work: Path, rig: Calibration) -> list[Tried]:
    """A camera whose masks are all white, and one with a few of them."""
    few = work / "few"
    good_masks(work.parent, few / "masks")
    copy(work / "calibration.toml", few / "calibration.toml")
    for path in sorted((few / "masks" / "cam2").iterdir())[4 : 4 + FEW]:
        write_png(path, np.full(SIZE, 255, np.uint8))
    said = say(few, "calibration check", input=".")
    agree, named = "all cameras agree" in said.text, "cam2 are white in" in said.text
    right = (said.status == 0 and agree) or named
    told = f"white moments left out: {agree}; named: {named}; {said.line}"
    return [*named_masks(work, "white"), Tried(f"{FEW} white frames: {said.typed}", told, right)]


def inverted_masks(work: Path, rig: Calibration) -> list[Tried]:
    """A camera whose masks are inverted."""
    return named_masks(work, "inverted")


def named_masks(work: Path, what: str) -> list[Tried]:
    """Both commands name the masks of cam2, their frames and what they are, and blame no camera."""
    tried = []
    for name, paths in (("check", {}), ("refine", {"output": "refined.json"})):
        said = say(work, f"calibration {name}", input=".", **paths)
        named = f"masks of cam2 are {what}" in said.text and "frames" in said.text
        blamed = "letterboxed" in said.text or "undone" in said.text or "high <= 0" in said.text
        right = named and not blamed and not (work / "refined.json").exists()
        tried.append(Tried(said.typed, said.line, right))
    return tried


CASES: Mapping[str, Callable[[Path, Calibration], list[Tried]]] = {
    "01-unpadded-names": unpadded_names,
    "02-hydra-paths": hydra_paths,
    "03-distortion-key": distortion_key,
    "04-qualisys-hybrid": qualisys_hybrid,
    "06-mask-kinds": mask_kinds,
    "07-mask-size": mask_size,
    "09-camera-names": camera_names,
    "10-extra-camera": extra_camera,
    "11-choice-after-reading": choice_after_reading,
    "12-two-files": two_files,
    "13-turned-camera": turned_camera,
    "14-trc-last-marker": trc_last_marker,
    "15-k-of-other-size": k_of_other_size,
    "18-formats-with-poor-words": formats,
    "20-white-masks": white_masks,
    "21-one-camera-inverted": inverted_masks,
}


def copy(source: Path, target: Path) -> None:
    """Copy a file, that can be written to, into a folder that is made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def attempt(check: Callable, work: Path, rig: Calibration) -> list[Tried]:
    """What a check tries; a check that breaks is a case that is wrong."""
    try:
        return check(work, rig)
    except Exception as error:
        return [Tried(check.__name__, f"{type(error).__name__}: {error}", False)]


def main() -> None:
    """Print a row per command, record all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", type=Path, help="folder of one folder per case")
    given = parser.parse_args()
    rig, found = read_calibration(given.cases / RIG), {}
    table = Table("case", "typed", "before", "now", "")
    with tempfile.TemporaryDirectory() as folder:
        for path in given.cases.rglob("*"):
            if path.is_file():
                copy(path, Path(folder) / path.relative_to(given.cases))
        for case in sorted(path for path in Path(folder).iterdir() if path.is_dir()):
            before = (case / "README").read_text().strip()
            check = CASES.get(case.name)
            tried = attempt(check, case, rig) if check else [Tried("", "no check knows it", False)]
            tried = [
                Tried(one.typed, one.now.replace(f"{folder}/", ""), bool(one.right))
                for one in tried
            ]
            for i, one in enumerate(tried):
                cells = case.name if i == 0 else "", one.typed, before if i == 0 else "", one.now
                table.add_row(*(cell[:SHOWN] for cell in cells), "right" if one.right else "WRONG")
            found[case.name] = {"before": before, "tried": [one._asdict() for one in tried]}
            print(case.name, *("right" if one.right else "WRONG" for one in tried), flush=True)
    Console(width=200, markup=False).print(table)
    every = [one for case in found.values() for one in case["tried"]]
    right = sum(one["right"] for one in every)
    print(f"{right} of {len(every)} right, in {len(found)} cases")
    record("cases", right=right, tried=len(every), cases=found)


if __name__ == "__main__":
    main()
