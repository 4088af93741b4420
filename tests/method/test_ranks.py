import os
import subprocess
import sys

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from lightning import LightningModule, Trainer
from lightning.pytorch.strategies.launchers import subprocess_script as launcher
from omegaconf import OmegaConf
from torch import distributed, multiprocessing

from mask_sup.method.ranks import SameRun, started_from

HYDRA = "_hydra_subprocess_cmd"


def test_other_processes_resume_the_folder_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr("hydra.utils.get_original_cwd", lambda: "/here")
    usual = getattr(launcher, HYDRA)
    folder = tmp_path / "it's, a=b (1)"
    with started_from(folder, ["trust=[mine]"]):
        command, where = getattr(launcher, HYDRA)(1)
    assert getattr(launcher, HYDRA) is usual
    assert where == "/here"
    assert command[:3] == [sys.executable, "-m", "mask_sup.train"]
    parsed = OverridesParser.create().parse_overrides(command[3:])
    assert {word.key_or_group: word.value() for word in parsed} == {
        "resume": str(folder),
        "trust": ["mine"],
        "hydra.run.dir": str(folder),
        "hydra.output_subdir": None,
    }


def test_the_environment_is_left_as_it_was(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "8")  # a scheduler's
    monkeypatch.delenv("LOCAL_RANK", raising=False)

    def fails():
        with started_from(tmp_path):
            os.environ |= {"LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_PORT": "1"}
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert os.environ["WORLD_SIZE"] == "8"
    assert "LOCAL_RANK" not in os.environ
    assert "MASTER_PORT" not in os.environ


def test_a_lightning_that_starts_processes_otherwise_is_named(monkeypatch, tmp_path):
    monkeypatch.delattr(launcher, HYDRA)
    with pytest.raises(RuntimeError, match="install one from"), started_from(tmp_path):
        pass


class Processes(Trainer):
    """A trainer that knows how many there are, and nothing else."""

    world_size = None

    def __init__(self, count):
        self.world_size = count


def compared(rank, folder, configs, folders):
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    said = "nothing"
    try:
        SameRun(configs[rank], folders[rank]).setup(Processes(2), LightningModule(), "fit")
    except RuntimeError as error:
        said = str(error)
    torch.save(said, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("configs", "folders", "what"),
    [
        ([{"a": 1, "b": 2}, {"b": 2, "a": 1}], ["x", "x"], None),
        ([{"lr": 0.41}, {"lr": 0.26}], ["x", "x"], "config"),
        ([{"a": 1}, {"a": 1}], ["12-00-00", "12-00-01"], "folder"),
    ],
)
def test_processes_of_two_runs_do_not_train_together(tmp_path, configs, folders, what):
    folders = [tmp_path / name for name in folders]
    multiprocessing.spawn(compared, (str(tmp_path), configs, folders), nprocs=2)
    for rank in (0, 1):
        said = torch.load(tmp_path / f"{rank}.pt")
        assert said == "nothing" if what is None else f"have not the same {what} (0: " in said


def test_one_process_compares_nothing(tmp_path):
    SameRun({}, tmp_path).setup(Processes(1), LightningModule(), "fit")


@pytest.mark.slow
def test_a_sweep_of_two_jobs_on_two_processes(tmp_path):
    words = (
        "-m", "+experiment=smoke", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2",
        "trainer.precision=32-true", "data.source.moments={train:16,val:4,mocap:4}",
        "optimizer.lr=0.001,0.002", "hydra.sweep.dir=swept", f"data.source.root={tmp_path}/cache",
        "+trainer.enable_progress_bar=false",
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "mask_sup.train", *words],
        cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("stage arms: up to") == 4  # two processes of two jobs
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "swept"]
    assert sorted(path.name for path in (tmp_path / "swept").iterdir() if path.is_dir()) == [
        "0",
        "1",
    ]
    for job, lr in (("0", 0.001), ("1", 0.002)):
        folder = tmp_path / "swept" / job
        assert OmegaConf.load(folder / "config.yaml").optimizer.lr == lr
        assert (folder / "arms" / "finished.json").is_file()
        assert (folder / "training.html").is_file()
