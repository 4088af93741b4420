"""Poses fitted to masks with no training: how near, how well explained, how long.

    python benchmarks/fitting.py outputs/demo/last_round/checkpoints/last.ckpt
    python benchmarks/fitting.py <ckpt> --recording data/recording  # and the public recording

The detector's triangulated poses and those that explain the masks, on `val`, `mocap` and `spoilt`
(`val` with spoilt masks) of the embedded data, on random rings of three to six cameras, on postures
that training has not seen (sitting, lying, ...) and on three seconds of film. Runs of moments
follow each other in time and show one person, those of `mocap` lie apart and are told nothing of
who is seen. The public recording has no truth: its row tells the share left unexplained. Seconds
are of one thread's processor time for the fit alone. `mocap` is held out: no number of the fitter
was chosen on it. Written to benchmarks/results/fitting.json.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from postures import POSTURES, posture
from record import RESULTS, record, revision
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader
from unseen import FPS, MOMENTS, VIEWS, crops_of, drawn, ring

from mask_sup.data.moments import Moment, expand
from mask_sup.data.recording import RecordingData
from mask_sup.files.build import build
from mask_sup.files.config import conf_dir
from mask_sup.fitting.film import fit_film
from mask_sup.fitting.fitter import Fitted, PoseFitter
from mask_sup.geometry.batch import Camera
from mask_sup.geometry.triangulate import triangulate_robustly
from mask_sup.method.settings import of_checkpoint
from mask_sup.models.checkpoint import read_checkpoint, restore
from mask_sup.synthetic.data import PEOPLE
from mask_sup.synthetic.motion import ACTIONS, procedural_motion
from mask_sup.synthetic.rigs import default_rig

LOST = 150.0  # mm: a moment farther off than this is a failed one
FILM_FPS, FILM_SECONDS, FILM_PERSON = 25.0, 3.0, 6
FILMS = ("film", "recording")
BATCH = 20


def the_fitter(seed: int) -> PoseFitter:
    """As `predict` has it."""
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        cfg = compose("train", [f"seed={seed}", "+experiment=quickstart"])
    skeleton = build(cfg.skeleton, "skeleton")
    body, anatomy = (build(cfg[part], part, skeleton=skeleton) for part in ("body", "anatomy"))
    return build(cfg.fitter, "fitter", body=body, anatomy=anatomy)


def embedded(checkpoint: dict[str, Any], split: str) -> list[Moment]:
    """A split of the embedded data as the training had it; `spoilt` is as large as `val`."""
    source = OmegaConf.create(checkpoint["config"]["data"]["source"])
    source.moments.spoilt = source.moments.val
    data = build(source, "data.source")
    data.prepare()
    return data.moments(split)


def rings(folder: Path, count: int) -> list[list[Moment]]:
    """Everyday movements before random rings of cameras."""
    runs = []
    for seed in range(count):
        rng, cameras = np.random.default_rng([seed, 2]), np.random.default_rng([seed, 1])
        action = ACTIONS[seed % len(ACTIONS)]
        motion = procedural_motion(action, rng, seconds=MOMENTS / FPS, fps=FPS)
        person = int(rng.choice(PEOPLE["val"]))
        rig = ring(cameras, VIEWS[seed % len(VIEWS)])
        runs.append(drawn(folder, rig, motion, person, f"ring{seed}", rng))
    return runs


def postures(folder: Path, count: int) -> list[list[Moment]]:
    """Postures before random rings of four."""
    runs = []
    for seed in range(count):
        rng, name = np.random.default_rng([seed, 5]), list(POSTURES)[seed % len(POSTURES)]
        motion, person = posture(name, rng, MOMENTS, FPS), int(rng.choice(PEOPLE["val"]))
        rig = ring(np.random.default_rng([seed, 1]), 4)
        runs.append(drawn(folder, rig, motion, person, f"posture{seed}", rng))
    return runs


def film(folder: Path) -> list[list[Moment]]:
    """Three seconds of a walker at 25 frames a second."""
    rng = np.random.default_rng(2)
    motion = procedural_motion("walking", rng, FILM_SECONDS, FILM_FPS)
    return [drawn(folder, default_rig(), motion, FILM_PERSON, "film", rng)]


class Seen:
    """Detections and masks of moments."""

    def __init__(self, detector: torch.nn.Module, moments: list[Moment], data: dict[str, Any]):
        dataset = crops_of(moments, detector, data)
        batches = [expand(batch) for batch in DataLoader(dataset, batch_size=BATCH)]
        cameras = zip(*(batch.views.camera for batch in batches), strict=True)
        self.camera = Camera(*(torch.cat(part) for part in cameras))
        self.mask = torch.cat([batch.views.mask for batch in batches])
        self.truth = torch.cat([batch.labels.joints_world for batch in batches])
        with torch.inference_mode():
            xy = torch.cat([detector(batch.views.image)[..., :2] for batch in batches])
        self.start = triangulate_robustly(xy.clone(), self.camera)


def errors(joints: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Root-relative mean error of each moment, mm."""
    return ((joints - joints[:, :1]) - (truth - truth[:, :1])).norm(dim=-1).mean(-1)


def row(seen: list[Seen], found: list[Fitted], seconds: float, detector: Any) -> dict[str, float]:
    """The figures of one set."""
    before, after = (
        torch.cat([errors(joints, one.truth) for joints, one in zip(poses, seen, strict=True)])
        for poses in ([one.start for one in seen], [fit.joints_world for fit in found])
    )
    flip = detector.skeleton.flip
    turned = torch.cat(
        [errors(f.joints_world[:, flip], one.truth) for f, one in zip(found, seen, strict=True)]
    )
    unexplained = torch.cat([fit.unexplained for fit in found])
    told = {
        "moments": len(after),
        "unexplained_pct": 100 * float(unexplained.median()),
        "cpu_seconds_per_moment": seconds / len(after),
    }
    if not after.isfinite().all():
        return told
    return told | {
        "detected_mm": float(before.mean()),
        "fitted_mm": float(after.mean()),
        "fitted_median_mm": float(after.median()),
        "lost_pct": 100 * float((after > LOST).float().mean()),
        "named_wrong_pct": 100 * float((turned < after).float().mean()),
    }


def known() -> dict[str, dict[str, float]]:
    """Rows that this revision has written."""
    path = RESULTS / "fitting.json"
    told = json.loads(path.read_text()) if path.is_file() else {}
    return told["sets"] if told.get("commit") == revision() else {}


def main() -> None:
    """Fit every set, write and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--runs", type=int, default=24, help="of rings and of postures")
    parser.add_argument("--recording", type=Path, help="the public recording, with masks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", nargs="+", help="sets to measure again; others of this revision stay"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    checkpoint = read_checkpoint(given.checkpoint)
    detector, data = restore(checkpoint), checkpoint["config"]["data"]
    fitter, rows = the_fitter(given.seed), known() if given.only else {}

    def look(moments: list[Moment]) -> Seen:
        return Seen(detector, moments, data)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sets: dict[str, list[list[Moment]]] = {}
        for split in ("val", "spoilt"):
            moments = embedded(checkpoint, split)
            sets[split] = [moments[i : i + MOMENTS] for i in range(0, len(moments), MOMENTS)]
        sets["mocap"] = [embedded(checkpoint, "mocap")]
        sets["rings"] = rings(folder, given.runs)
        sets["postures"] = postures(folder, given.runs)
        sets["film"] = film(folder)
        if given.recording:
            recording = RecordingData(given.recording, None, 18, 1)
            recording.prepare()
            sets["recording"] = [recording.moments("train")]
        for kind, runs in sets.items():
            if given.only and kind not in given.only:
                continue
            alike = [
                [run for run in runs if len(run[0].views) == views]
                for views in sorted({len(run[0].views) for run in runs})
            ]
            seen = [look([moment for run in some for moment in run]) for some in alike]
            begun, found = time.process_time(), []
            for some, one in zip(alike, seen, strict=True):
                lengths = torch.tensor([len(run) for run in some])
                run = torch.arange(len(some)).repeat_interleave(lengths)
                poses = (one.start, one.camera, one.mask)
                if kind in FILMS:
                    found.append(fit_film(fitter, *poses, run))
                elif kind == "mocap":
                    found.append(fitter.fit("fit", *poses))
                else:
                    found.append(fitter.fit("fit", *poses, subject=run, sequence=run))
            rows[kind] = row(seen, found, time.process_time() - begun, detector)
            record("fitting", settings=of_checkpoint(checkpoint), seed=given.seed, sets=rows)
    table = Table(title="poses fitted to masks with no training")
    columns = ("detected_mm", "fitted_mm", "fitted_median_mm", "lost_pct", "named_wrong_pct")
    columns += ("unexplained_pct", "cpu_seconds_per_moment")
    for column in ("set", *columns):
        table.add_column(column, justify="right")
    for kind, told in rows.items():
        table.add_row(kind, *(f"{told[c]:.2f}" if c in told else "-" for c in columns))
    Console().print(table)


if __name__ == "__main__":
    main()
