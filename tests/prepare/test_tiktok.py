"""The release of TikTok -> store, on a fabricated one."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import release_tiktok as release

from mask_sup.data.lens import crop_square, mask_box
from mask_sup.data.manifest import PreparedData, read_manifest
from mask_sup.data.moments import check_view
from mask_sup.files.masks import read_mask
from mask_sup.files.pictures import read_image
from mask_sup.prepare.protocol import Split, load_protocol
from mask_sup.prepare.store import PADDING, write_store
from mask_sup.prepare.tiktok import find_clips

SUBJECTS = ("00034", "00326")
SIZE = 256


@pytest.fixture(scope="module")
def protocol():
    splits = {"train": Split(("00034",)), "val": Split(("00326",), 2)}
    return replace(load_protocol("tiktok"), name="short", splits=splits)


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    return release.make(tmp_path_factory.mktemp("tiktok"), SUBJECTS)


@pytest.fixture(scope="module")
def store(official, protocol, tmp_path_factory):
    found = find_clips(official, protocol)
    out = tmp_path_factory.mktemp("store") / "tiktok"
    write_store(found.clips, out, protocol, SIZE, 1, {"masks": found.masks})
    return SimpleNamespace(root=out, found=found, data=PreparedData(out))


def test_the_usual_protocol_is_the_papers():
    splits = load_protocol("tiktok").splits
    assert [len(splits[name].subjects) for name in ("train", "val")] == [41, 1]
    assert all(len(subject) == 5 for split in splits.values() for subject in split.subjects)


def test_the_ends_of_a_dance_are_left_out(store):
    names = {split: [m.name for m in store.data.moments(split)] for split in store.data.splits}
    assert names == {
        "train": [f"00034/dance/{i:06d}" for i in (20, 21, 22, 23)],
        "val": [f"00326/dance/{i:06d}" for i in (20, 22)],
    }
    assert read_manifest(store.root)[1]["dropped"] == {}


def test_there_are_no_cameras_and_no_labels(store):
    for moment in store.data.moments("train"):
        (view,) = moment.views
        check_view(view)
        assert np.isnan([*view.K.ravel(), *view.R.ravel(), *view.t]).all()
        assert moment.joints_world.shape == (18, 3)
        assert np.isnan(moment.joints_world).all()
        assert np.isnan(moment.joints_px).all()


def test_pictures_and_masks_are_those_of_the_release(store):
    for moment, (picture, mask) in zip(
        store.data.moments("train"), release.filmed("00034"), strict=True
    ):
        box = mask_box(mask, PADDING)
        cropped = np.where(crop_square(mask, box, SIZE) > 127, 255, 0)
        np.testing.assert_array_equal(read_mask(moment.views[0].mask), cropped)
        difference = read_image(moment.views[0].image) - crop_square(picture, box, SIZE).astype(int)
        assert np.abs(difference).mean() < 3


def test_the_root_may_be_the_data_set_itself_and_masks_ones_own(official, protocol, tmp_path):
    for subject in SUBJECTS:
        shutil.copytree(official / "TikTok_dataset" / subject / "masks", tmp_path / subject)
    found = find_clips(official / "TikTok_dataset", protocol, tmp_path)
    assert found.masks == f"given in {tmp_path}"
    assert found.clips[0].masks[0].paths[20] == tmp_path / "00034" / "0021.png"


def test_an_excluded_dance_is_named(official, protocol):
    found = find_clips(official, replace(protocol, exclude={"00326/dance": "two people"}))
    assert [clip.name for clip in found.clips] == ["00034/dance"]
    assert found.skipped == {"00326/dance": "two people"}


# ---- bad input -----------------------------------------------------------------------------------


@pytest.fixture
def copied(official, tmp_path):
    return shutil.copytree(official, tmp_path / "raw")


def test_missing_masks_are_named(copied, protocol):
    gone = [copied / "TikTok_dataset" / "00326" / "masks" / f"{i:04d}.png" for i in (21, 23)]
    for path in gone:
        path.unlink()
    with pytest.raises(FileNotFoundError, match=f"2 files are missing.*\n  {gone[0]}\n  {gone[1]}"):
        find_clips(copied, protocol)


def test_a_missing_dance_is_named(copied, protocol):
    folder = copied / "TikTok_dataset" / "00326"
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError, match=f"1 files are missing.*\n  {folder / 'images'}"):
        find_clips(copied, protocol)


def test_a_half_unpacked_dance_is_named(copied, protocol):
    folder = copied / "TikTok_dataset" / "00034" / "images"
    for path in sorted(folder.iterdir())[40:]:
        path.unlink()
    with pytest.raises(ValueError, match=f"{folder} holds 40 pictures, of which 20 at either end"):
        find_clips(copied, protocol)


def test_a_mask_of_another_size_is_named(copied, protocol, tmp_path):
    path = copied / "TikTok_dataset" / "00034" / "masks" / "0022.png"
    cv2.imwrite(str(path), np.full((32, 18), 255, np.uint8))
    found = find_clips(copied, protocol)
    with pytest.raises(
        ValueError, match=r"00034/dance camera 0 frame 21: .* is 18x32, its picture"
    ):
        write_store(found.clips, tmp_path / "out", protocol, 64, 1, {})


def test_a_cut_off_picture_is_named(copied, protocol, tmp_path):
    path = copied / "TikTok_dataset" / "00326" / "images" / "0021.png"
    path.write_bytes(path.read_bytes()[:40])
    found = find_clips(copied, protocol)
    with pytest.raises(ValueError, match=f"unreadable picture {path}"):
        write_store(found.clips, tmp_path / "out", protocol, 64, 1, {})


def test_another_folder_is_no_release(tmp_path, protocol):
    (tmp_path / "holiday").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no TikTok data set in .*found \['holiday'\]"):
        find_clips(tmp_path, protocol)
