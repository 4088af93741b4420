import pytest
import torch
from figures import HUMAN, person
from omegaconf import OmegaConf

from mask_sup.figure.anatomy import Anatomy, NoAnatomy, bone_lengths
from mask_sup.files.build import build


@pytest.fixture
def anatomy():
    return build(OmegaConf.load("conf/anatomy/human.yaml"), "anatomy", skeleton=HUMAN)


def terms(anatomy, pose, who=0):
    return anatomy(pose.unsqueeze(0), torch.tensor([who]))


FOREARM = HUMAN.tree.index((HUMAN.index["right_elbow"], HUMAN.index["right_wrist"]))
LONGER = {"right_wrist": (170, 0, -143), "left_wrist": (-170, 0, -143)}


def test_constancy_compares_with_the_running_mean(anatomy):
    anatomy.memory = 0.5
    terms(anatomy, person())
    # Running mean of the forearms: half of 261 and half of 361 mm; 50 mm to go on either side.
    cost = terms(anatomy, person(**LONGER))["constancy"].item()
    assert cost == pytest.approx(2 * 0.05**2 / 17, rel=1e-2)
    assert anatomy.running[0, FOREARM].item() == pytest.approx(311, abs=0.5)
    anatomy.eval()
    terms(anatomy, person())
    assert anatomy.running[0, FOREARM].item() == pytest.approx(311, abs=0.5)  # not then


def test_every_person_has_running_lengths_of_their_own(anatomy):
    poses = torch.stack([person(), person(**LONGER)])
    for _ in range(3):
        cost = anatomy(poses, torch.tensor([2, 5]))["constancy"].item()
        assert cost == pytest.approx(0, abs=1e-9)
    assert anatomy.running[[2, 5], FOREARM].tolist() == pytest.approx([261, 361], abs=0.5)
    assert not anatomy.running[0].any()


def test_more_people_than_it_remembers_are_told(anatomy):
    with pytest.raises(ValueError, match=r"more than 64 people: raise anatomy.people"):
        terms(anatomy, person(), who=64)


def test_a_person_of_ordinary_build_costs_nothing(anatomy):
    for name, term in terms(anatomy, person()).items():
        assert term.item() < 1e-6, name


def test_no_pose_is_preferred(anatomy):
    # Arms raised, a leg bent, the whole turned over: the same lengths, the same cost.
    pose = person(
        right_elbow=(170, 0, 762), right_wrist=(170, 0, 1023), left_ankle=(-95, -424, -387)
    )
    turned = (
        pose @ torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    )
    terms(anatomy, person())
    for name, term in terms(anatomy, turned).items():
        assert term.item() < 1e-6, name


@pytest.mark.parametrize(
    ("term", "moved", "cost"),
    [
        # Two of six pairs are off: thigh 487 and shank 324 mm against 387 and 424.
        ("symmetry", {"right_knee": (95, 0, -487)}, (0.1**2 + 0.1**2) / 6),
        ("midpoints", {"pelvis": (0, 40, 0)}, 0.04**2 / 2),
        ("chains", {"spine": (0, 100, 245)}, 0.06**2 / 3),  # 100 mm off, 40 of them free
        ("too_long", {"right_wrist": (170, 0, -182)}, (0.4 - 1.3 * 0.261) ** 2 / 17),
        ("too_short", {"right_wrist": (170, 0, 118)}, (0.7 * 0.261 - 0.1) ** 2 / 17),
    ],
)
def test_each_term_is_the_square_of_what_is_off_in_metres(anatomy, term, moved, cost):
    assert terms(anatomy, person(**moved))[term].item() == pytest.approx(cost, rel=2e-2)


def test_a_swap_of_left_and_right_costs_nothing(anatomy):
    # These terms cannot know the side; nothing of a label is in them.
    pose = person(right_wrist=(300, 0, 0))
    for name, term in terms(anatomy, pose[HUMAN.flip]).items():
        assert term.item() == pytest.approx(terms(anatomy, pose)[name].item(), abs=1e-9)


def test_joints_on_one_point_have_finite_gradients(anatomy):
    pose = torch.zeros(2, 18, 3, requires_grad=True)
    sum(anatomy(pose, torch.tensor([0, 1])).values()).backward()
    assert torch.isfinite(pose.grad).all()


def test_bone_lengths_are_distances():
    joints = torch.tensor([[0.0, 0.0, 0.0], [3.0, 4.0, 0.0]])
    assert bone_lengths(joints, [(0, 1)]).item() == pytest.approx(5.0, rel=1e-4)


def test_none_has_no_terms():
    assert terms(NoAnatomy(HUMAN), person()) == {}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("midpoints", {"tail": ["right_hip", "left_hip"]}, "tail"),
        ("chains", {"spine": ["pelvis", "crown", 0.5, 10]}, "crown"),
        ("lengths", {"hip": 95}, "knee"),
    ],
)
def test_unknown_joints_and_missing_lengths_are_named(key, value, message):
    node = OmegaConf.to_container(OmegaConf.load("conf/anatomy/human.yaml"))
    with pytest.raises(ValueError, match=message):
        Anatomy(HUMAN, **{k: v for k, v in node.items() if k != "_target_"} | {key: value})
