import json
import re
import shutil

import cv2
import numpy as np
import pytest
import torch
from figures import HUMAN, walking
from fitters import masks
from hydra import compose, initialize_config_dir

from mask_sup.data.lens import mask_box
from mask_sup.data.moments import MomentDataset, View, expand
from mask_sup.data.recording import RecordingData
from mask_sup.export import export
from mask_sup.files.config import conf_dir
from mask_sup.files.lock import locked
from mask_sup.files.masks import read_mask
from mask_sup.files.pictures import read_image
from mask_sup.files.poses import confidence_of, read_poses
from mask_sup.geometry.batch import Camera
from mask_sup.geometry.camera import crop_from_world
from mask_sup.geometry.triangulate import triangulate
from mask_sup.inference.inputs import input_fps, input_moments
from mask_sup.inference.measures import agreement, distort_px, scale_to_height
from mask_sup.inference.poses import Predictor
from mask_sup.models.checkpoint import load
from mask_sup.models.detector import Detector
from mask_sup.predict import main, predict
from mask_sup.report import write_report

LENS = np.array([-0.25, 0.08, 0.002, -0.003, 0.01])
K = np.array([[300.0, 0.0, 121.0], [0.0, 310.0, 83.0], [0.0, 0.0, 1.0]])
# Bones whose summed length fixes the scale: all of human18's tree but those that touch an arm.
MEASURED = (
    ("pelvis", "right_hip"),
    ("right_hip", "right_knee"),
    ("right_knee", "right_ankle"),
    ("pelvis", "left_hip"),
    ("left_hip", "left_knee"),
    ("left_knee", "left_ankle"),
    ("pelvis", "spine"),
    ("spine", "thorax"),
    ("thorax", "neck"),
    ("neck", "nose"),
    ("nose", "head"),
)
STATURES = 0.01 + 0.24 + 0.23 + 0.01 + 0.24 + 0.23 + 0.13 + 0.14 + 0.05 + 0.07 + 0.07


def measured(pose, skeleton):
    a, b = (
        np.array([skeleton.index[name] for name in ends]) for ends in zip(*MEASURED, strict=True)
    )
    return np.linalg.norm(pose[..., a, :] - pose[..., b, :], axis=-1).sum(-1)


# ---- metric scale from the person's height -------------------------------------------------------


def interrupt(monkeypatch, made, stops):
    """Predictions put the parts that they make into `made`, and are interrupted where it stops."""

    def poses(*words, original=Predictor.poses):
        if stops():
            raise KeyboardInterrupt
        made.append(original(*words))
        return made[-1]

    monkeypatch.setattr(Predictor, "poses", poses)


@pytest.mark.parametrize("shape", [(), (3,), (2, 4)])
@pytest.mark.parametrize("scale", [400.0, 1500.0])  # mm per crop unit
def test_a_known_pose_comes_back_foreshortened_bones_and_all(human18, shape, scale):
    rng = np.random.default_rng(0)
    pose = rng.uniform(-300, 300, (*shape, 18, 3))  # mm, in camera axes
    # The height at which these bones have their lengths; one height serves all poses.
    pose *= (1650.0 * STATURES / measured(pose, human18))[..., None, None]
    depth_range = 1600.0
    offset = rng.uniform(-0.3, 0.3, (*shape, 1, 2))  # where in the crop the person stands
    crop = np.concatenate([pose[..., :2] / scale + offset, pose[..., 2:] / (depth_range / 2)], -1)
    found = scale_to_height(crop, human18, depth_range, 1650.0)
    np.testing.assert_allclose(found, pose - pose[..., :1, :], atol=1e-6)


def test_a_standing_figure_in_the_picture_plane_has_its_heights(human18):
    # 0.4 crop units per stature, all of it along y: 1700 mm / 0.4 = 4250 mm per crop unit
    heights = np.array([human18.heights[joint] for joint in human18.joints])
    crop = np.zeros((18, 3))
    crop[:, 1] = 0.1 - 0.4 * heights
    found = scale_to_height(crop, human18, 2000.0, 1700.0)
    knee, head = (human18.index[name] for name in ("right_knee", "head"))
    np.testing.assert_allclose(found[knee], [0, 425, 0], atol=1e-6)  # (0.53 - 0.28) 1700
    np.testing.assert_allclose(found[head], [0, -782, 0], atol=1e-6)  # (0.53 - 0.99) 1700


def test_arms_do_not_change_the_scale(human18):
    rng = np.random.default_rng(1)
    crop = rng.uniform(-0.2, 0.2, (18, 3))
    waving = crop.copy()
    arms = [i for i, name in enumerate(human18.joints) if name.endswith(("elbow", "wrist"))]
    waving[arms] *= 5
    one, other = (scale_to_height(pose, human18, 1000.0, 1700.0) for pose in (crop, waving))
    rest = [i for i in range(18) if i not in arms]
    np.testing.assert_allclose(one[rest], other[rest], atol=1e-9)
    assert (np.abs(one[arms] - other[arms]).max(-1) > 100).all()


def test_a_pose_that_is_a_point_stays_finite(human18):
    assert np.isfinite(scale_to_height(np.zeros((2, 18, 3)), human18, 2000.0, 1700.0)).all()


# ---- confidence ----------------------------------------------------------------------------------


def test_views_that_do_not_count_are_as_if_they_were_not_there():
    rng = np.random.default_rng(3)
    error, person = rng.uniform(0, 30, (4, 18)), rng.uniform(300, 500, 4)
    few = agreement(error[:3], person[:3])
    error[3], person[3] = np.nan, np.nan
    np.testing.assert_allclose(agreement(error, person), few)
    error[1:] = np.nan
    assert np.isnan(agreement(error, person)).all()


def test_views_that_agree_are_trusted_and_more_of_them_more():
    person = np.full(4, 400.0)
    assert agreement(np.zeros((4, 18)), person) == pytest.approx(0)
    error = np.full((4, 1), 20.0)  # 5 % of the person in every view
    two, three, four = (
        float(confidence_of(agreement(error[:count], person[:count]))[0]) for count in (2, 3, 4)
    )
    # by hand: s^2 = 9 / (2 v) * v * 0.05^2 / (2 v - 3), so confidence = 1 / (1 + 4.5 / (2 v - 3))
    assert (two, three, four) == pytest.approx((1 / 5.5, 1 / 2.5, 1 / 1.9))
    assert confidence_of(agreement(error * 100, person))[0] < 1e-3


def test_confidence_does_not_know_the_size_of_pictures():
    rng = np.random.default_rng(0)
    error, person = rng.uniform(0, 30, (7, 3, 18)), rng.uniform(300, 500, (7, 3))
    one = agreement(error, person)
    np.testing.assert_allclose(agreement(error * 3, person * 3), one)
    assert one.shape == (7, 18)
    assert (one > 0).all()


@pytest.mark.parametrize("views", [2, 3, 4])
def test_the_expected_error_behind_the_confidence_is_the_true_one(views, cameras_around):
    """Noisy detections of one point: s, from reprojections alone, against its distance."""
    cameras = cameras_around(views)
    if views == 2:  # across each other, as the formula takes views to be
        cameras = [cameras_around(4)[k] for k in (0, 1)]
    parts = (torch.tensor(np.stack([c[key] for c in cameras])).float() for key in ("K", "R", "t"))
    camera = Camera(*parts)
    truth = torch.tensor([[0.0, 0.0, 850.0]])
    seen = crop_from_world(truth[None], camera)  # no crop: pixels of the picture
    noise = 0.5  # pixels; 80 of focal length at about 4 m: 25 mm a view
    noisy = seen + noise * torch.randn(
        4000, views, 1, 2, generator=torch.Generator().manual_seed(0)
    )
    found = triangulate(noisy, camera)
    error = (crop_from_world(found.unsqueeze(1), camera) - noisy).norm(dim=-1).numpy()
    person_px = 34.0  # what 1700 mm are at that distance
    s_squared = np.square(agreement(error, np.full((4000, views), person_px)))
    distance = (found - truth).norm(dim=-1).numpy() / 1700
    told, true = np.sqrt(s_squared.mean()), np.sqrt(np.square(distance).mean())
    assert told == pytest.approx(true, rel=0.15)


# ---- the lens ------------------------------------------------------------------------------------


def lens_view(distortion):
    return View(None, None, K, np.eye(3), np.zeros(3), distortion)


def test_distorted_pixels_are_those_of_opencv():
    rng = np.random.default_rng(2)
    x = rng.uniform(-500, 500, (40, 3)) + [0, 0, 2000]
    ideal = (x @ K.T)[:, :2] / x[:, 2:]
    expected, _ = cv2.projectPoints(x, np.zeros(3), np.zeros(3), K, LENS)
    found = distort_px(ideal, lens_view(LENS))
    assert np.abs(found - ideal).max() > 2
    np.testing.assert_allclose(found, expected[:, 0], atol=1e-9)
    # hand-computed: k1 alone scales the ray (0.5, 0) by 1 + k1 r^2 = 1 - 0.2 * 0.25
    only = distort_px(np.array([[271.0, 83.0]]), lens_view(np.array([-0.2, 0, 0, 0, 0])))
    np.testing.assert_allclose(only, [[121 + 300 * 0.5 * 0.95, 83]], atol=1e-9)


def test_an_ideal_lens_moves_nothing():
    xy = np.array([[3.0, 4.0], [500.0, -20.0]])
    np.testing.assert_array_equal(distort_px(xy, lens_view(np.zeros(5))), xy)


# ---- what there is to predict --------------------------------------------------------------------


def put(path, value=200):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((24, 32, 3), value, np.uint8))
    return path


@pytest.fixture
def pictures(tmp_path):
    for i in range(5):
        put(tmp_path / "in" / f"p{i}.jpg")
        put(tmp_path / "masks" / f"m{i}.png", 255)
    return tmp_path / "in"


def files(moments, part="image"):
    return [getattr(moment.views[0], part).name for moment in moments]


def test_a_picture_is_one_moment_of_one_unknown_camera(pictures, tmp_path):
    (moment,) = input_moments(pictures / "p3.jpg", None, 1, tmp_path)
    (view,) = moment.views
    assert (moment.name, view.image, view.mask) == ("p3", pictures / "p3.jpg", None)
    assert np.isnan(view.K).all()
    assert np.isnan(moment.joints_world).all()


@pytest.mark.parametrize("name", ["a.png", "a.jpeg", "A.JPG", "a.tif"])
def test_a_picture_may_have_any_of_the_known_endings(tmp_path, name):
    assert files(input_moments(put(tmp_path / name), None, 1, tmp_path)) == [name]


@pytest.mark.parametrize(("every", "kept"), [(1, "01234"), (2, "024"), (9, "0")])
def test_a_folder_pairs_its_pictures_with_masks_in_order(pictures, tmp_path, every, kept):
    moments = input_moments(pictures, tmp_path / "masks", every, tmp_path / "out")
    assert files(moments) == [f"p{i}.jpg" for i in kept]
    assert files(moments, "mask") == [f"m{i}.png" for i in kept]
    assert not (tmp_path / "out").exists()


def test_a_video_is_taken_apart_into_the_output(tmp_path, write_video):
    frames = [np.full((48, 64, 3), grey, np.uint8) for grey in (30, 90, 150, 210)]
    write_video(tmp_path / "walk.MP4", frames)
    out = tmp_path / "out"
    moments = input_moments(tmp_path / "walk.MP4", None, 2, out)
    greys = [read_image(moment.views[0].image).mean() for moment in moments]
    assert greys == pytest.approx([30, 150], abs=6)
    assert all(out in moment.views[0].image.parents for moment in moments)
    again = input_moments(tmp_path / "walk.MP4", None, 1, out)
    assert [m.views[0].image for m in again][::2] == [m.views[0].image for m in moments]
    assert len(list((out / "frames").iterdir())) == 1


def test_another_video_of_the_same_name_brings_its_own_frames(tmp_path, write_video):
    for k, (folder, grey) in enumerate((("a", 40), ("b", 200))):
        write_video(
            tmp_path / folder / "walk.mp4", [np.full((48, 64, 3), grey, np.uint8)] * (k + 1)
        )
    out = tmp_path / "out"
    assert len(input_moments(tmp_path / "a" / "walk.mp4", None, 1, out)) == 1
    other = input_moments(tmp_path / "b" / "walk.mp4", None, 1, out)
    assert len(other) == 2
    assert read_image(other[0].views[0].image).mean() == pytest.approx(200, abs=6)


@pytest.mark.parametrize(("every", "kept"), [(1, [0, 1, 2, 3]), (3, [0, 3])])
def test_a_recording_brings_its_cameras_and_masks(
    tmp_path, write_recording, cameras_around, every, kept
):
    root = write_recording(tmp_path / "rec", cameras_around(3), count=4, kind="videos")
    moments = input_moments(root, None, every, tmp_path / "out")
    assert [m.views[2].image for m in moments] == [
        root / "frames" / "cam2" / f"{i:06d}.jpg" for i in kept
    ]
    assert [m.views[2].mask for m in moments] == [
        root / "masks" / "cam2" / f"{i:06d}.png" for i in kept
    ]
    np.testing.assert_allclose(moments[0].views[1].R, cameras_around(3)[1]["R"])


def test_a_recording_takes_masks_from_elsewhere(tmp_path, write_recording, cameras_around):
    root = write_recording(tmp_path / "rec", cameras_around(2))
    (root / "masks").rename(tmp_path / "other")
    (moment, *_) = input_moments(root, str(tmp_path / "other"), 1, tmp_path / "out")
    assert moment.views[0].mask == tmp_path / "other" / "cam0" / "000000.png"


def test_a_file_of_another_kind_is_refused_with_the_known_endings(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match=r"notes\.txt is neither .*'\.jpg'.*'\.mp4'"):
        input_moments(tmp_path / "notes.txt", None, 1, tmp_path)


def test_a_folder_without_pictures_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no pictures in {tmp_path}"):
        input_moments(tmp_path, None, 1, tmp_path)


def test_one_mask_too_few_is_told_with_both_numbers(pictures, tmp_path):
    (tmp_path / "masks" / "m4.png").unlink()
    with pytest.raises(ValueError, match=r"5 pictures in .*in but 4 masks in .*masks"):
        input_moments(pictures, tmp_path / "masks", 1, tmp_path)


def test_masks_pair_with_pictures_by_number_not_by_place(pictures, tmp_path):
    for i in (4, 3, 2, 1, 0):
        (tmp_path / "masks" / f"m{i}.png").rename(tmp_path / "masks" / f"m{i + 6}.png")
    with pytest.raises(ValueError, match=r"picture \+6; .* rename the masks: m6\.png to p0\.png"):
        input_moments(pictures, tmp_path / "masks", 1, tmp_path)
    for i in range(5):
        (pictures / f"p{i}.jpg").rename(pictures / f"p{i + 6}.jpg")
    moments = input_moments(pictures, tmp_path / "masks", 1, tmp_path)
    assert files(moments) == [f"p{i}.jpg" for i in range(6, 11)]  # p10 is the last
    assert files(moments, "mask") == [f"m{i}.png" for i in range(6, 11)]


def test_a_missing_folder_of_masks_is_named(pictures, tmp_path):
    with pytest.raises(FileNotFoundError, match="no pictures in .*nowhere"):
        input_moments(pictures, tmp_path / "nowhere", 1, tmp_path)


@pytest.mark.parametrize("every", [0, -1])
def test_a_step_below_one_frame_is_refused(pictures, tmp_path, every):
    with pytest.raises(ValueError, match=f"every={every}: expected 1"):
        input_moments(pictures, None, every, tmp_path)


# ---- frames a second -----------------------------------------------------------------------------


def test_the_frame_rate_is_that_of_the_videos_over_every(
    tmp_path, write_recording, cameras_around, write_video
):
    root = write_recording(tmp_path / "rec", cameras_around(2), kind="videos")
    assert input_fps(root, 1) == pytest.approx(10)
    assert input_fps(root, 4) == pytest.approx(2.5)
    write_video(tmp_path / "walk.mp4", [np.zeros((48, 64, 3), np.uint8)] * 3)
    assert input_fps(tmp_path / "walk.mp4", 2) == pytest.approx(5)


def test_pictures_have_no_frame_rate(pictures, tmp_path, write_recording, cameras_around):
    root = write_recording(tmp_path / "rec", cameras_around(2), kind="frames")
    assert input_fps(root, 1) is None
    assert input_fps(pictures, 1) is None
    assert input_fps(pictures / "p0.jpg", 1) is None


def test_videos_of_different_rates_leave_it_open(
    tmp_path, write_recording, cameras_around, monkeypatch
):
    root = write_recording(tmp_path / "rec", cameras_around(2), kind="videos")
    rates = {"cam0.mp4": 60.0, "cam1.mp4": 59.94}
    monkeypatch.setattr("mask_sup.inference.inputs.frame_rate", lambda path: rates[path.name])
    assert input_fps(root, 1) == 60.0
    rates["cam1.mp4"] = 50.0
    with pytest.warns(UserWarning, match=r"rec differ .*cam0\.mp4 60, cam1\.mp4 50.*give fps="):
        assert input_fps(root, 1) is None


# ---- whole runs ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def configure(compose_config):
    def make(**values):
        cfg = compose_config("predict")
        for key, value in values.items():
            cfg[key] = value if isinstance(value, (int, float)) else str(value)
        return cfg

    return make


@pytest.fixture(scope="module")
def finished(tmp_path_factory, configure, write_checkpoint, write_recording, cameras_around):
    """A recording of two cameras, one of them with a distorting lens, and what predict made of it.

    Nine frames: 18 pictures, more than one batch.
    """
    folder = tmp_path_factory.mktemp("predict")
    cameras = [cameras_around(2)[0], cameras_around(2, LENS)[1]]
    root = write_recording(folder / "rec", cameras, count=9)
    checkpoint = write_checkpoint(folder / "run", "detector.mask_input=true")
    cfg = configure(checkpoint=checkpoint, input=root, person_height=1600.0, fit=False)
    written = predict(cfg)
    with np.load(written / "poses.npz", allow_pickle=False) as file:
        poses = {key: file[key] for key in file.files}
    return root, checkpoint, written, poses, cameras


def test_poses_are_written_to_the_run_of_the_checkpoint(finished):
    _, checkpoint, written, _, _ = finished
    assert written == checkpoint.parents[2] / "predictions" / "rec"
    assert sorted(path.name for path in written.iterdir()) == [
        "contact_sheet.png",
        "overlays",
        "poses.npz",
    ]


def test_the_header_explains_every_array(finished, human18):
    root, checkpoint, _, poses, _ = finished
    header = json.loads(str(poses["header"]))
    assert header["version"] == 2
    assert header["skeleton"] == "human18"
    assert header["joints"] == list(human18.joints)
    assert header["parents"] == dict(human18.parents)
    assert (header["checkpoint"], header["input"]) == (str(checkpoint), str(root))
    assert set(header["arrays"]) == set(poses) - {"header"}
    assert (header["fps"], header["every"]) == (None, 1)  # of a recording of pictures
    assert header["axes"]["joints_world_mm"] == "the world of the calibration"
    assert "mm" in header["units"].values()
    assert "1600.0 mm" in header["arrays"]["joints_root_mm"]
    assert {key: poses[key].shape for key in header["arrays"]} == {
        "joints_px": (9, 2, 18, 2),
        "joints_root_mm": (9, 2, 18, 3),
        "joints_world_mm": (9, 18, 3),
        "reprojected_px": (9, 2, 18, 2),
        "reprojection_error_px": (9, 2, 18),
        "confidence": (9, 18),
        "expected_error_mm": (9, 18),
        "unexplained": (9,),
        "unexplained_view": (9, 2),
        "unexplained_limb": (9, 5),
        "strain": (9,),
        "front": (9,),
        "healthy": (9,),
        "size_mm": (9,),
        "person_px": (9, 2),
        "picture_size_px": (9, 2, 2),
        "pictures": (9, 2),
    }


def test_pictures_are_listed_by_frame_and_view(finished):
    root, _, _, poses, _ = finished
    assert poses["pictures"][4, 1] == str(root / "frames" / "cam1" / "000004.png")


def test_joints_lie_in_the_pictures_where_the_detector_saw_them(finished):
    root, checkpoint, _, poses, cameras = finished
    moments = RecordingData(root, None, joints=18, every=1).moments("train")
    data = MomentDataset(moments, 18, 16, 16, 1.2, True, None, False)
    detector = load(checkpoint)
    assert detector.mask_input
    with torch.no_grad():
        crops = detector(torch.stack([expand(item).views.image for item in data])).numpy()
    for i, (moment, crop) in enumerate(zip(moments, crops, strict=True)):
        left, top, side = mask_box(read_mask(moment.views[0].mask), 1.2)
        expected = (crop[0, :, :2] + 1) / 2 * side + [left, top]  # the first lens is ideal
        np.testing.assert_allclose(poses["joints_px"][i, 0], expected, atol=1e-3)
        # the second is not: back through its lens, into the crop of the straightened picture
        camera = cameras[1]
        straight = cv2.undistortPoints(
            poses["joints_px"][i, 1], camera["K"], camera["distortion"], P=camera["K"]
        )[:, 0]
        folded = data[i].views.camera.K[1].numpy() @ np.linalg.inv(camera["K"])
        found = straight * folded[0, 0] + folded[:2, 2]
        np.testing.assert_allclose(found, crop[1, :, :2], atol=0.02)
    assert np.ptp(poses["joints_px"][:, 0], axis=(0, 1)).min() > 5  # the joints are spread


def test_world_joints_project_to_the_reprojections(finished, project):
    _, _, _, poses, cameras = finished
    for k, camera in enumerate(cameras):
        for world, seen in zip(
            poses["joints_world_mm"], poses["reprojected_px"][:, k], strict=True
        ):
            np.testing.assert_allclose(project(world.astype(float), camera), seen, atol=0.02)


def test_the_reprojection_error_is_the_distance_in_pixels(finished):
    _, _, _, poses, _ = finished
    difference = poses["reprojected_px"] - poses["joints_px"]
    expected = np.sqrt(difference[..., 0] ** 2 + difference[..., 1] ** 2)
    np.testing.assert_allclose(poses["reprojection_error_px"], expected, rtol=1e-5)
    assert expected.max() > 0.5  # views that never learned do not agree


def test_confidence_is_that_of_the_errors_over_the_masks(finished):
    root, _, _, poses, _ = finished
    assert (poses["picture_size_px"] == [72, 56]).all()
    for frame in (0, 8):
        rows, cols = np.nonzero(read_mask(root / "masks" / "cam0" / f"{frame:06d}.png") > 127)
        side = max(np.ptp(rows), np.ptp(cols)) + 1
        # the crop's side is a whole number of pixels
        assert poses["person_px"][frame, 0] == pytest.approx(side, abs=1)
    agreed = agreement(poses["reprojection_error_px"], poses["person_px"])
    assert (poses["confidence"] <= confidence_of(agreed)).all()  # masks speak against it, too
    assert poses["expected_error_mm"].min() > 30  # of views that never learned


def test_single_view_poses_have_the_given_height(finished, human18):
    _, _, _, poses, _ = finished
    root_mm = poses["joints_root_mm"]
    assert not root_mm[..., human18.root, :].any()
    np.testing.assert_allclose(measured(root_mm, human18), 1600 * STATURES, rtol=1e-5)


def test_every_frame_has_an_overlay_of_all_views(finished):
    root, _, written, _, _ = finished
    overlays = sorted((written / "overlays").iterdir())
    assert [path.name for path in overlays] == [f"{i:06d}.png" for i in range(9)]
    picture = read_image(overlays[3])
    assert picture.shape == (72, 144, 3)  # two views of 72 x 56, each in a square
    shown = picture[8:64, :72]  # the first view
    frame = read_image(root / "frames" / "cam0" / "000003.png")
    drawn = (shown != frame).any(-1).mean()
    assert 0.02 < drawn < 0.7  # the frame is there, and something is drawn over it
    # The sheet shows the crops of all nine moments, four in a row, a view in every column.
    sheet = read_image(written / "contact_sheet.png")
    assert sheet.shape == (3 * 240, 4 * 2 * 240, 3)
    assert sheet[480:, :480].std() > 10  # the ninth
    assert not sheet[480:, 480:].any()


def test_a_second_prediction_into_one_folder_is_told_who_runs(finished, configure, tmp_path):
    root, checkpoint, *_ = finished
    cfg = configure(checkpoint=checkpoint, input=root, output=tmp_path / "out", overlays=False)
    with (
        locked(tmp_path / "out", ".predict.lock"),
        pytest.raises(ValueError, match="out is being written to by process"),
    ):
        predict(cfg)


def test_without_overlays_only_poses_are_written(finished, configure, tmp_path):
    root, checkpoint, _, poses, _ = finished
    cfg = configure(
        checkpoint=checkpoint,
        input=root,
        output=tmp_path / "out",
        every=4,
        overlays=False,
        fit=False,
    )
    written = predict(cfg)
    assert written == tmp_path / "out"
    assert [path.name for path in written.iterdir()] == ["poses.npz"]
    with np.load(written / "poses.npz", allow_pickle=False) as file:
        np.testing.assert_allclose(file["joints_px"], poses["joints_px"][::4], atol=1e-3)


def test_threads_change_nothing(finished, configure, tmp_path):
    root, checkpoint, _, poses, _ = finished
    cfg = configure(checkpoint=checkpoint, input=root, output=tmp_path / "out", overlays=False)
    cfg.fit, before = False, torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        written = predict(cfg)
    finally:
        torch.set_num_threads(before)
    with np.load(written / "poses.npz", allow_pickle=False) as file:
        assert (file["pictures"] == poses["pictures"]).all()
        assert (file["picture_size_px"] == poses["picture_size_px"]).all()
        np.testing.assert_allclose(file["joints_px"], poses["joints_px"], atol=1e-3)


def test_a_damaged_picture_is_named_and_stops_all(finished, configure, tmp_path):
    root, checkpoint, _, _, _ = finished
    shutil.copytree(root, tmp_path / "rec")
    damaged = tmp_path / "rec" / "frames" / "cam1" / "000006.png"
    damaged.write_bytes(b"cut off")
    cfg = configure(checkpoint=checkpoint, input=tmp_path / "rec", output=tmp_path / "out")
    with pytest.raises(ValueError, match=rf"^unreadable picture {damaged} \(7 bytes\)"):
        predict(cfg)
    assert not (tmp_path / "out" / "poses.npz").exists()


def test_a_masked_detector_refuses_pictures_without_masks(pictures, finished, configure, tmp_path):
    checkpoint = finished[1]
    cfg = configure(checkpoint=checkpoint, input=pictures, output=tmp_path / "out")
    with pytest.raises(ValueError, match=r"masked input\n.*masks=<folder>, .*; got none\n") as told:
        predict(cfg)
    made = f"python -m mask_sup.masks input={pictures} output={tmp_path}/in_masks\n"
    assert f"  make them: {made}" in str(told.value)
    again = f"checkpoint={checkpoint} input={pictures} masks={tmp_path}/in_masks/in\n"
    assert f"  and then say python -m mask_sup.predict {again}" in str(told.value)
    assert "detector.mask_input=false" in str(told.value)
    cfg.box = [1, 1, 9, 9]
    with pytest.raises(ValueError, match="got a box, which leaves the background in"):
        predict(cfg)
    assert not (tmp_path / "out").exists()
    cfg.box = None
    cfg.masks = str(tmp_path / "masks")
    assert (predict(cfg) / "poses.npz").is_file()


def test_a_detector_of_whole_pictures_needs_neither_masks_nor_cameras(
    pictures, configure, write_checkpoint, tmp_path
):
    checkpoint = write_checkpoint(tmp_path / "run", "detector.mask_input=false")
    written = predict(configure(checkpoint=checkpoint, input=pictures / "p2.jpg"))
    assert written == tmp_path / "run" / "predictions" / "p2"
    with np.load(written / "poses.npz", allow_pickle=False) as file:
        sizes = {"person_px", "picture_size_px"}
        assert set(file.files) == {"header", "pictures", "joints_px", "joints_root_mm", *sizes}
        assert file["picture_size_px"].tolist() == [[[32, 24]]]
        assert set(json.loads(str(file["header"]))["arrays"]) == set(file.files) - {"header"}
        # The crop of a 32 x 24 picture: side ceil(1.2 * 32) = 39 from floor((32 - 39) / 2) = -4.
        x, y = file["joints_px"][0, 0].T
    assert (x > -4).all()
    assert (x < 35).all()
    assert (y > -8).all()
    assert (y < 31).all()


def test_a_damaged_camera_is_found_before_anything_is_written(finished, configure, tmp_path):
    root, checkpoint, _, _, _ = finished
    content = json.loads((root / "cameras.json").read_text())
    damaged = tmp_path / "rec"
    damaged.mkdir()
    for kind in ("frames", "masks"):
        (damaged / kind).symlink_to(root / kind)
    content["cameras"]["cam1"]["R"] = np.zeros((3, 3)).tolist()
    (damaged / "cameras.json").write_text(json.dumps(content))
    cfg = configure(checkpoint=checkpoint, input=damaged, output=tmp_path / "out")
    with pytest.raises(ValueError, match="R that is no rotation"):
        predict(cfg)
    assert not (tmp_path / "out").exists()


def test_a_missing_checkpoint_says_where_they_are(configure, pictures, tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at .*checkpoints/last.ckpt"):
        predict(configure(checkpoint=tmp_path / "gone.ckpt", input=pictures))


def test_the_size_of_a_picture_taken_upright_is_that_of_what_is_read(
    configure, write_checkpoint, tmp_path
):
    from PIL import Image

    exif = Image.Exif()
    exif[274] = 6  # shown after a quarter turn
    Image.new("RGB", (32, 24), (90, 90, 90)).save(tmp_path / "phone.jpg", exif=exif)
    shown = read_image(tmp_path / "phone.jpg").shape
    checkpoint = write_checkpoint(tmp_path / "run", "detector.mask_input=false")
    cfg = configure(checkpoint=checkpoint, input=tmp_path / "phone.jpg", overlays=False)
    with np.load(predict(cfg) / "poses.npz") as file:
        assert file["picture_size_px"][0, 0].tolist() == [shown[1], shown[0]] == [24, 32]


# ---- pictures without masks ----------------------------------------------------------------------


class Seer(Detector):
    """A detector that answers with the corners of what is bright in a crop, and keeps its crops."""

    mask_input, depth_range = False, 2000.0

    def __init__(self, skeleton):
        torch.nn.Module.__init__(self)
        self.skeleton, self.seen = skeleton, []

    def to(self, device):
        return self

    def __call__(self, images):
        return torch.stack([self.look(image) for image in images])

    def look(self, image):
        self.seen.append(image)
        rows, cols = (torch.nonzero(image.mean(0).amax(axis) > 0.8) for axis in (1, 0))
        ends = torch.tensor([[cols.min(), rows.min()], [cols.max() + 1, rows.max() + 1]])
        ends = 2 * ends / image.shape[-1] - 1
        joints = torch.zeros(len(self.skeleton.joints), 3)
        joints[:, :2] = ends[0]
        joints[1:, :2] = ends[1]
        return joints


@pytest.fixture
def seer(human18, monkeypatch):
    found = Seer(human18)
    monkeypatch.setattr("mask_sup.models.checkpoint.restore", lambda checkpoint: found)
    return found


@pytest.fixture
def unmasked(write_checkpoint, tmp_path):
    """The checkpoint of a detector of whole pictures; 64-pixel crops, padding 1.2."""
    return write_checkpoint(tmp_path / "run", "detector.mask_input=false", "data.image_size=64")


SPOT = (300, 90, 330, 150)  # left, top, right, bottom: small and far off the middle


@pytest.fixture
def spotted(tmp_path):
    """Two pictures of 480 x 320, each with a bright rectangle where somebody may be."""
    for i, shift in enumerate((0, -200)):
        picture = np.full((320, 480, 3), 30, np.uint8)
        left, top, right, bottom = SPOT
        picture[top:bottom, left + shift : right + shift] = 255
        (tmp_path / "spots").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "spots" / f"{i}.png"), picture)
    return tmp_path / "spots"


def test_a_given_box_is_cropped_with_its_padding_and_joints_land_in_it(
    spotted, unmasked, seer, configure
):
    cfg = configure(checkpoint=unmasked, input=spotted / "0.png", overlays=False)
    cfg.box = [290, 80, 50, 80]  # with its padding: (315, 120) and 48 to each side
    poses = read(predict(cfg))
    picture = read_image(spotted / "0.png")[72:168, 267:363]
    expected = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA)
    (crop,) = seer.seen
    np.testing.assert_allclose(crop.permute(1, 2, 0) * 255, expected, atol=2)
    found = poses["joints_px"][0, 0]
    np.testing.assert_allclose(found[0], SPOT[:2], atol=1.5)  # a pixel of the crop
    np.testing.assert_allclose(found[1:], np.tile(SPOT[2:], (17, 1)), atol=1.5)
    assert poses["person_px"] == pytest.approx(80, abs=1)
    header = json.loads(str(poses["header"]))
    assert header["settings"]["masks_at_test"] == "none"
    assert header["settings"]["box_at_test"] == "given by the user"
    assert "box as it was given" in header["arrays"]["person_px"]


def test_boxes_of_a_file_go_to_their_pictures(spotted, unmasked, seer, configure, tmp_path):
    cfg = configure(checkpoint=unmasked, input=spotted, overlays=False, box=tmp_path / "b.csv")
    (tmp_path / "b.csv").write_text(
        "picture,x,y,width,height\n1.png,90,80,50,80\n0.png,290,80,50,40\n"
    )
    poses = read(predict(cfg))
    np.testing.assert_allclose(poses["joints_px"][1, 0, 0], [100, 90], atol=1.5)
    assert poses["person_px"][:, 0] == pytest.approx([50, 80], abs=1)


def test_without_a_box_the_detector_looks_again_at_its_own_joints(
    spotted, unmasked, seer, configure, capsys
):
    poses = read(predict(configure(checkpoint=unmasked, input=spotted, overlays=False)))
    first, second, last = seer.seen[:2], seer.seen[2:4], seer.seen[-2:]
    assert 6 <= len(seer.seen) <= 10
    wide = [(images[0].mean(0) > 0.5).any(0).sum().item() for images in (first, second)]
    assert wide[0] == 4  # 30 pixels of 480 that are 64: all of the picture
    assert wide[1] > 20  # of 60 / 0.94 * 1.2
    for image in last:
        rows, cols = (torch.nonzero(image.mean(0).amax(axis) > 0.5).flatten() for axis in (1, 0))
        middle = torch.stack([rows.min() + rows.max(), cols.min() + cols.max()]) / 2 + 0.5
        np.testing.assert_allclose(middle, 32, atol=1)
        assert len(rows) / 64 == pytest.approx(0.94 / 1.2, abs=0.04)  # 0.94 of a standing person
    for i, shift in enumerate((0, -200)):
        np.testing.assert_allclose(
            poses["joints_px"][i, 0, :2], [[300 + shift, 90], [330 + shift, 150]], atol=1.5
        )
    assert poses["person_px"] == pytest.approx(60 / 0.94, abs=3)
    header = json.loads(str(poses["header"]))
    assert header["settings"]["masks_at_test"] == "none"
    assert header["settings"]["box_at_test"].startswith("found by the detector: further looks")
    assert "square that the detector found" in header["arrays"]["person_px"]
    assert "the detector looks for the person" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("reach", "crops"),
    [
        (0.94 / 1.2, 3),  # joints as far apart as in a crop around a standing person: at once
        (0.5, 5),  # always smaller than what is looked at: 4 looks for the person, and the last
    ],
)
def test_a_picture_is_looked_at_until_the_person_is_where_it_was_looked_for(
    spotted, unmasked, seer, configure, reach, crops
):
    joints = torch.zeros(18, 3)
    joints[0, :2], joints[1, :2] = -reach, reach
    seer.look = lambda image: (seer.seen.append(image), joints)[1]
    predict(configure(checkpoint=unmasked, input=spotted / "0.png", overlays=False))
    assert len(seer.seen) == crops


def test_masks_are_taken_for_the_box_where_they_are_given(
    spotted, unmasked, seer, configure, tmp_path
):
    for i in range(2):
        mask = np.zeros((320, 480), np.uint8)
        mask[80:160, 290:340] = 255
        (tmp_path / "spot_masks").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "spot_masks" / f"{i}.png"), mask)
    cfg = configure(checkpoint=unmasked, input=spotted / "0.png", overlays=False)
    cfg.masks = str(tmp_path / "spot_masks")
    (tmp_path / "spot_masks" / "1.png").unlink()
    header = json.loads(str(read(predict(cfg))["header"]))
    assert len(seer.seen) == 1
    assert header["settings"]["masks_at_test"] == "the crop"
    assert header["settings"]["box_at_test"] == "the person's mask"
    assert header["arrays"]["person_px"].startswith("frame, view: larger side of the person's mask")
    cfg.box = [1, 2, 30, 40]
    with pytest.raises(ValueError, match=r"box=\[1, 2, 30, 40\] and masks=.*one of the two"):
        predict(cfg)


@pytest.fixture
def bare(tmp_path, write_recording, cameras_around):
    """A recording of two cameras, the second with a lens, without masks."""
    cameras = [cameras_around(2)[0], cameras_around(2, LENS)[1]]
    root = write_recording(tmp_path / "bare", cameras, count=3, kind="videos")
    shutil.rmtree(root / "masks")
    return root, cameras


def test_joints_in_given_boxes_land_where_the_lens_sees_them(
    bare, unmasked, seer, configure, tmp_path
):
    root, cameras = bare
    seer.look = lambda image: torch.tensor([[-0.5, 0.25, 0.0]]).repeat(18, 1)
    (tmp_path / "b.csv").write_text("picture,x,y,width,height\ncam0,9,8,30,40\ncam1,9,8,30,40\n")
    cfg = configure(checkpoint=unmasked, input=root, overlays=False, box=tmp_path / "b.csv")
    poses = read(predict(cfg))
    # cam0: 48 pixels from (0, 4) on, of which a quarter and five eighths
    np.testing.assert_allclose(poses["joints_px"][:, 0], np.tile([12.0, 34.0], (3, 18, 1)))
    edge = [(9, y) for y in range(8, 49)] + [(39, y) for y in range(8, 49)]
    edge = np.array(edge + [(x, y) for x in range(9, 40) for y in (8, 48)], float)
    camera = cameras[1]
    ideal = cv2.undistortPoints(edge, camera["K"], camera["distortion"], P=camera["K"])[:, 0]
    low, high = np.floor(ideal.min(0)), np.ceil(ideal.max(0))
    side = np.ceil((high - low).max() * 1.2)
    corner = np.floor((low + high - side) / 2)
    ray = np.linalg.inv(camera["K"]) @ [*(corner + side * np.array([0.25, 0.625])), 1]
    taken = cv2.projectPoints(ray, np.zeros(3), np.zeros(3), camera["K"], camera["distortion"])[0]
    np.testing.assert_allclose(poses["joints_px"][1, 1, 5], taken[0, 0], atol=1e-3)
    assert np.abs(low - [9, 8]).max() >= 1  # the lens matters


def test_the_second_look_knows_the_lens(spotted, unmasked, seer, configure, tmp_path):
    camera = {"K": [[400, 0, 240], [0, 400, 160], [0, 0, 1]], "R": np.eye(3).tolist()}
    camera |= {"t": [0, 0, 3000], "dist": [-0.35, 0.12, 0.004, -0.006, 0.02]}
    (tmp_path / "rec" / "frames").mkdir(parents=True)
    spotted.rename(tmp_path / "rec" / "frames" / "cam0")
    told = {"unit": "mm", "cameras": {"cam0": camera}}
    (tmp_path / "rec" / "cameras.json").write_text(json.dumps(told))
    poses = read(predict(configure(checkpoint=unmasked, input=tmp_path / "rec", overlays=False)))
    for image in seer.seen[-2:]:
        cols = torch.nonzero(image.mean(0).amax(0) > 0.5).flatten()
        assert (cols.min() + cols.max()) / 2 + 0.5 == pytest.approx(32, abs=1.5)
    for i, shift in enumerate((0, -200)):  # where they were filmed; the spot is a little bent
        spot = [[300 + shift, 90], [330 + shift, 150]]
        np.testing.assert_allclose(poses["joints_px"][i, 0, :2], spot, atol=3)


@pytest.mark.parametrize("fit", [None, False])
def test_calibrated_views_without_masks_are_triangulated_and_not_fitted(
    bare, unmasked, configure, capsys, fit
):
    root, cameras = bare
    cfg = configure(checkpoint=unmasked, input=root, overlays=False)
    cfg.fit = fit
    written = predict(cfg)
    poses = read(written)
    told = capsys.readouterr().out
    assert ("no poses are fitted: that takes masks" in told) == (fit is None)
    assert np.isfinite(poses["joints_world_mm"]).all()
    assert np.isfinite(poses["person_px"]).all()
    assert not {"unexplained", "healthy", "size_mm", "expected_error_mm"} & set(poses)
    agreed = agreement(poses["reprojection_error_px"], poses["person_px"])
    np.testing.assert_allclose(poses["confidence"], confidence_of(agreed), atol=1e-5)
    header = json.loads(str(poses["header"]))
    assert not header["settings"]["fitted_at_test"]
    assert "person_px)^2" in header["arrays"]["confidence"]
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        cfg = compose("export", [f"poses={written / 'poses.npz'}", "formats=[bvh,trc,csv,npz]"])
        assert all(file.is_file() for file in export(cfg))
        cfg = compose("report", [f"poses={written / 'poses.npz'}", "video=false"])
    page = (write_report(cfg) / "report.html").read_text()
    assert "mean reprojection error" in page


def test_masks_of_a_recording_are_left_out_where_a_box_is_given(
    tmp_path, write_recording, write_checkpoint, cameras_around, unmasked, configure
):
    root = write_recording(tmp_path / "rec", cameras_around(2), count=2)
    cfg = configure(checkpoint=unmasked, input=root, overlays=False)
    assert "unexplained" in read(predict(cfg))
    cfg.box = [5, 5, 40, 50]
    poses = read(predict(cfg))
    assert "unexplained" not in poses
    assert poses["person_px"] == pytest.approx(np.full((2, 2), 50), abs=1)
    cfg.fit = True
    with pytest.raises(ValueError, match="this input lacks a mask for each picture"):
        predict(cfg)
    cfg.checkpoint = str(write_checkpoint(tmp_path / "masked", "detector.mask_input=true"))
    with pytest.raises(ValueError, match="leave box= out: the recording has masks"):
        predict(cfg)


def test_a_view_in_which_a_file_of_boxes_has_nobody_is_left_out(
    bare, unmasked, configure, capsys, tmp_path
):
    root, _ = bare
    rows = ["cam0,9,8,30,40", "cam1,9,8,30,40", "cam1/1,,,,"]
    (tmp_path / "b.csv").write_text("\n".join(["picture,x,y,width,height", *rows]) + "\n")
    cfg = configure(checkpoint=unmasked, input=root, box=tmp_path / "b.csv")
    poses = read(predict(cfg))
    told = capsys.readouterr().out
    assert "mask or box shows nobody are left out: cam1 in 1 of 3 moments (1)" in told
    assert "! 1 of 3 moments have no pose" in told
    shown = [[True, True], [True, False], [True, True]]
    for name in ("joints_px", "joints_root_mm", "person_px"):
        known = np.isfinite(poses[name]).reshape(3, 2, -1)
        np.testing.assert_array_equal(known.all(-1), shown)
        np.testing.assert_array_equal(known.any(-1), shown)
    assert np.isfinite(poses["joints_world_mm"]).all((1, 2)).tolist() == [True, False, True]


def test_a_recording_without_masks_is_told_before_its_videos_are_taken_apart(
    bare, write_checkpoint, configure, tmp_path
):
    root, _ = bare
    checkpoint = write_checkpoint(tmp_path / "masked", "detector.mask_input=true")
    made = f"python -m mask_sup.masks input={root} output={root}/masks"
    with pytest.raises(ValueError, match=f"masked input\n.*got none\n.*{made}\n"):
        predict(configure(checkpoint=checkpoint, input=root))
    assert not (root / "frames").exists()
    with pytest.raises(FileNotFoundError, match=f"no input at {tmp_path / 'gone'}: give"):
        predict(configure(checkpoint=checkpoint, input=tmp_path / "gone"))


@pytest.mark.parametrize("changed", ["box", "calibration", None])
def test_what_a_stopped_prediction_kept_is_not_taken_over_for_other_boxes_or_cameras(
    bare, unmasked, configure, monkeypatch, tmp_path, changed
):
    root, _ = bare
    monkeypatch.setattr("mask_sup.inference.parts.PART", 1)
    rows = "picture,x,y,width,height\ncam0,9,8,30,40\ncam1,9,8,30,{}\n"
    (tmp_path / "b.csv").write_text(rows.format(40))
    cfg = configure(checkpoint=unmasked, input=root, overlays=False, box=tmp_path / "b.csv")
    made, stopped = [], [True]

    interrupt(monkeypatch, made, lambda: len(made) == 2 and stopped)
    with pytest.raises(KeyboardInterrupt):
        predict(cfg)
    stopped.clear()
    made.clear()
    if changed == "box":
        (tmp_path / "b.csv").write_text(rows.format(45))
    if changed == "calibration":
        told = json.loads((root / "cameras.json").read_text())
        told["cameras"]["cam1"]["t"][0] += 5.0
        (root / "cameras.json").write_text(json.dumps(told))
    predict(cfg)
    assert len(made) == (1 if changed is None else 3)


# ---- poses fitted to the masks -----------------------------------------------------------------


@pytest.fixture
def filmed(tmp_path, write_checkpoint):
    """A walker in four cameras: pictures of nothing, masks of the body itself; and a checkpoint."""
    truth = walking() + torch.arange(6)[:, None, None] * torch.tensor([15.0, 0.0, 0.0])
    camera, mask = masks(truth, size=96)
    described = {}
    for view in range(4):
        K = np.array([[96 * 4000 / 2400, 0, 48], [0, 96 * 4000 / 2400, 48], [0, 0, 1.0]])
        R, t = camera.R[0, view].tolist(), camera.t[0, view].tolist()
        described[f"cam{view}"] = {"K": K.tolist(), "R": R, "t": t, "dist": [0.0] * 5}
        for kind in ("frames", "masks"):
            (tmp_path / "film" / kind / f"cam{view}").mkdir(parents=True)
        for i in range(6):
            shown = (mask[i, view].numpy() * 255).round().astype(np.uint8)
            name = f"cam{view}/{i:06d}"
            cv2.imwrite(str(tmp_path / "film" / "masks" / f"{name}.png"), shown)
            cv2.imwrite(str(tmp_path / "film" / "frames" / f"{name}.jpg"), shown)
    told = {"unit": "mm", "cameras": described}
    (tmp_path / "film" / "cameras.json").write_text(json.dumps(told))
    return truth.numpy(), tmp_path / "film", write_checkpoint(tmp_path / "run")


def read(folder):
    with np.load(folder / "poses.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def test_poses_of_calibrated_masks_are_fitted_with_no_training(filmed, configure, capsys):
    truth, film, checkpoint = filmed  # of a detector that has learned nothing
    cfg = configure(checkpoint=checkpoint, input=film, overlays=False)
    poses = read(predict(cfg))
    flip = HUMAN.flip
    off, turned = (
        np.linalg.norm(poses["joints_world_mm"][:, order] - truth, axis=-1).mean()
        for order in (list(range(18)), flip)
    )
    assert min(off, turned) < 60
    assert (poses["unexplained"] < 0.04).all()
    assert poses["confidence"].mean() > 0.6
    told = capsys.readouterr().out
    assert "% of the masks unexplained" in told
    assert "! " not in told
    assert poses["healthy"].all()
    header = json.loads(str(poses["header"]))
    assert header["settings"]["fitted_at_test"]
    assert {"unexplained", "front"} <= set(header["arrays"])
    cfg.fit = False
    alone = read(predict(cfg))
    assert np.linalg.norm(alone["joints_world_mm"] - truth, axis=-1).mean() > 200
    assert (alone["unexplained"] > 0.1).all()  # it is held against the masks all the same
    assert alone["confidence"].mean() < 0.5
    assert not alone["healthy"].any()
    assert "! do not trust 6 of 6 moments" in capsys.readouterr().out
    assert not json.loads(str(alone["header"]))["settings"]["fitted_at_test"]


def test_masks_of_no_person_are_told(filmed, configure, capsys):
    _, film, checkpoint = filmed
    for path in (film / "masks").rglob("*.png"):
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        mask[60:, 4:40] = 255  # something stands beside the legs in every view
        cv2.imwrite(str(path), mask)
    cfg = configure(checkpoint=checkpoint, input=film, overlays=False)
    cfg.fitter = few_of_everything()
    poses = read(predict(cfg))
    told = capsys.readouterr().out
    assert "! do not trust 6 of 6 moments" in told
    assert "! 6 leave more than 10 % of the masks unexplained: these hold what is no person" in told
    assert not poses["healthy"].any()


@pytest.mark.parametrize("scale", [1, 1.5, 0.1, 10])
def test_a_scale_that_makes_no_person_is_told(filmed, configure, capsys, scale):
    _, film, checkpoint = filmed
    told = json.loads((film / "cameras.json").read_text())
    for camera in told["cameras"].values():
        camera["t"] = [scale * value for value in camera["t"]]
    (film / "cameras.json").write_text(json.dumps(told))
    cfg = configure(checkpoint=checkpoint, input=film, overlays=False)
    cfg.fitter = few_of_everything()
    written = predict(cfg)
    found = re.findall("! a person would be ([0-9.]+) times as big", capsys.readouterr().out)
    assert len(found) == (scale != 1)
    if found:
        assert float(found[0]) == pytest.approx(scale, rel=0.1)
    _, arrays = read_poses(written / "poses.npz", "size_mm")
    assert arrays["size_mm"] == pytest.approx(np.full(6, 710 * scale), rel=0.12)


@pytest.mark.slow
def test_a_long_prediction_goes_on_where_it_stopped(filmed, configure, monkeypatch):
    _, film, checkpoint = filmed
    monkeypatch.setattr("mask_sup.inference.parts.PART", 3)
    cfg = configure(checkpoint=checkpoint, input=film, overlays=False)
    cfg.fitter = few_of_everything()
    whole = read(predict(cfg))
    made = []

    interrupt(monkeypatch, made, lambda made=made: len(made) == 1)
    with pytest.raises(KeyboardInterrupt):
        predict(cfg)
    made.clear()
    made.extend([None, None])  # the second part may be made now
    written = predict(cfg)
    again = read(written)
    assert len(made) == 3
    for name in set(whole) - {"header"}:
        np.testing.assert_array_equal(whole[name], again[name])
    assert not (written / ".parts").exists()


def emptied(film, *places):
    """Masks of nobody in these cameras and frames."""
    for camera, frame in places:
        path = film / "masks" / camera / f"{frame:06d}.png"
        cv2.imwrite(str(path), np.zeros((96, 96), np.uint8))


@pytest.mark.slow
def test_a_view_that_shows_nobody_is_left_out_and_told(filmed, configure, capsys):
    truth, film, checkpoint = filmed
    emptied(film, ("cam1", 2), ("cam1", 3), ("cam3", 3))
    cfg = configure(checkpoint=checkpoint, input=film)
    poses = read(predict(cfg))
    told = capsys.readouterr().out
    assert "nobody are left out: cam1 in 2 of 6 moments (2-3), cam3 in 1 of 6 moments (3)" in told
    assert "have no pose" not in told
    shown = np.isfinite(poses["person_px"])
    assert sorted(np.argwhere(~shown).tolist()) == [[2, 1], [3, 1], [3, 3]]
    for name in ("joints_px", "joints_root_mm", "reprojection_error_px"):
        known = np.isfinite(poses[name]).reshape(6, 4, -1)
        np.testing.assert_array_equal(known.all(-1), shown)
        np.testing.assert_array_equal(known.any(-1), shown)
    off, turned = (
        np.linalg.norm(poses["joints_world_mm"][:, order] - truth, axis=-1).mean(-1)
        for order in (list(range(18)), HUMAN.flip)
    )
    assert np.minimum(off, turned).max() < 80
    assert np.isfinite(poses["reprojected_px"]).all()  # the pose is seen again in all views
    assert "NaN in views whose mask or box shows nobody" in str(poses["header"])


@pytest.mark.parametrize("fit", [True, False])
@pytest.mark.parametrize("part", [2, 600])
def test_a_moment_that_one_view_alone_shows_has_no_pose(
    filmed, configure, capsys, monkeypatch, part, fit
):
    _, film, checkpoint = filmed
    monkeypatch.setattr("mask_sup.inference.parts.PART", part)
    emptied(film, *((f"cam{k}", i) for i in (2, 3) for k in range(3)), ("cam3", 3))
    cfg = configure(checkpoint=checkpoint, input=film, overlays=False, fit=fit)
    cfg.fitter = few_of_everything()
    written = predict(cfg)
    told = capsys.readouterr().out
    assert "! 2 of 6 moments have no pose (NaN, confidence 0), as fewer than 2 views" in told
    poses = read(written)
    known = [True, True, False, False, True, True]
    assert np.isfinite(poses["joints_world_mm"]).all((1, 2)).tolist() == known
    assert np.isfinite(poses["joints_world_mm"]).any((1, 2)).tolist() == known
    assert (poses["confidence"][2:4] == 0).all()
    assert (poses["confidence"][[0, 1, 4, 5]] > 0).all()
    assert np.isfinite(poses["unexplained"]).tolist() == known
    assert not poses["healthy"][2:4].any()
    after_it(written / "poses.npz")


def after_it(path):
    """What comes after a prediction takes a file with gaps."""
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        cfg = compose("export", [f"poses={path}", "fps=10", "formats=[bvh,trc,csv,npz,json]"])
        assert all(file.is_file() for file in export(cfg))
        cfg = compose("report", [f"poses={path}", "video=false"])
    page = (write_report(cfg) / "report.html").read_text()
    assert "2 of 6 moments have no pose" in page
    assert "missing in many pictures" not in page


def test_masks_of_nobody_alone_end_the_prediction(filmed, pictures, configure, tmp_path):
    _, film, checkpoint = filmed
    emptied(film, *((f"cam{k}", i) for i in range(6) for k in range(3)))
    cfg = configure(checkpoint=checkpoint, input=film, overlays=False)
    with pytest.raises(ValueError, match="no moment has masks or boxes that show .* in at least 2"):
        predict(cfg)
    for path in (tmp_path / "masks").iterdir():
        cv2.imwrite(str(path), np.zeros((24, 32), np.uint8))
    cfg = configure(checkpoint=checkpoint, input=pictures, masks=tmp_path / "masks")
    with pytest.raises(ValueError, match="at least one view: look at them"):
        predict(cfg)
    put(tmp_path / "masks" / "m3.png", 255)
    alone = read(predict(cfg))
    assert np.isfinite(alone["joints_px"]).all((1, 2, 3)).tolist() == [False] * 3 + [True, False]


def few_of_everything():
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        return compose("predict", ["fitter=few"]).fitter


def test_fitting_is_refused_where_it_cannot_be_done(
    pictures, configure, write_checkpoint, tmp_path
):
    checkpoint = write_checkpoint(tmp_path / "run", "detector.mask_input=false")
    cfg = configure(checkpoint=checkpoint, input=pictures, fit=True)
    with pytest.raises(ValueError, match="lacks two views or more and a calibration and a mask"):
        predict(cfg)


@pytest.mark.slow
def test_folders_of_any_name_go_through_the_command(
    tmp_path, monkeypatch, write_checkpoint, write_recording, cameras_around
):
    monkeypatch.chdir(tmp_path)
    name = "Vidéos, Trial (1)"
    write_recording(tmp_path / name, cameras_around(2), count=2)
    checkpoint = write_checkpoint(tmp_path / "läufe=1" / "run [2]").relative_to(tmp_path)
    words = ["predict", f"checkpoint={checkpoint}", f"input={name}", "fit=false"]
    for more, written in (
        ([], f"läufe=1/run [2]/predictions/{name}"),
        (["output=it's, #2 "], "it's, #2 "),
    ):
        monkeypatch.setattr("sys.argv", [*words, *more])
        main()
        with np.load(tmp_path / written / "poses.npz", allow_pickle=False) as file:
            assert file["pictures"][1, 0] == f"{name}/frames/cam0/000001.png"
