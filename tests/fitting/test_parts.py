"""The parts of the fitter, each against what it must give."""

import math

import pytest
import torch
from figures import HUMAN, INDEX, cameras, person, walking
from fitters import fitter, kneeling, masks, sitting, turned
from scipy.optimize import minimize

from mask_sup.fitting.naming import as_knees_bend, both_names, same_side
from mask_sup.fitting.scenes import Fit, Scenes, better
from mask_sup.fitting.search import apart, look_up
from mask_sup.fitting.sequences import bend, choose, distance
from mask_sup.fitting.subject import fitted_radii, sizes
from mask_sup.geometry.camera import crop_from_world
from mask_sup.geometry.distance import segment_distance

ARMS = [INDEX[f"{side}_{joint}"] for side in ("right", "left")
        for joint in ("shoulder", "elbow", "wrist")]  # fmt: skip


def scenes_of(truth, sequence=None):
    ours, (camera, mask) = fitter(), masks(truth, size=32)
    usual = ours.usual()
    n = len(truth)
    return Scenes(
        camera, mask, torch.ones(n, 1, 1, 1),
        usual.lengths.expand(n, -1), usual.radius.expand(n, -1),
        torch.arange(n) if sequence is None else sequence,
    )  # fmt: skip


# -- scenes, sequences ------------------------------------------------------------------------


def test_the_better_fit_is_the_one_of_less_cost_whatever_its_residual():
    one = Fit(torch.zeros(2, 18, 3), torch.tensor([0.1, 0.1]), torch.tensor([0.2, 0.5]))
    other = Fit(torch.ones(2, 18, 3), torch.tensor([0.3, 0.3]), torch.tensor([0.3, 0.4]))
    found = better(one, other)
    assert found.joints_world[:, 0, 0].tolist() == [0, 1]
    assert found.residual.tolist() == pytest.approx([0.1, 0.3])


def line(cost, place, sequence=None):
    """Alternatives (n k) whose joints all lie at one place on a line, mm."""
    cost, place = torch.tensor(cost), torch.tensor(place)
    joints = place[..., None, None].expand(*place.shape, 18, 3) / math.sqrt(3)
    n = len(cost)
    scenes = scenes_of(walking()[None].expand(n, -1, -1))
    scenes = scenes._replace(mask=torch.ones(n, 1, 2, 2), sequence=sequence or torch.zeros(n))
    return Fit(joints, cost, cost), scenes


def test_the_story_is_the_cheapest_of_all():
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        cost = torch.rand(4, 3, generator=generator)
        place = 200 * torch.rand(4, 3, generator=generator)
        fits, scenes = line(cost.tolist(), place.tolist())
        found = choose(fits, scenes, weight=3.0)
        every = torch.cartesian_prod(*[torch.arange(3)] * 4)
        told = cost[torch.arange(4), every].sum(1)
        told += 3.0 * place[torch.arange(4), every].diff(dim=1).abs().sum(1) / 1000
        assert found.tolist() == every[told.argmin()].tolist()


def test_scenes_that_follow_nothing_choose_alone():
    fits, scenes = line([[0.1, 0.2], [0.3, 0.2]], [[0.0, 250.0], [0.0, 250.0]])
    alone = scenes._replace(sequence=torch.tensor([0, 1]))
    assert choose(fits, scenes, weight=10.0).tolist() == [0, 0]
    assert choose(fits, alone, weight=10.0).tolist() == [0, 1]


def test_names_may_change_on_the_way_until_they_are_settled():
    pose = walking()
    joints = torch.stack([torch.stack([pose, pose]), torch.stack([pose[HUMAN.flip], pose + 90])])
    cost = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    scenes = scenes_of(pose[None].expand(2, -1, -1), torch.zeros(2))
    fits = Fit(joints, cost, cost)
    assert choose(fits, scenes, 1.0, HUMAN.flip)[1] == 0
    assert choose(fits, scenes, 1.0)[1] == 1


def test_no_joint_is_farther_than_the_farthest():
    jumped = walking()
    jumped[INDEX["head"]] += 5000
    assert float(distance(walking(), jumped)) == pytest.approx(300 / 18)


def test_smooth_movements_bend_nowhere():
    truth = walking() + torch.arange(5)[:, None, None] * torch.tensor([20.0, 0.0, 0.0])
    scenes = scenes_of(truth, torch.zeros(5))
    assert bend(truth, scenes, HUMAN.flip).abs().max() < 1e-5
    renamed = truth.clone()
    renamed[2] = truth[2, HUMAN.flip]
    assert bend(renamed, scenes, HUMAN.flip)[1] < 1e-5
    shaken = truth.clone()
    shaken[2, 0, 2] += 300
    off = bend(shaken, scenes, HUMAN.flip)
    assert off[2] == pytest.approx((math.hypot(300, 50) - 50) / 18 / 1000, rel=1e-4)
    assert off[0] == off[4] == 0


# -- search -----------------------------------------------------------------------------------


def test_what_is_looked_up_is_what_the_views_show():
    camera = cameras(1)
    points = walking()[None, None]
    size = 64
    x = ((torch.arange(size) * 2 + 1) / size - 1).expand(size, size)
    maps = torch.stack([x, x.T, x, x.T])[None]
    found = look_up(maps, points, camera)
    xy = crop_from_world(points, camera)
    for view in range(4):
        expected = xy[0, view, :, view % 2]
        torch.testing.assert_close(found[0, view, 0], expected, atol=1e-5, rtol=0)


def test_candidates_lie_apart_and_the_best_comes_first():
    place = torch.tensor([0.0, 10.0, 200.0, 215.0, 500.0])
    joints = place[None, :, None, None].expand(1, 5, 1, 3)
    score = torch.tensor([[0.2, 0.1, 0.5, 0.4, 0.9]])
    assert apart(score, joints, 3, 100.0).tolist() == [[1, 3, 4]]


def test_a_search_never_covers_worse():
    truth = torch.stack([walking(), person(), sitting()])
    scenes, ours = scenes_of(truth), fitter()
    for limbs in ("legs", "arms"):
        generator = torch.Generator().manual_seed(0)
        found = ours.search(truth, scenes, limbs, 1, generator)[:, 0]
        assert (ours.objective.residual(found, scenes) < 1e-6).all()


def test_a_trunk_line_is_found_in_the_hull_however_a_person_lies():
    truth = torch.stack([person(), turned(walking(), 90, 0), turned(person(), 180, 1)])
    scenes, ours = scenes_of(truth), fitter()
    wrong = person().expand(3, -1, -1) + torch.tensor([500.0, 300.0, 0.0])
    lines = ours.hypotheses.lines(wrong, scenes, torch.Generator().manual_seed(0))
    up = ours.body.up(truth)[:, None]
    off = (lines.low - truth[:, :1]).norm(dim=-1)
    angle = torch.rad2deg((lines.up * up).sum(-1).clamp(-1, 1).acos())
    assert ((off < 150) & (angle < 30)).any(1).all()


# -- objective --------------------------------------------------------------------------------


def test_the_distance_of_segments_is_the_least_of_all_their_points():
    generator = torch.Generator().manual_seed(0)
    ends = 100 * torch.randn(30, 4, 3, generator=generator).double()
    ends[0, 2:] = ends[0, :2] + 50  # parallel
    ends[1, 1] = ends[1, 0]  # a point
    found = segment_distance(*ends.unbind(1))
    for (a, b, c, d), mm in zip(ends.numpy(), found.tolist(), strict=True):

        def off(share, a=a, b=b, c=c, d=d):
            return (((a + share[0] * (b - a)) - (c + share[1] * (d - c))) ** 2).sum()

        starts = [(0.1, 0.1), (0.9, 0.9), (0.1, 0.9), (0.9, 0.1)]
        least = min(minimize(off, start, bounds=[(0, 1), (0, 1)]).fun for start in starts)
        assert mm == pytest.approx(math.sqrt(least), rel=1e-3, abs=1e-2)
    ends = ends[:1].requires_grad_(True)
    assert torch.autograd.gradcheck(lambda e: segment_distance(*e.unbind(1)), (ends[:, :, :],))


def test_limbs_do_not_pass_through_each_other():
    ours, usual = fitter().objective, fitter().usual().radius
    free = torch.stack([person(), walking(), sitting()])
    assert (ours.through(free, usual.expand(3, -1)) == 0).all()
    crossed, hidden = sitting(), person()
    right, left = ([INDEX[f"{s}_{j}"] for j in ("knee", "ankle")] for s in ("right", "left"))
    crossed[right], crossed[left] = sitting()[left], sitting()[right]
    hidden[INDEX["right_wrist"]] = torch.tensor([20.0, 0.0, 220.0])  # in the trunk
    assert (ours.through(torch.stack([crossed, hidden]), usual.expand(2, -1)) > 1e-4).all()


def test_knees_bend_backward_as_the_hips_are_named():
    ours = fitter().objective
    poses = torch.stack([person(), walking(), sitting(), kneeling()])
    lying = torch.stack([turned(pose, 90, axis) for pose in poses for axis in (0, 1)])
    assert (ours.knees(torch.cat([poses, lying])) == 0).all()
    renamed = ours.knees(poses[:, HUMAN.flip])
    assert renamed[0] == 0  # straight ones tell nothing
    assert (renamed[1:] > 1e-3).all()


# -- naming -----------------------------------------------------------------------------------


def test_a_twisted_trunk_is_turned_back():
    body, twisted = fitter().body, person().clone()
    twisted[ARMS] = person()[HUMAN.flip][ARMS]
    found = same_side(torch.stack([twisted, person()]), body)
    torch.testing.assert_close(found, torch.stack([person(), person()]))


def test_either_naming_has_its_face_in_front():
    poses = both_names(person()[None], fitter().body)[0]
    assert torch.equal(poses[1, INDEX["right_wrist"]], person()[INDEX["left_wrist"]])
    assert poses[:, INDEX["nose"], 1].tolist() == pytest.approx([130, -130])


def test_poses_are_named_as_their_knees_bend_and_straight_legs_tell_nothing():
    body = fitter().body
    poses = torch.stack([kneeling(), sitting(), turned(kneeling(), 70, 1), person()])
    mirror = poses * torch.tensor([-1.0, 1.0, 1.0])  # the other leg bent, the same front
    poses = torch.cat([poses, mirror[:, HUMAN.flip]])
    limbs = sorted(set(range(18)) - {INDEX["nose"]})  # its place follows the names
    for given in (poses, poses[:, HUMAN.flip]):
        found = as_knees_bend(given, body)[:, limbs]
        bent, straight = [0, 1, 2, 4, 5, 6], [3, 7]
        torch.testing.assert_close(found[bent], poses[bent][:, limbs])
        torch.testing.assert_close(found[straight], given[straight][:, limbs])


# -- subjects ---------------------------------------------------------------------------------


def test_each_subject_grows_as_thick_as_its_masks():
    truth = torch.stack([walking(), walking()])
    ours, scenes = fitter(), scenes_of(truth)
    stout = scenes.radius.clone()
    start, end = (INDEX[f"right_{joint}"] for joint in ("hip", "knee"))
    thigh = list(zip(ours.body.start, ours.body.end, strict=True)).index((start, end))
    part = next(p for p in ours.body.parts if thigh in p)
    stout[0, part] *= 1.3
    capsules = ours.objective.capsules(truth, stout)
    scenes = scenes._replace(mask=ours.body.draw(capsules, scenes.camera, 32))
    radius, who = ours.usual(2).radius, torch.tensor([0, 1])
    for _ in range(3):
        radius = fitted_radii(truth, scenes, who, radius, ours.objective)
    share = radius / ours.body.radius
    assert 1.2 < share[0, thigh] < 1.4
    assert torch.allclose(share[1], torch.ones(23), atol=0.03)
    assert all(len(set(radius[0, p].tolist())) == 1 for p in ours.body.parts)


def test_masks_with_a_halo_of_a_third_are_learned_in_one_go():
    ours, scenes = fitter(), scenes_of(walking()[None])
    usual = ours.usual().radius
    thick = ours.objective.capsules(walking()[None], 1.33 * usual)
    scenes = scenes._replace(mask=ours.body.draw(thick, scenes.camera, 32))
    who = torch.zeros(1, dtype=torch.long)
    found = fitted_radii(walking()[None], scenes, who, usual, ours.objective)
    assert 1.22 < (found / usual).mean() < 1.45


@pytest.mark.slow
def test_a_subject_stays_within_what_bodies_are():
    ours, scenes = fitter(), scenes_of(person()[None])
    scenes = scenes._replace(mask=torch.ones_like(scenes.mask))
    radius = ours.usual().radius
    for _ in range(8):
        who = torch.zeros(1, dtype=torch.long)
        radius = fitted_radii(person()[None], scenes, who, radius, ours.objective)
    assert 1.5 < (radius / ours.body.radius).max() <= 1.7 + 1e-6


def test_bone_lengths_follow_the_size_of_each_subject():
    poses = torch.stack([person(), person() * 1.1, person() * 1.1, person() * 3])
    who, trusted = torch.tensor([0, 1, 1, 1]), torch.tensor([True, True, True, False])
    usual = fitter().anatomy.length
    found = sizes(poses, who, trusted, usual, HUMAN.tree, usual.repeat(3, 1))
    torch.testing.assert_close(found[0], usual, rtol=0.01, atol=0)
    torch.testing.assert_close(found[1], 1.1 * usual, rtol=0.01, atol=0)
    assert torch.equal(found[2], usual)  # of whom no pose is trusted


def test_the_way_down_is_that_of_adam():
    ours, scenes = fitter().objective, scenes_of(walking()[None])
    start = walking()[None] + 30 * torch.randn(1, 18, 3, generator=torch.Generator().manual_seed(0))
    joints = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([joints], betas=(0.8, 0.98))
    for step in range(7):
        optimizer.param_groups[0]["lr"] = 12.0 * max(0.1, 1 - step / 7)
        loss = ours.weights["mask"] * ours.residual(joints, scenes) + ours.prior(joints, scenes)
        (joints.grad,) = torch.autograd.grad(loss.sum(), [joints])
        optimizer.step()
    found = ours.descend(start, scenes, 7, 12.0)
    torch.testing.assert_close(found.joints_world, joints.detach(), atol=0.02, rtol=0)
    assert not start.requires_grad
