import pytest
import torch
from figures import HUMAN, INDEX, cameras, person, walking
from omegaconf import OmegaConf

from mask_sup.figure.body import Body, Capsules
from mask_sup.files.build import build
from mask_sup.geometry.batch import Camera


def settings(**changed):
    return OmegaConf.to_container(OmegaConf.load("conf/body/human.yaml")) | changed


@pytest.fixture(scope="module")
def body():
    return build(settings(), "body", skeleton=HUMAN)


def one_camera(distance):
    eye = torch.eye(3).expand(1, 1, 3, 3)
    K = torch.diag(torch.tensor([4.0, 4.0, 1.0])).expand(1, 1, 3, 3)
    return Camera(K, eye, torch.tensor([0.0, 0.0, distance]).expand(1, 1, 3))


@pytest.mark.parametrize("distance", [4000.0, 8000.0])
def test_a_capsule_is_one_half_at_its_projected_surface(body, distance):
    # An upright capsule of 200 mm radius; 4 / distance crop units per mm, 64 pixels per 2 units.
    ends = torch.tensor([[[[0.0, -3000.0, 0.0], [0.0, 3000.0, 0.0]]]])
    row = body.draw(Capsules(ends, torch.tensor([200.0])), one_camera(distance), 64)[0, 0, 32]
    centres = (torch.arange(64) * 2 + 1) / 64 - 1
    surface = 200 * 4 / distance
    expected = torch.exp(-torch.log(torch.tensor(2.0)) * (centres / surface) ** 4)
    torch.testing.assert_close(row, expected, atol=1e-4, rtol=1e-3)


def test_up_is_along_the_trunk_whatever_the_names(body):
    poses = torch.stack([person(), person()[HUMAN.flip]])
    torch.testing.assert_close(body.up(poses), torch.tensor([[0.0, 0.0, 1.0]]).expand(2, 3))


def test_a_knee_is_bent_backward_as_the_hips_are_named(body):
    """By a right angle: sine 1. The other leg is straight."""
    pose = person(right_ankle=(95, -424, -387))
    poses = torch.stack([pose, pose[HUMAN.flip]])
    expected = torch.tensor([[1.0, 0.0], [0.0, -1.0]])  # right, left
    torch.testing.assert_close(body.bent(poses), expected, atol=1e-5, rtol=0)


def test_feet_point_to_the_front_and_turn_with_the_names(body):
    ends = body.capsules(torch.stack([person(), person()[HUMAN.flip]])).ends[:, -2:]
    heel, toes = ends[:, :, 0], ends[:, :, 1]
    assert (toes - heel)[0, :, 1].tolist() == pytest.approx([160.0, 160.0], abs=0.1)
    assert (toes - heel)[1, :, 1].tolist() == pytest.approx([-160.0, -160.0], abs=0.1)
    assert heel[0, 0, 2].item() == pytest.approx(-811 - 40, abs=0.1)


def test_feet_turn_with_the_shank_of_a_person_who_kneels(body):
    """Shanks level, as the front is: toes point down, on them somebody rests."""
    level = person(right_ankle=(95, -424, -387), left_ankle=(-95, -424, -387))
    ends = body.capsules(torch.stack([level, level[HUMAN.flip]])).ends[:, -2:]
    toes = (ends[:, :, 1] - ends[:, :, 0]).flatten(0, 1)
    expected = torch.tensor([[0.0, 0.0, -160.0]] * 2 + [[0.0, 0.0, 160.0]] * 2)
    torch.testing.assert_close(toes, expected, atol=0.1, rtol=0)


def test_a_hand_lies_beyond_the_wrist(body):
    capsules = body.capsules(person()[None])
    wrist = body.end.index(INDEX["right_wrist"])
    assert capsules.ends[0, wrist, 1].tolist() == pytest.approx([170.0, 0.0, -43 - 120], abs=0.1)


def off_the_bone(body, pose, upper, lower):
    """How far, in mm, the axis of a capsule lies off its first joint."""
    ends = body.capsules(pose[None]).ends[0]
    which = list(zip(body.start, body.end, strict=True)).index((INDEX[upper], INDEX[lower]))
    return (ends[which, 0] - pose[INDEX[upper]]).tolist()


def test_flesh_lies_before_the_thigh_behind_the_shank_and_before_the_spine(body):
    thigh, shank = ("right_hip", "right_knee"), ("right_knee", "right_ankle")
    assert off_the_bone(body, person(), *thigh) == pytest.approx([0, 16, 0], abs=0.1)
    assert off_the_bone(body, person(), *shank) == pytest.approx([0, -12, 0], abs=0.1)
    assert off_the_bone(body, person(), "spine", "pelvis") == pytest.approx([0, 50, 0], abs=0.1)
    raised = person(right_knee=(95, 387, 0), right_ankle=(95, 387, -424))
    assert off_the_bone(body, raised, *thigh) == pytest.approx([0, 0, 16], abs=0.1)
    turned = person()[HUMAN.flip]
    assert off_the_bone(body, turned, *thigh) == pytest.approx([0, -16, 0], abs=0.1)


def test_whatever_names_the_right_side_is_mirrored(body):
    pairs = set(zip(body.start, body.end, strict=True))
    flip = HUMAN.flip
    assert {(flip[a], flip[b]) for a, b in pairs} == pairs
    mirror = person() * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(
        body(mirror[HUMAN.flip][None], cameras(1, 1)), body(person()[None], cameras(1, 1)),
        atol=1e-5, rtol=1e-4,
    )  # fmt: skip


def test_limbs_are_what_moves_with_their_lower_joints(body):
    arms = body.capsules(person()[None]).only(body.of_limbs(body.arms)).ends
    assert len(body.of_limbs(body.arms)) == 4
    assert len(body.of_limbs(body.legs)) == 4 + 2  # with the feet
    raised = person(right_wrist=(170, 0, 900), left_elbow=(-500, 0, 490))
    rest = [i for i in range(len(body.radius)) if i not in body.of_limbs(body.arms)]
    still = [body.capsules(pose[None]).only(rest).ends for pose in (person(), raised)]
    assert torch.equal(*still)
    assert not torch.equal(arms, body.capsules(raised[None]).only(body.of_limbs(body.arms)).ends)


def test_the_gradient_moves_a_pose_towards_the_masks(body):
    truth, camera = walking()[None], cameras(1)
    mask = body(truth, camera)
    joints = (truth + 30).requires_grad_()
    loss = (body(joints, camera) - mask).square().mean()
    (gradient,) = torch.autograd.grad(loss, joints)
    # Every joint is 30 mm off in x, y and z: the step down leads back.
    assert (gradient.sum((0, 1)) > 0).all()
    closer = (body(joints - 100 * gradient / gradient.norm(), camera) - mask).square().mean()
    assert closer < loss


def test_a_pose_far_from_the_masks_has_finite_gradients(body):
    joints = (person() * 5 + 3000)[None].requires_grad_()
    body(joints, cameras(1)).sum().backward()
    assert joints.grad.isfinite().all()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"trunk": ["pelvis", "wing"]}, "wing"),
        ({"capsules": [["pelvis", "tail", 50, 0, 0, 0]]}, "tail"),
        ({"capsules": [["pelvis", "spine", 0, 0, 0, 0]]}, "above 0 mm"),
        ({"capsules": [["pelvis", "spine", 50, 0]]}, r"got \['pelvis', 'spine', 50, 0\]"),
    ],
)
def test_wrong_settings_are_refused(changed, says):
    with pytest.raises(ValueError, match=says):
        Body(HUMAN, **{k: v for k, v in settings(**changed).items() if k != "_target_"})
