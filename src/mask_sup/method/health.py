"""What goes wrong while masks teach poses, by name, measured without labels, and what helps.

Each measure is a share in [0, 1] of joints, limbs, poses or views; above its limit the trouble is
named once per stage, with the override that helps.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn import functional as F

from mask_sup.figure.body import Body
from mask_sup.files.disk import write_file
from mask_sup.geometry.batch import Batch, Views
from mask_sup.method.stages import CascadeStage, Drawn

__all__ = ["TROUBLES", "HealthMonitor", "Trouble", "check_up"]

COLLAPSED_CROP = 0.02  # bones shorter than this share of the crop's half side are no bones
FOLDED = 0.7  # cosine of the angle at an elbow or knee beyond which a limb is folded: 45 degrees
OUTSIDE = 0.06  # crop units by which a joint may stand off the mask


class Trouble(NamedTuple):
    """A pathology of mask training."""

    limit: float
    says: str
    helps: str


TROUBLES: Mapping[str, Trouble] = {
    "upside_down": Trouble(
        0.5, "poses stand on their heads", "weights.upright=20 upright_steps=300"
    ),
    "collapsed": Trouble(0.3, "bones have shrunk to points", "anatomy=human weights.too_short=20"),
    "zigzag": Trouble(
        0.4, "legs or arms are folded up", "width_start=2.5 width_steps=1000 weights.constancy=10"
    ),
    "views_disagree": Trouble(
        0.25, "views of one scene name left and right apart", "a relabel stage (cascade=quick)"
    ),
    "dead_psi": Trouble(
        0.5, "the Physique Mask does not follow the skeleton", "ramp_steps=500 weights.physique=1"
    ),
    "leaking": Trouble(0.3, "joints lie off the mask", "weights.skeleton=10 width_start=2.5"),
}


def check_up(drawn: Drawn, views: Views, body: Body, physique: Tensor | None) -> dict[str, float]:
    """The measures of one batch, by the names of `TROUBLES`.

    Args:
        drawn: What a stage has drawn.
        views: The masks it was drawn for.
        body: Which joints make limbs and trunk.
        physique: Physique Masks of the batch (n v h w); None: no psi in this stage.
    """
    xy, skeleton = drawn.fused.xy.detach(), body.skeleton
    low, high = body.trunk
    measures = {"upside_down": (xy[..., high, 1] > xy[..., low, 1]).float().mean()}
    a, b = (list(ends) for ends in zip(*skeleton.tree, strict=True))
    lengths = (xy[..., b, :] - xy[..., a, :]).norm(dim=-1)
    measures["collapsed"] = (lengths.amax((0, 1)) < COLLAPSED_CROP).float().mean()
    limbs = torch.tensor([*body.legs, *body.arms], device=xy.device)
    base, middle, tip = (xy[..., limbs[:, k], :] for k in range(3))
    folded = F.cosine_similarity(base - middle, tip - middle, dim=-1) > FOLDED
    measures["zigzag"] = folded.float().mean()
    if drawn.fused.joints_world is not None:
        raw = drawn.joints_crop[..., :2].detach()
        as_named = (raw - xy).norm(dim=-1).mean(-1)
        renamed = (raw[..., skeleton.flip, :] - xy).norm(dim=-1).mean(-1)
        measures["views_disagree"] = (renamed < as_named).float().mean()
    reach = max(1, round(OUTSIDE / 2 * views.mask.shape[-1]))
    inside = F.max_pool2d(views.mask, 2 * reach + 1, stride=1, padding=reach)
    value = F.grid_sample(
        inside.flatten(0, 1)[:, None], xy.flatten(0, 1)[:, None], align_corners=False
    )
    measures["leaking"] = (value < 0.5).float().mean()
    if physique is not None:
        spread = physique.detach().flatten(2).std(-1)
        measures["dead_psi"] = (spread < 0.05).float().mean()
    return {name: float(value) for name, value in measures.items()}


class HealthMonitor(Callback):
    """Measures the troubles of a stage at every validation, logs them, and warns of each once.

    Args:
        path: Where the newest measures go, with their limits and what helps, as JSON.
    """

    def __init__(self, path: Path):
        self.path = path
        self.named: set[str] = set()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Look at the first batch."""
        if batch_idx or not isinstance(pl_module, CascadeStage) or pl_module.body is None:
            return
        with torch.no_grad():
            drawn = pl_module.draw(batch.views)
            prior = getattr(pl_module, "shape_prior", None)
            physique = None if prior is None else prior(drawn.skeleton_mask)
        found = check_up(drawn, batch.views, pl_module.body, physique)
        told = {f"health/{name}": value for name, value in found.items()}
        pl_module.log_dict(told, sync_dist=True)
        if trainer.is_global_zero:
            newest = {n: {"value": v, **TROUBLES[n]._asdict()} for n, v in found.items()}
            write_file(self.path, json.dumps(newest, indent=2))
        for name, value in found.items():
            trouble = TROUBLES[name]
            if value > trouble.limit and name not in self.named and trainer.global_step:
                self.named.add(name)
                warnings.warn(
                    f"step {trainer.global_step}: {trouble.says} ({name} {value:.0%}, usual is "
                    f"below {trouble.limit:.0%}); this helps: {trouble.helps}",
                    stacklevel=2,
                )
