"""Small fabricated pictures, cameras, recordings and checkpoints."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from mask_sup.data.moments import Moment, View
from mask_sup.figure.skeleton import Skeleton
from mask_sup.files.build import build
from mask_sup.files.config import conf_dir, plain

# Tensors here are small: more threads only wait for each other, and round otherwise.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # of the commands that tests start, too

WIDTH, HEIGHT = 72, 56  # pixels; unequal, so that a swap of the two shows
LENS = np.array([-0.25, 0.08, 0.002, -0.003, 0.01])


def compose_config(name: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        return compose(name, list(overrides))


@pytest.fixture(scope="session", name="compose_config")
def compose_config_fixture() -> Callable[..., DictConfig]:
    """name, overrides -> a composed config of `conf/`."""
    return compose_config


@pytest.fixture(scope="session")
def human18() -> Skeleton:
    return build(compose_config("train").skeleton, "skeleton")


def cameras_around(count: int, distortion: Sequence[float] = (0.0,) * 5) -> list[dict[str, Any]]:
    """K, R, t and distortion of cameras 4 m around the world's z axis that look at its origin."""
    cameras = []
    for angle in np.linspace(0.3, 4.4, count):
        centre = np.array([4000 * np.cos(angle), 4000 * np.sin(angle), 1200.0])
        forward = (np.array([0.0, 0.0, 850.0]) - centre) / np.linalg.norm(centre)
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        R = np.stack([right, np.cross(forward, right), forward])
        K = np.array([[80.0, 0.0, 37.0], [0.0, 82.0, 27.0], [0.0, 0.0, 1.0]])
        cameras.append({"K": K, "R": R, "t": -R @ centre, "distortion": np.array(distortion)})
    return cameras


@pytest.fixture(scope="session", name="cameras_around")
def cameras_around_fixture() -> Callable[..., list[dict[str, Any]]]:
    """Count, distortion -> cameras on a ring."""
    return cameras_around


def standing(skeleton: Skeleton, seed: int = 0) -> np.ndarray:
    """Joints of an upright figure of 1700 mm, a little out of line; world z points up."""
    rng = np.random.default_rng(seed)
    pose = rng.uniform(-200, 200, (len(skeleton.joints), 3))
    pose[:, 2] = [1700 * skeleton.heights[joint] for joint in skeleton.joints]
    return pose


@pytest.fixture(scope="session", name="standing")
def standing_fixture(human18: Skeleton) -> Callable[[int], np.ndarray]:
    """Seed -> joints of an upright figure, mm."""
    return lambda seed=0: standing(human18, seed)


def project(points: np.ndarray, camera: dict[str, Any]) -> np.ndarray:
    """Continuous pixels of world points, by OpenCV."""
    rotation = cv2.Rodrigues(camera["R"])[0]
    px, _ = cv2.projectPoints(points, rotation, camera["t"], camera["K"], camera["distortion"])
    return px[:, 0]


@pytest.fixture(scope="session", name="project")
def project_fixture() -> Callable[..., np.ndarray]:
    """World points, camera -> continuous pixels, by OpenCV."""
    return project


def picture_and_mask(
    joints: np.ndarray, camera: dict[str, Any], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Noise, and the filled outline of a figure in it."""
    rng = np.random.default_rng(seed)
    picture = rng.integers(30, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    outline = cv2.convexHull(np.floor(project(joints, camera)).astype(np.int32))
    mask = cv2.fillConvexPoly(np.zeros((HEIGHT, WIDTH), np.uint8), outline, 255)
    return picture, cv2.dilate(mask, np.ones((3, 3), np.uint8))


def write_moments(
    folder: Path,
    skeleton: Skeleton,
    cameras: Sequence[dict[str, Any]],
    count: int = 3,
    labelled: bool = True,
    seed: int = 0,
) -> list[Moment]:
    """Pictures and masks of standing figures under `folder`, as moments."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    moments = []
    for i in range(count):
        joints, views = standing(skeleton, seed + i), []
        for k, camera in enumerate(cameras):
            picture, mask = picture_and_mask(joints, camera, seed=1000 * seed + 10 * i + k)
            files = [folder / kind / f"{i:03d}_{k}.png" for kind in ("images", "masks")]
            cv2.imwrite(str(files[0]), picture)
            cv2.imwrite(str(files[1]), mask)
            views.append(View(*files, **camera))
        label = joints if labelled else np.full_like(joints, np.nan)
        moments.append(Moment(f"figure/{i:03d}", tuple(views), label))
    return moments


@pytest.fixture(scope="session", name="write_moments")
def write_moments_fixture(human18: Skeleton) -> Callable[..., list[Moment]]:
    """Folder, cameras, count, labelled, seed -> moments whose files exist."""
    return lambda folder, cameras, **options: write_moments(folder, human18, cameras, **options)


def write_video(
    path: Path, frames: Sequence[np.ndarray], codec: str = "mpeg4", rate: int = 10, **options: str
):
    """RGB frames as a video file."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


@pytest.fixture(scope="session", name="write_video")
def write_video_fixture() -> Callable[..., None]:
    """Path, RGB frames, codec -> a video file."""
    return write_video


@pytest.fixture(scope="session")
def write_recording(human18: Skeleton) -> Callable[..., Path]:
    """A recording: cameras.json, masks/, and videos/ or frames/."""

    def write(
        root: Path, cameras: Sequence[dict[str, Any]], count: int = 3, kind: str = "frames"
    ) -> Path:
        moments = write_moments(root / "made", human18, cameras, count)
        told = {}
        for k, camera in enumerate(cameras):
            name = f"cam{k}"
            told[name] = {key: camera[key].tolist() for key in ("K", "R", "t")}
            told[name]["dist"] = camera["distortion"].tolist()
            (root / "masks" / name).mkdir(parents=True)
            for i, moment in enumerate(moments):
                moment.views[k].mask.rename(root / "masks" / name / f"{i:06d}.png")
            pictures = [cv2.imread(str(moment.views[k].image)) for moment in moments]
            if kind == "videos":
                frames = [picture[..., ::-1].copy() for picture in pictures]
                write_video(root / "videos" / f"{name}.mp4", frames)
            else:
                (root / "frames" / name).mkdir(parents=True)
                for i, picture in enumerate(pictures):
                    cv2.imwrite(str(root / "frames" / name / f"{i:06d}.png"), picture)
        (root / "cameras.json").write_text(json.dumps({"unit": "mm", "cameras": told}))
        return root

    return write


TINY = (
    "data=h36m",
    "cascade=three_stage",
    "anatomy=none",
    "data.image_size=16",
    "data.batch_size=1",
    "data.workers=0",
    "renderer.size=16",
    "detector.backbone.channels=16",
    "detector.backbone.depth=1",
    "detector.head.depth_bins=8",
)


@pytest.fixture(scope="session")
def write_checkpoint() -> Callable[..., Path]:
    """Run folder, config overrides, seed -> the checkpoint of a tiny detector that never learned.

    Its joints are spread over the crop, so that an error in geometry shows.
    """

    def write(run: Path, *overrides: str, seed: int = 0) -> Path:
        config = plain(compose_config("train", *TINY, *overrides))
        torch.manual_seed(seed)
        detector = build(
            config["detector"], "detector", skeleton=build(config["skeleton"], "skeleton")
        )
        torch.nn.init.normal_(detector.head.heatmap.weight, std=3.0)
        torch.nn.init.normal_(detector.head.depth, std=0.02)  # depths within a person's
        path = run / "arms" / "checkpoints" / "last.ckpt"
        path.parent.mkdir(parents=True)
        state = {f"detector.{key}": value for key, value in detector.state_dict().items()}
        torch.save({"config": config, "state_dict": state}, path)
        return path

    return write
