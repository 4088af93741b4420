import pytest
import torch
from figures import HUMAN, INDEX, cameras, person, walking
from omegaconf import OmegaConf

from mask_sup.files.build import build
from mask_sup.geometry.batch import Views
from mask_sup.geometry.camera import crop_from_world
from mask_sup.geometry.triangulate import Fused
from mask_sup.method.health import TROUBLES, check_up
from mask_sup.method.stages import Drawn

BODY = build(OmegaConf.load("conf/body/human.yaml"), "body", skeleton=HUMAN)


def measured(pose, raw=None, physique=None):
    """Measures of a pose before the masks of a walking person."""
    camera = cameras(1)
    mask = BODY(walking()[None], camera, 64)
    xy = crop_from_world(pose[None, None], camera)
    raw = xy if raw is None else raw(xy)
    joints = torch.cat([raw, torch.zeros_like(raw[..., :1])], -1)
    image = torch.zeros(1, 4, 3, 64, 64)
    where = torch.zeros(1, dtype=torch.long)
    views = Views(image, mask, torch.ones_like(mask), camera, where, where, where)
    drawn = Drawn(joints, Fused(xy, pose[None]), mask)
    return check_up(drawn, views, BODY, physique)


def troubles(measures):
    return {name for name, value in measures.items() if value > TROUBLES[name].limit}


def folded():
    pose = walking().clone()
    for side in ("right", "left"):
        for base, middle, tip in (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist")):
            a, b = pose[INDEX[f"{side}_{base}"]], pose[INDEX[f"{side}_{middle}"]]
            pose[INDEX[f"{side}_{tip}"]] = b + 0.9 * (a - b)
    return pose


def one_view_renamed(xy):
    xy = xy.clone()
    xy[:, :2] = xy[:, :2, HUMAN.flip]
    return xy


@pytest.mark.parametrize(
    ("pose", "options", "named"),
    [
        (walking(), {}, set()),
        (walking() * torch.tensor([1.0, -1.0, -1.0]), {}, {"upside_down"}),
        (walking() * 0.01, {}, {"collapsed"}),
        (folded(), {}, {"zigzag"}),
        (walking(), {"raw": one_view_renamed}, {"views_disagree"}),
        (walking() + 700, {}, {"leaking"}),
        (walking(), {"physique": torch.full((1, 4, 64, 64), 0.4)}, {"dead_psi"}),
        (walking(), {"physique": torch.rand(1, 4, 64, 64).round()}, set()),
    ],
)
def test_each_trouble_is_told_by_its_name(pose, options, named):
    assert named <= troubles(measured(pose, **options))
    if not named:
        assert not troubles(measured(pose, **options))


def test_a_person_who_stands_still_is_no_trouble():
    measures = measured(person())
    assert measures["upside_down"] == 0
    assert measures["zigzag"] == 0
    assert measures["views_disagree"] == 0


def test_every_trouble_says_what_helps():
    for name, trouble in TROUBLES.items():
        assert 0 < trouble.limit < 1, name
        assert trouble.says, name
        assert "=" in trouble.helps, name
