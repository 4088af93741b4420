"""Is a wrong camera named from masks alone? Random rigs, each usual fault put in, and clean ones.

    python benchmarks/calibration.py --rigs 200          # about 4 seconds a check, 10 checks a rig
    python benchmarks/calibration.py --recording data/recording --masks <folder> <folder>

Bodies of the embedded data move in rigs of three to six cameras; their masks have ragged edges
like a segmentation's. Prints, per fault, the share named rightly (fault and camera), the share
where the camera alone is right, the share missed, and the share of false alarms on clean rigs;
written to benchmarks/results/calibration.json. Verdicts are noted as they come: the same command
goes on where it was stopped. With --recording: how near the refined cameras come, from the
calibration shipped with the public recording to its reference cameras (cameras.json); one row for
each folder of masks, written to benchmarks/results/calibration_recording.json.
"""

import argparse
import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
import torch
from record import RESULTS, record, revision
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.spatial.transform import Rotation

from mask_sup.calibration import Calibration, read_calibration
from mask_sup.calibration.check import Finding, Look, Rig, check
from mask_sup.calibration.from_masks import rig_from_masks
from mask_sup.calibration.settle import reprojection, settle
from mask_sup.files.masks import read_mask
from mask_sup.geometry.batch import Camera
from mask_sup.geometry.camera import crop_from_world
from mask_sup.synthetic.bodies import Bodies
from mask_sup.synthetic.motion import ACTIONS, Motion, procedural_motion

WIDTH, HEIGHT = 640, 480
SECONDS, FPS = 8.0, 25.0
RAGGED = 1.0  # pixels, spread of the masks' edges
RIGS_PER_CHILD = 10
NOTES = Path("outputs/calibration/verdicts.jsonl")


def random_rig(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """K, R, t (mm) of three to six cameras around a person."""
    views = int(rng.integers(3, 7))
    turn = rng.uniform(0, 2 * np.pi) + np.arange(views) * 2 * np.pi / views
    turn = turn + rng.normal(0, 0.25, views)
    distance = rng.uniform(3, 6, views)
    height = rng.uniform(0.6, 2.5, views)
    centres = np.stack([distance * np.cos(turn), distance * np.sin(turn), height], 1)
    forward = np.array([0, 0, 0.9]) + rng.normal(0, 0.15, (views, 3)) - centres
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    R = np.stack([right, np.cross(forward, right), forward], 1)
    roll = np.stack([0 * turn, 0 * turn, rng.normal(0, 0.03, views)], 1)
    R = Rotation.from_rotvec(roll).as_matrix() @ R
    focal = distance / rng.uniform(2.2, 3.4, views) * HEIGHT
    K = np.zeros((views, 3, 3))
    K[:, 0, 0] = K[:, 1, 1] = focal
    K[:, :2, 2] = np.array([WIDTH / 2, HEIGHT / 2]) + rng.normal(0, 8, (views, 2))
    K[:, 2, 2] = 1.0
    return K, R, -np.einsum("vij,vj->vi", R, centres) * 1000


def filmed(
    K: np.ndarray, R: np.ndarray, t: np.ndarray, rng: np.random.Generator, action: str | None = None
) -> Rig:
    """A person who moves for some seconds within sight of all cameras of a rig."""
    person, seed = int(rng.integers(8)), int(rng.integers(2**32))
    motion = procedural_motion(action or str(rng.choice(ACTIONS)), rng, SECONDS, FPS)
    position = motion.position * min(1.0, 0.7 / np.abs(motion.position).max())
    place, bodies = rng.uniform(-0.4, 0.4, 2), Bodies()

    @cache
    def mask(view: int, frame: int) -> np.ndarray:
        vertices = surface(bodies, person, motion, frame, place + position[frame])
        edge = np.random.default_rng([seed, view, frame])
        return ragged(silhouette(vertices, bodies.faces, K[view], R[view], t[view]), edge)

    names = tuple(f"cam{view}" for view in range(len(K)))
    return Rig(names, K, R, t, len(motion.rotations), mask)


def surface(
    bodies: Bodies, person: int, motion: Motion, frame: int, ground: np.ndarray
) -> np.ndarray:
    """Vertices in mm of a person who stands on the ground."""
    vertices, _ = bodies.pose(person, motion.rotations[frame], np.zeros(3))
    return 1000 * (vertices + np.array([*ground, motion.lift[frame] - vertices[:, 2].min()]))


def silhouette(
    vertices: np.ndarray, faces: np.ndarray, K: np.ndarray, R: np.ndarray, t: np.ndarray
) -> np.ndarray:
    """Mask of a surface in one camera."""
    pixels = (vertices @ R.T + t) @ K.T
    points = np.rint((pixels[:, :2] / pixels[:, 2:] - 0.5) * 16).astype(np.int32)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for triangle in points[faces]:
        cv2.fillConvexPoly(mask, triangle, 1, cv2.LINE_8, 4)
    return mask > 0


def ragged(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mask with an edge that wanders by about a pixel."""
    inside, outside = (
        cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 5) for part in (mask, ~mask)
    )
    noise = rng.normal(0, RAGGED, (HEIGHT // 16, WIDTH // 16)).astype(np.float32)
    noise = cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return inside - outside + noise > 0


# ---- faults: each takes a true rig and gives a wrong one, and the cameras at fault ---------------


def none(rig: Rig, view: int, other: int, rng: np.random.Generator) -> tuple[Rig, set[int]]:
    """Nothing is wrong."""
    return rig, set()


def swapped(rig: Rig, view: int, other: int, rng: np.random.Generator) -> tuple[Rig, set[int]]:
    """Two videos carry each other's names."""
    taker = {view: other, other: view}
    return replace(rig, mask=lambda v, f: rig.mask(taker.get(v, v), f)), {view, other}


def transposed(rig: Rig, view: int, other: int, rng: np.random.Generator) -> tuple[Rig, set[int]]:
    """R of one camera is transposed."""
    return changed(rig, view, R=rig.R[view].T)


def inverted(rig: Rig, view: int, other: int, rng: np.random.Generator) -> tuple[Rig, set[int]]:
    """Camera to world in place of world to camera."""
    return changed(rig, view, R=rig.R[view].T, t=-rig.R[view].T @ rig.t[view])


def unit(rig: Rig, view: int, other: int, rng: np.random.Generator) -> tuple[Rig, set[int]]:
    """One camera's translation is in metres."""
    return changed(rig, view, t=rig.t[view] / 1000)


def scaled(rig: Rig, view: int, other: int, rng: np.random.Generator) -> tuple[Rig, set[int]]:
    """The calibration is for pictures of another size."""
    s = float(rng.choice([1 / 2, 2 / 3, 3 / 4, 4 / 3, 3 / 2, 2]))
    return changed(rig, view, K=np.diag([s, s, 1.0]) @ rig.K[view])


def letterboxed(rig: Rig, view: int, other: int, rng: np.random.Generator) -> tuple[Rig, set[int]]:
    """The calibration is for pictures that fill the frame."""
    s = rng.uniform(1.04, 1.2)
    cut = np.array([[s, 0, (1 - s) * WIDTH / 2], [0, s, (1 - s) * HEIGHT / 2], [0, 0, 1]])
    return changed(rig, view, K=cut @ rig.K[view])


def time(rig: Rig, view: int, other: int, rng: np.random.Generator) -> tuple[Rig, set[int]]:
    """One camera was started some frames off."""
    late, last = int(rng.choice([-4, -3, -2, 2, 3, 4])), rig.frames - 1

    def mask(v: int, f: int) -> np.ndarray:
        return rig.mask(v, min(max(f + (late if v == view else 0), 0), last))

    return replace(rig, mask=mask), {view}


def extrinsics(rig: Rig, view: int, other: int, rng: np.random.Generator) -> tuple[Rig, set[int]]:
    """Turned by 0.7 to 2 degrees and moved by some centimetres."""
    axis = rng.normal(size=3)
    turn = axis / np.linalg.norm(axis) * np.radians(rng.uniform(0.7, 2.0))
    centre = -rig.R[view].T @ rig.t[view] + rng.normal(0, 25, 3)
    R = Rotation.from_rotvec(turn).as_matrix() @ rig.R[view]
    return changed(rig, view, R=R, t=-R @ centre)


def masks(rig: Rig, view: int, other: int, rng: np.random.Generator) -> tuple[Rig, set[int]]:
    """One camera's masks hold a streak of the background, or end above the knees."""
    streak = rng.random() < 0.5

    def mask(v: int, f: int) -> np.ndarray:
        whole = rig.mask(v, f)
        if v != view or not whole.any():
            return whole
        rows = np.nonzero(whole.any(1))[0]
        broken = whole.copy()
        if streak:
            middle = int(np.quantile(rows, 0.4))
            broken[middle : middle + 3, : int(0.7 * WIDTH)] = True
        else:
            broken[int(np.quantile(rows, 0.7)) :] = False
        return broken

    return replace(rig, mask=mask), {view}


def changed(rig: Rig, view: int, **camera: np.ndarray) -> tuple[Rig, set[int]]:
    """The rig with another K, R or t of one view."""
    arrays = {name: getattr(rig, name).copy() for name in camera}
    for name, value in camera.items():
        arrays[name][view] = value
    return replace(rig, **arrays), {view}


FAULTS: tuple[Callable, ...] = (
    *(none, swapped, transposed, inverted, unit, scaled, letterboxed, time, extrinsics, masks),
)


def verdict(finding: Finding, fault: str, cameras: set[str]) -> str:
    """What a finding is worth."""
    if finding.fault == fault and set(finding.cameras) == cameras:
        return "right"
    if finding.fault == "none":
        return "missed"
    return "camera right" if set(finding.cameras) == cameras else "wrong"


def verdicts(seed: int, faults: list[str]) -> dict[str, str]:
    """What the check is worth on one rig, for each fault."""
    rng, found = np.random.default_rng(seed), {}
    rig = filmed(*random_rig(rng), rng)
    for fault in FAULTS:
        view, other = (int(v) for v in rng.choice(len(rig.names), 2, replace=False))
        wrong, views = fault(rig, view, other, rng)
        if fault.__name__ in faults:
            cameras = {rig.names[v] for v in views}
            found[fault.__name__] = verdict(check(wrong), fault.__name__, cameras)
    return found


def disagreement(calibration: Calibration, reference: Calibration) -> np.ndarray:
    """Pixels per camera by which points that the reference sees cannot be seen by all cameras.

    500 points about where the cameras look are projected by the reference, triangulated by the
    calibration and projected again: blind to where the world is and how large.
    """
    ahead = reference.R[:, 2]
    off = np.eye(3) - ahead[:, :, None] * ahead[:, None]
    middle = np.linalg.solve(off.sum(0), np.einsum("vij,vj->i", off, reference.centres))
    points = middle + np.random.default_rng(0).uniform(-700, 700, (500, 3))
    camera = Camera(*map(torch.from_numpy, (reference.K, reference.R, reference.t)))
    pixels = crop_from_world(torch.from_numpy(points)[None], camera).numpy()
    off = reprojection(calibration.K, calibration.R, calibration.t, pixels)
    return np.linalg.norm(off, axis=-1).mean(1)


def recording(folder: Path, masks: Path) -> dict[str, list[float]]:
    """How far the shipped and the refined cameras are from the reference, pixels per camera."""
    reference = read_calibration(folder / "cameras.json")
    sizes = [read_mask(next((masks / n).glob("*.png"))).shape[1::-1] for n in reference.names]
    shipped = read_calibration(folder / "Calib.qca.txt").fitted_to(sizes)
    scene = Look(rig_from_masks(shipped, masks), moments=12, rays=40).scene()
    settled = settle(scene, range(len(shipped.names)))
    refined = replace(shipped, R=settled.R, t=settled.t)
    told = {}
    for name, calibration in (("shipped", shipped), ("refined", refined)):
        pixels = disagreement(calibration, reference)
        words = " ".join(f"{value:.1f}" for value in pixels)
        print(f"{masks}, {name}: {words} px from the reference, mean {pixels.mean():.1f}")
        told[name] = pixels.tolist()
    return told


def main() -> None:
    """Check all rigs, print the table, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rigs", type=int, default=200)
    parser.add_argument("--faults", nargs="+", default=[fault.__name__ for fault in FAULTS])
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--notes", type=Path, default=NOTES, help="verdicts so far")
    parser.add_argument("--recording", type=Path, help="the public one, as fetched")
    parser.add_argument("--masks", type=Path, nargs="+", help="of the recording; else its own")
    given = parser.parse_args()
    if given.recording:
        folders = given.masks or [given.recording / "masks"]
        pixels = {folder.name: recording(given.recording, folder) for folder in folders}
        record("calibration_recording", px_from_reference=pixels)
        return
    commit = revision()
    given.notes.parent.mkdir(parents=True, exist_ok=True)
    done = {}
    if given.notes.is_file():
        lines = map(json.loads, given.notes.read_text().splitlines())
        done = {line["rig"]: line["found"] for line in lines if line["commit"] == commit}
    todo = [rig for rig in range(given.rigs) if not set(given.faults) <= set(done.get(rig, ()))]
    spawn = multiprocessing.get_context("spawn")
    with (
        # A process that lives long keeps more and more memory in pieces.
        spawn.Pool(given.workers, maxtasksperchild=RIGS_PER_CHILD) as pool,
        given.notes.open("a") as notes,
    ):
        found = pool.imap(partial(verdicts, faults=given.faults), todo)
        for rig, words in track(zip(todo, found, strict=True), "rigs", total=len(todo)):
            done[rig] = words
            notes.write(json.dumps({"commit": commit, "rig": rig, "found": words}) + "\n")
            notes.flush()
    counts = {name: Counter(done[rig][name] for rig in range(given.rigs)) for name in given.faults}
    result = {"commit": commit, "rigs": given.rigs, "faults": counts}
    (RESULTS / "calibration.json").write_text(json.dumps(result, indent=1) + "\n")
    kinds = ("right", "camera right", "missed", "wrong")
    table = Table("fault", *(f"{kind} %" for kind in kinds), title=f"{given.rigs} rigs")
    for name, count in counts.items():
        table.add_row(name, *(f"{100 * count[kind] / given.rigs:.1f}" for kind in kinds))
    Console().print(table)


if __name__ == "__main__":
    main()
