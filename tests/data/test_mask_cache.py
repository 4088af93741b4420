import pickle

import numpy as np
import pytest
import torch

from mask_sup.data import mask_cache, moments
from mask_sup.data.moments import MomentDataset
from mask_sup.geometry.geodesic import GeodesicWeight

SETTINGS = {
    "joints": 18,
    "image_size": 32,
    "mask_size": 16,
    "padding": 1.2,
    "mask_input": False,
    "geodesic": GeodesicWeight(2.0, 0.5),
    "memory": False,
}


@pytest.fixture
def written(tmp_path, write_moments, cameras_around):
    return write_moments(tmp_path / "made", cameras_around(2))


@pytest.fixture
def cached(written, tmp_path):
    return lambda **more: MomentDataset(written, **{**SETTINGS, **more}, cache=tmp_path / "cache")


def same(one, other):
    leaves = ((*b.views[:3], *b.views.camera, b.labels.joints_world) for b in (one, other))
    return all(torch.equal(a, b) for a, b in zip(*leaves, strict=True))


def refuse(monkeypatch):
    """No mask may be read any more."""

    def fail(*_):
        raise AssertionError("a mask was read")

    monkeypatch.setattr(moments, "read_mask", fail)


@pytest.mark.parametrize("mask_input", [False, True])
def test_items_are_the_same_with_and_without(written, cached, mask_input):
    plain = MomentDataset(written, **{**SETTINGS, "mask_input": mask_input})
    data = cached(mask_input=mask_input)
    for _ in range(2):  # written, then read
        assert all(same(data[i], plain[i]) for i in range(3))


def test_masks_are_read_once(cached, monkeypatch):
    first = [cached()[i] for i in range(3)]
    refuse(monkeypatch)
    assert all(same(cached()[i], first[i]) for i in range(3))


def test_moments_of_unequal_numbers_of_views_are_kept_too(written, tmp_path, monkeypatch):
    mixed = [written[0]._replace(views=written[0].views[:1]), *written[1:]]
    plain = MomentDataset(mixed, **SETTINGS)
    first = [plain[i] for i in range(3)]
    for _ in range(2):
        data = MomentDataset(mixed, **SETTINGS, cache=tmp_path / "cache")
        assert all(same(data[i], first[i]) for i in range(3))
        refuse(monkeypatch)


def test_a_damaged_row_is_made_again(cached, tmp_path, monkeypatch):
    first = [cached()[i] for i in range(3)]
    (path,) = (tmp_path / "cache").iterdir()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    assert all(same(cached()[i], first[i]) for i in range(3))
    refuse(monkeypatch)  # it was written again
    assert same(cached()[1], first[1])


def test_a_file_that_is_cut_off_is_made_again(cached, tmp_path):
    first = cached()[2]
    (path,) = (tmp_path / "cache").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert same(cached()[2], first)


@pytest.mark.parametrize(
    "other",
    [
        {"padding": 1.3},
        {"image_size": 24},  # boxes may depend on it
        {"mask_size": 8},
        {"geodesic": GeodesicWeight(1.0, 0.5)},
    ],
)
def test_other_settings_have_files_of_their_own(cached, tmp_path, other):
    first = cached()[0]
    assert not same(cached(**other)[0], first)
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert same(cached()[0], first)


def test_weights_without_fast_marching_have_a_file_of_their_own(cached, tmp_path, monkeypatch):
    cached()[0]
    monkeypatch.setattr(moments, "has_fast_marching", lambda: False)
    cached()[0]
    assert len(list((tmp_path / "cache").glob("*.masks"))) == 2


def test_other_processes_open_the_file_themselves(cached):
    data = cached()
    first = data[0]
    copy = pickle.dumps(data)
    assert len(copy) < 100_000
    assert same(pickle.loads(copy)[0], first)


def test_rows_that_were_never_written_are_not_there(tmp_path):
    cache = mask_cache.MaskCache(tmp_path / "x.masks", 4, 2, 8)
    zeros = mask_cache.Masks(
        np.zeros((2, 3)), np.zeros((2, 8, 8), np.uint8), np.zeros((2, 8, 8), np.float16)
    )
    assert cache.get(1, 2) is None
    cache.put(1, zeros)
    assert cache.get(1, 2) is not None
    assert cache.get(2, 2) is None
