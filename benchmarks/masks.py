"""Overlap of label-free masks with given ones, and their cost, on a recording.

    python benchmarks/masks.py data/recording --every 5
    python benchmarks/masks.py data/recording --every 40 --extractors "rembg extractor.weights=..."
    python benchmarks/masks.py data/recording --extractors "mediapipe extractor.install=true"

An extractor may be followed by overrides, which learned ones need to find their weights.
Written to benchmarks/results/masks.json, beside the extractors that it holds from before. The given
masks are for comparison alone; no extractor sees them. Times are of the clock: what is learnt
from the footage before the first mask, and one mask after that without reading the frame.
"""

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
from hydra import compose, initialize_config_dir
from record import RESULTS, record
from rich.console import Console
from rich.table import Table

from mask_sup.files.build import build
from mask_sup.files.config import conf_dir
from mask_sup.files.masks import read_mask
from mask_sup.files.pictures import list_pictures
from mask_sup.masks.extract import mask_frames, survey_camera
from mask_sup.masks.extractor import Extractor
from mask_sup.masks.followed import followed
from mask_sup.masks.footage import Footage, find_footage


def timed(extractor: Extractor, times: list[float]) -> Extractor:
    """The extractor, noting what every mask takes."""
    foreground = extractor.foreground

    def noted(*given):
        start = time.perf_counter()
        found = foreground(*given)
        times.append(time.perf_counter() - start)
        return found

    extractor.foreground = noted
    return extractor


def compare(footage: Footage, given: Path, name: str, every: int) -> tuple[list[float], ...]:
    """Overlaps, and seconds of the first pass and of each mask."""
    name, *overrides = name.split()
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        cfg = compose("masks", [f"extractor={name}", *overrides])
    settings = {"size": cfg.size, "samples": cfg.samples, "roi": None}
    truth, times, overlaps = list_pictures(given), [], []
    extractor = build(cfg.extractor, "extractor")
    surveys = [survey_camera(footage, extractor, settings)]
    who = followed(surveys, cfg.person, footage.path, [footage])
    extractor = timed(extractor, times)
    start, first = time.perf_counter(), 0.0
    frames = range(0, footage.count, every)
    for i, mask in mask_frames(footage, extractor, settings, frames, who[footage.camera]):
        first = first or time.perf_counter() - start - times[0]
        true = read_mask(truth[i]) > 127
        overlaps.append(float((true & (mask > 0)).sum() / (true | (mask > 0)).sum()))
    return overlaps, [first], times


def main() -> None:
    """Print one row per extractor, add them to the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recording", type=Path)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--extractors", nargs="+", default=["plate", "grabcut", "mog2", "knn"])
    given = parser.parse_args()
    cv2.setNumThreads(1)
    footage = find_footage(given.recording)
    table = Table(title=f"IoU with given masks, every {given.every}. frame: mean (lowest)")
    for column in ("extractor", *(one.camera for one in footage), "first pass", "per mask"):
        table.add_column(column, justify="right")
    path = RESULTS / "masks.json"
    found = json.loads(path.read_text())["extractors"] if path.is_file() else {}
    for name in given.extractors:
        cells, firsts, costs, iou = [], [], [], {}
        for one in footage:
            masks = given.recording / "masks" / one.camera
            overlaps, first, times = compare(one, masks, name, given.every)
            cells.append(f"{np.mean(overlaps):.3f} ({min(overlaps):.2f})")
            firsts, costs = firsts + first, costs + times
            iou[one.camera] = float(np.mean(overlaps))
        seconds = f"{np.mean(firsts):.1f} s", f"{np.mean(costs):.2f} s"
        table.add_row(name.split()[0], *cells, *seconds)
        found[name] = {
            "every": given.every,
            "iou": iou,
            "seconds_first_pass": float(np.mean(firsts)),
            "seconds_a_mask": float(np.mean(costs)),
        }
    record("masks", extractors=found)
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
