"""Masks of one person as files: the kinds that people bring, read in one place.

What tells the person from the background may be grey (0 and 255, 0 and 1, or any one other value,
in 8 or 16 bits, soft or hard), one colour on black, an index of a palette, or an alpha channel.
"""

import io

import cv2
import numpy as np

from mask_sup.files.archive import Stored
from mask_sup.files.pictures import decode, read_file

__all__ = ["fitted", "misfit", "read_mask"]

FULL = (255, 65535)  # white in 8 and 16 bits
HALF = 128  # of 255, from where on a pixel is of the person
WITH_ALPHA = ("LA", "PA", "RGBA", "")  # modes of Pillow; "" is what it does not know
SAMPLE = 100_000  # pixels whose colours are compared
FEW = 8  # values or colours: so many are ids of things, more are soft borders
GREY = 8  # of 255 by which channels of a grey picture differ after compression
TINT = 48  # of 255 by which a pixel may differ from a shade of the one colour
ODD = 0.02  # share of the foreground that may differ more, as compression spoils borders
EXPECTED = (
    "expected the mask of one person: 0 for the background and 255 (or one other value, one "
    "colour, or the alpha channel) for the person"
)


def read_mask(path: Stored, may_be_empty: bool = False) -> np.ndarray:
    """A foreground mask, (h, w) uint8, 255 = person, in between at soft borders.

    Args:
        path: A picture of any of the kinds above.
        may_be_empty: Whether a mask without anybody is no error.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no picture, is empty, or shows several things or a scene.
    """
    data, mode = read_file(path)
    if mode == "P":
        mask = _of_palette(data, path)
    else:
        keeps = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH  # turned as the file says
        mask = _of_picture(
            decode(path, data, cv2.IMREAD_UNCHANGED if mode in WITH_ALPHA else keeps), path
        )
    if not may_be_empty and not mask.any():
        raise ValueError(f"empty mask {path}: drop the moment or fix the mask")
    return mask


def _of_picture(picture: np.ndarray, path: Stored) -> np.ndarray:
    """The mask in a picture, (h, w) or (h, w, 2 to 4) of any kind of number."""
    if picture.ndim == 3 and picture.shape[2] in (2, 4):
        alpha = picture[..., -1]
        if alpha.min() < alpha.max() or not alpha.any():
            return _of_grey(alpha, path)
        picture = picture[..., :-1]
    if picture.ndim == 2 or picture.shape[2] == 1:
        return _of_grey(picture.reshape(picture.shape[:2]), path)
    return _of_colours(picture[..., ::-1], path)


def _of_palette(data: np.ndarray, path: Stored) -> np.ndarray:
    """The mask in a picture of palette indices: what is not black, or else what is not index 0."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.apply_transparency()
            index = np.asarray(picture)
            table = np.array(picture.getpalette("RGBA"), np.uint8).reshape(-1, 4)
            used = np.flatnonzero(np.bincount(index.ravel()))
            clear = table[used, 3]
    except Exception as error:  # whatever a damaged file does there
        raise ValueError(f"unreadable picture {path} ({error}): replace it") from error
    if clear.min() < clear.max():
        return _of_grey(table[index, 3], path)
    black = [i for i in used if not table[i, :3].any()]
    if len(black) > 1:  # a palette that does not tell ids apart
        return _of_grey(index, path)
    table[black or 0] = 0
    return _of_colours(table[index, :3], path)


def _of_colours(colours: np.ndarray, path: Stored) -> np.ndarray:
    """The mask in shades of one colour on black, (h, w, 3) RGB."""
    share = colours.max(-1)
    if int((share - colours.min(-1)).max()) <= GREY:
        return _of_grey(share, path)
    found = colours[share > 0]
    if (found == found[0]).all():
        return np.where(share > 0, 255, 0).astype(np.uint8)
    top = share.max()
    tint = colours[np.unravel_index(share.argmax(), share.shape)] / top
    inside = share > top / 2
    differ = np.abs(colours[inside] - share[inside][:, None] * tint).max(-1)
    seen = _distinct(found[:: 1 + len(found) // SAMPLE])
    if len(seen) <= FEW or (differ > TINT / 255 * top).mean() > ODD:
        few = ", ".join(str(tuple(colour.tolist())) for colour in seen)
        told = f"the colours {few}" if len(seen) <= FEW else "many colours"
        raise ValueError(
            f"mask {path} has {told} on black: {EXPECTED}; write the person's mask alone, or give "
            "masks in place of pictures"
        )
    return np.rint(share * (255 / top)).astype(np.uint8)


def _distinct(colours: np.ndarray) -> np.ndarray:
    """The different ones of many colours, (n, 3); as one number each they are sorted quickly."""
    red, green, blue = colours.astype(np.uint64).T
    _, first = np.unique(red << 32 | green << 16 | blue, return_index=True)
    return colours[first]


def _of_grey(values: np.ndarray, path: Stored) -> np.ndarray:
    """The mask in one channel, (h, w), of whole numbers or of shares up to 1."""
    top = values.max()
    if not np.isfinite(top) or values.min() < 0:
        raise ValueError(f"mask {path} has values below 0 or without end: {EXPECTED}")
    if top == 0:
        return np.zeros(values.shape, np.uint8)
    ids = np.issubdtype(values.dtype, np.integer)
    white = next((full for full in FULL if top <= full), top) if ids else max(1.0, top)
    covered = np.count_nonzero(values)
    known = covered < values.size or top in (1, white) or top >= white / 2
    if known and np.count_nonzero(values == top) == covered:
        as_is = values.dtype == np.uint8 and top == FULL[0]
        return values if as_is else (values > 0).view(np.uint8) * np.uint8(FULL[0])
    inside = values > 0
    soft = values if values.dtype == np.uint8 else np.rint(values * (FULL[0] / white))
    soft = soft.astype(np.uint8, copy=False)
    below = inside & (soft < HALF)
    doubtful = top < white / 2 or 2 * below.sum() > covered
    if doubtful and (len(seen := np.unique(values[inside])) <= FEW or top < white / 2):
        few = ", ".join(f"{value:g}" for value in seen[:FEW]) + ", ..." * (len(seen) > FEW)
        raise ValueError(
            f"mask {path} has the values {few}: {EXPECTED}; if they are ids, write that of the "
            "person alone"
        )
    return soft


def misfit(mask: tuple[int, int], picture: tuple[int, int]) -> str:
    """How the size (width, height) of a mask fails to be its picture's, larger or smaller.

    Returns:
        Words; "" where width and height are in the proportion of the picture's, to a pixel.
    """

    def alike(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        return abs(a[0] * b[1] - a[1] * b[0]) <= max(*a, *b)

    if alike(mask, picture):
        return ""
    return "turned by 90 degrees" if alike(mask[::-1], picture) else "cut off or stretched"


def fitted(mask: np.ndarray, picture: tuple[int, int], path: Stored) -> np.ndarray:
    """A mask (h, w) brought to the size (width, height) of its picture.

    Raises:
        ValueError: If its sides are in another proportion.
    """
    size = mask.shape[1::-1]
    if size == tuple(picture):
        return mask
    if wrong := misfit(size, picture):
        raise ValueError(
            f"mask {path} is {size[0]}x{size[1]} but its picture is {picture[0]}x{picture[1]}: it "
            f"is {wrong}; expected that size, or all of it larger or smaller: make the masks "
            "again from these pictures"
        )
    shrinks = size[0] > picture[0]
    return cv2.resize(
        mask, tuple(picture), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
