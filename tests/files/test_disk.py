import errno
import json
import re

import numpy as np
import pytest

from mask_sup.files.disk import read_arrays, whole, write_arrays, write_file


def names(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def write_half(stop, *paths):
    with whole(*paths) as parts:
        parts[0].write_text("half of wh")
        raise stop


@pytest.mark.parametrize("content", ["Grüße\n", b"\x00\xff"])
def test_a_file_holds_what_was_written_and_folders_are_made(tmp_path, content):
    path = tmp_path / "new" / "folder" / "file"
    write_file(path, content)
    assert path.read_bytes() == (content if isinstance(content, bytes) else content.encode())
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError, OSError])
def test_what_was_there_stays_when_writing_stops(tmp_path, stop):
    path = tmp_path / "file"
    write_file(path, "old")
    with pytest.raises(stop):
        write_half(stop, path)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file"]


def test_files_that_belong_together_appear_together(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(ValueError, match="stopped"):
        write_half(ValueError("stopped"), *paths)
    assert names(tmp_path) == []
    with whole(*paths) as parts:
        for part, text in zip(parts, ("first", "second"), strict=True):
            part.write_text(text)
        assert not any(path.exists() for path in paths)
    assert [path.read_text() for path in paths] == ["first", "second"]
    assert names(tmp_path) == ["a", "b"]


def test_an_error_names_the_file_and_the_cure(tmp_path):
    path = tmp_path / "file"
    full = OSError(errno.ENOSPC, "No space left on device")
    told = re.escape(f"cannot write {path} (No space left on device): make room")
    with pytest.raises(OSError, match=told) as caught, whole(path):
        raise full
    assert caught.value.errno == errno.ENOSPC
    (tmp_path / "taken").write_text("a file where a folder should be")
    with pytest.raises(OSError, match="cannot write .*taken/file"):
        write_file(tmp_path / "taken" / "file", "text")


def test_arrays_and_their_header_are_read_back(tmp_path):
    path = tmp_path / "new" / "arrays.npz"
    arrays = {"names": np.array(["a", "ü"]), "points": np.arange(6.0).reshape(2, 3)}
    write_arrays(path, {"version": 3, "axes": "frame, (x, y, z): mm"}, arrays)
    header, found = read_arrays(path, ("names", "points"), 3, "make it again")
    assert header == {"version": 3, "axes": "frame, (x, y, z): mm"}
    assert found.keys() == arrays.keys()
    for name, values in arrays.items():
        np.testing.assert_array_equal(found[name], values)
    assert read_arrays(path, ("points", "none"), 3, "make it again")[1].keys() == {"points"}
    with np.load(path, allow_pickle=False) as plain:  # without this package
        assert json.loads(str(plain["header"]))["version"] == 3


def test_what_cannot_be_read_is_told_with_the_cure(tmp_path):
    path = tmp_path / "arrays.npz"
    write_arrays(path, {"version": 3}, {"points": np.arange(1000.0)})
    with pytest.raises(ValueError, match=r"npz has the version 3, this program reads 4: run it"):
        read_arrays(path, ("names", "points"), 4, "run it again")
    whole_bytes = path.read_bytes()
    np.savez(path, header=np.array(json.dumps(["no", "mapping"])))
    listed = path.read_bytes()
    cut_off, shifted = whole_bytes[:-100], whole_bytes[:300] + whole_bytes[320:]
    for content in (b"", b"text", cut_off, shifted, listed):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"arrays\.npz cannot be read \(.*\): run it again"):
            read_arrays(path, ("names", "points"), 3, "run it again")
