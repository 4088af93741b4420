"""The official release -> store, on a fabricated one with the data set's true cameras."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import h5py
import numpy as np
import pytest
import release_h36m as release

from mask_sup.data.manifest import PreparedData, read_manifest
from mask_sup.data.moments import crop_view
from mask_sup.files.masks import read_mask
from mask_sup.files.pictures import read_image
from mask_sup.prepare.human36m import find_clips, human18
from mask_sup.prepare.protocol import Split, load_protocol
from mask_sup.prepare.store import PADDING, write_store


@pytest.fixture(scope="module")
def protocol():
    six = load_protocol("h36m_six")
    splits = {"train": Split(("S1",), 4), "val": Split(("S9", "S11"), 8), "test": Split(("S9",), 4)}
    return replace(six, name="short", splits=splits, actions=("Walking", "Directions"))


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    return release.make(tmp_path_factory.mktemp("h36m"))


@pytest.fixture(scope="module")
def walking(protocol):
    return replace(protocol, exclude=dict.fromkeys(NOT_THERE, "not made"))


NOT_THERE = [
    f"{subject}/{name}"
    for subject in ("S1", "S9", "S11")
    for name in ("Directions.1", "Directions.2", "Walking.2", "Walking.1")
    if (subject, name) not in (("S1", "Walking.1"), ("S9", "Walking.1"))
]


@pytest.fixture(scope="module")
def store(official, walking, tmp_path_factory):
    """The store, and what was found."""
    out = tmp_path_factory.mktemp("store") / "h36m"
    found = find_clips(official, walking)
    write_store(found.clips, out, walking, 384, 1, {"masks": found.masks})
    return SimpleNamespace(root=out, found=found, data=PreparedData(out))


def copy(official, tmp_path):
    return shutil.copytree(official, tmp_path / "copy")


# ---- what comes out ------------------------------------------------------------------------------


def test_frames_of_each_split(store):
    names = {split: [m.name for m in store.data.moments(split)] for split in store.data.splits}
    assert names == {
        "train": [f"S1/Walking.1/{i:06d}" for i in (0, 4, 8)],
        "val": [f"S9/Walking.1/{i:06d}" for i in (0, 8)],
        "test": [f"S9/Walking.1/{i:06d}" for i in (0, 4, 8)],
    }
    moment = store.data.moments("test")[0]
    assert (moment.person, moment.sequence, moment.action) == ("S9", "S9/Walking.1", "Walking")


def test_labels_are_projected_to_where_they_were_painted(store):
    for moment in store.data.moments("train"):
        for view in moment.views:
            image = read_image(view.image).astype(int)
            green = np.clip(image[..., 1] - np.maximum(image[..., 0], image[..., 2]) - 40, 0, None)
            rows, columns = np.indices(green.shape) + 0.5
            painted = np.array([(columns * green).sum(), (rows * green).sum()]) / green.sum()
            point = view.K @ (view.R @ moment.joints_world[0] + view.t)
            assert np.linalg.norm(point[:2] / point[2] - painted) < 0.5


def test_joints_have_their_names(store):
    moment = store.data.moments("test")[1]
    _, joints = release.people("S9")
    np.testing.assert_allclose(moment.joints_world, joints[4], atol=1e-3)


def test_masks_are_those_of_an_ideal_lens(store):
    vertices, _ = release.people("S1")
    moment = store.data.moments("train")[1]
    for number, view in enumerate(moment.views):
        mask = read_mask(view.mask)
        assert set(np.unique(mask)) == {0, 255}
        ideal = release.silhouette(vertices[4], number, distorted=False)
        cut = view.K @ np.linalg.inv(release.intrinsics(number))
        scale, shift = cut[0, 0], cut[:2, 2]
        half = 0.5 * (scale - 1)  # OpenCV's pixels have their centres at integers
        there = np.array([[scale, 0, shift[0] + half], [0, scale, shift[1] + half]])
        expected = cv2.warpAffine(ideal, there, mask.shape[::-1], flags=cv2.INTER_AREA) > 127
        both, either = (mask > 0) & expected, (mask > 0) | expected
        assert both.sum() > 0.97 * either.sum()


def test_pictures_are_stored_at_the_size_that_their_crops_are_read_at(store):
    size = round(384 * 1.2 / PADDING)  # as 256 is to 320, the script's default
    for view in store.data.moments("train")[0].views:
        crop = crop_view(view, size, 64, 1.2, False)
        left, top, side = (int(value) for value in crop.box)
        assert side == size
        stored = read_image(view.image)
        np.testing.assert_array_equal(crop.image, stored[top : top + side, left : left + side])


def test_the_header_tells_how_it_was_made(store, walking):
    _, header = read_manifest(store.root)
    assert header["protocol_hash"] == walking.hash
    assert header["masks"].startswith("ground_truth_bs")
    assert header["moments"] == {"train": 3, "val": 2, "test": 3}
    assert header["protocol"]["splits"]["val"]["stride"] == 8


def test_masks_from_compressed_video_are_said_to_be(official, walking, tmp_path):
    root = copy(official, tmp_path)
    folder = root / "S1" / "MySegmentsMat" / "ground_truth_bs"
    vertices, _ = release.people("S1")
    for view, camera in enumerate(release.CAMERAS):
        (folder / f"Walking 1.{camera}.mat").unlink()
        masks = [release.silhouette(v, view) for v in vertices]
        release.write_video(
            folder / f"Walking 1.{camera}.mp4", [np.dstack([m, m, m]) for m in masks]
        )
    found = find_clips(root, walking)
    assert "compressed video" in found.masks
    (mask,) = found.clips[0].masks[2].read([5])
    true = release.silhouette(vertices[5], 2)
    assert ((mask > 0) == (true > 0)).mean() > 0.999


def test_human18_takes_the_middle_of_the_shoulders_for_the_thorax():
    joints = np.arange(96.0).reshape(32, 3)
    assert human18(joints).shape == (18, 3)
    np.testing.assert_array_equal(human18(joints)[17], (joints[17] + joints[25]) / 2)


# ---- what is left out ----------------------------------------------------------------------------


def test_damaged_and_excluded_sequences_are_named(official, protocol):
    exclude = {name: "not made" for name in NOT_THERE if name != "S11/Directions.2"}
    found = find_clips(official, replace(protocol, exclude=exclude))
    assert [clip.name for clip in found.clips] == ["S1/Walking.1", "S9/Walking.1"]
    assert "54138969" in found.skipped["S11/Directions.2"]
    assert found.skipped["S9/Directions.1"] == "not made"


def test_a_missing_last_mask_shortens_by_a_frame_and_says_so(official, walking, tmp_path):
    root = copy(official, tmp_path)
    path = root / "S1" / "MySegmentsMat" / "ground_truth_bs" / "Walking 1.55011271.mat"
    vertices, _ = release.people("S1")
    release.write_masks(path, [release.silhouette(v, 1) for v in vertices[:-1]])
    found = find_clips(root, replace(walking, splits={"train": Split(("S1",), 1)}))
    assert found.clips[0].frames["train"] == tuple(range(11))
    assert "S1/Walking.1: the last 1 of 12 frames" in found.notes[0]


def test_actions_that_are_not_asked_for_are_not_looked_for(official, walking):
    nothing = find_clips(official, replace(walking, actions=("Eating",)))
    assert nothing.clips == []
    assert nothing.skipped == {}


def test_moments_are_dropped_by_their_masks_where_the_split_says_so(official, walking, tmp_path):
    root = copy(official, tmp_path)
    path = root / "S9" / "MySegmentsMat" / "ground_truth_bs" / "Walking 1.55011271.mat"
    vertices, _ = release.people("S9")
    masks = [release.silhouette(v, 1) for v in vertices]
    masks[4] = np.where(np.arange(masks[4].shape[1]) > 500, 255, 0) * np.ones_like(masks[4][:, :1])
    masks[8] = np.zeros_like(masks[8])
    release.write_masks(path, masks)
    splits = {"train": Split(("S9",), 4), "test": Split(("S9",), 4, drop=False)}
    half = replace(walking, splits=splits)
    out = tmp_path / "out"
    header = write_store(find_clips(root, half).clips, out, half, 64, 1, {})
    data = PreparedData(out)
    assert [m.name[-6:] for m in data.moments("train")] == ["000000"]
    assert [m.name[-6:] for m in data.moments("test")] == ["000000", "000004"]
    assert header["dropped"] == {"cut off at the border": 1, "empty mask": 2}
    assert len(list(out.rglob("*.jpg"))) == 8  # two moments of four views, no file of the third


# ---- bad input -----------------------------------------------------------------------------------


def test_a_half_unpacked_release_names_what_is_missing(official, walking, tmp_path):
    root = copy(official, tmp_path)
    gone = root / "S9" / "Videos" / "Walking 1.58860488.mp4"
    gone.unlink()
    with pytest.raises(FileNotFoundError, match=f"1 files are missing.*\n  {gone}"):
        find_clips(root, walking)


def test_a_release_without_cameras_says_where_they_are(official, walking, tmp_path):
    root = copy(official, tmp_path)
    (root / "metadata.xml").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"no metadata\.xml .*comes with the release's code"
    ):
        find_clips(root, walking)


def test_another_folder_is_no_release(tmp_path, walking):
    (tmp_path / "holiday").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no Human3\.6M in .*found \['holiday'\]"):
        find_clips(tmp_path, walking)


@pytest.mark.parametrize("name", ["MyPoseFeatures/D3_Positions/Walking 1.cdf"])
def test_a_cut_off_cdf_is_named(official, walking, tmp_path, name):
    path = copy(official, tmp_path) / "S1" / name
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"Walking 1\.cdf cannot be read as CDF.*copy it again"):
        find_clips(tmp_path / "copy", walking)


def test_a_cut_off_mask_file_is_named(official, walking, tmp_path):
    path = copy(official, tmp_path) / "S1/MySegmentsMat/ground_truth_bs/Walking 1.54138969.mat"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"Walking 1\.54138969\.mat cannot be read as HDF5"):
        find_clips(tmp_path / "copy", walking)


def test_a_cut_off_video_is_named(official, walking, tmp_path):
    path = copy(official, tmp_path) / "S1/Videos/Walking 1.54138969.mp4"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    found = find_clips(tmp_path / "copy", walking)  # the index, at the front, is whole
    with pytest.raises(ValueError, match=r"Walking 1\.54138969\.mp4 (cannot be read|ends before)"):
        write_store(found.clips, tmp_path / "out", walking, 64, 1, {})
    assert not (tmp_path / "out" / "manifest.npz").exists()


def test_boxes_in_place_of_masks_are_refused(official, walking, tmp_path):
    path = copy(official, tmp_path) / "S1/MySegmentsMat/ground_truth_bs/Walking 1.54138969.mat"
    with h5py.File(path, "w") as file:
        file.create_dataset("Feat", data=np.zeros(3))
    with pytest.raises(ValueError, match=r"holds \['Feat'\], not Masks"):
        find_clips(tmp_path / "copy", walking)


# ---- other layouts -------------------------------------------------------------------------------


def fetched(official, root):
    """What h36m-fetch makes of the release: numbered pictures and annot.h5."""
    shutil.copy(official / "metadata.xml", root)
    for subject in ("S1", "S9"):
        vertices, joints = release.people(subject)
        shutil.copytree(
            official / subject / "MySegmentsMat", root / "extracted" / subject / "MySegmentsMat"
        )
        folder = root / "processed" / subject / "Walking-1"
        poses, frames, cameras = [], [], []
        for view, camera in enumerate(release.CAMERAS):
            (folder / "imageSequence" / camera).mkdir(parents=True)
            for i in range(0, release.FRAMES, 4):
                picture = release.picture(vertices[i], joints[i], view)
                path = folder / "imageSequence" / camera / f"img_{i + 1:06d}.jpg"
                cv2.imwrite(str(path), picture[..., ::-1])
            world = release.joints32(joints)[::4]
            poses.append((world - release.CENTRES[view]) @ release.ROTATIONS[view].T)
            frames += [i + 1 for i in range(0, release.FRAMES, 4)]
            cameras += [int(camera)] * 3
        with h5py.File(folder / "annot.h5", "w") as file:
            file["pose/3d"] = np.concatenate(poses)
            file["frame"], file["camera"] = frames, cameras
    return root


def authors(root):
    """The layout of X-as-Supervision."""
    for subject, number in (("S1", 1), ("S9", 9)):
        vertices, joints = release.people(subject)
        for view in range(4):
            name = f"s_{number:02d}_act_14_subact_01_ca_{view + 1:02d}"
            folders = root / "images" / name, root / "sam_masks" / "hm36" / name
            for folder in (*folders, root / "annot" / name):
                folder.mkdir(parents=True)
            for i in range(release.FRAMES):
                picture = release.picture(vertices[i], joints[i], view)
                cv2.imwrite(str(folders[0] / f"{name}_{i + 1:06d}.jpg"), picture[..., ::-1])
                mask = release.silhouette(vertices[i], view)
                cv2.imwrite(str(folders[1] / f"{name}_{i + 1:06d}.png"), mask)
            fx, fy, cx, cy, k1, k2, k3, p1, p2 = release.LENSES[view]
            width, height = release.SIZES[view]
            lines = [
                [release.FRAMES],
                ["size", width, height],
                release.ROTATIONS[view].T.ravel(),
                release.CENTRES[view],
                [fx, fy],
                [cx, cy],
                [k1, k2, k3],
                [p1, p2],
                range(1, 18),
                *release.joints32(joints).reshape(-1, 96),
            ]
            text = "\n".join(" ".join(str(x) for x in line) for line in lines)
            (root / "annot" / name / "matlab_meta.txt").write_text(text)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["h36m-fetch", "X-as-Supervision"])
def test_other_layouts_give_the_same_store(official, walking, store, tmp_path, layout):
    root = tmp_path / "raw"
    root.mkdir()
    found = find_clips(
        fetched(official, root) if layout == "h36m-fetch" else authors(root), walking
    )
    assert found.layout == layout
    assert ("labelled joints" in found.masks) == (layout == "X-as-Supervision")
    write_store(found.clips, tmp_path / "out", walking, 384, 1, {})
    again = PreparedData(tmp_path / "out")
    for split in store.data.splits:
        ours, theirs = store.data.moments(split), again.moments(split)
        assert [m.name for m in ours] == [m.name for m in theirs]
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one.joints_world, other.joints_world, atol=0.01)
            for a, b in zip(one.views, other.views, strict=True):
                np.testing.assert_allclose(a.K, b.K, atol=1e-3)
                np.testing.assert_allclose(a.t, b.t, atol=0.01)
                np.testing.assert_array_equal(read_mask(a.mask), read_mask(b.mask))


# ---- going on ------------------------------------------------------------------------------------


def test_a_stopped_run_goes_on_to_the_same_bytes(official, walking, store, tmp_path, monkeypatch):
    from mask_sup.prepare import store as module

    found, write, out = find_clips(official, walking), module._write_clip, tmp_path / "h36m"

    def stopped(clip, *rest):
        if clip.name.startswith("S9"):
            raise KeyboardInterrupt
        write(clip, *rest)

    monkeypatch.setattr(module, "_write_clip", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_store(found.clips, out, walking, 384, 1, {"masks": found.masks})
    assert not (out / "manifest.npz").exists()

    def second(clip, *rest):
        assert clip.name.startswith("S9")
        write(clip, *rest)

    monkeypatch.setattr(module, "_write_clip", second)
    write_store(found.clips, out, walking, 384, 1, {"masks": found.masks})
    files = {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert files == {
        p.relative_to(store.root): p.read_bytes() for p in store.root.rglob("*") if p.is_file()
    }


@pytest.mark.slow
def test_two_processes_write_the_same_bytes(official, walking, store, tmp_path):
    found, out = find_clips(official, walking), tmp_path / "h36m"
    write_store(found.clips, out, walking, 384, 2, {"masks": found.masks})
    files = {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert files == {
        p.relative_to(store.root): p.read_bytes()
        for p in store.root.rglob("*")
        if p.is_file() and p.parent.name != "cache"
    }


def test_a_full_disk_is_told_and_what_is_finished_stays(official, walking, tmp_path, monkeypatch):
    found, out = find_clips(official, walking), tmp_path / "h36m"
    write = Path.write_bytes

    def full(path, data):
        if "S9" in str(path):
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"cannot write .*S9.*No space left.*make room"):
        write_store(found.clips, out, walking, 64, 1, {})
    assert [p.name for p in (out / "parts").iterdir()] == ["S1__Walking.1.npz"]


def test_a_folder_of_other_settings_is_left_alone(official, walking, store):
    found = find_clips(official, walking)
    with pytest.raises(ValueError, match=r"begun with other \['size'\]"):
        write_store(found.clips, store.root, walking, 128, 1, {"masks": found.masks})
    with pytest.raises(ValueError, match="is there already"):
        write_store(found.clips, store.root, walking, 384, 1, {"masks": found.masks})
    settings = json.loads((store.root / "prepared.json").read_text())
    assert settings["size"] == 384


def test_a_folder_of_something_else_is_left_alone(official, walking, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    found = find_clips(official, walking)
    with pytest.raises(ValueError, match="not empty and was not begun by us"):
        write_store(found.clips, tmp_path, walking, 384, 1, {})
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
