import json

import cv2
import numpy as np
import pytest

from mask_sup.calibration import read_calibration, write_calibration
from mask_sup.data.moments import MomentDataset
from mask_sup.data.recording import RecordingData, is_recording
from mask_sup.files.pictures import list_pictures, read_image

ENTRY = {
    "K": [[800, 0, 320], [0, 810, 240], [0, 0, 1]],
    "R": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "t": [10, -20, 3000],
    "dist": [0.1, 0.02, 0.001, 0.002, 0.003],
}


def told(unit="mm", **changes):
    entry = {key: value for key, value in (ENTRY | changes).items() if value is not ...}
    return {"unit": unit, "cameras": {"cam0": entry}}


@pytest.fixture
def cameras_file(tmp_path):
    def write(content):
        path = tmp_path / "cameras.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


@pytest.fixture
def recording(tmp_path, write_recording, cameras_around):
    def write(kind="frames", count=3, views=2):
        return write_recording(tmp_path / "walk", cameras_around(views), count, kind)

    return write


def prepared(root, every=1, masks=None, joints=18):
    data = RecordingData(root, masks, joints=joints, every=every)
    data.prepare()
    return data


# ---- videos to moments ---------------------------------------------------------------------------


def test_videos_become_frames_and_frames_become_moments(recording, cameras_around):
    root = recording("videos", count=4, views=3)
    assert not (root / "frames").exists()
    moments = prepared(root).moments("train")
    assert [m.name for m in moments] == [f"walk/{i:06d}" for i in range(4)]
    for i, moment in enumerate(moments):
        assert len(moment.views) == 3
        assert moment.joints_world.shape == (18, 3)
        assert np.isnan(moment.joints_world).all()
        for k, (view, camera) in enumerate(zip(moment.views, cameras_around(3), strict=True)):
            assert view.image == root / "frames" / f"cam{k}" / f"{i:06d}.jpg"
            assert view.mask == root / "masks" / f"cam{k}" / f"{i:06d}.png"
            assert read_image(view.image).shape == (56, 72, 3)
            for key in ("K", "R", "t", "distortion"):
                np.testing.assert_allclose(getattr(view, key), camera[key], rtol=1e-12)


def test_the_moments_load_as_items(recording):
    data = MomentDataset(
        prepared(recording("videos")).moments("train"),
        joints=18,
        image_size=16,
        mask_size=8,
        padding=1.2,
        mask_input=True,
        geodesic=None,
        memory=False,
    )
    assert data.calibrated
    assert data[0].views.sequence == data[2].views.sequence  # in one go
    assert data[2].views.image.shape == (2, 16, 16, 3)


def test_frames_that_are_there_need_no_video(recording):
    root = recording("frames")
    assert len(prepared(root).moments("train")) == 3
    assert not (root / "videos").exists()


def test_videos_are_taken_apart_once(recording):
    root = recording("videos")
    prepared(root)
    for video in (root / "videos").iterdir():
        video.unlink()
    assert len(prepared(root).moments("train")) == 3


@pytest.mark.parametrize(
    ("every", "split", "frames"),
    [
        (1, "val", [0, 5, 10]),
        (2, "train", [0, 2, 4, 6, 8, 10]),
        (2, "val", [0, 10]),
        (100, "train", [0]),
    ],
)
def test_every_nth_frame_is_used_and_every_fifth_of_them_validates(recording, every, split, frames):
    moments = prepared(recording(count=11, views=1), every).moments(split)
    assert [m.name for m in moments] == [f"walk/{i:06d}" for i in frames]
    assert [m.views[0].image.stem for m in moments] == [f"{i:06d}" for i in frames]


def test_without_masks_frames_alone_have_to_go_together(recording):
    root = recording()
    for path in (root / "masks").rglob("*.png"):
        path.unlink()
    data = prepared(root)
    views = [view for moment in data.moments("train", masked=False) for view in moment.views]
    assert [view.image.stem for view in views] == [f"{i:06d}" for i in (0, 0, 1, 1, 2, 2)]
    assert all(view.mask is None for view in views)
    with pytest.raises(FileNotFoundError, match="masks"):
        data.moments("train")
    (root / "frames" / "cam1" / "000002.png").unlink()
    with pytest.raises(ValueError, match="number of frames, got cam0: 3 frames, cam1: 2 frames;"):
        data.moments("train", masked=False)


def test_masks_may_lie_elsewhere(recording, tmp_path):
    root = recording()
    (root / "masks").rename(tmp_path / "other")
    moments = prepared(root, masks=tmp_path / "other").moments("train")
    assert moments[1].views[1].mask == tmp_path / "other" / "cam1" / "000001.png"


def test_frames_and_masks_pair_up_in_the_order_of_their_names(recording):
    root = recording()
    for i in range(3):
        (root / "frames" / "cam0" / f"{i:06d}.png").rename(
            root / "frames" / "cam0" / f"z{2 - i}.png"
        )
    moments = prepared(root).moments("train")
    assert [m.views[0].image.name for m in moments] == ["z0.png", "z1.png", "z2.png"]
    assert [m.views[0].mask.name for m in moments] == ["000000.png", "000001.png", "000002.png"]


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["frames", "masks"])
def test_unequal_counts_are_told_for_every_camera(recording, kind):
    root = recording()
    next((root / kind / "cam1").iterdir()).unlink()
    frames, masks = (2, 3) if kind == "frames" else (3, 2)
    expected = f"cam0: 3 frames, 3 masks, cam1: {frames} frames, {masks} masks"
    with pytest.raises(ValueError, match=expected):
        prepared(root).moments("train")


def test_videos_of_unequal_length_are_told(recording, write_video):
    root = recording("videos")
    write_video(root / "videos" / "cam1.mp4", [np.zeros((56, 72, 3), np.uint8)] * 5)
    with pytest.raises(ValueError, match="cam0: 3 frames, 3 masks, cam1: 5 frames, 3 masks"):
        prepared(root).moments("train")


def test_a_missing_video_is_named_with_what_is_there(recording):
    root = recording("videos")
    (root / "videos" / "cam1.mp4").rename(root / "videos" / "camera1.mp4")
    told = r"\['cam1'\] have no videos, videos \['camera1'\] no camera; .*rename={cam1: camera1}"
    with pytest.raises(ValueError, match=told):
        prepared(root)


def test_cameras_that_did_not_film_are_left_out_aloud(recording, capsys):
    root = recording("videos", views=3)
    (root / "videos" / "cam1.mp4").unlink()
    (moment, *_) = prepared(root).moments("train")
    assert [view.image.parent.name for view in moment.views] == ["cam0", "cam2"]
    assert "without videos: ['cam1'] are left out" in capsys.readouterr().out


def test_a_recording_without_pictures_says_what_is_expected(recording):
    root = recording("videos")
    for path in (root / "videos").iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no videos in .* expected one per camera, \["):
        prepared(root)


def test_videos_without_a_camera_are_left_out_aloud(recording, write_video, capsys):
    root = recording("videos")
    write_video(root / "videos" / "third.mp4", [np.zeros((56, 72, 3), np.uint8)] * 3)
    assert len(prepared(root).moments("train")[0].views) == 2
    assert "videos without a camera in" in capsys.readouterr().out


def test_two_videos_of_one_camera_are_refused(recording, write_video):
    root = recording("videos")
    write_video(root / "videos" / "cam1.avi", [np.zeros((56, 72, 3), np.uint8)])
    (root / "videos" / "cam1.txt").write_text("notes are no video")
    with pytest.raises(FileNotFoundError, match=r"found \['cam1\.avi', 'cam1\.mp4'\]"):
        prepared(root)


def test_a_damaged_video_leaves_no_frames_behind(recording):
    root = recording("videos")
    (root / "videos" / "cam1.mp4").write_bytes(b"not a video")
    with pytest.raises(ValueError, match=r"cam1\.mp4 cannot be read as a video"):
        prepared(root)
    assert [path.name for path in (root / "frames").iterdir()] == ["cam0"]


@pytest.mark.parametrize("kind", ["frames", "masks"])
def test_a_folder_without_pictures_is_named(recording, kind):
    root = recording()
    for path in (root / kind / "cam1").iterdir():
        path.rename(path.with_suffix(".txt"))
    with pytest.raises(FileNotFoundError, match=f"no pictures in {root / kind / 'cam1'}"):
        prepared(root).moments("train")


def test_an_unknown_split_is_refused(recording):
    with pytest.raises(ValueError, match=r"has the splits \('train', 'val'\), not 'test'"):
        prepared(recording()).moments("test")


@pytest.mark.parametrize("every", [0, -1])
def test_a_step_below_one_frame_is_refused(tmp_path, every):
    with pytest.raises(ValueError, match=f"every={every}: expected 1"):
        RecordingData(tmp_path, None, joints=18, every=every)


def test_a_folder_that_is_no_recording_says_what_one_needs(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'missing .*cameras\.json: .*"unit": "mm"'):
        prepared(tmp_path)


def test_an_r_that_is_no_rotation_is_found_before_anything_is_read(recording):
    root = recording()
    content = json.loads((root / "cameras.json").read_text())
    content["cameras"]["cam1"]["R"] = (2 * np.eye(3)).tolist()
    (root / "cameras.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"cam1.* has an R that is no rotation"):
        MomentDataset(prepared(root).moments("train"), 18, 16, 8, 1.2, True, None, False)


# ---- cameras.json --------------------------------------------------------------------------------


@pytest.mark.parametrize(("unit", "t"), [("mm", [10, -20, 3000]), ("m", [10000, -20000, 3000000])])
def test_translations_become_millimetres(cameras_file, unit, t):
    camera = read_calibration(cameras_file(told(unit)))
    assert camera.names == ("cam0",)
    assert camera.t.tolist() == [t]
    assert camera.K.tolist() == [ENTRY["K"]]  # pixels have no unit
    assert camera.distortion.tolist() == [ENTRY["dist"]]


def test_a_lens_without_distortion_is_ideal(cameras_file):
    assert not read_calibration(cameras_file(told(dist=...))).distortion.any()


@pytest.mark.parametrize(
    "content",
    [
        "{not json",
        "[]",
        "3",
        "",
        {"unit": "mm"},
        {"cameras": {"cam0": ENTRY}},
        {"unit": "mm", "cameras": {}},
        {"unit": "mm", "cameras": [ENTRY]},
        {"unit": "mm", "cameras": {"cam0": [1, 2]}},
        told(unit="cm"),
        told(unit=None),
        told(K=...),
        told(R=...),
        told(t=...),
        told(K=[[1, 2], [3, 4]]),
        told(R=[1, 2, 3]),
        told(t=[1, 2]),
        told(t="far"),
        told(dist=[0.1, 0.2, 0.3, 0.4]),
        told(dist=None),
    ],
    ids=str,
)
def test_a_file_of_another_form_is_refused_with_the_form(cameras_file, content):
    path = cameras_file(content)
    with pytest.raises(ValueError, match=rf'(?s){path} is no camera file .*"K": 3x3, "R": 3x3'):
        read_calibration(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("key", "name"), [("K", "K"), ("R", "R"), ("t", "t"), ("dist", "distortion")]
)
def test_numbers_that_are_not_finite_are_named(cameras_file, key, name, value):
    damaged = np.array(ENTRY[key], float)
    damaged.flat[1] = value
    with pytest.raises(ValueError, match=rf"camera 'cam0' of .* infinite numbers in \['{name}'\]"):
        read_calibration(cameras_file(told(**{key: damaged.tolist()})))


# ---- calibrations of other formats ---------------------------------------------------------------


@pytest.fixture
def recording_with(recording):
    """A recording of two cameras, 72x56 pixels, whose calibration is in another file."""

    def write(file, sizes=((72, 56), (72, 56))):
        root = recording()
        cameras = read_calibration(root / "cameras.json").fitted_to(sizes)
        (root / "cameras.json").unlink()
        write_calibration(cameras, root / file)
        return root, cameras

    return write


@pytest.mark.parametrize("file", ["Calib.toml", "rig.json", "."])
def test_any_calibration_of_a_known_format_will_do(recording_with, file):
    root, cameras = recording_with(file)
    views = prepared(root).moments("train")[0].views
    for index, view in enumerate(views):
        for key in ("K", "R", "t", "distortion"):
            expected = getattr(cameras, key)[index]
            np.testing.assert_allclose(getattr(view, key), expected, rtol=1e-9, atol=1e-9)


def test_several_calibrations_are_listed_unless_one_is_cameras_json(recording_with):
    root, cameras = recording_with("Calib.toml")
    write_calibration(cameras, root)  # intri.yml, extri.yml
    with pytest.raises(ValueError, match=r"several .*\(easymocap\), Calib.toml \(anipose\)"):
        prepared(root)
    write_calibration(cameras, root / "cameras.json")
    assert len(prepared(root).moments("train")) == 3


def test_k_follows_pictures_that_were_scaled_and_letterboxed(recording_with, capsys):
    """Calibrated for 80x56; in 72x56 the picture is 0.9 as large, below a bar of 2.8 pixels."""
    root, cameras = recording_with("Calib.toml", sizes=((80, 56), (72, 56)))
    views = prepared(root).moments("train")[0].views
    told = read_calibration(root / "Calib.toml").K
    np.testing.assert_allclose(views[0].K[:2, :2], told[0, :2, :2] * 0.9)
    np.testing.assert_allclose(views[0].K[:2, 2], told[0, :2, 2] * 0.9 + [0, 2.8])
    np.testing.assert_allclose(views[1].K, told[1])
    assert "cam0: K fitted from [80.0, 56.0] to [72.0, 56.0] pixels" in capsys.readouterr().out


def test_pictures_that_do_not_fit_their_calibration_are_refused(recording_with):
    root, _ = recording_with("Calib.toml", sizes=((72, 56), (72, 100)))
    with pytest.raises(ValueError, match="'cam1' of .* 72x100 but its pictures are 72x56"):
        prepared(root)


# ---- pictures ------------------------------------------------------------------------------------


def test_pictures_are_listed_by_name_without_other_files(tmp_path):
    for name in ("b.PNG", "a.jpg", "c.tiff", "notes.txt", ".DS_Store"):
        cv2.imwrite(str(tmp_path / "x.png"), np.zeros((2, 2), np.uint8))
        (tmp_path / "x.png").rename(tmp_path / name)
    assert [path.name for path in list_pictures(tmp_path)] == ["a.jpg", "b.PNG", "c.tiff"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no pictures in {tmp_path / 'gone'}"):
        list_pictures(tmp_path / "gone")


def test_a_recording_has_videos_or_frames_with_a_calibration(recording_with, tmp_path):
    root, _ = recording_with("Calib.toml")
    assert is_recording(root)
    (root / "Calib.toml").rename(tmp_path / "Calib.toml")
    assert not is_recording(root)
    assert not is_recording(tmp_path)  # a calibration beside pictures of anything


# ---- what names say ------------------------------------------------------------------------------


def renamed(folder, pattern):
    """Files in their order, called by a pattern of their places."""
    for i, path in enumerate(list_pictures(folder)):
        path.rename(folder / (pattern.format(i) + ".part"))
    for path in folder.glob("*.part"):
        path.rename(path.with_suffix(""))


@pytest.mark.parametrize("pattern", ["{}.png", "cam1_take2_{}.png"])
def test_masks_without_zeros_in_front_keep_to_their_frames(recording, pattern):
    root = recording(count=12)
    for camera in ("cam0", "cam1"):
        renamed(root / "masks" / camera, pattern)
    for i, moment in enumerate(prepared(root).moments("train")):
        assert [view.image.name for view in moment.views] == [f"{i:06d}.png"] * 2
        assert [view.mask.name for view in moment.views] == [pattern.format(i)] * 2


def test_masks_that_count_from_one_are_told_how_to_be_renamed(recording):
    root = recording()
    for i in (2, 1, 0):
        path = root / "masks" / "cam1" / f"{i:06d}.png"
        path.rename(path.with_name(f"{i + 1:06d}.png"))
    with pytest.raises(ValueError, match=r"its picture \+1; .* 000001\.png to 000000\.png"):
        prepared(root).moments("train")


def test_cameras_that_lack_different_frames_are_not_of_the_same_moments(recording):
    root = recording(count=5)
    for kind in ("frames", "masks"):
        (root / kind / "cam0" / "000002.png").unlink()
        (root / kind / "cam1" / "000003.png").unlink()
    with pytest.raises(ValueError, match="'cam0' and 'cam1' are not of the same moments"):
        prepared(root).moments("train")


def test_hidden_files_are_no_pictures(tmp_path):
    for name in ("0.png", "._0.png"):
        cv2.imwrite(str(tmp_path / "x.png"), np.zeros((2, 2), np.uint8))
        (tmp_path / "x.png").rename(tmp_path / name)
    assert [path.name for path in list_pictures(tmp_path)] == ["0.png"]
