"""Poses drawn over the pictures that they were seen in."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.progress import track

from mask_sup.data.lens import crop_square
from mask_sup.data.moments import Moment
from mask_sup.figure.draw import draw_skeleton, pose_sheet
from mask_sup.figure.skeleton import Skeleton
from mask_sup.files.pictures import read_image, write_png

__all__ = ["draw_overlays"]

OVERLAY_SIZE = 720  # pixels, of a view, at most
SHEET_MOMENTS, SHEET_COLUMNS, SHEET_SIZE = 20, 8, 240


def draw_overlays(
    folder: Path,
    moments: Sequence[Moment],
    poses: Mapping[str, np.ndarray],
    boxes: np.ndarray,
    skeleton: Skeleton,
) -> None:
    """A picture per frame with all its views, and a contact sheet of the crops of a few."""
    drawn = poses.get("reprojected_px", poses["joints_px"])
    shown = set(np.linspace(0, len(moments) - 1, min(SHEET_MOMENTS, len(moments))).round())
    crops = []
    for i, moment in enumerate(track(moments, "drawing")):
        pictures = [
            draw_skeleton(read_image(view.image), drawn[i, k], skeleton)
            for k, view in enumerate(moment.views)
        ]
        size = min(OVERLAY_SIZE, max(pictures[0].shape[:2]))
        write_png(folder / "overlays" / f"{i:06d}.png", pose_sheet([pictures], size))
        if i in shown:
            crops += [
                crop_square(picture, tuple(box), SHEET_SIZE)
                for picture, box in zip(pictures, boxes[i].tolist(), strict=True)
            ]
    views = len(moments[0].views)
    columns = views * max(1, SHEET_COLUMNS // views)  # a moment's views stay in one row
    crops += [np.zeros_like(crops[0])] * (-len(crops) % columns)
    rows = [crops[i : i + columns] for i in range(0, len(crops), columns)]
    write_png(folder / "contact_sheet.png", pose_sheet(rows, SHEET_SIZE))
