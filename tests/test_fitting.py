import pytest
import torch
from figures import HUMAN, INDEX, cameras, person, walking
from omegaconf import OmegaConf

from mask_sup.anatomy import NoAnatomy, bone_lengths
from mask_sup.config import build

ARMS = [INDEX[f"{side}_{joint}"] for side in ("right", "left") for joint in ("elbow", "wrist")]

SIDED = [j for j, partner in enumerate(HUMAN.flip) if j != partner]


def settings():
    node = OmegaConf.load("conf/fitter/masks.yaml")
    return OmegaConf.to_container(node, resolve=False) | {"seed": 0}


def fitter(**changed):
    anatomy = build(OmegaConf.load("conf/anatomy/human.yaml"), skeleton=HUMAN)
    body = build(OmegaConf.load("conf/body/human.yaml"), skeleton=HUMAN)
    return build(settings() | changed, body=body, anatomy=anatomy)


@pytest.fixture(scope="module")
def scene():
    """A walking person and how the cameras see him: 64-pixel masks of the fitter's own body."""
    truth, camera = walking()[None], cameras(1)
    return truth, camera, fitter().body(truth, camera, 64)


def errors(found, truth):
    return (found - truth).norm(dim=-1).mean(0)


def test_a_pose_near_the_truth_comes_closer(scene):
    truth, camera, mask = scene
    generator = torch.Generator().manual_seed(0)
    start = truth + 60 * torch.randn(truth.shape, generator=generator)
    fit = fitter().fit("settle", start, camera, mask)
    before, after = (errors(p, truth).mean() for p in (start, fit.joints_world))
    assert after < 0.75 * before
    assert fit.residual < 0.6 * fitter().residual(start, camera, mask)


def test_arms_that_hang_are_found_where_the_masks_show_them(scene):
    truth, camera, mask = scene
    start = truth.clone()
    start[:, ARMS] = person()[ARMS]
    fit = fitter(candidates={"legs": 80, "arms": 500}).fit("polish", start, camera, mask)
    assert errors(start, truth)[ARMS].mean() > 350
    assert errors(fit.joints_world, truth)[ARMS].mean() < 90


def test_a_whole_pose_is_found_from_a_pelvis_and_a_trunk(scene):
    truth, camera, mask = scene
    start = truth.clone()
    start[:, SIDED] = person()[SIDED]  # legs straight down, arms hanging
    fit = fitter().fit("explore", start, camera, mask)
    either = [errors(fit.joints_world[:, order], truth).mean() for order in (range(18), HUMAN.flip)]
    assert min(either) < 90  # masks do not tell left from right
    assert fit.residual < 0.01


def test_a_search_never_explains_the_masks_worse(scene):
    truth, camera, mask = scene
    ours = fitter(candidates={"legs": 3, "arms": 3})
    scenes = ours._scenes(camera, mask, None)
    for limbs in ("legs", "arms"):
        found = ours._search(truth, scenes, limbs, torch.Generator().manual_seed(0), 0.0)
        assert ours.residual(found, camera, mask) <= ours.residual(truth, camera, mask) + 1e-7


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
    body = build(OmegaConf.load("conf/body/human.yaml"), skeleton=HUMAN)
    with pytest.raises(ValueError, match="anatomy=human"):
        build(settings(), body=body, anatomy=NoAnatomy(HUMAN))
