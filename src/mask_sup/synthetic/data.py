"""The embedded default data: posed bodies seen by four calibrated cameras, with exact labels.

Nothing is downloaded: `prepare()` draws pictures and masks into a cache folder, the same bytes for
the same settings, and `moments()` lists them like any other data set.
"""

import hashlib
import json
import multiprocessing
import os
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
from mask_sup.synthetic.bodies import Shape, all_bodies
from mask_sup.synthetic.looks import ROOM, Look, Outfit, random_look, wide_look, worn
from mask_sup.synthetic.motion import ACTIONS, LEG, Motion, mocap_clips, procedural_motion
from mask_sup.synthetic.wide import cleared, wide_motion

__all__ = ["BACKGROUNDS", "PEOPLE", "WORLDS", "SyntheticData"]

VERSION = 1
"""Of the generator: raise it whenever the same settings would give other bytes."""

WIDE_VERSION = 1
"""Of what is in the wide world alone."""

PEOPLE = {"train": (0, 1, 2, 3, 4, 5), "val": (6, 7), "mocap": (6, 7)}
"""Which of the bodies each split shows."""

BACKGROUNDS = ("scene", "plain")
WORLDS = ("quick", "wide")

MOST_PEOPLE = 10000  # numbers for those of one split in the wide world: 16 bits hold all
SEQUENCE = 10  # moments that follow each other in one procedural movement
FPS = 5.0  # of them
WORTH_A_POOL = 24  # runs of moments: for fewer, starting processes takes longer than drawing
SUPERSAMPLING = 2
HELD = 1.0  # alpha of what is drawn and is not of the person, while drawing
JPEG_QUALITY = 95
ATTRIBUTION = (
    "Bodies: anny (Apache-2.0), MakeHuman assets (CC0). Motion capture of the split 'mocap': "
    "DeepMimic clips from pybullet_data (zlib)."
)

# A rig like Human3.6M's: metres, z up; pictures of 1000x1000 pixels.
CENTRES = np.array(
    [
        [1.841, 4.955, 1.563],
        [1.761, -5.078, 1.606],
        [-1.846, 5.215, 1.491],
        [-1.794, -3.722, 1.574],
    ]
)
FOCAL, PICTURE = 1145.0, 1000
AIM = np.array([0.0, 0.3, 0.9])  # the middle of the capture space, where all cameras look


class Rig(NamedTuple):
    """Cameras (v) before a window is cut out of their pictures; millimetres."""

    K: np.ndarray  # (v, 3, 3)
    R: np.ndarray  # (v, 3, 3)
    t: np.ndarray  # (v, 3)


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
    frames: tuple[tuple[int, int], ...]  # of motion capture: (clip, frame); empty otherwise


class Drawn(NamedTuple):
    """What the manifest keeps of one moment."""

    name: str
    person: int
    joints_world: np.ndarray  # (18, 3) mm
    K: np.ndarray  # (v, 3, 3) for the pixels of the stored pictures


class SyntheticData:
    """Moments of rendered people, made on first use.

    Args:
        root: Cache folder; the data of each distinct setting gets its own folder in it.
        moments: How many moments each split has: `train` (people 0-5, procedural motion), `val`
            (people 6-7, procedural motion), `mocap` (people 6-7, real motion capture).
        size: Side of the stored square pictures, pixels.
        seed: Of all randomness.
        background: `scene` (floors, walls, clutter, noise) or `plain` (one colour).
        world: `quick`, or `wide`: everybody in `train` and `val` is somebody else, of any build,
            dressed and lit in any way, and half of the movements go over the whole range of the
            joints, on the floor, at sports, in the air. `mocap` is the same in both.

    Raises:
        ValueError: If a split, the background or the world is unknown, or a number is out of range.
    """

    def __init__(
        self,
        *,
        root: str | Path,
        moments: Mapping[str, int],
        size: int,
        seed: int,
        background: str,
        world: str = "quick",
    ):
        for split, count in moments.items():
            _check_split(split, PEOPLE)
            if count < 1:
                raise ValueError(f"expected one moment or more in split {split!r}, got {count}")
        if background not in BACKGROUNDS:
            raise ValueError(
                f"unknown background {background!r}: expected one of {list(BACKGROUNDS)}"
            )
        if world not in WORLDS:
            raise ValueError(f"unknown world {world!r}: expected one of {list(WORLDS)}")
        if size < 16:
            raise ValueError(f"expected pictures of 16 pixels or more, got size {size}")
        self.root = Path(root).expanduser()
        self.size, self.seed, self.background, self.world = size, seed, background, world
        self._counts = dict(moments)

    @property
    def splits(self) -> list[str]:
        """Names of the splits."""
        return list(self._counts)

    def prepare(self) -> None:
        """Generates the splits that are not in the cache yet.

        A split is drawn in a temporary folder and appears under its name only when complete.
        """
        for split in self.splits:
            if not (self._folder(split) / "manifest.npz").exists():
                self._generate(split)

    def moments(self, split: str) -> list[Moment]:
        """All moments of a split, in the order of time within each sequence.

        Raises:
            ValueError: If there is no such split.
            FileNotFoundError: If `prepare()` has not been called.
        """
        _check_split(split, self._counts)
        folder = self._folder(split)
        path = folder / "manifest.npz"
        if not path.exists():
            raise FileNotFoundError(f"no synthetic data at {path}: call prepare() first")
        with np.load(path, allow_pickle=False) as data:
            manifest = {name: data[name] for name in data.files}
        return [_moment(folder, manifest, index) for index in range(len(manifest["names"]))]

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

    def _world(self, split: str) -> str:
        """Real movements are held out: they look the same in every world."""
        return "quick" if split == "mocap" else self.world

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
        frames = _mocap_frames(count) if split == "mocap" else ()
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
    rig = default_rig()
    np.savez(
        path,
        names=np.array([d.name for d in drawn]),
        people=np.array([d.person for d in drawn], np.int16),
        joints_world=np.stack([d.joints_world for d in drawn]),
        K=np.stack([d.K for d in drawn]),
        R=rig.R,
        t=rig.t,
        attribution=np.array(ATTRIBUTION),
    )


def _moment(folder: Path, manifest: dict[str, np.ndarray], index: int) -> Moment:
    views = tuple(
        View(
            image=folder / f"{index:06d}_cam{camera}.jpg",
            mask=folder / f"{index:06d}_cam{camera}.png",
            K=manifest["K"][index, camera],
            R=manifest["R"][camera],
            t=manifest["t"][camera],
            distortion=np.zeros(5),
        )
        for camera in range(len(manifest["R"]))
    )
    name, person = str(manifest["names"][index]), f"person{manifest['people'][index]}"
    in_one_go = folder.name != "mocap"  # its moments lie far apart
    sequence = f"{index // SEQUENCE}" if in_one_go else ""
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
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _draw_run(task: Task) -> list[Drawn]:
    """Draws the moments of one task into its folder."""
    split = list(PEOPLE).index(task.split)
    scene = np.random.default_rng([task.seed, split, task.first])
    person, body = _cast(task, scene)
    motions = _motions(task, scene, body)
    place = scene.uniform(-0.4, 0.4, 2)
    look_of = wide_look if task.world == "wide" else random_look
    look = look_of(scene, len(CENTRES), task.background)
    drawn = []
    for step in range(task.count):
        index = task.first + step
        rng = np.random.default_rng([task.seed, split, index, 1])
        motion, frame = motions[step]
        vertices, joints = posed(body, motion, frame, place)
        name = f"{task.split}/person{person}/{motion.action}/{index:06d}"
        K = [
            _draw_view(task, index, camera, vertices, person, look, rng)
            for camera in range(len(CENTRES))
        ]
        drawn.append(Drawn(name, person, joints * 1000.0, np.stack(K)))
    return drawn


def _cast(task: Task, rng: np.random.Generator) -> tuple[int, int | Shape]:
    """The number and the body of the person of a task: one of the eight, or in the wide world new.

    Every split has its own generators, so nobody is in two of them.
    """
    if task.world == "wide":
        first = len(all_bodies()) + list(PEOPLE).index(task.split) * MOST_PEOPLE
        return first + task.first // SEQUENCE % MOST_PEOPLE, all_bodies().people(rng, 1)[0]
    person = int(rng.choice(PEOPLE[task.split]))
    return person, person


def _motions(
    task: Task, rng: np.random.Generator, body: int | Shape = 0
) -> list[tuple[Motion, int]]:
    """The movement and the frame of it that each moment of a task shows."""
    if task.frames:
        clips = _clips()
        turn = rng.uniform(-np.pi, np.pi)
        return [(_headed(clips[clip], turn), frame) for clip, frame in task.frames]
    turn = task.first // SEQUENCE
    if task.world == "wide" and turn % 2 == 0:
        motion = wide_motion(rng, seconds=SEQUENCE / FPS, fps=FPS, person=body)
        return [(motion, frame) for frame in range(task.count)]
    if task.world == "wide":
        turn //= 2
    # Actions take turns, so that every split has all of them in equal parts.
    action = ACTIONS[turn % len(ACTIONS)]
    motion = procedural_motion(action, rng, seconds=SEQUENCE / FPS, fps=FPS)
    if task.world == "wide":
        motion = cleared(motion, body)
    return [(motion, frame) for frame in range(task.count)]


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
# Cameras


@lru_cache(maxsize=1)
def default_rig() -> Rig:
    """The four cameras for their whole pictures of 1000x1000 pixels."""
    return looking_at(CENTRES, AIM, FOCAL, PICTURE)


def looking_at(centres: np.ndarray, aim: np.ndarray, focal: float, size: float) -> Rig:
    """Upright cameras at `centres` (v, 3) whose optical axes meet `aim`, (3,) or (v, 3); metres.

    Args:
        centres: Where they stand, z up.
        aim: Where they look.
        focal: Focal length, pixels.
        size: Side of their square pictures, pixels; the principal point is in the middle.
    """
    forward = aim - centres
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    R = np.stack([right, np.cross(forward, right), forward], 1)
    t = -np.einsum("vij,vj->vi", R, centres) * 1000.0
    K = np.array([[focal, 0.0, size / 2], [0.0, focal, size / 2], [0.0, 0.0, 1.0]])
    return Rig(np.tile(K, (len(R), 1, 1)), R, t)


def cut_out(K: np.ndarray, points: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """The camera matrix of a square window around the projected points (n, 2), `size` pixels wide.

    Continuous pixels: cutting out is a shift of K, resizing is a scale, with no half pixels.
    """
    low, high = points.min(0), points.max(0)
    extent = (high - low).max()
    side = extent * rng.uniform(1.1, 1.5)
    # The person stays inside, but not in the middle: some of the margin goes to either side.
    slack = (side - (high - low)) / 2 * 0.9
    corner = (low + high) / 2 - side / 2 + rng.uniform(-1.0, 1.0, 2) * np.minimum(slack, side / 4)
    scale = size / side
    cut = np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]], [0, 0, 1.0]])
    return cut @ K


def project(K: np.ndarray, in_camera: np.ndarray) -> np.ndarray:
    """Continuous pixels (n, 2) of points (n, 3) in camera axes."""
    pixels = in_camera @ K.T
    return pixels[:, :2] / pixels[:, 2:]


# ---------------------------------------------------------------------------------------------
# Pictures


def _draw_view(
    task: Task,
    index: int,
    camera: int,
    vertices: np.ndarray,
    person: int,
    look: Look,
    rng: np.random.Generator,
) -> np.ndarray:
    """Writes picture and mask of one view; returns K (3, 3) of the stored picture."""
    rig = default_rig()
    outfit = worn(all_bodies(), vertices, look)
    in_camera = outfit.vertices * 1000.0 @ rig.R[camera].T + rig.t[camera]
    whole = project(rig.K[camera], in_camera[: len(vertices)])
    K = cut_out(rig.K[camera], whole, task.size, rng)
    grain = grain_of(person, look)
    room = room_behind(look.room[camera], K, rig.K[camera], task.size)
    light = rig.R[camera] @ look.light
    image, mask = draw_body(project(K, in_camera), in_camera, room, look, light, grain, outfit)
    if task.background == "scene":
        image = image + rng.normal(0, rng.uniform(0.5, 3.0), image.shape)
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
