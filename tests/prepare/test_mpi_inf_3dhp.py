"""The official release -> store, on a fabricated one."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import release_3dhp as release
from release_bodies import NAMES, dot_in, pixels, walk

from mask_sup.data.lens import crop_square, mask_box
from mask_sup.data.manifest import PreparedData, read_manifest
from mask_sup.files.masks import read_mask
from mask_sup.files.pictures import read_image
from mask_sup.prepare import mpi_inf_3dhp as reader
from mask_sup.prepare.mpi_inf_3dhp import find_clips
from mask_sup.prepare.protocol import Split, load_protocol
from mask_sup.prepare.store import PADDING, write_store

STRIDE, SIZE = 2, 384
NOT_MADE = dict.fromkeys(("S3/Seq2", "S7/Seq2"), "not made")


def stored(root, protocol, out, masks=None):
    found = find_clips(root, protocol, masks)
    told = {"masks": found.masks, "notes": found.notes, "skipped": found.skipped}
    write_store(found.clips, out, protocol, SIZE, 1, told)
    return SimpleNamespace(root=out, found=found, data=PreparedData(out))


def moments_of(data):
    return [moment for split in data.splits for moment in data.moments(split)]


def true_camera(moment, view):
    """K, R, t that the pictures were drawn with."""
    return release.rig(moment.person)[release.CAMERAS[view]]


def cut_of(view, K):
    """The crop (3, 3) that the manifest's K tells."""
    return view.K @ np.linalg.inv(K)


def frame_of(moment):
    return int(moment.name.rpartition("/")[2])


# ---- training set: what comes out ----------------------------------------------------------------


@pytest.fixture(scope="module")
def protocol():
    splits = {"train": Split(("S1", "S3"), STRIDE), "val": Split(("S7",), 2 * STRIDE)}
    return replace(load_protocol("mpi_inf_3dhp"), name="short", splits=splits, exclude=NOT_MADE)


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    return release.make(tmp_path_factory.mktemp("mpi_inf_3dhp"))


@pytest.fixture(scope="module")
def store(official, protocol, tmp_path_factory):
    return stored(official, protocol, tmp_path_factory.mktemp("store") / "3dhp")


def test_frames_of_each_split_and_twice_the_stride_at_50_frames_a_second(store):
    frames = {clip.name: clip.frames for clip in store.found.clips}
    assert frames == {
        "S1/Seq1": {"train": (0, 2, 4, 6)},
        "S3/Seq1": {"train": (0, 4)},
        "S7/Seq1": {"val": (0, 4)},
    }
    assert any("S3/Seq1: 50 frames a second" in note for note in store.found.notes)
    moment = store.data.moments("val")[0]
    assert (moment.person, moment.sequence, len(moment.views)) == ("S7", "S7/Seq1", 5)


def test_a_chair_in_front_drops_the_moment(store):
    _, header = read_manifest(store.root)
    assert header["dropped"] == {"occluded": 1}
    names = [moment.name for moment in store.data.moments("train")]
    assert names == [*(f"S1/Seq1/{i:06d}" for i in (0, 2, 4, 6)), "S3/Seq1/000000"]


def test_a_split_may_leave_out_occluded_moments_and_keep_other_faults(official, protocol, tmp_path):
    keep = replace(protocol.keep, largest=0.0001, border=0.0)  # now every mask has a fault
    for drop, frames in (("occluded", [0]), (False, [0, 4])):
        splits = {"val": Split(("S3",), 2, drop=drop)}
        changed = replace(protocol, splits=splits, keep=keep)
        made = stored(official, changed, tmp_path / str(drop))
        assert [frame_of(moment) for moment in made.data.moments("val")] == frames
        dropped = {"occluded": 1} if drop else {}
        assert read_manifest(made.root)[1]["dropped"] == dropped


def test_what_is_missing_of_the_release_is_told(store):
    assert "no masks" in store.found.skipped["S1/Seq2"]
    assert store.found.skipped["S3/Seq2"] == "not made"
    assert any(note.startswith("S1/Seq1: no ChairMasks") for note in store.found.notes)
    assert not any(note.startswith("S7/Seq1: no ChairMasks") for note in store.found.notes)
    assert store.found.masks.startswith("FGmasks (green screen, no labels)")


def test_the_pelvis_is_projected_to_where_it_was_painted(store):
    for moment in moments_of(store.data):
        for view in moment.views:
            point = view.K @ (view.R @ moment.joints_world[0] + view.t)
            painted = dot_in(read_image(view.image))
            assert np.linalg.norm(point[:2] / point[2] - painted) < 0.5


def test_all_joints_are_projected_to_where_the_bodys_are(store):
    for moment in moments_of(store.data):
        _, joints = walk(release.person_of(moment.person), release.FRAMES)
        for number, view in enumerate(moment.views):
            K, R, t = true_camera(moment, number)
            expected = pixels(K, R, t, joints[frame_of(moment)])
            expected = expected @ cut_of(view, K)[:2, :2].T + cut_of(view, K)[:2, 2]
            found = pixels(view.K, view.R, view.t, moment.joints_world)
            assert np.linalg.norm(found - expected, axis=1).max() < 0.5


def test_joints_have_their_names(store):
    moment = store.data.moments("val")[1]
    _, joints = walk(7, release.FRAMES)
    for name, found, expected in zip(NAMES, moment.joints_world, joints[4], strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-3, err_msg=name)


def test_masks_are_the_persons(store):
    for moment in store.data.moments("val"):
        for number, view in enumerate(moment.views):
            mask = read_mask(view.mask)
            assert set(np.unique(mask)) == {0, 255}
            _, masks = release.filmed("S7", release.CAMERAS[number])
            cut = cut_of(view, true_camera(moment, number)[0])
            scale, shift = cut[0, 0], cut[:2, 2]
            there = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
            there[:, 2] += 0.5 * (scale - 1)  # OpenCV's pixels have their centres at integers
            whole = cv2.warpAffine(masks[frame_of(moment)], there, mask.shape[::-1])
            both, either = (mask > 0) & (whole > 127), (mask > 0) | (whole > 127)
            assert both.sum() > 0.97 * either.sum()


def test_only_so_many_frames_as_the_release_promises_are_read(official, protocol, monkeypatch):
    monkeypatch.setitem(reader.SEQUENCES, "S1/Seq1", (5, 25))
    found = find_clips(official, replace(protocol, splits={"train": Split(("S1",))}))
    assert found.clips[0].frames["train"] == (0, 1, 2, 3, 4)
    assert not any("left out" in note for note in found.notes)


def test_labels_after_the_last_picture_are_left_out(official, protocol):
    found = find_clips(official, replace(protocol, splits={"train": Split(("S1",))}))
    assert found.clips[0].frames["train"] == tuple(range(release.FRAMES))
    assert any("S1/Seq1: the last 1 of 9 frames" in note for note in found.notes)


def test_cameras_are_those_of_the_protocol(official, protocol):
    some = replace(protocol, cameras=("8", "2"), splits={"val": Split(("S7",))})
    (clip,) = find_clips(official, some).clips
    assert clip.cameras == ("8", "2")
    for view, number in enumerate((8, 2)):
        for found, true in zip((clip.K, clip.R, clip.t), release.rig("S7")[number], strict=True):
            np.testing.assert_allclose(found[view], true)
        assert clip.masks[view].path.name == f"video_{number}.avi"


def test_masks_of_ones_own_stand_in_for_those_that_are_missing(tmp_path, protocol):
    root, masks = tmp_path / "raw", tmp_path / "masks"
    release.make_sequence(root / "S1" / "Seq2", "S1", green=False, cameras=(4,))
    _, drawn = release.filmed("S1", 4)
    folder = masks / "S1" / "Seq2" / "video_4"
    folder.mkdir(parents=True)
    for i, mask in enumerate(drawn):
        cv2.imwrite(str(folder / f"{i:06d}.png"), mask)
    one = replace(
        protocol,
        splits={"train": Split(("S1",), STRIDE)},
        cameras=("4",),
        exclude={"S1/Seq1": "not made"},
    )
    store = stored(root, one, tmp_path / "out", masks)
    assert "given for S1/Seq2" in store.found.masks
    assert [frame_of(moment) for moment in store.data.moments("train")] == [0, 4]  # 50 a second
    for moment in store.data.moments("train"):
        mask = drawn[frame_of(moment)]
        cropped = np.where(crop_square(mask, mask_box(mask, PADDING), SIZE) > 127, 255, 0)
        np.testing.assert_array_equal(read_mask(moment.views[0].mask), cropped)

    (folder / "000004.png").unlink()
    with pytest.raises(FileNotFoundError, match=rf"S1/Seq2 lacks 1 of 2 frames in {folder}"):
        find_clips(root, one, masks)


# ---- training set: bad input ---------------------------------------------------------------------


@pytest.fixture
def copied(official, tmp_path):
    shutil.copytree(official / "S1", tmp_path / "raw" / "S1")
    return tmp_path / "raw"


@pytest.fixture
def only_s1(protocol):
    return replace(protocol, splits={"train": Split(("S1",))})


def test_a_cut_off_annot_mat_is_named(copied, only_s1):
    path = copied / "S1" / "Seq1" / "annot.mat"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"{path} cannot be read .*copy it again"):
        find_clips(copied, only_s1)


@pytest.mark.parametrize("folder", ["imageSequence", "FGmasks"])
def test_a_cut_off_video_is_named(copied, only_s1, tmp_path, folder):
    path = copied / "S1" / "Seq1" / folder / "video_7.avi"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = find_clips(copied, only_s1)  # its header promises all frames
    with pytest.raises(ValueError, match=rf"{path} (cannot be read|ends before)"):
        write_store(found.clips, tmp_path / "out", only_s1, 64, 1, {})
    assert not (tmp_path / "out" / "manifest.npz").exists()


def test_a_video_that_ends_long_before_the_labels_is_named(copied, only_s1):
    cameras = release.rig("S1")
    joints = np.repeat(release.named(walk(1, 8)[1], release.JOINTS28, release.ALIKE28), 5, 0)
    release.write_annotations(copied / "S1" / "Seq1" / "annot.mat", cameras, joints)
    with pytest.raises(ValueError, match=r"S1/Seq1 has 40 labelled frames(.|\n)*video_0\.avi"):
        find_clips(copied, only_s1)


@pytest.mark.parametrize("name", ["imageSequence/video_4.avi", "FGmasks/video_8.avi", "annot.mat"])
def test_a_half_unpacked_release_names_what_is_missing(copied, only_s1, name):
    path = copied / "S1" / "Seq1" / name
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"1 files are missing.*\n  {path}"):
        find_clips(copied, only_s1)


def test_chair_masks_of_some_cameras_alone_are_half_unpacked(official, tmp_path, protocol):
    root = shutil.copytree(official / "S7", tmp_path / "S7").parent
    (root / "S7" / "Seq1" / "ChairMasks" / "video_2.avi").unlink()
    with pytest.raises(FileNotFoundError, match=r"S7/Seq1/ChairMasks/video_2\.avi"):
        find_clips(root, replace(protocol, splits={"val": Split(("S7",))}))


def test_masks_of_another_size_are_named(copied, only_s1, tmp_path):
    path = copied / "S1" / "Seq1" / "FGmasks" / "video_0.avi"
    release.write_video(path, [np.full((64, 64, 3), 255, np.uint8)] * release.FRAMES)
    found = find_clips(copied, only_s1)
    with pytest.raises(ValueError, match=rf"S1/Seq1 camera 0 frame 0: .*{path}.* is 64x64, its"):
        write_store(found.clips, tmp_path / "out", only_s1, 64, 1, {})


def test_cameras_of_another_sequence_are_refused(copied, only_s1):
    home = copied / "S1" / "Seq1"
    cameras = release.rig("S1")
    cameras[4], cameras[7] = cameras[7], cameras[4]
    release.write_calibration(home / "camera.calibration", cameras)
    with pytest.raises(ValueError, match=rf"{home}: by camera\.calibration.* in camera 4"):
        find_clips(copied, only_s1)


def test_a_cut_off_calibration_is_named(copied, only_s1):
    path = copied / "S1" / "Seq1" / "camera.calibration"
    path.write_text("\n".join(path.read_text().splitlines()[:30]))
    with pytest.raises(ValueError, match=rf"{path} does not tell the cameras"):
        find_clips(copied, only_s1)


def test_training_set_and_test_set_do_not_fit_into_one_store(official, protocol):
    both = replace(protocol, splits={"train": Split(("S1",)), "test": Split(("TS1",))})
    with pytest.raises(ValueError, match="folder of its own, by the protocol mpi_inf_3dhp_test"):
        find_clips(official, both)


def test_unknown_subjects_and_other_folders_are_refused(tmp_path, protocol):
    with pytest.raises(ValueError, match=r"asks for \['S9'\]: MPI-INF-3DHP has S1 to S8"):
        find_clips(tmp_path, replace(protocol, splits={"train": Split(("S9",))}))
    (tmp_path / "holiday").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no MPI-INF-3DHP in .*found \['holiday'\]"):
        find_clips(tmp_path, protocol)


# ---- test set ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def test_protocol():
    splits = {"test": Split(("TS1", "TS5"))}
    return replace(load_protocol("mpi_inf_3dhp_test"), name="short", splits=splits)


@pytest.fixture(scope="module")
def test_set(tmp_path_factory):
    root = tmp_path_factory.mktemp("test_set")
    for subject in ("TS1", "TS5"):
        release.make_test(root, subject, root / "masks")
    return root


@pytest.fixture(scope="module")
def test_store(test_set, test_protocol, tmp_path_factory):
    out = tmp_path_factory.mktemp("store") / "test"
    return stored(test_set, test_protocol, out, test_set / "masks")


def copied_test(test_set, tmp_path):
    return shutil.copytree(test_set, tmp_path / "raw")


def test_valid_frames_alone_are_kept_by_activity(test_store):
    names = [(moment.name, moment.action) for moment in test_store.data.moments("test")]
    assert names == [
        (f"{subject}/{sequence}/{frame:06d}", action)
        for subject in ("TS1", "TS5")
        for sequence, action, frames in (
            ("Stand-Walk", "Stand/Walk", (0, 1, 3, 4)),
            ("Crouch-Reach", "Crouch/Reach", (5, 6, 8, 9)),
        )
        for frame in frames
    ]
    assert "2 frames are not valid" in test_store.found.notes[0]


def test_the_lens_follows_from_the_labels(test_store):
    for clip in test_store.found.clips:
        K, *_ = release.test_camera(clip.name.split("/")[0])
        np.testing.assert_allclose(clip.K[0], K, atol=1e-6)


def test_joints_of_the_test_set_have_their_names(test_store):
    for moment in test_store.data.moments("test"):
        _, R, t, _ = release.test_camera(moment.person)
        _, joints = walk(release.person_of(moment.person), release.TEST_FRAMES)
        expected = joints[frame_of(moment)] @ R.T + t
        expected[NAMES.index("thorax")] = np.nan
        for name, found, true in zip(NAMES, moment.joints_world, expected, strict=True):
            np.testing.assert_allclose(found, true, atol=1e-3, err_msg=name)


def test_the_pelvis_of_the_test_set_is_projected_to_where_it_was_painted(test_store):
    for moment in test_store.data.moments("test"):
        (view,) = moment.views
        point = view.K @ (view.R @ moment.joints_world[0] + view.t)
        painted = dot_in(read_image(view.image))
        assert np.linalg.norm(point[:2] / point[2] - painted) < 0.5


def test_masks_of_the_test_set_are_those_that_were_given(test_set, test_store):
    for moment in test_store.data.moments("test"):
        path = test_set / "masks" / moment.person / f"{frame_of(moment) + 1:06d}.png"
        mask = read_mask(path)
        cropped = np.where(crop_square(mask, mask_box(mask, PADDING), SIZE) > 127, 255, 0)
        np.testing.assert_array_equal(read_mask(moment.views[0].mask), cropped)


def test_masks_may_be_numbered_from_0_as_they_are_made_here(test_set, test_protocol, tmp_path):
    for subject in ("TS1", "TS5"):
        folder = tmp_path / subject / "imageSequence"
        folder.mkdir(parents=True)
        for path in (test_set / "masks" / subject).iterdir():
            shutil.copy(path, folder / f"{int(path.stem) - 1:06d}.png")
    ours = find_clips(test_set, test_protocol, tmp_path).clips
    theirs = find_clips(test_set, test_protocol, test_set / "masks").clips
    for one, other in zip(ours, theirs, strict=True):
        for a, b in zip(one.masks[0].read([3, 8]), other.masks[0].read([3, 8]), strict=True):
            np.testing.assert_array_equal(a, b)


def test_actions_are_those_of_the_protocol(test_set, test_protocol):
    some = replace(test_protocol, actions=("Crouch/Reach",))
    found = find_clips(test_set, some, test_set / "masks")
    assert [clip.name for clip in found.clips] == ["TS1/Crouch-Reach", "TS5/Crouch-Reach"]


def test_a_test_set_without_masks_says_how_to_make_them(test_set, test_protocol):
    pictures = test_set / "mpi_inf_3dhp_test_set" / "TS1" / "imageSequence"
    with pytest.raises(
        FileNotFoundError,
        match=rf"no masks of TS1(.|\n)*python -m mask_sup\.masks input={pictures}",
    ):
        find_clips(test_set, test_protocol)


def test_a_missing_mask_and_a_missing_picture_are_told(test_set, test_protocol, tmp_path):
    root = copied_test(test_set, tmp_path)
    mask = root / "masks" / "TS1" / "000004.png"
    mask.unlink()
    with pytest.raises(FileNotFoundError, match=r"TS1/Stand-Walk lacks 1 of 4 .*number 3, counted"):
        find_clips(root, test_protocol, root / "masks")
    shutil.copy(test_set / "masks" / "TS1" / "000004.png", mask)
    pictures = root / "mpi_inf_3dhp_test_set" / "TS5" / "imageSequence"
    (pictures / "img_000010.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=rf"TS5/Crouch-Reach lacks 1 of 4 .*in {pictures}"):
        find_clips(root, test_protocol, root / "masks")


def test_damaged_labels_of_the_test_set_are_named(test_set, test_protocol, tmp_path):
    root = copied_test(test_set, tmp_path)
    path = root / "mpi_inf_3dhp_test_set" / "TS1" / "annot_data.mat"
    mm, px = release.test_joints("TS1")
    for damaged, told in (
        (lambda: path.write_bytes(path.read_bytes()[:2000]), "cannot be read as HDF5"),
        (lambda: release.write_test_annotations(path, mm[:7], px), r"annot3 has the shape \(7, 1,"),
        (
            lambda: release.write_test_annotations(path, mm, px[::-1, ::-1] * 9),
            "pixels from annot2",
        ),
        (path.unlink, "missing file"),
    ):
        damaged()
        with pytest.raises((ValueError, FileNotFoundError), match=told) as caught:
            find_clips(root, test_protocol, root / "masks")
        assert str(path) in str(caught.value)
