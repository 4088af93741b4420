"""A walking person as joints, and as the poses.npz that `mask_sup.predict` would write of them."""

import json

import numpy as np
import pytest

from mask_sup.export import read_clip
from mask_sup.synthetic.bodies import Bodies
from mask_sup.synthetic.motion import procedural_motion

FPS = 30.0


@pytest.fixture(scope="session")
def walk():
    """(60, 18, 3) mm, z up: joints of a body surface in a procedural walk at 30 frames a second."""
    motion = procedural_motion("walking", np.random.default_rng(3), seconds=2.0, fps=FPS)
    bodies = Bodies()
    frames = []
    for rotations, place in zip(motion.rotations, motion.position, strict=True):
        root = [*place, bodies.ground_height(2, rotations)]
        frames.append(bodies.pose(2, rotations, np.array(root))[1])
    return 1000 * np.stack(frames)


@pytest.fixture(scope="session")
def write_poses(human18, cameras_around, project):
    """Path, joints (t, j, 3), header and arrays to change -> a poses.npz of two views."""

    def write(path, world, fps=FPS, skeleton=human18, **changes):
        cameras, count = cameras_around(2), len(world)
        seen = np.stack([[project(frame, c) for c in cameras] for frame in world])
        arrays = {
            "joints_px": seen + 0.25,
            "joints_root_mm": np.zeros((count, 2, len(skeleton.joints), 3)),
            "joints_world_mm": world.astype(np.float32),
            "reprojected_px": seen,
            "confidence": np.full(world.shape[:2], 0.8),
            "pictures": np.array([[f"cam{k}/{i}.jpg" for k in range(2)] for i in range(count)]),
            "picture_size_px": np.tile([72, 56], (count, 2, 1)),
        } | changes
        header = {
            "version": 2,
            "skeleton": skeleton.name,
            "joints": list(skeleton.joints),
            "parents": dict(skeleton.parents),
            "fps": fps,
            "arrays": {"confidence": "how it is defined"},
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {name: array for name, array in arrays.items() if array is not None}
        np.savez(path, header=np.array(json.dumps(header)), **arrays)
        return path

    return write


@pytest.fixture(scope="session")
def single_view(walk, write_poses):
    """Path -> a poses.npz of one view: the walk in the axes of a level camera behind the person."""

    def write(path, **changes):
        # The camera looks along world y: right is x, down is -z, away is y.
        root_mm = (walk - walk[:, :1])[..., [0, 2, 1]] * [1, -1, 1]
        alone = {
            "joints_root_mm": root_mm[:, None],
            "joints_px": 100 + root_mm[:, None, :, :2] / 20,
            "pictures": np.array([[f"{i}.jpg"] for i in range(len(walk))]),
            "picture_size_px": np.tile([200, 200], (len(walk), 1, 1)),
        }
        gone = dict.fromkeys(("joints_world_mm", "reprojected_px", "confidence"))
        return write_poses(path, walk, **(alone | gone | changes))

    return write


@pytest.fixture
def clip(walk, write_poses, tmp_path):
    """The walk, read back."""
    return read_clip(write_poses(tmp_path / "poses.npz", walk))


@pytest.fixture
def gappy(clip):
    """The walk without its left wrist in frames 0 to 3 and 10 to 14, without pelvis in frame 20."""
    points, pixels = clip.points_mm.copy(), clip.joints_px.copy()
    wrist, pelvis = clip.joints.index("left_wrist"), clip.joints.index("pelvis")
    for frames, joint in ((slice(0, 4), wrist), (slice(10, 15), wrist), (slice(20, 21), pelvis)):
        points[frames, joint], pixels[frames, :, joint] = np.nan, np.nan
    return clip._replace(points_mm=points, joints_px=pixels)
