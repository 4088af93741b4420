"""Chroma key: everything that has not the colour of the screen behind."""

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from mask_sup.masks.extractor import Choose, Extractor, clean

__all__ = ["ChromaKey"]

BORDER = 0.04  # share of the shorter side that shows the screen alone
SHARE = 0.5  # of the border that has to have one colour


class ChromaKey(Extractor):
    """A green or blue screen, or any other of one saturated colour.

    Args:
        hue: [from, to] of the screen's hue in degrees (green is 120, blue 240), over 360 where
            it passes red ([340, 380]); None: the colour that most of the border has.
        width: Half width of the range around the border's hue, degrees.
        saturation: Least saturation of the screen, 0 to 1; grey has none.
        value: Least brightness of the screen, 0 to 1; the hue of black is noise.
        closing: Cracks below this radius are closed, a share of the longer side.

    Raises:
        ValueError: If the range is not two rising numbers.
    """

    def __init__(
        self, hue: list[float] | None, width: float, saturation: float, value: float, closing: float
    ):
        if hue is not None and (len(hue) != 2 or not hue[0] < hue[1] <= hue[0] + 180):
            raise ValueError(f"hue={hue}: expected [from, to] in degrees, like [90, 150] for green")
        self.hue, self.width = hue, width
        self.saturation, self.value, self.closing = saturation, value, closing
        self.watches = hue is None
        self.range = hue

    def settle(self, samples: UInt8[np.ndarray, "n h w 3"]) -> None:
        """Find the colour of the border, if none is given."""
        edge = max(1, round(BORDER * min(samples.shape[1:3])))
        frame = np.ones(samples.shape[1:3], bool)
        frame[edge:-edge, edge:-edge] = False
        hues, coloured = zip(*(self._hue(sample) for sample in samples), strict=True)
        hue, coloured = np.stack(hues)[:, frame], np.stack(coloured)[:, frame]
        counts = np.bincount((hue[coloured] // 2).astype(int), minlength=180)
        around = round(self.width / 2)
        wrapped = np.concatenate([counts[-around:], counts, counts[:around]])
        votes = np.convolve(wrapped, np.ones(2 * around + 1), "valid")
        if votes.max() < SHARE * hue.size:
            share = votes.max() / hue.size
            raise ValueError(
                f"no key colour at the border: the commonest one covers {share:.0%} of it, "
                f"expected {SHARE:.0%}; give its range, extractor.hue=[90,150]"
            )
        best = int(votes.argmax())
        counted = wrapped[best : best + 2 * around + 1]
        offset = np.average(np.arange(-around, around + 1), weights=counted)
        middle = 2.0 * float(best + offset) + 1
        self.range = [middle - self.width, middle + self.width]

    def _hue(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        hue, saturation, value = cv2.split(
            cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
        )
        return hue, (saturation >= self.saturation) & (value >= self.value)

    def foreground(
        self, frame: UInt8[np.ndarray, "h w 3"], index: int, choose: Choose
    ) -> Bool[np.ndarray, "h w"]:
        """What is not the screen."""
        hue, coloured = self._hue(frame)
        low, high = self.range
        screen = coloured & (np.mod(hue - low, 360) <= high - low)
        return clean(~screen, self.closing)
