"""The import: a model of trained weights, and poses of pictures; neither Hydra nor Lightning.

    model = mask_sup.load()
    poses = model.predict("pictures", masks="masks")

It does what `python -m mask_sup.predict` does, by the same code; what is made of files is the same.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mask_sup.figure.skeleton import Skeleton
from mask_sup.models import checkpoint
from mask_sup.models.detector import Detector
from mask_sup.models.shipped import SHIPPED

if TYPE_CHECKING:
    from mask_sup.inference.results import Poses

__all__ = ["Model", "load"]

PERSON_HEIGHT = 1700.0  # mm


def load(path: str | Path = SHIPPED, device: str = "cpu") -> "Model":
    """A trained model.

    Args:
        path: A training's checkpoint, or a folder of `Model.save_pretrained`; without one, the
            weights that come with the package.
        device: Where it runs: `cpu`, `cuda`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no checkpoint of this package. Nothing in it is run.
    """
    return Model(checkpoint.load(path), str(path), device)


class Model:
    """A detector of joints, and all that makes poses of what it sees.

    Args:
        detector: With its `card`, as `mask_sup.models.checkpoint.load` gives it.
        name: Where it is from, as poses.npz tells it.
        device: Where it runs.
    """

    def __init__(self, detector: Detector, name: str, device: str = "cpu"):
        self.detector, self.name, self.device = detector.to(device), name, device
        self.card: Mapping[str, Any] = dict(detector.card)
        """What is known of the weights: `config` and `settings`, of shipped ones `figures`, too."""

    @property
    def skeleton(self) -> Skeleton:
        """The figure: names, tree and sides of its joints."""
        return self.detector.skeleton

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the joints."""
        return tuple(self.skeleton.joints)

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str = "cpu") -> "Model":
        """The same as `mask_sup.load`: nothing in the folder is run."""
        return load(folder, device)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write weights (safetensors), their card (JSON) and a README.md; returns the folder.

        The card has the config that inference needs, what the weights and all their ancestors were
        given, and figures where they are known.
        """
        from mask_sup.method.settings import of_checkpoint
        from mask_sup.models.handing_on import save_pretrained

        return save_pretrained(self.detector, of_checkpoint(self.card), Path(folder).expanduser())

    def to_onnx(self, path: str | Path) -> Path:
        """Write the detector alone as ONNX, any number of crops at a time; returns the path.

        `image` (n, 3, h, w) RGB in [0, 1] -> `joints_crop` (n, j, 3), by the README's conventions.

        Raises:
            ImportError: If the packages that write ONNX are missing.
        """
        from mask_sup.models.handing_on import onnx_file

        return onnx_file(self.detector, Path(path).expanduser())

    def __repr__(self) -> str:
        masked = "masked pictures" if self.detector.mask_input else "whole pictures"
        return f"<Model {self.name}: {len(self.names)} joints of {self.skeleton.name}, {masked}>"

    def predict(
        self,
        images: Any,
        masks: Any = None,
        cameras: Any = None,
        boxes: Any = None,
        *,
        fit: bool | None = None,
        person_height: float = PERSON_HEIGHT,
        every: int = 1,
        seed: int = 0,
    ) -> "Poses":
        """Poses of one person in pictures.

        Args:
            images: A picture, or many: arrays or tensors (h, w, 3) RGB, uint8 or in [0, 1]; a list
                of them or of files; the path of a picture, a folder, a video or a recording. With
                `cameras`: camera's name -> its picture, or its pictures over time; or a list.
            masks: Of the person, one for each picture, in the same form, (h, w); or a folder of
                them. A recording brings its own.
            cameras: Name -> `mask_sup.Camera`, a list of them, or the path of a calibration. A
                recording brings its own. Joints are then triangulated, in the world, mm.
            boxes: Of the person where there are no masks: left, top, width and height in pixels,
                for all pictures or for each; or a CSV file. With neither, the detector looks again
                where it found joints, if it was trained on whole pictures.
            fit: Whether poses that explain the masks are searched for; None: wherever calibrated
                views have masks. False: the detector alone, and masks only judge it.
            person_height: Stature in mm, the scale of single views: a picture cannot know it.
            every: Every n-th frame of a path.
            seed: Of the search.

        Raises:
            FileNotFoundError: If a picture or a mask is missing.
            ValueError: If pictures, masks and cameras do not go together, there are both masks and
                boxes, or masks are lacking for weights that learned from masked pictures.
        """
        from mask_sup.calibration.camera import calibration_of
        from mask_sup.data.moments import check_views
        from mask_sup.files.config import option
        from mask_sup.inference.arrays import boxed, moments_of_pictures, moments_of_rig
        from mask_sup.inference.inputs import box_from, input_fps, input_moments
        from mask_sup.inference.making import fitter_for, predictor_for
        from mask_sup.inference.parts import in_parts
        from mask_sup.inference.results import Request, gathered
        from mask_sup.method.settings import at_test, of_checkpoint

        source = Path(images).expanduser() if isinstance(images, str | Path) else None
        box, fps, keep = box_from(source, masks, boxes), None, None
        if self.detector.mask_input and box != "mask":
            raise ValueError(
                "these weights learned from masked pictures: expected masks=, one for each "
                "picture\n  python -m mask_sup.masks makes some of videos"
            )
        rig = None if cameras is None else calibration_of(cameras)
        if rig is not None:
            moments = moments_of_rig(images, masks, rig)
        elif source is None:
            moments = moments_of_pictures(images, masks)
        else:
            keep = tempfile.TemporaryDirectory(prefix="mask_sup_")  # of the frames of a video
            moments = input_moments(source, masks, every, Path(keep.name), box == "mask")
            fps = input_fps(source, every)
        if box == "given":
            moments = boxed(moments, boxes, rig)
        check_views([view for moment in moments for view in moment.views])
        nodes = {"anatomy": option("anatomy", "human"), "body": option("body", "human")}
        nodes["fitter"] = option("fitter", "masks", seed=seed)
        fitter = fitter_for(moments, self.skeleton, fit, nodes)
        config = self.card["config"]
        predictor = predictor_for(
            self.detector, config["data"], fitter, fit, person_height, self.device
        )
        arrays = in_parts(predictor, moments)
        fitted = fitter if fit is not False else None
        facts = of_checkpoint(self.card) | at_test(config["detector"], fitted, box)
        request = Request(self.name, str(source or "arrays"), every, person_height)
        return gathered(arrays, predictor, moments, request, facts, box, fps, keep)
