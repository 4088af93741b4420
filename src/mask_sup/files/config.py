"""The root schemas, where `conf/` is, and what a run folder says."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf

from mask_sup.files.usage import conf_folder

__all__ = ["Config", "conf_dir", "load_config", "plain", "renamed"]

MOVED = {  # checkpoints and run folders of version 0.1 name modules by where they were
    "mask_sup.anatomy": "mask_sup.figure.anatomy",
    "mask_sup.body": "mask_sup.figure.body",
    "mask_sup.data.synthetic": "mask_sup.synthetic.data",
    "mask_sup.fitting": "mask_sup.fitting.fitter",
    "mask_sup.method.fitting": "mask_sup.fitting.fitter",
    "mask_sup.geodesic": "mask_sup.geometry.geodesic",
    "mask_sup.loggers": "mask_sup.files.loggers",
    "mask_sup.optim": "mask_sup.method.optim",
    "mask_sup.regression": "mask_sup.method.regression",
    "mask_sup.relabel": "mask_sup.method.relabel",
    "mask_sup.render": "mask_sup.figure.render",
    "mask_sup.skeleton": "mask_sup.figure.skeleton",
    "mask_sup.stages": "mask_sup.method.stages",
    "mask_sup.triangulate": "mask_sup.geometry.triangulate",
}


@dataclass
class Without:
    """Ablations are subtractions: what the paper's Table 3 leaves out."""

    psi: bool = False
    G: bool = False
    Delta: bool = False


@dataclass
class Config:
    """Keys of a training run. Component nodes are checked by the constructors they name."""

    name: str = MISSING
    seed: int = MISSING
    save_every: int = MISSING
    resume: str | None = None
    init: str | None = None
    trust: list[str] = field(default_factory=list)
    without: Without = field(default_factory=Without)
    skeleton: Any = MISSING
    data: Any = MISSING
    detector: Any = MISSING
    renderer: Any = MISSING
    shape_prior: Any = MISSING
    geodesic: Any = MISSING
    anatomy: Any = MISSING
    body: Any = MISSING
    fitter: Any = MISSING
    fuse: Any = MISSING
    cascade: Any = MISSING
    optimizer: Any = MISSING
    trainer: Any = MISSING
    logger: Any = MISSING


@dataclass
class EvaluateConfig:
    """Keys of an evaluation."""

    checkpoint: str = MISSING
    split: str = MISSING
    data: dict[str, Any] = field(default_factory=dict)
    settings: Any = MISSING
    spp: dict[str, Any] = field(default_factory=dict)
    untrained: bool = False
    output: str | None = None
    device: str = MISSING
    trust: list[str] = field(default_factory=list)


@dataclass
class PredictConfig:
    """Keys of a prediction."""

    checkpoint: str = MISSING
    input: str = MISSING
    masks: str | None = None
    box: Any = None
    output: str | None = None
    every: int = MISSING
    person_height: float = MISSING
    overlays: bool = MISSING
    device: str = MISSING
    fit: bool | None = None
    anatomy: Any = MISSING
    body: Any = MISSING
    fitter: Any = MISSING
    seed: int = MISSING
    trust: list[str] = field(default_factory=list)


@dataclass
class CalibrationConvertConfig:
    """Keys of a conversion from one calibration format to another."""

    input: str = MISSING
    output: str = MISSING
    format: str | None = None
    output_format: str | None = None
    unit: str | None = None
    scale: float | None = None
    cameras: list[str] | None = None
    rename: Any = None
    turn: Any = None
    calibrated_size: Any = None
    subject: int | None = None
    videos: str | None = None


@dataclass
class CalibrationCheckConfig:
    """Keys of a check of a calibration by masks."""

    input: str = MISSING
    masks: str | None = None
    output: str | None = None
    format: str | None = None
    unit: str | None = None
    moments: int = MISSING
    rays: int = MISSING


@dataclass
class CalibrationRefineConfig(CalibrationCheckConfig):
    """Keys of a refinement of extrinsics by masks and joints."""

    output: str | None = MISSING
    poses: str | None = None


@dataclass
class SyncConfig:
    """Keys of a synchronisation by masks."""

    input: str = MISSING
    masks: str | None = None
    output: str | None = None
    most: int = MISSING


@dataclass
class ExportConfig:
    """Keys of an export."""

    poses: str = MISSING
    formats: list[str] = MISSING
    output: str | None = None
    up: str = MISSING
    fps: float | None = None
    min_confidence: float = MISSING
    fill: int = MISSING
    smooth: str = MISSING
    cutoff_hz: float = MISSING
    window: int = MISSING


@dataclass
class ReportConfig:
    """Keys of a report."""

    poses: str | None = None
    run: str | None = None
    video: bool = MISSING
    html: bool = MISSING
    output: str | None = None
    fps: float | None = None


@dataclass
class MasksConfig:
    """Keys of an extraction of masks."""

    input: str = MISSING
    output: str = MISSING
    extractor: Any = MISSING
    roi: Any = None
    size: int | None = MISSING
    samples: int = MISSING
    person: Any = MISSING
    uneven: bool = MISSING
    trust: list[str] = field(default_factory=list)


@dataclass
class CheckMasksConfig:
    """Keys of the masks' quality gate."""

    masks: str = MISSING
    input: str | None = None
    output: str | None = None
    ignore: list[str] = field(default_factory=list)
    smallest: float = MISSING
    border: float = MISSING
    second: float = MISSING
    area: float = MISSING
    outside: float = MISSING
    jump: float = MISSING
    neighbours: int = MISSING
    pictures: int = MISSING


@dataclass
class LookConfig:
    """Keys of a look at a data set."""

    skeleton: Any = MISSING
    data: Any = MISSING
    renderer: Any = MISSING
    detector: Any = MISSING
    seed: int = MISSING
    output: str = MISSING
    sample: int = MISSING
    pictures: int = MISSING
    trust: list[str] = field(default_factory=list)


SCHEMAS = {
    "train_schema": Config,
    "evaluate_schema": EvaluateConfig,
    "predict_schema": PredictConfig,
    "calibration_convert_schema": CalibrationConvertConfig,
    "calibration_check_schema": CalibrationCheckConfig,
    "calibration_refine_schema": CalibrationRefineConfig,
    "sync_schema": SyncConfig,
    "export_schema": ExportConfig,
    "report_schema": ReportConfig,
    "masks_schema": MasksConfig,
    "check_masks_schema": CheckMasksConfig,
    "look_schema": LookConfig,
}
# A resumed run lives in its own folder; Hydra's record of the new command goes beside it.
OmegaConf.register_new_resolver(
    "run_dir", lambda resume, fresh: f"{resume}/resumed" if resume else fresh, replace=True
)


def conf_dir() -> str:
    """The folder of YAML files: inside an installed package, or the checkout's top level.

    Hydra knows the root schemas from then on. It is loaded here alone: `mask_sup.load` needs none.
    """
    from hydra.core.config_store import ConfigStore

    for name, schema in SCHEMAS.items():
        ConfigStore.instance().store(name=name, node=schema)
    return str(conf_folder())


def option(group: str, name: str, **values: Any) -> dict[str, Any]:
    """An option of a group, conf/<group>/<name>.yaml, as plain values; without Hydra.

    Args:
        group: Such as `fitter`.
        name: Such as `masks`.
        values: Keys of the root that it refers to, as in ${seed}.
    """
    node = OmegaConf.load(conf_folder() / group / f"{name}.yaml")
    return OmegaConf.to_container(OmegaConf.create({**values, "node": node}), resolve=True)["node"]


def plain(cfg: Any) -> Any:
    """A config node as plain resolved dicts and lists, safe to store in a checkpoint."""
    return OmegaConf.to_container(cfg, resolve=True) if OmegaConf.is_config(cfg) else cfg


def renamed(node: Any) -> Any:
    """A node of plain values whose `_target_`s are where they are today (`MOVED`)."""
    if isinstance(node, Mapping):
        told = {key: renamed(value) for key, value in node.items()}
        if isinstance(target := told.get("_target_"), str):
            module, _, name = target.rpartition(".")
            told["_target_"] = f"{MOVED.get(module, module)}.{name}"
        return told
    return [renamed(value) for value in node] if isinstance(node, list) else node


def load_config(path: Path) -> DictConfig:
    """A run's saved config.

    Raises:
        FileNotFoundError: If the folder holds none.
        ValueError: If it is not as a run records it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}: not the folder of a run")
    told = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    if "${" in json.dumps(told):  # resolvers read the environment; a run is recorded resolved
        raise ValueError(f"{path} holds interpolations (${{...}}): no record of a run does")
    return OmegaConf.create(renamed(told))
