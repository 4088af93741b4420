import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mask_sup.export import fit_figure, y_up
from mask_sup.export.bones import Figure


def distances(figure, clip):
    return np.linalg.norm(figure.positions() - y_up(clip).points_mm, axis=-1)


def lengths(points, parent):
    bones = [j for j, p in enumerate(parent) if p >= 0]
    return np.linalg.norm(points[:, bones] - points[:, [parent[j] for j in bones]], axis=-1)


def test_bones_have_the_medians_of_their_lengths_in_every_frame(clip):
    figure = fit_figure(clip)
    found = lengths(figure.positions(), figure.parent)
    expected = np.median(lengths(clip.points_mm, figure.parent), axis=0)
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), rtol=1e-9)


def test_rotations_are_rotations(clip):
    turns = fit_figure(clip).turns
    np.testing.assert_allclose(
        turns @ turns.swapaxes(-1, -2), np.tile(np.eye(3), (60, 18, 1, 1)), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(turns), 1)


def test_a_figure_of_constant_lengths_is_found_exactly(clip):
    known = fit_figure(clip)
    rng = np.random.default_rng(0)
    turns = Rotation.random(60 * 18, rng=rng).as_matrix().reshape(60, 18, 3, 3)
    other = Figure(known.joints, known.parent, known.offsets_mm, turns, rng.normal(size=(60, 3)))
    moving = clip._replace(points_mm=other.positions(), up="y")
    assert distances(fit_figure(moving), moving).max() < 1e-6


def test_every_joint_on_a_chain_lies_as_near_as_its_length_allows(clip):
    figure = fit_figure(clip)
    places, seen = figure.positions(), y_up(clip).points_mm
    for joint, parent in enumerate(figure.parent):
        if parent >= 0 and len(figure.children(parent)) == 1:
            reach = np.linalg.norm(seen[:, joint] - places[:, parent], axis=-1)
            missing = np.abs(reach - np.linalg.norm(figure.offsets_mm[joint]))
            distance = np.linalg.norm(places[:, joint] - seen[:, joint], axis=-1)
            np.testing.assert_allclose(distance, missing, atol=1e-6)


def test_a_walking_body_is_met_within_what_constant_lengths_allow(clip):
    found = distances(fit_figure(clip), clip)
    assert found[:, clip.joints.index("pelvis")].max() < 1e-9
    assert found.mean() < 4  # mm; spine and shoulders of a body are not rigid
    assert found.max() < 25


def test_a_joint_with_several_bones_takes_their_best_rotation(clip):
    # Against scipy's solution of the same problem, for the pelvis of a noisy walk.
    rng = np.random.default_rng(1)
    noisy = y_up(clip)._replace(points_mm=y_up(clip).points_mm + rng.normal(0, 20, (60, 18, 3)))
    figure = fit_figure(noisy)
    pelvis = clip.joints.index("pelvis")
    children = figure.children(pelvis)
    assert len(children) == 3
    for frame in (0, 17, 59):
        aims = noisy.points_mm[frame, children] - noisy.points_mm[frame, pelvis]
        expected, _ = Rotation.align_vectors(aims, figure.offsets_mm[children])
        np.testing.assert_allclose(figure.turns[frame, pelvis], expected.as_matrix(), atol=1e-6)


def test_the_rest_pose_is_a_t_pose_that_faces_z(clip):
    figure = fit_figure(clip)
    still = figure._replace(turns=np.tile(np.eye(3), (1, 18, 1, 1)), root_mm=np.zeros((1, 3)))
    place = dict(zip(figure.joints, still.positions()[0], strict=True))
    arm = place["left_wrist"] - place["left_shoulder"]
    np.testing.assert_allclose(arm / np.linalg.norm(arm), [1, 0, 0], atol=1e-9)
    arm = place["right_wrist"] - place["right_shoulder"]
    np.testing.assert_allclose(arm / np.linalg.norm(arm), [-1, 0, 0], atol=1e-9)
    leg = place["left_ankle"] - place["left_hip"]
    np.testing.assert_allclose(leg / np.linalg.norm(leg), [0, -1, 0], atol=1e-9)
    assert place["left_hip"][0] > 50
    assert place["right_hip"][0] < -50
    assert place["nose"][2] - place["neck"][2] > 50
    assert place["head"][1] > place["thorax"][1] + 200
    assert abs(place["spine"][0]) < 15


def test_a_single_bone_turns_the_shortest_way(clip):
    # The elbow: its turn's axis is across both bones, so nothing is twisted about the forearm.
    figure = fit_figure(clip)
    elbow, wrist = (clip.joints.index(f"left_{name}") for name in ("elbow", "wrist"))
    turn = Rotation.from_matrix(figure.turns[:, elbow]).as_rotvec()
    np.testing.assert_allclose(turn @ figure.offsets_mm[wrist], 0, atol=1e-6)
    a, b = (y_up(clip).points_mm[:, j] for j in (elbow, wrist))
    assert (np.linalg.norm(turn, axis=-1) < np.pi).all()
    assert (np.linalg.norm(b - a, axis=-1) > 100).all()


def test_unknown_joints_hold_their_last_pose(gappy, clip):
    figure, whole = fit_figure(gappy), fit_figure(clip)
    elbow = clip.joints.index("left_elbow")
    for frame, held in ((0, 4), (3, 4), (10, 9), (14, 9)):
        np.testing.assert_array_equal(figure.turns[frame, elbow], figure.turns[held, elbow])
    np.testing.assert_array_equal(figure.root_mm[20], figure.root_mm[19])
    # The rest of the body does not notice the missing wrist.
    knee = clip.joints.index("left_knee")
    np.testing.assert_allclose(figure.positions()[:10, knee], whole.positions()[:10, knee], atol=2)
    assert np.isfinite(figure.positions()).all()


def test_half_a_turn_and_no_turn_are_finite(clip):
    rest = fit_figure(clip)
    turns = np.tile(np.eye(3), (3, 18, 1, 1))
    elbow = clip.joints.index("left_elbow")
    turns[1, elbow] = Rotation.from_euler("z", 180, degrees=True).as_matrix()
    turns[2, elbow] = Rotation.from_euler("y", 179.9999, degrees=True).as_matrix()
    still = rest._replace(turns=turns, root_mm=np.zeros((3, 3)))
    folded = clip._replace(points_mm=still.positions(), up="y")
    assert distances(fit_figure(folded), folded).max() < 1e-6


def test_joints_that_coincide_hold_their_rotation(clip):
    points = clip.points_mm.copy()
    elbow, wrist = (clip.joints.index(f"left_{name}") for name in ("elbow", "wrist"))
    figure = fit_figure(clip)
    places = figure.positions()
    points = places.copy()
    points[30, wrist] = points[30, elbow]
    again = fit_figure(clip._replace(points_mm=points, up="y"))
    assert np.isfinite(again.turns).all()
    np.testing.assert_array_equal(again.turns[30, elbow], again.turns[29, elbow])


def test_other_skeletons_stand_up_too(clip):
    joints = ("belly", "chest", "right_wing", "left_wing", "right_tip", "left_tip")
    parents = {"chest": "belly", "right_wing": "chest", "left_wing": "chest"}
    parents |= {"right_tip": "right_wing", "left_tip": "left_wing"}
    rng = np.random.default_rng(0)
    turns = Rotation.random(240, rng=rng).as_matrix().reshape(40, 6, 3, 3)
    offsets = np.array(
        [[0, 0, 0], [0, 300, 0], [-100, 20, 5], [100, 20, 5], [0, -90, 0], [0, 9, 90]]
    )
    bird = Figure(
        joints, [-1, 0, 1, 1, 2, 3], offsets.astype(float), turns, rng.normal(size=(40, 3))
    )
    moving = clip._replace(joints=joints, parents=parents, points_mm=bird.positions(), up="y")
    assert distances(fit_figure(moving), moving).max() < 1e-6


def test_a_bone_that_is_never_seen_is_named(clip):
    points = clip.points_mm.copy()
    points[:, clip.joints.index("head")] = np.nan
    with pytest.raises(ValueError, match="the bone nose - head is seen in no frame"):
        fit_figure(clip._replace(points_mm=points))
