"""CSV: one row per frame, for spreadsheets and data frames."""

import csv
from pathlib import Path

import numpy as np

from mask_sup.export.clip import Clip

__all__ = ["write_csv"]

DECIMALS = 4


def write_csv(clip: Clip, path: Path) -> None:
    """One row per frame: `frame`, `time_s`, then four columns per joint.

    `<joint>_x_mm`, `_y_mm`, `_z_mm` are in the axes of the clip, `<joint>_confidence` is in
    [0, 1]; single views have no confidence and clips of unknown frame rate no time. Unknown
    numbers are empty cells.
    """
    columns = {"frame": np.arange(len(clip.points_mm))}
    if clip.fps is not None:
        columns["time_s"] = columns["frame"] / clip.fps
    for j, joint in enumerate(clip.joints):
        for k, axis in enumerate("xyz"):
            columns[f"{joint}_{axis}_mm"] = clip.points_mm[:, j, k]
        if clip.confidence is not None:
            columns[f"{joint}_confidence"] = clip.confidence[:, j]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        rows = zip(*columns.values(), strict=True)
        writer.writerows([_cell(value) for value in row] for row in rows)


def _cell(value: np.generic) -> str:
    if isinstance(value, np.integer):
        return str(value)
    return f"{value:.{DECIMALS}f}" if np.isfinite(value) else ""
