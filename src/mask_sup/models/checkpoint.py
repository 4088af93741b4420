"""What a checkpoint holds beside weights, and how a detector comes back from one.

Wherever a checkpoint can be given, so can a pair of files as the package ships one
(`mask_sup.models.shipped`).
"""

import hashlib
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mask_sup.figure.skeleton import Skeleton
from mask_sup.files.build import build
from mask_sup.files.config import renamed
from mask_sup.files.disk import whole
from mask_sup.models.blocks import CHANNELS_PER_GROUP, group_counts
from mask_sup.models.detector import Detector
from mask_sup.models.shipped import SHIPPED, is_pair, read_pair, weights_file

__all__ = [
    "fingerprint",
    "load",
    "read_checkpoint",
    "restore",
    "run_folder",
    "save_checkpoint",
    "start_from",
]

PREVIOUS = "previous.ckpt"
WRONG_TOLD = 3  # weights that do not fit which an error names


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint of this package, read without executing anything it carries.

    Args:
        path: Of a training's checkpoint, or of a pair, which has no more than `config`, `settings`,
            `state_dict` and `card`; the word `shipped` for the package's own pair.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no checkpoint of this package.
    """
    if is_pair(path):
        return read_pair(path)
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no checkpoint at {path}: expected outputs/<run>/<stage>/checkpoints/last.ckpt, a "
            f"folder with detector.safetensors and detector.json, or {SHIPPED}: the package's own"
        )
    try:
        _check_sums(path)
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a checkpoint: {error}{_cure(path)}") from error
    if not isinstance(checkpoint, dict) or not {"config", "state_dict"} <= set(checkpoint):
        raise ValueError(f"{path} is no checkpoint of mask_sup: it has no config and state_dict")
    if not isinstance(checkpoint["config"], dict) or not isinstance(checkpoint["state_dict"], dict):
        raise ValueError(f"{path} is no checkpoint of mask_sup: its config is no tree of keys")
    checkpoint["config"] = renamed(checkpoint["config"])
    return checkpoint


def _check_sums(path: Path) -> None:
    """Every part of the archive against its checksum: torch does not look at them.

    Raises:
        ValueError: With the part that is damaged.
        zipfile.BadZipFile: If it is no archive.
    """
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"its part {damaged} is damaged, the checksum differs")


def _cure(path: Path) -> str:
    """What to do about a damaged checkpoint."""
    before = path.with_name(PREVIOUS)
    if path.name == PREVIOUS or not before.is_file():
        return "; copy it again from where it came, or remove the folder of its stage and resume"
    return f"; the one before it is kept: copy {before} over it and go on"


def save_checkpoint(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a checkpoint as a whole or not at all; the one that was there stays as previous.ckpt.

    At every instant, a kill or a loss of power leaves a whole checkpoint.

    Raises:
        OSError: With the path, if it cannot be written.
    """
    with whole(path, to_disk=True) as (part,):
        torch.save(checkpoint, part)
        if path.is_file() and path.stat().st_size:
            with whole(path.with_name(PREVIOUS)) as (kept,):
                kept.unlink(missing_ok=True)
                try:
                    os.link(path, kept)
                except OSError:  # a file system without links
                    shutil.copyfile(path, kept)


def restore(checkpoint: dict[str, Any]) -> Detector:
    """The detector of a checkpoint, in evaluation mode."""
    config = checkpoint["config"]
    skeleton = build(config.get("skeleton"), "skeleton")
    with torch.device("meta"):  # takes no memory, whatever the config asks for
        asked = build(config.get("detector"), "detector", skeleton=skeleton)
    _part(asked, "detector.", checkpoint["state_dict"])
    detector = build(config.get("detector"), "detector", skeleton=skeleton)
    _load_part(detector, "detector.", checkpoint["state_dict"])
    return detector.eval()


def fingerprint(detector: Detector) -> str:
    """What tells a detector's weights from others: 16 hex digits of their SHA-256."""
    told = hashlib.sha256()
    for name, value in sorted(detector.state_dict().items()):
        told.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return told.hexdigest()[:16]


def load(path: str | Path = SHIPPED) -> Detector:
    """A trained detector in evaluation mode: image crops to joints.

    Its `card` tells what is known of the weights: at least their `config` and `settings`; of the
    shipped ones `figures`, too. Neither Hydra nor Lightning is imported.

    Args:
        path: See `read_checkpoint`; without one, the detector that comes with the package.

    Example:
        >>> detector = load()  # doctest: +SKIP
        >>> joints_crop = detector(crops)  # (n, 3, h, w) in [0, 1] -> (n, j, 3)  # doctest: +SKIP
    """
    checkpoint = read_checkpoint(path)
    detector = restore(checkpoint)
    known = {key: checkpoint[key] for key in ("config", "settings") if key in checkpoint}
    detector.card = checkpoint.get("card", known)
    return detector


def start_from(
    path: str | Path,
    detector: Detector,
    shape_prior: nn.Module | None,
    anatomy: nn.Module | None = None,
) -> dict[str, Any]:
    """Load a checkpoint's weights into fresh networks, to go on from them; returns it.

    A checkpoint from before the Physique stage has no shape prior; psi then starts fresh. Running
    lengths of `anatomy` go along within a run; other data has other people: None leaves them.

    Raises:
        ValueError: If the checkpoint is of another skeleton or another architecture.
    """
    checkpoint = read_checkpoint(path)
    there: Skeleton = build(checkpoint["config"]["skeleton"], "skeleton")
    here = detector.skeleton
    if list(there.joints) != list(here.joints):
        raise ValueError(
            f"checkpoint {path} detects the skeleton {there.name!r} with {len(there.joints)} "
            f"joints, this run uses {here.name!r} with {len(here.joints)}: choose skeleton="
            f"{there.name} or another checkpoint"
        )
    state = checkpoint["state_dict"]
    try:
        _load_part(detector, "detector.", state)
        if shape_prior is not None and any(key.startswith("shape_prior.") for key in state):
            _load_part(shape_prior, "shape_prior.", state)
        if anatomy is not None and any(key.startswith("anatomy.") for key in state):
            _load_part(anatomy, "anatomy.", state)
    except ValueError as error:
        raise ValueError(
            f"checkpoint {path} has other networks than this run: use the detector and "
            f"shape_prior it was trained with. {error}"
        ) from error
    _check_groups(path, checkpoint["config"], "detector", detector, skeleton=there)
    if shape_prior is not None and any(key.startswith("shape_prior.") for key in state):
        _check_groups(path, checkpoint["config"], "shape_prior", shape_prior)
    return checkpoint


def _load_part(module: nn.Module, prefix: str, state: dict[str, Any]) -> None:
    """Give a network its part of the weights; see `_part`."""
    module.load_state_dict(_part(module, prefix, state))


def _part(module: nn.Module, prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    """A network's part of the weights, by its own names.

    Raises:
        ValueError: If they are not exactly those that it has.
    """
    part = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    shapes = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    there = {name: tuple(value.shape) for name, value in part.items()}
    wrong = [f"{name} is missing" for name in shapes if name not in there]
    wrong += [f"{name} is unknown" for name in there if name not in shapes]
    wrong += [
        f"{name} is {there[name]}, not {shape}"
        for name, shape in shapes.items()
        if there.get(name, shape) != shape
    ]
    if wrong:
        more = f", and {len(wrong) - WRONG_TOLD} more" if len(wrong) > WRONG_TOLD else ""
        raise ValueError(
            f"weights of {prefix.rstrip('.')} do not fit their config: "
            f"{', '.join(wrong[:WRONG_TOLD])}{more}"
        )
    return part


def _check_groups(
    path: str | Path, config: dict[str, Any], kind: str, network: nn.Module, **given: Any
) -> None:
    """Refuse weights of a network that normalises other groups: their shapes are the same."""
    with torch.device("meta"):
        there = build(config[kind], kind, **given)
    if group_counts(there) != group_counts(network):
        key = "detector.backbone" if kind == "detector" else kind
        told = (
            config[kind].get("backbone", config[kind]).get("channels_per_group", CHANNELS_PER_GROUP)
        )
        raise ValueError(
            f"checkpoint {path} has other networks than this run: its groups of GroupNorm have "
            f"other sizes, so that its weights mean something else here; use "
            f"{key}.channels_per_group={told}"
        )


def run_folder(checkpoint: str | Path) -> Path:
    """The run that a checkpoint belongs to: <run>/<stage>/checkpoints/<file>.

    A pair's is its own folder; what is made of the shipped one goes where it is asked for.
    """
    if str(checkpoint) == SHIPPED:
        return Path()
    path = weights_file(checkpoint).absolute()
    return path.parents[2] if path.parent.name == "checkpoints" else path.parent
