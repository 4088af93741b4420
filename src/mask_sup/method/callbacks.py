"""What happens beside training: the config in every checkpoint, and pictures of the progress."""

from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch.callbacks import RichProgressBar

from mask_sup.data.moments import expand
from mask_sup.geometry.batch import Views
from mask_sup.method.stages import CascadeStage

__all__ = ["LogOverlays", "SaveConfig", "StageProgress"]


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
    """Writes a sheet of image, mask, skeleton mask, physique mask, weights and 3D pose.

    The same few validation moments at every validation, to `folder/<step>.png` and to W&B.

    Args:
        folder: Where the sheets go.
        moments: How many moments are drawn.
    """

    def __init__(self, folder: Path, moments: int = 2):
        self.folder, self.moments = folder, moments
        self.views: Views | None = None

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the sheet."""
        if not isinstance(pl_module, CascadeStage) or not trainer.is_global_zero:
            return
        from mask_sup.files.pictures import write_png
        from mask_sup.method.visualize import stage_sheet

        if self.views is None:
            dataset = trainer.datamodule.dataset("val")
            picks = torch.linspace(0, len(dataset) - 1, min(self.moments, len(dataset))).int()
            items = [dataset[int(i)] for i in picks]
            batch = expand(torch.utils.data.default_collate(items))
            self.views = move_data_to_device(batch.views, pl_module.device)
        sheet = stage_sheet(pl_module, self.views)
        path = self.folder / f"{trainer.global_step:06d}.png"
        write_png(path, sheet)
        for logger in trainer.loggers:
            if hasattr(logger, "log_image"):
                logger.log_image("overlays", [str(path)], step=trainer.global_step)
