"""Footage that lies in memory."""

from pathlib import Path

from mask_sup.masks.footage import Footage


class Frames(Footage):
    """Frames in memory, numbered from 0."""

    def __init__(self, pictures):
        super().__init__("cam01", Path("memory"), len(pictures), 1.0)
        object.__setattr__(self, "pictures", pictures)

    def frames(self):
        return iter(self.pictures)

    def numbers(self):
        return range(len(self.pictures))
