"""Pseudo-labels: poses found without labels, for stages to learn from or to hold on to."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mask_sup.files.disk import check_arrays, whole
from mask_sup.files.poses import USUAL
from mask_sup.fitting.fitter import Fitted
from mask_sup.metrics import flip_gain, joint_distances, root_relative

__all__ = ["PseudoPoses"]


class PseudoPoses:
    """A pose for each moment of the training data, and which of them to trust.

    Empty until a relabelling round has filled it; kept as `poses.npz` in the folder of its stage.
    """

    def __init__(self):
        self.joints_world = torch.zeros(0, 0, 3)
        self.kept = torch.zeros(0, dtype=torch.bool)
        self.residual, self.unexplained = torch.zeros(0), torch.zeros(0)
        self.front = torch.zeros(0)
        self.lengths, self.radius = torch.zeros(0), torch.zeros(0)

    def fill(
        self,
        moments: int,
        which: Int[Tensor, " n"],
        found: Fitted,
        kept: Bool[Tensor, " n"],
    ) -> None:
        """Take a round's result.

        Args:
            moments: Number of moments in the data set.
            which: Those that were looked at.
            found: Their poses, how badly they explain the masks, how surely they are named, and how
                people are built; the next round starts from that.
            kept: Which of them to learn from.
        """
        joints, (self.lengths, self.radius) = found.joints_world, found.build
        self.joints_world = joints.new_zeros(moments, *joints.shape[1:])
        self.kept = torch.zeros(moments, dtype=torch.bool)
        self.residual, self.unexplained, self.front = torch.full((3, moments), torch.nan).unbind()
        self.joints_world[which], self.kept[which] = joints, kept
        self.residual[which], self.front[which] = found.residual, found.front
        self.unexplained[which] = found.unexplained

    def at(self, index: Int[Tensor, " n"]) -> tuple[Float[Tensor, "n j 3"], Bool[Tensor, " n"]]:
        """The poses of moments, mm, and whether each is trusted.

        Raises:
            RuntimeError: Before any round.
        """
        if not len(self.kept):
            raise RuntimeError(
                "no pseudo-labels yet: put a relabel stage before this one, or set its weight of "
                "`anchor` to 0"
            )
        where = index.to(self.kept.device)
        return self.joints_world[where].to(index.device), self.kept[where].to(index.device)

    def monitors(self) -> dict[str, float]:
        """What tells without labels how pure they are: share kept, residual, unexplained, front."""
        seen, kept = ~self.residual.isnan(), self.kept
        return {
            "kept_pct": 100 * float(kept.sum() / seen.sum()),
            "residual_all": float(self.residual[seen].median()),
            "residual_kept": float(self.residual[kept].median()),
            "unexplained_pct": 100 * float(self.unexplained[seen].median()),
            "front_kept": float(self.front[kept].median()),
        }

    def doubt_in_words(self) -> str:
        """What the masks have against most poses; empty where they are explained as usual."""
        least, most = (100 * share for share in USUAL)
        told = self.monitors()["unexplained_pct"]
        if told <= most:
            return ""
        return (
            f"poses leave {told:.0f} % of the masks unexplained (median), where {least:.0f} to "
            f"{most:.0f} % are usual: the masks are rough, hold something that is no person or "
            "lack a part, or the calibration is wrong: see masks check and calibration check"
        )

    def purity(
        self, labels: Float[Tensor, "n j 3"], root: int, flip: Sequence[int]
    ) -> dict[str, float]:
        """How pure the kept ones are against labels, for evaluation alone; NaN without labels."""
        poses, truth = (root_relative(x[self.kept], root) for x in (self.joints_world, labels))
        return {
            "mpjpe_kept_mm": float(joint_distances(poses, truth).mean()),
            "named_right_kept_pct": 100 * float((flip_gain(poses, truth, flip) <= 0).float().mean())
            if truth.isfinite().all()
            else math.nan,
        }

    def save(self, path: Path, names: list[str]) -> None:
        """Write them with the names of their moments."""
        arrays = {key: value.numpy() for key, value in vars(self).items()}
        with whole(path, to_disk=True) as (part,), part.open("wb") as file:
            np.savez_compressed(file, names=np.array(names), **arrays)

    def load(self, path: Path, names: list[str]) -> None:
        """Read them.

        Raises:
            ValueError: If they belong to other moments, or an earlier version wrote them.
        """
        check_arrays(path)
        with np.load(path, allow_pickle=False) as file:
            if file["names"].tolist() != names:
                raise ValueError(
                    f"{path} holds poses of other moments than this data set: remove that folder"
                )
            if missing := sorted(set(vars(self)) - set(file.files)):
                raise ValueError(
                    f"{path} lacks {missing}, an earlier version wrote it: remove that folder"
                )
            for key in vars(self):
                setattr(self, key, torch.from_numpy(file[key]))
