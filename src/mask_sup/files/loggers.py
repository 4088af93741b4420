"""Loggers of one stage: metrics.csv always, W&B when asked."""

import csv
import secrets
import warnings
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.loggers.logger import rank_zero_experiment

__all__ = ["csv_loggers", "wandb_loggers"]


class _ContinuedCSVLogger(CSVLogger):
    """Lightning's deletes the metrics.csv of a stopped run; this one goes on in it."""

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            path = Path(self.log_dir) / "metrics.csv"
            rows = []
            if path.is_file():
                with path.open(newline="") as file:
                    rows = list(csv.DictReader(file))
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Experiment logs directory .* is not empty")
                writer = super().experiment
            writer.metrics += rows
            writer.save()
        return self._experiment


def csv_loggers(folder: Path, run: str, stage: str) -> list[Logger]:
    """metrics.csv in the stage's folder; a resumed stage goes on in it."""
    return [_ContinuedCSVLogger(folder, name="", version="")]


def wandb_loggers(
    folder: Path, run: str, stage: str, project: str, entity: str | None, mode: str
) -> list[Logger]:
    """metrics.csv, and one W&B run per stage, grouped by training run.

    Its id is written to the folder before the first step, so that a resumed stage goes on in it.

    Args:
        folder: The stage's folder.
        run: Name of the training run: the group.
        stage: Name of the stage.
        project: W&B project.
        entity: W&B account or team; None: the default one.
        mode: `online`, `offline` (no account needed) or `disabled`.

    Raises:
        ValueError: On another mode.
    """
    if mode not in ("online", "offline", "disabled"):
        raise ValueError(f"WANDB_MODE is online, offline or disabled, not {mode!r}")
    if mode == "disabled":
        return csv_loggers(folder, run, stage)
    from lightning.pytorch.loggers import WandbLogger

    record = folder / "wandb_id.txt"
    folder.mkdir(parents=True, exist_ok=True)
    if not record.is_file():
        record.write_text(secrets.token_hex(4))
    logger = WandbLogger(
        project=project,
        entity=entity,
        group=run,
        name=f"{run}/{stage}",
        id=record.read_text(),
        resume="allow",
        save_dir=folder,
        mode=mode,  # not offline=True: that puts WANDB_MODE=dryrun in the environment for good
    )
    return [*csv_loggers(folder, run, stage), logger]
