"""Graph cut: colours of person and scene learnt in every frame from another extractor's mask."""

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from mask_sup.masks.extractor import Choose, Extractor, clean, disc
from mask_sup.masks.footage import Footage, shrink

__all__ = ["GraphCut", "Seeded"]


class Seeded(Extractor):
    """An extractor that is told where to look by another one.

    Args:
        seed: The extractor whose foreground says where.
    """

    def __init__(self, seed: Extractor):
        if seed.final:
            raise ValueError(
                f"the seed is {type(seed).__name__}, whose masks are final: use it alone"
            )
        self.seed = seed
        self.watches = seed.watches

    def begin(self, footage: Footage) -> None:
        """Start the seed with another camera."""
        self.seed.begin(footage)

    def watch(self, frame: UInt8[np.ndarray, "h w 3"]) -> None:
        """Show the seed a frame."""
        self.seed.watch(frame)

    def settle(self, samples: UInt8[np.ndarray, "n h w 3"]) -> None:
        """End the seed's first pass."""
        self.seed.settle(samples)

    def everyone(self, frame: UInt8[np.ndarray, "h w 3"], index: int) -> Bool[np.ndarray, "h w"]:
        """All that the seed sees."""
        return self.seed.everyone(frame, index)

    def skip(self, frame: UInt8[np.ndarray, "h w 3"], index: int) -> None:
        """Let the seed pass over a frame."""
        self.seed.skip(frame, index)

    @property
    def plate(self) -> UInt8[np.ndarray, "h w 3"] | None:
        """The seed's."""
        return self.seed.plate


class GraphCut(Seeded):
    """OpenCV's GrabCut, seeded in every frame.

    Args:
        seed: The extractor that gives the first guess.
        rounds: Rounds of learning colours and cutting.
        size: Longer side of the picture that is cut, pixels; graph cuts are slow.
        core: How far inside the seed the person is certain, share of the longer side.
        reach: How far outside of the seed the person may still be, share of the longer side.
    """

    def __init__(self, seed: Extractor, rounds: int, size: int, core: float, reach: float):
        super().__init__(seed)
        self.rounds, self.size, self.core, self.reach = rounds, size, core, reach

    def foreground(
        self, frame: UInt8[np.ndarray, "h w 3"], index: int, choose: Choose
    ) -> Bool[np.ndarray, "h w"]:
        """The seed's foreground, moved to where the colours part."""
        first = choose(self.seed.foreground(frame, index, choose))
        picture = shrink(frame, self.size)
        size = picture.shape[1::-1]
        guess, possible = (
            cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
            for mask in (first, self.seed.possible(frame))
        )
        core = cv2.erode(guess, disc(round(self.core * self.size)))
        around = cv2.dilate(guess, disc(round(self.reach * self.size))) & possible | guess
        trimap = np.where(guess > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        trimap[core > 0], trimap[around == 0] = cv2.GC_FGD, cv2.GC_BGD
        here = _box(around, margin=round(0.05 * self.size))
        cut = np.ascontiguousarray(trimap[here])
        if not core.any() or not (cut == cv2.GC_BGD).any():
            return first  # nothing to learn colours from
        cv2.setRNGSeed(0)  # the colour clusters start by chance
        part = np.ascontiguousarray(picture[here])
        models = np.zeros((1, 65)), np.zeros((1, 65))
        cv2.grabCut(part, cut, None, *models, self.rounds, cv2.GC_INIT_WITH_MASK)
        found = np.zeros(guess.shape, np.float32)
        found[here] = (cut == cv2.GC_FGD) | (cut == cv2.GC_PR_FGD)
        return clean(cv2.resize(found, first.shape[::-1]) > 0.5, 0.0021, largest=30)


def _box(mask: np.ndarray, margin: int) -> tuple[slice, slice]:
    left, top, width, height = cv2.boundingRect(mask)
    return (
        slice(max(0, top - margin), top + height + margin),
        slice(max(0, left - margin), left + width + margin),
    )
