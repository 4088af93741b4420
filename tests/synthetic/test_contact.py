import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mask_sup.synthetic import contact
from mask_sup.synthetic.bodies import CONTROLS, JOINTS, all_bodies
from mask_sup.synthetic.contact import (
    CONTROL,
    LIMITS,
    Contacts,
    Poses,
    angles_of,
    faults,
    figure_of,
    joints_and_balls,
    limited,
    rotations_of,
    solved,
)

STILL = np.tile(np.eye(3), (1, len(CONTROLS), 1, 1))


@pytest.fixture(scope="module")
def figure():
    return figure_of(all_bodies(), 0)


def anywhere(seed, count=1):
    return (
        Rotation.random(count * len(CONTROLS), random_state=seed)
        .as_matrix()
        .reshape(count, len(CONTROLS), 3, 3)
    )


def within_limits(seed, count):
    rng = np.random.default_rng(seed)
    angles = rng.uniform(contact._LOW, contact._HIGH, (count, len(CONTROLS), 3))
    size = np.linalg.norm(angles[:, contact._SWINGING, :2], axis=-1, keepdims=True)
    angles[:, contact._SWINGING, :2] *= np.minimum(1.0, 2.9 / size)
    angles[:, 0] = 0.0
    return angles


def on_the_ground(figure, names, count=1):
    ground = np.zeros((count, len(figure.names)), bool)
    ground[:, [figure.names.index(name) for name in names]] = True
    shape = ground.shape
    return Contacts(
        ground,
        np.tile(figure.radius, (count, 1)),
        np.full((*shape, 2), np.nan),
        np.zeros((*shape, shape[1]), bool),
        np.zeros(count, bool),
        np.ones(count, bool),
    )


def test_joints_are_those_of_the_body(figure):
    assert list(all_bodies()._control_parents) == contact.PARENTS
    rotations, root = anywhere(0), np.array([[1.0, 2.0, 3.0]])
    _, joints, _ = joints_and_balls(figure, Poses(rotations, root))
    _, told = all_bodies().pose(0, rotations[0], root[0])
    for joint, control in (
        ("left_elbow", "left_lower_arm"),
        ("right_wrist", "right_hand"),
        ("left_ankle", "left_foot"),
        ("neck", "neck"),
    ):
        np.testing.assert_allclose(joints[0, CONTROL[control]], told[JOINTS.index(joint)])


def test_balls_fill_the_body(figure):
    vertices = all_bodies().standing
    _, _, balls = joints_and_balls(figure, Poses(STILL, np.zeros((1, 3))))
    gap = np.linalg.norm(vertices[:, None] - balls[0], axis=-1) - figure.radius
    assert np.quantile(gap.min(1), 0.95) < 0.05  # metres: the skin is near a ball
    outside = [i for i, name in enumerate(figure.names) if name != "face"]  # a mouth is inside
    assert gap[:, outside].min() > -0.04  # and balls do not stick out of it far
    assert figure.mass.sum() == pytest.approx(1.0)


def test_angles_and_rotations_are_inverse():
    angles = within_limits(0, 100)
    np.testing.assert_allclose(angles_of(rotations_of(angles)), angles, atol=1e-6)


def test_limits_leave_alone_what_is_within_and_bring_back_what_is_not():
    rotations = rotations_of(within_limits(1, 50))
    np.testing.assert_allclose(limited(rotations), rotations, atol=1e-9)
    beyond = limited(anywhere(2, 50))
    angles = angles_of(beyond)[:, 1:]
    assert (angles >= contact._LOW[1:] - 1e-6).all()
    assert (angles <= contact._HIGH[1:] + 1e-6).all()


@pytest.mark.parametrize("side", ["left", "right"])
def test_knees_and_elbows_do_not_bend_the_wrong_way(side):
    rotations = STILL.copy()
    rotations[0, CONTROL[f"{side}_lower_leg"]] = Rotation.from_rotvec([-0.5, 0, 0]).as_matrix()
    rotations[0, CONTROL[f"{side}_lower_arm"]] = Rotation.from_rotvec([0.5, 0, 0]).as_matrix()
    np.testing.assert_allclose(limited(rotations), STILL, atol=1e-9)


def test_limits_are_symmetric_and_named_by_direction():
    for name in ("upper_leg", "upper_arm"):
        assert list(LIMITS[name]) == ["flex", "abduct", "twist"]
        assert LIMITS[name]["flex"][1] > -LIMITS[name]["flex"][0]  # forward more than back
    for name in CONTROLS:
        if name.startswith("left_"):
            other = CONTROL["right_" + name.removeprefix("left_")]
            np.testing.assert_array_equal(contact._LOW[CONTROL[name]], contact._LOW[other])
            np.testing.assert_array_equal(contact._HIGH[CONTROL[name]], contact._HIGH[other])


def test_jacobian_is_the_derivative(figure):
    poses = Poses(anywhere(3), np.zeros((1, 3)))
    world, joints, balls = joints_and_balls(figure, poses)
    jacobian = contact._jacobian(world, joints, balls, contact._moves(figure))[0]
    step = 1e-6
    for dof, (control, axis) in enumerate(contact.DOFS):
        turned = poses.rotations.copy()
        turned[0, control] = (
            turned[0, control] @ Rotation.from_rotvec(step * np.eye(3)[axis]).as_matrix()
        )
        _, _, moved = joints_and_balls(figure, Poses(turned, poses.root))
        np.testing.assert_allclose(jacobian[:, :, 3 + dof], (moved - balls)[0] / step, atol=1e-5)


def test_a_pose_in_the_air_comes_down_on_its_contacts(figure):
    contacts = on_the_ground(
        figure, [f"{s}_{b}" for s in ("left", "right") for b in ("heel", "toes")]
    )
    wanted = Poses(STILL, np.array([[0.0, 0.0, 1.4]]))
    missed = faults(figure, wanted, contacts)
    assert missed["off"] > 0.3
    made = solved(figure, wanted, contacts, 30)
    assert all(amount < 0.005 for amount in faults(figure, made, contacts).values())
    assert np.abs(angles_of(made.rotations)[:, 1:]).max() < 0.2  # and stands as before


def test_an_arm_leaves_the_trunk(figure):
    inward = STILL.copy()
    inward[0, CONTROL["left_upper_arm"]] = Rotation.from_rotvec([0, 0.7, 0]).as_matrix()
    contacts = on_the_ground(figure, ["left_heel", "right_heel"])
    wanted = Poses(inward, np.array([[0.0, 0.0, 0.95]]))
    assert faults(figure, wanted, contacts)["inside"] > 0.05
    assert faults(figure, solved(figure, wanted, contacts, 30), contacts)["inside"] < 0.01


def test_support():
    square = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    np.testing.assert_array_equal(contact._support(np.array([0.4, 0.7]), square), [0.4, 0.7])
    np.testing.assert_allclose(
        contact._support(np.array([0.5, -1.0]), square), [0.5, 0.05], atol=1e-9
    )  # nine tenths of the way from the middle to the edge
