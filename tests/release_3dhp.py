"""MPI-INF-3DHP as it is downloaded, made of embedded bodies: real avi, mat, HDF5 and jpg files.

A green dot marks the pelvis in every picture.
"""

from functools import cache

import av
import cv2
import h5py
import numpy as np
from release_bodies import NAMES, dot, film, looking, middle, pixels, walk
from scipy.io import savemat

CAMERAS = (0, 2, 4, 7, 8)
SIZE = 384  # of the training set's square pictures; 2048 in the release
FRAMES = 8
# Official names of the 28 joints (mpii_get_joint_set.m), and of the 17 of the test set.
JOINTS28 = (
    *("spine3", "spine4", "spine2", "spine", "pelvis", "neck", "head", "head_top"),
    *("left_clavicle", "left_shoulder", "left_elbow", "left_wrist", "left_hand"),
    *("right_clavicle", "right_shoulder", "right_elbow", "right_wrist", "right_hand"),
    *("left_hip", "left_knee", "left_ankle", "left_foot", "left_toe"),
    *("right_hip", "right_knee", "right_ankle", "right_foot", "right_toe"),
)
JOINTS17 = (
    *("head_top", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder"),
    *("left_elbow", "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip"),
    *("left_knee", "left_ankle", "pelvis", "spine", "head"),
)
HEAD = {"head": "nose", "head_top": "head"}  # theirs: ours
ALIKE28 = HEAD | {"spine2": "spine", "spine4": "thorax", "spine": "lower than ours"}
TEST_SIZES = {"TS1": (384, 384), "TS5": (480, 270)}
TEST_FRAMES = 10
VALID = np.array([1, 1, 0, 1, 1, 1, 1, 0, 1, 1])
ACTIVITY = np.array([1, 1, 1, 1, 1, 4, 4, 4, 4, 4])


def person_of(subject):
    return int(subject.lstrip("TS"))


def named(joints, names, alike):
    """Joints of a body (n, 18, 3) in the order of other names; those it has not lie far away."""
    found = np.full((len(joints), len(names), 3), 7000.0)
    for i, name in enumerate(names):
        ours = alike.get(name, name)
        if ours in NAMES:
            found[:, i] = joints[:, NAMES.index(ours)]
    return found


def rig(subject):
    """K, R, t of the 14 cameras around a walk."""
    at = middle(person_of(subject), FRAMES)
    cameras = []
    for number in range(14):
        angle = 0.3 + 2 * np.pi * number / 14
        centre = at + [3400 * np.cos(angle), 3400 * np.sin(angle), 200 + 40 * number]
        K = np.array([[480.0 + number, 0, 190], [0, 482.0 + number, 193], [0, 0, 1]])
        cameras.append((K, *looking(centre, at)))
    return cameras


def write_calibration(path, cameras):
    lines = ["Skeletool Camera Calibration File V1.0"]
    for number, (K, R, t) in enumerate(cameras):
        intrinsic, extrinsic = np.eye(4), np.eye(4)
        intrinsic[:3, :3], extrinsic[:3, :3], extrinsic[:3, 3] = K, R, t
        lines += [
            f"name          {number}",
            "  sensor      10 10",
            f"  size        {SIZE} {SIZE}",
            "  animated    0",
            f"  intrinsic   {' '.join(str(x) for x in intrinsic.ravel())} ",
            f"  extrinsic   {' '.join(str(x) for x in extrinsic.ravel())} ",
            "  radial      0",
        ]
    path.write_text("\n".join(lines) + "\n")


def write_annotations(path, cameras, joints):
    """annot.mat: a cell of (n, 56) and (n, 84) for each camera."""
    cells = {key: np.empty((14, 1), object) for key in ("annot2", "annot3", "univ_annot3")}
    for number, (K, R, t) in enumerate(cameras):
        mm = joints @ R.T + t
        px = np.stack([pixels(K, R, t, frame) for frame in joints])
        cells["annot2"][number, 0] = px.reshape(len(joints), 56)
        cells["annot3"][number, 0] = mm.reshape(len(joints), 84)
        cells["univ_annot3"][number, 0] = 0.93 * mm.reshape(len(joints), 84)
    told = {"cameras": np.arange(14)[None], "frames": np.arange(len(joints))[:, None]}
    savemat(path, cells | told)


def write_video(path, frames, rate=25):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def coloured(mask):
    """What FGmasks show: the person red, upper clothes green, lower clothes blue as well."""
    parts = np.dstack([mask, mask, mask])
    rows = np.flatnonzero(mask.any(1))
    hip = (rows[0] + rows[-1]) // 2
    parts[hip:, :, 1] = parts[:hip, :, 2] = 0
    return parts


@cache
def filmed(subject, camera):
    """Pictures and masks of one camera."""
    person, (K, R, t) = person_of(subject), rig(subject)[camera]
    vertices, joints = walk(person, FRAMES)
    seen = [film(person, vertices[i], K, R, t, (SIZE, SIZE)) for i in range(FRAMES)]
    pictures = [dot(p, pixels(K, R, t, joints[i, :1])[0]) for i, (p, _) in enumerate(seen)]
    return pictures, [mask for _, mask in seen]


def make_sequence(home, subject, chairs=None, green=True, cameras=CAMERAS, rate=25):
    """One sequence; chairs: camera -> frames in which a chair hides the person."""
    home.mkdir(parents=True)
    write_calibration(home / "camera.calibration", rig(subject))
    labels = named(walk(person_of(subject), FRAMES)[1], JOINTS28, ALIKE28)
    more = np.concatenate([labels, labels[-1:]])  # labels go on after the pictures' end
    write_annotations(home / "annot.mat", rig(subject), more)
    for camera in cameras:
        pictures, masks = filmed(subject, camera)
        write_video(home / "imageSequence" / f"video_{camera}.avi", pictures, rate)
        if green:
            write_video(home / "FGmasks" / f"video_{camera}.avi", [coloured(m) for m in masks])
        if chairs is not None:
            hidden = chairs.get(camera, ())
            shown = [np.full((SIZE, SIZE, 3), 255, np.uint8) for _ in masks]
            for number in hidden:
                shown[number][:, :, 0] = 0
            write_video(home / "ChairMasks" / f"video_{camera}.avi", shown)


def make(root):
    """S1 without chair masks, S3 at 50 frames a second with a chair, and S7."""
    make_sequence(root / "S1" / "Seq1", "S1")
    make_sequence(root / "S3" / "Seq1", "S3", chairs={4: (4,)}, rate=50)
    make_sequence(root / "S7" / "Seq1", "S7", chairs={})
    return root


# ---- test set ------------------------------------------------------------------------------------


def test_camera(subject):
    """K, R, t and the size of the pictures."""
    width, height = TEST_SIZES[subject]
    at = middle(person_of(subject), TEST_FRAMES)
    K = np.array([[1.1 * height, 0, 0.49 * width], [0, 1.12 * height, 0.51 * height], [0, 0, 1]])
    return K, *looking(at + [300, -3600, 300], at), (width, height)


def test_joints(subject):
    """(n, 17, 3) mm in camera axes, and (n, 17, 2) pixels."""
    K, R, t, _ = test_camera(subject)
    world = named(walk(person_of(subject), TEST_FRAMES)[1], JOINTS17, HEAD)
    return world @ R.T + t, np.stack([pixels(K, R, t, frame) for frame in world])


def write_test_annotations(path, mm, px, transposed=False):
    with h5py.File(path, "w") as file:
        told = {"annot3": mm[:, None], "annot2": px[:, None], "univ_annot3": 0.9 * mm[:, None]}
        told |= {"valid_frame": VALID[:, None], "activity_annotation": ACTIVITY[:, None]}
        for key, values in told.items():
            file[key] = np.asarray(values, float).T if transposed else np.asarray(values, float)


def make_test(root, subject, masks):
    """A sequence of the test set, and masks numbered like its pictures."""
    home = root / "mpi_inf_3dhp_test_set" / subject
    (home / "imageSequence").mkdir(parents=True)
    (masks / subject).mkdir(parents=True)
    mm, px = test_joints(subject)
    write_test_annotations(home / "annot_data.mat", mm, px, transposed=subject == "TS5")
    K, R, t, size = test_camera(subject)
    person = person_of(subject)
    vertices, joints = walk(person, TEST_FRAMES)
    for i in range(TEST_FRAMES):
        picture, mask = film(person, vertices[i], K, R, t, size)
        dot(picture, pixels(K, R, t, joints[i, :1])[0])
        path = home / "imageSequence" / f"img_{i + 1:06d}.jpg"
        cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        cv2.imwrite(str(masks / subject / f"{i + 1:06d}.png"), mask)
    # Pictures after the last label, as in TS3 and TS4.
    cv2.imwrite(str(home / "imageSequence" / f"img_{TEST_FRAMES + 1:06d}.jpg"), picture)
