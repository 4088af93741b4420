import threading
import time

import pytest

from mask_sup.method import waiting
from mask_sup.method.waiting import sign_of_life, wait_for


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(waiting, "EVERY", 0.05)
    monkeypatch.setattr(waiting, "PATIENCE", 0.4)


def test_waiting_ends_with_the_file_however_long_it_takes(tmp_path):
    target, sign = tmp_path / "poses.npz", tmp_path / "sign"

    def work():
        with sign_of_life(sign):
            time.sleep(1.5)
            target.write_bytes(b"")

    thread = threading.Thread(target=work)
    thread.start()
    wait_for(target, sign)
    thread.join()
    assert not sign.exists()


def test_a_failure_is_told_to_those_who_wait(tmp_path):
    target, sign = tmp_path / "poses.npz", tmp_path / "sign"
    with pytest.raises(ValueError, match="no scene"), sign_of_life(sign):
        raise ValueError("no scene can be fitted")
    with pytest.raises(RuntimeError, match="has failed: ValueError: no scene can be fitted"):
        wait_for(target, sign)


@pytest.mark.parametrize("began", [True, False])
def test_a_dead_one_is_not_waited_for(tmp_path, began):
    sign = tmp_path / "sign"
    if began:
        sign.write_text("3")  # killed: no further sign
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="given no sign for .*resume the run"):
        wait_for(tmp_path / "poses.npz", sign)
    assert time.monotonic() - start < 3
