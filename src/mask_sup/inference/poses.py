"""Poses of moments, as `poses.npz` holds them, and what speaks against each."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mask_sup.data.moments import Moment
from mask_sup.files.ahead import unsplit
from mask_sup.files.poses import confidence_of
from mask_sup.fitting.film import fit_film
from mask_sup.fitting.fitter import PoseFitter
from mask_sup.fitting.scenes import Build
from mask_sup.fitting.verdict import judge
from mask_sup.geometry.batch import Camera
from mask_sup.geometry.camera import crop_from_world, is_calibrated, px_from_crop
from mask_sup.geometry.size import area_and_middle, silhouette_sizes
from mask_sup.geometry.triangulate import triangulate_robustly
from mask_sup.inference.looking import Seen, cameras_of, look
from mask_sup.inference.measures import WITH_WORLD, agreement, distort_px, scale_to_height
from mask_sup.models.detector import Detector

__all__ = ["Predictor"]

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Predictor:
    """A detector, and what makes the most of its poses where views are calibrated and masked."""

    detector: Detector
    settings: Mapping[str, Any]
    """Of its crops, see `mask_sup.data.moments.crop_view`."""
    fitter: PoseFitter | None
    """None: there are no masks of calibrated views."""
    search: bool
    """Whether poses are fitted to the masks; otherwise these only judge them as they are."""
    person_height: float
    """Stature in mm of whoever is seen by one view alone."""
    device: str = "cpu"

    def poses(self, moments: Sequence[Moment], subject: Mapping[str, np.ndarray] | None) -> Arrays:
        """All arrays of poses.npz for some moments, and `boxes`.

        Args:
            moments: In the order of time.
            subject: How the person is built, as `subject` tells; None: told from these moments.
        """
        seen = look(self.detector, self.settings, moments, self.device)
        with self._quickly():
            return self._poses(moments, seen, subject)

    def subject(self, moments: Sequence[Moment]) -> Arrays:
        """How the person is built, from moments spread over a recording; {} if they show none."""
        if self.fitter is None:
            return {}
        seen = look(self.detector, self.settings, moments, self.device)
        camera = cameras_of(moments, seen.boxes)
        shown = self.fitter.shows(seen.mask)
        posed = (shown.sum(1) >= WITH_WORLD).nonzero().flatten()
        if not len(posed):
            return {}
        start = triangulate_robustly(seen.joints[..., :2], camera, shown)[posed]
        with self._quickly():
            found = self.fitter.fit(self._recipe, start, camera.part(posed), seen.mask[posed])
        return {name: value.numpy() for name, value in found.build._asdict().items()}

    @property
    def _recipe(self) -> str:
        return "fit" if self.search else "judge"

    def _quickly(self) -> AbstractContextManager:
        """Without a search there is nothing that is worth more than one thread."""
        return nullcontext() if self.search else unsplit()

    def _poses(
        self, moments: Sequence[Moment], seen: Seen, subject: Mapping[str, np.ndarray] | None
    ) -> Arrays:
        """Those of the detector in each view; where these are calibrated, those of the world."""
        joints, mask, boxes, _ = seen
        shown = (mask > 0.5).any(-1).any(-1) if self.fitter is None else self.fitter.shows(mask)
        poses = self._of_views(moments, seen, shown)
        camera = cameras_of(moments, boxes)
        if boxes.shape[1] == 1 or not is_calibrated(camera):
            return poses
        world = triangulate_robustly(joints[..., :2], camera, shown)
        posed = shown.sum(1) >= WITH_WORLD
        if all(view.mask is not None for moment in moments for view in moment.views):
            found = area_and_middle(mask.nan_to_num().numpy())
            poses["size_mm"] = silhouette_sizes(*found, *(part.double().numpy() for part in camera))
        if self.fitter is not None and posed.any():
            world, told = self._judged(self.fitter, posed, world, camera, mask, moments, subject)
            poses |= told
        world[~posed] = torch.nan
        again = _to_px(crop_from_world(world.unsqueeze(1), camera).numpy(), moments, boxes)
        error = np.linalg.norm(again - poses["joints_px"], axis=-1)
        expected = agreed = agreement(error, poses["person_px"])
        if "expected_error_mm" in poses:
            stature = poses.pop("stature_mm")[:, None]
            expected = poses["expected_error_mm"] / stature
            if not self.search:  # else the error is of the detector's, which was a start alone
                expected = np.hypot(expected, agreed)
                poses["expected_error_mm"] = expected * stature
        return poses | {
            "confidence": np.where(posed.numpy()[:, None], confidence_of(expected), 0.0),
            "joints_world_mm": world.numpy(),
            "reprojected_px": again,
            "reprojection_error_px": error,
        }

    def _of_views(
        self, moments: Sequence[Moment], seen: Seen, shown: Bool[Tensor, "n v"]
    ) -> Arrays:
        """What each view tells by itself; NaN where it shows nobody."""
        crop, boxes = seen.joints.numpy(), seen.boxes
        detector, height = self.detector, self.person_height
        poses = {
            "joints_px": _to_px(crop[..., :2], moments, boxes),
            "joints_root_mm": scale_to_height(
                crop, detector.skeleton, detector.depth_range, height
            ),
            "person_px": boxes[..., 2] / self.settings["padding"],
        }
        for values in poses.values():
            values[~shown.numpy()] = np.nan
        return {"boxes": boxes, "picture_size_px": seen.sizes} | poses

    def _judged(
        self,
        fitter: PoseFitter,
        posed: Bool[Tensor, " n"],
        start: Float[Tensor, "n j 3"],
        camera: Camera,
        mask: Float[Tensor, "n v h w"],
        moments: Sequence[Moment],
        subject: Mapping[str, np.ndarray] | None,
    ) -> tuple[Float[Tensor, "n j 3"], Arrays]:
        """Poses that explain the masks, or the start's as they are, and what speaks against them.

        Moments that are not `posed`, as too few views show somebody, keep their start and get NaN;
        those before and after such a gap do not follow each other in time.
        """
        which = posed.nonzero().flatten()
        known = None
        if subject:
            known = Build(*(torch.from_numpy(subject[name]) for name in Build._fields))
        gaps = (which.diff(prepend=which[:1]) > 1).cumsum(0).tolist()
        some = [moments[i] for i in which.tolist()]
        names = [(m.sequence or m.name, gap) for m, gap in zip(some, gaps, strict=True)]
        number = {name: i for i, name in enumerate(dict.fromkeys(names))}
        sequence = torch.tensor([number[name] for name in names])
        camera, foreground = camera.part(which), mask[which]
        if self.search:
            found = fit_film(fitter, start[which], camera, foreground, sequence, known)
        else:
            found = fitter.fit(self._recipe, start[which], camera, foreground, build=known)
        start[which] = found.joints_world
        verdict = judge(fitter, found, camera, foreground, sequence)
        told = {
            "unexplained": found.unexplained,
            "unexplained_view": verdict.unexplained_view,
            "unexplained_limb": verdict.unexplained_limb,
            "strain": verdict.strain,
            "front": found.front,
            "expected_error_mm": verdict.expected_mm,
            "stature_mm": torch.full((len(which),), fitter.stature(found.build)),
        }

        def everywhere(values: Tensor) -> np.ndarray:
            whole = np.full((len(moments), *values.shape[1:]), np.nan, np.float32)
            whole[which.numpy()] = values.numpy()
            return whole

        return start, {name: everywhere(values) for name, values in told.items()}


def _to_px(
    xy: Float[np.ndarray, "n v j 2"], moments: Sequence[Moment], boxes: Float[np.ndarray, "n v 3"]
) -> Float[np.ndarray, "n v j 2"]:
    """Crop coordinates -> pixels of the pictures as they were taken."""
    views = [view for moment in moments for view in moment.views]
    each = zip(xy.reshape(-1, *xy.shape[2:]), boxes.reshape(-1, 3).tolist(), views, strict=True)
    pixels = [distort_px(px_from_crop(one, tuple(box)), view) for one, box, view in each]
    return np.stack(pixels).reshape(xy.shape)
