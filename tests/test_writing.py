import errno
import re

import pytest

from mask_sup.writing import whole, write_file


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
