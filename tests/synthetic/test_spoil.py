import cv2
import numpy as np
import pytest

from mask_sup.synthetic.bodies import JOINTS
from mask_sup.synthetic.data import all_bodies, posed
from mask_sup.synthetic.motion import procedural_motion
from mask_sup.synthetic.rigs import default_rig
from mask_sup.synthetic.spoil import FAULTS, LIMBS, RECIPE, Fault, Shot, filled, spoilt_mask

SIZE = 250  # pixels
SHRINK = np.diag([SIZE / 1000, SIZE / 1000, 1.0])
LIGHT = np.array([0.6, 0.0, 0.8])  # from +x, 37 degrees off the vertical


@pytest.fixture(scope="module")
def shot():
    motion = procedural_motion("posing", np.random.default_rng(4))
    (now, joints), (later, _) = (posed(6, motion, frame, np.zeros(2)) for frame in (3, 4))
    K, R, t = (part[0] for part in default_rig())
    pace = (later - now) / 5 * 1000
    return Shot(now * 1000, joints * 1000, pace, all_bodies().faces, LIGHT, SHRINK @ K, R, t)


@pytest.fixture(scope="module")
def mask(shot):
    return filled(shot.seen(shot.vertices), shot.faces, (SIZE, SIZE))


def side(mask):
    return max(cv2.boundingRect(mask.astype(np.uint8))[2:])


def spoil(name, mask, shot, amount, seed=0):
    return FAULTS[name](mask, shot, amount, np.random.default_rng(seed))


def test_a_filled_surface_is_the_outline_of_its_points(shot, mask):
    rows, columns = np.nonzero(mask)
    points = shot.seen(shot.vertices)
    assert np.abs(points.min(0) - [columns.min(), rows.min()]).max() < 1.6
    assert np.abs(points.max(0) - [columns.max() + 1, rows.max() + 1]).max() < 1.6
    triangle = np.array([[10.0, 10.0], [50.0, 10.0], [10.0, 40.0]])
    assert filled(triangle, np.array([[0, 1, 2]]), (64, 64)).sum() == pytest.approx(600, rel=0.05)


@pytest.mark.parametrize("amount", [-3.0, 0.0, 2.0])
def test_a_late_mask_is_that_of_the_body_so_many_frames_on(shot, mask, amount):
    late = spoil("lag", mask, shot, amount)
    expected = filled(shot.seen(shot.vertices + amount * shot.pace), shot.faces, mask.shape)
    assert np.array_equal(late, expected)
    assert np.array_equal(late, mask) == (amount == 0)


def test_a_missing_limb_is_gone_and_nothing_else(shot, mask):
    at = dict(zip(JOINTS, shot.seen(shot.joints), strict=True))
    met = set()
    for seed in range(40):
        left = spoil("limb", mask, shot, 1.0, seed)
        name = list(LIMBS)[np.random.default_rng(seed).integers(len(LIMBS))]
        met.add(name)
        assert not (left & ~mask).any()
        column, row = np.floor(at[LIMBS[name][-1]]).astype(int)
        alone = min(
            np.linalg.norm(at[LIMBS[name][-1]] - place)
            for joint, place in at.items()
            if joint not in LIMBS[name]
        )
        if alone > 15:  # pixels: not before the trunk
            assert not left[row - 1 : row + 2, column - 1 : column + 2].any()
        gone = np.argwhere(mask & ~left)[:, ::-1] + 0.5
        joints = np.array([at[joint] for joint in LIMBS[name]])
        reach = np.linalg.norm(np.diff(joints, axis=0), axis=1).max() + 25  # a foot, a hand
        away = np.linalg.norm(gone[:, None] - joints, axis=2).min(1)
        assert len(gone) == 0 or away.max() < reach
    assert met == set(LIMBS)


def test_a_part_of_a_limb_is_its_end(shot, mask):
    for seed in range(20):
        all_of_it, half = (mask & ~spoil("limb", mask, shot, amount, seed) for amount in (1, 0.5))
        assert not (half & ~all_of_it).any()
        if all_of_it.sum() > 200:
            assert 0.1 < half.sum() / all_of_it.sum() < 0.9


@pytest.mark.parametrize(("name", "sign"), [("hole", -1), ("leak", 1)])
def test_blobs_are_as_large_as_told_and_touch_the_body(shot, mask, name, sign):
    amount, areas = 0.08, []
    near = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3))) > 0
    for seed in range(30):
        found = spoil(name, mask, shot, amount, seed)
        changed = found ^ mask
        areas.append(changed.sum())
        assert not (changed & (mask if sign > 0 else ~mask)).any()
        assert (changed & near).any() or not changed.any()
        assert side(changed) <= 2 * amount * side(mask) + 3
        parts, _ = cv2.connectedComponents(found.astype(np.uint8))
        assert sign < 0 or parts == 2  # background and one body
    radius = amount * side(mask)
    assert max(areas) <= np.pi * (radius + 1) ** 2
    assert np.mean(areas) > 0.15 * np.pi * radius**2


def test_a_shadow_lies_on_the_ground_away_from_the_light(shot, mask):
    high = 0.9  # metres
    found = spoil("shadow", mask, shot, high)
    extra = found & ~mask
    assert not (mask & ~found).any()
    assert extra.sum() > 50
    # Rays through its pixels meet the ground where the body's lower part throws its shadow.
    rows, columns = np.nonzero(extra)
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], 1)
    rays = pixels @ np.linalg.inv(shot.K).T @ shot.R
    centre = -shot.R.T @ shot.t
    ground = centre - rays * (centre[2] / rays[:, 2])[:, None]
    feet = shot.vertices[shot.vertices[:, 2] < 150][:, :2]
    along = ground[:, 0] - feet[:, 0].mean()  # the light comes from +x: shadows go to -x
    longest = high * 1000 * 0.6 / 0.8
    assert along.mean() < -0.2 * longest
    assert along.min() > -longest - np.ptp(shot.vertices[:, 0])
    across = ground[:, 1]
    assert across.min() > shot.vertices[:, 1].min() - 120
    assert across.max() < shot.vertices[:, 1].max() + 120
    assert np.array_equal(spoil("shadow", mask, shot, 0.0), mask)


def test_a_high_light_throws_the_shadow_under_the_body(shot, mask):
    above = shot._replace(light=np.array([0.0, 0.0, 1.0]))
    expected = shot.vertices * [1, 1, 0]
    low = (shot.vertices[shot.faces, 2] < 300).all(1)
    under = filled(shot.seen(expected), shot.faces[low], mask.shape)
    assert np.array_equal(spoil("shadow", mask, above, 0.3), mask | under)


@pytest.mark.parametrize("pixels", [-2, -1, 1, 2, 4])
def test_a_halo_moves_the_edge_by_so_many_pixels(shot, mask, pixels):
    found = spoil("halo", mask, shot, 1.001 * pixels / side(mask))
    x = np.arange(-abs(pixels), abs(pixels) + 1)
    disc = (x**2 + x[:, None] ** 2 <= pixels**2).astype(np.uint8)
    change = cv2.dilate if pixels > 0 else cv2.erode
    assert np.array_equal(found, change(mask.astype(np.uint8), disc) > 0)


def test_a_shift_moves_the_mask_as_it_is(shot, mask):
    low, high = np.argwhere(mask).min(0), np.argwhere(mask).max(0)
    ways = []
    for seed in range(20):
        found = spoil("shift", mask, shot, 0.06, seed)
        way = np.argwhere(found).min(0) - low
        ways.append(way)
        assert found.sum() == mask.sum()
        assert np.array_equal(np.argwhere(found).max(0) - high, way)
        assert np.linalg.norm(way) == pytest.approx(0.06 * side(mask), abs=0.75)
    assert len({tuple(way) for way in ways}) > 8


def test_faults_are_met_as_often_as_the_recipe_says(shot, mask, monkeypatch):
    calls = dict.fromkeys(FAULTS, 0)

    def counted(name):
        def fault(mask, shot, amount, rng):
            low, high = RECIPE[name].amount
            assert low <= amount <= high
            calls[name] += 1
            return mask

        return fault

    for name in FAULTS:
        monkeypatch.setitem(FAULTS, name, counted(name))
    rng, true = np.random.default_rng(0), np.where(mask, 255, 0).astype(np.uint8)
    for _ in range(1000):
        assert np.array_equal(spoilt_mask(true, shot, rng), true)
    for name, fault in RECIPE.items():
        expected = 1000 * fault.chance * np.mean(fault.count)
        assert calls[name] == pytest.approx(expected, rel=0.25)


def test_little_of_a_person_is_not_kept(shot, mask):
    true = np.where(mask, 255, 0).astype(np.uint8)
    gone = {"halo": Fault(1.0, (-0.5, -0.5))}
    assert np.array_equal(spoilt_mask(true, shot, np.random.default_rng(0), gone), true)


def test_unknown_faults_are_refused(shot, mask):
    true = np.where(mask, 255, 0).astype(np.uint8)
    with pytest.raises(ValueError, match=r"\['blur'\].*lag.*shift"):
        spoilt_mask(true, shot, np.random.default_rng(0), {"blur": Fault(1.0, (0.0, 1.0))})
