"""The empty scene: a clean plate, given or made from the footage, and OpenCV's background models.

A plate is made from samples of the footage. A median would hold whatever stood somewhere for more
than half of the time, the person included, so the plate grows: it starts from the pixels that
never change, and goes on into the others with the frames that agree with what it knows nearby. A
frame that shows the person there disagrees. What no frame shows free is painted in from around.
"""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from mask_sup.files.pictures import PICTURE_SUFFIXES, list_pictures, read_image
from mask_sup.files.video import VIDEO_SUFFIXES, frame_times, read_frames
from mask_sup.masks.extractor import Choose, Extractor, clean, components, disc
from mask_sup.masks.footage import Footage, shrink

__all__ = ["BackgroundModel", "Plate", "grow_plate", "lab_of", "masked_median"]

STILL = 1e-7
"""A learning rate that changes nothing; OpenCV's KNN takes 0 for the opposite."""
LAB_WEIGHTS = np.float32([0.7, 1.6, 1.6])
"""Of L, a, b in a difference: light changes more than colour where nothing has moved."""
WINDOW, STEP = 11, 2  # pixels at GROW_SIZE: surroundings that have to agree, growth in one go
GROW_SIZE = 480  # pixels of the longer side while a plate grows
AGREEMENT = 0.05  # share of the surroundings that may disagree
WALL = 8  # pixels at GROW_SIZE: gaps up to twice that are closed in a wall of unknown pixels
PLATE_FRAMES = 15  # of a video of the empty scene, of which the median is taken
SHADOW = (0.5, 1.0)  # of the plate's light: darker than that is no shadow


class Plate(Extractor):
    """Lab difference to a picture of the empty scene.

    Args:
        plates: A picture or video for all cameras, or a folder with one of `<camera>.png`,
            `<camera>.mp4` and `<camera>/*.png` a camera (the median of a video's frames, or of
            the pictures, is taken); None: the plate is made from the footage.
        threshold: Lab difference of foreground, on top of three times the noise of the pixel.
        shadow_colour: Lab colour difference below which something darker is a shadow.
        closing: Cracks below this radius are closed, a share of the longer side.

    Raises:
        ValueError: If the threshold is not above 0.
    """

    def __init__(
        self, plates: str | Path | None, threshold: float, shadow_colour: float, closing: float
    ):
        if threshold <= 0:
            raise ValueError(f"threshold={threshold}: expected a Lab difference above 0")
        self.plates = Path(plates).expanduser() if plates else None
        self.watches = self.plates is None
        self.threshold, self.shadow_colour, self.closing = threshold, shadow_colour, closing

    def begin(self, footage: Footage) -> None:
        """Read the plate of this camera, if plates are given."""
        self.plate = self.whole = None
        self.camera = footage.camera
        if self.plates is not None:
            self.whole = _read_plate(self.plates, footage.camera)

    def settle(self, samples: UInt8[np.ndarray, "n h w 3"]) -> None:
        """Make the plate, and measure the noise of every pixel."""
        lab = [lab_of(sample) for sample in samples]
        self._know(*grow_plate(lab))

    def _know(self, plate: np.ndarray, free: np.ndarray, noise: np.ndarray) -> None:
        self.lab, self.free = plate, free
        self.limit = self.threshold + 3 * noise
        self.plate = rgb_of(plate)

    def foreground(
        self, frame: UInt8[np.ndarray, "h w 3"], index: int, choose: Choose
    ) -> Bool[np.ndarray, "h w"]:
        """What differs from the plate by more than noise and shadow."""
        change = self._change(frame)
        strong, weak = change > 2, change > 1
        labels = components(weak)[0]  # weak differences count where they touch a strong one
        touched = np.bincount(labels[strong], minlength=labels.max() + 1) > 0
        touched[0] = False
        return clean(touched[labels], self.closing, ~self.free)

    def possible(self, frame: UInt8[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "h w"]:
        """What differs at all, or lies where the empty scene was never seen."""
        return (self._change(frame) > 0.5) | ~self.free

    def _change(self, frame: np.ndarray) -> np.ndarray:
        """Difference to the plate, 1 where it begins to count."""
        if self.whole is not None:
            self._take(frame.shape)
        return difference(frame, self.lab, self.shadow_colour) / self.limit

    def _take(self, shape: tuple[int, ...]) -> None:
        """Bring a plate that was given to the size of the frames."""
        given, self.whole = self.whole, None
        plate = shrink(given, max(shape[:2]))
        if plate.shape != shape:
            raise ValueError(
                f"the plate of {self.camera!r} in {self.plates} is {given.shape[1]}x"
                f"{given.shape[0]}, a shape other than the footage's {shape[1]}x{shape[0]} (after "
                "shrinking): take the plate with the camera as it stands"
            )
        whole = np.ones(shape[:2], bool)
        self._know(lab_of(plate), whole, np.zeros(shape[:2], np.float32))


def _read_plate(plates: Path, camera: str) -> np.ndarray:
    """The plate of a camera, RGB (h, w, 3) uint8."""
    if plates.is_file():
        return _read_scene(plates)
    if (plates / camera).is_dir():
        pictures = [read_image(path) for path in list_pictures(plates / camera)]
        if len({picture.shape for picture in pictures}) > 1:
            raise ValueError(f"plates in {plates / camera} differ in size: keep those of one size")
        return _middle(pictures)
    found = [plates / f"{camera}{end}" for end in (*PICTURE_SUFFIXES, *VIDEO_SUFFIXES)]
    found = [path for path in found if path.is_file()]
    if len(found) != 1:
        raise FileNotFoundError(
            f"no plate of camera {camera!r}: expected one picture {plates / camera}.png, one video "
            f"of the empty scene {plates / camera}.mp4 or a folder of pictures {plates / camera}/, "
            f"found {[path.name for path in found]}"
        )
    return _read_scene(found[0])


def _read_scene(path: Path) -> np.ndarray:
    """A picture, or the median of frames spread over a video, RGB (h, w, 3) uint8."""
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        return read_image(path)
    count = len(frame_times(path))
    wanted = set(np.linspace(0, count - 1, min(PLATE_FRAMES, count)).round().astype(int))
    return _middle([frame for i, frame in enumerate(read_frames(path)) if i in wanted])


def _middle(pictures: list[np.ndarray]) -> np.ndarray:
    return np.median(np.stack(pictures), 0).round().astype(np.uint8)


class BackgroundModel(Extractor):
    """OpenCV's models of every pixel's history; they learn in a first pass and then stand still.

    Args:
        kind: `mog2` (mixture of Gaussians) or `knn` (nearest samples).
        threshold: Squared distance of foreground (OpenCV's varThreshold, dist2Threshold).
        scene: Share of the time that the empty scene is seen everywhere, above 0.5. Whatever
            stays for less than the rest is foreground.
        closing: Cracks below this radius are closed, a share of the longer side.

    Raises:
        ValueError: If the kind is unknown, or the share is not between 0 and 1.
    """

    def __init__(self, kind: str, threshold: float, scene: float, closing: float):
        makers = {
            "mog2": cv2.createBackgroundSubtractorMOG2,
            "knn": cv2.createBackgroundSubtractorKNN,
        }
        if kind not in makers:
            raise ValueError(f"kind={kind!r}: expected one of {sorted(makers)}")
        if not 0 < scene < 1:
            raise ValueError(f"scene={scene}: expected a share of the time, like 0.6")
        self.kind, self.make, self.threshold = kind, makers[kind], threshold
        self.scene, self.closing = scene, closing

    def begin(self, footage: Footage) -> None:
        """Forget the camera before."""
        self.model = self.make(footage.count, self.threshold, True)
        if self.kind == "mog2":
            self.model.setBackgroundRatio(self.scene)
        else:  # of three sets of samples: recent, older and oldest
            neighbours = 3 * self.model.getNSamples() * (1 - self.scene)
            self.model.setkNNSamples(max(1, round(neighbours)))
        self.seen = 0

    def watch(self, frame: UInt8[np.ndarray, "h w 3"]) -> None:
        """Learn; every frame counts the same."""
        self.seen += 1
        self._apply(frame, self.seen, 1 / self.seen)

    def foreground(
        self, frame: UInt8[np.ndarray, "h w 3"], index: int, choose: Choose
    ) -> Bool[np.ndarray, "h w"]:
        """What the model does not know; shadows (127) are background."""
        return clean(self._apply(frame, index, STILL) == 255, self.closing)

    def skip(self, frame: UInt8[np.ndarray, "h w 3"], index: int) -> None:
        """KNN still exchanges a few samples with frames it has learnt from."""
        self._apply(frame, index, STILL)

    def _apply(self, frame: np.ndarray, index: int, rate: float) -> np.ndarray:
        cv2.setRNGSeed(index)  # KNN keeps samples by chance
        return self.model.apply(frame, learningRate=rate)


def lab_of(picture: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w 3"]:
    """RGB -> L, a, b in OpenCV's 8-bit scale."""
    return cv2.cvtColor(picture, cv2.COLOR_RGB2Lab).astype(np.float32)


def rgb_of(lab: Float32[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Back from `lab_of`."""
    return cv2.cvtColor(np.clip(np.rint(lab), 0, 255).astype(np.uint8), cv2.COLOR_Lab2RGB)


def distance(change: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n"]:
    """Length of a weighted Lab difference."""
    return np.sqrt(np.square(change * LAB_WEIGHTS).sum(-1))


def difference(
    frame: UInt8[np.ndarray, "h w 3"], plate: Float32[np.ndarray, "h w 3"], shadow_colour: float
) -> Float32[np.ndarray, "h w"]:
    """Lab difference of a frame (RGB) to a plate (Lab), shadows and exposure taken off."""
    change = lab_of(frame) - plate
    change[..., 0] -= np.median(change[..., 0])  # cameras change their exposure
    light = 1 + change[..., 0] / (plate[..., 0] + 1)
    shadow = (light > SHADOW[0]) & (light < SHADOW[1])
    shadow &= np.hypot(change[..., 1], change[..., 2]) < shadow_colour
    apart = distance(change)
    apart[shadow] *= 0.35
    return cv2.GaussianBlur(apart, (0, 0), 1.2)


def grow_plate(
    samples: list[Float32[np.ndarray, "h w 3"]], noise: float = 8.0
) -> tuple[Float32[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """The empty scene behind somebody who moves.

    Args:
        samples: Lab pictures spread over the footage.
        noise: Lab difference that means nothing.

    Returns:
        Plate (Lab); where it was seen and not painted in; and the usual difference to it there.
    """
    small = np.stack([shrink(sample, GROW_SIZE) for sample in samples])
    plate, known = _grow(small, noise)
    known = _mainland(known)
    height, width = samples[0].shape[:2]
    visible = np.stack(
        [
            cv2.erode((distance(one - plate) < noise).astype(np.uint8), disc(1)) * known
            for one in small
        ]
    )
    visible = np.stack(
        [cv2.resize(one, (width, height), interpolation=cv2.INTER_NEAREST) for one in visible]
    )
    whole = np.empty((height, width, 3), np.float32)
    spread = np.zeros((height, width), np.float32)
    for top in range(0, height, 64):  # in strips: all samples at once are large
        rows = slice(top, top + 64)
        values, use = np.stack([sample[rows] for sample in samples]), visible[:, rows] > 0
        whole[rows] = masked_median(values, use[..., None])
        apart = np.where(use, distance(values - whole[rows]), 0)
        spread[rows] = masked_median(apart, use)
    free = visible.any(0)
    spread[~free] = 0
    return _paint_in(whole, free), free, cv2.blur(spread, (3, 3))


def _grow(samples: np.ndarray, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """The plate in low resolution (n h w 3 -> h w 3), and where it is known."""
    plate = np.median(samples, 0)
    apart = distance(samples - plate)
    known = _still(apart, noise)
    disagrees = (apart > noise).astype(np.float32) * known
    while True:
        ring = (cv2.dilate(known.astype(np.uint8), np.ones((2 * STEP + 1,) * 2)) > 0) & ~known
        rows, columns = np.nonzero(ring)
        if len(rows) == 0:
            return plate, known
        top, left = max(0, rows.min() - WINDOW), max(0, columns.min() - WINDOW)
        here = np.s_[top : rows.max() + WINDOW + 1, left : columns.max() + WINDOW + 1]
        inside = ring[here]
        support = np.maximum(_count(known[here].astype(np.float32))[inside], 1)
        wrong = np.stack([_count(one[here])[inside] for one in disagrees]) / support
        use = wrong <= np.minimum(wrong.min(0) + 0.03, AGREEMENT)
        values = samples[:, rows, columns]
        middle = masked_median(values, use[..., None])
        near = distance(values - middle) < noise
        votes, users = (near & use).sum(0), use.sum(0)
        sure = (users >= 2) & (votes >= 0.7 * users) & (support >= WINDOW)
        if not sure.any():
            return plate, known
        rows, columns = rows[sure], columns[sure]
        plate[rows, columns] = middle[sure]
        known[rows, columns] = True
        disagrees[:, rows, columns] = ~near[:, sure]


def _still(apart: np.ndarray, noise: float) -> np.ndarray:
    """Pixels that never change and belong to the scene: the inside of a person is still too."""
    still = (np.quantile(apart, 0.9, axis=0) < noise).astype(np.uint8)
    still = cv2.morphologyEx(still, cv2.MORPH_CLOSE, np.ones((3, 3)))
    labels = components(cv2.erode(still, np.ones((5, 5)), borderValue=1) > 0)[0]
    keep = np.zeros(labels.max() + 1, bool)
    keep[[1] if len(keep) > 1 else []] = True
    keep[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = True
    keep[0] = False
    return keep[labels]


def _mainland(known: np.ndarray) -> np.ndarray:
    """What is known without islands: growth that crept into a person is walled in by doubt."""
    walls = cv2.erode(known.astype(np.uint8), disc(WALL), borderValue=1) > 0
    labels = components(walls)[0]
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    main = (labels == 1) | (np.isin(labels, border) & walls)
    return known & (cv2.dilate(main.astype(np.uint8), disc(WALL + 1)) > 0)


def masked_median(values: np.ndarray, use: np.ndarray) -> np.ndarray:
    """The (lower) median over the first axis of the values in use; infinite where none is."""
    ordered = np.sort(np.where(use, values, np.float32(np.inf)), axis=0)
    middle = np.maximum(use.sum(0, keepdims=True) - 1, 0) // 2
    middle = np.broadcast_to(middle, (1, *values.shape[1:]))
    return np.take_along_axis(ordered, middle, axis=0)[0]


def _count(picture: np.ndarray) -> np.ndarray:
    size = (WINDOW, WINDOW)
    return cv2.boxFilter(picture, -1, size, normalize=False, borderType=cv2.BORDER_CONSTANT)


def _paint_in(plate: np.ndarray, free: np.ndarray) -> np.ndarray:
    """The plate with what was never seen continued from around it."""
    if free.all():
        return plate
    if not free.any():
        raise ValueError(
            "no part of the scene stays the same: the camera moves, or the light does. Fix the "
            "camera, give plates=<folder>, or use a learned extractor"
        )
    missing = cv2.dilate((~free).astype(np.uint8), disc(2))
    whole = np.clip(np.rint(plate), 0, 255).astype(np.uint8)
    painted = cv2.inpaint(whole, missing, 3, cv2.INPAINT_TELEA)
    return np.where(missing[..., None] > 0, painted, plate).astype(np.float32)
