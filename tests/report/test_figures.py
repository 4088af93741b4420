import numpy as np
import pytest

from mask_sup.report import figures

NAN = np.nan


def test_joints_have_the_means_of_their_known_values(made):
    error = np.ones((2, 3, 3))
    error[:, :, 1] = [[2, 4, 6], [8, NAN, NAN]]  # mean 5
    error[:, :, 2] = NAN
    xy = np.zeros((2, 3, 3, 2))
    xy[0, :, 2] = NAN  # three of six
    xy[1, 0, 2, 1] = NAN  # half a position is none
    sure = np.array([[0.25, 0.5, 1.0], [0.25, NAN, 0.5]])
    rows = figures.joint_figures(made(error_px=error, joints_px=xy, confidence=sure))
    assert [row.name for row in rows] == ["root", "right_hand", "left_hand"]
    assert [row.error_px for row in rows] == pytest.approx([1, 5, NAN], nan_ok=True)
    assert [row.found for row in rows] == pytest.approx([1, 1, 2 / 6])
    assert [row.confidence for row in rows] == [0.25, 0.5, 0.75]


def test_what_a_file_does_not_have_is_unknown(made):
    row = figures.joint_figures(made())[0]
    assert np.isnan([row.error_px, row.confidence]).all()
    assert np.isnan(figures.camera_figures(made())[0].error_px)
    assert figures.camera_figures(made())[0].worst_joint == ""


def test_cameras_have_their_own_errors(made):
    error = np.zeros((2, 3, 3))
    error[:, 1] = [[3, 6, 0], [3, 12, NAN]]  # mean 24 / 5
    xy = np.zeros((2, 3, 3, 2))
    xy[0, 1] = [[0, 0], [30, 10], [NAN, NAN]]  # box of 30 x 10
    xy[1, 1] = [[0, 0], [0, 0], [10, 50]]  # 10 x 50
    row = figures.camera_figures(made(error_px=error, joints_px=xy))[1]
    assert (row.name, row.worst_joint) == ("b", "right_hand")
    assert row.error_px == pytest.approx(4.8)
    assert row.person_px == pytest.approx(40)  # median of 30 and 50
    assert row.high_px == pytest.approx(np.percentile([3, 6, 0, 3, 12], 95))


def test_the_error_over_time_is_the_mean_over_joints(made):
    error = np.zeros((2, 3, 3))
    error[1, 2] = [1, 2, NAN]
    error[0, 0] = NAN
    expected = [[NAN, 0, 0], [0, 0, 1.5]]
    np.testing.assert_allclose(figures.error_over_time(made(error_px=error)), expected)


def test_bones_have_lengths_and_deviations_by_side(chain):
    points = np.zeros((3, 3, 3))
    points[:, 1] = [[3, 4, 0], [0, 0, 7], [0, NAN, 0]]  # 5 and 7 long: 6 +- 1
    points[:, 2] = [[0, 3, 0], [0, 3, 0], [3, 0, 0]]
    np.testing.assert_allclose(figures.bone_lengths(points, chain), [[5, 3], [7, 3], [NAN, 3]])
    (row,) = figures.bone_figures(points, chain)
    assert row.name == "root to hand"
    assert row.mean_mm == pytest.approx({"right": 6, "left": 3})
    assert row.deviation_mm == pytest.approx({"right": 1, "left": 0})
    assert figures.side_difference(row) == pytest.approx(3 / 4.5)
    assert figures.bone_spread([row]) == pytest.approx((1 / 6 + 0) / 2)


def test_a_bone_of_the_middle_has_no_difference():
    assert np.isnan(figures.side_difference(figures.BoneFigures("x", {"middle": 3}, {"middle": 0})))


def test_exchanged_sides_are_found_where_they_begin_and_end(chain):
    pose = np.array([[0.0, 0, 0], [100, 0, 0], [-100, 0, 0]])
    points = pose + np.random.default_rng(0).normal(0, 3, (8, 3, 3))
    assert figures.exchanged_frames(points, chain) == []
    points[3:6] = points[3:6][:, [0, 2, 1]]
    assert figures.exchanged_frames(points, chain) == [3, 6]
    assert figures.exchanged_frames(points[:1], chain) == []


def test_nothing_is_warned_of_where_nothing_stands_out(made):
    assert figures.warnings_in_words(made(error_px=np.ones((2, 3, 3)))) == []


def test_a_camera_that_disagrees_is_named(made):
    error = np.ones((2, 3, 3))
    error[:, 1] = 2.5
    (told,) = figures.warnings_in_words(made(error_px=error))
    assert told.startswith("Camera b is off by 2.5 px, 2.5 times the others' 1.0 px")
    assert "calibration" in told
    error[:, 1] = 1.9
    assert figures.warnings_in_words(made(error_px=error)) == []


def test_of_two_cameras_none_is_blamed(made):
    error = np.ones((2, 2, 3))
    error[:, 1] = 9
    two = {"cameras": ("a", "b"), "joints_px": np.zeros((2, 2, 3, 2))}
    assert figures.warnings_in_words(made(error_px=error, **two)) == []


def test_doubtful_joints_bones_and_depths_are_told_in_words(made):
    xy = np.zeros((2, 3, 3, 2))
    xy[0, :, 1] = NAN
    world = np.tile([[0.0, 0, 0], [100, 0, 0], [0, 100, 0]], (2, 1, 1))
    world[1, 1] = [200, 0, 0]  # 100 and 200 mm: 150 +- 50
    told = " ".join(figures.warnings_in_words(made(joints_px=xy, joints_world_mm=world)))
    assert "missing in many pictures: right hand (50 %)" in told
    assert "varies: right root to hand (33 %)" in told
    assert "root to hand (right longer by 40 %)" in told
    assert "no pose in the world" not in told
    single = made(joints_world_mm=None)
    assert "no pose in the world" in figures.warnings_in_words(single)[0]


def judged(unexplained, view, **known):
    """What a verdict on two frames, three views and one limb may say; expected errors of 20 mm."""
    told = {
        "unexplained": np.array(unexplained),
        "unexplained_view": np.array(view),
        "unexplained_limb": np.array([[0.05], [0.05]]),
        "strain": np.array([0.0003, 0.0004]),
        "front": np.array([0.03, np.nan]),  # NaN: not asked
        "expected_error_mm": np.full((2, 3), 20.0),
        "confidence": np.full((2, 3), 0.9),
        "header": {"limbs": ["trunk"]},
    }
    return told | known


def test_masks_that_a_body_does_not_explain_are_told_and_no_camera_is_accused(made):
    error = np.ones((2, 3, 3))
    error[:, 1] = 50.0  # the detector's, in one camera
    fine = [[0.03] * 3, [0.04] * 3]
    assert figures.warnings_in_words(made(**judged([0.03, 0.04], fine, error_px=error))) == []
    known = judged([0.03, 0.2], [[0.03] * 3, [0.1, 0.1, 0.4]], error_px=error)
    trust, why = figures.warnings_in_words(made(**known))
    assert "Do not trust 1 of 2 moments" in trust
    assert "the worst are 1: 20 % unexplained, 40 % in c, joints expected 20 mm off" in trust
    assert why.startswith("1 leave more than 10 % of the masks unexplained")
    assert "Camera" not in trust + why


def test_masks_that_are_rough_throughout_are_told_though_no_moment_is_doubted(made):
    known = judged([0.07, 0.08], [[0.07] * 3, [0.08] * 3])
    (told,) = figures.warnings_in_words(made(**known))
    assert told.startswith("Masks are rough throughout")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unexplained_view": np.array([[0.03] * 3, [0.02, 0.02, 0.09]])}, "in one view alone"),
        ({"strain": np.array([0.0003, 0.004])}, "1 are strained"),
        ({"front": np.array([0.03, 0.005])}, "1 are explained nearly as well with left and right"),
        ({"confidence": np.array([[0.9] * 3, [0.2] * 3])}, "1 are unsure"),
    ],
)
def test_each_sign_of_a_wrong_pose_is_told(made, change, words):
    known = judged([0.03, 0.04], [[0.03] * 3] * 2, **change)
    trust, why = figures.warnings_in_words(made(**known))
    assert "Do not trust 1 of 2 moments" in trust
    assert words in why


def test_the_least_sure_moments_are_spread_over_the_recording(made):
    confidence = np.full((100, 3), 0.9)
    confidence[40:44], confidence[80] = 0.1, 0.2
    found = figures.least_sure(made(confidence=confidence), 3)
    assert len(found) == 3
    assert found[0] in range(40, 44)
    assert found[1] == 80
    assert min(abs(a - b) for a in found for b in found if a != b) > 16


def test_a_person_of_no_human_size_is_told_with_the_way_back(made):
    sizes = np.full(2, 7000.0)
    assert "scale=" in " ".join(figures.warnings_in_words(made(size_mm=sizes)))
    assert figures.warnings_in_words(made(size_mm=np.full(2, 700.0))) == []
