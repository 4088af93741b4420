"""Several processes of one training: how they are started, and that all of them run the same."""

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

from mask_sup.files.words import said

__all__ = ["SameRun", "started_from"]

SET_BY_LAUNCHER = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@contextmanager
def started_from(folder: Path, words: Sequence[str] = ()) -> Iterator[None]:
    """While the block runs, Lightning starts the other processes of a run from its folder.

    By itself it repeats the command line in each: under `--multirun` every process would then sweep
    by itself, in a folder of its own. Here each is told to resume the run in `folder`, whose
    config.yaml is the composed one of this job. Afterwards the processes' group is left and the
    environment is as it was, so that the next job of a sweep starts its own.

    Args:
        folder: The run's, in which config.yaml is there before the first stage begins.
        words: Overrides that no file may hold (`trust=...`).

    Raises:
        RuntimeError: If this Lightning starts its processes in another way.
    """
    import torch.distributed
    from lightning.pytorch.strategies.launchers import subprocess_script as launcher

    name = "_hydra_subprocess_cmd"
    if (usual := getattr(launcher, name, None)) is None:
        raise RuntimeError(
            "this version of Lightning has no lightning.pytorch.strategies.launchers."
            f"subprocess_script.{name}, by which runs of several processes are started: install "
            "one from 2.4 to 2.6"
        )

    def command(local_rank: int) -> tuple[list[str], str]:
        from hydra.utils import get_original_cwd

        here = said(str(folder.resolve()))
        told = [f"resume={here}", *words, f"hydra.run.dir={here}", "hydra.output_subdir=null"]
        return [sys.executable, "-m", "mask_sup.train", *told], get_original_cwd()

    before = {key: os.environ.get(key) for key in SET_BY_LAUNCHER}
    setattr(launcher, name, command)
    try:
        yield
    finally:
        setattr(launcher, name, usual)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


class SameRun(Callback):
    """Refuses to train where the processes do not run the same config in the same folder.

    Args:
        config: The plain config of this process.
        folder: The run's.
    """

    def __init__(self, config: Mapping[str, Any], folder: Path):
        text = json.dumps(config, sort_keys=True)
        self.told = {
            "folder": str(folder.resolve()),
            "config": hashlib.sha256(text.encode()).hexdigest()[:12],
        }

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compare, before anything is trained.

        Raises:
            RuntimeError: In all processes, with what differs.
        """
        if trainer.world_size == 1:
            return
        import torch.distributed

        everyone: list[Any] = [None] * trainer.world_size
        torch.distributed.all_gather_object(everyone, self.told)
        for what in self.told:
            if len({told[what] for told in everyone}) > 1:
                listed = ", ".join(f"{rank}: {told[what]}" for rank, told in enumerate(everyone))
                raise RuntimeError(
                    f"the processes of this training have not the same {what} ({listed}): start "
                    "all of them with the same overrides, hydra.run.dir=<folder> among them"
                )
