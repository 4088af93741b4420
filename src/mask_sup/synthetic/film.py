"""Films of the embedded bodies before four cameras whose calibration hides a mistake.

`mask_sup.film` is the command, and tells what is in a film.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from rich.progress import track
from scipy.spatial.transform import Rotation

from mask_sup.calibration import Calibration, write_calibration
from mask_sup.files.video import VideoWriter
from mask_sup.synthetic.data import (
    SUPERSAMPLING,
    draw_body,
    grain_of,
    posed,
    room_behind,
)
from mask_sup.synthetic.looks import Look, random_look
from mask_sup.synthetic.motion import procedural_motion
from mask_sup.synthetic.names import PEOPLE
from mask_sup.synthetic.rigs import default_rig, project

__all__ = ["film"]

PERSON, OTHER = 6, 7  # that training has not seen
ASIDE = 0.9  # metres off the middle: where a bystander stays, and how far off a visitor passes
BEYOND = 4.0  # metres off the middle: where a visitor comes from, out of sight of all cameras
BESIDE = 0.5  # radians off the x axis, which leads between the cameras
NEAREST_MM = 300.0  # to a camera; who comes nearer is not drawn
FPS, AHEAD = 25.0, 4
NOISE = 1.5  # grey levels, of the cameras


def true_cameras(size: int) -> Calibration:
    """The rig of the embedded data, for square pictures."""
    rig = default_rig()
    shrink = size / (2 * rig.K[0, 0, 2])
    return Calibration(
        names=tuple(f"cam{view}" for view in range(len(rig.K))),
        K=np.diag([shrink, shrink, 1.0]) @ rig.K,
        R=rig.R,
        t=rig.t,
        distortion=np.zeros((len(rig.K), 5)),
        sizes=np.full((len(rig.K), 2), float(size)),
        source="mask_sup.film",
    )


class Actor(NamedTuple):
    """Somebody who is filmed."""

    look: Look
    grain: np.ndarray  # brightness of each triangle
    shown: list[tuple[np.ndarray, np.ndarray]]  # vertices and joints of every frame, metres


def acted(person: int, action: str, frames: int, cameras: int, rng: np.random.Generator) -> Actor:
    """A person who moves about the middle of the space."""
    motion = procedural_motion(action, rng, frames / FPS, FPS)
    look = random_look(rng, cameras, "scene")
    shown = [posed(person, motion, frame, np.zeros(2)) for frame in range(frames)]
    return Actor(look, grain_of(person, look), shown)


def joined_by(fault: str, frames: int, cameras: int, seed: int) -> list[Actor]:
    """Who else is filmed."""
    if fault not in PEOPLE:
        return []
    rng = np.random.default_rng([seed, OTHER])  # the same first person whoever is with them
    actor = acted(OTHER, "waiting" if fault == "bystander" else "walking", frames, cameras, rng)
    way = rng.uniform(-BESIDE, BESIDE) + np.pi * rng.integers(2)
    ahead = np.array([np.cos(way), np.sin(way), 0.0])
    if fault == "two_people":
        return [actor]
    aside = np.array([-ahead[1], ahead[0], 0.0])
    along = np.linspace(-BEYOND, BEYOND, frames)
    moved = [
        ASIDE * (ahead if fault == "bystander" else aside) + (fault == "visitor") * far * ahead
        for far in along
    ]
    shown = [
        (vertices + step, joints + step)
        for step, (vertices, joints) in zip(moved, actor.shown, strict=True)
    ]
    return [actor._replace(shown=shown)]


def film(root: Path, size: int, seconds: float, action: str, fault: str, seed: int) -> None:
    """Write videos, the wrong calibration, and what is right."""
    rng = np.random.default_rng(seed)
    cameras = true_cameras(size)
    views = len(cameras.names)
    frames = round(seconds * FPS)
    people = [acted(PERSON, action, frames + AHEAD, views, rng)]
    people += joined_by(fault, frames + AHEAD, views, seed)
    look = people[0].look
    wrong, ahead, told = hidden(cameras, fault, rng)
    (root / "answer").mkdir(parents=True, exist_ok=True)
    for view, name in enumerate(cameras.names):
        room = room_behind(look.room[view], cameras.K[view], default_rig().K[view], size)
        write_picture(root / "plates" / f"{name}.png", cv2.resize(room, (size, size)))
        with VideoWriter(root / "videos" / f"{name}.mp4", FPS) as video:
            for frame in track(range(frames), f"filming {name}"):
                picture, masks = drawn(people, frame + ahead[view], cameras, view, room)
                picture += rng.normal(0, NOISE, picture.shape)
                video.write(np.clip(np.rint(picture), 0, 255).astype(np.uint8)[..., ::-1])
                for folder, mask in zip(("masks", "others"), masks, strict=False):
                    write_picture(root / "answer" / folder / name / f"{frame:06d}.png", mask)
    joints = np.stack([joints * 1000 for _, joints in people[0].shown[:frames]])
    np.savez_compressed(root / "answer" / "joints.npz", joints_world_mm=joints)
    write_calibration(cameras, root / "answer" / "cameras.json")
    (root / "answer" / "fault.json").write_text(json.dumps(told, indent=1) + "\n")
    write_calibration(wrong, root / "calibration.toml")


def drawn(
    people: list[Actor], frame: int, cameras: Calibration, view: int, room: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Picture (h, w, 3) of a frame, and of each person the mask of what is seen of them."""
    R, t, K = cameras.R[view], cameras.t[view], cameras.K[view]
    seen = [actor.shown[frame][0] * 1000 @ R.T + t for actor in people]
    light = R @ people[0].look.light
    masks, picture = [np.zeros(0, np.uint8)] * len(people), None
    for i in sorted(range(len(people)), key=lambda i: -seen[i][:, 2].mean()):  # far ones first
        if picture is not None:
            room = picture.repeat(SUPERSAMPLING, 0).repeat(SUPERSAMPLING, 1)
        look, grain, _ = people[i]
        near = seen[i][:, 2].min() < NEAREST_MM
        vertices = np.full_like(seen[i], NEAREST_MM) * [-1e3, 1, 1] if near else seen[i]
        picture, mask = draw_body(project(K, vertices), vertices, room, look, light, grain)
        masks = [np.where(mask > 0, 0, one) if one.size else one for one in masks]
        masks[i] = mask
    return picture, masks


def write_picture(path: Path, picture: np.ndarray) -> None:
    """A png, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), picture):
        raise OSError(f"could not write {path}: is the disk full?")


def hidden(
    cameras: Calibration, fault: str, rng: np.random.Generator
) -> tuple[Calibration, list[int], dict]:
    """The calibration with a mistake, how many frames early each camera runs, and the truth."""
    one, other = (int(view) for view in rng.permutation(len(cameras.names))[:2])
    told = {"fault": fault, "cameras": [cameras.names[one]]}
    ahead = [0] * len(cameras.names)
    if fault in ("none", *PEOPLE):
        return cameras, ahead, told | {"cameras": []}
    if fault == "early":  # it was started late
        ahead[one] = AHEAD
        return cameras, ahead, told | {"frames": AHEAD}
    R, t = cameras.R.copy(), cameras.t.copy()
    if fault == "turned":
        axis = rng.normal(size=3)
        turn = Rotation.from_rotvec(np.radians(2.0) * axis / np.linalg.norm(axis)).as_matrix()
        R[one], t[one] = turn @ R[one], turn @ t[one]
        return replace(cameras, R=R, t=t), ahead, told | {"degrees": 2.0}
    R[[one, other]], t[[one, other]] = R[[other, one]], t[[other, one]]
    told["cameras"] = sorted([cameras.names[one], cameras.names[other]])
    return replace(cameras, R=R, t=t), ahead, told
