"""Bakes motion-capture clips in DeepMimic's format into the small file this package carries.

    pip download --no-deps pybullet && unzip pybullet-*.whl 'pybullet_data/data/motions/*'
    python scripts/bake_mocap.py pybullet_data/data/motions src/mask_sup/assets/mocap.npz

The format: 44 numbers a frame, y up, the person faces +x, quaternions (w, x, y, z), every rotation
relative to the parent in the axes of the standing pose.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from mask_sup.synthetic.bodies import CONTROLS

CLIPS = ("walk", "run", "jump", "dance_b", "punch", "spinkick")  # those that stay upright
FPS = 25.0
# DeepMimic (x forward, y up, z right) -> this package (x left, y back, z up).
AXES = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
BALLS = {  # our control: first channel of its quaternion
    "pelvis": 4,
    "chest": 8,
    "neck": 12,
    "right_upper_leg": 16,
    "right_foot": 21,
    "right_upper_arm": 25,
    "left_upper_leg": 30,
    "left_foot": 35,
    "left_upper_arm": 39,
}
HINGES = {  # our control: channel of its angle about DeepMimic's +z
    "right_lower_leg": 20,
    "right_lower_arm": 29,
    "left_lower_leg": 34,
    "left_lower_arm": 43,
}
HIP, THIGH, SHANK, FOOT = 0.085, 0.4215, 0.4099, 0.18  # metres, of DeepMimic's humanoid


def frame_rotations(frames: np.ndarray) -> dict[str, Rotation]:
    """The rotation of each of our controls in each frame (f, 44), in our axes."""
    to_ours = Rotation.from_matrix(AXES)
    rotations = {}
    for name, channel in BALLS.items():
        quaternion = frames[:, channel : channel + 4]
        rotations[name] = Rotation.from_quat(np.roll(quaternion, -1, axis=1))
    for name, channel in HINGES.items():
        rotations[name] = Rotation.from_rotvec(frames[:, channel, None] * [0.0, 0.0, 1.0])
    rotations = {name: to_ours * r * to_ours.inv() for name, r in rotations.items()}
    # One ball joint of the capture is two of ours: each takes half the way, as vertebrae do.
    for whole, other in (("chest", "spine"), ("neck", "head")):
        half = Rotation.from_rotvec(rotations[whole].as_rotvec() / 2)
        rotations[whole] = rotations[other] = half
    return rotations


def lowest_point(rotations: dict[str, Rotation], root: np.ndarray) -> np.ndarray:
    """Height (f,) of the lower of the four ends of both feet."""
    lowest = np.full(len(root), np.inf)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        world = rotations["pelvis"]
        point = root + world.apply([sign * HIP, 0.0, 0.0])
        for control, length in (("upper_leg", THIGH), ("lower_leg", SHANK)):
            world = world * rotations[f"{side}_{control}"]
            point = point + world.apply([0.0, 0.0, -length])
        world = world * rotations[f"{side}_foot"]
        for reach in (-FOOT, FOOT / 3):
            end = point + world.apply([0.0, reach, 0.0])
            lowest = np.minimum(lowest, end[:, 2])
    return lowest


def bake_clip(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Quaternions (t, c, 4) wxyz, root position (t, 2) and lift (t,) of one clip at `FPS`."""
    frames = np.array(json.loads(path.read_text())["Frames"])
    starts = np.concatenate([[0.0], np.cumsum(frames[:-1, 0])])
    times = np.arange(0.0, starts[-1], 1 / FPS)
    rotations = {name: Slerp(starts, r)(times) for name, r in frame_rotations(frames).items()}
    root = np.stack([np.interp(times, starts, frames[:, c]) for c in (1, 2, 3)], 1) @ AXES.T
    low = lowest_point(rotations, root)
    # Some foot stands in most frames of an upright clip, so a quantile is the floor.
    lift = np.clip(low - np.quantile(low, 0.25) - 0.02, 0.0, None)
    still = np.tile([1.0, 0.0, 0.0, 0.0], (len(times), 1))
    quaternions = [
        np.roll(rotations[c].as_quat(), 1, axis=1) if c in rotations else still for c in CONTROLS
    ]
    return np.stack(quaternions, 1), root[:, :2], lift


def main() -> None:
    """Reads the folder and writes the file named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="holds humanoid3d_<clip>.txt")
    parser.add_argument("output", type=Path, help="the .npz to write")
    arguments = parser.parse_args()
    clips = [bake_clip(arguments.folder / f"humanoid3d_{name}.txt") for name in CLIPS]
    quaternions, positions, lifts = (np.concatenate(part) for part in zip(*clips, strict=True))
    np.savez_compressed(
        arguments.output,
        names=np.array(CLIPS),
        lengths=np.array([len(lift) for _, _, lift in clips], np.int16),
        controls=np.array(CONTROLS),
        quaternions=quaternions.astype(np.float32),
        position=positions.astype(np.float32),
        lift=lifts.astype(np.float32),
        fps=np.float32(FPS),
    )
    print(f"wrote {arguments.output}: {len(clips)} clips, {len(lifts)} frames")


if __name__ == "__main__":
    main()
