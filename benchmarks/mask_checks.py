"""How often does `masks check` name what is wrong with masks, and does it leave good ones alone?

    python benchmarks/mask_checks.py

Films of an embedded body (`spoilt.py`), each with every fault, with and without the footage beside
the masks. A fault is named where the right word is said of at least half of the wrong masks; else
something is said of at least half of them, or nothing. False alarms are masks that are right but
flagged. Written to benchmarks/results/mask_checks.json.
"""

import argparse
import contextlib
import io
import json
import tempfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from hydra import compose, initialize_config_dir
from record import record
from rich.console import Console
from rich.progress import track
from rich.table import Table
from spoilt import FAULTS, Film, Spoilt, film, spoilt

from mask_sup.files.config import conf_dir
from mask_sup.masks.gate import check

ACTIONS = ("walking", "waiting", "posing", "discussion")
SIZE, SECONDS, FPS = 320, 2.4, 10.0
BOTH = {"with_footage": True, "masks_alone": False}
HALF = 0.5  # of the wrong masks


def write(root: Path, shot: Spoilt) -> None:
    """The film as a folder of frames and one of masks."""
    for view, (pictures, masks) in enumerate(zip(shot.pictures, shot.masks, strict=True)):
        for kind in ("frames", "masks"):
            (root / kind / f"cam{view}").mkdir(parents=True)
        for i, (picture, mask) in enumerate(zip(pictures, masks, strict=True)):
            cv2.imwrite(str(root / f"frames/cam{view}/{i:06d}.jpg"), picture[..., ::-1])
            cv2.imwrite(str(root / f"masks/cam{view}/{i:06d}.png"), mask.astype(np.uint8) * 255)


def checked(root: Path, footage: bool) -> list[dict[int, list[str]]]:
    """Kinds per camera and frame, as the command tells them."""
    words = [f"masks={root / 'masks'}", "pictures=1"]
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        cfg = compose("check_masks", words + [f"input={root / 'frames'}"] * footage)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        told = json.loads(check(cfg).read_text())["cameras"]
    return [{int(i): kinds for i, kinds in one["flags"].items()} for one in told.values()]


def judged(kinds: tuple[str, ...], bad: np.ndarray, told: list[dict[int, list[str]]]) -> str:
    """`named`, `other` or `nothing` of what is said of wrong masks (v, n)."""
    said = [set(told[view].get(i, ())) for view, i in np.argwhere(bad)]
    if np.mean([bool(words & set(kinds)) for words in said]) >= HALF:
        return "named"
    return "other" if np.mean([bool(words) for words in said]) >= HALF else "nothing"


def counted(shot: Film, name: str, counts: dict[tuple[str, bool], Counter]) -> None:
    """Check the masks of a film with a fault, with its footage and without, and count."""
    wrong = spoilt(name, shot)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), wrong)
        for footage in (True, False):
            told, count = checked(Path(folder), footage), counts[name, footage]
            count["films"] += 1
            if wrong.bad.any():
                count[judged(FAULTS[name].kinds, wrong.bad, told)] += 1
            good = np.argwhere(~wrong.bad).tolist()
            flagged = [told[view][i] for view, i in good if i in told[view]]
            count["good"] += len(good)
            count["flagged"] += len(flagged)
            count.update(f"flagged {kind}" for kinds in flagged for kind in kinds)


def main() -> None:
    """Print a row per fault; the result is written after each film."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3, help="films of each action")
    given = parser.parse_args()
    films = [(action, seed) for seed in range(given.seeds) for action in ACTIONS]
    counts = {(name, footage): Counter() for name in FAULTS for footage in (True, False)}
    for done, (action, seed) in enumerate(track(films, "films"), start=1):
        shot = film(action, seed, SIZE, SECONDS, FPS)
        for name in FAULTS:
            counted(shot, name, counts)
        figures = {
            name: {where: dict(counts[name, footage]) for where, footage in BOTH.items()}
            for name in FAULTS
        }
        record("mask_checks", films=done, actions=ACTIONS, size=SIZE, faults=figures)
    table = Table(title=f"{len(films)} films; named / something else / nothing")
    for column in ("fault", "with footage", "masks alone", "good masks flagged"):
        table.add_column(column, justify="left" if column == "fault" else "right")
    for name in FAULTS:
        both = [counts[name, footage] for footage in BOTH.values()]
        cells = [" / ".join(str(c[k]) for k in ("named", "other", "nothing")) for c in both]
        table.add_row(name, *cells, ", ".join(f"{c['flagged']} of {c['good']}" for c in both))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
