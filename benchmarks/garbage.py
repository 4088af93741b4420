"""Damaged and senseless input: what a reader makes of it, counted by kind.

`benchmarks/reliability.py` runs ten thousand cases, `tests/test_garbage.py` a few of each kind. A
case is a valid file with damage that hypothesis draws, or a valid config with a senseless value.
Right is an error of the documented kinds, or a result that holds what its type promises; any other
error is `unhandled`, and `wrong` is a result that does not hold it.
"""

import json
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from PIL import Image

from mask_sup.calibration import Calibration, read_calibration, write_calibration
from mask_sup.export import read_clip
from mask_sup.files.config import conf_dir, plain
from mask_sup.files.disk import write_arrays
from mask_sup.files.masks import read_mask
from mask_sup.files.pictures import read_image
from mask_sup.files.poses import VERSION
from mask_sup.files.video import VideoWriter, read_frames
from mask_sup.geometry.batch import Camera
from mask_sup.geometry.triangulate import triangulate
from mask_sup.models.checkpoint import read_checkpoint, restore
from mask_sup.report.predictions import read_predictions
from mask_sup.synthetic.bodies import JOINTS
from mask_sup.synthetic.rigs import default_rig

SLOW = 10.0  # seconds from which on a case counts as hanging
JUNK = (
    *(None, True, False, -1, 0, 1, 10**18, 1e308, 1e-308, float("nan"), float("inf"), -0.5, 2.5),
    *("", "x", "../..", "\x00", "null", "é" * 300, [], [1], [[]], {}, {"a": 1}, ["x", None]),
)


class WrongError(Exception):
    """A result that does not hold what its type promises."""


def hold(holds: bool, what: str) -> None:
    """Refuse a result."""
    if not holds:
        raise WrongError(what)


# -- damages: bytes -> bytes, and plain trees -> plain trees -------------------------------------


@st.composite
def damages(draw: st.DrawFn, content: bytes) -> bytes:
    """The content cut off, overwritten, with bits flipped, pieces doubled or left out."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["cut", "flip", "overwrite", "double", "drop", "word"]))
        if not data:
            break
        a, b = sorted(draw(st.tuples(*[st.integers(0, len(data) - 1)] * 2)))
        b = min(b, a + draw(st.integers(1, 200)))
        if kind == "cut":
            del data[a:]
        elif kind == "flip":
            data[a] ^= 1 << draw(st.integers(0, 7))
        elif kind == "overwrite":
            data[a:b] = draw(st.binary(min_size=b - a, max_size=b - a))
        elif kind == "double":
            data[b:b] = data[a:b]
        elif kind == "drop":
            del data[a:b]
        else:
            data[a:b] = json.dumps(draw(st.sampled_from(JUNK))).encode()
    return bytes(data)


def leaves(tree: Any, path: tuple = ()) -> list[tuple]:
    """Paths to all nodes of a plain tree but its root."""
    found = []
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
    for key, value in items:
        found.append((*path, key))
        if isinstance(value, (Mapping, list)):
            found += leaves(value, (*path, key))
    return found


@st.composite
def other_trees(draw: st.DrawFn, tree: Any) -> Any:
    """The plain tree with one node replaced by junk, or left out."""
    tree = json.loads(json.dumps(tree))
    *way, last = draw(st.sampled_from(leaves(tree)))
    node = tree
    for key in way:
        node = node[key]
    if draw(st.integers(0, 3)) == 0:
        del node[last]
    else:
        node[last] = draw(st.sampled_from(JUNK))
    return tree


# -- kinds: valid samples, what damages them, what reads them ------------------------------------


@dataclass
class Kind:
    """One kind of input."""

    cases: st.SearchStrategy
    """What is drawn; `use` takes it."""
    use: Callable[[Any], None]
    """Reads a case; raises what it likes, `WrongError` for a bad result."""
    expected: tuple[type[Exception], ...] = (ValueError, OSError)
    found: Counter = field(default_factory=Counter)
    """refused, read, unhandled, wrong, slow."""
    told: list[str] = field(default_factory=list)
    """Of what is not right, for people."""

    def run(self, cases: int, start: int) -> None:
        """So many cases, the same for the same start."""

        @seed(start)
        @settings(
            max_examples=cases,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(self.cases)
        def attempt(case: Any) -> None:
            began = time.perf_counter()
            verdict = self._verdict(case)
            self.found["slow" if time.perf_counter() - began > SLOW else verdict] += 1

        attempt()

    def _verdict(self, case: Any) -> str:
        try:
            self.use(case)
        except WrongError as error:
            self.told.append(f"wrong: {error}")
            return "wrong"
        except self.expected:
            return "refused"
        except Exception:
            self.told.append(traceback.format_exc())
            return "unhandled"
        return "read"


def files(folder: Path, samples: list[Path], use: Callable[[Path], None]) -> Kind:
    """Damaged copies of sample files, each under the name of its sample."""
    contents = {path.name: path.read_bytes() for path in samples}

    def read(case: tuple[str, bytes]) -> None:
        path = folder / case[0]
        path.write_bytes(case[1])
        use(path)

    names = st.sampled_from(sorted(contents))
    return Kind(names.flatmap(lambda n: st.tuples(st.just(n), damages(contents[n]))), read)


def calibration() -> Calibration:
    """The embedded rig."""
    rig, views = default_rig(), 4
    names, sizes = tuple(f"cam{view}" for view in range(views)), np.full((views, 2), 1000.0)
    return Calibration(names, rig.K, rig.R, rig.t, np.full((views, 5), 0.01), sizes, "garbage")


def pictures(folder: Path) -> dict[str, Kind]:
    """Pictures and masks in the usual formats."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    mask = np.zeros((24, 32), np.uint8)
    mask[4:20, 8:24] = 255
    images = [folder / f"image{ending}" for ending in (".png", ".jpg", ".bmp", ".tif", ".webp")]
    masks = [folder / f"mask{ending}" for ending in (".png", ".bmp", ".tif")]
    for path in images:
        cv2.imwrite(str(path), picture)
    for path in masks:
        cv2.imwrite(str(path), mask)
    kinds = {
        "palette": Image.fromarray(mask // 255).convert("P"),
        "cutout": Image.fromarray(np.dstack([picture, mask])),
        "deep": Image.fromarray(mask.astype(np.uint16)),
    }
    for name, made in kinds.items():
        masks.append(folder / f"{name}.png")
        made.save(masks[-1])

    def image(path: Path) -> None:
        found = read_image(path)
        hold(found.ndim == 3 and found.shape[2] == 3 and found.dtype == np.uint8, "no RGB picture")

    def foreground(path: Path) -> None:
        found = read_mask(path)
        hold(found.ndim == 2 and found.dtype == np.uint8 and found.max() > 127, "no mask")

    return {"pictures": files(folder, images, image), "masks": files(folder, masks, foreground)}


def videos(folder: Path) -> dict[str, Kind]:
    """Short videos."""
    samples = [folder / "film.mp4", folder / "film.avi", folder / "film.mkv"]
    rng = np.random.default_rng(1)
    for path in samples:
        with VideoWriter(path, 10.0) as video:
            for _ in range(6):
                video.write(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))

    def film(path: Path) -> None:
        for frame in read_frames(path):
            hold(frame.ndim == 3 and frame.dtype == np.uint8, "a frame is no picture")

    return {"videos": files(folder, samples, film)}


def calibrations(folder: Path) -> dict[str, Kind]:
    """Formats of one file that are written, and our own JSON as a tree."""
    samples = [folder / f"rig{ending}" for ending in (".json", ".toml")]
    for path in samples:
        write_calibration(calibration(), path)
    own = folder / "cameras.json"
    write_calibration(calibration(), own)

    def checked(found: Calibration) -> None:
        for name, value in (("K", found.K), ("R", found.R), ("t", found.t)):
            hold(np.isfinite(value).all(), f"{name} is not finite")
        hold(
            np.allclose(found.R @ found.R.swapaxes(1, 2), np.eye(3), atol=1e-2), "R is no rotation"
        )

    def cameras(tree: Any) -> None:
        own.write_text(json.dumps(tree))
        checked(read_calibration(own))

    return {
        "calibrations": files(folder, samples, lambda path: checked(read_calibration(path))),
        "cameras": Kind(other_trees(json.loads(own.read_text())), cameras),
        "triangulation": Kind(bad_views(), triangulated),
    }


@st.composite
def bad_views(draw: st.DrawFn) -> tuple[torch.Tensor, Camera]:
    """Joints in four views, one number of them or of the cameras senseless."""
    rig = default_rig()
    xy = torch.zeros(1, 4, 3, 2)
    parts = [torch.tensor(part, dtype=torch.float32)[None] for part in rig]
    which = draw(st.integers(0, 3))
    target = xy if which == 3 else parts[which]
    place = draw(st.integers(0, target.numel() - 1))
    value = draw(st.sampled_from([float("nan"), float("inf"), 0.0, 1e30, -1e30]))
    target.view(-1)[place] = value
    if draw(st.booleans()) and which == 0:
        target[:, draw(st.integers(0, 3))] = 0.0  # a singular K
    return xy, Camera(*parts)


def triangulated(case: tuple[torch.Tensor, Camera]) -> None:
    """Finite points, or an error."""
    hold(bool(torch.isfinite(triangulate(*case)).all()), "points are not finite")


@st.composite
def other_arrays(draw: st.DrawFn, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays with one of them changed or missing."""
    name = draw(st.sampled_from(sorted(arrays)))
    array = arrays[name]
    changes: dict[str, Callable[[], np.ndarray | None]] = {
        "gone": lambda: None,
        "empty": lambda: array[:0] if array.ndim else array,
        "flat": lambda: array.reshape(-1),
        "turned": lambda: array.T,
        "text": lambda: array.astype(str),
        "one more": lambda: np.concatenate([array, array[:1]]) if array.ndim else array,
        "nan": lambda: np.full(array.shape, np.nan),
        "infinite": lambda: np.full(array.shape, np.inf),
        "scalar": lambda: np.array(0.0),
        "deeper": lambda: array[None],
    }
    changed = changes[draw(st.sampled_from(sorted(changes)))]()
    rest = {key: value for key, value in arrays.items() if key != name}
    return rest if changed is None else rest | {name: changed}


def predicted(folder: Path) -> Path:
    """A poses.npz of two views as predict writes it."""
    joints, (n, v) = list(JOINTS), (3, 2)
    j, rng = len(joints), np.random.default_rng(2)
    header = {
        "version": VERSION,
        "joints": joints,
        "parents": dict(zip(joints[1:], joints, strict=False)),
        "fps": 25.0,
    }
    arrays = {
        "pictures": np.full((n, v), str(folder / "image.png")),
        "picture_size_px": np.full((n, v, 2), 100),
        "person_px": np.full((n, v), 80.0),
        "joints_px": rng.uniform(0, 100, (n, v, j, 2)),
        "joints_root_mm": rng.normal(0, 300, (n, v, j, 3)),
        "joints_world_mm": rng.normal(0, 300, (n, j, 3)),
        "reprojected_px": rng.uniform(0, 100, (n, v, j, 2)),
        "reprojection_error_px": rng.uniform(0, 9, (n, v, j)),
        "confidence": rng.uniform(0, 1, (n, j)),
    }
    write_arrays(folder / "poses.npz", header, arrays)
    return folder / "poses.npz"


def poses(folder: Path) -> dict[str, Kind]:
    """A poses.npz: its bytes, its arrays, its header."""
    sample, path = predicted(folder), folder / "changed.npz"
    with np.load(sample) as file:
        arrays = {name: file[name] for name in file.files}
    header = json.loads(str(arrays["header"]))

    def use(path: Path) -> None:
        clip = read_clip(path)
        hold(clip.points_mm.shape[1:] == (len(clip.joints), 3), "joints do not fit their names")
        hold(clip.fps is None or 0 < clip.fps < float("inf"), f"fps is {clip.fps}")
        read_predictions(path)

    def write(found: dict[str, np.ndarray]) -> None:
        np.savez(path, **found)
        use(path)

    def headed(tree: Any) -> None:
        write(arrays | {"header": np.array(json.dumps(tree))})

    return {
        "poses, bytes": files(folder, [sample], use),
        "poses, arrays": Kind(other_arrays(arrays), write),
        "poses, header": Kind(other_trees(header), headed),
    }


def checkpoints(folder: Path, sample: Path) -> dict[str, Kind]:
    """A checkpoint: its bytes, its config, its weights."""
    whole = torch.load(sample, weights_only=True)
    small = {key: whole[key] for key in ("state_dict", "config", "settings") if key in whole}
    weights = whole["state_dict"]
    path = folder / "changed.ckpt"

    def same(path: Path) -> None:
        found = read_checkpoint(path)
        hold(
            found["config"] == whole["config"]
            and all(torch.equal(value, weights[key]) for key, value in found["state_dict"].items()),
            "damage was not seen",
        )

    def configured(tree: Any) -> None:
        torch.save({**small, "config": tree}, path)
        restore(read_checkpoint(path))

    return {
        "checkpoints, bytes": files(folder, [sample], same),
        "checkpoints, config": Kind(
            other_trees({key: whole["config"][key] for key in ("skeleton", "detector")}),
            configured,
            (ValueError, OSError, TypeError, RuntimeError),
        ),
    }


def configs(check: Callable[[DictConfig], None], overrides: list[str]) -> dict[str, Kind]:
    """The training's config with one value replaced by junk.

    Args:
        check: Builds all of a training but its data.
        overrides: Of a small training.
    """
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        whole = plain(compose("train", overrides))

    def use(tree: Any) -> None:
        check(OmegaConf.create(tree))

    expected = (ValueError, OSError, TypeError, HydraException, OmegaConfBaseException)
    return {"configs": Kind(other_trees(whole), use, expected)}


def all_kinds(folder: Path, checkpoint: Path) -> dict[str, Kind]:
    """Every kind, working in a folder, with a checkpoint of a small training."""
    folder = folder / "garbage"
    folder.mkdir(exist_ok=True)
    kinds = pictures(folder) | videos(folder) | calibrations(folder) | poses(folder)
    kinds |= checkpoints(folder, checkpoint)
    return kinds | configs(check_training, ["+experiment=quickstart"])


def check_training(cfg: DictConfig) -> None:
    """All that a training builds before it looks at data."""
    from mask_sup.files.ranges import check_ranges
    from mask_sup.train import build_data, build_parts, build_stage, check_keys, check_sizes

    check_keys(cfg)
    check_ranges(cfg)
    parts, fuse, geodesic = build_parts(cfg)
    build_data(cfg, parts.detector.skeleton, geodesic)
    for name in cfg.cascade:
        build_stage(cfg, str(name), parts, fuse).configure_optimizers()
    check_sizes(cfg, parts)
