"""Film one of the embedded bodies with four cameras whose calibration hides a mistake.

    python scripts/film_bodies.py data/filmed     # videos/, plates/, calibration.toml, answer/
    python -m mask_sup.new man --videos data/filmed/videos

A second example for one's own cameras, small and with known answers: a person moves before four
cameras, one video and one picture of the empty scene each, and calibration.toml (Anipose's format)
is wrong in one way. `answer/` tells which: fault.json, the true cameras, and the true joints and
masks of every frame to compare with. Labels are for this comparison alone.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track
from scipy.spatial.transform import Rotation

from mask_sup.calibration import Calibration, write_calibration
from mask_sup.files.video import VideoWriter
from mask_sup.synthetic.data import (
    default_rig,
    draw_body,
    grain_of,
    posed,
    project,
    random_look,
    room_behind,
)
from mask_sup.synthetic.motion import ACTIONS, procedural_motion

FAULTS = ("none", "swapped", "turned", "early")
PERSON = 6  # one that training has not seen
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
        source="film_bodies.py",
    )


def film(root: Path, size: int, seconds: float, action: str, fault: str, seed: int) -> None:
    """Write videos, the wrong calibration, and what is right."""
    rng = np.random.default_rng(seed)
    cameras = true_cameras(size)
    motion = procedural_motion(action, rng, seconds + AHEAD / FPS, FPS)
    look = random_look(rng, len(cameras.names), "scene")
    grain = grain_of(PERSON, look)
    wrong, ahead, told = hidden(cameras, fault, rng)
    frames = len(motion.rotations) - AHEAD
    shown = [posed(PERSON, motion, frame, np.zeros(2)) for frame in range(frames + AHEAD)]
    (root / "answer").mkdir(parents=True, exist_ok=True)
    for view, name in enumerate(cameras.names):
        room = room_behind(look.room[view], cameras.K[view], default_rig().K[view], size)
        light = cameras.R[view] @ look.light
        write_picture(root / "plates" / f"{name}.png", cv2.resize(room, (size, size)))
        masks = root / "answer" / "masks" / name
        with VideoWriter(root / "videos" / f"{name}.mp4", FPS) as video:
            for frame in track(range(frames), f"filming {name}"):
                vertices, _ = shown[frame + ahead[view]]
                seen = vertices * 1000 @ cameras.R[view].T + cameras.t[view]
                pixels = project(cameras.K[view], seen)
                picture, mask = draw_body(pixels, seen, room, look, light, grain)
                picture += rng.normal(0, NOISE, picture.shape)
                video.write(np.clip(np.rint(picture), 0, 255).astype(np.uint8)[..., ::-1])
                write_picture(masks / f"{frame:06d}.png", mask)
    joints = np.stack([joints * 1000 for _, joints in shown[:frames]])
    np.savez_compressed(root / "answer" / "joints.npz", joints_world_mm=joints)
    write_calibration(cameras, root / "answer" / "cameras.json")
    (root / "answer" / "fault.json").write_text(json.dumps(told, indent=1) + "\n")
    write_calibration(wrong, root / "calibration.toml")


def write_picture(path: Path, picture: np.ndarray) -> None:
    """A png, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), picture):
        raise SystemExit(f"could not write {path}: is the disk full?")


def hidden(
    cameras: Calibration, fault: str, rng: np.random.Generator
) -> tuple[Calibration, list[int], dict]:
    """The calibration with a mistake, how many frames early each camera runs, and the truth."""
    one, other = (int(view) for view in rng.permutation(len(cameras.names))[:2])
    told = {"fault": fault, "cameras": [cameras.names[one]]}
    ahead = [0] * len(cameras.names)
    if fault == "none":
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


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("root", type=Path, help="folder to write, e.g. data/filmed")
    parser.add_argument("--fault", choices=FAULTS, default="swapped")
    parser.add_argument("--action", choices=ACTIONS, default="walking")
    parser.add_argument("--size", type=int, default=640, help="side of the pictures, pixels")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    film(given.root, given.size, given.seconds, given.action, given.fault, given.seed)
    print(f"filmed in {given.root}; do not look into {given.root / 'answer'} yet")


if __name__ == "__main__":
    main()
