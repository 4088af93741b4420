"""TRC: marker trajectories as OpenSim reads them, in mm with y up."""

from pathlib import Path

import numpy as np

from mask_sup.export.clip import Clip, known_fps, y_up

__all__ = ["write_trc"]

DECIMALS = 4


def write_trc(clip: Clip, path: Path) -> None:
    """One marker per joint, tab-separated; blank where unknown.

    A tab ends each row: OpenSim drops what follows the last tab where that is blank, and then
    refuses rows whose last marker is unknown. The first line ends with the axes in words;
    readers take no notice of it.

    Raises:
        ValueError: If the frame rate is unknown.
    """
    fps = known_fps(clip, "a TRC file")
    clip = y_up(clip)
    count, markers = clip.points_mm.shape[:2]
    rate = f"{fps:.6g}"
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{path.name}\ty up, relative to {clip.origin}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame"
        "\tOrigNumFrames",
        f"{rate}\t{rate}\t{count}\t{markers}\tmm\t{rate}\t1\t{count}",
        "Frame#\tTime\t" + "\t\t\t".join(clip.joints) + "\t\t",
        "\t\t" + "\t".join(f"X{i}\tY{i}\tZ{i}" for i in range(1, markers + 1)) + "\t",
        "",
    ]
    for i, row in enumerate(clip.points_mm.reshape(count, -1)):
        cells = (f"{value:.{DECIMALS}f}" if np.isfinite(value) else "" for value in row)
        lines.append("\t".join([str(i + 1), f"{i / fps:.6f}", *cells, ""]))
    path.write_text("\n".join(lines) + "\n")
