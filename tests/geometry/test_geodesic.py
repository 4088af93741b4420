import numpy as np
import pytest
from mask_shapes import disc, figure
from scipy.ndimage import label

from mask_sup.geometry.geodesic import GeodesicWeight, geodesic_distance

skfmm = pytest.importorskip("skfmm")
WEIGHT = GeodesicWeight(gain=2.0, background_gain=0.5)


def test_on_a_disc_it_is_the_distance_from_the_centre():
    mask = disc()
    y, x = np.mgrid[:65, :65] - 32
    expected = np.hypot(x, y)
    assert np.abs(geodesic_distance(mask) - expected)[mask].max() < 1.0  # pixels, of 20


def test_round_a_corner_it_follows_the_mask():
    # A U: its ends are close to each other, but far along the mask.
    mask = np.zeros((40, 40), bool)
    mask[5:35, 5:9] = mask[5:35, 31:35] = mask[31:35, 5:35] = True
    distance = geodesic_distance(mask)
    assert distance[5, 6] > 35  # straight through the gap from the bottom's middle it is 30
    assert distance[33, 20] < 3  # the mask pixel nearest to the centroid is in the bottom bar


def test_islands_get_the_largest_distance():
    mask = disc()
    mask[2:5, 2:5] = True
    distance = geodesic_distance(mask)
    assert (distance[2:5, 2:5] == distance[disc()].max()).all()


@pytest.mark.parametrize("pixels", [[(3, 4)], [(0, 0), (9, 9)], [(0, 0), (0, 9), (9, 0), (9, 9)]])
def test_scattered_pixels_are_finite(pixels):
    mask = np.zeros((10, 10), bool)
    for row, col in pixels:
        mask[row, col] = True
    assert np.isfinite(geodesic_distance(mask)).all()
    assert np.isfinite(WEIGHT(mask)).all()


def test_random_masks_never_fail():
    rng = np.random.default_rng(0)
    for _ in range(150):
        mask = rng.random((16, 16)) < rng.uniform(0.01, 0.99)
        if mask.any():
            weight = WEIGHT(mask)
            assert np.isfinite(weight).all()
            assert weight.min() > 0


def test_a_full_mask_has_weights():
    assert np.isfinite(WEIGHT(np.ones((8, 8), bool))).all()


def test_weights_have_mean_one_and_grow_towards_the_ends():
    mask = np.zeros((32, 64), bool)
    mask[12:20, 4:60] = True
    weight = WEIGHT(mask)
    assert weight.mean() == pytest.approx(1.0, abs=1e-5)
    middle, end = weight[16, 32], weight.max()
    assert end / middle == pytest.approx(np.exp(2.0), rel=0.1)  # exp(gain * 1) / exp(0)


def test_weights_are_continuous_at_the_border_and_rise_outwards():
    mask = disc()
    weight = WEIGHT(mask)
    row = weight[32]
    border = np.flatnonzero(mask[32])[-1]
    assert abs(row[border + 1] - row[border]) < 0.05 * row[border]
    assert (np.diff(row[border + 1 :]) > 0).all()
    # At the farthest pixel, background_gain is added to the border's weight (before the mean).
    centre = weight[32, 32]
    assert (weight[0, 0] - weight[mask].max()) / centre == pytest.approx(0.5, abs=0.15)


def test_an_empty_mask_is_refused():
    with pytest.raises(ValueError, match="need a foreground"):
        geodesic_distance(np.zeros((8, 8), bool))


# -- against fast marching on the whole picture ---------------------------------------------------


def marched(mask):
    """Fast marching as the definition has it, with walls wherever the largest piece is not."""
    pieces, count = label(mask)
    largest = pieces == 1 + np.argmax([(pieces == k).sum() for k in range(1, count + 1)])
    pixels = np.argwhere(largest)
    start = pixels[((pixels - np.argwhere(mask).mean(0)) ** 2).sum(1).argmin()]
    front = np.ones(mask.shape)
    front[tuple(start)] = -1
    found = skfmm.distance(np.ma.masked_array(front, ~largest)).filled(0).clip(0)
    return np.where(mask & ~largest, found.max(), found)


@pytest.mark.parametrize("seed", range(20))
def test_distances_are_those_of_fast_marching_on_the_whole_picture(seed):
    mask = figure(seed)
    np.testing.assert_allclose(geodesic_distance(mask), marched(mask), rtol=1e-6)
    np.testing.assert_array_equal(geodesic_distance(mask.T.copy().T), geodesic_distance(mask))


@pytest.mark.parametrize("seed", range(5))
def test_outside_it_is_the_weight_of_a_nearest_pixel_and_a_rise(seed):
    mask, gain, rise = figure(seed, 40), 1.5, 0.25
    weight = GeodesicWeight(gain, rise)(mask)
    distance = marched(mask)
    expected = np.exp(gain * distance / distance.max())
    pixels, values = np.argwhere(mask), expected[mask]
    away = np.linalg.norm(np.argwhere(~mask)[:, None] - pixels, axis=-1)
    nearest = away.min(1)
    # Where several pixels are as near, any of them will do: the one that the weight is closest to.
    raised = values + rise * (nearest / nearest.max())[:, None]
    scale = expected[mask][0] / weight[mask][0]
    off = np.abs(scale * weight[~mask][:, None] - raised)
    off[away > nearest[:, None] + 1e-9] = np.inf
    assert off.min(1).max() < 1e-4
    np.testing.assert_allclose(scale * weight[mask], values, rtol=1e-5)
