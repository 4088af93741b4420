"""NPZ: the clip for numpy, with a JSON header that explains it."""

from pathlib import Path

from mask_sup.export.clip import Clip
from mask_sup.files.disk import write_arrays

__all__ = ["write_npz"]

VERSION = 1


def write_npz(clip: Clip, path: Path) -> None:
    """`header` (JSON), `joints_mm`, `joints_px`, `pictures`, and `confidence` where known.

    Readable with `np.load(path, allow_pickle=False)`; unknown joints are NaN.
    """
    arrays = {"joints_mm": clip.points_mm, "joints_px": clip.joints_px, "pictures": clip.pictures}
    if clip.confidence is not None:
        arrays["confidence"] = clip.confidence
    explained = {
        "joints_mm": f"frame, joint, (x, y, z): mm, {clip.up} up, relative to {clip.origin}",
        "joints_px": "frame, view, joint, (x right, y down): continuous pixels; pixel (row r, "
        "column c) covers [c, c+1] x [r, r+1]",
        "confidence": f"frame, joint: in [0, 1], {clip.source['arrays'].get('confidence', '')}",
        "pictures": "frame, view: file of each picture",
    }
    header = {
        "version": VERSION,
        "joints": list(clip.joints),
        "parents": clip.parents,
        "fps": clip.fps,
        "up": clip.up,
        "arrays": {name: explained[name] for name in arrays},
    }
    write_arrays(path, header, arrays)
