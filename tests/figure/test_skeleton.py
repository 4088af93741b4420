import numpy as np
import pytest
import torch

from mask_sup.figure.skeleton import FreeKeypoints, Skeleton

FIGURE = {
    "name": "lamp",
    "joints": ["foot", "hinge", "right_arm", "left_arm", "bulb"],
    "parents": {"hinge": "foot", "right_arm": "hinge", "left_arm": "hinge", "bulb": "left_arm"},
    "bones": {
        "stand": [["foot", "hinge"]],
        "arms": [["hinge", "right_arm"], ["hinge", "left_arm"]],
        "light": [["left_arm", "bulb"]],
    },
    "pairs": [["right_arm", "left_arm"]],
    "heights": {"foot": 0.0, "hinge": 0.5, "right_arm": 0.75, "left_arm": 0.75, "bulb": 1.0},
}


def figure(**changes):
    return Skeleton(**FIGURE | changes)


def names(skeleton, joints):
    return [skeleton.joints[j] for j in joints]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joints": [*FIGURE["joints"], "bulb"]}, r"joints listed twice: \['bulb'\]"),
        ({"parents": FIGURE["parents"] | {"bulb": "left_arn"}}, r"\['left_arn'\] named in parents"),
        ({"bones": {"arms": [["hinge", "elbow"]]}}, r"\['elbow'\] named in parents, bones or"),
        ({"pairs": [["right_arm", "left_amr"]]}, r"\['left_amr'\] named in parents, bones or"),
        ({"bones": {"arms": [["foot", "hinge", "bulb"]]}}, "two joints, got .*'foot', 'hinge'"),
        ({"pairs": [["right_arm"]]}, r"two joints, got \[\['right_arm'\]\]"),
        ({"heights": {"foot": 0.0}}, "heights must name every joint once, not so for .*'bulb'"),
        ({"heights": FIGURE["heights"] | {"roof": 2.0}}, r"not so for \['roof'\]"),
        (
            {"parents": {"hinge": "foot", "right_arm": "hinge", "left_arm": "hinge"}},
            r"one joint without a parent \(root\), got \['foot', 'bulb'\]",
        ),
        ({"parents": FIGURE["parents"] | {"foot": "bulb"}}, r"\(root\), got \[\]"),
        (
            {"parents": FIGURE["parents"] | {"hinge": "bulb"}},
            "the parents of 'hinge' form a loop",
        ),
        ({"bones": FIGURE["bones"] | {"wires": []}}, r"bone groups \['wires'\] hold no bones"),
        ({"pairs": []}, r"\['left_arm', 'right_arm'\] have a side in their name but no partner"),
        (
            {"pairs": [*FIGURE["pairs"], ["right_arm", "bulb"]]},
            "a joint stands in two pairs",
        ),
    ],
)
def test_a_wrong_figure_is_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message) as error:
        figure(**changes)
    assert "'lamp'" in str(error.value)


def test_the_figure_of_these_tests_is_accepted():
    assert figure().index == {"foot": 0, "hinge": 1, "right_arm": 2, "left_arm": 3, "bulb": 4}


def test_the_root_is_the_joint_without_a_parent_wherever_it_stands():
    assert figure().root == 0
    assert figure(joints=FIGURE["joints"][::-1]).root == 4


def test_flipping_swaps_the_sides_and_twice_is_the_identity(human18):
    for skeleton in (figure(), human18):
        flip = skeleton.flip
        pose = torch.arange(float(len(flip)))
        assert torch.equal(pose[flip][flip], pose)
        for right, left in skeleton.pairs:
            assert names(skeleton, [flip[skeleton.index[right]]]) == [left]
        paired = {j for pair in skeleton.pairs for j in pair}
        middle = [i for i, j in enumerate(skeleton.joints) if j not in paired]
        assert [flip[i] for i in middle] == middle


def test_flipping_keeps_the_tree(human18):
    flip = human18.flip
    assert {(flip[a], flip[b]) for a, b in human18.tree} == set(human18.tree)


def test_tree_goes_from_parents_to_children_in_joint_order(human18):
    assert figure().tree == [(0, 1), (1, 2), (1, 3), (3, 4)]
    children = [child for _, child in human18.tree]
    assert sorted([*children, human18.root]) == list(range(18))
    for parent, child in human18.tree:
        assert human18.parents[human18.joints[child]] == human18.joints[parent]


def test_segments_come_in_the_order_of_the_bones_whatever_order_is_asked():
    assert figure().segments(["light", "stand"]) == [(0, 1), (3, 4)]
    assert figure().segments(["arms"]) == [(1, 2), (1, 3)]
    assert figure().segments([]) == []


def test_drawn_joints_are_those_that_the_groups_touch():
    assert figure().drawn_joints(["light", "stand"]) == [0, 1, 3, 4]
    assert figure().drawn_joints(["stand"]) == [0, 1]
    assert figure().drawn_joints([]) == []


def test_resting_joints_hang_on_their_nearest_drawn_ancestor():
    assert figure().resting(["stand"]) == [(2, 1), (3, 1), (4, 1)]
    assert figure().resting(["stand", "arms"]) == [(4, 3)]
    assert figure().resting(["stand", "arms", "light"]) == []


def test_resting_joints_hang_on_the_root_where_no_ancestor_is_drawn():
    # With the light alone, the hinge and the right arm have no drawn ancestor; the root has none
    # to hang on.
    assert figure().resting(["light"]) == [(1, 0), (2, 0)]


@pytest.mark.parametrize("method", ["segments", "drawn_joints", "resting"])
def test_unknown_bone_groups_are_refused(method):
    with pytest.raises(ValueError, match=r"\['stand', 'arms', 'light'\], not \['legs'\]"):
        getattr(figure(), method)(["stand", "legs"])


def test_human18_has_the_papers_bones(human18):
    segments = human18.segments(human18.groups)
    assert len(segments) == 21
    assert len({frozenset(segment) for segment in segments}) == 21
    drawn = {frozenset(segment) for segment in segments}
    tree = {frozenset(bone) for bone in human18.tree}
    assert len(tree) == 17
    assert tree <= drawn
    fillers = {frozenset(names(human18, segment)) for segment in drawn - tree}
    sides = ("right_hip", "left_hip", "right_shoulder", "left_shoulder")
    assert fillers == {frozenset({"spine", side}) for side in sides}


def test_human18_without_arms_rests_elbows_and_wrists_on_the_shoulders(human18):
    groups = [group for group in human18.groups if group != "arms"]
    pairs = {tuple(names(human18, pair)) for pair in human18.resting(groups)}
    assert pairs == {
        (f"{side}_{joint}", f"{side}_shoulder")
        for side in ("right", "left")
        for joint in ("elbow", "wrist")
    }


def test_human18_stands_upright(human18):
    heights = human18.heights
    rising = ["right_ankle", "right_knee", "right_hip", "spine", "thorax", "neck", "nose", "head"]
    assert np.all(np.diff([heights[joint] for joint in rising]) > 0)
    for right, left in human18.pairs:
        assert heights[right] == heights[left]


# -- free points ----------------------------------------------------------------------------------


def test_free_points_have_no_structure_and_keep_the_figure_of_their_labels():
    lamp = figure()
    points = FreeKeypoints("free", 10, lamp)
    assert points.labelled is lamp
    assert (points.is_free, lamp.is_free, lamp.labelled is lamp) == (True, False, True)
    assert len(points.joints) == 10
    assert points.tree == []
    assert points.flip == list(range(10))
    assert points.drawn_joints(["points"]) == list(range(10))
    assert points.resting(["points"]) == []


def test_one_free_point_is_no_figure():
    with pytest.raises(ValueError, match="'free': expected two free points or more, got 1"):
        FreeKeypoints("free", 1, figure())
