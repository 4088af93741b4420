"""What masks say of poses, against what it must be."""

import pytest
import torch
from figures import HUMAN, INDEX, person, walking
from fitters import fitter, masks

from mask_sup.fitting.fitter import Fitted
from mask_sup.fitting.verdict import evidence, expected, judge, ways_from_root

OURS = fitter()
ARM = [INDEX[f"right_{joint}"] for joint in ("elbow", "wrist")]
KNEE = INDEX["right_knee"]


def found(joints, front=0.05, spread=10.0):
    """Poses as if a fit had found them, surely named and with no other as good."""
    n = len(joints)
    return Fitted(
        joints, torch.zeros(n), torch.zeros(n), torch.full((n,), front),
        torch.full((n, 18), spread), OURS.usual(),
    )  # fmt: skip


def scenes_of(truth):
    camera, mask = masks(truth)
    return OURS.scenes(camera, mask, OURS.usual())


def test_what_is_left_unexplained_adds_up_over_views_and_over_limbs():
    truth = walking()[None].repeat(2, 1, 1)
    scenes = scenes_of(truth)
    moved = truth.clone()
    moved[1, ARM] += torch.tensor([-200.0, 300.0, 0.0])
    told = evidence(moved, scenes, OURS.objective)
    residual = OURS.objective.residual(moved, scenes)
    areas = scenes.mask.mean((-1, -2))
    torch.testing.assert_close((told.view * areas).mean(1), residual)
    torch.testing.assert_close(told.limb_off.sum((1, 2)) / scenes.mask[0].numel(), residual)
    limb = told.limb_off.sum(1) / told.limb_drawn.sum(1)
    assert OURS.body.limb_names[int(limb[1].argmax())] == "right arm"
    assert limb[1, 3] > 5 * limb[0, 3]


@pytest.mark.parametrize("joint", ["right_knee", "left_elbow", "left_ankle"])
def test_joints_are_held_as_the_drawn_pixels_move_with_them(joint):
    pose = walking()
    scenes = scenes_of(pose[None])
    at = INDEX[joint]

    def drawn(place):
        moved = torch.cat([pose[:at], place[None], pose[at + 1 :]])[None]
        body = OURS.objective.capsules(moved, scenes.radius)
        return OURS.body.draw(body, scenes.camera, scenes.mask.shape[-1]).flatten()

    place, slopes = pose[at].clone(), []
    for axis in torch.eye(3):  # central differences of 5 mm, whatever the gradient says
        slopes.append((drawn(place + 5 * axis) - drawn(place - 5 * axis)) / 10)
    slopes = torch.stack(slopes)
    expected = slopes @ slopes.T
    held = evidence(pose[None], scenes, OURS.objective).held[0, at]
    assert torch.linalg.norm(held - expected) < 0.3 * torch.linalg.norm(expected)


def test_an_arm_before_the_trunk_is_held_less_than_one_stretched_aside():
    aside = person(right_elbow=(430, 0, 410), right_wrist=(680, 40, 350))
    inside = person(right_elbow=(60, 60, 260), right_wrist=(0, 70, 100))
    poses = torch.stack([aside, inside])
    camera, mask = masks(poses)
    expected = judge(OURS, found(poses), camera, mask).expected_mm[:, ARM]
    assert (expected[1] > 1.3 * expected[0]).all()


def test_true_poses_are_expected_near_and_wrong_ones_far():
    truth = walking()[None].repeat(3, 1, 1)
    camera, mask = masks(truth)
    wrong = truth.clone()
    wrong[1] = person()
    wrong[2, ARM] = person()[ARM]  # it hangs instead
    verdict = judge(OURS, found(wrong), camera, mask)
    far = (wrong - truth).norm(dim=-1).mean(-1)
    expected = verdict.expected_mm.mean(-1)
    assert expected[0] < 40
    assert expected[1] > 1.5 * expected[0]
    assert (verdict.expected_mm[2, ARM] > 1.2 * verdict.expected_mm[0, ARM]).all()
    assert OURS.body.limb_names[int(verdict.unexplained_limb[2].argmax())] == "right arm"
    assert expected.argsort().tolist() == far.argsort().tolist()


def test_one_bad_view_of_four_is_named_and_spoils_little():
    truth = walking()[None].repeat(2, 1, 1)
    camera, mask = masks(truth)
    mask[1, 2] = mask[1, 2].roll(12, -1)
    verdict = judge(OURS, found(truth), camera, mask)
    assert int(verdict.unexplained_view[1].argmax()) == 2
    assert verdict.unexplained_view[1, 2] > 0.3
    torch.testing.assert_close(verdict.expected_mm[1], verdict.expected_mm[0], rtol=0.3, atol=15)


def test_a_view_without_foreground_has_no_share():
    truth = walking()[None]
    camera, mask = masks(truth)
    mask[0, 1] = 0
    view = judge(OURS, found(truth), camera, mask).unexplained_view[0]
    assert view.isnan().tolist() == [False, True, False, False]


def test_names_that_masks_leave_open_are_doubted_where_sides_lie_apart():
    truth = walking()[None]
    camera, mask = masks(truth)
    sure, open_ = (
        judge(OURS, found(truth, front), camera, mask).expected_mm[0] for front in (0.05, 0.0)
    )
    assert open_[KNEE] > 1.5 * sure[KNEE]
    middle = INDEX["spine"]
    torch.testing.assert_close(open_[middle], sure[middle])


def test_a_joint_that_jumps_for_a_moment_is_doubted_there():
    truth = walking()[None].repeat(5, 1, 1)
    truth += torch.arange(5)[:, None, None] * torch.tensor([80.0, 0.0, 0.0])  # she walks on
    camera, mask = masks(truth)
    jumped, row = truth.clone(), torch.zeros(5, dtype=torch.long)
    wrist = INDEX["left_wrist"]
    jumped[2, wrist] += torch.tensor([0.0, 120.0, 0.0])
    verdict = judge(OURS, found(jumped), camera, mask, row)
    jumps = verdict.signs["jumps"].sqrt() * OURS.stature(OURS.usual())
    torch.testing.assert_close(jumps[:, wrist], torch.tensor([0.0, 60, 120, 60, 0]))
    jumps[:, wrist] = 0
    torch.testing.assert_close(jumps, torch.zeros(5, 18), atol=1e-3, rtol=0)
    alone = judge(OURS, found(jumped), camera, mask)
    assert alone.signs["jumps"].abs().max() == 0  # nobody says that these follow each other
    assert (verdict.expected_mm[1:4, wrist] > alone.expected_mm[1:4, wrist]).all()


def test_errors_add_up_along_the_bones_from_the_root():
    way = ways_from_root(OURS)
    lengths = dict(zip((child for _, child in HUMAN.tree), OURS.anatomy.length, strict=True))
    leg = ["right_hip", "right_knee", "right_ankle"]
    walked = sum(lengths[INDEX[joint]] for joint in leg) / OURS.stature(OURS.usual())
    assert way[INDEX["right_ankle"]] == pytest.approx(float(walked))
    assert way[HUMAN.root] == 0
    signs = {"view": torch.full((1, 18), 1e-6)}
    weights = {"floor": 0.0, "view": 1.0, "near": 0.5, "most": 1e6}
    told = expected(signs, way, weights)[0]
    torch.testing.assert_close(told / told[HUMAN.root], (0.5 + way) / 0.5)
    assert told.mean() == pytest.approx(1e-3)


def test_limbs_in_each_other_and_squeezed_bones_are_a_strain():
    truth = walking()[None].repeat(2, 1, 1)
    squeezed = truth.clone()
    for side in ("right", "left"):
        hip, knee, ankle = (INDEX[f"{side}_{joint}"] for joint in ("hip", "knee", "ankle"))
        for joint in (knee, ankle):
            squeezed[1, joint] = torch.lerp(squeezed[1, hip], squeezed[1, joint], 0.4)
    camera, mask = masks(squeezed)
    strain = judge(OURS, found(squeezed), camera, mask).strain
    assert strain[1] > 0.001 > strain[0]


def test_exchanged_names_have_exchanged_limbs():
    truth = walking()[None]
    camera, mask = masks(truth)
    mask = mask.roll(2, -1)
    one = judge(OURS, found(truth), camera, mask).unexplained_limb
    other = judge(OURS, found(truth[:, HUMAN.flip]), camera, mask).unexplained_limb
    assert OURS.body.limb_names[OURS.body.limbs_exchanged[1]] == "left leg"
    # feet turn with the names: the arms alone lie where they lay
    torch.testing.assert_close(
        other[0, OURS.body.limbs_exchanged][3:], one[0, 3:], rtol=0.2, atol=0.01
    )
