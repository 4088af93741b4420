"""What of a mask belongs to the scene: things that never move, and the shadow at the feet.

Looked at in a sample of a camera's frames, so that long recordings take no longer. What lies
between two frames of the sample is told like the nearer one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from mask_sup.masks.background import lab_of, masked_median
from mask_sup.masks.extractor import components, disc
from mask_sup.masks.footage import Footage
from mask_sup.masks.motion import Motion, motion_of, partial
from mask_sup.masks.sample import FEWEST, near, sampled

__all__ = ["SCENE", "Seen", "fixed_outline", "scene_in", "shadow", "standing_object"]

SCENE: Mapping[str, str] = {
    "object": (
        "part of it keeps its outline while the rest moves: a chair, a box or a bystander (or legs "
        "of somebody who sits still). Take it out of the picture, or make the masks by "
        "extractor=mediapipe, or by plates of the scene as it stands in the footage"
    ),
    "shadow": (
        "a flat part at the feet is darker than the scene and of its colour. Raise "
        "extractor.shadow_colour (extractor.seed.shadow_colour of a graph cut), make the masks by "
        "extractor=mediapipe, or light the floor from all sides"
    ),
}
SIZE = 480  # pixels of the longer side at which masks and pictures are looked at

ALWAYS = 0.95  # share of the frames in which an object's pixels are foreground
SELDOM = 0.12  # share of the frames in which its surroundings are, on average
AROUND = 1, 4  # pixels off an object between which its surroundings lie
OBJECT = 0.0008  # share of the picture that an object covers at least
PERSON = 0.25  # of the object's area: what moves beside it covers more than that
FIXED = 0.12  # of the masks' outline, feet left out, that an object's fixed outline is as long as
STANDS, STILL = 0.3, 0.25  # the same of somebody who stirs less than that: legs keep theirs, too
EDGE = 2  # pixels on either side of a fixed outline: always foreground here, seldom there
FEET = 0.15  # of the masks' height, from below: feet stand where they are
STIRS = 0.05  # `_stirring` below which nobody moves at all

LIGHT = 0.3, 0.93  # of the scene's lightness: a shadow is between
COLOUR = 7.0  # Lab colour difference below which it is the scene's colour
GREY = 128  # a and b of what has no colour
BAND = 0.25  # of a mask's height, from below: where shadows are looked for
SPECK = 2  # pixels: radius below which a dark part is noise or a border
PART = 0.04  # of the mask's area that a shadow covers at least
FLAT = 1.5  # width over height of a shadow's box
OFTEN = 0.2  # share of the frames with a shadow, below which all of them are chance


class Seen(NamedTuple):
    """What is found in the masks of a camera."""

    kinds: dict[int, list[str]]
    """Of `SCENE` and `partial`, per frame."""
    motion: Motion | None
    """Of the sample; None without footage."""


def scene_in(files: Mapping[int, Path], footage: Footage | None) -> Seen:
    """What of a camera's masks is the scene's, and whether what moves is in them.

    Args:
        files: Its masks by number of the frame.
        footage: Its pictures; shadows and movements are not seen without.
    """
    numbers = sorted(files)
    masks = sampled(files, SIZE)
    if len(masks) < FEWEST:
        return Seen({}, None)
    kinds, motion = [], None
    stack = np.stack(list(masks.values()))
    longest = FIXED if _stirring(stack.mean(0, dtype=np.float32)) > STANDS else STILL
    if standing_object(stack).any() or fixed_outline(stack) > longest:
        kinds.append("object")
    pictures = _pictures(masks, footage) if footage else {}
    if len(pictures) > 1:
        motion = motion_of(list(pictures.values()), [masks[i] for i in pictures])
        kinds += ["partial"] * partial(motion)
    told = {i: list(kinds) for i in numbers if kinds}
    shadowed = _shadowed(masks, pictures) if pictures else []
    for i in near(shadowed, list(masks), numbers):
        told.setdefault(i, []).append("shadow")
    return Seen(told, motion)


def standing_object(masks: Bool[np.ndarray, "n h w"]) -> Bool[np.ndarray, "h w"]:
    """Where an object is that is foreground throughout, while somebody moves beside it.

    The trunk of somebody who stays is foreground throughout as well, but its surroundings are
    foreground often; an outline that never moves is a thing's.
    """
    share = masks.mean(0)
    always = share >= ALWAYS
    labels, areas, _ = components(always)
    found = np.zeros_like(always)
    for label, area in enumerate(areas, start=1):
        if area < OBJECT * always.size:
            break
        here = (labels == label).astype(np.uint8)
        inner, outer = (cv2.dilate(here, disc(radius)) > 0 for radius in AROUND)
        around = share[outer & ~inner]
        fixed = around.size > 0 and around.mean() < SELDOM
        if fixed and share[~outer].sum() > PERSON * area:
            found |= here > 0
    return found


def fixed_outline(masks: Bool[np.ndarray, "n h w"]) -> float:
    """How long an outline is that never moves, over that of the usual mask; feet are left out.

    Where a thing ends, a pixel that is foreground throughout lies beside one that seldom is, also
    if somebody often stands before the rest of it. Whoever stays sways by more than that.
    """
    share = masks.mean(0, dtype=np.float32)
    always = share >= ALWAYS
    if _stirring(share) <= STIRS:
        return 0.0
    fixed = always & (cv2.erode(share, disc(EDGE)) <= SELDOM)
    rows = np.flatnonzero(np.median(masks.any(2), 0))
    if len(rows):
        fixed[rows[-1] + 1 - max(1, round(FEET * (rows[-1] + 1 - rows[0]))) :] = False
    bytes_of, ones = masks.astype(np.uint8), np.ones((3, 3), np.uint8)
    lengths = [int((one - cv2.erode(one, ones)).sum()) for one in bytes_of]
    return float(fixed.sum() / max(1.0, np.median(lengths)))


def _stirring(share: Float32[np.ndarray, "h w"]) -> float:
    """How much is foreground in a share of the frames, over what is so throughout."""
    always = share >= ALWAYS
    return float(share[~always].sum() / max(1, always.sum()))


def _pictures(masks: Mapping[int, np.ndarray], footage: Footage) -> dict[int, np.ndarray]:
    """The pictures of these masks, Lab (h, w, 3) uint8 in their size."""
    shape = next(iter(masks.values())).shape
    pictures = {}
    for i, frame in zip(footage.numbers(), footage.frames(), strict=True):
        if i in masks:
            small = cv2.resize(frame, shape[::-1], interpolation=cv2.INTER_AREA)
            pictures[i] = lab_of(small).astype(np.uint8)
    return {i: pictures[i] for i in masks if i in pictures}


def _shadowed(masks: Mapping[int, np.ndarray], pictures: Mapping[int, np.ndarray]) -> list[int]:
    """Numbers of the frames with a shadow; none where they are few."""
    seen = list(pictures)
    scene = _scene([pictures[i] for i in seen], [masks[i] for i in seen])
    found = [i for i in seen if shadow(pictures[i], masks[i], scene).any()]
    return found if len(found) > OFTEN * len(seen) else []


def _scene(pictures: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> np.ndarray:
    """The median (Lab) of what is in no mask; what always is looks like the nearest that is not.

    The shadow of somebody who stays never uncovers its floor, but lies beside some.
    """
    free = np.stack([cv2.dilate(mask.astype(np.uint8), disc(SPECK)) == 0 for mask in masks])
    scene = np.zeros(pictures[0].shape, np.uint8)
    for row in range(len(scene)):  # all at once are large
        values = np.stack([picture[row] for picture in pictures]).astype(np.float32)
        middle = masked_median(values, free[:, row, :, None])
        scene[row] = np.where(np.isfinite(middle), middle, 0)
    known = free.any(0)
    covered = (~known).astype(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(
        covered, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colours = np.zeros((nearest.max() + 1, 3), np.uint8)
    colours[nearest[known]] = scene[known]
    return colours[nearest]


def shadow(
    picture: UInt8[np.ndarray, "h w 3"],
    mask: Bool[np.ndarray, "h w"],
    scene: UInt8[np.ndarray, "h w 3"],
) -> Bool[np.ndarray, "h w"]:
    """The shadow in a mask: low, flat, darker than the scene and of its colour.

    Args:
        picture: Of that moment, Lab.
        mask: What is foreground.
        scene: The picture without anybody, Lab.
    """
    found = np.zeros_like(mask)
    rows = np.flatnonzero(mask.any(1))
    if len(rows) == 0:
        return found
    top = rows[-1] + 1 - max(1, round(BAND * (rows[-1] + 1 - rows[0])))
    here, empty = picture[top:].astype(np.float32), scene[top:].astype(np.float32)
    light = here[..., 0] / (empty[..., 0] + 1)
    dark = mask[top:] & (light > LIGHT[0]) & (light < LIGHT[1])
    expected = (empty[..., 1:] - GREY) * light[..., None]  # colours fade with the light
    dark &= np.linalg.norm(here[..., 1:] - GREY - expected, axis=-1) < COLOUR
    dark = cv2.morphologyEx(dark.astype(np.uint8), cv2.MORPH_OPEN, disc(SPECK)) > 0
    labels, areas, _ = components(dark)
    for label, area in enumerate(areas, start=1):
        if area < PART * mask.sum():
            break
        _, _, width, height = cv2.boundingRect((labels == label).astype(np.uint8))
        if width > FLAT * height:
            found[top:] |= labels == label
    return found
