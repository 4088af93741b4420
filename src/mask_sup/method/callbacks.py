"""What happens beside training: checkpoints and the config in them, pictures, and the report."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch.callbacks import RichProgressBar

from mask_sup.geometry.batch import Views
from mask_sup.method.stages import DetectorStage
from mask_sup.models.checkpoint import read_checkpoint, save_checkpoint

__all__ = ["LogOverlays", "Redraw", "SaveConfig", "StageProgress", "WholeCheckpointIO"]


class WholeCheckpointIO(TorchCheckpointIO):
    """Lightning's way to checkpoint files, which it would write by way of the temporary folder."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """See `save_checkpoint`."""
        save_checkpoint(checkpoint, Path(path))

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """See `read_checkpoint`; tensors come to the processor, nothing in the file is run."""
        return read_checkpoint(path)


class SaveConfig(Callback):
    """Stores the plain resolved config in every checkpoint: it alone rebuilds the networks.

    And what the weights were given, by all their ancestors (`mask_sup.method.settings`).
    """

    def __init__(self, config: dict[str, Any], settings: dict[str, Any]):
        self.config, self.settings = config, settings

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add them."""
        checkpoint["config"], checkpoint["settings"] = self.config, self.settings


class StageProgress(RichProgressBar):
    """The bar of a stage, under its name; Lightning's would count epochs, and a stage is one."""

    def __init__(self, stage: str):
        super().__init__()
        self.stage = stage

    def _get_train_description(self, current_epoch: int) -> str:
        return f"{self.stage:{len(self.validation_description)}}"


class LogOverlays(Callback):
    """Writes a sheet of what goes in, what the stage draws, and its poses in 2D and 3D.

    The same few validation moments, of several people, at every validation, to
    `folder/<step>.png` and to W&B.

    Args:
        folder: Where the sheets go, in the folder of the stage.
        moments: How many moments are drawn.
    """

    def __init__(self, folder: Path, moments: int = 4):
        self.folder, self.moments = folder, moments
        self.views: Views | None = None
        self.names: list[str] = []

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the sheet."""
        if not isinstance(pl_module, DetectorStage) or not trainer.is_global_zero:
            return
        from mask_sup.files.pictures import write_png
        from mask_sup.method.visualize import named, of_several_people, stage_sheet, views_of

        if self.views is None:
            dataset = trainer.datamodule.dataset("val")
            which = of_several_people(dataset.moments, self.moments)
            self.names = [named(dataset.moments[i]) for i in which]
            self.views = move_data_to_device(views_of(dataset, which), pl_module.device)
        title = f"{self.folder.parent.name}, step {trainer.global_step}: validation moments"
        sheet = stage_sheet(pl_module, self.views, self.names, title)
        path = self.folder / f"{trainer.global_step:06d}.png"
        write_png(path, sheet)
        for logger in trainer.loggers:
            if hasattr(logger, "log_image"):
                logger.log_image("overlays", [str(path)], step=trainer.global_step)


class Redraw(Callback):
    """Has the report of the run drawn anew after validations, for a twentieth of the time at most.

    Args:
        draw: Draws it from the files of the run.
    """

    SHARE = 0.05  # of the time that a stage takes

    def __init__(self, draw: Callable[[], None]):
        self.draw, self.due = draw, 0.0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write out what is logged so far, and draw."""
        begun = time.monotonic()
        if not trainer.is_global_zero or begun < self.due:
            return
        for logger in trainer.loggers:
            logger.save()
        self.draw()
        ended = time.monotonic()
        self.due = ended + (ended - begun) / self.SHARE
