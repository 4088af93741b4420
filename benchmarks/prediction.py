"""Views a second of `mask_sup.predict fit=false overlays=false` on full-HD film of four cameras.

    python benchmarks/prediction.py
    python benchmarks/prediction.py --checkpoint outputs/demo/last_round/checkpoints/last.ckpt

One of the embedded bodies walks before four cameras with a lens distortion; some moments are drawn,
filmed as video and taken apart into frames by the program, and the film is made long by repeating
them. Without --checkpoint a detector of the quickstart's size is used that never learned, which is
as fast. Measured turn by turn in one process, medians: reading and cropping; the detector alone, on
as many threads; both as predict has them; and all of predict, which triangulates, learns how the
person is built (once for 600 moments) and judges poses by the masks. By the clock, and in
milliseconds of all cores together, which other programs disturb less.

`before` undoes the lens of whole pictures, with maps made anew for each view, one view after
another on one thread (crops were made so up to efbd562); all else is as now. How far joints are
apart between the two is told, too: it is what reading coarsely costs. The peak memory is that of
whole commands on two lengths of film. Files are in memory: disks are not measured. Written to
benchmarks/results/prediction.json; run nothing else meanwhile.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from record import record
from rich.console import Console
from rich.progress import track
from rich.table import Table

from mask_sup.calibration import Calibration, write_calibration
from mask_sup.data.lens import crop_square, lens_maps, mask_box
from mask_sup.data.moments import GREY, Crop, View, crop_view
from mask_sup.data.recording import RecordingData
from mask_sup.files.ahead import ahead, unsplit
from mask_sup.files.build import build
from mask_sup.files.config import conf_dir, plain
from mask_sup.files.masks import read_mask
from mask_sup.files.pictures import read_image
from mask_sup.files.poses import read_poses
from mask_sup.files.video import VideoWriter
from mask_sup.inference.looking import BATCH, look
from mask_sup.inference.making import FINE
from mask_sup.masks.extract import BILEVEL
from mask_sup.models.checkpoint import load, read_checkpoint
from mask_sup.predict import predict
from mask_sup.synthetic.data import SUPERSAMPLING, draw_body, grain_of, posed
from mask_sup.synthetic.looks import random_look
from mask_sup.synthetic.motion import procedural_motion
from mask_sup.synthetic.rigs import default_rig

SIZE = (1920, 1080)
LENS = (-0.18, 0.06, 0.001, -0.001, 0.0)  # as of an action camera's narrow setting
PERSON, FPS, NOISE = 6, 25.0, 1.5  # who walks; frames a second; grey levels, of the cameras
TEXTURE = 8.0  # grey levels of the walls: frames are as large as those of the public recording
DRAWN = 6  # moments that are drawn; the film repeats them
BEFORE, NOW = "predict_before", "predict"
TIMED, LENGTHS = 100, (100, 900)  # moments of the film that is timed, and of those for the memory


def cameras() -> Calibration:
    """The rig of the embedded data with wide pictures and a lens."""
    rig, (width, height) = default_rig(), SIZE
    scale = height / (2 * rig.K[0, 1, 2])
    K = np.diag([scale, scale, 1.0]) @ rig.K
    K[:, 0, 2] = width / 2
    views = len(K)
    return Calibration(
        names=tuple(f"cam{view}" for view in range(views)),
        K=K,
        R=rig.R,
        t=rig.t,
        distortion=np.tile(LENS, (views, 1)),
        sizes=np.tile(np.array(SIZE, float), (views, 1)),
        source="prediction.py",
    )


def film(root: Path) -> None:
    """A recording of `DRAWN` moments: videos, masks, cameras.json."""
    rng, rig = np.random.default_rng(0), cameras()
    motion = procedural_motion("walking", rng, DRAWN / FPS, FPS)
    look = random_look(rng, len(rig.names), "scene")
    grain = grain_of(PERSON, look)
    for view, name in enumerate(track(rig.names, "filming")):
        R, t, K = rig.R[view], rig.t[view], rig.K[view]
        wide = tuple(SUPERSAMPLING * side for side in SIZE)
        room = cv2.resize(look.room[view], wide, interpolation=cv2.INTER_CUBIC)
        room += rng.normal(0, TEXTURE, room.shape).astype(np.float32)
        (root / "masks" / name).mkdir(parents=True)
        with VideoWriter(root / "videos" / f"{name}.mp4", FPS) as video:
            for frame in range(DRAWN):
                seen = posed(PERSON, motion, frame, np.zeros(2))[0] * 1000 @ R.T + t
                at = cv2.projectPoints(seen, np.zeros(3), np.zeros(3), K, rig.distortion[view])[0]
                picture, mask = draw_body(at[:, 0], seen, room, look, R @ look.light, grain)
                noisy = np.rint(picture + rng.normal(0, NOISE, picture.shape))
                video.write(np.clip(noisy, 0, 255).astype(np.uint8)[..., ::-1])
                cv2.imwrite(str(root / "masks" / name / f"{frame:06d}.png"), mask, BILEVEL)
    write_calibration(rig, root / "cameras.json")


def longer(source: Path, root: Path, moments: int) -> Path:
    """A recording that repeats the frames and masks of another, in the same files."""
    for kind in ("frames", "masks"):
        for folder in sorted((source / kind).iterdir()):
            files, to = sorted(folder.iterdir()), root / kind / folder.name
            to.mkdir(parents=True)
            for i in range(moments):
                os.link(files[i % len(files)], to / f"{i:06d}{files[0].suffix}")
    os.link(source / "cameras.json", root / "cameras.json")
    return root


def untrained(path: Path) -> Path:
    """A checkpoint of the quickstart's detector as it begins."""
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        config = plain(compose("train", ["+experiment=quickstart"]))
    torch.manual_seed(0)
    skeleton = build(config["skeleton"], "skeleton")
    detector = build(config["detector"], "detector", skeleton=skeleton)
    state = {f"detector.{key}": value for key, value in detector.state_dict().items()}
    path.parent.mkdir(parents=True)
    torch.save({"config": config, "state_dict": state}, path)
    return path


def crop_before(
    view: View,
    image_size: int,
    mask_size: int,
    padding: float,
    mask_input: bool,
    may_be_empty: bool,
) -> Crop:
    """`crop_view` by way of the whole picture and the whole mask."""
    picture, mask = read_image(view.image), read_mask(view.mask, may_be_empty)
    size = picture.shape[1::-1]
    picture, mask = (
        cv2.remap(one, *lens_maps(view.K, view.distortion, size), cv2.INTER_LINEAR)
        for one in (picture, mask)
    )
    box = mask_box(mask, padding, image_size)
    image = crop_square(picture, box, image_size)
    if mask_input:
        share = crop_square(mask, box, image_size)[..., None] / 255
        image = np.rint(image * share + GREY * (1 - share)).astype(np.uint8)
    small = crop_square(mask, box, mask_size)
    return Crop(image, small, np.zeros(small.shape, bool), box, size)  # nobody asked what is beyond


@contextmanager
def one_after_another(job: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Iterator[Any]]:
    """What `ahead` does, without its threads."""
    yield map(job, items)


def configured(checkpoint: Path, source: Path, output: Path) -> DictConfig:
    """The config of the command that is timed."""
    words = [f"checkpoint={checkpoint}", f"input={source}", f"output={output}"]
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        return compose("predict", [*words, "fit=false", "overlays=false"])


def jobs(checkpoint: Path, source: Path, folder: Path) -> dict[str, Callable[[], None]]:
    """What is timed, on the same views: name -> one turn; poses go to `folder`."""
    read, cfg = read_checkpoint(checkpoint), configured(checkpoint, source, folder / NOW)
    cfg_before = configured(checkpoint, source, folder / BEFORE)
    detector = load(checkpoint)
    moments = RecordingData(source, None, joints=1, every=1).moments("train")
    views = [view for moment in moments for view in moment.views]
    looked = {key: read["config"]["data"][key] for key in ("image_size", "padding")}
    looked |= {"mask_input": detector.mask_input, "mask_size": FINE * cfg.body.size}
    settings = looked | {"may_be_empty": True}
    crops = [crop_view(view, **settings) for view in views]
    images = torch.from_numpy(np.stack([crop.image for crop in crops])).permute(0, 3, 1, 2)

    def reading(crop: Callable[..., Crop], spread: Callable[..., Any]) -> None:
        with spread(lambda view: crop(view, **settings), views) as found:
            for _ in found:
                pass

    def detect(some: torch.Tensor) -> None:
        with torch.inference_mode():
            detector(some.float() / 255)

    def detecting() -> None:
        with ahead(detect, images.split(BATCH // torch.get_num_threads())) as found:
            for _ in found:
                pass

    def predicting_before() -> None:
        with (
            unsplit(),
            mock.patch("mask_sup.inference.looking.crop_view", crop_before),
            mock.patch("mask_sup.inference.looking.ahead", one_after_another),
        ):
            predict(cfg_before)

    return {
        "reading_before": lambda: reading(crop_before, one_after_another),
        "reading_one_thread": lambda: reading(crop_view, one_after_another),
        "reading": lambda: reading(crop_view, ahead),
        "detector_alone": detecting,
        "reading_and_detector": lambda: look(detector, looked, moments),
        BEFORE: predicting_before,
        NOW: lambda: predict(cfg),
    }


def apart(folder: Path) -> dict[str, float]:
    """How far joints of both predictions are from each other: median and most."""
    found = [read_poses(folder / name / "poses.npz")[1] for name in (BEFORE, NOW)]
    told = {}
    for key, name in (("joints_px", "px"), ("joints_world_mm", "mm")):
        off = np.linalg.norm(found[0][key] - found[1][key], axis=-1)
        told |= {f"median_{name}": float(np.median(off)), f"most_{name}": float(off.max())}
    return told | {"person_px": float(np.median(found[0]["person_px"]))}


def peak_mb(checkpoint: Path, source: Path, output: Path) -> float:
    """Peak resident memory of the command."""
    words = [f"checkpoint={checkpoint}", f"input={source}", f"output={output}"]
    command = [sys.executable, "-m", "mask_sup.predict", *words, "fit=false", "overlays=false"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"the command failed: {' '.join(command)}")
    return used.ru_maxrss / 1024


def main() -> None:
    """Film, time, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoint", type=Path, help="of a trained detector")
    parser.add_argument("--turns", type=int, default=3)
    given, load = parser.parse_args(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkpoint = given.checkpoint or untrained(folder / "run" / "checkpoints" / "last.ckpt")
        film(folder / "film")
        RecordingData(folder / "film", None, joints=1, every=1).prepare()
        source = longer(folder / "film", folder / "timed", TIMED)
        todo = jobs(checkpoint, source, folder / "poses")
        seconds, cpu = ({key: [] for key in todo} for _ in range(2))
        todo[NOW]()  # what is done once is done
        for _ in range(given.turns):
            for key, job in todo.items():
                start = time.perf_counter(), time.process_time()
                job()
                seconds[key].append(time.perf_counter() - start[0])
                cpu[key].append(time.process_time() - start[1])
        differ, peaks = apart(folder / "poses"), {}
        for count in LENGTHS:
            filmed = longer(folder / "film", folder / str(count), count)
            peaks[count] = peak_mb(checkpoint, filmed, folder / "long")
        size = [path.stat().st_size for path in (folder / "film" / "frames").rglob("*.jpg")]
    views = TIMED * len(default_rig().K)
    rates = {key: views / statistics.median(found) for key, found in seconds.items()}
    each = {key: 1000 * statistics.median(found) / views for key, found in cpu.items()}
    table = Table(title=f"{views} views of {SIZE[0]}x{SIZE[1]}, {given.turns} turns")
    table.add_column("what")
    table.add_column("views/s", justify="right")
    table.add_column("ms of all cores", justify="right")
    for key, rate in rates.items():
        table.add_row(key, f"{rate:.0f}", f"{each[key]:.1f}")
    for count, peak in peaks.items():
        table.add_row(f"peak memory, {count} moments", f"{peak:.0f} MB")
    record(
        "prediction",
        trained=given.checkpoint is not None,
        views=views,
        size=SIZE,
        kilobytes_a_frame=float(np.mean(size)) / 1000,
        views_a_second=rates,
        cpu_ms_a_view=each,
        load_before=load,
        seconds=seconds,
        apart=differ,
        peak_mb_by_moments=peaks,
    )
    Console().print(table)
    print(", ".join(f"{key} {value:.2f}" for key, value in differ.items()))


if __name__ == "__main__":
    main()
