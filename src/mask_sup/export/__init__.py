"""Predicted poses as files of other programs: poses.npz -> BVH, TRC, C3D, CSV, JSON, NPZ, RRD.

One module per format. Gaps are filled and motion smoothed here and not in `mask_sup.predict`:
poses.npz stays what was seen, and other settings need no other prediction.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from mask_sup.export.bones import Figure, fit_figure
from mask_sup.export.bvh import write_bvh
from mask_sup.export.c3d import write_c3d
from mask_sup.export.clean import clean
from mask_sup.export.clip import Clip, read_clip, y_up
from mask_sup.export.coco import write_coco
from mask_sup.export.npz import write_npz
from mask_sup.export.rrd import write_rrd
from mask_sup.export.tables import write_csv
from mask_sup.export.trc import write_trc
from mask_sup.files.config import plain
from mask_sup.files.errors import nearest
from mask_sup.files.lock import locked

__all__ = [
    "FORMATS",
    "Clip",
    "Figure",
    "clean",
    "export",
    "fit_figure",
    "read_clip",
    "write_bvh",
    "write_c3d",
    "write_coco",
    "write_csv",
    "write_npz",
    "write_rrd",
    "write_trc",
    "y_up",
]

RECORD = "export.json"


class Format(NamedTuple):
    """A kind of file."""

    file: str
    write: Callable[[Clip, Path], None]
    holds: str
    """What it holds, in words; `{up}` is the upward axis of the clip."""


FORMATS = {
    "bvh": Format("motion.bvh", write_bvh, "skeleton and rotations, cm, y up"),
    "trc": Format("motion.trc", write_trc, "a marker per joint, mm, y up"),
    "c3d": Format("motion.c3d", write_c3d, "a point per joint, mm, {up} up"),
    "csv": Format("motion.csv", write_csv, "a row per frame, mm, {up} up"),
    "npz": Format("motion.npz", write_npz, "arrays and a header, mm, {up} up"),
    "json": Format("keypoints.json", write_coco, "COCO keypoints per picture, pixels"),
    "rrd": Format("motion.rrd", write_rrd, "joints and bones for Rerun, mm, y up"),
}


def export(cfg: DictConfig) -> list[Path]:
    """Write a poses.npz in other formats, and `export.json` that tells what was written and how.

    Either all files are written or none.

    Returns:
        The files, `export.json` last.

    Raises:
        FileNotFoundError: If there is no such poses.npz.
        ValueError: If a format or setting is unknown, or a format needs what the poses lack.
        ModuleNotFoundError: If the package that writes a format is missing.
    """
    if unknown := [name for name in cfg.formats if name not in FORMATS]:
        raise ValueError(
            f"unknown format {unknown[0]!r}: {nearest(str(unknown[0]), list(FORMATS))}"
        )
    if not cfg.formats:
        raise ValueError(f"formats=[]: name at least one of {list(FORMATS)}")
    clip = read_clip(cfg.poses, cfg.up, cfg.fps)
    clip = clean(clip, cfg.min_confidence, cfg.fill, cfg.smooth, cfg.cutoff_hz, cfg.window)
    folder = Path(cfg.output or Path(cfg.poses).parent).expanduser()
    chosen = [FORMATS[name] for name in dict.fromkeys(cfg.formats)]
    told = {form.file: form.holds.format(up=clip.up) for form in chosen}
    record = {"files": told, "origin": clip.origin, "fps": clip.fps, "settings": plain(cfg)}
    with (
        locked(folder, ".export.lock"),
        tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as unfinished,
    ):
        for form in chosen:
            form.write(clip, Path(unfinished) / form.file)
        (Path(unfinished) / RECORD).write_text(json.dumps(record, indent=2))
        names = [*told, RECORD]
        written = [(Path(unfinished) / name).replace(folder / name) for name in names]
    rate = "unknown rate" if clip.fps is None else f"{clip.fps:g} frames a second"
    print(f"{len(clip.points_mm)} frames at {rate}; 3D is relative to {clip.origin}")
    for name, holds in told.items():
        print(f"{folder / name}: {holds}")
    return written
