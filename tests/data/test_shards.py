"""A store of files -> archives: the same batches, whatever stops the writing."""

import errno
import json
import shutil
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mask_sup import shard
from mask_sup.data.datamodule import StepSampler
from mask_sup.data.manifest import PreparedData, join, read_manifest, tabulate, write_manifest
from mask_sup.data.moments import MomentDataset
from mask_sup.data.shards import MEGABYTE, write_shards
from mask_sup.files.lock import locked
from mask_sup.geometry.geodesic import GeodesicWeight

SMALL = 0.03  # megabytes: two moments of these tests
CAMERAS = ("c.0", "c1")
SETTINGS = (18, 16, 8, 1.2, False, GeodesicWeight(2.0, 0.5), False)


def make_store(root, moments, **header):
    """Six moments to train on; the second and fifth of them are in `val`, too."""
    known = []
    for i, moment in enumerate(moments):
        views = []
        for view in moment.views:
            jpeg = view.image.with_suffix(".jpg")
            cv2.imwrite(str(jpeg), cv2.imread(str(view.image)))
            views.append(view._replace(image=jpeg))
        name = f"S1/Walk.1/{i:06d}"
        known.append(moment._replace(name=name, views=tuple(views), action="Walk"))
    splits = {"train": known, "val": [known[1], known[4]]}
    tables = [tabulate(root, split, chosen, CAMERAS) for split, chosen in splits.items()]
    arrays = join(tables)
    arrays["joints_px"][0] = 7.0
    write_manifest(root, arrays, {"dataset": "figures", **header})
    return root


@pytest.fixture(scope="module")
def store(tmp_path_factory, write_moments, cameras_around):
    root = tmp_path_factory.mktemp("store") / "files"
    return make_store(root, write_moments(root, cameras_around(2), count=6))


@pytest.fixture(scope="module")
def shards(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("shards") / "small"
    write_shards(store, out, SMALL)
    return out


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def leaves(item):
    return [leaf for part in item for leaf in leaves(part)] if isinstance(item, tuple) else [item]


def change(root, **arrays):
    """Other arrays in a manifest."""
    known, header = read_manifest(root)
    write_manifest(root, {**known, **arrays}, header)


# ---- what is read --------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["train", "val"])
def test_items_are_those_of_the_folder_to_the_bit(split, store, shards):
    one, other = PreparedData(store), PreparedData(shards)
    assert one.splits == other.splits
    first, second = (MomentDataset(data.moments(split), *SETTINGS) for data in (one, other))
    assert len(first) == len(second) == {"train": 6, "val": 2}[split]
    for i in range(len(first)):
        for a, b in zip(leaves(first[i]), leaves(second[i]), strict=True):
            if isinstance(a, torch.Tensor):
                torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)
            else:
                assert a == b


def test_the_manifest_keeps_all_but_the_places_of_pictures(store, shards):
    (before, told), (after, told_after) = read_manifest(store), read_manifest(shards)
    for key in set(before) - {"images", "masks"}:
        np.testing.assert_array_equal(before[key], after[key])
    archives = sorted(path.name for path in shards.glob("*.tar"))
    assert told_after == told | {"shards": archives}


def test_any_tar_reader_finds_the_files_of_a_moment_in_a_row(store, shards):
    arrays, _ = read_manifest(store)
    found = []
    for path in sorted(shards.glob("train-*.tar")):
        with tarfile.open(path) as archive:
            found += [(info, archive.extractfile(info).read()) for info in archive]
    assert all((i.mtime, i.uid, i.gid, i.uname, i.gname, i.mode) == (0, 0, 0, "", "", 0o644)
               for i, _ in found)  # fmt: skip
    for row in range(6):
        key = f"S1_Walk_1_{row:06d}"
        group, found = found[:5], found[5:]
        endings = ("c_0.jpg", "c_0.png", "c1.jpg", "c1.png", "json")
        assert [info.name for info, _ in group] == [f"{key}.{ending}" for ending in endings]
        for (_, data), kind, k in zip(group, ("images", "masks") * 2, (0, 0, 1, 1), strict=False):
            assert data == (store / arrays[kind][row, k]).read_bytes()
        told = json.loads(group[-1][1])
        assert (told["name"], told["action"]) == (f"S1/Walk.1/{row:06d}", "Walk")
        for k, camera in enumerate(("c_0", "c1")):
            for part in ("K", "R", "t"):
                np.testing.assert_array_equal(told["cameras"][camera][part], arrays[part][row, k])
    assert not found


def test_archives_are_closed_at_their_size_between_moments(shards):
    paths = sorted(shards.glob("*.tar"))
    rows = []
    for path in paths:
        with tarfile.open(path) as archive:
            rows.append(sum(info.name.endswith(".json") for info in archive))
            sizes = [info.size for info in archive]
        assert sum(sizes) <= SMALL * MEGABYTE
    names = [path.name for path in paths]
    assert names == ["train-00000.tar", "train-00001.tar", "train-00002.tar", "val-00000.tar"]
    assert rows == [2, 2, 2, 2]


def test_a_moment_larger_than_an_archive_gets_one_of_its_own(store, tmp_path):
    header = write_shards(store, tmp_path / "tiny", 0.001)
    assert len(header["shards"]) == 8


def test_unknown_cameras_are_null(store, tmp_path):
    root = shutil.copytree(store, tmp_path / "copy")
    arrays, _ = read_manifest(root)
    change(root, **{key: np.full_like(arrays[key], np.nan) for key in ("K", "R", "t")})
    write_shards(root, tmp_path / "out", 1)
    with tarfile.open(tmp_path / "out" / "train-00000.tar") as archive:
        text = archive.extractfile("S1_Walk_1_000000.json").read()
    told = json.loads(text, parse_constant=pytest.fail)
    assert told["cameras"]["c1"] == {"K": None, "R": None, "t": None}


# ---- ranks and resuming of a training ------------------------------------------------------------


def names_of(shards, **settings):
    dataset = MomentDataset(PreparedData(shards).moments("train"), *SETTINGS)
    sampler = StepSampler(len(dataset), batch_size=1, seed=4, **settings)
    return [batch.labels.name[0] for batch in DataLoader(dataset, batch_sampler=sampler)]


def test_ranks_share_the_moments_without_overlap(shards):
    one, other = (names_of(shards, steps=3, rank=rank, ranks=2) for rank in (0, 1))
    assert len(one) == len(other) == 3
    assert sorted(one + other) == [f"S1/Walk.1/{i:06d}" for i in range(6)]


def test_a_resumed_training_sees_what_was_left(shards):
    whole = names_of(shards, steps=9)
    assert names_of(shards, steps=9, first=5) == whole[5:]


# ---- what stops the writing ----------------------------------------------------------------------


def stop_at(monkeypatch, file, error):
    """Let the writing of the n-th file fail."""
    write, seen = tarfile.TarFile.addfile, []

    def addfile(self, info, content=None):
        seen.append(info.name)
        if len(seen) == file:
            content = content.read()[: info.size // 2]
            self.fileobj.write(content)
            raise error
        return write(self, info, content)

    monkeypatch.setattr(tarfile.TarFile, "addfile", addfile)


@pytest.mark.parametrize("file", [1, 13, 40])
def test_a_killed_run_goes_on_and_writes_the_same_bytes(file, store, shards, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        stop_at(patch, file, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            write_shards(store, out, SMALL)
    finished = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    assert len(finished) == (file - 1) // 10
    assert not (out / "manifest.npz").exists()
    write_shards(store, out, SMALL)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert contents(out) == contents(shards)


def test_a_full_disk_is_told_and_nothing_half_written_stays(store, shards, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        stop_at(patch, 13, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(OSError, match=r"cannot write .*train-00001\.tar .*make room") as caught:
            write_shards(store, out, SMALL)
    assert caught.value.errno == errno.ENOSPC
    assert sorted(path.name for path in out.iterdir()) == ["shards.json", "train-00000.tar"]
    write_shards(store, out, SMALL)
    assert contents(out) == contents(shards)


@pytest.mark.parametrize("damage", ["cut off", "other pictures"])
def test_a_damaged_archive_is_not_taken_over(damage, store, shards, tmp_path):
    out = shutil.copytree(shards, tmp_path / "out")
    (out / "manifest.npz").unlink()
    data = (out / "train-00001.tar").read_bytes()
    other = (out / "train-00002.tar").read_bytes()
    (out / "train-00001.tar").write_bytes(data[:9000] if damage == "cut off" else other)
    with pytest.raises(ValueError, match=r"train-00001\.tar is damaged.*: remove it and run"):
        write_shards(store, out, SMALL)


def test_a_second_run_into_one_folder_is_told_who_runs(store, tmp_path):
    with (
        locked(tmp_path / "out"),
        pytest.raises(ValueError, match="out is being written to by process"),
    ):
        write_shards(store, tmp_path / "out", SMALL)


def test_a_folder_of_another_store_is_refused(store, shards, tmp_path):
    unfinished = shutil.copytree(shards, tmp_path / "out")
    (unfinished / "manifest.npz").unlink()
    with pytest.raises(ValueError, match=r"out was begun with other \['megabytes'\]"):
        write_shards(store, unfinished, 1)
    other = shutil.copytree(store, tmp_path / "other")
    change(other, action=np.array(["Sit"] * 8))
    with pytest.raises(ValueError, match=r"out was begun with other \['manifest'\]"):
        write_shards(other, unfinished, SMALL)


def test_a_folder_that_is_not_empty_is_refused(store, tmp_path):
    (tmp_path / "thesis.tex").touch()
    for out in (tmp_path, store):
        with pytest.raises(ValueError, match=rf"{out} is not empty and was not begun by us"):
            write_shards(store, out, SMALL)


def test_finished_archives_are_left_alone(store, shards):
    with pytest.raises(ValueError, match=r"manifest\.npz is there already"):
        write_shards(store, shards, SMALL)


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_missing_pictures_are_named_before_anything_is_written(damage, store, tmp_path):
    root = shutil.copytree(store, tmp_path / "copy")
    damage(root / "images" / "005_1.jpg")
    with pytest.raises(FileNotFoundError, match=r"1 files .* missing or empty(.|\n)*005_1\.jpg"):
        write_shards(root, tmp_path / "out", SMALL)
    assert not (tmp_path / "out").exists()


def test_names_that_become_the_same_are_refused(store, tmp_path):
    root = shutil.copytree(store, tmp_path / "copy")
    names = read_manifest(root)[0]["names"]
    change(root, names=np.array(["S1/Walk/1/000001", *names[1:]]))
    with pytest.raises(ValueError, match=r"'train' .* twice .*'S1_Walk_1_000001\.c_0\.jpg'"):
        write_shards(root, tmp_path / "out", SMALL)


def test_archives_of_archives_are_refused(shards, tmp_path):
    with pytest.raises(ValueError, match=r"in archives already .*train-00000\.tar@"):
        write_shards(shards, tmp_path / "out", SMALL)


def test_archives_need_a_size(store, tmp_path):
    with pytest.raises(ValueError, match="megabytes=0"):
        write_shards(store, tmp_path / "out", 0)


# ---- what goes wrong later -----------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["missing", "cut off"])
def test_a_lost_archive_is_named(damage, shards, tmp_path):
    copy = shutil.copytree(shards, tmp_path / "copy")
    path = copy / "train-00001.tar"
    data = path.read_bytes()
    path.unlink()
    if damage == "cut off":
        path.write_bytes(data[: len(data) // 2])
    with pytest.raises(FileNotFoundError, match=rf"missing file {path}@\d+\+\d+"):
        MomentDataset(PreparedData(copy).moments("train"), *SETTINGS)


# ---- the command ---------------------------------------------------------------------------------


def test_the_command(store, shards, tmp_path, capsys):
    words = [str(store), str(tmp_path / "out"), "--megabytes", str(SMALL)]
    shard.main(words)
    assert contents(tmp_path / "out") == contents(shards)
    assert f"written to {tmp_path / 'out'}: 4 archives" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="is there already"):
        shard.main(words)
