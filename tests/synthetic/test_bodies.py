from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from scipy.spatial.transform import Rotation

from mask_sup.synthetic.bodies import CONTROLS, JOINTS, PARTS, Bodies

STILL = np.tile(np.eye(3), (len(CONTROLS), 1, 1))
SKELETON = Path(__file__).parents[2] / "conf" / "skeleton" / "human18.yaml"


@pytest.fixture(scope="module")
def bodies():
    return Bodies()


def standing(bodies, person=0, rotations=STILL):
    root = np.array([0.0, 0.0, bodies.ground_height(person, rotations)])
    vertices, joints = bodies.pose(person, rotations, root)
    return vertices, dict(zip(JOINTS, joints, strict=True))


def turned(control, rotvec):
    rotations = STILL.copy()
    rotations[CONTROLS.index(control)] = Rotation.from_rotvec(rotvec).as_matrix()
    return rotations


def test_joints_are_in_the_order_of_the_skeleton():
    assert list(JOINTS) == list(OmegaConf.load(SKELETON).joints)


@pytest.mark.parametrize("person", range(8))
def test_zero_pose_stands_upright_facing_minus_y(bodies, person):
    vertices, joints = standing(bodies, person)
    assert vertices.shape == (1229, 3)
    assert abs(vertices[:, 2].min()) < 1e-9
    assert 1.5 < vertices[:, 2].max() < 1.95
    for name in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist"):
        left, right = joints[f"left_{name}"], joints[f"right_{name}"]
        assert left[0] > 0.05  # the left is at +x
        np.testing.assert_allclose(left, right * [-1, 1, 1], atol=0.01)
    assert joints["nose"][1] < joints["neck"][1] - 0.05
    for side in ("left", "right"):
        # The arms hang: wrist under elbow under shoulder, the wrist beside the thigh.
        heights = [joints[f"{side}_{name}"][2] for name in ("shoulder", "elbow", "wrist", "knee")]
        assert heights == sorted(heights, reverse=True)
        hand = joints[f"{side}_wrist"] - joints[f"{side}_shoulder"]
        assert np.hypot(hand[0], hand[1]) < 0.15
    np.testing.assert_allclose(joints["head"][2], vertices[:, 2].max(), atol=0.02)


def test_root_position_is_where_the_pelvis_is(bodies):
    _, joints = bodies.pose(3, turned("pelvis", [0.2, 0.3, 2.0]), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(joints[0], [1.0, 2.0, 3.0], atol=1e-9)


def test_turning_the_pelvis_turns_the_whole_body(bodies):
    rotations = turned("pelvis", [0.3, -0.2, 1.1])
    vertices, joints = bodies.pose(1, STILL, np.zeros(3))
    turned_vertices, turned_joints = bodies.pose(1, rotations, np.zeros(3))
    np.testing.assert_allclose(turned_vertices, vertices @ rotations[0].T, atol=1e-9)
    np.testing.assert_allclose(turned_joints, joints @ rotations[0].T, atol=1e-9)


@pytest.mark.parametrize(
    ("control", "rotvec", "joint", "axis", "sign"),
    [
        ("left_lower_leg", [1.5, 0, 0], "left_ankle", 1, 1),  # the knee bends backward
        ("right_lower_arm", [-1.5, 0, 0], "right_wrist", 1, -1),  # the elbow bends forward
        ("left_upper_arm", [0, -1.5, 0], "left_elbow", 0, 1),  # the left arm goes out to the left
        ("right_upper_arm", [0, 1.5, 0], "right_elbow", 0, -1),
        ("chest", [0.5, 0, 0], "nose", 1, -1),  # leaning forward
    ],
)
def test_signs_of_rotations(bodies, control, rotvec, joint, axis, sign):
    _, before = standing(bodies)
    _, after = standing(bodies, rotations=turned(control, rotvec))
    assert (after[joint][axis] - before[joint][axis]) * sign > 0.08


def test_a_control_moves_only_what_hangs_on_it(bodies):
    _, before = bodies.pose(0, STILL, np.zeros(3))
    _, after = bodies.pose(0, turned("left_upper_arm", [-1.0, 0, 0]), np.zeros(3))
    moved = np.linalg.norm(after - before, axis=1) > 1e-9
    assert {JOINTS[i] for i in np.flatnonzero(moved)} == {"left_elbow", "left_wrist"}


def test_head_tells_front_from_back(bodies):
    vertices, joints = standing(bodies)
    part = np.array(PARTS)[bodies.part]
    centres = vertices[bodies.faces].mean(1)
    hair = centres[part == "hair"]
    face = centres[(part == "skin") & (centres[:, 2] > joints["nose"][2] - 0.03)]
    assert len(hair) > 30
    assert (part == "eyes").sum() >= 2
    assert hair[:, 1].mean() > face[:, 1].mean() + 0.05
    assert centres[part == "eyes"][:, 1].max() < joints["head"][1]


def test_surface_is_closed_and_faces_point_out(bodies):
    vertices, _ = standing(bodies)
    a, b, c = vertices[bodies.faces].transpose(1, 0, 2)
    volume = (a * np.cross(b, c)).sum() / 6  # m3
    assert 0.04 < volume < 0.13


def test_wrong_shape_names_the_controls(bodies):
    with pytest.raises(ValueError, match=r"\(19, 3, 3\).*left_clavicle"):
        bodies.pose(0, STILL[:5], np.zeros(3))


# ---------------------------------------------------------------------------------------------
# Shapes drawn from the basis


@pytest.fixture(scope="module")
def people(bodies):
    return bodies.people(np.random.default_rng(0), 40)


def windings(vertices, faces, points):
    """How often the surface goes around each point: 1 inside, 0 outside, 2 in two parts at once."""
    a, b, c = np.moveaxis(vertices[faces][None] - points[:, None, None], 2, 0)
    x, y, z = (np.linalg.norm(v, axis=-1) for v in (a, b, c))
    over = (a * np.cross(b, c)).sum(-1)
    under = x * y * z + (a * b).sum(-1) * z + (b * c).sum(-1) * x + (c * a).sum(-1) * y
    return np.arctan2(over, under).sum(1) / (2 * np.pi)


def test_same_seed_same_people(bodies, people):
    again = bodies.people(np.random.default_rng(0), len(people))
    np.testing.assert_array_equal(people[1].surface, again[1].surface)
    assert np.abs(people[0].surface - people[1].surface).max() > 0.01


def test_people_have_human_sizes(bodies, people):
    heights, legs = [], []
    for shape in people:
        vertices, _ = standing(bodies, shape)
        heights.append(np.ptp(vertices[:, 2]))
        legs.append(bodies.leg_length(shape) / heights[-1])
    assert 1.40 < min(heights) < 1.58
    assert 1.80 < max(heights) < 2.05
    assert 0.42 < min(legs) < max(legs) < 0.53


def test_people_differ_in_build(bodies, people):
    indices = []
    for shape in people:
        vertices, _ = standing(bodies, shape)
        a, b, c = vertices[bodies.faces].transpose(1, 0, 2)
        weight = 1000.0 * (a * np.cross(b, c)).sum() / 6  # kg, of the density of water
        indices.append(weight / np.ptp(vertices[:, 2]) ** 2)
    assert 15 < min(indices) < 20 < 28 < max(indices) < 38  # body-mass index


def test_joints_of_people_are_inside_and_symmetric(bodies, people):
    inner = [n for n in JOINTS if n not in ("nose", "head")]
    for shape in people:
        vertices, joints = standing(bodies, shape)
        around = windings(vertices, bodies.faces, np.stack([joints[n] for n in inner]))
        assert around.min() > 0.7
        assert around.max() < 1.3
        for name in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist"):
            left, right = joints[f"left_{name}"], joints[f"right_{name}"]
            np.testing.assert_allclose(left, right * [-1, 1, 1], atol=0.012)
        assert joints["nose"][1] < joints["neck"][1] - 0.05
        np.testing.assert_allclose(joints["head"][2], vertices[:, 2].max(), atol=0.03)


def test_no_coefficients_are_the_mean_shape(bodies):
    mean, few = bodies.drawn(np.zeros(0)), bodies.drawn(np.zeros(3))
    np.testing.assert_array_equal(mean.surface, few.surface)
    with pytest.raises(ValueError, match=r"up to 20 coefficients.*\(21,\)"):
        bodies.drawn(np.zeros(21))


def test_a_shape_poses_as_a_person_does(bodies, people):
    rotations = turned("pelvis", [0.3, -0.2, 1.1])
    vertices, joints = bodies.pose(people[0], rotations, np.array([1.0, 2.0, 3.0]))
    still, _ = bodies.pose(people[0], STILL, np.zeros(3))
    np.testing.assert_allclose(vertices - joints[0], still @ rotations[0].T, atol=1e-6)
