"""From files to batch items: the one place that reads and crops pictures and folds the crop in."""

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from mask_sup.data.lens import Part, outside, straight_crop, straight_mask
from mask_sup.data.mask_cache import MaskCache, Masks
from mask_sup.files.ahead import ahead
from mask_sup.files.archive import Stored
from mask_sup.files.masks import fitted, read_mask
from mask_sup.files.pictures import Picture, picture_size
from mask_sup.geometry.batch import Batch, Camera, Labels, Views
from mask_sup.geometry.camera import fold_crop
from mask_sup.geometry.geodesic import INSTEAD, GeodesicWeight, has_fast_marching

__all__ = [
    "NOBODY",
    "Crop",
    "Moment",
    "MomentDataset",
    "View",
    "check_view",
    "check_views",
    "crop_view",
    "drawn_views",
    "expand",
    "spread_views",
    "taken_mask",
]

WEIGHTS = 2
"""Of the rule by which weights are made: raise it whenever the same masks would give others."""

GREY = 102
"""Background of masked pictures, 0.4 of 255: what the detector sees as 0."""


NOBODY = (0.0, 0.0, 0.0, 0.0)
"""The box of a view that shows nobody."""


class View(NamedTuple):
    """One camera's picture of one moment. Cameras in OpenCV convention, for whole-image pixels."""

    image: Stored
    mask: Stored | None  # None: no mask is known (prediction only)
    K: np.ndarray  # (3, 3) camera -> continuous pixels; NaN where uncalibrated
    R: np.ndarray  # (3, 3) world -> camera
    t: np.ndarray  # (3,) world -> camera, mm
    distortion: np.ndarray  # (5,) k1 k2 p1 p2 k3; zeros for an ideal lens
    box: tuple[float, float, float, float] | None = None
    """Left, top, width and height of the person in pixels of the ideal lens, where no mask tells;
    with neither, the whole picture counts."""


class Moment(NamedTuple):
    """All views of one moment, and its label for metrics (NaN where there is none)."""

    name: str
    views: tuple[View, ...]
    joints_world: np.ndarray  # (j, 3) mm
    person: str = ""  # who is seen, where the recordings tell
    sequence: str = ""  # neighbours in the list with the same one are neighbours in time
    action: str = ""  # what is done
    joints_px: np.ndarray | None = None  # (v, j, 2) labels in whole-image pixels, if not in 3D
    head_px: np.ndarray | None = None  # (v,) size of the head with them


class Crop(NamedTuple):
    """A view as the network sees it."""

    image: np.ndarray  # (h, w, 3) uint8 RGB
    mask: np.ndarray  # (hm, wm) uint8, 255 = person
    beyond: np.ndarray  # (hm, wm) bool, see `beyond`
    box: tuple[float, float, float]  # left, top, side in continuous pixels of the whole image
    size: tuple[int, int]  # width and height of the whole image


def crop_view(
    view: View,
    image_size: int,
    mask_size: int,
    padding: float,
    mask_input: bool,
    may_be_empty: bool = False,
) -> Crop:
    """Read one view, undo its lens distortion, and crop it around its mask, or else its box.

    Args:
        view: What to read.
        image_size: Side of the picture, pixels.
        mask_size: Side of the mask, pixels.
        padding: Side of the crop over the larger side of the mask's bounding box, or the box's.
        mask_input: Whether all but the person is grey.
        may_be_empty: Whether a mask without anybody is no error; its crop is the whole picture.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a picture is unreadable, the mask is empty or of another shape.
    """
    picture = Picture(view.image)
    if view.mask is not None:
        mask = straight(view, picture.size, may_be_empty)
    else:
        mask = whole(picture.size) if view.box is None else filled(view.box)
    shown = mask if (mask.pixels > 127).any() else whole(picture.size)
    box = shown.box(padding, image_size)
    small = mask.crop(box, mask_size)
    image = straight_crop(picture, view.K, view.distortion, box, image_size)
    if mask_input:
        grey_outside(image, small if mask_size == image_size else mask.crop(box, image_size))
    return Crop(image, small, beyond(small, view, picture.size, box), box, picture.size)


def beyond(
    mask: np.ndarray, view: View, size: tuple[int, int], box: tuple[float, float, float]
) -> np.ndarray:
    """Where a crop lies outside of its picture, if the person is cut off there: (h, w) bool.

    Where the mask keeps off the picture's border, all of the person is seen, and nobody is outside.

    Args:
        mask: (h, w) uint8, the crop of the mask.
        view: Its lens.
        size: Width and height of the picture.
        box: Left, top and side of the crop, pixels of the picture as an ideal lens shows it.
    """
    left, top, side = box
    inside = left >= 0 and top >= 0 and left + side <= size[0] and top + side <= size[1]
    nowhere = np.zeros(mask.shape, bool)
    if inside and not view.distortion.any():
        return nowhere
    found = outside(view.K, view.distortion, size, box, len(mask))
    near = cv2.dilate(mask, np.ones((3, 3), np.uint8)) > 127
    return found if (near & found).any() else nowhere


def whole(size: tuple[int, int]) -> Part:
    """All of a picture of this width and height, where nobody tells the person apart."""
    return Part(np.full(size[::-1], 255, np.uint8))


def filled(box: tuple[float, float, float, float]) -> Part:
    """All pixels that a box of left, top, width and height touches."""
    if box == NOBODY:
        return Part(np.zeros((1, 1), np.uint8))
    low = np.floor(box[:2]).astype(int)
    width, height = np.ceil(np.add(box[:2], box[2:])).astype(int) - low
    return Part(np.full((height, width), 255, np.uint8), *low.tolist())


def straight(view: View, size: tuple[int, int], may_be_empty: bool = False) -> Part:
    """The mask of a view as an ideal lens would have seen it, for a picture of this size.

    Raises:
        FileNotFoundError: If the mask is missing.
        ValueError: If it is unreadable, of another shape than the picture, or empty (unless it may
            be).
    """
    taken = fitted(read_mask(view.mask, may_be_empty), size, view.mask)
    mask = straight_mask(taken, view.K, view.distortion)
    if not may_be_empty and not (mask.pixels > 127).any():
        raise ValueError(f"empty mask {view.mask}: drop the moment or fix the mask")
    return mask


def grey_outside(crop: np.ndarray, mask: np.ndarray) -> None:
    """Make all of a crop (h, w, 3) grey but what its mask (h, w) shows, in place."""
    share = mask[..., None] / 255
    crop[:] = np.rint(crop * share + GREY * (1 - share))


def taken_mask(view: View) -> np.ndarray:
    """The mask of a view, (h, w) uint8, in the size of its picture and with its lens.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the mask is unreadable, empty, or of another shape than the picture.
    """
    return fitted(read_mask(view.mask), picture_size(view.image), view.mask)


def check_views(views: Sequence[View]) -> None:
    """`check_view` of many: views whose cameras are the same arrays are of one camera."""
    known = set()
    for view in views:
        camera = tuple(map(id, (view.K, view.R, view.t, view.distortion)))
        check_files(view)
        if camera not in known:
            check_camera(view)
            known.add(camera)


def check_view(view: View) -> None:
    """Refuse a view whose files are missing or whose camera is damaged, before work is lost.

    An uncalibrated camera is NaN throughout with a distortion of zero; one that is NaN in part is
    damaged.

    Raises:
        FileNotFoundError: If the image or the mask is missing.
        ValueError: If the camera has numbers that are not finite, or an R that is no rotation.
    """
    check_files(view)
    check_camera(view)


def check_files(view: View) -> None:
    """The part of `check_view` that concerns files."""
    for path in (view.image, view.mask):
        if path is not None and not path.is_file():
            raise FileNotFoundError(f"missing file {path}")


def check_camera(view: View) -> None:
    """The part of `check_view` that concerns the camera."""
    numbers = np.concatenate([view.K.ravel(), view.R.ravel(), view.t.ravel()])
    if np.isnan(numbers).all() and not view.distortion.any():
        return
    if not np.isfinite([*numbers, *view.distortion.ravel()]).all():
        raise ValueError(
            f"the camera of {view.image} has NaN or infinite numbers in K, R, t or distortion: "
            "correct its calibration, or make K, R and t NaN throughout and the distortion zero "
            "for an uncalibrated view"
        )
    if not np.allclose(view.R @ view.R.T, np.eye(3), atol=1e-3) or np.linalg.det(view.R) < 0:
        raise ValueError(
            f"the camera of {view.image} has an R that is no rotation: expected world -> camera, "
            "orthonormal, determinant +1"
        )


class MomentDataset(Dataset[Batch]):
    """Moments as batch items.

    Moments may differ in their number of views. With `views`, every item has as many: of a moment
    that has more, some that are spread evenly; of one that has fewer, some of them twice.

    Args:
        moments: What to read.
        joints: Number of joints of the skeleton.
        image_size: Side of the detector's input, pixels.
        mask_size: Side of the mask that drawn skeletons are compared with, pixels.
        padding: Side of the crop over the larger side of the mask's bounding box.
        mask_input: Whether the image is multiplied by the mask.
        geodesic: Weights from a mask; None weighs every pixel the same (ablation wo_G).
        memory: Whether crops and weights stay in memory once they are read.
        cache: Folder where what depends on masks alone is kept; None: it is made at each read.
        views: Views of each item; None: all of its moment.

    Raises:
        ValueError: If there are no moments, a label has another number of joints, or a camera is
            damaged.
        FileNotFoundError: If a file is missing.
    """

    def __init__(
        self,
        moments: Sequence[Moment],
        joints: int,
        image_size: int,
        mask_size: int,
        padding: float,
        mask_input: bool,
        geodesic: GeodesicWeight | None,
        memory: bool,
        cache: Path | None = None,
        views: int | None = None,
    ):
        if not moments:
            raise ValueError("no moments in this split: check data.root and the split's settings")
        for moment in moments:
            if moment.joints_world.shape != (joints, 3):
                raise ValueError(
                    f"moment {moment.name} has labels of shape {moment.joints_world.shape}, the "
                    f"skeleton has {joints} joints: choose the skeleton of this data set"
                )
        check_views([view for moment in moments for view in moment.views])
        self.moments = list(moments)
        people = sorted({moment.person for moment in moments})
        self.person = [people.index(moment.person) for moment in moments]
        self.sequence = _runs([moment.sequence for moment in moments])
        self.image_size, self.mask_size, self.padding = image_size, mask_size, padding
        self.mask_input, self.geodesic = mask_input, geodesic
        self.kept: dict[int, Batch] | None = {} if memory else None
        self.counts = [len(moment.views) for moment in moments]
        self.asked = views
        self.cache = self._cache(cache) if cache and geodesic else None

    @property
    def views(self) -> int:
        """Views per item; of items that differ, the least."""
        return self.asked or min(self.counts)

    @property
    def alike(self) -> bool:
        """Whether all items have as many views, so that any of them make a batch."""
        return self.asked is not None or len(set(self.counts)) == 1

    @property
    def single(self) -> bool:
        """Whether there are items of one view alone."""
        return min(self.views, *self.counts) < 2

    @property
    def calibrated(self) -> bool:
        """Whether every camera is known."""
        return not any(np.isnan(view.K).any() for m in self.moments for view in m.views)

    def __len__(self) -> int:
        """Number of moments."""
        return len(self.moments)

    def load(self) -> None:
        """Read every moment into memory, with a progress bar; damaged files are found here."""
        from rich.progress import track

        with ahead(self._read, range(len(self))) as items:
            self.kept = dict(
                enumerate(track(items, f"reading {len(self)} moments", total=len(self)))
            )

    def __getitem__(self, index: int) -> Batch:
        """One moment, images (v h w 3) and masks as uint8; `expand` makes the `Batch` of it."""
        there = self.counts[index]
        return self.part(index, spread_views(there, self.asked or there))

    def part(self, index: int, which: Sequence[int]) -> Batch:
        """A moment by these of its views, by number."""
        item, places = self._whole(index), list(which)
        if places == list(range(self.counts[index])):
            return item
        views, labels = item.views, item.labels
        return Batch(
            views._replace(
                image=views.image[places],
                mask=views.mask[places],
                weight=views.weight[places],
                camera=views.camera.part(places),
            ),
            labels._replace(xy=labels.xy[places], head=labels.head[places]),
        )

    def _whole(self, index: int) -> Batch:
        """A moment with all its views."""
        if self.kept is None:
            return self._read(index)
        if index not in self.kept:
            self.kept[index] = self._read(index)
        return self.kept[index]

    def _cache(self, folder: Path) -> MaskCache:
        """The cache of these masks at this size, under these settings."""
        told = [WEIGHTS, self.padding, self.image_size, sorted(vars(self.geodesic).items())]
        told += [] if has_fast_marching() else [INSTEAD]  # not those of fast marching
        told += [(m.name, [str(v.mask) for v in m.views]) for m in self.moments]
        key = hashlib.sha256(repr(told).encode()).hexdigest()[:12]
        path = folder / f"{self.mask_size}-{key}.masks"
        return MaskCache(path, len(self.moments), max(self.counts), self.mask_size)

    def _masks(self, index: int, people: Sequence[Part], sizes: Sequence[tuple[int, int]]) -> Masks:
        """What is made of the masks of a moment, whose pictures are so large."""
        boxes = [mask.box(self.padding, self.image_size) for mask in people]
        size, views = self.mask_size, self.moments[index].views
        masks = np.stack([mask.crop(box, size) for mask, box in zip(people, boxes, strict=True)])
        weight = np.ones(masks.shape, np.float16)
        for i, (mask, view) in enumerate(zip(masks, views, strict=True)):
            if self.geodesic is not None:
                if not (mask > 127).any():
                    raise ValueError(
                        f"mask {view.mask} vanishes at {size} pixels: fix the mask, or raise "
                        "renderer.size"
                    )
                weight[i] = self.geodesic(mask > 127)
            weight[i][beyond(mask, view, sizes[i], boxes[i])] = 0
        return Masks(np.array(boxes), masks, weight)

    def _read(self, index: int) -> Batch:
        moment = self.moments[index]
        views, size = self.moments[index].views, self.image_size
        masks = self.cache.get(index, len(views)) if self.cache else None
        people = [None] * len(views)
        pictures = [Picture(view.image) for view in views]
        sizes = [picture.size for picture in pictures]
        if masks is None or self.mask_input:
            people = [straight(*pair) for pair in zip(views, sizes, strict=True)]
        if masks is None:
            masks = self._masks(index, people, sizes)
            if self.cache:
                self.cache.put(index, masks)
        boxes = [tuple(box) for box in masks.box]
        images = np.empty((len(views), size, size, 3), np.uint8)
        for picture, view, box, mask, into in zip(
            pictures, views, boxes, people, images, strict=True
        ):
            straight_crop(picture, view.K, view.distortion, box, size, into)
            if self.mask_input:
                grey_outside(into, mask.crop(box, size))
        cameras = (
            (fold_crop(view.K, box), view.R, view.t) for view, box in zip(views, boxes, strict=True)
        )
        camera = Camera(*(_floats(np.array(part)) for part in zip(*cameras, strict=True)))
        views = Views(
            torch.from_numpy(images),
            torch.from_numpy(np.array(masks.mask)),
            torch.from_numpy(np.array(masks.weight)),
            camera,
            torch.tensor(index),
            torch.tensor(self.person[index]),
            torch.tensor(self.sequence[index]),
        )
        return Batch(views, _labels(moment, masks.box))


def spread_views(there: int, wanted: int) -> list[int]:
    """Numbers of `wanted` of the views that are there, spread evenly; all in turn, if too few.

    >>> spread_views(8, 4), spread_views(4, 4), spread_views(3, 4)
    ([0, 2, 4, 6], [0, 1, 2, 3], [0, 1, 2, 0])
    """
    return [k * there // wanted if wanted < there else k % there for k in range(wanted)]


def drawn_views(there: int, wanted: int, seed: int) -> list[int]:
    """Numbers of `wanted` of the views that are there, drawn at random, none twice before all.

    In order, so that a moment with as many views as are wanted is seen as it is.
    """
    generator = random.Random(seed)
    again, rest = divmod(wanted, there)
    return sorted(list(range(there)) * again + generator.sample(range(there), rest))


def _labels(moment: Moment, box: np.ndarray) -> Labels:
    """What metrics see of a moment whose crops are these boxes, (v, 3)."""
    xy, head = np.full((len(box), len(moment.joints_world), 2), np.nan), np.full(len(box), np.nan)
    if moment.joints_px is not None:
        xy = 2 * (moment.joints_px - box[:, None, :2]) / box[:, None, 2:] - 1
        head = 2 * moment.head_px / box[:, 2]
    return Labels(
        _floats(moment.joints_world), moment.name, moment.action, _floats(xy), _floats(head)
    )


def _floats(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _runs(sequences: Sequence[str]) -> list[int]:
    """A number for each run of the same name; moments without a name stand alone.

    >>> _runs(["walk", "walk", "", "", "sit", "walk"])
    [0, 0, 1, 2, 3, 4]
    """
    numbers = []
    for i, name in enumerate(sequences):
        new = i > 0 and (not name or name != sequences[i - 1])
        numbers.append(numbers[-1] + new if numbers else 0)
    return numbers


def expand(batch: Batch) -> Batch:
    """Stored uint8 pictures, colours last, and float16 weights as the float32 of a `Batch`."""
    views = batch.views
    return batch._replace(
        views=views._replace(
            image=views.image.movedim(-1, -3).contiguous().float() / 255,
            mask=views.mask.float() / 255,
            weight=views.weight.float(),
        )
    )
