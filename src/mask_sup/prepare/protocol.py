"""Who is trained and tested on what: `conf/protocol/*.yaml`, each with a hash for its results."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from mask_sup.files.config import conf_dir, plain
from mask_sup.files.errors import nearest

__all__ = ["OCCLUDED", "Keep", "Protocol", "Split", "load_protocol"]


OCCLUDED = "occluded"  # the fault of a moment in which a known object hides the person


@dataclass(frozen=True)
class Split:
    """Frames of one split.

    Attributes:
        subjects: Whose.
        stride: Every n-th frame.
        frames: At most so many of them in each sequence, drawn at random; None: all.
        drop: Whether moments are dropped by `Protocol.keep`; `occluded`: only those in which a
            known object hides the person in a view. Where figures have to be of the same frames as
            other people's: false, then only those with an empty mask are.
    """

    subjects: tuple[str, ...]
    stride: int = 1
    frames: int | None = None
    drop: bool | str = True

    def drops(self, reason: str) -> bool:
        """Whether a moment with this fault (of `mask_sup.prepare.store`) is left out."""
        return self.drop is True or reason == self.drop


@dataclass(frozen=True)
class Keep:
    """Which moments are kept, by their masks alone; in every view.

    Attributes:
        smallest: Least share of the picture that a mask covers.
        largest: Largest.
        border: Largest share of the mask's rim that lies at the border of the picture.
        occluded: Largest share of the mask's box that a known object covers.
    """

    smallest: float
    largest: float
    border: float
    occluded: float


@dataclass(frozen=True)
class Protocol:
    """All that decides which frames are in a prepared data set, and how it is evaluated.

    Attributes:
        name: Name of the file.
        dataset: h36m, mpi_inf_3dhp, tiktok or mpii.
        splits: Frames of each split.
        keep: Which of them are kept.
        actions: Only these; None: all.
        cameras: Only these; None: all.
        exclude: Sequences that are left out, and why, by subject/sequence.
        joints: Joint map, a name of the reader.
        alignment: Of the main 3D figure: root.
        pck_joints: Joints that PCK, AUC and PCKh average; None: all but the root.
        seed: Of what is drawn at random.
    """

    name: str
    dataset: str
    splits: Mapping[str, Split]
    keep: Keep
    joints: str
    actions: tuple[str, ...] | None = None
    cameras: tuple[str, ...] | None = None
    exclude: Mapping[str, str] = field(default_factory=dict)
    alignment: str = "root"
    pck_joints: tuple[str, ...] | None = None
    seed: int = 0

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits of everything above but the name."""
        told = {key: value for key, value in asdict(self).items() if key != "name"}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]

    def frames(self, subject: str, sequence: str, count: int) -> dict[str, tuple[int, ...]]:
        """The frames of each split that shows a subject, of a sequence of so many."""
        chosen = {}
        for name, split in self.splits.items():
            if subject not in split.subjects:
                continue
            every = np.arange(0, count, split.stride)
            if split.frames is not None and split.frames < len(every):
                text = f"{self.seed}/{name}/{subject}/{sequence}".encode()
                rng = np.random.default_rng(list(hashlib.sha256(text).digest()[:8]))
                every = np.sort(rng.choice(every, split.frames, replace=False))
            chosen[name] = tuple(int(i) for i in every)
        return chosen

    def wants(self, subject: str, action: str) -> bool:
        """Whether any split shows this subject and the action is asked for."""
        shown = any(subject in split.subjects for split in self.splits.values())
        return shown and (self.actions is None or action in self.actions)


def load_protocol(which: str | Path) -> Protocol:
    """A protocol by its name under `conf/protocol`, or by its file.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If keys are unknown or missing, or numbers out of range.
    """
    folder = Path(conf_dir()) / "protocol"
    path = Path(which) if str(which).endswith((".yaml", ".yml")) else folder / f"{which}.yaml"
    if not path.is_file():
        hint = nearest(str(which), sorted(p.stem for p in folder.glob("*.yaml")))
        raise FileNotFoundError(f"no protocol {which!r}, which is a name or a .yaml file: {hint}")
    told = plain(OmegaConf.load(path))
    told.setdefault("splits", {})
    named = [told.get("cameras"), *(split.get("subjects") for split in told["splits"].values())]
    if bare := [name for names in named for name in names or () if not isinstance(name, str)]:
        raise ValueError(f'{path}: subjects and cameras are names: quote {bare}, such as "00034"')
    told["keep"] = _of(Keep, told.get("keep"), f"{path}: keep")
    told["splits"] = {
        name: _of(Split, split, f"{path}: splits.{name}") for name, split in told["splits"].items()
    }
    protocol = _of(Protocol, {"name": path.stem, **told}, str(path))
    for name, split in protocol.splits.items():
        if split.stride < 1 or (split.frames is not None and split.frames < 1):
            raise ValueError(f"{path}: splits.{name} needs stride and frames of 1 or more")
        if split.drop not in (True, False, OCCLUDED):
            raise ValueError(
                f"{path}: splits.{name}.drop is true, false or {OCCLUDED}, not {split.drop!r}"
            )
    return protocol


def _of(kind: type, told: Any, where: str) -> Any:
    """A dataclass of this kind from plain data, lists as tuples."""
    names = [f.name for f in fields(kind)]
    if not isinstance(told, Mapping) or (unknown := sorted(set(told) - set(names))):
        what = told if not isinstance(told, Mapping) else f"the unknown keys {unknown}"
        raise ValueError(f"{where} expects the keys {names}, got {what}")
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in told.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{where} lacks a key: {error}") from error
