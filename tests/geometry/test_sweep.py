"""Geodesic distances without scikit-fmm."""

import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from mask_shapes import disc, figure

from mask_sup.geometry import geodesic
from mask_sup.geometry.geodesic import GeodesicWeight, geodesic_distance
from mask_sup.geometry.sweep import swept_distance

AGREES = 0.998  # least correlation with fast marching


@pytest.fixture
def block(monkeypatch):
    """From when it is called, scikit-fmm cannot be imported."""

    def now():
        monkeypatch.setitem(sys.modules, "skfmm", None)
        geodesic.has_fast_marching.cache_clear()

    yield now
    monkeypatch.undo()
    geodesic.has_fast_marching.cache_clear()


def test_it_is_straight_in_a_disc_and_along_bars():
    mask = disc()
    rows, cols = np.nonzero(mask)
    found = swept_distance(mask, 32, 32)
    np.testing.assert_allclose(found[mask], np.hypot(rows - 32, cols - 32), atol=0.5)
    assert np.isinf(found[~mask]).all()
    mask = np.zeros((9, 9), bool)
    mask[4, 1:8] = mask[1:5, 7] = True  # an L, one pixel wide
    found = swept_distance(mask, 4, 1)
    assert found[4, 1:8].tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert found[1:5, 7].tolist() == [9, 8, 7, 6]


def test_what_no_path_leads_to_is_far():
    mask = np.zeros((5, 9), bool)
    mask[2, :3] = mask[2, 5:] = True
    assert np.isinf(swept_distance(mask, 2, 0)[2, 5:]).all()


@pytest.mark.parametrize("seed", range(20))
def test_it_agrees_with_fast_marching(seed, block):
    pytest.importorskip("skfmm")
    mask, weight = figure(seed), GeodesicWeight(2.0, 0.5)
    expected, weighed = geodesic_distance(mask), weight(mask)
    block()
    found = geodesic_distance(mask)
    assert not np.array_equal(found, expected)
    assert np.corrcoef(found[mask], expected[mask])[0, 1] > AGREES
    assert np.corrcoef(weight(mask)[mask], weighed[mask])[0, 1] > AGREES


def test_it_is_told(block):
    block()
    with pytest.warns(UserWarning, match="scikit-fmm is not installed: geodesic weights by sweeps"):
        GeodesicWeight(2.0, 0.5)


def test_installation_asks_for_no_compiler():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert not [one for one in project["dependencies"] if "scikit-fmm" in one]
    assert "scikit-fmm" in project["optional-dependencies"]["fmm"][0]
