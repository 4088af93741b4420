"""What a detector sees in moments: crops read and looked at in threads."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from rich.progress import track
from torch import Tensor

from mask_sup.data.boxes import look_for
from mask_sup.data.moments import Crop, Moment, crop_view
from mask_sup.files.ahead import ahead
from mask_sup.geometry.batch import Camera
from mask_sup.geometry.camera import fold_crop
from mask_sup.models.detector import Detector

__all__ = ["BATCH", "Seen", "cameras_of", "look"]

BATCH = 16  # views


class Seen(NamedTuple):
    """What a detector sees in moments that have the same number of views."""

    joints: Float[Tensor, "n v j 3"]
    """Crop coordinates."""
    mask: Float[Tensor, "n v h w"]
    """In [0, 1], NaN where a picture ends and the person may go on."""
    boxes: Float[np.ndarray, "n v 3"]
    """Left, top and side of the crops, pixels."""
    sizes: Float[np.ndarray, "n v 2"]
    """Width and height of the pictures, pixels."""


def look(
    detector: Detector, settings: Mapping[str, Any], moments: Sequence[Moment], device: str = "cpu"
) -> Seen:
    """Detections in all views of moments, with a progress bar.

    Each of several threads reads, crops and looks at a batch of its own: threads that shared one
    would wait for each other.

    Args:
        detector: On the device.
        settings: Of `mask_sup.data.moments.crop_view`.
        moments: Whose views are looked at.
        device: Where the detector is.
    """
    views = [view for moment in moments for view in moment.views]
    alone = torch.device(device).type == "cpu"  # others have one batch at a time, of full size
    size = max(1, BATCH // torch.get_num_threads()) if alone else BATCH
    one_by_one = nullcontext() if alone else Lock()

    def detected(crops: list[Crop]) -> Tensor:
        images = torch.from_numpy(np.stack([crop.image for crop in crops]))
        with one_by_one, torch.inference_mode():
            return detector(images.to(device).permute(0, 3, 1, 2).float() / 255).cpu()

    def seen_from(start: int) -> tuple[Tensor, list[tuple]]:
        some = look_for(views[start : start + size], detected, detector.skeleton, settings)
        crops = [crop_view(view, **settings, may_be_empty=True) for view in some]
        return detected(crops), [crop[1:] for crop in crops]  # pictures are let go

    starts = range(0, len(views), size)
    with ahead(seen_from, starts) as seen:
        found, told = zip(*track(seen, "predicting", total=len(starts)), strict=True)
    masks, unknown, boxes, sizes = zip(*(one for some in told for one in some), strict=True)
    shape = (len(moments), len(moments[0].views))
    joints, mask = torch.cat(found).unflatten(0, shape), torch.from_numpy(np.stack(masks)) / 255
    mask[torch.from_numpy(np.stack(unknown))] = torch.nan
    boxes, sizes = np.reshape(boxes, (*shape, 3)), np.reshape(sizes, (*shape, 2))
    return Seen(joints.clone(), mask.unflatten(0, shape), boxes, sizes)


def cameras_of(moments: Sequence[Moment], boxes: Float[np.ndarray, "n v 3"]) -> Camera:
    """Cameras of the crops, (n, v)."""
    views = [view for moment in moments for view in moment.views]
    each = zip(views, boxes.reshape(-1, 3).tolist(), strict=True)
    parts = zip(
        *((fold_crop(view.K, tuple(box)), view.R, view.t) for view, box in each), strict=True
    )
    stacks = (torch.tensor(np.stack(part)).float() for part in parts)
    return Camera(*(stack.unflatten(0, boxes.shape[:2]) for stack in stacks))
