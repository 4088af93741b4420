"""What a checkpoint holds beside weights, and how a detector comes back from one."""

import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from torch import nn

from mask_sup.figure.skeleton import Skeleton
from mask_sup.files.build import build
from mask_sup.files.config import renamed
from mask_sup.files.disk import whole
from mask_sup.models.blocks import CHANNELS_PER_GROUP, group_counts
from mask_sup.models.detector import Detector

__all__ = [
    "WholeCheckpointIO",
    "load",
    "read_checkpoint",
    "restore",
    "run_folder",
    "save_checkpoint",
    "start_from",
]

PREVIOUS = "previous.ckpt"


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """A checkpoint of this package, read without executing anything it carries.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no checkpoint of this package.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no checkpoint at {path}: expected outputs/<run>/<stage>/checkpoints/last.ckpt"
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


class WholeCheckpointIO(TorchCheckpointIO):
    """Lightning's way to checkpoint files, which it would write by way of the temporary folder."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """See `save_checkpoint`."""
        save_checkpoint(checkpoint, Path(path))

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """See `read_checkpoint`; tensors come to the processor, nothing in the file is run."""
        return read_checkpoint(path)


def restore(checkpoint: dict[str, Any]) -> Detector:
    """The detector of a checkpoint, in evaluation mode."""
    config = checkpoint["config"]
    skeleton = build(config.get("skeleton"), "skeleton")
    with torch.device("meta"):  # takes no memory
        asked = build(config.get("detector"), "detector", skeleton=skeleton)
    numbers = sum(p.numel() for p in asked.parameters())
    held = sum(value.numel() for value in checkpoint["state_dict"].values())
    if numbers > held:
        raise ValueError(
            f"the checkpoint's config asks for a detector of {numbers:,} weights, it holds {held:,}"
        )
    detector = build(config.get("detector"), "detector", skeleton=skeleton)
    _load_part(detector, "detector.", checkpoint["state_dict"])
    return detector.eval()


def load(path: str | Path) -> Detector:
    """A trained detector from a checkpoint file: image crops to joints.

    Example:
        >>> detector = load("outputs/demo/arms/checkpoints/last.ckpt")  # doctest: +SKIP
        >>> joints_crop = detector(crops)  # (n, 3, h, w) in [0, 1] -> (n, j, 3)  # doctest: +SKIP
    """
    return restore(read_checkpoint(path))


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
    except RuntimeError as error:
        raise ValueError(
            f"checkpoint {path} has other networks than this run: use the detector and "
            f"shape_prior it was trained with. {error}"
        ) from error
    _check_groups(path, checkpoint["config"], "detector", detector, skeleton=there)
    if shape_prior is not None and any(key.startswith("shape_prior.") for key in state):
        _check_groups(path, checkpoint["config"], "shape_prior", shape_prior)
    return checkpoint


def _load_part(module: nn.Module, prefix: str, state: dict[str, Any]) -> None:
    part = {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
    module.load_state_dict(part, strict=True)


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
    """The run that a checkpoint belongs to: <run>/<stage>/checkpoints/<file>."""
    path = Path(checkpoint).absolute()
    return path.parents[2] if path.parent.name == "checkpoints" else path.parent
