"""Facts of formats of other programs, by values computed in each format's own convention."""

import io
import json
import os
import pickle
import pickletools
from pathlib import Path

import cv2
import numpy as np
import pytest
from calibration_files import (
    expected_px,
    points,
    rig,
    write_aist,
    write_jarvis,
    write_mccalib,
    write_multical,
    write_opencap,
    write_vicon,
)
from scipy.spatial.transform import Rotation

from mask_sup.calibration import CalibrationError, find_calibration, read_calibration
from mask_sup.calibration.opencap import load


def seen_px(calibration, index, x_world):
    """Pixels by OpenCV of what was read."""
    rvec = cv2.Rodrigues(calibration.R[index])[0]
    parts = calibration.t[index], calibration.K[index], calibration.distortion[index]
    return cv2.projectPoints(x_world, rvec, *parts)[0][:, 0]


# ---- MC-Calib, JARVIS, stereo_calib --------------------------------------------------------------


def test_mc_calibs_groups_share_no_world(tmp_path):
    path = write_mccalib(tmp_path, rig())
    head, last = path.read_text().rsplit("camera_group: 0", 1)
    path.write_text(f"{head}camera_group: 1{last}")
    calibration = read_calibration(path)
    assert calibration.names == ("cam01", "cam02", "cam03")
    assert "camera 'cam04' of" in calibration.notes[0]
    assert "shares no world with the others" in calibration.notes[0]
    with pytest.raises(CalibrationError, match="shares no world"):
        read_calibration(path, cameras=["cam01", "cam04"])


def test_mc_calibs_fisheyes_are_refused(tmp_path):
    path = write_mccalib(tmp_path, rig())
    path.write_text(path.read_text().replace("distortion_type: 0", "distortion_type: 1", 1))
    with pytest.raises(CalibrationError, match="'cam01' is a fisheye"):
        read_calibration(path)


def test_jarvis_projects_row_vectors(tmp_path):
    """[x_world' 1] [R; T'] K is a pixel in homogeneous coordinates."""
    made = rig(distorted=False)
    calibration = read_calibration(write_jarvis(tmp_path, made))
    for index, name in enumerate(made.names):
        told = cv2.FileStorage(str(tmp_path / f"{name}.yaml"), cv2.FILE_STORAGE_READ)
        K, R, T = (told.getNode(key).mat() for key in ("intrinsicMatrix", "R", "T"))
        rows = np.hstack([points(), np.ones((len(points()), 1))]) @ np.vstack([R, T.T]) @ K
        np.testing.assert_allclose(
            seen_px(calibration, index, points()), rows[:, :2] / rows[:, 2:], atol=1e-6
        )


def test_an_intrinsic_matrix_for_column_vectors_is_left_as_it_is(tmp_path):
    made = rig()
    for i, name in enumerate(made.names):
        storage = cv2.FileStorage(str(tmp_path / f"{name}.yml"), cv2.FILE_STORAGE_WRITE)
        for key, value in (("intrinsicMatrix", made.K[i]), ("R", made.R[i]), ("T", made.t[i])):
            storage.write(key, value)
        storage.release()
    np.testing.assert_allclose(read_calibration(tmp_path).R, made.R)


def write_stereo(folder, made):
    """stereo_calib's two files: T and R take points from the first camera to the second."""
    R = made.R[1] @ made.R[0].T
    T = made.t[1] - R @ made.t[0]
    nodes = {
        "intrinsics.yml": {
            **{f"M{i + 1}": made.K[i] for i in range(2)},
            **{f"D{i + 1}": made.distortion[i][None] for i in range(2)},
        },
        "extrinsics.yml": {
            "R": R,
            "T": T[:, None],
            "R1": np.eye(3),
            "R2": np.eye(3),
            "P1": np.eye(3, 4),
            "P2": np.eye(3, 4),
            "Q": np.eye(4),
        },
    }
    for file, told in nodes.items():
        storage = cv2.FileStorage(str(folder / file), cv2.FILE_STORAGE_WRITE)
        for key, value in told.items():
            storage.write(key, value)
        storage.release()
    return folder


def test_stereo_calibs_world_is_its_first_camera(tmp_path):
    made = rig()
    folder = write_stereo(tmp_path, made)
    assert find_calibration(folder) == folder
    calibration = read_calibration(folder)
    assert calibration.names == ("cam1", "cam2")
    for index in range(2):
        np.testing.assert_allclose(
            seen_px(calibration, index, points() @ made.R[0].T + made.t[0]),
            expected_px(made, index, points()),
            atol=1e-6,
        )


def test_half_of_a_stereo_calibration_says_so(tmp_path):
    path = write_stereo(tmp_path, rig()) / "intrinsics.yml"
    with pytest.raises(CalibrationError, match="give the folder of both files"):
        read_calibration(path)


# ---- multical ------------------------------------------------------------------------------------


def relative(made, a, b):
    """x_a = R x_b + T in metres."""
    R = made.R[a] @ made.R[b].T
    return {"R": R.tolist(), "T": ((made.t[a] - R @ made.t[b]) / 1000).tolist()}


@pytest.mark.parametrize("chain", [[(1, 0), (2, 0), (3, 0)], [(1, 0), (2, 1), (3, 2)]])
def test_multicals_poses_may_be_relative_to_another_camera(chain, tmp_path):
    made = rig(names=["a", "a_to_b", "c", "d"])
    path = write_multical(tmp_path, made)
    told = json.loads(path.read_text())
    told["camera_poses"] = {"a": {"R": np.eye(3).tolist(), "T": [0, 0, 0]}} | {
        f"{made.names[i]}_to_{made.names[j]}": relative(made, i, j) for i, j in chain
    }
    path.write_text(json.dumps(told))
    calibration = read_calibration(path)
    for index in range(4):
        np.testing.assert_allclose(
            seen_px(calibration, index, points() @ made.R[0].T + made.t[0]),
            expected_px(made, index, points()),
            atol=1e-6,
        )


@pytest.mark.parametrize("links", [{}, {"cam04_to_cam04": (3, 3)}])
def test_multicals_cameras_without_a_pose_are_named(links, tmp_path):
    made = rig()
    path = write_multical(tmp_path, made)
    told = json.loads(path.read_text())
    del told["camera_poses"]["cam04"]
    told["camera_poses"] |= {key: relative(made, *pair) for key, pair in links.items()}
    path.write_text(json.dumps(told))
    with pytest.raises(CalibrationError, match="'cam04' has no pose in camera_poses.*without"):
        read_calibration(path)
    assert len(read_calibration(path, cameras=["cam01", "cam02"]).names) == 2


# ---- units that no file says ---------------------------------------------------------------------


def test_a_rig_of_unusual_size_is_doubted_where_its_unit_is_a_guess(tmp_path):
    made = rig()
    assert read_calibration(write_aist(tmp_path, made)).notes == ()
    made.t *= 10  # told in mm, taken for cm
    path = write_aist(tmp_path, made)
    (note,) = read_calibration(path).notes
    assert "does not say its unit: taken for cm, its cameras are 79.8 m apart at most" in note
    assert read_calibration(path, unit="mm").notes == ()


# ---- Vicon ---------------------------------------------------------------------------------------


def vicon_px(made, index, x_world, radial):
    """The distorted pixel p with centre + (1 + k0 r^2 + k1 r^4 + k2 r^6)(p - centre) ideal."""
    ideal = expected_px(made, index, x_world)
    centre = made.K[index, :2, 2]
    offset = (ideal - centre) * [1, made.K[index, 0, 0] / made.K[index, 1, 1]]
    wanted = np.linalg.norm(offset, axis=1)
    r = wanted.copy()
    for _ in range(200):
        r = wanted / (1 + sum(k * r ** (2 * i + 2) for i, k in enumerate(radial)))
    return centre + (ideal - centre) * (r / wanted)[:, None]


def test_vicons_lens_goes_from_the_distorted_picture_to_the_ideal_one(tmp_path):
    made, radial = rig(distorted=False), (3e-8, 2e-14, 0.0)
    calibration = read_calibration(write_vicon(tmp_path, made, "3e-8 2e-14 0"))
    moved = []
    for index in range(4):
        expected = vicon_px(made, index, points(), radial)
        inside = ((expected > 0) & (expected < made.sizes[index])).all(1)
        off = np.abs(seen_px(calibration, index, points()) - expected)[inside]
        assert off.max() < 0.1
        moved.append(np.abs(expected_px(made, index, points()) - expected)[inside].max())
    assert max(moved) > 1


def test_vicons_older_lens_and_cameras_without_one(tmp_path):
    path = write_vicon(tmp_path, rig(distorted=False), "3e-8 2e-14 0")
    expected = read_calibration(path).distortion
    text = path.read_text()
    for i in range(4):
        start = text.index('VICON_RADIAL2="')
        end = text.index('"/>', start)
        text = text[:start] + ('VICON_RADIAL="3e-8 2e-14' if i < 3 else 'OTHER="') + text[end:]
    path.write_text(text)
    calibration = read_calibration(path)
    np.testing.assert_allclose(calibration.distortion[:3], expected[:3])
    assert not calibration.distortion[3].any()


def test_vicons_lens_that_opencv_cannot_tell_is_refused(tmp_path):
    path = write_vicon(tmp_path, rig(distorted=False), "2e-6 0 -4e-18")
    with pytest.raises(CalibrationError, match="lens differs from OpenCV's .* pixels: undistort"):
        read_calibration(path)


def test_vicons_lens_by_hand(tmp_path):
    """600 pixels from the middle, 1 + 1e-7 * 600^2 times as far in the ideal picture."""
    path = write_vicon(tmp_path, rig(distorted=False), "1e-7 0 0")
    told = read_calibration(path).select(["cam01"])  # 1280x720
    cx, cy = told.K[0, :2, 2]
    seen = np.array([[[cx + 600.0, cy]]])
    ideal = cv2.undistortPoints(seen, told.K[0], told.distortion[0], P=told.K[0])[0, 0]
    assert ideal[0] - cx == pytest.approx(600 * (1 + 1e-7 * 600**2), abs=0.3)  # 621.6, not 579.9
    assert ideal[1] == pytest.approx(cy, abs=0.3)


@pytest.mark.parametrize(("correction", "good"), [("1", True), ("1.0005", True), ("1.01", False)])
def test_vicons_correction_of_pixels_is_refused_unless_it_does_nothing(tmp_path, correction, good):
    path = write_vicon(tmp_path, rig(distorted=False))
    text = path.read_text().replace(
        "<KeyFrame ", f'<KeyFrame PIXEL_ASPECT_RATIO_CORRECTION="{correction}" '
    )
    path.write_text(text)
    if good:
        assert read_calibration(path).names == tuple(rig().names)
    else:
        with pytest.raises(CalibrationError, match="PIXEL_ASPECT_RATIO_CORRECTION is 1.01: expect"):
            read_calibration(path)


def test_multicals_fisheyes_are_refused(tmp_path):
    path = write_multical(tmp_path, rig(distorted=False))
    told = json.loads(path.read_text())
    next(iter(told["cameras"].values()))["model"] = "fisheye"
    path.write_text(json.dumps(told))
    with pytest.raises(CalibrationError, match="is a fisheye"):
        read_calibration(path)


def test_vicons_marker_cameras_are_left_out_and_told(tmp_path):
    calibration = read_calibration(write_vicon(tmp_path, rig(distorted=False)))
    (note,) = calibration.notes
    assert "camera '9' of" in note
    assert "(Vantage) is a marker camera: it is left out" in note


def test_vicons_cameras_that_were_not_calibrated_or_move_are_named(tmp_path):
    path = write_vicon(tmp_path, rig(distorted=False))
    frames = path.read_text().split("<KeyFrames>")
    frames[1] = "</KeyFrames>" + frames[1].split("</KeyFrames>")[1]
    path.write_text("<KeyFrames>".join(frames))
    with pytest.raises(CalibrationError, match="'cam01' has 0 key frames: expected one"):
        read_calibration(path)


# ---- OpenCap -------------------------------------------------------------------------------------


def test_opencaps_folders_name_the_cameras(tmp_path):
    made = rig(names=["Cam0", "Cam1", "Cam2", "Cam3"])
    write_opencap(tmp_path, made)
    for name in made.names:
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.pickle").rename(tmp_path / name / "cameraIntrinsicsExtrinsics.pickle")
    assert find_calibration(tmp_path) == tmp_path
    assert read_calibration(tmp_path).names == tuple(made.names)
    one = read_calibration(tmp_path / "Cam2" / "cameraIntrinsicsExtrinsics.pickle")
    assert one.names == ("Cam2",)
    np.testing.assert_allclose(one.t[0], made.t[2])


def test_other_pickles_are_no_calibrations(tmp_path):
    for name in ("smpl.pkl", "mano.pickle"):
        (tmp_path / name).write_bytes(pickle.dumps({"pose": np.zeros(72)}))
    with pytest.raises(FileNotFoundError, match="missing"):
        find_calibration(tmp_path)
    write_opencap(tmp_path, rig())
    assert read_calibration(find_calibration(tmp_path)).names == tuple(rig().names)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_any_protocol_and_order_are_read(protocol, order, tmp_path):
    told = {
        "a": np.array([[1.5, 2], [3, 4], [5, 6]], order=order),
        "b": np.arange(3, dtype=">i4"),
        "c": np.float64(0.25),
        "d": "words",
    }
    path = tmp_path / "a.pickle"
    path.write_bytes(pickle.dumps(told, protocol))
    found = load(path)
    np.testing.assert_array_equal(found["a"], told["a"])
    np.testing.assert_array_equal(found["b"], [0, 1, 2])
    assert (found["c"], found["d"]) == (0.25, "words")


class Runs:
    """A pickle of it calls a function when it is opened."""

    def __init__(self, function, *parts):
        self.parts = function, parts

    def __reduce__(self):
        return self.parts


def hostile(folder):
    """Name -> bytes that do something, or take memory or time, in Python's own reader."""
    mark = str(folder / "mark")
    good = {"intrinsicMat": np.eye(3), "imageSize": np.ones((2, 1))}
    yield "system", pickle.dumps(good | {"x": Runs(os.system, f"touch {mark}")})
    yield "eval", pickle.dumps(good | {"x": Runs(eval, f"open({mark!r}, 'w')")})
    yield "open", pickle.dumps(good | {"x": Runs(io.open, mark, "w")}, 0)
    yield "getattr", pickle.dumps(good | {"x": Runs(getattr, "a", "upper")}, 2)
    yield "object array", pickle.dumps(good | {"x": np.array([{}, 1], object)})
    yield "fromfile", pickle.dumps(good | {"x": Runs(np.fromfile, mark)})
    yield "bytearray", b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b"."
    yield "ext", b"\x80\x02\x82\x01."
    yield "persistent", b"\x80\x02U\x04intrQ."
    yield "inst", b"(S'touch'\nios\nsystem\n."
    yield "build", b"\x80\x02c_codecs\nencode\n}X\x01\x00\x00\x00aK\x01sb."
    yield "memo", b"\x80\x02Nr\xff\xff\xff\x7f."
    yield (
        "laughs",
        b"\x80\x02]q\x00K\x01a"
        + b"".join(
            b"]" + b"q" + bytes([i]) + b"(" + (b"h" + bytes([i - 1])) * 9 + b"e"
            for i in range(1, 40)
        )
        + b"}X\x0c\x00\x00\x00intrinsicMath\x27s.",
    )
    yield "itself", b"\x80\x02}q\x00X\x0c\x00\x00\x00intrinsicMath\x00s."
    yield (
        "shape",
        pickle.dumps({"intrinsicMat": np.zeros((3, 3))}).replace(b"K\x03K\x03", b"K\xffK\xff"),
    )
    yield "many", pickle.dumps({"intrinsicMat": np.zeros(100_000)})


HOSTILE = [name for name, _ in hostile(Path("x"))]


@pytest.mark.parametrize("name", HOSTILE)
def test_pickles_that_do_anything_are_refused_and_do_nothing(name, tmp_path):
    path = tmp_path / "a.pickle"
    path.write_bytes(dict(hostile(tmp_path))[name])
    with pytest.raises(CalibrationError):
        read_calibration(path, "opencap")
    assert [file.name for file in tmp_path.iterdir()] == ["a.pickle"]


def test_a_pickle_that_names_other_things_says_which(tmp_path):
    path = tmp_path / "a.pickle"
    path.write_bytes(pickle.dumps({"intrinsicMat": Runs(os.system, "true")}))
    with pytest.raises(CalibrationError, match=r"names (posix|nt)\.system, which .* not opened"):
        read_calibration(path)


def test_the_readers_opcodes_are_those_of_real_files(tmp_path):
    """What numpy and Python write today is a part of what is let in."""
    from mask_sup.calibration.opencap import OPCODES

    write_opencap(tmp_path, rig())
    used = {op.name for op, _, _ in pickletools.genops((tmp_path / "cam01.pickle").read_bytes())}
    assert used <= {*OPCODES.split(), "BUILD"}
    assert not {"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "BINPERSID"} & set(OPCODES.split())


def test_a_quaternion_by_hand():
    from mask_sup.calibration.entries import quaternion_rotation

    x, y, z, w = Rotation.from_euler("xyz", [0.1, 0.2, 0.3]).as_quat()
    expected = Rotation.from_euler("xyz", [0.1, 0.2, 0.3]).as_matrix()
    np.testing.assert_allclose(quaternion_rotation(np.array([w, x, y, z])), expected, atol=1e-12)
