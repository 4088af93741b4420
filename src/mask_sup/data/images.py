"""Single views without calibration: a folder of pictures and a folder of their masks."""

from pathlib import Path

import numpy as np

from mask_sup.data.moments import Moment, View
from mask_sup.files.archive import Stored
from mask_sup.files.names import natural_order
from mask_sup.files.pictures import PICTURE_SUFFIXES

__all__ = ["ImagesData", "uncalibrated_view"]

VAL_EVERY = 5


def uncalibrated_view(image: Stored, mask: Stored | None) -> View:
    """A view whose camera nobody knows: NaN throughout."""
    unknown = np.full((3, 3), np.nan)
    return View(image, mask, unknown, unknown, np.full(3, np.nan), np.zeros(5))


class ImagesData:
    """Moments of one view each; nothing in them is labelled.

    Args:
        root: Folder with `images/`, searched through all its sub-folders.
        masks: Folder of masks with the same relative names as png; None: `root/masks`.
        joints: Joints of the skeleton, for labels that are NaN throughout.
    """

    splits = ("train", "val")

    def __init__(self, root: str | Path, masks: str | Path | None, joints: int):
        self.root = Path(root).expanduser()
        self.masks = Path(masks).expanduser() if masks else self.root / "masks"
        self.joints = joints

    def prepare(self) -> None:
        """Nothing to do: the files are read as they are."""

    def moments(self, split: str) -> list[Moment]:
        """`train` has every picture, `val` every fifth of them.

        Raises:
            ValueError: If the split is unknown.
            FileNotFoundError: If there are no pictures. A missing mask is found when the data set
                is made.
        """
        if split not in self.splits:
            raise ValueError(f"a folder of images has the splits {self.splits}, not {split!r}")
        folder = self.root / "images"
        folders = [folder, *natural_order(p for p in folder.rglob("*") if p.is_dir())]
        files = [p for f in folders for p in natural_order(f.glob("*"))]
        images = [p for p in files if p.is_file() and p.suffix.lower() in PICTURE_SUFFIXES]
        if not images:
            raise FileNotFoundError(f"no pictures in {folder}: put them there, masks in masks/")
        label = np.full((self.joints, 3), np.nan)
        moments = []
        for image in images[:: VAL_EVERY if split == "val" else 1]:
            name = image.relative_to(folder).with_suffix(".png")
            view = uncalibrated_view(image, self.masks / name)
            moments.append(Moment(str(name.with_suffix("")), (view,), label))
        return moments
