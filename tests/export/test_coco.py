import json

import numpy as np
import pytest

from mask_sup.export import write_coco
from mask_sup.export.coco import COCO_JOINTS

# The order that COCO's annotation files list.
PERSON = [
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
]


def read(clip, path):
    write_coco(clip, path)
    return json.loads(path.read_text())


def test_the_keypoints_are_those_of_coco():
    assert list(COCO_JOINTS) == PERSON


def test_every_picture_is_an_image_with_two_annotations(clip, tmp_path):
    told = read(clip, tmp_path / "a.json")
    assert len(told["images"]) == 120
    assert told["images"][7] == {
        "id": 8,
        "file_name": "cam1/3.jpg",
        "width": 72,
        "height": 56,
        "frame": 3,
        "view": 1,
    }
    pairs = [(a["image_id"], a["category_id"]) for a in told["annotations"]]
    assert pairs == [(i, c) for i in range(1, 121) for c in (1, 2)]
    assert [a["id"] for a in told["annotations"]] == list(range(1, 241))
    person, own = told["categories"]
    assert (person["name"], person["keypoints"], len(person["skeleton"])) == ("person", PERSON, 19)
    assert (own["name"], own["keypoints"]) == ("human18", list(clip.joints))
    bones = {(own["keypoints"][a - 1], own["keypoints"][b - 1]) for a, b in own["skeleton"]}
    assert bones == {(parent, joint) for joint, parent in clip.parents.items()}
    assert told["info"]["fps"] == 30


def test_keypoints_by_name_count_from_the_centre_of_the_first_pixel(clip, tmp_path):
    told = read(clip, tmp_path / "a.json")
    frame, view = 5, 1
    person, own = told["annotations"][4 * frame + 2 * view :][:2]
    triples = np.reshape(person["keypoints"], (17, 3))
    for name, triple in zip(PERSON, triples, strict=True):
        if name in clip.joints:
            expected = clip.joints_px[frame, view, clip.joints.index(name)] - 0.5
            np.testing.assert_allclose(triple, [*expected, 2], atol=1e-3)
        else:
            assert triple.tolist() == [0, 0, 0]
    assert [n for n, t in zip(PERSON, triples, strict=True) if not t[2]] == PERSON[1:5]
    assert (person["num_keypoints"], own["num_keypoints"]) == (13, 18)
    triples = np.reshape(own["keypoints"], (18, 3))
    np.testing.assert_allclose(triples[:, :2], clip.joints_px[frame, view] - 0.5, atol=1e-3)


def test_scores_are_confidences(clip, tmp_path):
    confidence = np.tile(np.linspace(0.1, 0.95, 18), (60, 1))
    person, own, *_ = read(clip._replace(confidence=confidence), tmp_path / "a.json")["annotations"]
    np.testing.assert_allclose(own["keypoint_scores"], confidence[0], atol=1e-3)
    assert own["score"] == pytest.approx(confidence[0].mean(), abs=1e-3)
    assert person["keypoint_scores"][1:5] == [0] * 4
    left_knee = confidence[0, clip.joints.index("left_knee")]
    assert person["keypoint_scores"][PERSON.index("left_knee")] == pytest.approx(
        left_knee, abs=1e-3
    )


def test_the_box_is_that_of_the_joints_by_hand(clip, tmp_path):
    pixels = np.tile([10.0, 20.0], (1, 1, 18, 1))
    pixels[..., 3, :] = [30.0, 25.0]
    one = clip._replace(
        joints_px=pixels,
        pictures=np.array([["a.jpg"]]),
        picture_size_px=np.array([[[64, 48]]]),
        points_mm=clip.points_mm[:1],
    )
    own = read(one, tmp_path / "a.json")["annotations"][1]
    assert (own["bbox"], own["area"], own["iscrowd"]) == ([10, 20, 20, 5], 100, 0)


def test_unknown_joints_are_invisible(gappy, tmp_path):
    told = read(gappy, tmp_path / "a.json")
    for frame, joint, coco in ((12, "left_wrist", True), (20, "pelvis", False)):
        person, own = told["annotations"][4 * frame :][:2]
        index = gappy.joints.index(joint)
        assert own["keypoints"][3 * index : 3 * index + 3] == [0, 0, 0]
        assert own["keypoint_scores"][index] == 0
        assert own["num_keypoints"] == 17
        assert person["num_keypoints"] == (12 if coco else 13)


def test_a_picture_without_a_known_joint_is_still_valid(clip, tmp_path):
    pixels = clip.joints_px.copy()
    pixels[2] = np.nan
    own = read(clip._replace(joints_px=pixels), tmp_path / "a.json")["annotations"][9]
    assert (own["num_keypoints"], own["score"], own["bbox"]) == (0, 0, [0, 0, 0, 0])


def test_single_views_have_no_scores_to_tell(clip, tmp_path):
    told = read(clip._replace(confidence=None), tmp_path / "a.json")
    assert told["info"]["scores"] == "none: all 1"
    assert told["annotations"][1]["keypoint_scores"] == [1] * 18
