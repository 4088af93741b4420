import json
from importlib import resources

import cv2
import numpy as np
import pytest
from calibration_files import (
    EVERY,
    expected_px,
    points,
    rig,
    write_anipose,
    write_caliscope,
    write_cameras_json,
    write_colmap,
    write_easymocap,
    write_human36m,
    write_mpi,
    write_panoptic,
    write_qualisys,
    write_storages,
)
from scipy.spatial.transform import Rotation

from mask_sup.calibration import (
    FORMATS,
    Calibration,
    CalibrationError,
    find_calibration,
    read_calibration,
    write_calibration,
)

ARRAYS = ("K", "R", "t", "distortion", "sizes")
WRITTEN = {"opencv": "cameras.json", "anipose": "Calib.toml", "easymocap": "easymocap"}


def projected_px(calibration, index, x_world):
    """Pixels in plain numpy, from the definitions of x_cam, OpenCV's lens and K."""
    x, y, z = calibration.R[index] @ x_world.T + calibration.t[index][:, None]
    x, y = x / z, y / z
    k1, k2, p1, p2, k3 = calibration.distortion[index]
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    lens_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    lens_y = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    image = calibration.K[index] @ np.stack([lens_x, lens_y, np.ones_like(x)])
    return (image[:2] / image[2]).T


def assert_same(one, other, rtol=1e-9):
    assert one.names == other.names
    for key in ("K", "R", "distortion", "sizes"):
        np.testing.assert_allclose(getattr(one, key), getattr(other, key), rtol=rtol, atol=rtol)
    np.testing.assert_allclose(one.t, other.t, rtol=rtol, atol=rtol * 1000)


# ---- every format --------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [True, False], ids=["named", "guessed"])
@pytest.mark.parametrize("name", EVERY)
def test_projections_are_those_of_opencv(name, told, tmp_path):
    format, made, write, options = EVERY[name]
    path = write(tmp_path, made)
    calibration = read_calibration(path, format if told else None, **options)
    assert calibration.names == tuple(made.names)
    for index in range(len(made.names)):
        np.testing.assert_allclose(
            projected_px(calibration, index, points()),
            expected_px(made, index, points()),
            rtol=0,
            atol=1e-6,
        )
    np.testing.assert_allclose(calibration.centres, made.centres, rtol=0, atol=1e-6)
    if "nodes" in name:
        assert np.isnan(calibration.sizes).all()
    else:
        np.testing.assert_array_equal(calibration.sizes, made.sizes)


def test_every_format_is_tested():
    assert {format for format, *_ in EVERY.values()} == set(FORMATS)
    assert {name for name, format in FORMATS.items() if format.write} == set(WRITTEN)


@pytest.mark.parametrize("source", EVERY)
@pytest.mark.parametrize("format", WRITTEN)
def test_what_is_written_is_read_again(source, format, tmp_path):
    read_as, made, write, options = EVERY[source]
    calibration = read_calibration(write(tmp_path, made), read_as, **options)
    calibration = calibration.fitted_to(made.sizes)  # FileStorage nodes do not tell them
    path = tmp_path / "out" / WRITTEN[format]
    write_calibration(calibration, path)
    assert_same(read_calibration(path), calibration)
    assert not list(tmp_path.rglob("*.part"))


def test_opencv_itself_reads_what_is_written_for_easymocap(tmp_path):
    made = rig()
    write_calibration(read_calibration(write_anipose(tmp_path, made)), tmp_path / "easy")
    intri, extri = (
        cv2.FileStorage(str(tmp_path / "easy" / file), cv2.FILE_STORAGE_READ)
        for file in ("intri.yml", "extri.yml")
    )
    names = intri.getNode("names")
    assert [names.at(i).string() for i in range(names.size())] == made.names
    for i, name in enumerate(made.names):
        np.testing.assert_allclose(intri.getNode(f"K_{name}").mat(), made.K[i])
        np.testing.assert_allclose(intri.getNode(f"dist_{name}").mat(), made.distortion[i][None])
        assert intri.getNode(f"W_{name}").real() == made.sizes[i, 0]
        R = cv2.Rodrigues(extri.getNode(f"R_{name}").mat())[0]
        np.testing.assert_allclose(R, made.R[i], atol=1e-12)
        np.testing.assert_allclose(extri.getNode(f"Rot_{name}").mat(), made.R[i], atol=1e-12)
        np.testing.assert_allclose(extri.getNode(f"T_{name}").mat()[:, 0] * 1000, made.t[i])


def test_unknown_sizes_stay_unknown_where_a_format_allows_it(tmp_path):
    made = rig()
    calibration = read_calibration(write_easymocap(tmp_path, made, sizes=False))
    assert np.isnan(calibration.sizes).all()
    for path in (tmp_path / "cameras.json", tmp_path / "easy"):
        write_calibration(calibration, path)
        assert_same(read_calibration(path), calibration)
    with pytest.raises(CalibrationError, match="Anipose's files need the size of all pictures"):
        write_calibration(calibration, tmp_path / "Calib.toml")
    assert not (tmp_path / "Calib.toml").exists()


def test_names_that_a_format_cannot_hold_are_refused(tmp_path):
    names = ["left one", 'right "two"', "ü.3", "four"]
    calibration = read_calibration(write_anipose(tmp_path, rig(names=list("abcd"))))
    named = Calibration(tuple(names), *(getattr(calibration, key) for key in ARRAYS))
    for file in ("cameras.json", "Calib.toml"):
        write_calibration(named, tmp_path / file)
        assert read_calibration(tmp_path / file).names == tuple(names)
    with pytest.raises(CalibrationError, match="cannot name cameras .*left one"):
        write_calibration(named, tmp_path / "easy")


@pytest.mark.parametrize(
    ("file", "format"), [("a.xml", None), ("a.json", "colmap"), ("a.qca.txt", None)]
)
def test_formats_that_cannot_be_written_are_refused(file, format, tmp_path):
    calibration = read_calibration(write_anipose(tmp_path, rig()))
    with pytest.raises(
        CalibrationError, match=r"cannot write .* \['opencv', 'anipose', 'easymocap'\]"
    ):
        write_calibration(calibration, tmp_path / file, format)


# ---- units ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("write", "unit", "mm"),
    [
        (write_storages, None, 1),
        (write_storages, "cm", 10),
        (write_anipose, "mm", 1),
        (write_anipose, "cm", 10),
        (write_easymocap, None, 1),
        (write_easymocap, "m", 1),
        (write_colmap, None, 1),
        (write_panoptic, "mm", 1 / 10),
    ],
)
def test_translations_are_in_the_unit_that_is_given(write, unit, mm, tmp_path):
    made = EVERY["colmap"][1] if write is write_colmap else rig()
    calibration = read_calibration(write(tmp_path, made), unit=unit)
    np.testing.assert_allclose(calibration.t, made.t * mm)


@pytest.mark.parametrize(("write", "unit"), [(write_easymocap, "mm"), (write_anipose, "m")])
def test_a_wrong_unit_is_found_by_the_distances(write, unit, tmp_path):
    with pytest.raises(CalibrationError, match=f"{tmp_path}.* mm apart at most.* unit=mm, cm or m"):
        read_calibration(write(tmp_path, rig()), unit=unit)


def test_a_unit_against_that_of_the_file_is_refused(tmp_path):
    path = write_cameras_json(tmp_path, rig(), "m")
    assert_same(read_calibration(path, unit="m"), read_calibration(path))
    with pytest.raises(CalibrationError, match="says its unit is m, not cm"):
        read_calibration(path, unit="cm")
    with pytest.raises(CalibrationError, match=r"unit='km': expected one of"):
        read_calibration(path, unit="km")


def test_cameras_json_may_leave_the_unit_to_the_caller(tmp_path):
    path = write_cameras_json(tmp_path, rig())
    path.write_text(path.read_text().replace('"unit": "mm", ', ""))
    np.testing.assert_allclose(read_calibration(path, unit="mm").t, rig().t)
    with pytest.raises(CalibrationError, match=r"is no camera file .*KeyError: 'unit'"):
        read_calibration(path)


# ---- facts of single formats ---------------------------------------------------------------------


def test_qualisys_in_its_own_words(tmp_path):
    """Hand-computed: a camera 2 m along x that looks back along x, z up."""
    numbers = {"r12": 1, "r23": 1, "r31": 1} | {
        "x": 2000,
        "y": 0,
        "z": 1000,
    }  # right y, up z, back x
    path = write_qualisys(tmp_path, rig())
    text = path.read_text()
    start, end = text.index("<transform", text.index('serial="cam01"')), text.index("<intrinsic")
    keys = [f"r{a}{b}" for a in "123" for b in "123"] + list("xyz")
    told = " ".join(f'{key}="{numbers.get(key, 0)}"' for key in keys)
    path.write_text(text[:start] + f"<transform {told}/>" + text[end:])
    calibration = read_calibration(path)
    x_cam = calibration.R[0] @ np.array([0, 100, 1200]) + calibration.t[0]
    np.testing.assert_allclose(x_cam, [100, -200, 2000])  # right, 200 mm above, 2 m in front


# The public recording's file of its first camera, shortened.
PUBLIC_CAMERA = """<?xml version='1.0' encoding='ASCII'?>
<calibration><results/><cameras>
<camera active="1" model="none" serial="cam01" viewrotation="0">
<fov_video bottom="1919" left="0" right="1087" top="0"/>
<transform r11="0.5536380477336265" r12="0.8046719867383512" r13="0.2144479094331626"
 r21="-0.4345300743838753" r22="0.05946489349975602" r23="0.8986921279821063"
 r31="0.7104002579937896" r32="-0.5907342212870501" r33="0.3825762057979294"
 x="1460.2323709212087" y="-1909.1590482454608" z="1896.5058524092062"/>
<intrinsic centerPointU="34110.316406" centerPointV="60680.792969" focalLengthU="107599.671875"
 focalLengthV="107588.828125" radialDistortion1="-0.046183" radialDistortion2="0.139983"
 radialDistortion3="0.000000" skew="0.000000" tangentalDistortion1="0.000608"
 tangentalDistortion2="0.00069"/>
</camera></cameras></calibration>
"""


def test_the_public_qualisys_file_agrees_with_the_refined_cameras(tmp_path):
    """Those have K by another hand for the letterboxed video; R and t moved a little."""
    path = tmp_path / "Calib.qca.txt"
    path.write_text(PUBLIC_CAMERA)
    shipped = read_calibration(path)
    assert shipped.sizes.tolist() == [[1088, 1920]]
    shipped = shipped.fitted_to([(1080, 1920)])
    asset = resources.files("mask_sup") / "assets" / "pose2sim_cameras.json"
    refined = read_calibration(asset).select(["cam01"])
    np.testing.assert_allclose(shipped.K, refined.K, atol=1e-3)
    np.testing.assert_array_equal(shipped.distortion, refined.distortion)
    assert 33 < np.linalg.norm(shipped.centres - refined.centres) < 75  # mm
    off = projected_px(shipped, 0, points()) - projected_px(refined, 0, points())
    assert 5 < np.linalg.norm(off, axis=1).mean() < 40


def test_human36m_looks_at_its_people(tmp_path):
    """All cameras look at the middle of the room, with y down: transposed, none of them would."""
    cameras = read_calibration(write_human36m(tmp_path, EVERY["human36m"][1]), subject=5)
    for R, centre in zip(cameras.R, cameras.centres, strict=True):
        towards = np.array([0, 0, 900]) - centre
        assert R[2] @ towards / np.linalg.norm(towards) > 0.98
        assert R[1, 2] < -0.95


@pytest.mark.parametrize("subject", [None, 0, 12])
def test_human36m_needs_a_subject(subject, tmp_path):
    path = write_human36m(tmp_path, EVERY["human36m"][1])
    with pytest.raises(CalibrationError, match="say whose, subject=1 to 11"):
        read_calibration(path, subject=subject)


def test_other_formats_have_no_subject(tmp_path):
    with pytest.raises(CalibrationError, match="leave subject out"):
        read_calibration(write_anipose(tmp_path, rig()), subject=1)


def test_panoptic_cameras_are_chosen_before_any_check(tmp_path):
    path = write_panoptic(tmp_path, rig())
    told = json.loads(path.read_text())
    told["cameras"][0]["R"] = np.zeros((3, 3)).tolist()
    path.write_text(json.dumps(told))
    assert read_calibration(path, cameras=["cam04", "cam02"]).names == ("cam04", "cam02")
    with pytest.raises(CalibrationError, match="'cam01' .* no rotation"):
        read_calibration(path)
    with pytest.raises(CalibrationError, match=rf"{path}: no camera \['cam7'\]: .*'cam04'"):
        read_calibration(path, cameras=["cam7"])


def test_caliscope_leaves_out_what_it_ignores(tmp_path):
    path = write_caliscope(tmp_path, rig(names=[f"cam_{i}" for i in range(4)]))
    path.write_text(path.read_text().replace("ignore = false", "ignore = true", 1))
    assert read_calibration(path).names == ("cam_1", "cam_2", "cam_3")


def test_easymocap_without_rotation_vectors_or_with_d(tmp_path):
    write_easymocap(tmp_path, rig())
    extri, intri = tmp_path / "extri.yml", tmp_path / "intri.yml"
    extri.write_bytes(extri.read_bytes().replace(b"\nR_cam", b"\nV_cam"))
    intri.write_bytes(intri.read_bytes().replace(b"dist_", b"D_"))
    calibration = read_calibration(intri)  # either file stands for both
    np.testing.assert_allclose(calibration.R, rig().R, atol=1e-12)
    np.testing.assert_allclose(calibration.distortion, rig().distortion)


def test_numbers_with_bare_exponents_are_read_from_yaml(tmp_path):
    write_easymocap(tmp_path, rig())
    intri = tmp_path / "intri.yml"
    intri.write_bytes(intri.read_bytes().replace(b"-0.0004", b"-4e-4"))
    np.testing.assert_allclose(read_calibration(tmp_path).distortion, rig().distortion)


def test_colmap_pictures_name_the_cameras(tmp_path):
    write_colmap(tmp_path, EVERY["colmap"][1])
    images = tmp_path / "images.txt"
    text = images.read_text()
    images.write_text(text.replace("/000000.png", ".png"))
    assert read_calibration(tmp_path).names == ("cam01", "cam02", "cam03", "cam04")


def test_colmap_pictures_of_several_cameras_may_share_their_intrinsics(tmp_path):
    write_colmap(tmp_path, EVERY["colmap"][1])
    images = tmp_path / "images.txt"
    images.write_text(images.read_text().replace(" 5 cam03", " 7 cam03"))
    K = read_calibration(tmp_path).K
    np.testing.assert_array_equal(K[2], K[0])
    assert not np.array_equal(K[1], K[0])
    images.write_text(images.read_text().replace("cam02/", "cam01/"))  # a camera that moves
    with pytest.raises(CalibrationError, match=r"several cameras of the same name: \['cam01'\]"):
        read_calibration(tmp_path)


# ---- lenses that five numbers cannot hold --------------------------------------------------------


@pytest.mark.parametrize("count", [8, 12, 14])
def test_more_than_five_coefficients_are_refused_unless_they_are_zero(count, tmp_path):
    path = write_panoptic(tmp_path, rig())
    told = json.loads(path.read_text())
    told["cameras"][1]["distCoef"] += [0.0] * (count - 5)
    path.write_text(json.dumps(told))
    np.testing.assert_allclose(read_calibration(path).distortion, rig().distortion)
    told["cameras"][1]["distCoef"][-1] = 0.01
    path.write_text(json.dumps(told))
    with pytest.raises(CalibrationError, match=f"{path}.* {count} distortion coefficients"):
        read_calibration(path)


def test_more_coefficients_are_refused_in_every_file_that_lists_them(tmp_path):
    for write in (write_cameras_json, write_anipose, write_easymocap, write_storages):
        folder = tmp_path / write.__name__
        folder.mkdir()
        made = rig()
        made.distortion = np.concatenate([made.distortion, np.full((4, 3), 0.01)], 1)
        with pytest.raises(CalibrationError, match="8 distortion coefficients"):
            read_calibration(write(folder, made))


@pytest.mark.parametrize("write", [write_anipose, write_storages])
def test_fisheyes_are_refused(write, tmp_path):
    path = write(tmp_path, rig())
    for file in [path] if path.is_file() else path.iterdir():
        told = "fisheye = true\nmatrix =" if path.is_file() else "fisheye: 1\ncamera_matrix:"
        file.write_text(file.read_text().replace(told.split("\n")[1], told))
    with pytest.raises(CalibrationError, match="'cam01' is a fisheye"):
        read_calibration(path)


@pytest.mark.parametrize("model", ["OPENCV_FISHEYE", "FOV", "THIN_PRISM_FISHEYE", "NOSUCH"])
def test_colmap_models_that_are_not_read_are_named(model, tmp_path):
    write_colmap(tmp_path, EVERY["colmap"][1])
    cameras = tmp_path / "cameras.txt"
    cameras.write_text(cameras.read_text().replace("SIMPLE_RADIAL", model))
    with pytest.raises(CalibrationError, match=f"'cam02' has the model {model}: only"):
        read_calibration(tmp_path)


def test_colmap_models_have_their_number_of_parameters(tmp_path):
    write_colmap(tmp_path, EVERY["colmap"][1])
    cameras = tmp_path / "cameras.txt"
    cameras.write_text(cameras.read_text().replace("SIMPLE_RADIAL", "OPENCV"))
    with pytest.raises(CalibrationError, match="OPENCV of 'cam02' has 4 parameters, not 8"):
        read_calibration(tmp_path)


def test_skeletools_radial_lenses_are_refused(tmp_path):
    path = write_mpi(tmp_path, rig(distorted=False))
    path.write_text(path.read_text().replace("radial      0", "radial      1 0.2"))
    with pytest.raises(CalibrationError, match="'cam01' moves or has radial distortion"):
        read_calibration(path)


# ---- faults of whole rigs, through files ---------------------------------------------------------


def test_a_left_handed_file_is_named(tmp_path):
    made = rig()
    made.R = made.R @ np.diag([1, 1, -1])
    with pytest.raises(CalibrationError, match=f"'cam01' of {tmp_path}.* wrong handedness"):
        read_calibration(write_cameras_json(tmp_path, made))


def test_a_turned_file_is_named(tmp_path):
    made = rig()
    made.sizes = made.sizes[:, ::-1]
    with pytest.raises(CalibrationError, match="'cam01' of .* width and height are swapped"):
        read_calibration(write_anipose(tmp_path, made))


# ---- which format --------------------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no calibration at {tmp_path / 'gone'}"):
        read_calibration(tmp_path / "gone")
    write_easymocap(tmp_path, rig())
    (tmp_path / "extri.yml").unlink()
    with pytest.raises(FileNotFoundError, match="missing file .*extri.yml"):
        read_calibration(tmp_path / "intri.yml")


@pytest.mark.parametrize("content", ["", "hello", "{}", "<a/>", "%YAML:1.0\n---\na: 1", "[[["])
def test_unknown_files_are_refused_with_the_known_formats(content, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(
        CalibrationError, match=r"known format: expected one of \['opencv', .*colmap"
    ):
        read_calibration(path)
    with pytest.raises(CalibrationError, match="known format"):
        read_calibration(tmp_path)
    with pytest.raises(CalibrationError, match="format='qca': expected one of"):
        read_calibration(path, "qca")


def test_a_file_of_two_formats_is_refused(tmp_path):
    path = tmp_path / "both.json"
    path.write_text('{"opencv-matrix": 1, "cameras": [{"distCoef": 0}]}')
    with pytest.raises(CalibrationError, match=r"may be any of \['opencv', 'panoptic'\]"):
        read_calibration(path)


def test_a_folder_holds_one_calibration(tmp_path):
    write_easymocap(tmp_path, rig())
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "config.toml").write_text("[a]\nb = 1\n")
    (tmp_path / "list.json").write_text("[1, 2]")
    assert find_calibration(tmp_path) == tmp_path
    assert read_calibration(tmp_path).names == tuple(rig().names)
    write_anipose(tmp_path, rig())
    for read in (read_calibration, find_calibration):
        with pytest.raises(
            CalibrationError, match=r"several .*\(easymocap\), calibration.toml \(anipose\)"
        ):
            read(tmp_path)
    assert find_calibration(write_cameras_json(tmp_path, rig()).parent) == tmp_path / "cameras.json"
    assert read_calibration(tmp_path).source == str(tmp_path / "cameras.json")


def test_intrinsics_alone_are_told_from_a_rig(tmp_path):
    write_storages(tmp_path, rig())
    for path in tmp_path.iterdir():
        path.write_text(path.read_text().replace("\nR:", "\nX:"))
    with pytest.raises(
        CalibrationError, match=r"'cam01' has no \['R'\].* intrinsics alone are no rig"
    ):
        read_calibration(tmp_path)


def test_rotations_of_half_a_turn_are_written_and_read(tmp_path):
    made = rig()
    made.R[:3] = Rotation.from_rotvec(np.pi * np.eye(3)).as_matrix()
    made.R[3] = np.eye(3)
    calibration = read_calibration(write_cameras_json(tmp_path, made))
    for file in ("a.toml", "easy"):
        write_calibration(calibration, tmp_path / file)
        again = read_calibration(tmp_path / file)
        turn = Rotation.from_matrix(again.R @ calibration.R.transpose(0, 2, 1))
        assert turn.magnitude().max() < 1e-7
