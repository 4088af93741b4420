import subprocess
import sys

import pytest

from mask_sup.files.lock import locked

HOLD = """
import sys, time
from pathlib import Path
from mask_sup.files.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock of tmp_path / "run"."""
    words = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_is_told_who_runs(other, tmp_path):
    with (
        pytest.raises(ValueError, match=f"run is being written to by process {other.pid} on .*-c"),
        locked(tmp_path / "run"),
    ):
        pytest.fail("two at a time")


def test_a_lock_ends_with_its_process(other, tmp_path):
    other.kill()
    other.wait()
    with locked(tmp_path / "run"):
        pass
    assert not list((tmp_path / "run").iterdir())


def test_commands_with_locks_of_their_own_write_side_by_side(other, tmp_path):
    with locked(tmp_path / "run", ".export.lock"):
        pass
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def test_a_folder_that_nothing_was_written_to_is_gone_again(tmp_path):
    def fails():
        with locked(tmp_path / "new" / "inner"):
            raise ValueError

    with pytest.raises(ValueError):
        fails()
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    with locked(tmp_path / "old"), locked(tmp_path / "new"):
        (tmp_path / "new" / "file").touch()
    assert (tmp_path / "old").exists()
    assert (tmp_path / "new" / "file").exists()


def test_one_after_another(tmp_path):
    for _ in range(2):
        with locked(tmp_path / "run"):
            assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
