"""A sample of a camera's masks, looked at small: long recordings take no longer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from mask_sup.files.masks import read_mask
from mask_sup.masks.footage import shrink

__all__ = ["FEWEST", "near", "sampled"]

SAMPLE = 101  # frames of a camera
FEWEST = 8  # frames that tell what moves


def sampled(files: Mapping[int, Path], side: int) -> dict[int, Bool[np.ndarray, "h w"]]:
    """Some masks of a camera, spread over all of them, by number of the frame.

    What cannot be read, or has another shape than the first that shows somebody, is left out.

    Args:
        files: All its masks by number of the frame.
        side: Pixels of the longer side at which they are looked at.
    """
    numbers = sorted(files)
    places = np.linspace(0, len(numbers) - 1, min(SAMPLE, len(numbers))).round().astype(int)
    masks = {numbers[place]: _load(files[numbers[place]], side) for place in places}
    shapes = [mask.shape for mask in masks.values() if mask is not None and mask.any()]
    return {i: m for i, m in masks.items() if m is not None and shapes and m.shape == shapes[0]}


def near(found: Sequence[int], sample: Sequence[int], numbers: Sequence[int]) -> list[int]:
    """The frames whose nearest frame of the sample is one of those found."""
    nearest = np.abs(np.subtract.outer(np.array(numbers), np.array(sample))).argmin(1)
    told = set(found)
    return [i for i, place in zip(numbers, nearest, strict=True) if sample[place] in told]


def _load(path: Path, side: int) -> np.ndarray | None:
    try:
        return shrink(read_mask(path, may_be_empty=True), side) > 127
    except ValueError:
        return None
