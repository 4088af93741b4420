import math

import pytest
import torch
from figures import HUMAN, INDEX, person, walking
from fitters import arms_crossed, fitter, kneeling, legs_crossed, masks, sitting, turned
from omegaconf import OmegaConf

from mask_sup.figure.anatomy import NoAnatomy
from mask_sup.files.build import build
from mask_sup.fitting.naming import other_limbs
from mask_sup.fitting.scenes import Fit
from mask_sup.geometry.batch import Camera

ARMS = [INDEX[f"{side}_{joint}"] for side in ("right", "left") for joint in ("elbow", "wrist")]
LEGS = [INDEX[f"{side}_{joint}"] for side in ("right", "left") for joint in ("knee", "ankle")]


@pytest.fixture(scope="module")
def scene():
    """A walking person and how the cameras see him."""
    truth = walking()[None]
    return truth, *masks(truth)


def either_way(found, truth):
    """Mean error as named or with left and right exchanged: a body alone has no sure front."""
    return torch.stack([(p - truth).norm(dim=-1).mean() for p in (found, found[HUMAN.flip])]).min()


def errors(found, truth):
    return (found - truth).norm(dim=-1).mean(0)


def test_a_pose_near_the_truth_comes_closer(scene):
    truth, camera, mask = scene
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    ours = fitter(recipes={"name": ["name"]})
    fit = ours.fit("name", truth + 60 * noise, camera, mask)
    assert errors(fit.joints_world, truth).mean() < 0.75 * 60 * noise.norm(dim=-1).mean()


def test_limbs_are_found_where_the_masks_show_them(scene):
    truth, camera, mask = scene
    start = truth.clone()
    start[:, ARMS + LEGS] = person()[ARMS + LEGS]
    fit = fitter().fit("refine", start, camera, mask)
    assert errors(start, truth)[ARMS].mean() > 350
    assert errors(fit.joints_world, truth)[ARMS].mean() < 60
    assert errors(fit.joints_world, truth)[LEGS].mean() < 60


@pytest.mark.parametrize("recipe", ["refine", pytest.param("explore", marks=pytest.mark.slow)])
def test_what_lies_beyond_a_picture_is_not_held_against_a_pose(scene, recipe):
    """One picture ends across the trunk: where it is known to, the pose is as without that."""
    truth, camera, mask = scene
    start = truth + 40 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    dark, unknown = mask.clone(), mask.clone()
    columns = mask[0, 0].amax(0).nonzero().flatten()
    end = int(columns[0] + columns[-1]) // 2
    dark[0, 0, :, end:], unknown[0, 0, :, end:] = 0, torch.nan
    off = {
        name: errors(fitter().fit(recipe, start, camera, seen).joints_world, truth).mean()
        for name, seen in (("all", mask), ("dark", dark), ("unknown", unknown))
    }
    assert off["unknown"] < off["all"] + 8
    assert off["dark"] > 1.5 * off["unknown"]


def test_what_is_known_explains_a_pose_that_is_right(scene):
    truth, camera, mask = scene
    unknown = mask.clone()
    unknown[0, 0, :, unknown.shape[-1] // 2 :] = torch.nan
    judged = fitter(recipes={"judge": ["build"]}).fit("judge", truth, camera, unknown)
    whole = fitter(recipes={"judge": ["build"]}).fit("judge", truth, camera, mask)
    assert judged.unexplained < 1.1 * whole.unexplained + 1e-4


@pytest.mark.slow
def test_whole_poses_are_found_from_one_that_is_wrong_throughout():
    """Walking, sitting, bowing, on hands, back, belly and side; what is not found explains less."""
    found = [walking(), sitting(), turned(sitting(), -60, 0), turned(person(), 180, 1)]
    truth = torch.stack(
        [*found, *(turned(walking(), *turn) for turn in ((90, 0), (-90, 0), (90, 1)))]
    )
    camera, mask = masks(truth)
    start = turned(person(), 60, 1).expand(7, -1, -1) + torch.tensor([250.0, 0.0, 200.0])
    fit = fitter().fit("fit", start, camera, mask, subject=torch.arange(7))
    off = torch.stack([either_way(*both) for both in zip(fit.joints_world, truth, strict=True)])
    right = off < 60
    assert right.sum() >= 6
    assert right[:4].all()
    assert (fit.unexplained[~right] > 1.5 * fit.unexplained[right].max()).all()


@pytest.mark.slow
def test_a_crossed_stride_is_uncrossed():
    """Feet have changed places, the hips turned after them, the knees meet: no small step back."""
    truth = walking()[None]
    camera, mask = masks(truth)
    right, left = ([INDEX[f"{s}_{j}"] for j in ("hip", "knee", "ankle")] for s in ("right", "left"))
    start = truth.clone()
    start[:, right[2]], start[:, left[2]] = truth[:, left[2]], truth[:, right[2]]
    start[:, [right[1], left[1]]] = truth[:, [right[1], left[1]]].mean(1, keepdim=True)
    start[:, [right[0], left[0]]] = turned(truth[0], -40, 2)[[right[0], left[0]]]
    fit = fitter().fit("fit", start, camera, mask)
    assert errors(fit.joints_world, truth)[LEGS].mean() < 40


@pytest.mark.slow
def test_the_head_of_a_leaning_person_is_not_the_raised_arm():
    truth = person(right_elbow=(170, 0, 762), right_wrist=(170, 0, 1023))
    low = [INDEX[f"{s}_{j}"] for s in ("right", "left") for j in ("hip", "knee", "ankle")]
    truth = torch.where(
        torch.zeros(18, 1).index_fill(0, torch.tensor(low), 1).bool(),
        truth,
        turned(truth, -50, 1),
    )[None]
    camera, mask = masks(truth)
    start = truth.clone()
    for joint, share in (("neck", 0.2), ("nose", 0.6), ("head", 0.8)):  # the head along the arm
        ends = (truth[:, INDEX[end]] for end in ("thorax", "right_wrist"))
        start[:, INDEX[joint]] = torch.lerp(*ends, share)
    start[:, ARMS] = (person() - person()[0] + truth[:, :1])[:, ARMS]
    fit = fitter().fit("fit", start, camera, mask)
    assert errors(start, truth)[INDEX["head"]] > 130
    assert errors(fit.joints_world, truth)[INDEX["head"]] < 60


def test_masks_are_explained_better_by_the_right_names():
    for pose in (walking(), person()):
        poses = torch.stack([pose, pose[HUMAN.flip]])
        camera, mask = masks(pose[None].expand(2, -1, -1))
        fit = fitter(recipes={"name": ["name"]}).fit("name", poses, camera, mask)
        assert (fit.front > 1e-4).all()
        assert errors(fit.joints_world, pose).max() < 60


@pytest.mark.parametrize(
    ("limbs", "crossed", "joints"), [("arms", arms_crossed, ARMS), ("legs", legs_crossed, LEGS)]
)
def test_limbs_that_were_taken_for_each_other_are_found(limbs, crossed, joints):
    """Settled alone, each limb stays with the other's hand or foot."""
    truth = crossed()[None]
    camera, mask = masks(truth)
    ours = fitter(recipes={"settle": ["settle"], "uncross": ["settle", "uncross"]})
    wrong = other_limbs(truth, getattr(ours.body, limbs))
    off = {
        name: errors(ours.fit(name, wrong, camera, mask).joints_world, truth)[joints].mean()
        for name in ("settle", "uncross")
    }
    assert off["uncross"] < 90
    assert off["settle"] > 2 * off["uncross"]


def test_arms_that_are_searched_alone_compete_as_smooth_as_the_others(scene, monkeypatch):
    """Where smoothness costs, poses that escape it would win: all are settled along the row."""
    truth, camera, mask = scene
    camera, mask = camera.part([0, 0, 0]), mask.repeat(3, 1, 1, 1)
    ours = fitter(recipes={"uncross": ["uncross"]}, crossed={"worse": 10.0, "better": 0.0})
    hanging = truth.clone()
    hanging[:, ARMS] = person()[ARMS]
    free = Fit(hanging.repeat(3, 1, 1), torch.zeros(3), -torch.ones(3))
    monkeypatch.setattr(ours, "_searched", lambda *_: free)
    row = torch.zeros(3, dtype=torch.long)
    fit = ours.fit("uncross", truth.repeat(3, 1, 1), camera, mask, sequence=row)
    assert (fit.joints_world - truth).norm(dim=-1)[:, ARMS].max() < 30


def test_limbs_are_unsure_where_exchanged_ones_explain_as_well(scene, monkeypatch):
    ours = fitter(recipes={"uncross": ["uncross"]})
    sure = ours.fit("uncross", *scene).spread[0]
    assert sure.max() < 30  # exchanged, they would explain far less

    def as_well(joints, scenes, generator, steps, step_mm):
        return Fit(joints, torch.zeros(1), torch.zeros(1))

    monkeypatch.setattr(ours, "_settle", as_well)
    monkeypatch.setattr(ours.objective, "fit_of", lambda joints, scenes: as_well(joints, *[0] * 4))
    monkeypatch.setattr(ours, "_searched", lambda start, *_: as_well(start, *[0] * 4))
    unsure = ours.fit("uncross", *scene)
    apart = sum(
        (scene[0] - other_limbs(scene[0], limbs)).norm(dim=-1)
        for limbs in (ours.body.arms, ours.body.legs)
    )
    torch.testing.assert_close(unsure.spread, math.sqrt(2 / 3) * apart)  # two ways of three


def test_a_person_who_kneels_is_named_rightly_whatever_the_feet_do():
    truth = kneeling()[None]
    ours = fitter(recipes={"name": ["name"]})
    for size in (1.0, 0.05):  # of the feet that are seen; the fitter knows of none so small
        camera, _ = masks(truth.expand(2, -1, -1))
        seen = fitter().body
        seen.feet = {name: size * mm for name, mm in seen.feet.items()}
        seen.radius[-2:] *= size
        mask = seen(truth.expand(2, -1, -1), camera, 64)
        poses = torch.cat([truth, truth[:, HUMAN.flip]])
        fit = ours.fit("name", poses, camera, mask)
        assert (fit.front > 0.01).all()
        assert errors(fit.joints_world, truth).max() < 60


def test_names_stay_along_a_sequence():
    """One moment whose sides were exchanged is named like its neighbours."""
    truth = walking() + torch.arange(5)[:, None, None] * torch.tensor([20.0, 0.0, 0.0])
    camera, mask = masks(truth)
    start = truth.clone()
    start[2] = truth[2, HUMAN.flip]
    ours = fitter(recipes={"name": ["name"]})
    fit = ours.fit("name", start, camera, mask, sequence=torch.zeros(5, dtype=torch.long))
    assert (fit.joints_world - truth).norm(dim=-1).mean(-1).max() < 40


@pytest.mark.slow
def test_neighbours_in_time_lend_their_poses():
    truth = walking() + torch.arange(3)[:, None, None] * torch.tensor([20.0, 0.0, 0.0])
    camera, mask = masks(truth)
    start = truth.clone()
    start[1, ARMS] = person()[ARMS] + truth[1, 0] - person()[0]
    few = {"branches": 2, "beams": 2, "finalists": 2, "spread": 0.1}
    unlucky = fitter(search=few)
    alone, together = (
        errors(unlucky.fit("refine", start, camera, mask, sequence=sequence).joints_world, truth)
        for sequence in (None, torch.zeros(3, dtype=torch.long))
    )
    assert alone[ARMS].mean() > 60
    assert together[ARMS].mean() < 0.5 * alone[ARMS].mean()


def test_a_view_that_sees_nobody_is_left_out(scene):
    truth, camera, mask = scene
    without = [0, 1, 3]
    three = Camera(*(value[:, without] for value in camera))
    blind = mask.clone()
    blind[:, 2] = 0
    wrong = Camera(camera.K, camera.R, camera.t.clone())
    wrong.t[:, 2] += 5000  # its crop was cut around nothing
    start = truth + 50 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    ours = fitter(recipes={"name": ["name"]})
    with_it = errors(ours.fit("name", start, wrong, blind).joints_world, truth)
    never = errors(ours.fit("name", start, three, mask[:, without]).joints_world, truth)
    assert with_it.mean() < 1.3 * never.mean()
    blind[:, :2] = 0
    with pytest.raises(ValueError, match="1 of 1 scenes show foreground in fewer than two views"):
        ours.fit("name", start, wrong, blind)


@pytest.mark.slow
def test_a_fit_is_the_same_again_and_in_several_processes(monkeypatch):
    monkeypatch.setattr("mask_sup.fitting.fitter.CHUNK", 2)
    truth = walking()[None].repeat(3, 1, 1)
    camera, mask = masks(truth)
    start = truth + 80 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    found, threads = [], torch.get_num_threads()
    try:
        for count in (1, 1, 2):
            torch.set_num_threads(count)
            found.append(fitter().fit("refine", start, camera, mask).joints_world)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    torch.testing.assert_close(found[0], found[2], rtol=0, atol=0.1)


def test_what_a_fitter_cannot_do_is_told(scene):
    truth, camera, mask = scene
    with pytest.raises(ValueError, match="no recipe 'guess': fitter.recipes has"):
        fitter().fit("guess", truth, camera, mask)
    with pytest.raises(ValueError, match=r"fitter.recipes.fit=\['pray'\]: expected one or more"):
        fitter(recipes={"fit": ["pray"]})
    node = OmegaConf.to_container(OmegaConf.load("conf/fitter/masks.yaml"), resolve=False)
    with pytest.raises(ValueError, match="needs bone lengths"):
        build(node | {"seed": 0}, "fitter", body=fitter().body, anatomy=NoAnatomy(HUMAN))
