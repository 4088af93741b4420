"""`training.html` and `curves.png`: what a training has done so far, in files that open offline.

Everything is read from the run's folder; the page asks nobody for anything, and runs no script.
"""

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

import cv2
import numpy as np
import yaml

from mask_sup.files.disk import write_file
from mask_sup.files.pictures import read_image
from mask_sup.report.curves import draw_curves
from mask_sup.report.pieces import (
    asset,
    chips,
    definitions,
    embedded,
    fingerprint,
    number,
    table,
    warnings,
)
from mask_sup.report.run import Run, StageRecord, read_run

__all__ = ["write_training"]

MOST_SHEETS = 24  # of overlays in the page, over all stages
SHEET_BYTES = 180_000  # of each, at most: the page stays below 10 MB
SHEET_WIDTH = 1120  # pixels
QUALITIES = (80, 65, 50, 35, 20)  # of JPEG, tried in this order
CHIPS = {  # where labels allow
    "val/mono/mpjpe_mm": ("MPJPE, monocular", " mm"),
    "val/mono/p_mpjpe_mm": ("P-MPJPE, monocular", " mm"),
    "val/tri/mpjpe_mm": ("MPJPE, triangulated", " mm"),
    "val/ambiguity_pct": ("left for right", " %"),
    "val/mono/pckh50_pct": ("PCKh at 0.5", " %"),
    "val/mono/mse_2d_pct": ("2D error, % of the crop", " %"),
}
PURITY = {  # of relabel.json: head, digits
    "kept_pct": ("kept %", 1),
    "residual_all": ("residual, all", 4),
    "residual_kept": ("residual, kept", 4),
    "unexplained_pct": ("unexplained %", 1),
    "front_kept": ("front, kept", 4),
    "mpjpe_kept_mm": ("MPJPE of the kept, mm", 1),
    "named_right_kept_pct": ("left and right as labelled %", 1),
}


def write_training(folder: Path) -> Path:
    """Draw `curves.png` and `training.html` into a run's folder.

    Args:
        folder: A run's, in progress or ended.

    Returns:
        The page.

    Raises:
        FileNotFoundError: If it is no run's folder, or no stage has begun.
        ValueError: If one of its files is damaged.
        OSError: If the folder cannot be written.
    """
    run = read_run(folder)
    curves = draw_curves(run)
    write_file(folder / "curves.png", curves)
    style = asset("page.css")
    page = Template(asset("training.html")).substitute(
        style=style,
        style_hash=fingerprint(style),
        name=escape(run.name),
        subtitle=_subtitle(run),
        chips=_chips(run),
        warnings=warnings(_troubles(run)),
        curves=embedded(curves, "png"),
        tables=_stage_table(run) + _round_table(run) + _joint_table(run) + _health_table(run),
        sheets=_sheets(run),
        about=_about(run),
    )
    path = folder / "training.html"
    write_file(path, page)
    return path


def _subtitle(run: Run) -> str:
    stage = run.stages[-1]
    if run.finished:
        state = f"finished after {stage.first + stage.steps:,} steps"
    else:
        state = (
            f"stage {stage.name} ({len(run.stages)} of {len(run.planned)}), step {stage.steps:,} "
            f"of at most {stage.max_steps:,}"
        )
    train = str(run.data.get("moments", {}).get("train", "")).partition(",")[0]
    moments = f"{int(train):,} training moments, " if train.isdigit() else ""
    return escape(f"{state}; {moments}seed {run.config.get('seed')}")


def _chips(run: Run) -> str:
    newest = {key: stage.last(key) for stage in run.stages for key in stage.curves}
    cells = [
        (number(newest[key], 1, unit), text) for key, (text, unit) in CHIPS.items() if key in newest
    ]
    if not cells and "train/total" in newest:
        cells = [(number(newest["train/total"], 4), "loss of the last logged step")]
    return chips(cells)


def _troubles(run: Run) -> list[str]:
    return [
        f"{stage.name}: {told['says']} ({name.replace('_', ' ')} {told['value']:.0%}, usual is "
        f"below {told['limit']:.0%}); this helps: {told['helps']}"
        for stage in run.stages
        for name, told in stage.health.items()
        if told["value"] > told["limit"]
    ]


def _stage_table(run: Run) -> str:
    keys = [key for key in CHIPS if any(key in stage.curves for stage in run.stages)]
    rows = []
    for stage in run.stages:
        state = "finished" if stage.finished else "begun"
        cells = [escape(stage.kind), f"{stage.steps:,}", f"{stage.max_steps:,}", state]
        cells += [number(stage.last("train/total"), 4)]
        rows.append([escape(stage.name), *cells, *(number(stage.last(key)) for key in keys)])
    heads = ["stage", "class", "steps", "at most", "state", "loss", *(CHIPS[k][0] for k in keys)]
    return table("Stages", heads, rows, "The newest figures of each; errors in mm, shares in %.")


def _round_table(run: Run) -> str:
    rounds = [stage for stage in run.stages if stage.purity]
    if not rounds:
        return ""
    keys = [key for key in PURITY if any(key in stage.purity for stage in rounds)]
    rows = [
        [
            escape(stage.name),
            *(number(float(stage.purity.get(key, np.nan)), PURITY[key][1]) for key in keys),
        ]
        for stage in rounds
    ]
    return table(
        "Rounds",
        ["round", *(PURITY[key][0] for key in keys)],
        rows,
        "Pseudo-labels of each relabelling round. Residual: how badly they explain their masks; "
        "front: how much worse with left and right exchanged. MPJPE and naming are against labels, "
        "which are read for these figures alone.",
    )


def _joint_table(run: Run) -> str:
    """The error of each group of joints, where labels allow."""
    groups = sorted(
        {
            key
            for stage in run.stages
            for key in stage.curves
            if key.startswith("val/mono/mpjpe_") and key != "val/mono/mpjpe_mm"
        }
    )
    if not groups:
        return ""
    names = [key.removeprefix("val/mono/mpjpe_").removesuffix("_mm") for key in groups]
    rows = [
        [escape(stage.name), *(number(stage.last(key), 0) for key in groups)]
        for stage in run.stages
    ]
    note = "Monocular MPJPE of each group of joints at the newest validation, mm."
    return table("Joints", ["stage", *map(escape, names)], rows, note)


def _health_table(run: Run) -> str:
    rows = [
        [
            escape(f"{stage.name}: {name.replace('_', ' ')}"),
            number(100 * told["value"], 0),
            number(100 * told["limit"], 0),
            escape(told["says"]),
        ]
        for stage in run.stages
        for name, told in stage.health.items()
    ]
    if not rows:
        return ""
    note = "Measured without labels at the newest validation of each stage that trains on masks."
    return table("Health", ["trouble", "share %", "usual below %", "what it is"], rows, note)


# ---- pictures ------------------------------------------------------------------------------------


def _sheets(run: Run) -> str:
    """Overlays of every stage: spread over its steps, the newest one among them."""
    each = max(1, MOST_SHEETS // max(len(run.planned), 1) - 1)
    return "".join(_stage_sheets(stage, each) for stage in run.stages)


def _stage_sheets(stage: StageRecord, count: int) -> str:
    shown = [
        (f"step {path.stem.lstrip('0') or '0'}", path) for path in _spread(stage.sheets, count)
    ]
    if stage.labels is not None:
        shown.insert(0, ("pseudo-labels of training moments", stage.labels))
    if not shown:
        return ""
    name = escape(stage.name)
    figures = "".join(
        f'<figure><img class="sheet" alt="{name}, {escape(what)}" src="{_jpeg(path)}">'
        f"<figcaption>{name}, {escape(what)}</figcaption></figure>"
        for what, path in shown
    )
    return (
        f'<section aria-labelledby="h-sheets-{name}"><h2 id="h-sheets-{name}">Overlays: {name}</h2>'
        f"{figures}</section>"
    )


def _spread(paths: Sequence[Path], count: int) -> list[Path]:
    """At most `count` of them, evenly, with the last."""
    if len(paths) <= count:
        return list(paths)
    places = np.linspace(len(paths) - 1, 0, count).round().astype(int)[::-1]
    return [paths[i] for i in places]


def _jpeg(path: Path) -> str:
    picture = cv2.cvtColor(read_image(path), cv2.COLOR_RGB2BGR)
    if picture.shape[1] > SHEET_WIDTH:
        height = round(picture.shape[0] * SHEET_WIDTH / picture.shape[1])
        picture = cv2.resize(picture, (SHEET_WIDTH, height), interpolation=cv2.INTER_AREA)
    for quality in QUALITIES:
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(data) <= SHEET_BYTES:
            break
    return embedded(data, "jpeg")


# ---- what it was ---------------------------------------------------------------------------------


def _about(run: Run) -> str:
    told, versions = run.provenance, run.provenance.get("versions", {})
    changes = told.get("git_changes")
    revision = str(told.get("git") or "unknown") + (" with changes" if changes else "")
    entries = {
        "Command": " ".join(map(str, told.get("command", ()))) or "unknown",
        "Revision": revision,
        "Versions": ", ".join(f"{name} {number_}" for name, number_ in versions.items()),
        "Python": str(told.get("python", "unknown")),
        "Machine": str(told.get("machine", "unknown")),
        "Data": json.dumps(run.data),
    }
    settings = {
        name.replace("_", " "): _in_words(value) for name, value in run.stages[-1].settings.items()
    }
    given = (
        "<details open><summary>What the weights were given beside masks and cameras</summary>"
        f"{definitions(settings)}</details>"
        if settings
        else ""
    )
    config = escape(yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True))
    return (
        f"{definitions(entries)}{given}"
        f"<details><summary>Config</summary><pre>{config}</pre></details>"
    )


def _in_words(value: object) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)
