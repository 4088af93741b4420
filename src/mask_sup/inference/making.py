"""What an input allows: a fitter where calibrated views have masks, a predictor for its crops."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mask_sup.data.moments import Moment
from mask_sup.figure.skeleton import Skeleton
from mask_sup.files.build import build
from mask_sup.fitting.fitter import PoseFitter
from mask_sup.inference.measures import WITH_WORLD
from mask_sup.inference.poses import Predictor
from mask_sup.models.detector import Detector

__all__ = ["FINE", "fitter_for", "predictor_for"]

FINE = 2  # pixels of a mask that is kept, along a side, for each that poses are fitted to


def fitter_for(
    moments: Sequence[Moment], skeleton: Skeleton, fit: bool | None, nodes: Mapping[str, Any]
) -> PoseFitter | None:
    """What fits poses to the masks of calibrated views, or judges them (`fit=False`) by these.

    Args:
        moments: What is predicted.
        skeleton: The detector's.
        fit: Whether fitting was asked for; None: wherever it can be done.
        nodes: The config's `anatomy`, `body` and `fitter`.

    Returns:
        None where one of these is lacking.

    Raises:
        ValueError: If `fit` is true and cannot be done.
    """
    lacking = []
    if len(moments[0].views) < WITH_WORLD:
        lacking.append("two views or more")
    if not all(np.isfinite(view.K).all() for view in moments[0].views):
        lacking.append("a calibration")
    if any(view.mask is None for moment in moments for view in moment.views):
        lacking.append("a mask for each picture")
        if len(lacking) == 1 and fit is None:
            print("no poses are fitted: that takes masks of the calibrated views (masks=<folder>)")
    if lacking and fit is not True:
        return None
    if lacking:
        raise ValueError(
            f"fit=true explains the masks of calibrated views: this input lacks "
            f"{' and '.join(lacking)}; without, use fit=false: the detector alone"
        )
    anatomy, body = (build(nodes[part], part, skeleton=skeleton) for part in ("anatomy", "body"))
    return build(nodes["fitter"], "fitter", body=body, anatomy=anatomy)


def predictor_for(
    detector: Detector,
    trained: Mapping[str, Any],
    fitter: PoseFitter | None,
    fit: bool | None,
    person_height: float,
    device: str = "cpu",
) -> Predictor:
    """A predictor whose crops are as the detector was trained on them.

    Args:
        detector: On the device.
        trained: Node `data` of the config that it was trained with.
        fitter: As `fitter_for` gives it.
        fit: As above; false: the fitter only judges.
        person_height: Stature in mm of whoever is seen by one view alone.
        device: Where the detector is.
    """
    settings = {
        "image_size": trained["image_size"],
        "mask_size": trained["mask_size"] if fitter is None else FINE * fitter.body.size,
        "padding": trained["padding"],
        "mask_input": detector.mask_input,
    }
    return Predictor(detector, settings, fitter, fit is not False, person_height, device)
