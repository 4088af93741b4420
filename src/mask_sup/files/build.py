"""How a config node becomes an object, and what may become one.

A node names its class (`_target_`) and holds that class's parameters. Configs come from others,
too: in checkpoints, in run folders. So a node becomes an object of its kind and nothing else: what
the key `detector` may name is a list, and so is what the key `backbone` inside it may. Packages of
one's own are added by name: on the command line (`trust=[my_package]`), by `trust` in Python, or by
an entry point in the group `mask_sup.plugins` of an installed package; never by a file.
"""

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any

from omegaconf import DictConfig, open_dict

from mask_sup.files.config import plain

__all__ = ["KINDS", "build", "trust", "trust_from_command_line"]

KINDS: Mapping[str, tuple[str, ...]] = {
    "skeleton": ("mask_sup.figure.skeleton.FreeKeypoints", "mask_sup.figure.skeleton.Skeleton"),
    "skeleton.labelled": ("mask_sup.figure.skeleton.Skeleton",),
    "anatomy": ("mask_sup.figure.anatomy.Anatomy", "mask_sup.figure.anatomy.NoAnatomy"),
    "body": ("mask_sup.figure.body.Body",),
    "detector": ("mask_sup.models.detector.Detector",),
    "detector.backbone": (
        "mask_sup.models.hourglass.StackedHourglass",
        "mask_sup.models.patch.PatchPyramid",
        "mask_sup.models.resnet.ResNet50",
    ),
    "detector.head": (
        "mask_sup.models.detector.FactorisedHead",
        "mask_sup.models.detector.VolumeHead",
    ),
    "renderer": (
        "mask_sup.figure.render.GaussianRenderer",
        "mask_sup.figure.render.SkeletonRenderer",
    ),
    "shape_prior": (
        "mask_sup.models.shape_prior.PatchShapePrior",
        "mask_sup.models.shape_prior.ShapePrior",
    ),
    "geodesic": ("mask_sup.geometry.geodesic.GeodesicWeight",),
    "fitter": ("mask_sup.fitting.fitter.PoseFitter",),
    "fuse": (
        "mask_sup.geometry.triangulate.Independent",
        "mask_sup.geometry.triangulate.Triangulate",
    ),
    "cascade.*.module": (
        "mask_sup.method.regression.SupervisedStage",
        "mask_sup.method.relabel.RelabelStage",
        "mask_sup.method.stages.ArmsStage",
        "mask_sup.method.stages.PhysiqueStage",
        "mask_sup.method.stages.SkeletonStage",
    ),
    "optimizer": ("mask_sup.method.optim.Muon",),  # and every optimiser of torch.optim
    "trainer": ("lightning.pytorch.Trainer",),
    "logger": ("mask_sup.files.loggers.csv_loggers", "mask_sup.files.loggers.wandb_loggers"),
    "data": ("mask_sup.data.datamodule.PoseDataModule", "mask_sup.data.mix.MixedDataModule"),
    "data.parts.*": ("mask_sup.data.datamodule.PoseDataModule",),
    "data.source": (
        "mask_sup.data.images.ImagesData",
        "mask_sup.data.manifest.PreparedData",
        "mask_sup.data.recording.RecordingData",
        "mask_sup.synthetic.data.SyntheticData",
    ),
    "extractor": (  # and the one that seeds it, extractor.seed
        "mask_sup.masks.background.BackgroundModel",
        "mask_sup.masks.background.Plate",
        "mask_sup.masks.chroma.ChromaKey",
        "mask_sup.masks.graph_cut.GraphCut",
        "mask_sup.masks.learned.MediaPipe",
        "mask_sup.masks.learned.Rembg",
        "mask_sup.masks.learned.Sam",
        "mask_sup.masks.precomputed.Precomputed",
    ),
}
"""Where a node stands -> what it may name."""
PLUGINS = "mask_sup.plugins"
_trusted: set[str] = set()


class NodeError(TypeError, ValueError):
    """A node's keys or values are not those that its class expects: an error about input."""


def trust(*packages: str) -> None:
    """Let config nodes name classes and functions of these packages, in this process.

    Their code runs as yours does: trust what you would install.

    Raises:
        ValueError: If a name is none of a top-level package.
    """
    for package in packages:
        if not package.isidentifier():
            raise ValueError(f"trust names top-level packages like my_package, got {package!r}")
    _trusted.update(packages)


def trust_from_command_line(cfg: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Trust what the command line names, and take the key out of the config.

    Raises:
        ValueError: If a config file names it: a file must not be able to.
    """
    with open_dict(cfg):
        told = plain(cfg.pop("trust", None)) or []
    if told and not any(word.lstrip("+").startswith("trust=") for word in overrides):
        raise ValueError(
            f"a config file asks to trust {told}: name packages on the command line, trust={told}"
        )
    trust(*told)
    return cfg


def build(node: Any, key: str, **objects: Any) -> Any:
    """The object that a config node describes: its `_target_`, called with its keys and `objects`.

    Nested nodes are built first.

    Args:
        node: Plain values or OmegaConf's.
        key: Where the node stands in the config, `detector` or `cascade.arms.module`: decides what
            it may name, and is told in errors.
        objects: More parameters.

    Raises:
        ValueError: If the node has no `_target_`, or names what its kind does not allow.
        NodeError: If a key is not a parameter of the target, one is missing, or a value is of
            another kind than the target expects.
    """
    node = plain(node)
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise ValueError(
            f"{key}: expected a config node with a _target_, got {node!r}: choose an option of its "
            "group"
        )
    function = _target(node["_target_"], key)
    keys = {
        name: _built(value, f"{key}.{name}")
        for name, value in node.items()
        if name not in ("_target_", "_partial_")
    }
    call = functools.partial(function, **keys, **objects)
    told = f"{key}: cannot build {node['_target_']} from the keys {sorted(map(str, node))}"
    if node.get("_partial_"):
        return functools.partial(_called, told, (TypeError,), call)
    # Values of another kind than the class expects: a text for a list, too few of them.
    kinds = TypeError, AttributeError, ArithmeticError, LookupError, RuntimeError
    return _called(told, kinds, call)


def _called(told: str, kinds: tuple, call: Callable, *given: Any, **more: Any) -> Any:
    """What a node's call gives; its errors of these kinds are the node's."""
    try:
        return call(*given, **more)
    except kinds as error:
        raise NodeError(f"{told}: {error}") from error


def _built(value: Any, key: str) -> Any:
    """A value of a node, with the nodes in it built."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            return build(value, key)
        return {name: _built(inner, f"{key}.{name}") for name, inner in value.items()}
    if isinstance(value, list):
        return [_built(inner, f"{key}.{i}") for i, inner in enumerate(value)]
    if _kind(key) is not None:
        raise ValueError(f"{key}: expected a config node with a _target_, got {value!r}")
    return value


def _kind(key: str) -> str | None:
    """The entry of `KINDS` for a place: `data.parts.h36m.source` is a `data.source`."""
    words = key.split(".")
    if words[:2] == ["data", "parts"] and len(words) > 3:
        words = ["data", *words[3:]]
    while words[0] == "extractor" and words[-1] == "seed":
        words.pop()
    for kind in KINDS:
        pattern = kind.split(".")
        if len(pattern) == len(words) and all(
            p in ("*", w) for p, w in zip(pattern, words, strict=True)
        ):
            return kind
    return None


def _target(target: Any, key: str) -> Any:
    """What a `_target_` names, if it may stand at `key`.

    Raises:
        ValueError: If it may not, or there is no such thing.
    """
    allowed = KINDS.get(_kind(key) or "", ())
    if isinstance(target, str) and target in allowed:
        return _imported(target)
    if isinstance(target, str) and key == "optimizer" and target.startswith("torch.optim."):
        found = _optimiser(target.removeprefix("torch.optim."))
        if found is not None:
            return found
    if isinstance(target, str) and _is_trusted(target):
        return _of_package(target, key)
    told = f"{target!r:.200}"
    if key == "optimizer":
        allowed = (*allowed, "torch.optim.<optimiser>")
    raise ValueError(
        f"{key}._target_ {told} is refused: expected one of {list(allowed)}, or a class of a "
        "package of yours that the command line trusts (trust=[my_package])"
    )


def _imported(target: str) -> Any:
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _optimiser(name: str) -> Any:
    """An optimiser of torch; None if it has none of that name."""
    import torch

    found = getattr(torch.optim, name, None) if name.isidentifier() else None
    base = torch.optim.Optimizer
    known = isinstance(found, type) and issubclass(found, base) and found is not base
    return found if known else None


def _is_trusted(target: str) -> bool:
    package = target.partition(".")[0]
    if package == "mask_sup" or "." not in target:
        return False
    return package in _trusted or package in _plugins()


@functools.cache
def _plugins() -> frozenset[str]:
    """Packages that are installed with an entry point for us: who installs them trusts them."""
    found = (entry.value.partition(":")[0] for entry in entry_points(group=PLUGINS))
    return frozenset(module.partition(".")[0] for module in found)


def _of_package(target: str, key: str) -> Any:
    """A class or function that a trusted package itself defines.

    Raises:
        ValueError: If there is no such thing, or it is from elsewhere: a path through a module of
            the package leads out of it (`my_package.os.system`).
    """
    package = target.partition(".")[0]
    try:
        found = _imported(target)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{key}._target_ {target}: there is no such thing ({error})") from error
    home = getattr(found, "__module__", None) or ""
    if not callable(found) or home.partition(".")[0] != package:
        raise ValueError(
            f"{key}._target_ {target} is refused: expected a class or function that {package} "
            f"defines, this one is from {home!r}"
        )
    return found
