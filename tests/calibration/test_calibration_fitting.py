"""Rigs that are made to fit their videos: turned, renamed, with fewer cameras."""

import cv2
import numpy as np
import pytest
from calibration_files import expected_px, points, rig, write_anipose, write_easymocap

from mask_sup.calibration import CalibrationError, read_calibration
from mask_sup.calibration.convert import convert
from mask_sup.calibration.fitting import among, rename_option, renamed, sized, turned

ROTATIONS = {
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}


@pytest.fixture
def calibration(tmp_path):
    return read_calibration(write_anipose(tmp_path, rig()))


def seen_px(calibration, index, x_world):
    rvec = cv2.Rodrigues(calibration.R[index])[0]
    parts = calibration.t[index], calibration.K[index], calibration.distortion[index]
    return cv2.projectPoints(x_world, rvec, *parts)[0][:, 0]


def on_pixels(index, columns, rows):
    """World points that camera `index` of the rig sees at the middles of these pixels."""
    made = rig()
    middles = np.stack([columns, rows], -1) + 0.5
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 200, 1e-12)
    rays = cv2.undistortPoints(
        middles[:, None], made.K[index], made.distortion[index], None, None, None, criteria
    )[:, 0]
    x_cam = 3000 * np.hstack([rays, np.ones((len(rays), 1))])
    return (x_cam - made.t[index]) @ made.R[index]


# ---- turned pictures -----------------------------------------------------------------------------


@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("angle", ROTATIONS)
def test_points_are_seen_where_a_turned_picture_shows_them(calibration, angle, index):
    """Every pixel of a picture is numbered, and the picture turned by OpenCV."""
    made, rng = rig(), np.random.default_rng(0)
    width, height = made.sizes[index].astype(int)
    columns = rng.integers(width // 4, 3 * width // 4, 20)  # a lens turns over further out
    rows = rng.integers(height // 4, 3 * height // 4, 20)
    x_world = on_pixels(index, columns, rows)
    seen = expected_px(made, index, x_world)
    np.testing.assert_allclose(seen, np.stack([columns, rows], -1) + 0.5, atol=1e-4)
    numbers = np.arange(width * height, dtype=np.int32).reshape(height, width)
    picture = cv2.rotate(numbers, ROTATIONS[angle])
    name = made.names[index]
    found = turned(calibration, {name: angle})
    assert found.sizes[index].tolist() == list(picture.shape[1::-1])
    for number, pixel in zip(rows * width + columns, seen_px(found, index, x_world), strict=True):
        row, column = np.argwhere(picture == number)[0]
        np.testing.assert_allclose(pixel, (column + 0.5, row + 0.5), atol=1e-4)
    np.testing.assert_allclose(found.centres, calibration.centres, atol=1e-6)


def test_four_quarters_are_none(calibration):
    names = calibration.names
    once = turned(calibration, dict.fromkeys(names, 90))
    again = turned(once, dict.fromkeys(names, 270))
    for key in ("K", "R", "t", "distortion", "sizes"):
        np.testing.assert_allclose(getattr(again, key), getattr(calibration, key), atol=1e-9)
    assert not np.allclose(once.distortion, calibration.distortion)


@pytest.mark.parametrize(
    ("turns", "told"),
    [
        ({"cam09": 90}, r"turn: no camera \['cam09'\] in .*it has \['cam01'"),
        ({"cam01": 45}, r"turn of 'cam01' by 45: expected one of \[90, 180, 270\]"),
    ],
)
def test_turns_that_make_no_sense_are_refused(calibration, turns, told):
    with pytest.raises(CalibrationError, match=told):
        turned(calibration, turns)


def test_a_camera_of_unknown_size_is_turned_once_its_size_is_told(tmp_path):
    unknown = read_calibration(write_easymocap(tmp_path, rig(), sizes=False)).select(["cam01"])
    with pytest.raises(CalibrationError, match="'cam01' .* cannot be turned: .*calibrated_size="):
        turned(unknown, {"cam01": 90})
    assert turned(sized(unknown, (1280, 720)), {"cam01": 90}).sizes.tolist() == [[720, 1280]]


# ---- names ---------------------------------------------------------------------------------------


def test_cameras_get_other_names(calibration):
    found = renamed(calibration, {"cam02": "left", "cam01": "cam02"})
    assert found.names == ("cam02", "left", "cam03", "cam04")
    with pytest.raises(CalibrationError, match=r"rename: no camera \['cam9'\]"):
        renamed(calibration, {"cam9": "x"})
    with pytest.raises(CalibrationError, match=r"several cameras of the same name: \['cam02'\]"):
        renamed(calibration, {"cam01": "cam02"})


def test_a_list_names_all_cameras_in_their_order(calibration):
    assert renamed(calibration, list("dcba")).names == ("d", "c", "b", "a")
    with pytest.raises(CalibrationError, match=r"rename: 1 names for the 4 cameras \['cam01'"):
        renamed(calibration, ["a"])


@pytest.mark.parametrize(
    "new",
    [
        {"cam01": "01", "cam02": "a.b-c 2"},
        {"cam01": "ü", "cam02": "it's (1)"},
        {"int (1)": "left", "ü": "right"},
        {"1": "true", "null": "x"},
    ],
)
def test_the_command_that_is_told_means_these_names(new):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    cameras = [*new, "other"]
    told = OverridesParser.create().parse_override(rename_option(cameras, new)).value()
    if isinstance(told, list):
        told = dict(zip(cameras, told, strict=True))
    told = {str(old): str(name) for old, name in told.items()}
    assert told in (new, new | {"other": "other"})


def test_fewer_videos_or_cameras_are_told(calibration):
    found = among(calibration, ["cam03", "cam01"], "videos")
    assert found.names == ("cam01", "cam03")
    (note,) = found.notes
    assert "without videos: ['cam02', 'cam04'] are left out" in note
    found = among(found, ["cam01", "cam03", "x"], "videos")
    assert "videos without a camera in" in found.notes[-1]
    assert "['x'] are left out" in found.notes[-1]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([f"synced_cam0{i}" for i in range(1, 5)], "{cam01: synced_cam01, cam02: synced_cam02"),
        (["view1", "view2", "view3", "view4"], "{cam01: view1, cam02: view2"),
        (["cam01", "cam02", "cam03", "C4"], "{cam04: C4}"),
        (["left", "right"], "{camera: video}"),
        ([], "{camera: video}"),
    ],
)
def test_names_that_do_not_fit_are_told_with_a_guess(calibration, names, told):
    with pytest.raises(CalibrationError, match="have other names") as error:
        among(calibration, names, "videos")
    assert f"'rename={told}" in str(error.value)


# ---- sizes ---------------------------------------------------------------------------------------


def of_size(scale, sizes=None):
    made = rig()
    made.K[:, :2] *= scale
    made.sizes = np.full((4, 2), np.nan) if sizes is None else sizes
    return made


@pytest.mark.parametrize("scale", [0.5, 0.25, 0.65])
def test_a_k_for_smaller_pictures_is_doubted(tmp_path, scale):
    calibration = read_calibration(write_easymocap(tmp_path, of_size(scale), sizes=False))
    remarks = calibration.fitted_to(rig().sizes).remarks
    assert len(remarks) == 4
    assert "far off the middle: K seems to be for pictures of" in remarks[0]
    assert "calibrated_size=[" in remarks[0]


def test_cameras_of_one_size_are_doubted_together(tmp_path):
    made = of_size(0.5, np.tile([1280.0, 960.0], (4, 1)))
    made.K[:, :2, 2] = np.array([320, 240]) + np.random.default_rng(0).uniform(-9, 9, (4, 2))
    (remark,) = read_calibration(write_anipose(tmp_path, made)).remarks
    assert "K seems to be for pictures of 640x480, 0.5 times the size" in remark
    assert remark.endswith("; likewise ['cam02', 'cam03', 'cam04']")


def test_a_k_for_larger_pictures_says_so(tmp_path):
    calibration = read_calibration(write_easymocap(tmp_path, of_size(3), sizes=False))
    with pytest.raises(CalibrationError, match="outside: K seems to be for pictures of .* times"):
        calibration.fitted_to(rig().sizes)


def test_a_k_that_fits_or_is_of_a_crop_is_not_taken_for_another_size(calibration):
    assert calibration.remarks == ()
    off = calibration.K.copy()
    off[0, 0, 2] += 300
    moved = type(calibration)(
        *(calibration.names, off, calibration.R, calibration.t, calibration.distortion),
        calibration.sizes,
    )
    (remark,) = moved.remarks
    assert "is this the calibration of these pictures, and were they not cropped?" in remark


# ---- the command ---------------------------------------------------------------------------------


def test_convert_chooses_turns_renames_and_fits(compose_config, tmp_path, write_video, capsys):
    made = rig(names=["int_1", "int_2", "int_3", "int_4"])
    path = write_anipose(tmp_path, made)
    head, last = path.read_text().split("[cam_3]")
    path.write_text(f"{head}[cam_3]{last.replace('rotation =', 'ignored =')}")
    for name, shape in (("cam1", (1280, 720)), ("cam2", (1080, 1920))):
        write_video(tmp_path / "videos" / f"{name}.mp4", [np.zeros((*shape, 3), np.uint8)])
    words = [
        *(f"input={path}", f"output={tmp_path / 'cameras.json'}", f"videos={tmp_path / 'videos'}"),
        *("cameras=[int_1,int_2]", "turn={int_1: 90}", "rename={int_1: cam1, int_2: cam2}"),
    ]
    convert(compose_config("calibration_convert", *words))
    found = read_calibration(tmp_path / "cameras.json")
    assert found.names == ("cam1", "cam2")
    assert found.sizes.tolist() == [[720, 1280], [1920, 1080]]
    x, y = expected_px(made, 0, points()).T
    np.testing.assert_allclose(seen_px(found, 0, points()), np.stack([720 - y, x], -1), atol=1e-6)
    np.testing.assert_allclose(seen_px(found, 1, points()), expected_px(made, 1, points()))
    assert "!" not in capsys.readouterr().out


def test_convert_scales_a_k_of_a_size_that_its_file_does_not_say(
    compose_config, tmp_path, write_video
):
    made = rig(names=["a"])
    half = rig(names=["a"])
    half.K[:, :2] /= 2
    folder = write_easymocap(tmp_path, half, sizes=False)
    write_video(tmp_path / "videos" / "a.mp4", [np.zeros((720, 1280, 3), np.uint8)])
    words = [f"input={folder}", f"output={tmp_path / 'c.json'}", f"videos={tmp_path / 'videos'}"]
    convert(compose_config("calibration_convert", *words, "calibrated_size=[640,360]"))
    np.testing.assert_allclose(read_calibration(tmp_path / "c.json").K, made.K)


@pytest.mark.parametrize("word", ["turn=90", "rename=cam", "turn=[a, b]"])
def test_convert_says_how_a_mapping_looks(compose_config, tmp_path, word):
    path = write_anipose(tmp_path, rig())
    words = [f"input={path}", f"output={tmp_path / 'c.json'}", word]
    with pytest.raises(CalibrationError, match=r"is not what is expected, such as '(turn|rename)="):
        convert(compose_config("calibration_convert", *words))


def test_convert_prints_what_is_left_out(compose_config, tmp_path, capsys):
    from calibration_files import write_qualisys

    path = write_qualisys(tmp_path, rig())
    words = [f"input={path}", f"output={tmp_path / 'c.json'}"]
    convert(compose_config("calibration_convert", *words))
    assert "! camera 'marker' of" in capsys.readouterr().out
