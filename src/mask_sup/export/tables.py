"""CSV: one row per frame, for spreadsheets and data frames."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mask_sup.export.clip import Clip

__all__ = ["write_csv"]

DECIMALS, TIME_DECIMALS = 4, 6


def write_csv(clip: Clip, path: Path) -> None:
    """One row per frame: `frame`, `time_s`, then four columns per joint.

    `<joint>_x_mm`, `_y_mm`, `_z_mm` are in the axes of the clip, `<joint>_confidence` is in
    [0, 1]; single views have no confidence and clips of unknown frame rate no time. Unknown
    numbers are empty cells.
    """
    frames = range(len(clip.points_mm))
    columns: dict[str, Iterable[Any]] = {"frame": frames}
    if clip.fps is not None:
        columns["time_s"] = [f"{frame / clip.fps:.{TIME_DECIMALS}f}" for frame in frames]
    for j, joint in enumerate(clip.joints):
        for k, axis in enumerate("xyz"):
            columns[f"{joint}_{axis}_mm"] = map(_cell, clip.points_mm[:, j, k])
        if clip.confidence is not None:
            columns[f"{joint}_confidence"] = map(_cell, clip.confidence[:, j])
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _cell(value: float) -> str:
    return f"{value:.{DECIMALS}f}" if np.isfinite(value) else ""
