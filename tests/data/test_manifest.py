import numpy as np
import pytest

from mask_sup.data.manifest import KEYS, PreparedData, read_manifest, write_manifest
from mask_sup.data.moments import MomentDataset


@pytest.fixture
def split(tmp_path, write_moments, cameras_around):
    """A folder with its moments, not yet listed in a manifest."""
    cameras = cameras_around(2, [0.1, 0.02, 0.001, 0.002, 0.003])
    return tmp_path / "train", write_moments(tmp_path / "train", cameras)


def rewrite(folder, **changes):
    with np.load(folder / "manifest.npz") as file:
        arrays = {key: file[key] for key in file.files} | changes
    arrays = {key: value for key, value in arrays.items() if value is not None}
    np.savez(folder / "manifest.npz", **arrays)


def test_moments_come_back_as_they_were_written(split):
    folder, moments = split
    write_manifest(folder, moments)
    again = read_manifest(folder)
    assert [m.name for m in again] == [m.name for m in moments]
    assert {(m.person, m.sequence) for m in again} == {("figure", "figure")}
    for one, other in zip(moments, again, strict=True):
        np.testing.assert_array_equal(one.joints_world, other.joints_world)
        assert len(one.views) == len(other.views) == 2
        for a, b in zip(one.views, other.views, strict=True):
            assert (a.image, a.mask) == (b.image, b.mask)
            for key in ("K", "R", "t", "distortion"):
                np.testing.assert_array_equal(getattr(a, key), getattr(b, key))


def test_unknown_cameras_and_labels_stay_unknown(split):
    folder, moments = split
    nan = {"K": np.full((3, 3), np.nan), "R": np.full((3, 3), np.nan), "t": np.full(3, np.nan)}
    moments = [
        m._replace(views=(m.views[0]._replace(**nan),), joints_world=m.joints_world * np.nan)
        for m in moments
    ]
    write_manifest(folder, moments)
    again = read_manifest(folder)[0]
    assert np.isnan(again.joints_world).all()
    assert np.isnan(again.views[0].K).all()


def test_a_moved_data_set_is_found_in_its_new_place(split, tmp_path):
    folder, moments = split
    write_manifest(folder, moments)
    moved = tmp_path / "elsewhere"
    folder.rename(moved)
    settings = (18, 16, 8, 1.2, False, None, False)
    assert len(MomentDataset(read_manifest(moved), *settings)) == 3


def test_nothing_half_written_stays_behind(split):
    folder, moments = split
    write_manifest(folder, moments)
    assert sorted(p.name for p in folder.iterdir()) == ["images", "manifest.npz", "masks"]


def test_the_manifest_holds_no_pickled_objects(split):
    folder, moments = split
    write_manifest(folder, moments)
    with np.load(folder / "manifest.npz", allow_pickle=False) as file:
        assert {key: file[key].shape for key in file.files} == {
            "images": (3, 2),
            "masks": (3, 2),
            "names": (3,),
            "joints_world": (3, 18, 3),
            "K": (3, 2, 3, 3),
            "R": (3, 2, 3, 3),
            "t": (3, 2, 3),
            "distortion": (3, 2, 5),
        }
        assert not any(str(path).startswith("/") for path in file["images"].flat)


def test_a_missing_manifest_is_named_with_the_way_to_make_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing .*manifest\.npz: prepare the data set"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_array_is_named(split, key):
    folder, moments = split
    write_manifest(folder, moments)
    rewrite(folder, **{key: None})
    with pytest.raises(ValueError, match=rf"manifest\.npz lacks \['{key}'\]"):
        read_manifest(folder)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.98])
def test_a_cut_off_manifest_is_named(split, share):
    folder, moments = split
    write_manifest(folder, moments)
    path = folder / "manifest.npz"
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ValueError, match=r"manifest\.npz .*prepare the data set again"):
        read_manifest(folder)


@pytest.mark.parametrize("damage", ["text", "flipped bytes"])
def test_a_damaged_manifest_is_named(split, damage):
    folder, moments = split
    write_manifest(folder, moments)
    path = folder / "manifest.npz"
    data = bytearray(path.read_bytes())
    at = data.find(b"figure/001".decode().encode("utf-32-le"))
    data[at : at + 4] = b"\xff\xff\xff\x7f"
    path.write_bytes(b"names,images\n" if damage == "text" else bytes(data))
    with pytest.raises(ValueError, match=r"manifest\.npz .*prepare the data set again"):
        read_manifest(folder)


@pytest.mark.parametrize("key", ["joints_world", "K", "masks", "names"])
def test_arrays_of_different_length_are_refused(split, key):
    folder, moments = split
    write_manifest(folder, moments)
    with np.load(folder / "manifest.npz") as file:
        shorter = file[key][:-1]
    rewrite(folder, **{key: shorter})
    with pytest.raises(ValueError, match=r"manifest\.npz .*prepare the data set again"):
        read_manifest(folder)


def test_prepared_data_lists_the_splits_that_have_a_manifest(split, tmp_path):
    folder, moments = split
    data = PreparedData(tmp_path)
    assert data.splits == ()
    write_manifest(folder, moments)
    (tmp_path / "scratch").mkdir()
    assert data.splits == ("train",)
    assert [m.name for m in data.moments("train")] == [m.name for m in moments]


def test_preparing_names_the_split_that_is_missing(split, tmp_path):
    folder, moments = split
    write_manifest(folder, moments)
    with pytest.raises(FileNotFoundError, match=rf"missing {tmp_path / 'val' / 'manifest.npz'}"):
        PreparedData(tmp_path).prepare()
