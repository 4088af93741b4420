import csv
import os
import sys
from types import SimpleNamespace

import pytest

from mask_sup.files.build import build
from mask_sup.files.loggers import csv_loggers, wandb_loggers
from mask_sup.train import _close


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# -- metrics.csv ----------------------------------------------------------------------------------


def test_metrics_are_written_to_the_stages_folder(tmp_path):
    (logger,) = csv_loggers(tmp_path / "arms", "run", "arms")
    logger.log_metrics({"train/total": 0.5}, step=0)
    logger.log_metrics({"val/mpjpe_mm": 80.0}, step=1)
    logger.finalize("success")
    assert [path.name for path in (tmp_path / "arms").iterdir()] == ["metrics.csv"]
    assert rows(tmp_path / "arms") == [
        {"step": "0", "train/total": "0.5", "val/mpjpe_mm": ""},
        {"step": "1", "train/total": "", "val/mpjpe_mm": "80.0"},
    ]


@pytest.mark.filterwarnings("error:Experiment logs directory")  # it tells that files are deleted
def test_a_resumed_stage_goes_on_in_its_metrics(tmp_path):
    for step in (0, 1, 2):  # three runs of one step each, the last with a new key
        (logger,) = csv_loggers(tmp_path, "run", "arms")
        logger.log_metrics({"a": float(step)} | ({"b": 5.0} if step == 2 else {}), step=step)
        logger.finalize("success")
    assert [(row["step"], row["a"], row["b"]) for row in rows(tmp_path)] == [
        ("0", "0.0", ""),
        ("1", "1.0", ""),
        ("2", "2.0", "5.0"),
    ]


def test_a_resumed_stage_that_is_killed_at_once_keeps_its_metrics(tmp_path):
    (first,) = csv_loggers(tmp_path, "run", "arms")
    first.log_metrics({"a": 1.0}, step=0)
    first.finalize("success")
    (second,) = csv_loggers(tmp_path, "run", "arms")
    second.log_metrics({"a": 2.0}, step=1)  # not written yet when the process dies
    assert [row["a"] for row in rows(tmp_path)] == ["1.0"]


def test_the_csv_option_builds_it(tmp_path, compose_config):
    loggers = build(compose_config("train").logger, "logger")(
        folder=tmp_path, run="run", stage="arms"
    )
    assert len(loggers) == 1
    assert loggers[0].log_dir == str(tmp_path) + "/"


# -- W&B ------------------------------------------------------------------------------------------

ACCOUNT = {"project": "mask_sup_tests", "entity": None}


def test_other_modes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="online, offline or disabled, not 'dryrun'"):
        wandb_loggers(tmp_path, "run", "arms", **ACCOUNT, mode="dryrun")


def test_disabled_leaves_metrics_csv_and_no_trace_of_wandb(tmp_path):
    loggers = wandb_loggers(tmp_path, "run", "arms", **ACCOUNT, mode="disabled")
    assert len(loggers) == 1
    loggers[0].log_metrics({"a": 1.0}, step=0)
    loggers[0].finalize("success")
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


@pytest.mark.parametrize("mode", [None, "disabled"])
def test_the_mode_comes_from_the_environment_and_is_offline_without(
    mode, monkeypatch, compose_config
):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if mode:
        monkeypatch.setenv("WANDB_MODE", mode)
    assert compose_config("train", "logger=wandb").logger.mode == (mode or "offline")


def test_a_crash_is_told_to_wandb_and_every_logger(monkeypatch):
    told = []
    logger = SimpleNamespace(finalize=lambda status: told.append(status))
    wandb = SimpleNamespace(finish=lambda exit_code: told.append(exit_code))
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    _close([logger, logger], "error")
    _close([logger], "success")
    assert told == ["error", "error", 1, "success", 0]


def test_without_wandb_closing_needs_none(monkeypatch):
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    _close([], "success")
    assert "wandb" not in sys.modules


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    """The wandb module, with nothing of it set in the environment."""
    for name in ("WANDB_MODE", "WANDB_RUN_ID", "WANDB_RUN_GROUP", "WANDB_DIR", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    import wandb

    yield wandb
    wandb.finish()


def test_offline_every_stage_is_a_run_of_one_group(tmp_path, wandb):
    seen = []
    for stage in ("skeleton", "physique", "skeleton"):  # the last one: resumed
        folder = tmp_path / "run" / stage
        loggers = wandb_loggers(folder, "2026-01-02", stage, **ACCOUNT, mode="offline")
        written = (folder / "wandb_id.txt").read_text()
        assert wandb.run is None  # the id is on disk before the run begins
        _, logger = loggers
        run = logger.experiment
        logger.log_metrics({"train/total": 1.0}, step=0)
        assert (run.group, run.project) == ("2026-01-02", ACCOUNT["project"])
        assert run.name == f"2026-01-02/{stage}"
        assert run.id == written
        assert run.settings.mode == "offline"
        assert "WANDB_MODE" not in os.environ  # the next stage's config would read it
        _close(loggers, "success")
        assert wandb.run is None
        assert list((folder / "wandb").glob(f"offline-run-*-{written}"))
        seen.append(written)
    first, second, again = seen
    assert again == first != second
