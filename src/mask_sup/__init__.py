"""3D human pose from masks alone.

model = mask_sup.load()
poses = model.predict("pictures", masks="masks")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mask_sup import metrics
    from mask_sup.calibration import read_calibration
    from mask_sup.calibration.camera import Camera
    from mask_sup.figure.render import render
    from mask_sup.figure.skeleton import Skeleton
    from mask_sup.files.build import trust
    from mask_sup.inference.results import Poses
    from mask_sup.inference.triangulation import triangulate
    from mask_sup.model import Model, load

    __version__: str

__all__ = [
    "Camera",
    "Model",
    "Poses",
    "Skeleton",
    "__version__",
    "load",
    "metrics",
    "read_calibration",
    "render",
    "triangulate",
    "trust",
]

_HOME = {
    "Camera": "calibration.camera",
    "Model": "model",
    "Poses": "inference.results",
    "Skeleton": "figure.skeleton",
    "load": "model",
    "read_calibration": "calibration",
    "render": "figure.render",
    "triangulate": "inference.triangulation",
    "trust": "files.build",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are used: help and config errors stay fast."""
    if name == "metrics":
        return import_module("mask_sup.metrics")
    if name == "__version__":
        from importlib.metadata import version

        return version("mask-sup")
    if name not in _HOME:
        raise AttributeError(f"module 'mask_sup' has no attribute {name!r}")
    return getattr(import_module(f"mask_sup.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """The public names alone."""
    return __all__
