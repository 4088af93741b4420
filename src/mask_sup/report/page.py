"""`report.html`: the player, pictures and figures in one file that asks nobody for anything.

The page's policy forbids every request and every script but its own; text of the file's header is
escaped. Numbers come from `figures` and `scene`, the script only shows them.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from jaxtyping import Float

from mask_sup.files.disk import write_file
from mask_sup.report import figures
from mask_sup.report.pieces import (
    asset,
    chips,
    definitions,
    embedded,
    fingerprint,
    number,
    plural,
    table,
    warnings,
)
from mask_sup.report.plots import PLOT_X, bar, line_plot, swatch
from mask_sup.report.predictions import Predictions
from mask_sup.report.scene import Scene

__all__ = ["encode_points", "write_page"]

MOST_FRAMES = 20_000  # of the 3D player; of longer recordings it shows every second, third, ...
UNKNOWN = -32768  # stored for a joint that is not known
CHECKPOINT_PARTS = 4  # of its path that are told: run, stage, checkpoints, file


def write_page(
    path: Path,
    poses: Predictions,
    scene: Scene,
    thumbnails: Sequence[Sequence[bytes]],
    thumbnail_step: int,
    worst: Mapping[int, Sequence[bytes]],
    fps: float,
    fps_is_told: bool,
) -> None:
    """Write the page, under a temporary name first.

    Args:
        path: File to write.
        poses: What was predicted.
        scene: The same in 3D.
        thumbnails: JPEG files by frame and view.
        thumbnail_step: Frames from one of them to the next.
        worst: JPEG files by view, of the frames that are trusted least.
        fps: Frames per second.
        fps_is_told: Whether that is known rather than assumed.
    """
    style, script = asset("page.css"), asset("page.js")
    data = _player(poses, scene, thumbnails, thumbnail_step, fps)
    name = poses.source.stem or path.parent.name
    page = Template(asset("page.html")).substitute(
        style=style,
        script=script,
        style_hash=fingerprint(style),
        script_hash=fingerprint(script),
        data=json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        name=escape(name),
        subtitle=_subtitle(poses, fps, fps_is_told),
        chips=_chips(poses),
        warnings=warnings(figures.warnings_in_words(poses)),
        views=_views(poses, thumbnails),
        last=data["frames"] - 1,
        worst=_worst(poses, worst, fps),
        sections=_error_section(poses, fps) + _tables(poses),
        about=_about(poses, scene, fps, fps_is_told),
    )
    write_file(path, page)


# ---- what the script shows -----------------------------------------------------------------------


def _player(
    poses: Predictions,
    scene: Scene,
    thumbnails: Sequence[Sequence[bytes]],
    thumbnail_step: int,
    fps: float,
) -> dict[str, Any]:
    step = -(-len(scene.points) // MOST_FRAMES)
    stored, unit = encode_points(scene.points[::step])
    sides = {"right": "right", "left": "left"}
    errors = None
    over_time = figures.error_over_time(poses)
    if over_time is not None:
        errors = [_rounded(line, 1) for line in over_time[::step].T]
    return {
        "joints": list(poses.skeleton.joints),
        "bones": [list(bone) for bone in poses.skeleton.tree],
        "sides": [sides.get(name.split("_")[0], "middle") for name in poses.skeleton.joints],
        "frames": len(scene.points[::step]),
        "step": step,
        "fps": fps,
        "points": stored,
        "unit": unit,
        "path": np.round(scene.path[::step]).astype(int).tolist(),
        "middle": scene.path.mean(0).round().tolist(),
        "height": round(scene.height),
        "radius": round(scene.radius),
        "front": round(scene.front, 4),
        "world": poses.joints_world_mm is not None,
        "wanders": bool(np.ptp(scene.path, 0).max() > scene.radius),
        "axes": scene.turn.T.round(6).tolist(),
        "cameras": scene.cameras.round().astype(int).tolist(),
        "names": list(poses.cameras),
        "errors": errors,
        "error_unit": " px" if poses.unexplained_view is None else " %",
        "plot": list(PLOT_X),
        "thumbnail_step": thumbnail_step,
        "thumbnails": [[base64.b64encode(one).decode() for one in views] for views in thumbnails],
    }


def encode_points(points: Float[np.ndarray, "n j 3"]) -> tuple[str, float]:
    """Points as base64 of little-endian 16-bit integers, and the mm that 1 stands for."""
    known = np.isfinite(points).all(-1)
    unit = max(float(np.abs(points[known]).max()), 1.0) / 32767 if known.any() else 1.0
    whole = np.rint(np.where(known[..., None], points, 0.0) / unit)
    stored = np.where(known[..., None], whole, UNKNOWN).astype("<i2")
    return base64.b64encode(stored.tobytes()).decode(), unit


def _rounded(values: np.ndarray, digits: int) -> list[float | None]:
    return [round(float(value), digits) if np.isfinite(value) else None for value in values]


# ---- what is plain HTML --------------------------------------------------------------------------


def _subtitle(poses: Predictions, fps: float, fps_is_told: bool) -> str:
    count, views = len(poses.pictures), len(poses.cameras)
    assumed = "" if fps_is_told else " (assumed)"
    seconds = f"{count / fps:.1f} s at {fps:g} frames per second{assumed}"
    return f"{plural(count, 'frame')}, {plural(views, 'camera')}, {seconds}"


def _chips(poses: Predictions) -> str:
    cells = []
    if poses.unexplained is not None:
        share = 100 * float(np.nanmedian(poses.unexplained))
        cells.append((number(share, 1, " %"), "of the masks left unexplained (median)"))
    elif poses.error_px is not None:
        error = float(figures.mean_known(poses.error_px))
        cells.append((number(error, 1, " px"), "mean reprojection error"))
    found = float(np.isfinite(poses.joints_px).all(-1).mean())
    cells.append((f"{100 * found:.0f} %", "of all joints found"))
    spread = figures.bone_spread(figures.bone_figures(poses.points_mm, poses.skeleton))
    cells.append((number(100 * spread, 0, " %"), "median variation of a bone's length"))
    if poses.confidence is not None:
        cells.append((number(float(figures.mean_known(poses.confidence)), 2), "mean confidence"))
    if poses.expected_error_mm is not None:
        expected = float(np.nanmedian(poses.expected_error_mm))
        cells.append((number(expected, 0, " mm"), "expected error of a joint (median)"))
    return chips(cells)


def _views(poses: Predictions, thumbnails: Sequence[Sequence[bytes]]) -> str:
    parts = []
    for k, name in enumerate(poses.cameras):
        parts.append(
            f'<figure><img alt="Camera {escape(name)} with the pose drawn over it" '
            f'src="{embedded(thumbnails[0][k], "jpeg")}">'
            f"<figcaption>{escape(name)}<span></span></figcaption></figure>"
        )
    return "".join(parts)


def _worst(poses: Predictions, pictures: Mapping[int, Sequence[bytes]], fps: float) -> str:
    """The moments that are trusted least, as pictures."""
    rows = []
    for frame, views in pictures.items():
        told = f"{frame / fps:.2f} s, frame {frame}: {figures.moment_told(poses, frame)}"
        shown = "".join(
            f'<img alt="Camera {escape(name)} at frame {frame}" src="{embedded(view, "jpeg")}">'
            for name, view in zip(poses.cameras, views, strict=True)
        )
        rows.append(f"<figure><div>{shown}</div><figcaption>{escape(told)}</figcaption></figure>")
    if not rows:
        return ""
    return (
        '<section aria-labelledby="h-worst"><h2 id="h-worst">The least sure moments</h2>'
        f'<div class="worst">{"".join(rows)}</div></section>'
    )


ERROR_TOLD = {  # whether masks were explained -> heading, what the plot shows, and a note
    True: (
        "Masks left unexplained over time, %",
        "Share of each camera's masks that the body leaves unexplained, over time, percent",
        "How much of a camera's mask the body drawn at the pose does not explain, or covers beside "
        "it. One camera far above the others: its masks show something else, or its calibration or "
        "time is wrong.",
    ),
    False: (
        "Reprojection error over time, px",
        "Mean reprojection error of each camera over time, pixels",
        "The distance of a detected joint from the joint that all views together give, seen again.",
    ),
}


def _error_section(poses: Predictions, fps: float) -> str:
    """How badly each view is met, over time."""
    errors = figures.error_over_time(poses)
    if errors is None:
        return ""
    heading, label, note = ERROR_TOLD[poses.unexplained_view is not None]
    plot = line_plot(errors, (len(errors) - 1) / fps, label)
    names = "".join(
        f"<span>{swatch(k)}{escape(name)}</span>" for k, name in enumerate(poses.cameras)
    )
    return (
        f'<section aria-labelledby="h-error"><h2 id="h-error">{heading}</h2>'
        f'<p class="key">{names}</p><div class="scroll">{plot}</div>'
        f'<p class="quiet">{note} Click to jump there.</p></section>'
    )


def _tables(poses: Predictions) -> str:
    beside = f'<div class="columns">{_joint_table(poses)}{_bone_table(poses)}</div>'
    return _camera_table(poses) + beside


def _camera_table(poses: Predictions) -> str:
    if poses.error_px is None:
        return ""
    rows, explained = [], poses.unexplained_view is not None
    for k, row in enumerate(figures.camera_figures(poses)):
        share = 100 * row.error_px / row.person_px
        cells = [number(row.error_px), number(row.high_px), number(share)]
        if explained:
            cells.insert(0, number(100 * row.unexplained))
        name = swatch(k) + escape(row.name)
        rows.append((name, *cells, escape(row.worst_joint.replace("_", " "))))
    return table(
        "Cameras",
        (
            "camera",
            *(["unexplained %"] if explained else []),
            *("error px", "95 % below px", "error % of person", "worst joint"),
        ),
        rows,
        "Person: the larger side of the box around the joints in that camera's pictures."
        + (" Errors are those of the detector, where the fit began." if explained else ""),
    )


def _joint_table(poses: Predictions) -> str:
    rows = figures.joint_figures(poses)
    errors = np.array([row.error_px for row in rows])
    measured, sure = np.isfinite(errors).any(), poses.confidence is not None
    heads = ["joint", *(["error px", ""] if measured else []), "found %"]
    cells = []
    for row in rows:
        cell = [escape(row.name.replace("_", " "))]
        if measured:
            share = row.error_px / max(np.nanmax(errors), 1e-9)
            cell += [number(row.error_px), f'<td class="bar">{bar(share)}</td>']
        cell.append(f"{100 * row.found:.0f}")
        if sure:
            cell.append(number(row.confidence, 2))
        cells.append(cell)
    heads += ["confidence"] if sure else []
    return table("Joints", heads, cells, "Means over all frames and cameras.")


def _bone_table(poses: Predictions) -> str:
    rows = []
    for row in figures.bone_figures(poses.points_mm, poses.skeleton):
        mean, spread = row.mean_mm, row.deviation_mm
        if "middle" in mean:
            cell = f"{number(mean['middle'], 0)} ± {number(spread['middle'], 0)}"
            rows.append((escape(row.name), f'<td class="both" colspan="2">{cell}</td>', ""))
            continue
        sides = [
            f"{number(mean[side], 0)} ± {number(spread[side], 0)}" if side in mean else ""
            for side in ("right", "left")
        ]
        gap = figures.side_difference(row)
        rows.append(
            (escape(row.name), *sides, number(100 * gap, 0, " %") if np.isfinite(gap) else "")
        )
    return table(
        "Bones",
        ("bone", "right mm", "left mm", "R − L"),
        rows,
        "Mean ± standard deviation over the frames: bones keep their length, so what varies is "
        "error. R − L: right less left, as a share of their mean.",
    )


def _about(poses: Predictions, scene: Scene, fps: float, fps_is_told: bool) -> str:
    header = poses.header
    world = poses.joints_world_mm is not None
    checkpoint = Path(str(header.get("checkpoint", "unknown"))).parts[-CHECKPOINT_PARTS:]
    axes = (
        f"the calibration's world, x, y, z; up is {scene.up} (seen in the pictures)"
        if world
        else "of the first camera: x right, y down, z away; relative to the root"
    )
    entries = {
        "Checkpoint": "/".join(checkpoint),
        "Input": poses.source.name,
        "Frames per second": f"{fps:g}" + ("" if fps_is_told else ", assumed: set fps=..."),
        "Cameras": ", ".join(poses.cameras),
        "Units": "millimetres in 3D, pixels of the input pictures in 2D",
        "Axes": axes,
        "Drawn over pictures": "the triangulated joints, seen again" if world else "as detected",
        "Left and right": "the person's own",
        "Joints": ", ".join(poses.skeleton.joints),
        "Root": poses.skeleton.joints[poses.skeleton.root],
    }
    arrays = definitions({name: str(text) for name, text in header.get("arrays", {}).items()})
    return (
        f"{definitions(entries)}<details><summary>Arrays of poses.npz</summary>{arrays}</details>"
    )
