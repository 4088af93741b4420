import math

import pytest
import torch
from figures import HUMAN, INDEX, cameras, person, walking
from omegaconf import OmegaConf

from mask_sup.figure.anatomy import NoAnatomy, bone_lengths
from mask_sup.files.build import build

ARMS = [INDEX[f"{side}_{joint}"] for side in ("right", "left") for joint in ("elbow", "wrist")]

SIDED = [j for j, partner in enumerate(HUMAN.flip) if j != partner]


def settings():
    node = OmegaConf.load("conf/fitter/masks.yaml")
    return OmegaConf.to_container(node, resolve=False) | {"seed": 0}


def fitter(**changed):
    anatomy = build(OmegaConf.load("conf/anatomy/human.yaml"), "anatomy", skeleton=HUMAN)
    body = build(OmegaConf.load("conf/body/human.yaml"), "body", skeleton=HUMAN)
    return build(settings() | changed, "fitter", body=body, anatomy=anatomy)


def test_no_more_directions_are_followed_than_tried():
    fitter(yaws=1, kept=2)
    with pytest.raises(ValueError, match="fitter.kept=3: expected at most twice fitter.yaws=1"):
        fitter(yaws=1, kept=3)


@pytest.fixture(scope="module")
def scene():
    """A walking person and how the cameras see him: 64-pixel masks of the fitter's own body."""
    truth, camera = walking()[None], cameras(1)
    return truth, camera, fitter().body(truth, camera, 64)


def residual_of(ours, joints, camera, mask):
    return ours._residual(joints, ours._scenes(camera, mask, None, None))


def residual(joints, camera, mask):
    return residual_of(fitter(), joints, camera, mask)


def errors(found, truth):
    return (found - truth).norm(dim=-1).mean(0)


def test_a_pose_near_the_truth_comes_closer(scene):
    truth, camera, mask = scene
    generator = torch.Generator().manual_seed(0)
    start = truth + 60 * torch.randn(truth.shape, generator=generator)
    fit = fitter().fit("settle", start, camera, mask)
    before, after = (errors(p, truth).mean() for p in (start, fit.joints_world))
    assert after < 0.75 * before
    assert fit.residual < 0.6 * residual(start, camera, mask)


def test_a_body_grows_as_thick_as_its_masks():
    truth, camera = walking()[None], cameras(1)
    ours, stout = fitter(), fitter().body
    thigh, shank = (
        list(zip(stout.start, stout.end, strict=True)).index(
            (INDEX[f"right_{a}"], INDEX[f"right_{b}"])
        )
        for a, b in (("hip", "knee"), ("knee", "ankle"))
    )
    for part in stout.parts:
        stout.radius[part] *= 1.3 if thigh in part else 0.85 if shank in part else 1.0
    mask = stout(truth, camera, 64)
    before = float(residual_of(ours, truth, camera, mask))
    for _ in range(3):
        radius = ours.fit_radii(truth, camera, mask)
    assert float(residual_of(ours, truth, camera, mask)) < 0.5 * before
    share = radius / ours.usual_radius
    assert 1.2 < share[thigh] < 1.4
    assert 0.75 < share[shank] < 0.95
    assert all(len(set(radius[part].tolist())) == 1 for part in ours.body.parts)


def test_a_body_stays_within_what_bodies_are():
    camera = cameras(1)
    ours, full = fitter(), torch.ones(1, 4, 64, 64)
    for _ in range(8):
        radius = ours.fit_radii(person()[None], camera, full)
    assert (radius / ours.usual_radius).max() <= 1.7
    assert (radius / ours.usual_radius).max() > 1.5


def test_arms_that_hang_are_found_where_the_masks_show_them(scene):
    truth, camera, mask = scene
    start = truth.clone()
    start[:, ARMS] = person()[ARMS]
    fit = fitter(candidates={"legs": 80, "arms": 500}).fit("polish", start, camera, mask)
    assert errors(start, truth)[ARMS].mean() > 350
    assert errors(fit.joints_world, truth)[ARMS].mean() < 90


def test_refining_searches_once_and_polishing_goes_on_from_there(scene):
    truth, camera, mask = scene
    start = truth.clone()
    start[:, ARMS] = person()[ARMS]
    ours = fitter(candidates={"legs": 4, "arms": 60})
    fits = {how: ours.fit(how, start, camera, mask) for how in ("settle", "refine", "polish")}
    residuals = [float(fit.residual.mean()) for fit in fits.values()]
    assert residuals[0] > residuals[1] > residuals[2]


def test_a_whole_pose_is_found_from_a_pelvis_and_a_trunk(scene):
    truth, camera, mask = scene
    start = truth.clone()
    start[:, SIDED] = person()[SIDED]  # legs straight down, arms hanging
    ours = fitter(candidates={"legs": 100, "arms": 250})
    fit = ours.fit("explore", start, camera, mask)
    either = [errors(fit.joints_world[:, order], truth).mean() for order in (range(18), HUMAN.flip)]
    assert min(either) < 90  # masks do not tell left from right
    assert fit.residual < 0.01


def test_a_search_never_explains_the_masks_worse(scene):
    truth, camera, mask = scene
    ours = fitter(candidates={"legs": 3, "arms": 3})
    scenes = ours._scenes(camera, mask, None, None)
    for limbs in ("legs", "arms"):
        found = ours._search(truth, scenes, limbs, torch.Generator().manual_seed(0), 0.0)
        assert residual(found, camera, mask) <= residual(truth, camera, mask) + 1e-7


def in_a_row(count):
    """A walking figure that moves on by 20 mm a moment, its cameras and its masks."""
    truth = walking() + torch.arange(count)[:, None, None] * torch.tensor([20.0, 0.0, 0.0])
    camera = cameras(count)
    return truth, camera, fitter().body(truth, camera, 64)


def test_neighbours_in_time_lend_their_arms():
    truth, camera, mask = in_a_row(3)
    start = truth.clone()
    start[1, ARMS] = person()[ARMS] + truth[1, 0] - person()[0]
    unlucky = fitter(candidates={"legs": 1, "arms": 1})
    alone, together = (
        errors(unlucky.fit("polish", start, camera, mask, sequence=sequence).joints_world, truth)
        for sequence in (None, torch.zeros(3, dtype=torch.long))
    )
    assert alone[ARMS].mean() > 60
    assert together[ARMS].mean() < 0.5 * alone[ARMS].mean()


@pytest.mark.slow
def test_a_good_pose_travels_as_far_as_the_loans():
    truth, camera, mask = in_a_row(7)
    start = truth.clone()
    start[1:, ARMS] = person()[ARMS] + truth[1:, :1] - person()[0]
    moments = torch.zeros(7, dtype=torch.long)
    last = {}
    for loans in (0, 5):
        unlucky = fitter(candidates={"legs": 1, "arms": 1}, loans=[loans])
        found = unlucky.fit("refine", start, camera, mask, sequence=moments).joints_world
        last[loans] = errors(found[-1:], truth[-1:])[ARMS].mean()
    assert last[0] > 150
    assert last[5] < 0.5 * last[0]


def test_a_fitter_needs_a_number_of_loans_for_each_search():
    with pytest.raises(ValueError, match=r"fitter\.loans names a number for each search"):
        fitter(loans=[])


def leaning():
    """A person who leans aside by 50 degrees, the right arm straight up."""
    pose, lean = person(), math.radians(-50)
    c, s = math.cos(lean), math.sin(lean)
    turn = torch.tensor([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    upper = pose[:, 2] > 0  # all above the pelvis but the hands
    pose[upper] = pose[upper] @ turn.T
    for arm in ("right", "left"):
        shoulder = pose[INDEX[f"{arm}_shoulder"]]
        up = 1.0 if arm == "right" else -1.0
        pose[INDEX[f"{arm}_elbow"]] = shoulder + torch.tensor([0.0, 0.0, 272 * up])
        pose[INDEX[f"{arm}_wrist"]] = shoulder + torch.tensor([0.0, 0.0, 533 * up])
    return pose[None]


def test_a_raised_arm_and_the_head_of_a_leaning_person_find_their_places():
    truth = leaning()
    camera = cameras(1)
    mask = fitter().body(truth, camera, 64)
    start = truth.clone()
    for joint, share in (("neck", 0.2), ("nose", 0.6), ("head", 0.8)):  # the head along the arm
        ends = (truth[:, INDEX[end]] for end in ("thorax", "right_wrist"))
        start[:, INDEX[joint]] = torch.lerp(*ends, share)
    start[:, ARMS] = (person() - person()[0] + truth[:, :1])[:, ARMS]
    off = {}
    for share in (0.0, 1.0):
        ours = fitter(second_chance=share, candidates={"legs": 4, "arms": 200})
        off[share] = errors(ours.fit("polish", start, camera, mask).joints_world, truth)
    assert off[0.0][INDEX["head"]] > 150
    assert off[1.0][INDEX["head"]] < 60


def test_legs_that_have_changed_places_mid_stride_find_back():
    """The hips have turned towards the feet, the knees meet in the middle: no small step back."""
    truth, camera = walking()[None], cameras(1)
    mask = fitter().body(truth, camera, 64)
    right, left = ([INDEX[f"{s}_{j}"] for j in ("hip", "knee", "ankle")] for s in ("right", "left"))
    start = truth.clone()
    start[:, right[2]], start[:, left[2]] = truth[:, left[2]], truth[:, right[2]]
    start[:, [right[1], left[1]]] = truth[:, [right[1], left[1]]].mean(1, keepdim=True)
    c, s = math.cos(-0.7), math.sin(-0.7)
    turn = torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    hips = [right[0], left[0]]
    start[:, hips] = (truth[:, hips] - truth[:, :1]) @ turn.T + truth[:, :1]
    off = {}
    for share in (0.0, 1.0):
        ours = fitter(second_chance=share, candidates={"legs": 4, "arms": 4})
        off[share] = errors(ours.fit("refine", start, camera, mask).joints_world, truth)
    ankles = [right[2], left[2]]
    assert (off[0.0][ankles] > 150).all()
    assert (off[1.0][ankles] < 40).all()


def test_smooth_movements_bend_nowhere():
    truth, camera, mask = in_a_row(5)
    ours = fitter()
    one = ours._scenes(camera, mask, None, torch.zeros(5, dtype=torch.long))
    assert ours._bend(truth, one).abs().max() < 1e-5
    renamed = truth.clone()
    renamed[2] = truth[2][HUMAN.flip]  # the other names of the same pose are as near
    assert ours._bend(renamed, one).abs().max() < 1e-5
    jumping = truth.clone()
    jumping[2] += torch.tensor([0.0, 0.0, 300.0])
    bend = ours._bend(jumping, one)
    assert bend[2].item() == pytest.approx(0.3041 - 0.05, abs=1e-3)  # sqrt(300^2 + 50^2) - 50
    assert bend[[0, 4]].tolist() == [0, 0]  # the ends have one neighbour
    two = one._replace(sequence=torch.tensor([0, 0, 1, 2, 2]))
    assert ours._bend(jumping, two).abs().max() == 0


def test_given_bone_lengths_are_kept(scene):
    truth, camera, mask = scene
    ours = fitter()
    longer = (ours.anatomy.length * 1.2)[None]
    legs = [b for b, (_, child) in enumerate(HUMAN.tree) if "knee" in HUMAN.joints[child]]
    usual, stretched = (
        bone_lengths(ours.fit("settle", truth, camera, mask, lengths).joints_world, HUMAN.tree)[
            0, legs
        ]
        for lengths in (None, longer)
    )
    assert (stretched > usual + 15).all()


@pytest.mark.slow
def test_the_result_does_not_depend_on_the_number_of_processes(scene):
    truth, camera, mask = scene
    many = [value.repeat(60, *[1] * (value.dim() - 1)) for value in (truth, mask, *camera)]
    joints, mask, camera = many[0], many[1], type(camera)(*many[2:])
    fits = []
    for threads in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        fits.append(fitter().fit("settle", joints + 40, camera, mask).joints_world)
        torch.set_num_threads(before)
    torch.testing.assert_close(*fits, atol=1e-3, rtol=0)


def test_without_bone_lengths_there_is_no_fitting():
    body = build(OmegaConf.load("conf/body/human.yaml"), "body", skeleton=HUMAN)
    with pytest.raises(ValueError, match="anatomy=human"):
        build(settings(), "fitter", body=body, anatomy=NoAnatomy(HUMAN))
