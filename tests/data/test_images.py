import cv2
import numpy as np
import pytest

from mask_sup.data.images import ImagesData, uncalibrated_view
from mask_sup.data.moments import MomentDataset, check_view


def put(path, value=200, size=(20, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size, 3), value, np.uint8))


@pytest.fixture
def root(tmp_path):
    for name in ("b.jpg", "a.png", "walk.1/x.0007.jpg", "walk.1/deep/y.JPEG"):
        put(tmp_path / "images" / name)
        put((tmp_path / "masks" / name).with_suffix(".png"), 255)
    return tmp_path


def test_pictures_of_all_folders_come_with_the_masks_of_their_names(root):
    moments = ImagesData(root, None, joints=18).moments("train")
    assert [m.name for m in moments] == ["a", "b", "walk.1/x.0007", "walk.1/deep/y"]
    for moment in moments:
        (view,) = moment.views
        assert view.image.is_file()
        assert view.mask == root / "masks" / f"{moment.name}.png"
        assert view.mask.is_file()
        assert moment.joints_world.shape == (18, 3)
        assert np.isnan(moment.joints_world).all()


def test_masks_may_lie_elsewhere(root, tmp_path):
    (view,) = ImagesData(root, tmp_path / "other", joints=18).moments("train")[0].views
    assert view.mask == tmp_path / "other" / "a.png"


@pytest.mark.parametrize("junk", [".DS_Store", "Thumbs.db", "notes.txt"])
def test_other_files_and_folders_without_pictures_do_no_harm(root, junk):
    for name in ("a.png", "b.jpg"):
        (root / "images" / name).unlink()
    (root / "images" / junk).write_text("not a picture")
    (root / "images" / "empty").mkdir()
    moments = ImagesData(root, None, joints=18).moments("train")
    assert [m.name for m in moments] == ["walk.1/x.0007", "walk.1/deep/y"]


def test_validation_takes_every_fifth_picture(tmp_path):
    for i in range(11):
        put(tmp_path / "images" / f"{i:02d}.png")
    data = ImagesData(tmp_path, None, joints=18)
    assert [m.name for m in data.moments("val")] == ["00", "05", "10"]
    assert len(data.moments("train")) == 11


def test_an_uncalibrated_view_is_nan_throughout_and_passes_the_check(root):
    view = uncalibrated_view(root / "images" / "a.png", root / "masks" / "a.png")
    assert np.isnan([*view.K.ravel(), *view.R.ravel(), *view.t]).all()
    assert not view.distortion.any()
    check_view(view)


def test_moments_load_as_items_of_one_view(root):
    data = MomentDataset(
        ImagesData(root, None, joints=18).moments("train"),
        joints=18,
        image_size=16,
        mask_size=8,
        padding=1.2,
        mask_input=True,
        geodesic=None,
        memory=True,
    )
    assert not data.calibrated
    assert data[3].views.image.shape == (1, 16, 16, 3)


def test_a_missing_mask_is_found_when_the_data_set_is_made(root):
    (root / "masks" / "walk.1" / "x.0007.png").unlink()
    moments = ImagesData(root, None, joints=18).moments("train")
    with pytest.raises(FileNotFoundError, match=r"missing file .*x\.0007\.png"):
        MomentDataset(moments, 18, 16, 8, 1.2, True, None, False)


@pytest.mark.parametrize("there", ["nothing", "empty folder", "other files"])
def test_no_pictures_raises_with_the_folder(tmp_path, there):
    if there != "nothing":
        (tmp_path / "images").mkdir()
    if there == "other files":
        (tmp_path / "images" / "notes.txt").write_text("")
    with pytest.raises(FileNotFoundError, match=f"no pictures in {tmp_path / 'images'}"):
        ImagesData(tmp_path, None, joints=18).moments("train")


def test_an_unknown_split_is_refused(root):
    with pytest.raises(ValueError, match=r"has the splits \('train', 'val'\), not 'test'"):
        ImagesData(root, None, joints=18).moments("test")
