"""Threads follow what the machine has free, and a run keeps those that it began with."""

import json
import subprocess
import sys
import time

import psutil
import pytest
import torch

from mask_sup.files import threads
from mask_sup.files.threads import busy_cores, settle_threads
from mask_sup.train import this_machine, threads_of


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many cores, of which some are busy, without a word of the user's."""
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def make(cores: int, busy: float, quota: str = "max 100000"):
        shares = [100.0 * min(max(busy - core, 0), 1) for core in range(cores)]
        monkeypatch.setattr(threads, "own_cores", lambda: range(cores))
        monkeypatch.setattr(psutil, "cpu_percent", lambda seconds, percpu: shares)
        monkeypatch.setattr(threads, "QUOTA", type("", (), {"read_text": lambda _: quota})())
        torch.set_num_threads(cores)

    yield make
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("cores", "busy", "quota", "expected"),
    [
        (2, 0.1, "max 100000", 2),
        (2, 1.0, "max 100000", 1),
        (2, 2.0, "max 100000", 1),
        (16, 5.2, "max 100000", 11),
        (16, 0.0, "200000 100000", 2),  # a container that may use two cores' time
        (16, 15.0, "200000 100000", 1),
        (16, 0.0, "50000 100000", 1),
    ],
)
def test_threads_are_as_many_as_cores_are_free(machine, capsys, cores, busy, quota, expected):
    machine(cores, busy, quota)
    assert settle_threads() == torch.get_num_threads() == expected
    assert capsys.readouterr().out.startswith(f"threads: {expected}, ")


def test_what_the_user_says_is_obeyed(machine, monkeypatch, capsys):
    machine(16, 15.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "16")
    assert settle_threads(before=2) == torch.get_num_threads() == 16
    assert "OMP_NUM_THREADS" in capsys.readouterr().out


def test_a_run_keeps_its_threads_on_its_own_kind_of_machine(machine, tmp_path):
    machine(16, 0.0)
    assert threads_of(tmp_path) is None
    there = {"machine": "Plan9 mips, 1 cores", "threads": 1}
    (tmp_path / "run.json").write_text(json.dumps(there))
    assert threads_of(tmp_path) is None
    (tmp_path / "run.json").write_text(json.dumps({"machine": this_machine(), "threads": 3}))
    assert settle_threads(threads_of(tmp_path)) == torch.get_num_threads() == 3


@pytest.mark.slow
def test_another_program_that_computes_is_seen():
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        time.sleep(1)
        busy = busy_cores()
        other.kill()
    assert busy > 0.3  # others may share its core
