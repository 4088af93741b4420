"""Signals: a training that is told to stop saves where it is, and ends with a code that says so.

SIGTERM is what schedulers and `kill` send, SIGUSR1 what Slurm sends before the time is up
(`--signal=USR1@60`), SIGINT is Ctrl-C. In a stage the step is finished and a checkpoint written; in
a relabelling round, in drawing data and between stages the program ends at once, and what the round
has searched is kept. `resume=` goes on.
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from lightning import Callback, LightningModule, Trainer

__all__ = ["SaveAndStop", "StoppedError", "exit_code", "listening"]

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name)
)
BY_SHELLS = 128  # exit codes of processes that a signal has ended: 128 + its number
_state: dict[str, Any] = {"received": None, "in_stage": False}


class StoppedError(BaseException):
    """A signal has ended a training; like KeyboardInterrupt no `except Exception` may take it."""

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


def exit_code(stopped: StoppedError) -> int:
    """143 for SIGTERM, as a shell would say it."""
    return BY_SHELLS + stopped.number


def _receive(number: int, frame: FrameType | None) -> None:
    again = _state["received"] is not None
    _state["received"] = number
    if number == signal.SIGINT and again:
        raise KeyboardInterrupt
    if not _state["in_stage"]:
        raise StoppedError(number)


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Take the signals while a training runs; only a program's main thread can."""
    _state.update(received=None, in_stage=False)
    before = {number: signal.signal(number, _receive) for number in SIGNALS}
    try:
        yield
    except StoppedError as stopped:
        if stopped.number == getattr(signal, "SIGUSR1", None):
            _requeue()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _state.update(received=None, in_stage=False)  # the next training is not told to stop


def _requeue() -> None:
    """Put a Slurm job back into its queue: Slurm has said that its time is nearly up."""
    job = os.environ.get("SLURM_JOB_ID")
    if job and os.environ.get("SLURM_PROCID", "0") == "0":
        try:
            done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True)
            problem = done.stderr if done.returncode else ""
        except OSError as error:  # no scontrol in a container
            problem = str(error)
        print(f"job {job} is not requeued: {problem}" if problem else f"requeued job {job}")


class SaveAndStop(Callback):
    """Ends a stage after the step in which a signal has come, with a checkpoint.

    Args:
        path: Where the checkpoint goes.
    """

    def __init__(self, path: Path):
        self.path = path

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on a signal waits for the end of a step."""
        _state["in_stage"] = True

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on a signal ends the program at once."""
        _state["in_stage"] = False
        self._stop_if_told(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After a step."""
        self._stop_if_told(trainer)

    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """A validation between steps need not be waited for; weights are as after the step."""
        if _state["in_stage"]:
            self._stop_if_told(trainer)

    def _stop_if_told(self, trainer: Trainer) -> None:
        """Save, and stop: all processes at the same place, since they save together."""
        number = _state["received"]
        asked = number is not None
        if trainer.world_size > 1:
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if asked:
            trainer.save_checkpoint(self.path)
            raise StoppedError(number or signal.SIGTERM)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Lightning's own exception for SIGTERM comes between steps, too."""
        from lightning.pytorch.utilities.exceptions import SIGTERMException

        _state["in_stage"] = False
        if isinstance(exception, SIGTERMException):
            trainer.save_checkpoint(self.path)
            raise StoppedError(signal.SIGTERM) from exception
