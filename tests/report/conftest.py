"""Predictions: fabricated ones in memory, and files of poses whose pictures exist."""

import json
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from mask_sup.figure.skeleton import Skeleton
from mask_sup.report.predictions import Predictions

NAN = np.nan


@pytest.fixture(scope="session", name="chain")
def chain_fixture() -> Skeleton:
    return chain()


def chain() -> Skeleton:
    """A root with a right and a left arm of one bone each."""
    return Skeleton(
        name="chain",
        joints=["root", "right_hand", "left_hand"],
        parents={"right_hand": "root", "left_hand": "root"},
        bones={},
        pairs=[("right_hand", "left_hand")],
        heights={"root": 0.5, "right_hand": 0.5, "left_hand": 0.5},
    )


@pytest.fixture(scope="session", name="made")
def made_fixture():
    """What a test is about -> predictions."""
    return made


def made(**given) -> Predictions:
    """Two frames, three views, three joints; what a test does not give is of no matter."""
    values = {
        "header": {},
        "skeleton": chain(),
        "cameras": ("a", "b", "c"),
        "pictures": np.full((2, 3), "p.png"),
        "joints_px": np.zeros((2, 3, 3, 2)),
        "joints_root_mm": np.zeros((2, 3, 3, 3)),
        "joints_world_mm": np.tile([[0.0, 0, 0], [100, 0, 0], [0, 100, 0]], (2, 1, 1)),
        "reprojected_px": None,
        "error_px": None,
        "confidence": None,
        "fps": None,
    }
    return Predictions(**{**values, **given})


def write_poses(path: Path, skeleton: Skeleton, moments, project, root: Path, **changes) -> Path:
    """poses.npz of exact projections, with what `changes` say (None: left out)."""
    world = np.stack([moment.joints_world for moment in moments])
    cameras = [{"K": v.K, "R": v.R, "t": v.t, "distortion": v.distortion} for v in moments[0].views]
    xy = np.stack([[project(joints, camera) for camera in cameras] for joints in world])
    seen = np.stack([(world - world[:, :1]) @ camera["R"].T for camera in cameras], 1)
    header = {
        "version": 2,
        "joints": list(skeleton.joints),
        "parents": dict(skeleton.parents),
        "arrays": {"joints_px": "frame, view, joint, (x, y)"},
        "checkpoint": "outputs/quickstart/last_round/checkpoints/<b>last.ckpt",
        "input": str(root),
    }
    header |= changes.pop("header", {})
    arrays = {
        "pictures": np.array([[str(view.image) for view in moment.views] for moment in moments]),
        "joints_px": xy + 1.0,
        "joints_root_mm": seen,
        "joints_world_mm": world,
        "reprojected_px": xy,
        "reprojection_error_px": np.full(xy.shape[:3], np.sqrt(2.0)),
        **changes,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {name: array for name, array in arrays.items() if array is not None}
    np.savez(path, header=np.array(json.dumps(header)), **arrays)
    return path


@pytest.fixture
def recorded(human18, standing, write_recording, cameras_around, project):
    """Folder, changes -> the folder of a recording's poses.npz: 4 frames, 3 cameras."""
    from mask_sup.data.recording import RecordingData

    def write(folder: Path, **changes) -> Path:
        root = write_recording(folder / "rec", cameras_around(3), count=4)
        moments = RecordingData(root, None, joints=18, every=1).moments("train")
        moments = [m._replace(joints_world=standing(i)) for i, m in enumerate(moments)]
        return write_poses(
            folder / "out" / "poses.npz", human18, moments, project, root, **changes
        ).parent

    return write


@pytest.fixture
def single(human18, write_moments, cameras_around, project):
    """Folder, changes -> the folder of poses.npz of one uncalibrated view: 3 frames."""

    def write(folder: Path, **changes) -> Path:
        moments = write_moments(folder / "in", cameras_around(1))
        gone = dict.fromkeys(("joints_world_mm", "reprojected_px", "reprojection_error_px"))
        return write_poses(
            folder / "out" / "poses.npz", human18, moments, project, folder / "walk.mp4",
            **gone, **changes,
        ).parent  # fmt: skip

    return write


@pytest.fixture(scope="session", name="configured")
def configured_fixture():
    """Folder of poses.npz, keys -> the config of a report."""
    return configured


def configured(folder: Path, **given):
    values = {"poses": str(folder / "poses.npz"), "run": None, "output": None, "fps": None}
    return OmegaConf.create({**values, "video": True, "html": True, **given})
