"""What a detector does before cameras that it was not trained with, beside the ones it was.

    python benchmarks/unseen.py outputs/demo/last_round/checkpoints/last.ckpt

People that training has not seen, in its everyday movements, stand before random rings of three to
six cameras and, in the same movements, before the rig of the embedded data. Masks are exact, as in
training. Written to benchmarks/results/unseen.json: all figures of both, and the monocular error by
how high a camera looks down.
"""

import argparse
import tempfile
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from record import record
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.utils.data import DataLoader

from mask_sup.data.moments import Moment, MomentDataset, View, expand
from mask_sup.metrics import PoseMetrics, score
from mask_sup.models.checkpoint import read_checkpoint, restore
from mask_sup.synthetic.data import PEOPLE, draw_body, grain_of, posed, room_behind
from mask_sup.synthetic.looks import random_look
from mask_sup.synthetic.motion import ACTIONS, Motion, procedural_motion
from mask_sup.synthetic.rigs import (
    AIM,
    FOCAL,
    PICTURE,
    Rig,
    cut_out,
    default_rig,
    looking_at,
    project,
)

FPS, MOMENTS = 5.0, 10  # of each run, as in the embedded data
SIZE = 128  # pixels, side of a picture
VIEWS = (3, 4, 5, 6)
DISTANCE_M, ELEVATION = (3.0, 6.0), (-10.0, 45.0)  # of cameras from the person; degrees
BANDS = (-90, 0, 15, 30, 90)  # degrees, edges
SHOWN = ("mono/mpjpe_mm", "mono/p_mpjpe_mm", "tri/mpjpe_mm", "ambiguity_pct", "scene_flip_pct")


class Scene(NamedTuple):
    """Moments before one rig, and how high each camera stands above the person's middle."""

    moments: list[Moment]
    elevation: np.ndarray  # (v,) degrees


def ring(rng: np.random.Generator, views: int) -> Rig:
    """Cameras all around, at any height in range, that look at about the person's middle."""
    turn = rng.uniform(0, 2 * np.pi) + np.arange(views) * 2 * np.pi / views
    turn += rng.normal(0, 0.25, views)
    up = np.radians(rng.uniform(*ELEVATION, views))
    away = np.stack([np.cos(up) * np.cos(turn), np.cos(up) * np.sin(turn), np.sin(up)], 1)
    centres = AIM + rng.uniform(*DISTANCE_M, (views, 1)) * away
    return looking_at(centres, AIM + rng.normal(0, 0.15, (views, 3)), FOCAL, PICTURE)


def elevations(rig: Rig) -> np.ndarray:
    """How high each camera stands above `AIM`, as an angle, degrees (v,)."""
    off = -np.einsum("vji,vj->vi", rig.R, rig.t) / 1000 - AIM
    return np.degrees(np.arctan2(off[:, 2], np.linalg.norm(off[:, :2], axis=1)))


def filmed(folder: Path, rig: Rig, seed: int) -> Scene:
    """A run of moments of one person before a rig; the seed decides all but the cameras."""
    rng = np.random.default_rng(seed)
    person, action = int(rng.choice(PEOPLE["val"])), ACTIONS[seed % len(ACTIONS)]
    motion = procedural_motion(action, rng, seconds=MOMENTS / FPS, fps=FPS)
    moments = drawn(folder, rig, motion, person, f"{seed:04d}", rng)
    return Scene(moments, elevations(rig))


def drawn(
    folder: Path, rig: Rig, motion: Motion, person: int, name: str, rng: np.random.Generator
) -> list[Moment]:
    """The frames of a movement before a rig, as files named after `name`."""
    look, place = random_look(rng, len(rig.K), "scene"), rng.uniform(-0.4, 0.4, 2)
    grain, moments = grain_of(person, look), []
    for frame in range(len(motion.rotations)):
        vertices, joints = posed(person, motion, frame, place)
        views = []
        for camera, (K, R, t) in enumerate(zip(*rig, strict=True)):
            in_camera = vertices * 1000 @ R.T + t
            cut = cut_out(K, project(K, in_camera), SIZE, rng)
            room = room_behind(look.room[camera], cut, K, SIZE)
            pictures = draw_body(
                project(cut, in_camera), in_camera, room, look, R @ look.light, grain
            )
            stem = folder / f"{name}_{frame:02d}_{camera}"
            files = [stem.with_suffix(".jpg"), stem.with_suffix(".png")]
            for path, pixels in zip(files, pictures, strict=True):
                if not cv2.imwrite(str(path), np.clip(np.rint(pixels), 0, 255).astype(np.uint8)):
                    raise OSError(f"could not write {path}: is the disk full?")
            views.append(View(*files, cut, R, t, np.zeros(5)))
        told = f"person{person}/{motion.action}/{frame}"
        moments.append(Moment(told, tuple(views), joints * 1000))
    return moments


def crops_of(moments: list[Moment], detector: torch.nn.Module, data: dict) -> MomentDataset:
    """Moments as the detector was shown them in training."""
    return MomentDataset(
        moments,
        joints=len(detector.skeleton.joints),
        image_size=data["image_size"],
        mask_size=data["mask_size"],
        padding=data["padding"],
        mask_input=detector.mask_input,
        geodesic=None,
        memory=False,
    )


def figures(detector: torch.nn.Module, scenes: list[Scene], data: dict) -> dict[str, object]:
    """All figures of these scenes, and the monocular error by elevation in bands of degrees."""
    metrics, errors, heights = PoseMetrics(detector.skeleton), [], []
    root = detector.skeleton.root
    for views in sorted({len(scene.elevation) for scene in scenes}):
        alike = [scene for scene in scenes if len(scene.elevation) == views]
        dataset = crops_of([moment for scene in alike for moment in scene.moments], detector, data)
        for batch in map(expand, DataLoader(dataset, batch_size=MOMENTS)):
            _, poses = score(metrics, detector(batch.views.image), batch, detector.depth_range)
            off = (poses.cam - poses.cam[..., root, None, :]) - (
                poses.label_cam - poses.label_cam[..., root, None, :]
            )
            errors.append(off.norm(dim=-1).mean(-1).flatten().numpy())
        heights += [np.tile(scene.elevation, MOMENTS) for scene in alike]
    error, height = np.concatenate(errors), np.concatenate(heights)
    bands = {
        f"{low} to {high}": float(error[(height >= low) & (height < high)].mean())
        for low, high in zip(BANDS, BANDS[1:], strict=False)
        if ((height >= low) & (height < high)).any()
    }
    return {**metrics.compute(), "mono_mpjpe_mm_by_elevation": bands}


def main() -> None:
    """Draw both worlds, evaluate, write and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--rigs", type=int, default=48)
    given = parser.parse_args()
    checkpoint = read_checkpoint(given.checkpoint)
    detector, told = restore(checkpoint), {}
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        for world in ("home", "rings"):
            scenes = []
            for seed in track(range(given.rigs), f"drawing {world}"):
                rng = np.random.default_rng([seed, 1])
                rig = default_rig() if world == "home" else ring(rng, VIEWS[seed % len(VIEWS)])
                folder = Path(name) / world
                folder.mkdir(exist_ok=True)
                scenes.append(filmed(folder, rig, seed))
            told[world] = figures(detector, scenes, checkpoint["config"]["data"])
    settings = checkpoint.get("settings")
    record("unseen", settings=settings, rigs=given.rigs, moments=given.rigs * MOMENTS, **told)
    table = Table("figure", *told, title=f"{given.rigs} rigs, {MOMENTS} moments each")
    for key in SHOWN:
        table.add_row(key, *(f"{told[world][key]:.1f}" for world in told))
    Console().print(table)
    Console().print({world: told[world]["mono_mpjpe_mm_by_elevation"] for world in told})


if __name__ == "__main__":
    main()
