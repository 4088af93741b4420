"""RRD: joints and bones in 3D for the Rerun viewer, by way of rerun-sdk."""

from pathlib import Path

import numpy as np

from mask_sup.export.clip import Clip, y_up

__all__ = ["write_rrd"]

JOINT_MM, BONE_MM = 15.0, 8.0  # radii


def write_rrd(clip: Clip, path: Path) -> None:
    """Joints (with names) and bones under `person/`, on the timelines `frame` and `time`; mm, y up.

    Unknown joints, and the bones that end at them, are not drawn.

    Raises:
        ModuleNotFoundError: If rerun-sdk is missing.
    """
    try:
        import rerun
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "RRD files are written by rerun-sdk: pip install rerun-sdk (or mask-sup[rerun])"
        ) from error

    from mask_sup.figure.draw import LEFT, MIDDLE, RIGHT

    clip = y_up(clip)
    sides = {"right": RIGHT, "left": LEFT}
    colours = [sides.get(name.partition("_")[0], MIDDLE) for name in clip.joints]
    parent = clip.parent_index
    with rerun.RecordingStream("mask_sup") as stream:
        stream.save(path)
        stream.log("person", rerun.ViewCoordinates.RIGHT_HAND_Y_UP, static=True)
        for frame, points in enumerate(clip.points_mm):
            stream.set_time("frame", sequence=frame)
            if clip.fps is not None:
                stream.set_time("time", duration=frame / clip.fps)
            known = np.isfinite(points).all(-1)
            shown = np.flatnonzero(known)
            bones = [j for j in shown if parent[j] >= 0 and known[parent[j]]]
            joints = rerun.Points3D(
                points[shown],
                radii=JOINT_MM,
                colors=[colours[j] for j in shown],
                labels=[clip.joints[j] for j in shown],
                show_labels=False,
            )
            lines = rerun.LineStrips3D(
                [points[[parent[j], j]] for j in bones],
                radii=BONE_MM,
                colors=[colours[j] for j in bones],
            )
            stream.log("person/joints", joints)
            stream.log("person/bones", lines)
