"""`curves.png`: losses, metrics and health of a training over one step axis, by matplotlib."""

import io
from typing import TYPE_CHECKING

from scipy.ndimage import median_filter

from mask_sup.report.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_curves"]

METRICS = {  # panel -> its lines by column
    "MPJPE, mm": {"monocular": "val/mono/mpjpe_mm", "triangulated": "val/tri/mpjpe_mm"},
    "P-MPJPE, mm": {"monocular": "val/mono/p_mpjpe_mm", "triangulated": "val/tri/p_mpjpe_mm"},
    "left for right, %": {"ambiguity": "val/ambiguity_pct", "scene flips": "val/scene_flip_pct"},
    "PCK at 150 mm, %": {"monocular": "val/mono/pck150_pct", "triangulated": "val/tri/pck150_pct"},
    "2D error, % of the crop": {"monocular": "val/mono/mse_2d_pct"},
    "PCKh at 0.5, %": {"monocular": "val/mono/pckh50_pct"},
}  # fmt: skip
NO_LOSSES = ("train/width_scale", "train/lambda_p")  # schedules, drawn last
ACROSS = 3  # panels side by side
PANEL, HEAD = (4.2, 2.3), 0.5  # inches: of a panel, above them all
DOTS = 110  # per inch
SMOOTH = 15  # logged values in the window of the running median
QUIET = "#5c616b"
BANDS = ("#ffffff", "#f0f0ec")  # behind the stages, in turn


def draw_curves(run: Run) -> bytes:
    """A PNG: a panel per loss term, metric and schedule, and one for health, over all steps."""
    from matplotlib.figure import Figure  # half a second, for those who draw alone

    panels = _panels(run)
    rows = max(1, -(-len(panels) // ACROSS))
    height = rows * PANEL[1] + HEAD
    figure = Figure(figsize=(ACROSS * PANEL[0], height), dpi=DOTS)
    figure.subplots_adjust(
        left=0.05, right=0.985, bottom=0.45 / height, top=1 - (HEAD + 0.3) / height,
        wspace=0.16, hspace=0.5,
    )  # fmt: skip
    stages = ", ".join(f"{i} {stage.name}" for i, stage in enumerate(run.stages, 1))
    figure.suptitle(f"{run.name}; stages: {stages}", fontsize=10, y=1 - 0.15 / height)
    axes = list(figure.subplots(rows, ACROSS, squeeze=False).flat)
    for axis, (title, lines, raw) in zip(axes, panels, strict=False):
        _panel(axis, run, title, lines, raw)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _panels(run: Run) -> list[tuple[str, dict[str, str], bool]]:
    """Title, columns by their names in the legend, and whether single values scatter."""
    columns = {key for stage in run.stages for key in stage.curves}
    trained = sorted(key for key in columns if key.startswith("train/"))
    losses = [key for key in trained if key not in NO_LOSSES]
    losses.sort(key=lambda key: key != "train/total")
    panels = [(f"loss: {key.removeprefix('train/')}", {"": key}, True) for key in losses]
    if "val/skeleton" in columns:
        panels.append(("loss: skeleton, validation", {"": "val/skeleton"}, False))
    for title, lines in METRICS.items():
        if known := {name: key for name, key in lines.items() if key in columns}:
            panels.append((title, known, False))
    health = sorted(key for key in columns if key.startswith("health/"))
    if health:
        names = {key.removeprefix("health/").replace("_", " "): key for key in health}
        panels.append(("health: share in trouble", names, False))
    panels += [(f"schedule: {key.removeprefix('train/')}", {"": key}, False) for key in trained
               if key in NO_LOSSES]  # fmt: skip
    return panels


def _panel(axis: "Axes", run: Run, title: str, lines: dict[str, str], raw: bool) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    end = max(stage.first + stage.steps for stage in run.stages)
    for i, stage in enumerate(run.stages):
        axis.axvspan(stage.first, stage.first + stage.steps, color=BANDS[i % 2], zorder=0)
        middle, above = stage.first + stage.steps / 2, axis.get_xaxis_transform()
        axis.text(middle, 1.01, str(i + 1), ha="center", fontsize=6, color=QUIET, transform=above)
    positive = True
    for number, (name, key) in enumerate(lines.items()):
        colour = f"C{number}"
        for stage in run.stages:
            if key not in stage.curves:
                continue
            steps, values = stage.curves[key]
            positive &= bool((values > 0).all())
            steps = steps + stage.first
            if raw:
                axis.plot(steps, values, color=colour, alpha=0.25, linewidth=0.7)
                values = median_filter(values, SMOOTH, mode="reflect")
            axis.plot(
                steps, values, color=colour, linewidth=1.4, label=name or None,
                marker=None if raw else ".", markersize=4,
            )  # fmt: skip
            name = ""  # once in the legend
    if raw and positive:
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_locator(NullLocator())
    elif not raw:
        axis.set_ylim(bottom=0)
    axis.set_xlim(0, max(end, 1))
    axis.set_title(title, fontsize=8.5, pad=11)
    axis.tick_params(labelsize=7)
    axis.set_xlabel("step", fontsize=7)
    if len(lines) > 1:
        axis.legend(fontsize=6, frameon=False)
