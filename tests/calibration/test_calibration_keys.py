"""Keys of other people's files: known spellings are read, unknown ones are errors."""

import json

import numpy as np
import pytest
from calibration_files import (
    rig,
    write_anipose,
    write_caliscope,
    write_cameras_json,
    write_easymocap,
    write_mpi,
    write_panoptic,
    write_qualisys,
    write_storage_nodes,
    write_storages,
)

from mask_sup.calibration import CalibrationError, read_calibration
from mask_sup.calibration.fitting import turned


def renamed(path, old, new):
    """The same files with other words in them."""
    for file in [path] if path.is_file() else sorted(p for p in path.iterdir() if p.is_file()):
        text = file.read_text()
        assert old in text or path.is_dir()
        file.write_text(text.replace(old, new))
    return path


FILES = {  # how each format calls its lens
    "storages": (write_storages, "distortion_coefficients:"),
    "nodes": (write_storage_nodes, "D:"),
    "anipose": (write_anipose, "distortions ="),
    "caliscope": (write_caliscope, "distortions ="),
    "cameras.json": (write_cameras_json, '"dist":'),
    "panoptic": (write_panoptic, '"distCoef":'),
    "easymocap": (write_easymocap, "dist_"),
}
SPELLINGS = (
    *("distortion_coeffs", "distortion", "distCoeffs", "dist", "D", "DistCoef"),
    *("distortion_coefficients", "distortions", "distortion_vector"),
)


def with_lens(name, folder, spelling):
    write, key = FILES[name]
    path = write(folder, rig())
    word = key.strip('":= _')
    text = key.replace(word, spelling)
    if name == "panoptic":  # the word by which it is recognised
        text = f'"was": "distCoef", {text}'
    return renamed(path, key, text)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("name", FILES)
def test_lenses_are_read_under_all_usual_names(name, spelling, tmp_path):
    calibration = read_calibration(with_lens(name, tmp_path, spelling))
    np.testing.assert_allclose(calibration.distortion, rig().distortion)


@pytest.mark.parametrize("spelling", ["my_distortion", "lens", "coefs", "radial", "D1"])
@pytest.mark.parametrize("name", FILES)
def test_a_lens_of_an_unknown_name_is_an_error_that_names_it(name, spelling, tmp_path):
    path = with_lens(name, tmp_path, spelling)
    told = rf"the key '{spelling}' looks like a lens but is not read: call it distortion_coeff"
    with pytest.raises(CalibrationError, match=told):
        read_calibration(path)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("k1 = -0.2", "'k1' looks like a lens"),
        ("radial_distortion = [-0.2, 0.1]", "'radial_distortion' looks like a lens"),
        ("quaternion = [1, 0, 0, 0.0]", "'quaternion' looks like a pose"),
        ("extrinsics = [[1.0]]", "'extrinsics' looks like a pose"),
        ("principal_point = [320, 240]", "'principal_point' looks like intrinsics"),
        ("dist = [0.1, 0, 0, 0, 0]", "'distortions' and 'dist' say different things"),
    ],
)
def test_parts_of_a_camera_that_nobody_reads_are_errors(line, told, tmp_path):
    path = write_anipose(tmp_path, rig())
    renamed(path, "translation", f"{line}\ntranslation")
    with pytest.raises(CalibrationError, match=f"{path}: camera 'cam01': .*{told}"):
        read_calibration(path)


@pytest.mark.parametrize(
    "line",
    [
        "k1 = 0.0",  # nothing is lost
        "rotation_count = 1",
        "world_orientation = [[1.0,0.0,0.0],[0.0,1.0,0.0],[0.0,0.0,1.0]]",
        "distortion_model = 'plumb_bob'",
        "fx = 900.0\nfocal_length = 900.0",
        "grid_count = 24\nexposure = -7.0\nerror = 0.2",
        "rvecs = [[0.1, 0.2, 0.3]]\nreprojection_error = 0.1",
    ],
)
def test_what_stands_beside_a_camera_is_no_error(line, tmp_path):
    path = write_anipose(tmp_path, rig())
    renamed(path, "translation", f"{line}\ntranslation")
    read = read_calibration(path, unit="mm")
    np.testing.assert_allclose(read.distortion, rig().distortion)


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("fisheye = 0", False),
        ("fisheye = 'false'", False),
        ("distortion_type = 'radtan'", False),
        ("model = 'pinhole'", False),
        ("fisheye = 1", True),
        ("fisheye = 'yes'", True),
        ("distortion_type = 'fisheye'", True),
        ("distortion_type = 1", True),
    ],
)
def test_fisheyes_are_told_in_many_words(line, refused, tmp_path):
    path = write_anipose(tmp_path, rig())
    renamed(path, "translation", f"{line}\ntranslation")
    if not refused:
        assert len(read_calibration(path).names) == 4
        return
    with pytest.raises(CalibrationError, match="'cam01' is a fisheye"):
        read_calibration(path)


def test_cameras_of_one_folder_may_tell_their_poses_in_different_ways(tmp_path):
    made = rig()
    for name, vector in (("a", True), ("b", False)):
        (tmp_path / name).mkdir()
        write_storages(tmp_path / name, made, vector=vector)
    for name in ("cam01", "cam03"):
        (tmp_path / "b" / f"{name}.yml").write_text((tmp_path / "a" / f"{name}.yml").read_text())
    assert_is(read_calibration(tmp_path / "b"), made)


@pytest.mark.parametrize("word", ["fisheye", "equidistant", "kannala_brandt"])
def test_a_lens_model_that_is_not_opencvs_is_refused(word, tmp_path):
    path = write_anipose(tmp_path, rig())
    renamed(path, "translation", f"distortion_model = '{word}'\ntranslation")
    with pytest.raises(CalibrationError, match="'cam01' is a fisheye"):
        read_calibration(path)


def test_a_skeletool_lens_of_another_name_is_refused(tmp_path):
    path = write_mpi(tmp_path, rig(distorted=False))
    renamed(path, "  radial      0", "  radial      0\n  distortion  0.1 0 0 0 0")
    with pytest.raises(CalibrationError, match="the key 'distortion' looks like a lens"):
        read_calibration(path)


# ---- cameras -------------------------------------------------------------------------------------


def test_a_camera_whose_intrinsics_have_another_name_is_not_lost(tmp_path):
    path = write_anipose(tmp_path, rig())
    path.write_text(path.read_text().replace("matrix =", "cam_values =", 1))
    with pytest.raises(CalibrationError, match=r"camera 'cam01' has no \['K'\], only .*cam_values"):
        read_calibration(path)
    (tmp_path / "calibration.toml").unlink()
    path = write_storage_nodes(tmp_path, rig())
    path.write_text(path.read_text().replace("   K:", "   values:", 1))
    with pytest.raises(CalibrationError, match=r"camera 'cam01' has no \['K'\]"):
        read_calibration(path)


@pytest.mark.parametrize("newer", [True, False])
def test_a_camera_that_was_not_calibrated_at_all_is_not_lost(newer, tmp_path):
    path = write_caliscope(tmp_path, rig(names=[f"cam_{i}" for i in range(4)]), newer=newer)
    last = "[cameras.3]" if newer else "[cam_3]"
    path.write_text(f"{path.read_text().partition(last)[0]}{last}\nport = 3\nsize = [640, 480]\n")
    with pytest.raises(CalibrationError, match=r"'cam_3' has no \['K', 'R', 't'\].*cameras="):
        read_calibration(path)
    assert len(read_calibration(path, cameras=["cam_0", "cam_1", "cam_2"]).names) == 3


def test_what_is_missing_may_be_left_out_by_name(tmp_path):
    path = write_anipose(tmp_path, rig())
    start, last = path.read_text().split("[cam_3]")
    path.write_text(start + "[cam_3]" + last.replace("rotation =", "#").replace("translation", "#"))
    told = r"'cam04' has no \['R', 't'\].* without cam04: .*cameras=\[cam01,cam02,cam03\]"
    with pytest.raises(CalibrationError, match=told):
        read_calibration(path)
    kept = read_calibration(path, cameras=["cam03", "cam01"])
    assert kept.names == ("cam03", "cam01")


@pytest.mark.parametrize("write", [write_anipose, write_panoptic, write_cameras_json])
def test_a_lens_that_is_not_supported_may_be_left_out_by_name(write, tmp_path):
    made = rig()
    made.distortion = np.pad(made.distortion, ((0, 0), (0, 3)))
    made.distortion[1, 7] = 0.1
    path = write(tmp_path, made)
    with pytest.raises(CalibrationError, match=f"{path}: camera 'cam02': a lens with 8 .*without"):
        read_calibration(path)
    assert len(read_calibration(path, cameras=["cam01", "cam03", "cam04"]).names) == 3


def test_a_caliscope_camera_that_is_ignored_is_told(tmp_path):
    path = write_caliscope(tmp_path, rig(names=[f"cam_{i}" for i in range(4)]))
    renamed(path, "ignore = false\nsize = [640", "ignore = true\nsize = [640")
    calibration = read_calibration(path)
    assert calibration.names == ("cam_0", "cam_1", "cam_3")
    (note,) = calibration.notes
    assert note == f"camera 'cam_2' of {path} is marked ignore = true: it is left out"


@pytest.mark.parametrize(("count", "angle"), [(1, 90), (-1, 270), (2, 180)])
def test_a_caliscope_camera_that_was_shown_turned_is_told(tmp_path, count, angle):
    path = write_caliscope(tmp_path, rig(names=[f"cam_{i}" for i in range(4)]))
    text = path.read_text()
    path.write_text(text.replace("rotation_count = 0", f"rotation_count = {count}", 1))
    (note,) = read_calibration(path).notes
    assert note.startswith(f"camera 'cam_0' of {path} was shown turned by {angle} degrees")
    assert read_calibration(path, cameras=["cam_1", "cam_2"]).notes == ()
    assert turned(read_calibration(path), {"cam_0": angle}).notes == ()
    assert len(turned(read_calibration(path), {"cam_1": angle}).notes) == 1


def test_a_qualisys_camera_that_was_shown_turned_is_told(tmp_path):
    path = write_qualisys(tmp_path, rig())
    text = path.read_text()
    path.write_text(text.replace('serial="cam02"', 'serial="cam02" viewrotation="90"'))
    assert "'cam02' of" in read_calibration(path).notes[-1]
    assert "shown turned by 90 degrees" in read_calibration(path).notes[-1]


def test_a_damaged_file_among_those_of_other_cameras_is_told(tmp_path):
    write_storages(tmp_path, rig())
    (tmp_path / "cam03.yml").write_text("%YAML:1.0\n---\ncalibration_time: never\n")
    calibration = read_calibration(tmp_path)
    assert calibration.names == ("cam01", "cam02", "cam04")
    assert any("'cam03.yml' of" in note and "no matrix" in note for note in calibration.notes)


@pytest.mark.parametrize(
    "model", ["Miqus Hybrid", "MIQUS HYBRID", "Miqus Video UnderWater", "none"]
)
def test_qualisys_cameras_that_film_and_track_are_taken(model, tmp_path):
    path = write_qualisys(tmp_path, rig())
    path.write_text(path.read_text().replace("Miqus Video", model, 2))
    calibration = read_calibration(path)
    assert calibration.names == tuple(rig().names)
    np.testing.assert_allclose(calibration.centres, rig().centres)
    (note,) = calibration.notes
    assert "camera 'marker' of" in note
    assert "(Oqus 700) is a marker camera: it is left out" in note


def test_qualisys_files_of_hybrids_alone_have_no_marker_cameras(tmp_path):
    path = renamed(write_qualisys(tmp_path, rig()), "Miqus Video", "Miqus Hybrid")
    assert read_calibration(path).names == tuple(rig().names)


def test_qualisys_cameras_that_do_not_film_are_taken_if_they_are_named(tmp_path):
    path = write_qualisys(tmp_path, rig())
    path.write_text(path.read_text().replace("Miqus Video", "Arqus A5", 1))
    assert read_calibration(path).names == ("cam02", "cam03", "cam04")
    assert read_calibration(path, cameras=["cam01", "cam02"]).names == ("cam01", "cam02")
    with pytest.raises(CalibrationError, match="camera 'marker'"):
        read_calibration(path, cameras=["marker", "cam01"])


def test_a_qualisys_lens_with_more_numbers_is_refused(tmp_path):
    path = write_qualisys(tmp_path, rig())
    text, more = path.read_text(), 'radialDistortion4="{}" radialDistortion1='
    path.write_text(text.replace("radialDistortion1=", more.format(0.0)))
    np.testing.assert_allclose(read_calibration(path).distortion, rig().distortion)
    path.write_text(text.replace("radialDistortion1=", more.format(0.01)))
    with pytest.raises(CalibrationError, match="'radialDistortion4' looks like a lens"):
        read_calibration(path)


# ---- shared intrinsics ---------------------------------------------------------------------------


def shared_rig():
    made = rig()
    made.K[:], made.distortion[:], made.sizes[:] = made.K[0], made.distortion[0], made.sizes[0]
    return made


def assert_is(calibration, made):
    assert calibration.names == tuple(made.names)
    np.testing.assert_allclose(calibration.K, made.K)
    np.testing.assert_allclose(calibration.distortion, made.distortion)
    np.testing.assert_allclose(calibration.centres, made.centres, atol=1e-6)


def test_one_file_of_intrinsics_stands_for_all_cameras(tmp_path):
    made = shared_rig()
    write_storages(tmp_path, made)
    start, end = "image_width", "\nR:"
    for file in sorted(tmp_path.iterdir()):
        text = file.read_text()
        head, rest = text[: text.index(start)], text[text.index(end) :]
        (tmp_path / "intrinsics.yml").write_text(text[: text.index(end) + 1])
        file.write_text(head + rest.lstrip())
    assert_is(read_calibration(tmp_path), made)


def test_easymocaps_intrinsics_may_be_of_one_camera_alone(tmp_path):
    made = shared_rig()
    write_easymocap(tmp_path, made)
    intri = tmp_path / "intri.yml"
    text = intri.read_text()
    one = text[: text.index("K_cam02")].replace('  - "cam02"\n', "")
    intri.write_text(one.replace('  - "cam03"\n', "").replace('  - "cam04"\n', ""))
    assert_is(read_calibration(tmp_path), made)


def test_easymocaps_names_need_no_quotes(tmp_path):
    made = rig(names=["01", "1", "no", "1e3"])
    write_easymocap(tmp_path, made)
    for file in tmp_path.iterdir():
        file.write_text(file.read_text().replace('"', ""))
    assert_is(read_calibration(tmp_path), made)


def test_easymocaps_sizes_may_be_unknown(tmp_path):
    write_easymocap(tmp_path, rig())
    intri = tmp_path / "intri.yml"
    intri.write_text(intri.read_text().replace("H_cam01: 720", "H_cam01: -1"))
    assert np.isnan(read_calibration(tmp_path).sizes).tolist() == [[True] * 2, *[[False] * 2] * 3]


def test_cameras_json_says_its_lens_by_five_numbers(tmp_path):
    path = write_cameras_json(tmp_path, rig())
    told = json.loads(path.read_text())
    told["cameras"]["cam02"]["distortion"] = told["cameras"]["cam02"].pop("dist")[:4]
    path.write_text(json.dumps(told))
    with pytest.raises(CalibrationError, match="'cam02'.* 4 distortion coefficients, not 5"):
        read_calibration(path)
