"""Loggers of one stage: metrics.csv always, W&B when asked."""

from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, Logger

__all__ = ["csv_loggers", "wandb_loggers"]


def csv_loggers(folder: Path, run: str, stage: str) -> list[Logger]:
    """metrics.csv in the stage's folder."""
    return [CSVLogger(folder, name="", version="")]


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
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    record = folder / "wandb_id.txt"
    folder.mkdir(parents=True, exist_ok=True)
    if not record.is_file():
        record.write_text(wandb.util.generate_id())
    logger = WandbLogger(
        project=project,
        entity=entity,
        group=run,
        name=f"{run}/{stage}",
        id=record.read_text(),
        resume="allow",
        save_dir=folder,
        offline=mode == "offline",
    )
    return [*csv_loggers(folder, run, stage), logger]
