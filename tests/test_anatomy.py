import pytest
import torch
from omegaconf import OmegaConf

from mask_sup.anatomy import Anatomy, NoAnatomy, bone_lengths
from mask_sup.config import build

HUMAN = build(OmegaConf.load("conf/skeleton/human18.yaml"))


@pytest.fixture
def anatomy():
    return build(OmegaConf.load("conf/anatomy/human.yaml"), skeleton=HUMAN)


def standing(**moved: tuple[float, float, float]) -> torch.Tensor:
    """A person of the expected lengths, mm, z up, facing +y; arms hang, or joints moved."""
    place = {"pelvis": (0, 0, 0), "spine": (0, 0, 245), "thorax": (0, 0, 490)}
    place |= {"neck": (0, 0, 578), "head": (0, 0, 900), "nose": (0, 60, 715)}
    for side, sign in (("right", 1), ("left", -1)):
        place |= {
            f"{side}_hip": (95 * sign, 0, 0),
            f"{side}_knee": (95 * sign, 0, -417),
            f"{side}_ankle": (95 * sign, 0, -835),
            f"{side}_shoulder": (170 * sign, 0, 490),
            f"{side}_elbow": (170 * sign, 0, 174),
            f"{side}_wrist": (170 * sign, 0, -74),
        }
    return torch.tensor([(place | moved)[joint] for joint in HUMAN.joints]).float()


def test_constancy_compares_with_the_running_mean(anatomy):
    anatomy.memory = 0.5
    anatomy(standing().unsqueeze(0))
    longer = standing(right_wrist=(170, 0, -174), left_wrist=(-170, 0, -174)).unsqueeze(0)
    # Running mean of the forearms: half of 248 and half of 348 mm; 50 mm to go on either side.
    assert anatomy(longer)["constancy"].item() == pytest.approx(2 * 0.05**2 / 17, rel=1e-2)
    forearm = HUMAN.tree.index((HUMAN.index["right_elbow"], HUMAN.index["right_wrist"]))
    assert anatomy.running[forearm].item() == pytest.approx(298, abs=0.5)
    anatomy.eval()
    anatomy(standing().unsqueeze(0))
    assert anatomy.running[forearm].item() == pytest.approx(298, abs=0.5)  # not outside training


def test_a_person_of_ordinary_build_costs_nothing(anatomy):
    for name, term in anatomy(standing().unsqueeze(0)).items():
        assert term.item() < 1e-6, name


def test_no_pose_is_preferred(anatomy):
    # Arms raised, a leg bent, the whole turned over: the same lengths, the same cost.
    pose = standing(
        right_elbow=(170, 0, 806), right_wrist=(170, 0, 1054), left_ankle=(-95, -418, -417)
    )
    turned = (
        pose @ torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    )
    anatomy(standing().unsqueeze(0))
    for name, term in anatomy(turned.unsqueeze(0)).items():
        assert term.item() < 1e-6, name


@pytest.mark.parametrize(
    ("term", "moved", "cost"),
    [
        # Two of six pairs are off: thigh 517 and shank 318 mm against 417 and 418.
        ("symmetry", {"right_knee": (95, 0, -517)}, (0.1**2 + 0.1**2) / 6),
        ("midpoints", {"pelvis": (0, 40, 0)}, 0.04**2 / 2),
        ("chains", {"spine": (0, 100, 245)}, 0.06**2 / 3),  # 100 mm off, 40 of them free
        ("too_long", {"right_wrist": (170, 0, -174)}, (0.348 - 1.3 * 0.248) ** 2 / 17),
        ("too_short", {"right_wrist": (170, 0, 74)}, (0.7 * 0.248 - 0.1) ** 2 / 17),
    ],
)
def test_each_term_is_the_square_of_what_is_off_in_metres(anatomy, term, moved, cost):
    terms = anatomy(standing(**moved).unsqueeze(0))
    assert terms[term].item() == pytest.approx(cost, rel=2e-2)


def test_a_swap_of_left_and_right_costs_nothing(anatomy):
    # These terms cannot know the side; nothing of a label is in them.
    pose = standing(right_wrist=(300, 0, 0))
    for name, term in anatomy(pose[HUMAN.flip].unsqueeze(0)).items():
        assert term.item() == pytest.approx(anatomy(pose.unsqueeze(0))[name].item(), abs=1e-9)


def test_joints_on_one_point_have_finite_gradients(anatomy):
    pose = torch.zeros(2, 18, 3, requires_grad=True)
    sum(anatomy(pose).values()).backward()
    assert torch.isfinite(pose.grad).all()


def test_bone_lengths_are_distances():
    joints = torch.tensor([[0.0, 0.0, 0.0], [3.0, 4.0, 0.0]])
    assert bone_lengths(joints, [(0, 1)]).item() == pytest.approx(5.0, rel=1e-4)


def test_none_has_no_terms():
    assert NoAnatomy(HUMAN)(standing().unsqueeze(0)) == {}


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
