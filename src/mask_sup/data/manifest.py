"""A prepared data set: small pictures and 1-bit masks, and one `manifest.npz` that lists them.

    root/manifest.npz
        header             JSON: data set, protocol and its hash, joints, units, how it was made
        split              (n,) train, val, test, ...; a frame of two splits has two rows
        names              (n,) person/sequence/frame, such as S9/Walking.1/000123, in order of time
        action             (n,) what is done, for figures per action
        cameras            (n, v) names
        images, masks      (n, v) paths relative to root; "shard.tar@512+40213" is a file inside a
                           tar archive: 40213 bytes from byte 512 on
        K, R, t            (n, v, 3, 3), (n, v, 3, 3), (n, v, 3): OpenCV convention, mm, for the
                           pixels of the stored pictures; NaN where uncalibrated
        joints_world       (n, j, 3) mm, NaN where there is no label
        joints_px          (n, v, j, 2) labels of single views, in those pixels, or NaN
        head_px            (n, v) size of the head that PCKh is relative to, or NaN

Pictures are free of lens distortion. Readable with numpy alone, without pickled objects.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mask_sup.data.moments import Moment, View
from mask_sup.files.archive import locate
from mask_sup.files.disk import read_arrays, write_arrays

__all__ = ["MANIFEST", "PreparedData", "join", "read_manifest", "tabulate", "write_manifest"]

MANIFEST = "manifest.npz"
VERSION = 2
PER_MOMENT = ("split", "names", "action", "joints_world")  # the others are per moment and view
KEYS = (*PER_MOMENT, "cameras", "images", "masks", "K", "R", "t", "joints_px", "head_px")


def write_manifest(root: Path, arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    """Write the manifest of a data set whose files lie in `root`.

    Args:
        root: The folder.
        arrays: All of those above but the header.
        header: What made it, plain data.
    """
    told = {"version": VERSION, **header}
    write_arrays(root / MANIFEST, told, {key: arrays[key] for key in KEYS})


def tabulate(
    root: Path, split: str, moments: Sequence[Moment], cameras: Sequence[str]
) -> dict[str, np.ndarray]:
    """The arrays of a manifest, for moments of one split whose files lie in `root`.

    Raises:
        ValueError: If a picture still has lens distortion.
    """
    if any(np.any(view.distortion) for moment in moments for view in moment.views):
        raise ValueError("a manifest lists pictures free of lens distortion: undistort them first")

    def per_view(field: str) -> np.ndarray:
        return np.array([[getattr(view, field) for view in m.views] for m in moments])

    def paths(field: str) -> np.ndarray:
        return np.array(
            [[getattr(v, field).relative_to(root).as_posix() for v in m.views] for m in moments]
        )

    def labels_px(moment: Moment) -> tuple[np.ndarray, np.ndarray]:
        views, joints = len(moment.views), len(moment.joints_world)
        if moment.joints_px is None:
            return np.full((views, joints, 2), np.nan), np.full(views, np.nan)
        return moment.joints_px, moment.head_px

    px, head = zip(*map(labels_px, moments), strict=True)
    return {
        "split": np.array([split] * len(moments)),
        "names": np.array([m.name for m in moments]),
        "action": np.array([m.action for m in moments]),
        "joints_world": np.stack([m.joints_world for m in moments]),
        "cameras": np.array([list(cameras)] * len(moments)),
        "images": paths("image"),
        "masks": paths("mask"),
        "joints_px": np.stack(px),
        "head_px": np.stack(head),
        **{key: per_view(key) for key in ("K", "R", "t")},
    }


def join(tables: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The moments of several tables, one after the other."""
    return {key: np.concatenate([table[key] for table in tables]) for key in tables[0]}


def read_manifest(root: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays and the header of a manifest.

    Raises:
        FileNotFoundError: If the manifest is missing.
        ValueError: If it is damaged, of another version, lacks one of its arrays, or they differ in
            length.
    """
    path = root / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(
            f"missing {path}: prepare the data set first (mask-sup prepare; layout: "
            "mask_sup/data/manifest.py)"
        )
    header, arrays = read_arrays(path, KEYS, VERSION, "prepare the data set again")
    if missing := sorted(set(KEYS) - set(arrays)):
        raise ValueError(f"{path} lacks {missing}: prepare the data set again")
    n, v = len(np.atleast_1d(arrays["names"])), np.atleast_2d(arrays["images"]).shape[1]
    for key in KEYS:
        expected = (n,) if key in PER_MOMENT else (n, v)
        if arrays[key].shape[: len(expected)] != expected:
            raise ValueError(
                f"{path} lists {n} moments of {v} views, but {key} has the shape "
                f"{arrays[key].shape}: prepare the data set again"
            )
    _check_places(path, arrays)
    return arrays, header


def _check_places(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Refuse files outside of the data set's folder, and splits that are no plain names.

    Raises:
        ValueError: With the first of them.
    """
    for split in np.unique(arrays["split"]).tolist():
        if not re.fullmatch(r"[\w-]+", split):
            raise ValueError(f"{path} has a split {split!r}: expected a word like train")
    for key in ("images", "masks"):
        for text in arrays[key].ravel().tolist():
            parts = text.replace("\\", "/").split("/")
            if ".." in parts or parts[0] == "" and len(parts) > 1 or parts[0].endswith(":"):
                raise ValueError(
                    f"{path} lists {text!r} among its {key}: expected a file inside {path.parent}"
                )


class PreparedData:
    """Splits of a prepared data set.

    Args:
        root: Folder with the manifest.
    """

    def __init__(self, root: str | Path):
        self.root = Path(root).expanduser()
        self._read: tuple[dict[str, np.ndarray], dict[str, Any]] | None = None

    def _manifest(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        if self._read is None:
            self._read = read_manifest(self.root)
        return self._read

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, in the order of the manifest; none before there is one."""
        if not (self.root / MANIFEST).is_file():
            return ()
        return tuple(dict.fromkeys(self._manifest()[0]["split"].tolist()))

    @property
    def header(self) -> dict[str, Any]:
        """What made the data set: protocol, hash, joints, counts."""
        return self._manifest()[1]

    def prepare(self) -> None:
        """Check that the data set is there."""
        self._manifest()

    def moments(self, split: str) -> list[Moment]:
        """The moments of a split.

        Raises:
            ValueError: If there is no such split.
        """
        if split not in self.splits:
            raise ValueError(f"{self.root} has the splits {self.splits}, not {split!r}")
        arrays, _ = self._manifest()
        return [self._moment(arrays, int(i)) for i in np.nonzero(arrays["split"] == split)[0]]

    def _moment(self, arrays: Mapping[str, np.ndarray], i: int) -> Moment:
        views = tuple(
            View(
                locate(self.root, str(arrays["images"][i, k])),
                locate(self.root, str(arrays["masks"][i, k])),
                *(arrays[key][i, k] for key in ("K", "R", "t")),
                np.zeros(5),
            )
            for k in range(arrays["images"].shape[1])
        )
        name = str(arrays["names"][i])
        return Moment(
            name,
            views,
            arrays["joints_world"][i],
            person=name.split("/")[0],
            sequence=name.rpartition("/")[0],
            action=str(arrays["action"][i]),
            joints_px=arrays["joints_px"][i],
            head_px=arrays["head_px"][i],
        )
