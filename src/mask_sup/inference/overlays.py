"""Poses drawn over the pictures that they were seen in."""

from pathlib import Path

import numpy as np
from rich.progress import track

from mask_sup.data.lens import crop_square
from mask_sup.figure.draw import pose_sheet
from mask_sup.files.pictures import write_png
from mask_sup.inference.results import Poses, drawn, in_a_row

__all__ = ["draw_overlays"]

SHEET_MOMENTS, SHEET_COLUMNS, SHEET_SIZE = 20, 8, 240


def draw_overlays(folder: Path, poses: Poses) -> None:
    """A picture per frame with all its views, and a contact sheet of the crops of a few."""
    shown = set(np.linspace(0, len(poses) - 1, min(SHEET_MOMENTS, len(poses))).round())
    crops = []
    for i, moment in enumerate(track(poses.moments, "drawing")):
        pictures = drawn(moment, poses.joints_2d[i], poses.skeleton)
        write_png(folder / "overlays" / f"{i:06d}.png", in_a_row(pictures))
        if i in shown:
            crops += [
                crop_square(picture, tuple(box), SHEET_SIZE)
                for picture, box in zip(pictures, poses.crops[i].tolist(), strict=True)
            ]
    views = poses.crops.shape[1]
    columns = views * max(1, SHEET_COLUMNS // views)  # a moment's views stay in one row
    crops += [np.zeros_like(crops[0])] * (-len(crops) % columns)
    rows = [crops[i : i + columns] for i in range(0, len(crops), columns)]
    write_png(folder / "contact_sheet.png", pose_sheet(rows, SHEET_SIZE))
