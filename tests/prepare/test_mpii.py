"""The release of MPII -> store, on a fabricated one."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import release_mpii as release
from release_bodies import NAMES, dot_in
from scipy.io import savemat

from mask_sup.data.lens import crop_square, mask_box
from mask_sup.data.manifest import PreparedData
from mask_sup.data.moments import check_view
from mask_sup.files.masks import read_mask
from mask_sup.files.pictures import read_image
from mask_sup.prepare import mpii as reader
from mask_sup.prepare.mpii import find_clips
from mask_sup.prepare.protocol import Split, load_protocol
from mask_sup.prepare.store import PADDING, write_store

SIZE = 256
KINDS = ("json", "mat")
FIRST = {  # moment: picture and person
    "train/0000/000000": ("000000001.jpg", 0),
    "train/0000/000001": ("000000002.jpg", 0),
    "train/0000/000002": ("000000002.jpg", 1),
}
PEOPLE = {  # the .mat knows no part val
    "json": FIRST
    | {"train/0000/000003": ("000000005.jpg", 0), "val/0000/000000": ("000000003.jpg", 0)},
    "mat": FIRST
    | {"train/0000/000003": ("000000003.jpg", 0), "train/0000/000004": ("000000005.jpg", 0)},
}


@pytest.fixture(scope="module")
def protocol():
    return load_protocol("mpii")


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """The release with each kind of labels."""
    return {kind: release.make(tmp_path_factory.mktemp("mpii") / kind, kind) for kind in KINDS}


@pytest.fixture(scope="module")
def stores(official, protocol, tmp_path_factory):
    made = {}
    for kind, root in official.items():
        found = find_clips(root, protocol, root / "masks")
        out = tmp_path_factory.mktemp("store") / kind
        write_store(found.clips, out, protocol, SIZE, 1, {"masks": found.masks})
        made[kind] = SimpleNamespace(found=found, data=PreparedData(out))
    return made


def moments_of(store):
    return [moment for split in store.data.splits for moment in store.data.moments(split)]


def truth(kind, moment):
    """Mask of the person in the whole picture, joints and head box in pixels of the crop."""
    name, person = PEOPLE[kind][moment.name]
    mask, px, box = release.drawn(name)[1][person]
    left, top, side = mask_box(mask, PADDING)
    return mask, (px - [left, top]) * SIZE / side, (box - [left, top]) * SIZE / side


@pytest.mark.parametrize("kind", KINDS)
def test_everybody_is_in_their_split(stores, kind):
    assert [moment.name for moment in moments_of(stores[kind])] == list(PEOPLE[kind])


def test_what_the_mat_does_not_tell_is_told(stores):
    left_out, no_val = stores["mat"].found.notes
    assert left_out.startswith("1 pictures are not for training or have no labels")
    assert "no part val" in no_val


@pytest.mark.parametrize("kind", KINDS)
def test_joints_have_their_names_and_places(stores, kind):
    for moment in moments_of(stores[kind]):
        _, joints, _ = truth(kind, moment)
        missing = {"spine", "nose", release.MISSING.get(PEOPLE[kind][moment.name])}
        for name, found, true in zip(NAMES, moment.joints_px[0], joints, strict=True):
            if name in missing:
                assert np.isnan(found).all(), name
            else:
                np.testing.assert_allclose(found, true, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_the_pelvis_is_where_it_was_painted(stores, kind):
    for moment in moments_of(stores[kind]):
        inside = read_mask(moment.views[0].mask)[..., None] > 0  # of this person, not of another
        painted = dot_in(np.where(inside, read_image(moment.views[0].image), 0))
        assert np.linalg.norm(moment.joints_px[0, 0] - painted) < 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_the_persons_own(stores, kind):
    for moment in moments_of(stores[kind]):
        mask, _, _ = truth(kind, moment)
        cropped = np.where(crop_square(mask, mask_box(mask, PADDING), SIZE) > 127, 255, 0)
        np.testing.assert_array_equal(read_mask(moment.views[0].mask), cropped)


def test_the_head_is_six_tenths_of_its_boxs_diagonal(stores):
    for kind, split in (("mat", "train"), ("json", "val")):
        for moment in stores[kind].data.moments(split):
            _, _, box = truth(kind, moment)
            np.testing.assert_allclose(moment.head_px, [0.6 * np.linalg.norm(box[1] - box[0])])
    assert all(np.isnan(m.head_px).all() for m in stores["json"].data.moments("train"))
    assert any("train: no mpii_gt_train.mat" in note for note in stores["json"].found.notes)


def test_there_are_no_cameras_and_no_joints_in_3d(stores):
    for moment in moments_of(stores["json"]):
        check_view(moment.views[0])
        assert np.isnan(moment.views[0].K).all()
        assert moment.joints_world.shape == (18, 3)
        assert np.isnan(moment.joints_world).all()


def test_a_sequence_has_so_many_people_at_most(official, protocol, monkeypatch):
    monkeypatch.setattr(reader, "PER_CLIP", 3)
    root = official["json"]
    found = find_clips(root, replace(protocol, splits={"train": Split(("train",))}), root / "masks")
    assert {clip.name: clip.frames["train"] for clip in found.clips} == {
        "train/0000": (0, 1, 2),
        "train/0001": (0,),
    }


def test_archives_may_lie_beside_each_other_as_unpacked(official, protocol, tmp_path):
    root = official["mat"]
    shutil.copytree(root / "images", tmp_path / "mpii_human_pose_v1" / "images")
    (tmp_path / "mpii_human_pose_v1_u12_2").mkdir()
    shutil.copy(root / release.MAT, tmp_path / "mpii_human_pose_v1_u12_2")
    found = find_clips(tmp_path, protocol, root / "masks")
    assert len(found.clips[0].frames["train"]) == 5


# ---- bad input -----------------------------------------------------------------------------------


@pytest.fixture
def copied(official, tmp_path):
    return {kind: shutil.copytree(root, tmp_path / kind) for kind, root in official.items()}


def test_without_masks_it_is_said_what_they_should_be(official, protocol):
    with pytest.raises(FileNotFoundError, match=r"MPII has no masks.*--masks, with 015601864_0"):
        find_clips(official["json"], protocol)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_masks_are_named(copied, protocol, kind):
    folder = copied[kind] / "masks"
    (folder / "000000001.png").unlink()
    (folder / "000000002_1.png").unlink()
    gone = f"2 people have no mask.*\n  {folder}/000000001_0.png\n  {folder}/000000002_1.png"
    with pytest.raises(FileNotFoundError, match=gone):
        find_clips(copied[kind], protocol, folder)


def test_one_mask_does_not_do_for_two_people(copied, protocol):
    folder = copied["json"] / "masks"
    (folder / "000000002_0.png").rename(folder / "000000002.png")
    with pytest.raises(FileNotFoundError, match="1 people have no mask"):
        find_clips(copied["json"], protocol, folder)


def test_missing_pictures_are_named(copied, protocol):
    path = copied["json"] / "images" / "000000003.jpg"
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"1 files are missing.*\n  {path}"):
        find_clips(copied["json"], protocol, copied["json"] / "masks")


def test_a_mask_of_another_size_is_named(copied, protocol, tmp_path):
    root = copied["json"]
    path = root / "masks" / "000000002_1.png"
    cv2.imwrite(str(path), np.full((32, 18), 255, np.uint8))
    found = find_clips(root, protocol, root / "masks")
    with pytest.raises(ValueError, match=rf"train/0000 camera 0 frame 2: .*{path}.* is 18x32, "):
        write_store(found.clips, tmp_path / "out", protocol, 64, 1, {})


def test_a_cut_off_mat_is_named(copied, protocol):
    path = copied["mat"] / release.MAT
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=f"{path} cannot be read .*copy it again"):
        find_clips(copied["mat"], protocol, copied["mat"] / "masks")


def test_a_mat_of_something_else_is_named(copied, protocol):
    path = copied["mat"] / release.MAT
    savemat(path, {"joints": np.zeros(3)})
    with pytest.raises(ValueError, match=f"{path} cannot be read .*expected RELEASE"):
        find_clips(copied["mat"], protocol, copied["mat"] / "masks")


@pytest.mark.parametrize("text", ['[{"image": "a.jpg"', '[{"image": "a.jpg"}]', '{"a": 1}'])
def test_damaged_json_is_named(copied, protocol, text):
    path = copied["json"] / "annot" / "mpii_val.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{path} cannot be read .*expected a list of people"):
        find_clips(copied["json"], protocol, copied["json"] / "masks")


def test_head_sizes_of_another_version_are_refused(copied, protocol):
    annot = copied["json"] / "annot"
    told = json.loads((annot / "mpii_val.json").read_text())
    (annot / "mpii_val.json").write_text(json.dumps(told * 2))
    with pytest.raises(ValueError, match=r"headboxes_src has the shape \(2, 2, 1\), but .* has 2"):
        find_clips(copied["json"], protocol, copied["json"] / "masks")


def test_other_folders_and_other_parts_are_refused(tmp_path, protocol):
    (tmp_path / "holiday").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no MPII in .*found \['holiday'\]"):
        find_clips(tmp_path, protocol, tmp_path)
    with pytest.raises(ValueError, match=r"asks for \['test'\]: MPII has train and val"):
        find_clips(tmp_path, replace(protocol, splits={"test": Split(("test",))}), tmp_path)
