import numpy as np
import pytest

from mask_sup.export import clean
from mask_sup.export.clean import fill_gaps


def track_of(values):
    """One joint in one dimension, (t, 1, 1)."""
    return np.array(values, float)[:, None, None]


def clip_of(clip, values, fps=30.0):
    """A clip all of whose joints move along x by the same values."""
    points = np.zeros((len(values), 18, 3))
    points += np.array(values, float)[:, None, None]
    return clip._replace(
        points_mm=points,
        joints_px=np.repeat(points[:, None, :, :2], 2, 1) / 10,
        confidence=np.ones((len(values), 18)),
        fps=fps,
    )


def mended(clip, values, fps=30.0, **settings):
    """One joint's x after `clean`, after a check that all joints and pixels got the same."""
    done = clean(clip_of(clip, values, fps), **settings)
    x = done.points_mm[:, 0, 0]
    np.testing.assert_allclose(done.points_mm, np.broadcast_to(x[:, None, None], (len(x), 18, 3)))
    pixels = np.broadcast_to(x[:, None, None, None] / 10, done.joints_px.shape)
    np.testing.assert_allclose(done.joints_px, pixels)
    return x


def test_nothing_is_mended_unless_asked_for(gappy):
    same = clean(gappy)
    np.testing.assert_array_equal(same.points_mm, gappy.points_mm)
    np.testing.assert_array_equal(same.joints_px, gappy.joints_px)


# ---- doubtful joints -----------------------------------------------------------------------------


def test_doubtful_joints_become_unknown_in_3d_and_in_all_views(clip):
    confidence = np.full((60, 18), 0.5)
    confidence[7, 3] = 0.49
    dropped = clean(clip._replace(confidence=confidence), min_confidence=0.5)
    unknown = np.zeros((60, 18), bool)
    unknown[7, 3] = True
    np.testing.assert_array_equal(np.isnan(dropped.points_mm).all(-1), unknown)
    np.testing.assert_array_equal(np.isnan(dropped.points_mm).any(-1), unknown)
    for view in range(2):
        np.testing.assert_array_equal(np.isnan(dropped.joints_px[:, view]).all(-1), unknown)
    np.testing.assert_array_equal(dropped.points_mm[~unknown], clip.points_mm[~unknown])


def test_single_views_know_no_confidence(clip):
    with pytest.raises(ValueError, match="a single view hold no confidence"):
        clean(clip._replace(confidence=None), min_confidence=0.2)


# ---- gaps ----------------------------------------------------------------------------------------

NAN = np.nan


@pytest.mark.parametrize(
    ("longest", "expected"),
    [
        (1, [NAN, 2, 3, 4, NAN, NAN, 7, 8, NAN]),
        (2, [NAN, 2, 3, 4, 5, 6, 7, 8, NAN]),
        (9, [NAN, 2, 3, 4, 5, 6, 7, 8, NAN]),
    ],
)
def test_short_gaps_between_known_frames_are_bridged(longest, expected):
    track = track_of([NAN, 2, NAN, 4, NAN, NAN, 7, 8, NAN])
    np.testing.assert_allclose(fill_gaps(track, longest), track_of(expected), atol=1e-12)


def test_known_frames_stay_to_the_bit_and_joints_do_not_mix():
    rng = np.random.default_rng(0)
    track = rng.normal(size=(30, 2, 3))
    track[5:8, 0] = NAN
    filled = fill_gaps(track, 3)
    np.testing.assert_array_equal(filled[:, 1], track[:, 1])
    np.testing.assert_array_equal(np.delete(filled, [5, 6, 7], 0), np.delete(track, [5, 6, 7], 0))
    low, high = (
        np.stack([track[4, 0], track[8, 0]]).min(0),
        np.stack([track[4, 0], track[8, 0]]).max(0),
    )
    assert (filled[5:8, 0] >= low).all()  # monotone: nothing overshoots
    assert (filled[5:8, 0] <= high).all()


def test_a_joint_that_is_never_seen_stays_unknown():
    assert np.isnan(fill_gaps(np.full((9, 1, 3), NAN), 20)).all()


def test_a_walk_with_a_gap_of_five_frames_comes_back(gappy, clip):
    filled = clean(gappy, fill=5)
    wrist = clip.joints.index("left_wrist")
    error = np.linalg.norm(filled.points_mm - clip.points_mm, axis=-1)
    assert np.isnan(error[:4, wrist]).all()
    assert np.nanmax(error[:, wrist]) < 15  # mm, of a hand in motion
    assert np.nanmax(error[20]) < 6
    assert np.isfinite(clean(gappy, fill=4).points_mm[10:15, wrist]).sum() == 0


# ---- smoothing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("hertz", "left"), [(1.0, 1.0), (6.0, np.sqrt(0.5)), (24.0, 0.0)])
def test_butterworth_leaves_half_the_power_at_its_cutoff_and_no_lag(clip, hertz, left):
    times = np.arange(1200) / 120
    wave = np.sin(2 * np.pi * hertz * times + 0.7)
    x = mended(clip, wave, fps=120.0, smoothing="butterworth", cutoff_hz=6.0)
    np.testing.assert_allclose(x[200:-200], left * wave[200:-200], atol=0.006)


@pytest.mark.parametrize("smoothing", ["butterworth", "savgol"])
def test_what_does_not_move_or_moves_evenly_stays(clip, smoothing):
    ramp = 3 + 2.0 * np.arange(50)
    np.testing.assert_allclose(mended(clip, ramp, smoothing=smoothing), ramp, atol=1e-3)


@pytest.mark.parametrize("smoothing", ["butterworth", "savgol"])
def test_smoothing_does_not_cross_gaps(clip, smoothing):
    rng = np.random.default_rng(0)
    values = rng.normal(size=50)
    values[20:22] = NAN
    shifted = values + np.where(np.arange(50) > 21, 1e6, 0)
    one = mended(clip, values, smoothing=smoothing)
    other = mended(clip, shifted, smoothing=smoothing)
    np.testing.assert_array_equal(one[:20], other[:20])
    np.testing.assert_allclose(one[22:] + 1e6, other[22:], atol=1e-3)
    assert np.isnan(one[20:22]).all()
    assert np.nanstd(np.diff(one[:20])) < 0.7 * np.std(np.diff(values[:20]))


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("smoothing", ["butterworth", "savgol"])
def test_the_shortest_runs_stay_finite(clip, smoothing, length):
    values = np.full(20, NAN)
    values[5 : 5 + length] = 1.0
    x = mended(clip, values, smoothing=smoothing)
    np.testing.assert_allclose(x[5 : 5 + length], 1.0)
    assert np.isnan(np.delete(x, range(5, 5 + length))).all()


def test_savgol_keeps_cubics_and_leaves_runs_shorter_than_its_window(clip):
    times = np.linspace(-1, 1, 30)
    cubic = 5 * times**3 - times**2 + 2
    x = mended(clip, cubic, smoothing="savgol", window=11)
    np.testing.assert_allclose(x, cubic, atol=1e-9)
    rng = np.random.default_rng(1)
    values = rng.normal(size=30)
    values[10] = NAN
    x = mended(clip, values, smoothing="savgol", window=11)
    np.testing.assert_array_equal(x[:10], values[:10])
    assert np.abs(x[11:] - values[11:]).max() > 0.1


def test_filled_gaps_are_smoothed_with_the_rest(clip):
    rng = np.random.default_rng(2)
    values = rng.normal(size=40)
    values[15:18] = NAN
    assert np.isfinite(mended(clip, values, fill=3, smoothing="butterworth")).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_confidence": 1.5}, r"min_confidence=1.5: expected a number in \[0, 1\]"),
        ({"fill": -1}, "fill=-1: expected a number of frames"),
        ({"smoothing": "median"}, r"smooth=median: .*'none', 'butterworth', 'savgol'"),
        ({"smoothing": "butterworth", "cutoff_hz": 15.0}, "cutoff_hz=15.0: .* below 15"),
        ({"smoothing": "butterworth", "cutoff_hz": 0.0}, "cutoff_hz=0.0: expected"),
        ({"smoothing": "savgol", "window": 8}, "window=8: expected an odd number"),
        ({"smoothing": "savgol", "window": 3}, "window=3: expected an odd number"),
    ],
)
def test_settings_that_make_no_sense_are_refused(clip, settings, message):
    with pytest.raises(ValueError, match=message):
        clean(clip, **settings)


def test_butterworth_needs_a_frame_rate(clip):
    with pytest.raises(ValueError, match="smooth=butterworth needs a frame rate"):
        clean(clip._replace(fps=None), smoothing="butterworth")
