import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mask_sup.synthetic.bodies import CONTROLS, JOINTS, Bodies
from mask_sup.synthetic.motion import ACTIONS, STYLES, mocap_clips, procedural_motion

PARENTS = {
    "right_knee": "right_hip",
    "right_ankle": "right_knee",
    "left_knee": "left_hip",
    "left_ankle": "left_knee",
    "left_elbow": "left_shoulder",
    "left_wrist": "left_elbow",
    "right_elbow": "right_shoulder",
    "right_wrist": "right_elbow",
    "head": "nose",
    "right_hip": "pelvis",
}
CONTROL = {name: i for i, name in enumerate(CONTROLS)}
JOINT = {name: i for i, name in enumerate(JOINTS)}


def all_motions(seeds=6):
    made = [procedural_motion(a, np.random.default_rng(s)) for a in ACTIONS for s in range(seeds)]
    return made + mocap_clips()


@pytest.fixture(scope="module")
def motions():
    return all_motions()


@pytest.fixture(scope="module")
def bodies():
    return Bodies()


def rotvecs(motion, control):
    return Rotation.from_matrix(motion.rotations[:, CONTROL[control]]).as_rotvec()


def test_every_style_has_a_name():
    assert {*STYLES, "walking"} == set(ACTIONS)


@pytest.mark.parametrize("action", ACTIONS)
def test_seed_decides_everything(action):
    first, again, other = (procedural_motion(action, np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.rotations, again.rotations)
    np.testing.assert_array_equal(first.position, again.position)
    assert np.abs(first.rotations - other.rotations).max() > 0.1


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("seconds", "fps", "frames"), [(2.0, 5.0, 10), (0.2, 5.0, 1), (1.0, 25.0, 25)]
)
def test_length(action, seconds, fps, frames):
    motion = procedural_motion(action, np.random.default_rng(0), seconds=seconds, fps=fps)
    assert motion.rotations.shape == (frames, len(CONTROLS), 3, 3)
    assert motion.position.shape == (frames, 2)
    assert motion.fps == fps
    assert motion.action == action


def test_rotations_are_rotations(motions):
    for motion in motions:
        product = motion.rotations @ np.swapaxes(motion.rotations, -1, -2)
        np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), atol=1e-5)
        np.testing.assert_allclose(np.linalg.det(motion.rotations), 1.0, atol=1e-5)


def test_knees_bend_backward_and_elbows_forward(motions):
    for motion in motions:
        for side in ("left", "right"):
            knee = rotvecs(motion, f"{side}_lower_leg")
            elbow = rotvecs(motion, f"{side}_lower_arm")
            # Hinges: about x only, each in its own direction.
            np.testing.assert_allclose(knee[:, 1:], 0.0, atol=1e-4)
            np.testing.assert_allclose(elbow[:, 1:], 0.0, atol=1e-4)
            # Captured knees are now and then overstretched (by up to 11 degrees), generated never.
            least = 0.0 if motion.action in ACTIONS else -0.2
            assert knee[:, 0].min() >= least, motion.action
            assert elbow[:, 0].max() <= -least, motion.action
            assert max(knee[:, 0].max(), -elbow[:, 0].min()) < np.radians(155)


def test_nose_is_in_front_of_the_neck_and_bones_keep_their_length(motions, bodies):
    for motion in motions:
        lengths = []
        for rotations in motion.rotations[::4]:
            _, joints = bodies.pose(2, rotations, np.zeros(3))
            lengths.append(
                [np.linalg.norm(joints[JOINT[c]] - joints[JOINT[p]]) for c, p in PARENTS.items()]
            )
            across = joints[JOINT["left_shoulder"]] - joints[JOINT["right_shoulder"]]
            up = joints[JOINT["thorax"]] - joints[JOINT["spine"]]
            front = np.cross(across, up)
            nose = joints[JOINT["nose"]] - joints[JOINT["neck"]]
            assert nose @ front / np.linalg.norm(front) > 0.0, motion.action
        np.testing.assert_allclose(
            lengths, np.broadcast_to(lengths[0], np.shape(lengths)), atol=1e-5
        )


def test_people_stay_upright_and_near_the_middle(motions, bodies):
    for motion in motions:
        _, joints = bodies.pose(0, motion.rotations[0], np.zeros(3))
        assert joints[JOINT["neck"], 2] > 0.1, motion.action
        assert np.abs(motion.position).max() < 2.0


def test_headings_go_all_around():
    headings = [
        np.arctan2(
            *procedural_motion("waiting", np.random.default_rng(s)).rotations[0, 0, [1, 0], 0]
        )
        for s in range(40)
    ]
    assert (np.histogram(headings, bins=4, range=(-np.pi, np.pi))[0] > 2).all()


def test_walking_alternates_the_feet_and_swings_the_arms_against_them():
    motion = procedural_motion("walking", np.random.default_rng(5), seconds=4.0, fps=25.0)
    left, right = (rotvecs(motion, f"{s}_upper_leg")[:, 0] for s in ("left", "right"))
    arm = rotvecs(motion, "left_upper_arm")[:, 0]
    assert np.corrcoef(left, right)[0, 1] < -0.4
    assert np.corrcoef(left, arm)[0, 1] < -0.4
    # A swinging knee bends much more than a standing one.
    assert np.ptp(rotvecs(motion, "left_lower_leg")[:, 0]) > np.radians(35)


def test_standing_feet_do_not_slide(bodies):
    for seed in range(3):
        motion = procedural_motion("walking", np.random.default_rng(seed), seconds=1.2, fps=25.0)
        ankles = []
        for rotations, position in zip(motion.rotations, motion.position, strict=True):
            root = np.array([*position * bodies.leg_length(0) / 0.86, 0.0])
            _, joints = bodies.pose(0, rotations, root)
            ankles.append(joints[[JOINT["left_ankle"], JOINT["right_ankle"]], :2])
        speed = np.linalg.norm(np.diff(ankles, axis=0), axis=2) * 25
        assert np.median(speed.min(1)) < 0.2  # metres a second, of the slower foot


def test_movement_is_smooth(motions):
    for motion in motions[: len(ACTIONS) * 6]:
        steps = motion.rotations[1:] @ np.swapaxes(motion.rotations[:-1], -1, -2)
        cosine = (np.trace(steps, axis1=-2, axis2=-1) - 1) / 2
        assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 120  # in a fifth of a second


def test_mocap_clips():
    clips = mocap_clips()
    assert [c.action for c in clips] == ["walk", "run", "jump", "dance_b", "punch", "spinkick"]
    assert 240 <= sum(len(c.rotations) for c in clips) <= 260
    assert {c.fps for c in clips} == {25.0}
    lift = {c.action: c.lift.max() for c in clips}
    assert lift["jump"] > 0.1
    assert lift["walk"] < 0.05


def test_unknown_action_names_the_known_ones():
    with pytest.raises(ValueError, match="flying.*walking"):
        procedural_motion("flying", np.random.default_rng(0))
