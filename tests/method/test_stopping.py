"""Signals: saved, ended with a code that says so, resumed to the same weights."""

import functools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from mask_sup.fitting.fitter import PoseFitter
from mask_sup.method.stages import DetectorStage
from mask_sup.method.stopping import StoppedError, exit_code, listening
from mask_sup.models.checkpoint import read_checkpoint
from mask_sup.train import train as run_training

WAITS = 20  # seconds, on a busy machine: far less than what is left of the work takes
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
    small = [*SMALL, "cascade.skeleton.max_steps=200", "trainer.val_check_interval=200"]
    whole = train(tmp_path, *small, "hydra.run.dir=whole")
    whole.communicate()
    process = train(tmp_path, *small, "hydra.run.dir=stopped")
    # Written after a hundred steps: before the first one a signal ends the program at once.
    wait_for(lambda: list(tmp_path.glob("stopped/skeleton/metrics.csv")), process)
    process.send_signal(getattr(signal, name))
    start = time.monotonic()
    said, _ = process.communicate()
    assert time.monotonic() - start < WAITS
    assert process.returncode == 128 + getattr(signal, name)
    assert f"stopped by {name}: python -m mask_sup.train resume=" in said
    last = tmp_path / "stopped" / "skeleton" / "checkpoints" / "last.ckpt"
    assert 0 < read_checkpoint(last)["global_step"] < 200
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
    assert time.monotonic() - start < WAITS
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


def test_without_scontrol_the_signal_still_tells(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_PROCID", "0")
    with pytest.raises(StoppedError, match="SIGUSR1"), listening():
        os.kill(os.getpid(), signal.SIGUSR1)
    assert "job 77 is not requeued" in capsys.readouterr().out


@pytest.fixture
def configured(compose_config, tmp_path):
    words = [word for word in SMALL if "val_check" not in word and "moments=" not in word]
    words += ["data.source.moments={train: 4, val: 3}", "trainer.val_check_interval=4"]
    words += ["cascade.skeleton.max_steps=12", f"data.source.root={tmp_path / 'cache'}"]
    return compose_config("train", *words)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_a_validation_is_not_waited_for(configured, tmp_path, monkeypatch, name):
    run_training(configured, tmp_path / "whole")
    validate, seen = DetectorStage.validation_step, []

    def told_to_stop(stage, batch, batch_idx):
        seen.append((stage.global_step, batch_idx))
        if seen[-1] == (8, 0):
            os.kill(os.getpid(), getattr(signal, name))
        return validate(stage, batch, batch_idx)

    with monkeypatch.context() as patched:
        patched.setattr(DetectorStage, "validation_step", told_to_stop)
        with pytest.raises(StoppedError, match=name), listening():
            run_training(configured, tmp_path / "stopped")
    assert seen[-1] == (8, 0)  # of three batches
    last = tmp_path / "stopped" / "skeleton" / "checkpoints" / "last.ckpt"
    assert read_checkpoint(last)["global_step"] == 8
    run_training(configured, tmp_path / "stopped")
    expected = weights(tmp_path / "whole" / "skeleton" / "checkpoints" / "last.ckpt")
    assert all(torch.equal(value, expected[key]) for key, value in weights(last).items())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_search_goes_on_where_it_was_stopped(compose_config, tmp_path, monkeypatch, name):
    words = ["~cascade.physique", "~cascade.arms", "cascade.skeleton.max_steps=2"]
    words += ["cascade.relabel.max_steps=2", f"data.source.root={tmp_path / 'cache'}"]
    cfg = compose_config("train", "+experiment=smoke", *words)
    settle, jobs = PoseFitter._settle, []

    @functools.wraps(settle)
    def counted(self, *given):
        jobs.append(name)
        if jobs.count(name) == stop_at:
            os.kill(os.getpid(), getattr(signal, name))
        return settle(self, *given)

    monkeypatch.setattr(PoseFitter, "_settle", counted)
    stop_at = None
    run_training(cfg, tmp_path / "whole")
    count = len(jobs)
    jobs.clear()
    stop_at = count - 1
    with pytest.raises(StoppedError, match=name), listening():
        run_training(cfg, tmp_path / "stopped")
    kept = tmp_path / "stopped" / "relabel" / ".searched"
    assert list(kept.rglob("*.npz"))
    jobs.clear()
    stop_at = None
    run_training(cfg, tmp_path / "stopped")
    assert len(jobs) == 2  # the one that was stopped, and the last
    assert not kept.exists()
    found, expected = (
        dict(np.load(tmp_path / run / "relabel" / "poses.npz")) for run in ("stopped", "whole")
    )
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, key)
    last = "relabel/checkpoints/last.ckpt"
    expected = weights(tmp_path / "whole" / last)
    found = weights(tmp_path / "stopped" / last)
    assert all(torch.equal(value, expected[key]) for key, value in found.items())


@pytest.mark.slow
def test_the_checkpoint_before_as_a_cure_is_not_taken_for_a_finished_stage(configured, tmp_path):
    configured.save_every = 5
    folder = tmp_path / "run" / "skeleton" / "checkpoints"
    run_training(configured, tmp_path / "run")
    expected = weights(folder / "last.ckpt")
    assert read_checkpoint(folder / "previous.ckpt")["global_step"] < 12
    (folder / "previous.ckpt").replace(folder / "last.ckpt")
    run_training(configured, tmp_path / "run")
    assert read_checkpoint(folder / "last.ckpt")["global_step"] == 12
    assert all(
        torch.equal(value, expected[key]) for key, value in weights(folder / "last.ckpt").items()
    )
