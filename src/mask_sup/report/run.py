"""A training's folder, read: what every stage has logged, measured and drawn so far.

Nothing but files is looked at, so that a run can be shown while it goes on, after it was stopped,
and on another machine.
"""

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mask_sup.files.config import load_config, plain
from mask_sup.files.names import natural_order

__all__ = ["Curve", "Run", "StageRecord", "read_run"]

TROUBLE = {"value": (int, float), "limit": (int, float), "says": str, "helps": str}


class Curve(NamedTuple):
    """One column of metrics.csv."""

    steps: np.ndarray  # (n,) of the stage, counted from 1
    values: np.ndarray  # (n,) finite


class StageRecord(NamedTuple):
    """What one stage of a cascade has left in its folder."""

    name: str
    kind: str
    """Its class."""
    first: int
    """Steps of the stages before it."""
    steps: int
    """Steps taken so far."""
    max_steps: int
    finished: bool
    curves: Mapping[str, Curve]
    purity: Mapping[str, float]
    """Of the pseudo-labels of a round; empty in other stages."""
    health: Mapping[str, Mapping[str, Any]]
    """Troubles by name: value, limit, and in words what they are and what helps."""
    settings: Mapping[str, Any]
    """What the weights were given, by all that has led to them."""
    sheets: tuple[Path, ...]
    """Overlays, in the order of their steps."""
    labels: Path | None
    """The sheet of a round's pseudo-labels."""

    def last(self, key: str) -> float:
        """The newest value of a column; NaN where there is none."""
        return float(self.curves[key].values[-1]) if key in self.curves else float("nan")


class Run(NamedTuple):
    """A training so far: of its cascade, the stages that have begun."""

    name: str
    config: dict[str, Any]
    provenance: Mapping[str, Any]
    data: Mapping[str, Any]
    stages: tuple[StageRecord, ...]
    planned: tuple[str, ...]
    """The names of all stages of the cascade."""

    @property
    def finished(self) -> bool:
        """Whether every stage has come to its end."""
        return len(self.stages) == len(self.planned) and all(s.finished for s in self.stages)


def read_run(folder: Path) -> Run:
    """Read a run's folder.

    Args:
        folder: Where `python -m mask_sup.train` writes: config.yaml, run.json, a folder per stage.

    Raises:
        FileNotFoundError: If it is no run's folder, or no stage has begun.
        ValueError: If one of its files is damaged; the message names it.
    """
    config = plain(load_config(folder / "config.yaml"))
    cascade = config.get("cascade")
    if not isinstance(cascade, dict):
        raise ValueError(f"{folder / 'config.yaml'} has no cascade: it is no training's config")
    stages: list[StageRecord] = []
    for name, node in cascade.items():
        known = isinstance(node, dict) and isinstance(node.get("module"), dict)
        if not known or not isinstance(node.get("max_steps"), int):
            raise ValueError(
                f"{folder / 'config.yaml'}: cascade.{name} has no module and max_steps"
            )
        here = folder / Path(str(name)).name  # a name is no path
        if here.is_dir():
            first = sum(stage.steps for stage in stages)
            stages.append(_read_stage(here, node, first))
    if not stages:
        raise FileNotFoundError(f"no stage of the run in {folder} has begun: nothing to show yet")
    return Run(
        folder.resolve().name,
        config,
        _read_json(folder / "run.json", command=list, versions=dict),
        _read_json(folder / "data.json", moments=dict),
        tuple(stages),
        tuple(map(str, cascade)),
    )


def _read_stage(here: Path, node: Mapping[str, Any], first: int) -> StageRecord:
    curves = _read_curves(here / "metrics.csv")
    done = _read_json(here / "finished.json", steps=int)
    health = _read_json(here / "health.json")
    for name, told in health.items():
        _check(here / "health.json", name, told, dict)
        for key, kind in TROUBLE.items():
            _check(here / "health.json", f"{name}.{key}", told.get(key), kind)
    purity = _read_json(here / "relabel.json")
    for name, value in purity.items():
        _check(here / "relabel.json", name, value, (int, float))
    last = max((int(curve.steps[-1]) for curve in curves.values()), default=0)
    labels = here / "labels.png"
    return StageRecord(
        here.name,
        str(node["module"].get("_target_", "")).rpartition(".")[2],
        first,
        int(done.get("steps", last)),
        int(node["max_steps"]),
        bool(done),
        curves,
        purity,
        health,
        _read_json(here / "settings.json"),
        tuple(natural_order((here / "overlays").glob("*.png"))),
        labels if labels.is_file() else None,
    )


def _read_curves(path: Path) -> dict[str, Curve]:
    """The columns of metrics.csv; cells without a finite number are left out."""
    if not path.is_file():
        return {}
    points: dict[str, list[tuple[int, float]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                for key in row.keys() - {"step", "epoch", None}:
                    if row[key]:
                        points.setdefault(key, []).append((int(row["step"]) + 1, float(row[key])))
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise ValueError(
            f"{path} is no metrics.csv of a stage ({error}): expected a column step and numbers"
        ) from error
    curves = {}
    for key, pairs in points.items():
        steps, values = np.array(pairs).T
        known = np.isfinite(values)
        if known.any():
            order = np.argsort(steps[known], kind="stable")
            curves[key] = Curve(steps[known][order].astype(int), values[known][order])
    return curves


def _read_json(path: Path, **kinds: type) -> dict[str, Any]:
    """The entries of a file, {} where there is none; those of `kinds` have that type if there."""
    if not path.is_file():
        return {}
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}): remove it, and draw again") from error
    if not isinstance(told, dict):
        raise ValueError(f"{path} holds no entries by name: remove it, and draw again")
    for name in kinds.keys() & told.keys():
        _check(path, name, told[name], kinds[name])
    return told


def _check(path: Path, name: str, value: Any, kind: type | tuple[type, ...]) -> None:
    """Refuse an entry of another type.

    Raises:
        ValueError: With the file, the entry and what it is.
    """
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{path}: {name} is {value!r:.40}: remove the file, and draw again")
