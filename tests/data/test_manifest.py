import json

import numpy as np
import pytest

from mask_sup.data.manifest import (
    KEYS,
    PreparedData,
    join,
    read_manifest,
    tabulate,
    write_manifest,
)
from mask_sup.data.moments import MomentDataset
from mask_sup.files.archive import Member

SETTINGS = (18, 16, 8, 1.2, False, None, False)


@pytest.fixture
def files(tmp_path, write_moments, cameras_around):
    """A folder with its moments, not yet listed in a manifest."""
    return tmp_path / "data", write_moments(tmp_path / "data", cameras_around(2))


@pytest.fixture
def written(files):
    """The folder and its moments, listed as the split train."""
    root, moments = files
    write_manifest(root, tabulate(root, "train", moments, ["a", "b"]), {"dataset": "figures"})
    return root, moments


def rewrite(root, **changes):
    with np.load(root / "manifest.npz") as file:
        arrays = {key: file[key] for key in file.files} | changes
    arrays = {key: value for key, value in arrays.items() if value is not None}
    np.savez(root / "manifest.npz", **arrays)


def test_moments_come_back_as_they_were_written(files):
    root, moments = files
    moments = [
        m._replace(action="waving", joints_px=np.full((2, 18, 2), 3.5), head_px=np.ones(2))
        for m in moments
    ]
    write_manifest(root, tabulate(root, "train", moments, ["a", "b"]), {})
    again = PreparedData(root).moments("train")
    assert [m.name for m in again] == [m.name for m in moments]
    assert {(m.person, m.sequence, m.action) for m in again} == {("figure", "figure", "waving")}
    for one, other in zip(moments, again, strict=True):
        for key in ("joints_world", "joints_px", "head_px"):
            np.testing.assert_array_equal(getattr(one, key), getattr(other, key))
        assert len(one.views) == len(other.views) == 2
        for a, b in zip(one.views, other.views, strict=True):
            assert (a.image, a.mask) == (b.image, b.mask)
            for key in ("K", "R", "t", "distortion"):
                np.testing.assert_array_equal(getattr(a, key), getattr(b, key))


def test_unknown_cameras_and_labels_stay_unknown(files):
    root, moments = files
    nan = {"K": np.full((3, 3), np.nan), "R": np.full((3, 3), np.nan), "t": np.full(3, np.nan)}
    moments = [
        m._replace(views=(m.views[0]._replace(**nan),), joints_world=m.joints_world * np.nan)
        for m in moments
    ]
    write_manifest(root, tabulate(root, "train", moments, ["a"]), {})
    again = PreparedData(root).moments("train")[0]
    assert np.isnan(again.joints_world).all()
    assert np.isnan(again.joints_px).all()
    assert np.isnan(again.views[0].K).all()


def test_pictures_with_lens_distortion_are_refused(files):
    root, moments = files
    bent = moments[0].views[0]._replace(distortion=np.full(5, 0.1))
    moments[0] = moments[0]._replace(views=(bent, moments[0].views[1]))
    with pytest.raises(ValueError, match="free of lens distortion"):
        tabulate(root, "train", moments, ["a", "b"])


def test_each_split_has_its_own_moments(files):
    root, moments = files
    tables = [tabulate(root, s, moments[i:], ["a", "b"]) for i, s in enumerate(("val", "train"))]
    write_manifest(root, join(tables), {})
    data = PreparedData(root)
    assert data.splits == ("val", "train")
    assert [m.name for m in data.moments("train")] == [m.name for m in moments[1:]]
    with pytest.raises(ValueError, match=r"splits \('val', 'train'\), not 'test'"):
        data.moments("test")


def test_the_header_comes_back(written):
    assert PreparedData(written[0]).header["dataset"] == "figures"


def test_a_moved_data_set_is_found_in_its_new_place(written, tmp_path):
    moved = tmp_path / "elsewhere"
    written[0].rename(moved)
    assert len(MomentDataset(PreparedData(moved).moments("train"), *SETTINGS)) == 3


def test_a_picture_inside_an_archive_is_found_by_its_place(written):
    root, moments = written
    inside = moments[0].views[0].image.read_bytes()
    (root / "train-0.tar").write_bytes(b"x" * 700 + inside + b"y" * 9)
    with np.load(root / "manifest.npz") as file:
        images = file["images"].astype("U64")
    images[0, 0] = f"train-0.tar@700+{len(inside)}"
    rewrite(root, images=images)
    again = PreparedData(root).moments("train")
    assert again[0].views[0].image == Member(root / "train-0.tar", 700, len(inside))
    one, other = MomentDataset(again, *SETTINGS)[0], MomentDataset(moments, *SETTINGS)[0]
    assert one.views.image.equal(other.views.image)


def test_nothing_half_written_stays_behind(written):
    assert sorted(p.name for p in written[0].iterdir()) == ["images", "manifest.npz", "masks"]


def test_the_manifest_holds_no_pickled_objects(written):
    with np.load(written[0] / "manifest.npz", allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    assert json.loads(str(arrays.pop("header")))["version"] == 2
    assert {key: array.shape for key, array in arrays.items()} == {
        "split": (3,),
        "names": (3,),
        "action": (3,),
        "cameras": (3, 2),
        "images": (3, 2),
        "masks": (3, 2),
        "joints_world": (3, 18, 3),
        "joints_px": (3, 2, 18, 2),
        "head_px": (3, 2),
        "K": (3, 2, 3, 3),
        "R": (3, 2, 3, 3),
        "t": (3, 2, 3),
    }
    assert not any(str(path).startswith("/") for path in arrays["images"].flat)


def test_a_manifest_of_another_version_is_named(written):
    rewrite(written[0], header=np.array(json.dumps({"version": 1})))
    with pytest.raises(ValueError, match="version 1, this program reads 2: prepare the data set"):
        read_manifest(written[0])


def test_a_missing_manifest_is_named_with_the_way_to_make_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing .*manifest\.npz: prepare the data set"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_array_is_named(written, key):
    folder, _ = written
    rewrite(folder, **{key: None})
    with pytest.raises(ValueError, match=rf"manifest\.npz lacks \['{key}'\]"):
        read_manifest(folder)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.98])
def test_a_cut_off_manifest_is_named(written, share):
    folder, _ = written
    path = folder / "manifest.npz"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"manifest\.npz .*prepare the data set again"):
        read_manifest(folder)


@pytest.mark.parametrize("damage", ["text", "flipped bytes"])
def test_a_damaged_manifest_is_named(written, damage):
    folder, _ = written
    path = folder / "manifest.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    path.write_bytes(b"names,images\n" if damage == "text" else bytes(data))
    with pytest.raises(ValueError, match=r"manifest\.npz .*prepare the data set again"):
        read_manifest(folder)


@pytest.mark.parametrize("key", ["joints_world", "K", "masks", "names"])
def test_arrays_of_different_length_are_refused(written, key):
    folder, _ = written
    with np.load(folder / "manifest.npz") as file:
        shorter = file[key][:-1]
    rewrite(folder, **{key: shorter})
    with pytest.raises(ValueError, match=r"manifest\.npz .*prepare the data set again"):
        read_manifest(folder)


def test_preparing_names_the_manifest_that_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"missing {tmp_path / 'manifest.npz'}"):
        PreparedData(tmp_path).prepare()
