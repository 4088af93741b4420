"""Signals: saved, ended with a code that says so, resumed to the same weights."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from mask_sup.method.stopping import StoppedError, exit_code, listening
from mask_sup.models.checkpoint import read_checkpoint

SMALL = [
    "+experiment=smoke",
    "data.source.moments={train: 4, val: 1}",
    "~data.source.moments.mocap",
    "data.source.size=32",
    "data.batch_size=1",
    "detector.backbone.channels=16",
    "trainer.val_check_interval=40",
    "save_every=1000",
    "~cascade.physique",
    "~cascade.relabel",
    "~cascade.arms",
    "cascade.skeleton.max_steps=40",
]


def train(folder, *words):
    command = [sys.executable, "-m", "mask_sup.train", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MASK_SUP_CACHE": str(folder / "cache")}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)


def wait_for(found, process, seconds=120):
    end = time.monotonic() + seconds
    while not found() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)


def weights(path):
    return read_checkpoint(path)["state_dict"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_stage_saves_and_goes_on_to_the_same_weights(tmp_path, name):
    whole = train(tmp_path, *SMALL, "hydra.run.dir=whole")
    whole.communicate()
    process = train(tmp_path, *SMALL, "hydra.run.dir=stopped")
    rows = tmp_path / "stopped" / "skeleton"
    wait_for(lambda: list(rows.glob("hparams.yaml")) or list(rows.glob("metrics.csv")), process)
    time.sleep(0.3)
    process.send_signal(getattr(signal, name))
    start = time.monotonic()
    said, _ = process.communicate()
    assert time.monotonic() - start < 5
    assert process.returncode == 128 + getattr(signal, name)
    assert f"stopped by {name}: python -m mask_sup.train resume=" in said
    last = tmp_path / "stopped" / "skeleton" / "checkpoints" / "last.ckpt"
    assert 0 < read_checkpoint(last)["global_step"] <= 40
    resumed = train(tmp_path, "resume=stopped")
    resumed.communicate()
    assert resumed.returncode == 0
    expected = weights(tmp_path / "whole" / "skeleton" / "checkpoints" / "last.ckpt")
    assert all(torch.equal(value, expected[key]) for key, value in weights(last).items())


@pytest.mark.slow
def test_drawing_data_ends_at_once_and_leaves_nothing_half_done(tmp_path):
    words = [*SMALL[:1], "data.source.moments={train: 2000, val: 20, mocap: 20}"]
    process = train(tmp_path, *words, "hydra.run.dir=run")
    drawn = tmp_path / "cache" / "synthetic"
    wait_for(lambda: list(drawn.glob("*/.train-*/*.png")), process)
    process.send_signal(signal.SIGTERM)
    start = time.monotonic()
    process.communicate()
    assert time.monotonic() - start < 5
    assert process.returncode == 128 + signal.SIGTERM
    assert not list(drawn.glob("*/train")) + list(drawn.glob("*/.train-*"))


@pytest.mark.slow
def test_two_at_a_time_are_refused(tmp_path):
    first = train(tmp_path, *SMALL, "hydra.run.dir=run", "cascade.skeleton.max_steps=4000")
    wait_for(lambda: list(tmp_path.glob("run/skeleton/metrics.csv")), first)
    second = subprocess.run(
        [sys.executable, "-m", "mask_sup.train", "resume=run"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    first.kill()
    first.communicate()
    assert second.returncode != 0
    assert f"run is being written to by process {first.pid}" in second.stderr


def test_outside_of_a_stage_a_signal_ends_at_once_and_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StoppedError, match="stopped by SIGTERM") as stopped, listening():
        os.kill(os.getpid(), signal.SIGTERM)
    assert exit_code(stopped.value) == 143
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("rank", "asked"), [("0", "requeue 77\n"), ("1", "")])
def test_under_slurm_usr1_asks_for_the_job_again(tmp_path, monkeypatch, rank, asked):
    script = tmp_path / "scontrol"
    script.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_PROCID", rank)
    with pytest.raises(StoppedError), listening():
        os.kill(os.getpid(), signal.SIGUSR1)
    path = tmp_path / "asked"
    assert (path.read_text() if path.is_file() else "") == asked
