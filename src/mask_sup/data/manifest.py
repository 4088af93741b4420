"""A prepared data set: pictures and masks beside one `manifest.npz` per split.

root/<split>/manifest.npz
    images, masks      (n, v) paths relative to the split's folder
    names              (n,) person/sequence/frame, such as S9/Walking.1/000123, in order of time
    joints_world       (n, j, 3) mm, NaN where there is no label
    K, R, t            (n, v, 3, 3), (n, v, 3, 3), (n, v, 3); NaN where uncalibrated
    distortion         (n, v, 5)
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mask_sup.data.moments import Moment, View

__all__ = ["PreparedData", "read_manifest", "write_manifest"]

KEYS = ("images", "masks", "names", "joints_world", "K", "R", "t", "distortion")
PER_MOMENT = ("names", "joints_world")  # the others are per moment and view


def write_manifest(folder: Path, moments: Sequence[Moment]) -> None:
    """Write the manifest of a split whose files lie in `folder`."""

    def per_view(field: str) -> np.ndarray:
        return np.array([[getattr(view, field) for view in m.views] for m in moments])

    def names(field: str) -> np.ndarray:
        return np.array(
            [[getattr(v, field).relative_to(folder).as_posix() for v in m.views] for m in moments]
        )

    unfinished = folder / "manifest.npz.part"
    with unfinished.open("wb") as file:
        np.savez(
            file,
            images=names("image"),
            masks=names("mask"),
            names=np.array([m.name for m in moments]),
            joints_world=np.stack([m.joints_world for m in moments]),
            **{key: per_view(key) for key in ("K", "R", "t", "distortion")},
        )
    unfinished.replace(folder / "manifest.npz")


def read_manifest(folder: Path) -> list[Moment]:
    """The moments of a split.

    Raises:
        FileNotFoundError: If the manifest is missing.
        ValueError: If it is damaged, lacks one of its arrays, or they differ in length.
    """
    path = folder / "manifest.npz"
    if not path.is_file():
        raise FileNotFoundError(
            f"missing {path}: prepare the data set first (layout: mask_sup/data/manifest.py)"
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            told = {key: file[key] for key in file.files if key in KEYS}
    except (ValueError, OSError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} cannot be read ({error}): prepare the data set again") from error
    if missing := sorted(set(KEYS) - set(told)):
        raise ValueError(f"{path} lacks {missing}: prepare the data set again")
    n, v = len(np.atleast_1d(told["names"])), np.atleast_2d(told["images"]).shape[1]
    for key, array in told.items():
        expected = (n,) if key in PER_MOMENT else (n, v)
        if array.shape[: len(expected)] != expected:
            raise ValueError(
                f"{path} lists {n} moments of {v} views, but {key} has the shape {array.shape}: "
                "prepare the data set again"
            )
    moments = []
    for i, name in enumerate(told["names"]):
        views = tuple(
            View(
                folder / str(told["images"][i, k]),
                folder / str(told["masks"][i, k]),
                *(told[key][i, k] for key in ("K", "R", "t", "distortion")),
            )
            for k in range(told["images"].shape[1])
        )
        person, sequence = str(name).split("/")[0], str(name).rpartition("/")[0]
        moments.append(Moment(str(name), views, told["joints_world"][i], person, sequence))
    return moments


class PreparedData:
    """Splits of a prepared data set.

    Args:
        root: Folder with one sub-folder per split.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root).expanduser()

    @property
    def splits(self) -> tuple[str, ...]:
        """The sub-folders that hold a manifest."""
        return tuple(sorted(path.parent.name for path in self.root.glob("*/manifest.npz")))

    def prepare(self) -> None:
        """Check that the data set is there."""
        for split in ("train", "val"):
            if split not in self.splits:
                read_manifest(self.root / split)  # raises, with the path

    def moments(self, split: str) -> list[Moment]:
        """The moments of a split."""
        return read_manifest(self.root / split)
