"""Several people in the footage: is the mask the right person's, and are two people told?

    for fault in none two_people bystander visitor; do
        mask-sup film people/$fault --fault $fault --seconds 6 --seed 3
        python -m mask_sup.masks input=people/$fault output=people/$fault/masks extractor=plate
            extractor.plates=people/$fault/plates
    done
    python benchmarks/people.py people --masks masks --name after --recording data/recording

A mask is right where it overlaps more with the person that the film's masks show on the whole, in
all views together, than with the other one; frames count in which that person is seen. `masks
check` is asked about these masks, about true ones of one person, and about three kinds of masks of
two: both in each, one after the other in one camera, one after the other in all cameras. The
calibration, which is right, is checked by the last two. Added under the name to
benchmarks/results/people.json.
"""

import argparse
import contextlib
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from hydra import compose, initialize_config_dir
from record import RESULTS, record
from rich.console import Console
from rich.table import Table

from mask_sup.calibration import read_calibration
from mask_sup.calibration.check import check as check_rig
from mask_sup.calibration.from_masks import rig_from_masks
from mask_sup.files.config import conf_dir
from mask_sup.files.masks import read_mask
from mask_sup.masks.gate import check as check_masks

SEEN = 0.001  # share of the picture that a person covers who is seen
TURN = 25  # frames after which masks of two people turn from one to the other


def read(path: Path) -> np.ndarray:
    """A mask; nobody's where there is none."""
    return read_mask(path, may_be_empty=True) > 127


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union."""
    return float((a & b).sum() / max(1, (a | b).sum()))


def overlaps(film: Path, masks: Path) -> dict[str, np.ndarray]:
    """Camera -> (frames, 4): overlap with each person, and whether each is seen."""
    found = {}
    for folder in sorted((film / "answer" / "masks").iterdir()):
        rows = []
        for path in sorted(folder.glob("*.png")):
            mask, own = read(masks / folder.name / path.name), read(path)
            other = film / "answer" / "others" / folder.name / path.name
            two = [own, read(other) if other.is_file() else np.zeros_like(own)]
            rows.append([overlap(mask, one) for one in two] + [one.mean() > SEEN for one in two])
        found[folder.name] = np.array(rows, float)
    return found


def judged(film: Path, masks: Path) -> dict[str, float | list[float]]:
    """How often the masks are the right person's."""
    cameras = overlaps(film, masks)
    rows = np.concatenate(list(cameras.values()))
    person = int(rows[:, 1].sum() > rows[:, 0].sum())
    told = {}
    for name, one in [*cameras.items(), ("all", rows)]:
        seen = one[one[:, 2 + person] > 0]
        right = seen[:, person] > seen[:, 1 - person]
        told[name] = {"right": float(right.mean()), "iou": float(seen[:, person].mean())}
    lowest = min(told[name]["right"] for name in cameras)
    return told["all"] | {"lowest_camera": lowest, "frames": int(rows[:, 2 + person].sum())}


def told_people(masks: Path) -> dict[str, float]:
    """Camera -> share of its frames in which `masks check` sees two people."""
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        cfg = compose("check_masks", [f"masks={masks}", f"output={masks}", "pictures=0"])
    with contextlib.redirect_stdout(io.StringIO()):
        path = check_masks(cfg)
    return {
        name: sum("people" in kinds for kinds in one["flags"].values()) / one["frames"]
        for name, one in json.loads(path.read_text())["cameras"].items()
    }


def mixed(film: Path, mix: Callable[[int, int, np.ndarray, np.ndarray], np.ndarray]) -> Iterator:
    """Camera, name and mask of every frame of a film whose masks are mixed by view and frame."""
    for view, folder in enumerate(sorted((film / "answer" / "masks").iterdir())):
        for frame, path in enumerate(sorted(folder.glob("*.png"))):
            other = film / "answer" / "others" / folder.name / path.name
            mask = mix(view, frame, read(path), read(other))
            yield folder.name, path.name, mask


def both(view: int, frame: int, own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Both people in every mask."""
    return own | other


def one_camera_turns(view: int, frame: int, own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """One camera shows the one person, then the other, and so on."""
    return other if view == 1 and frame // TURN % 3 == 2 else own


def all_turn(view: int, frame: int, own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Every camera does, each at its own times."""
    return other if (frame + 17 * view) // TURN % 2 else own


def written(film: Path, folder: Path, mix: Callable) -> None:
    """Masks of two people as files."""
    for camera, name, mask in mixed(film, mix):
        (folder / camera).mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(folder / camera / name), mask.astype(np.uint8) * 255):
            raise SystemExit(f"could not write {folder / camera / name}: is the disk full?")


def gates(films: list[Path], recording: Path | None) -> dict[str, dict]:
    """What `masks check` and `calibration check` say of true masks and of mixed ones."""
    found: dict[str, dict] = {}
    for film in films:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            calibration = read_calibration(film / "answer" / "cameras.json")
            if (film / "answer" / "others").is_dir():
                for mix in (both, one_camera_turns, all_turn):
                    written(film, root / mix.__name__, mix)
                    row = {"people": told_people(root / mix.__name__)}
                    if mix is not both:
                        rig = rig_from_masks(calibration, root / mix.__name__)
                        finding = check_rig(rig)
                        row["calibration"] = {
                            "fault": finding.fault,
                            "cameras": list(finding.cameras),
                            "left_out": list(finding.left_out),
                        }
                    found[f"{film.name}, {mix.__name__}"] = row
            (root / "one").symlink_to((film / "answer" / "masks").resolve())
            copy = root / "copy"
            written_one(root / "one", copy)
            found[f"{film.name}, one person"] = {"people": told_people(copy)}
    if recording is not None:
        with tempfile.TemporaryDirectory() as folder:
            written_one(recording / "masks", Path(folder) / "copy")
            found["recording"] = {"people": told_people(Path(folder) / "copy")}
    return found


def written_one(source: Path, target: Path) -> None:
    """Links to masks, so that nothing is written beside them."""
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        (target / folder.name).mkdir(parents=True)
        for path in folder.glob("*.png"):
            (target / folder.name / path.name).symlink_to(path.resolve())


def main() -> None:
    """Print what is found, and add it to the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("root", type=Path, help="folder of films")
    parser.add_argument("--masks", default="masks", help="folder of the masks in each film")
    parser.add_argument("--name", required=True, help="of these masks in the result")
    parser.add_argument("--recording", type=Path, help="of one person, with masks/")
    parser.add_argument("--no-gates", action="store_true", help="overlaps alone")
    given = parser.parse_args()
    films = sorted(path for path in given.root.iterdir() if (path / "answer").is_dir())
    path = RESULTS / "people.json"
    found = json.loads(path.read_text()) if path.is_file() else {}
    masks = found.get("masks", {})
    masks[given.name] = {
        film.name: judged(film, film / given.masks)
        for film in films
        if (film / given.masks).is_dir()
    }
    told = found.get("gates", {})
    if not given.no_gates:
        told = gates(films, given.recording)
    record("people", masks=masks, gates=told)
    table = Table(title="masks of the right person")
    for column in ("film", "masks", "right", "worst camera", "IoU"):
        table.add_column(column)
    for name, rows in masks.items():
        for film, row in rows.items():
            shares = (row["right"], row["lowest_camera"])
            table.add_row(film, name, *(f"{share:.0%}" for share in shares), f"{row['iou']:.2f}")
    Console().print(table)
    for name, row in told.items():
        shares = ", ".join(f"{camera} {share:.0%}" for camera, share in row["people"].items())
        blame = row.get("calibration", {})
        print(
            f"{name}: two people in {shares}; {blame.get('fault', '')} {blame.get('cameras', '')}"
        )


if __name__ == "__main__":
    main()
