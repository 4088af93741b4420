"""Inline SVG: no file, no script, coloured by the page's style."""

from html import escape

import numpy as np
from jaxtyping import Float

from mask_sup.report.figures import mean_known

__all__ = ["COLOURS", "PLOT_X", "bar", "line_plot", "round_ticks", "swatch"]

COLOURS = 8  # that the style knows, k0 to k7
WIDTH, HEIGHT = 900.0, 250.0
PLOT_X = (56.0, 886.0)  # where time begins and ends, in units of the drawing
PLOT_Y = (12.0, 212.0)  # top and bottom of the frame
POINTS = 400  # per line at most: each is the mean of its stretch of time


def round_ticks(top: float, count: int = 5) -> list[float]:
    """About `count` round numbers from 0 to the first one that is not below `top`.

    >>> round_ticks(17.0)
    [0.0, 5.0, 10.0, 15.0, 20.0]
    """
    top = top if np.isfinite(top) and top > 0 else 1.0
    power = 10.0 ** np.floor(np.log10(top / count))
    step = next(float(m * power) for m in (1, 2, 5, 10) if m * power * count >= top)
    return [round(i * step, 9) for i in range(int(np.ceil(top / step - 1e-9)) + 1)]


def line_plot(values: Float[np.ndarray, "n v"], seconds: float, label: str) -> str:
    """A line per column over time.

    Args:
        values: n moments of v lines; NaN leaves a gap.
        seconds: Between the first moment and the last.
        label: What the plot shows, for readers who cannot see it.
    """
    thin = _thinned(values)
    ticks = round_ticks(float(np.nanmax(thin)) if np.isfinite(thin).any() else 1.0)
    rows = [_row(tick, ticks[-1]) for tick in ticks]
    times = [tick for tick in round_ticks(seconds, 8) if tick <= seconds + 1e-9]
    rows += [_column(tick, seconds) for tick in times]
    for k, line in enumerate(thin.T):
        rows += _line(line, ticks[-1], k % COLOURS)
    top, bottom = PLOT_Y
    rows.append(f'<line id="cursor" x1="{PLOT_X[0]}" x2="{PLOT_X[0]}" y1="{top}" y2="{bottom}"/>')
    return (
        f'<svg id="plot" class="plot" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" '
        f'aria-label="{escape(label)}">{"".join(rows)}</svg>'
    )


def _thinned(values: np.ndarray) -> np.ndarray:
    if len(values) <= POINTS:
        return values
    return np.stack([mean_known(part, 0) for part in np.array_split(values, POINTS)])


def _row(tick: float, top: float) -> str:
    y = PLOT_Y[1] - tick / top * (PLOT_Y[1] - PLOT_Y[0])
    kind = "axis" if tick == 0 else "rule"
    return (
        f'<line class="{kind}" x1="{PLOT_X[0]}" x2="{PLOT_X[1]}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text x="{PLOT_X[0] - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>'
    )


def _column(tick: float, seconds: float) -> str:
    x = PLOT_X[0] + (tick / seconds if seconds > 0 else 0.0) * (PLOT_X[1] - PLOT_X[0])
    y = PLOT_Y[1] + 18
    return f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{tick:g} s</text>'


def _line(values: np.ndarray, top: float, colour: int) -> list[str]:
    """The line in pieces without gaps; a moment alone is a dot."""
    x = np.linspace(*PLOT_X, len(values)) if len(values) > 1 else np.array([PLOT_X[0]])
    y = PLOT_Y[1] - values / top * (PLOT_Y[1] - PLOT_Y[0])
    known = np.isfinite(values)
    parts = np.split(np.arange(len(values)), np.nonzero(np.diff(known))[0] + 1)
    drawn = []
    for part in parts:
        if not known[part[0]]:
            continue
        if len(part) == 1:
            i = part[0]
            drawn.append(f'<circle class="k{colour}" cx="{x[i]:.1f}" cy="{y[i]:.1f}" r="2"/>')
            continue
        points = " ".join(f"{x[i]:.1f},{y[i]:.1f}" for i in part)
        drawn.append(f'<polyline class="k{colour}" points="{points}"/>')
    return drawn


def bar(share: float) -> str:
    """A bar across this share of its width, for a cell of a table."""
    width = 100.0 * float(np.clip(share, 0, 1)) if np.isfinite(share) else 0.0
    return (
        '<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{width:.1f}" height="10" rx="1"/></svg>'
    )


def swatch(line: int) -> str:
    """A square in the colour of a line, for its name."""
    return f'<i class="swatch k{line % COLOURS}"></i>'
