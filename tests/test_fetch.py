"""The public recording: what is fetched is what was meant, and masks are sorted by camera."""

import subprocess
import zipfile

import pytest

from mask_sup import fetch

NAMES = ("cam01_000.png", "cam02_000.png", "cam01/001.png")


def zipped(path, names=NAMES):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"png")
    return path


def test_masks_of_a_zip_are_sorted_by_camera(tmp_path):
    fetch.unpack_masks(zipped(tmp_path / "masks.zip"), tmp_path / "out")
    found = {p.relative_to(tmp_path / "out").as_posix() for p in tmp_path.rglob("out/*/*.png")}
    assert found == {"cam01/000.png", "cam01/001.png", "cam02/000.png"}


def test_masks_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected cam01_000.png"):
        fetch.unpack_masks(zipped(tmp_path / "masks.zip", ["notes.txt"]), tmp_path)
    (tmp_path / "masks.7z").write_text("no zip")
    with pytest.raises(ValueError, match=r"masks.7z is no zip"):
        fetch.unpack_masks(tmp_path / "masks.7z", tmp_path)


def pip(monkeypatch, status):
    """Pip that puts another wheel in place, and ends with this status."""

    def run(words, check):
        folder = words[words.index("--dest") + 1]
        zipped(f"{folder}/pose2sim.whl", ["other"])
        return subprocess.CompletedProcess(words, status)

    monkeypatch.setattr(fetch.subprocess, "run", run)


@pytest.mark.parametrize(("status", "told"), [(1, "is there a network"), (0, "has the checksum")])
def test_what_cannot_be_fetched_or_is_something_else_is_told(monkeypatch, tmp_path, status, told):
    pip(monkeypatch, status)
    with pytest.raises(SystemExit, match=told):
        fetch.main([str(tmp_path / "recording")])
    assert not (tmp_path / "recording").exists()


def test_masks_are_looked_for_before_anything_is_fetched(tmp_path):
    with pytest.raises(SystemExit, match="no masks at"):
        fetch.main([str(tmp_path), "--masks", str(tmp_path / "nowhere")])
