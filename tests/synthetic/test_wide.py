import numpy as np
import pytest

from mask_sup.synthetic import contact, wide
from mask_sup.synthetic.bodies import CONTROLS, JOINTS, all_bodies
from mask_sup.synthetic.contact import Poses, angles_of, figure_of, joints_and_balls
from mask_sup.synthetic.data import posed
from mask_sup.synthetic.motion import ACTIONS, LEG, procedural_motion
from mask_sup.synthetic.wide import KINDS, cleared, movement, wide_motion

JOINT = {name: i for i, name in enumerate(JOINTS)}
RESTING = ("lie_front", "lie_back", "lie_side", "kneel", "bear", "plank", "push_up", "bridge")
NEAR = 0.04  # metres over the ground


def made(name, seed, person=0):
    return movement(name, np.random.default_rng(seed), 2.0, 5.0, person)


@pytest.fixture(scope="module")
def motions():
    return {name: [made(name, seed)] for seed, name in enumerate(KINDS)}


def surfaces(motion, person=0):
    for frame in range(0, len(motion.rotations), 3):
        yield frame, *posed(person, motion, frame, np.zeros(2))


def segment_distance(a, b, c, d):
    """Least distance of points along two segments."""
    t = np.linspace(0, 1, 15)[:, None]
    one, other = a + t * (b - a), c + t * (d - c)
    return np.linalg.norm(one[:, None] - other[None], axis=-1).min()


def test_seed_decides_everything():
    first, again, other = (
        wide_motion(np.random.default_rng(s), seconds=1.0, fps=5.0) for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.rotations, again.rotations)
    np.testing.assert_array_equal(first.position, again.position)
    assert first.action == again.action
    assert np.abs(first.rotations - other.rotations).max() > 0.1


@pytest.mark.parametrize(("seconds", "fps", "frames"), [(2.0, 5.0, 10), (0.2, 5.0, 1)])
def test_length(seconds, fps, frames):
    motion = wide_motion(np.random.default_rng(0), seconds=seconds, fps=fps)
    assert motion.rotations.shape == (frames, len(CONTROLS), 3, 3)
    assert motion.position.shape == (frames, 2)
    assert motion.lift.shape == (frames,)
    assert motion.fps == fps
    assert motion.action in KINDS


def test_all_kinds_are_drawn():
    assert {k for k in KINDS if KINDS[k].share > 0} == set(KINDS)
    assert len(KINDS) >= 20


def test_rotations_are_rotations_within_the_limits(motions):
    for name, some in motions.items():
        for motion in some:
            product = motion.rotations @ np.swapaxes(motion.rotations, -1, -2)
            np.testing.assert_allclose(
                product, np.broadcast_to(np.eye(3), product.shape), atol=1e-6
            )
            angles = angles_of(motion.rotations)[:, 1:]
            assert (angles >= contact._LOW[1:] - 1e-6).all(), name
            assert (angles <= contact._HIGH[1:] + 1e-6).all(), name


def test_nothing_is_below_the_ground_and_nothing_floats(motions):
    for some in motions.values():
        for motion in some:
            for frame, vertices, _ in surfaces(motion):
                lift = motion.lift[frame] * all_bodies().leg_length(0) / LEG
                assert vertices[:, 2].min() == pytest.approx(lift, abs=1e-9)
    for name in set(KINDS) - {"jump", "run", "tumble"}:
        assert all((motion.lift == 0).all() for motion in motions[name]), name


def test_who_rests_touches_the_ground_in_three_places_or_more(motions):
    touching = []
    for name in RESTING:
        for motion in motions[name]:
            for _, vertices, _ in surfaces(motion):
                touching.append(len(set(all_bodies().owner[vertices[:, 2] < NEAR])))
    assert np.mean(np.array(touching) >= 3) > 0.95
    assert np.median(touching) >= 4


def test_contacts_are_right_for_other_bodies_too():
    touching = []
    for seed, shape in enumerate(all_bodies().people(np.random.default_rng(3), 3)):
        for name in ("lie_back", "kneel"):
            for _, vertices, _ in surfaces(made(name, seed, shape), shape):
                touching.append(len(set(all_bodies().owner[vertices[:, 2] < NEAR])))
    assert np.mean(np.array(touching) >= 3) > 0.95


def test_the_centre_of_mass_is_over_the_support(motions):
    figure, off = figure_of(all_bodies(), 0), []
    for name in (*RESTING, "crouch", "squat", "bend", "balance", "lean", "crawl"):
        for motion in motions[name]:
            for frame, vertices, joints in surfaces(motion):
                pose = Poses(motion.rotations[frame, None], joints[None, 0])
                middle = (figure.mass @ joints_and_balls(figure, pose)[2][0])[:2]
                low = vertices[vertices[:, 2] < NEAR][:, :2]
                off.append(np.linalg.norm(contact._support(middle, low) - middle))
    assert np.quantile(off, 0.95) < 0.06  # metres


def test_forearms_and_shanks_stay_out_of_the_trunk(motions):
    near = {"wrist": [], "ankle": []}
    for some in motions.values():
        for motion in some:
            for _, _, joints in surfaces(motion):
                at = {name: joints[i] for name, i in JOINT.items()}
                low, high = (at["pelvis"] * (1 - s) + at["neck"] * s for s in (0.15, 0.8))
                for side in ("left", "right"):
                    for end, start in (("wrist", "elbow"), ("ankle", "knee")):
                        limb = at[f"{side}_{start}"], at[f"{side}_{end}"]
                        near[end].append(segment_distance(*limb, low, high))
    # Metres between the axes: a trunk is about 0.11 deep to its axis, a limb 0.04.
    assert min(near["wrist"]) > 0.13
    assert min(near["ankle"]) > 0.10


def test_everyday_movements_are_cleared_for_the_heavy():
    heavy = max(
        all_bodies().people(np.random.default_rng(4), 20), key=lambda s: np.ptp(s.surface[:, 1])
    )
    figure, worst = figure_of(all_bodies(), heavy), {}
    for name in ("as it is", "cleared"):
        worst[name] = []
        for seed, action in enumerate(ACTIONS):
            motion = procedural_motion(action, np.random.default_rng(seed))
            if name == "cleared":
                motion = cleared(motion, heavy)
            _, _, balls = joints_and_balls(figure, Poses(motion.rotations, np.zeros((10, 3))))
            first, second = figure.pairs.T
            gaps = np.linalg.norm(balls[:, first] - balls[:, second], axis=-1) - figure.apart
            worst[name].append(-gaps.min())
    assert max(worst["cleared"]) < 0.015 < max(worst["as it is"])  # metres


def test_trunks_have_every_orientation_and_headings_go_all_around(motions):
    up = np.array([m.rotations[0, 0, 2, 2] for some in motions.values() for m in some])
    front = np.array([m.rotations[0, 0, 2, 1] for some in motions.values() for m in some])
    assert (up > 0.9).any()
    assert (up < -0.5).any()  # upside down
    assert ((np.abs(up) < 0.4) & (front > 0.6)).any()  # on the belly
    assert ((np.abs(up) < 0.4) & (front < -0.6)).any()  # on the back
    assert ((np.abs(up) < 0.4) & (np.abs(front) < 0.4)).any()  # on a side
    turns = [np.arctan2(*m.rotations[0, 0, [1, 0], 0]) for some in motions.values() for m in some]
    assert (np.histogram(turns, bins=4, range=(-np.pi, np.pi))[0] > 2).all()


def test_movement_is_smooth_and_goes_somewhere(motions):
    turned = []
    for name, some in motions.items():
        for motion in some:
            steps = motion.rotations[1:] @ np.swapaxes(motion.rotations[:-1], -1, -2)
            cosine = (np.trace(steps, axis1=-2, axis2=-1) - 1) / 2
            turned.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))).max())
            assert turned[-1] < 150, name  # in a fifth of a second
            assert np.abs(motion.position).max() < 2.0
    assert np.median(turned) > 5


def test_jumps_leave_the_ground(motions):
    assert max(motion.lift.max() for motion in motions["jump"]) > 0.08


def test_mirrored_postures_are_mirror_images():
    posture = wide.SIDE_KICK
    again = wide._mirrored(wide._mirrored(posture))
    assert again == posture
    assert wide._mirrored(posture).ground == ("left_feet",)
    assert wide._mirrored(posture).legs == posture.legs[::-1]


def test_every_part_of_every_posture_is_on_the_figure():
    names = set(figure_of(all_bodies(), 0).names)
    for kind in KINDS.values():
        assert kind.order in wide.ORDERS
        for posture in kind.postures:
            for part in posture.ground:
                assert set(wide._balls(part)) <= names
            assert {name for pair in posture.touch for name in pair} <= names
