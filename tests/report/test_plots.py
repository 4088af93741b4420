import numpy as np
import pytest

from mask_sup.report.plots import PLOT_X, PLOT_Y, bar, line_plot, round_ticks

NAN = np.nan


def test_ticks_are_round_and_reach_the_top():
    assert round_ticks(4.2) == [0, 1, 2, 3, 4, 5]
    assert round_ticks(0.3) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert round_ticks(NAN) == round_ticks(0.0) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])


def test_a_line_has_gaps_where_nothing_is_known():
    values = np.array([[1.0], [2.0], [NAN], [5.0], [NAN], [5.0], [5.0]])
    svg = line_plot(values, 6.0, "a < b")
    assert svg.count("<polyline") == 2
    assert svg.count("<circle") == 1
    assert "a &lt; b" in svg
    low, high = PLOT_X
    y = PLOT_Y[1] - (PLOT_Y[1] - PLOT_Y[0]) / 5  # 1 of 5
    assert f'points="{low:.1f},{y:.1f} ' in svg
    assert f'{high:.1f},{PLOT_Y[0]:.1f}"' in svg


def test_long_lines_are_thinned_by_means():
    svg = line_plot(np.tile([[1.0], [3.0]], (2000, 1)), 100.0, "")
    assert svg.count(",") <= 401
    y = PLOT_Y[1] - 2 / 2 * (PLOT_Y[1] - PLOT_Y[0])
    assert f",{y:.1f}" in svg


def test_bars_stay_in_their_cell():
    widths = [bar(share).split('width="')[1].split('"')[0] for share in (0.5, 7.0, -1.0, NAN)]
    assert widths == ["50.0", "100.0", "0.0", "0.0"]
