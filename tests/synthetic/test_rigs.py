import numpy as np
import pytest

from mask_sup.synthetic.rigs import (
    PICTURE,
    RINGS,
    STUDIO,
    cut_out,
    cut_through,
    project,
    random_ring,
    strength,
)

MIDDLE = np.array([0.3, -0.2, 1.0])  # metres


@pytest.fixture(scope="module")
def rings():
    return [random_ring(np.random.default_rng(seed), MIDDLE) for seed in range(300)]


def directions(rig):
    """From the middle to the cameras, unit length, and how far, metres."""
    away = -np.einsum("vji,vj->vi", rig.R, rig.t) / 1000 - MIDDLE
    far = np.linalg.norm(away, axis=1)
    return away / far[:, None], far


def fills(values, low, high):
    """Whether numbers stay in a range and come near both of its ends."""
    tenth = (high - low) / 10
    inside = low - 1e-9 <= min(values) and max(values) <= high + 1e-9
    return inside and min(values) < low + tenth and max(values) > high - tenth


def test_rings_fill_their_ranges(rings):
    assert {len(rig.K) for rig in rings} == set(range(RINGS.views[0], RINGS.views[1] + 1))
    away, far = (np.concatenate(part) for part in zip(*map(directions, rings), strict=True))
    assert fills(np.degrees(np.arcsin(away[:, 2])), *RINGS.elevation_deg)
    assert fills(far, *RINGS.distance_m)
    K = np.concatenate([rig.K for rig in rings])
    assert fills(K[:, 0, 0], *RINGS.focal_px)
    np.testing.assert_array_equal(K[:, 0, 0], K[:, 1, 1])
    for axis in (0, 1):
        assert fills(K[:, axis, 2] / PICTURE - 0.5, *RINGS.principal)


def test_studio_rigs_stand_all_about_the_person_with_five_to_eight_cameras():
    rigs = [random_ring(np.random.default_rng(seed), MIDDLE, STUDIO) for seed in range(100)]
    assert {len(rig.K) for rig in rigs} == {5, 6, 7, 8}
    for away, _ in map(directions, rigs):
        turn = np.sort(np.arctan2(away[:, 1], away[:, 0]))
        gaps = np.diff(np.append(turn, turn[0] + 2 * np.pi))
        assert np.degrees(gaps.max()) < 180  # on no side nobody looks


def test_rings_are_rotations_and_see_the_person_off_their_middle(rings):
    off = []
    for rig in rings:
        np.testing.assert_allclose(
            rig.R @ rig.R.transpose(0, 2, 1), np.broadcast_to(np.eye(3), rig.R.shape), atol=1e-9
        )
        assert (np.linalg.det(rig.R) > 0).all()
        for K, R, t in zip(*rig, strict=True):
            (xy,) = project(K, (MIDDLE * 1000 @ R.T + t)[None])
            off.append(np.linalg.norm(xy - K[:2, 2]) / (PICTURE / 2))
            assert (xy > 0).all()
            assert (xy < PICTURE).all()
    assert fills(off, *RINGS.off_axis)


def test_cameras_roll_both_ways(rings):
    """What stands upright leans in the picture of a camera that has rolled."""
    lean = []
    for rig in rings:
        for K, R, t in zip(*rig, strict=True):
            foot, head = project(K, (MIDDLE + [[0, 0, -0.1], [0, 0, 0.1]]) * 1000 @ R.T + t)
            lean.append(np.degrees(np.arctan2(*(foot - head))))
    assert np.abs(lean).max() < RINGS.roll_deg[1] + 25  # and off the axis, seen from above
    assert np.percentile(lean, 10) < -8
    assert np.percentile(lean, 90) > 8


def test_no_two_cameras_are_alike_and_every_rig_fixes_points(rings):
    for rig in rings:
        away, _ = directions(rig)
        angles = np.degrees(np.arccos(np.clip(away @ away.T, -1, 1)))
        assert angles[~np.eye(len(away), dtype=bool)].min() > RINGS.apart_deg - 1e-6
        assert strength(away) > RINGS.strength - 1e-9
        if len(away) == 2:  # 1 - |cos| of their angle: neither side by side nor opposite
            assert 41 < angles[0, 1] < 139


@pytest.mark.parametrize("degrees", [0, 30, 90, 150, 180])
def test_the_strength_of_two_cameras_is_known(degrees):
    angle = np.radians(degrees)
    away = np.array([[1.0, 0.0, 0.0], [np.cos(angle), np.sin(angle), 0.0]])
    assert strength(away) == pytest.approx(1 - abs(np.cos(angle)), abs=1e-9)


def test_a_rig_is_a_function_of_the_generator():
    one, again, other = (random_ring(np.random.default_rng(seed), MIDDLE) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one.K[0], other.K[0])


def test_ranges_that_hold_no_rig_are_refused():
    crowded = RINGS._replace(views=(8, 8), apart_deg=100.0)
    with pytest.raises(ValueError, match="no 8 cameras found that stand 100"):
        random_ring(np.random.default_rng(0), MIDDLE, crowded)


@pytest.mark.parametrize("cut", [cut_out, cut_through])
def test_a_window_shows_points_where_the_whole_picture_has_them(cut):
    rng = np.random.default_rng(0)
    K = np.array([[1100.0, 0.0, 480.0], [0.0, 1100.0, 530.0], [0.0, 0.0, 1.0]])
    points = rng.uniform([-300, -900, 3900], [300, 900, 4500], (50, 3))
    whole = project(K, points)
    for _ in range(20):
        window = cut(K, whole, 128, rng)
        seen = project(window, points)
        scale = window[0, 0] / K[0, 0]
        np.testing.assert_allclose(np.diff(seen, axis=0), np.diff(whole, axis=0) * scale)
        low, high = seen.min(0), seen.max(0)
        out = np.maximum(-low, 0) + np.maximum(high - 128, 0)
        share = out / (high - low)
        if cut is cut_out:
            assert share.max() == 0
        else:
            assert (share > 0).sum() == 1  # on one side
            assert RINGS.cut[0] - 1e-9 <= share.max() <= RINGS.cut[1] + 1e-9
