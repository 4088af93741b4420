"""Checkpoint files: whole or not at all, the one before kept, damage seen."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from mask_sup.files import disk
from mask_sup.models.checkpoint import read_checkpoint, save_checkpoint

FIRST = {"config": {"seed": 1}, "state_dict": {"weight": torch.arange(200.0)}, "global_step": 1}
SECOND = FIRST | {"global_step": 2}


@pytest.fixture
def last(tmp_path):
    path = tmp_path / "last.ckpt"
    save_checkpoint(FIRST, path)
    return path


def test_the_one_before_is_kept(last):
    save_checkpoint(SECOND, last)
    assert read_checkpoint(last)["global_step"] == 2
    assert read_checkpoint(last.with_name("previous.ckpt"))["global_step"] == 1
    assert sorted(path.name for path in last.parent.iterdir()) == ["last.ckpt", "previous.ckpt"]


def test_a_write_that_fails_leaves_the_one_before(last, monkeypatch):
    def full(checkpoint, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="cannot write .*last.ckpt.*No space left"):
        save_checkpoint(SECOND, last)
    assert read_checkpoint(last)["global_step"] == 1
    assert [path.name for path in last.parent.iterdir()] == ["last.ckpt"]


def test_the_temporary_folder_is_not_used(last, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nosuch"))
    save_checkpoint(SECOND, last)
    assert read_checkpoint(last)["global_step"] == 2


def test_a_checkpoint_reaches_the_disk_before_it_has_its_name(last, monkeypatch):
    synced = []
    monkeypatch.setattr(disk, "_sync", lambda path: synced.append(path.name))
    save_checkpoint(SECOND, last)
    assert synced == [".last.ckpt.part", last.parent.name]


def test_every_flipped_bit_is_seen_or_harmless(last):
    content, rng = last.read_bytes(), np.random.default_rng(0)
    refused = 0
    for bit in rng.integers(0, 8 * len(content), 300).tolist():
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        last.write_bytes(flipped)
        try:
            found = read_checkpoint(last)
        except ValueError:
            refused += 1
        else:
            assert found["config"] == FIRST["config"]
            assert found["global_step"] == 1
            assert torch.equal(found["state_dict"]["weight"], FIRST["state_dict"]["weight"])
    assert refused > 100


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text"])
def test_what_is_damaged_names_the_cure(last, content):
    last.write_bytes(content)
    with pytest.raises(ValueError, match="last.ckpt cannot be read .*remove the folder"):
        read_checkpoint(last)
    save_checkpoint(FIRST, last.with_name("previous.ckpt"))
    with pytest.raises(ValueError, match="the one before it is kept: copy .*previous.ckpt over it"):
        read_checkpoint(last)


WRITE = """
import sys, torch
from pathlib import Path
from mask_sup.models.checkpoint import save_checkpoint
weight = torch.zeros(2_000_000)
for step in range(10_000):
    told = {"config": {}, "state_dict": {"w": weight + step}, "global_step": step}
    save_checkpoint(told, Path(sys.argv[1]))
    print(step, flush=True)
"""


@pytest.mark.slow
def test_a_kill_at_any_time_leaves_a_whole_checkpoint(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(8):
        path = tmp_path / str(number) / "last.ckpt"
        words = [sys.executable, "-c", WRITE, str(path)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "0\n"
        time.sleep(rng.uniform(0.0, 0.3))
        os.kill(process.pid, signal.SIGKILL)
        told = int((process.stdout.read().split() or ["0"])[-1])
        process.wait()
        found = read_checkpoint(path)
        assert found["global_step"] >= told
        assert (found["state_dict"]["w"] == found["global_step"]).all()
