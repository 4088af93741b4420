"""3D human pose from masks alone."""

from importlib import import_module
from typing import Any

__all__ = ["Batch", "Camera", "Detector", "Labels", "Skeleton", "Views", "load", "trust"]

_HOME = {
    "Batch": "geometry.batch",
    "Camera": "geometry.batch",
    "Labels": "geometry.batch",
    "Views": "geometry.batch",
    "Detector": "models.detector",
    "Skeleton": "figure.skeleton",
    "load": "models.checkpoint",
    "trust": "files.build",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when they are used: help and config errors stay fast."""
    if name not in _HOME:
        raise AttributeError(f"module 'mask_sup' has no attribute {name!r}")
    return getattr(import_module(f"mask_sup.{_HOME[name]}"), name)
