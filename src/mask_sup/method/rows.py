"""Measured figures as rows of a table, read from run folders, of sweeps and single runs alike.

A row is what one run measured on one split under one setting. Rows that differ in their seed alone
are repetitions of one experiment and make a group; rows of two settings never meet in one.
"""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mask_sup.files.config import load_config, plain
from mask_sup.files.names import natural_order
from mask_sup.method.measuring import Plain
from mask_sup.method.settings import at_test

__all__ = ["Group", "Row", "grouped", "markdown", "mean_and_spread", "read_rows", "run_folders"]

LEFT_OUT = ("psi", "G", "Delta")  # in the order of the paper's Table 3
GIVEN = ("UP", "T", "SF", "SPP", "labels", "upright", "person_ids", "time")  # flags that are words
BEGUN = ("config.yaml", ".hydra")  # a run's own record, or Hydra's alone where it was refused
VALIDATION = "val"  # the split of a training's own figures


class Row(NamedTuple):
    """Figures of one run."""

    config: Mapping[str, Any]
    """The run's, plain."""
    data: str
    split: str
    setting: str
    """Of `mask_sup.method.measuring.SETTINGS`."""
    flags: Mapping[str, Any]
    """All that the figures were given: UP, T, SF, SPP and ours."""
    figures: Mapping[str, float]
    untrained: bool = False


class Group(NamedTuple):
    """Rows that differ in their seed alone."""

    name: str
    """Of the experiment, with what else tells it from the others."""
    without: tuple[str, ...]
    """What is left out of psi, G and Delta."""
    data: str
    split: str
    setting: str
    flags: Mapping[str, Any]
    seeds: tuple[int, ...]
    figures: Mapping[str, tuple[float, ...]]
    """Of each seed, where all seeds have it."""
    untrained: bool

    @property
    def label(self) -> str:
        """Name and what is left out, as the paper writes it."""
        return self.name + (f", wo {', '.join(self.without)}" if self.without else "")

    @property
    def given(self) -> str:
        """What the figures were given, in words: the paper's UP, T, SF, SPP, and ours."""
        held = [(key, self.flags.get(key)) for key in GIVEN]
        told = [key if value else f"{key}?" for key, value in held if value is not False]
        told += ["anatomy"] if self.flags.get("anatomy") else []
        told += ["rounds"] if self.flags.get("relabel") else []
        return ", ".join(told) or "nothing"

    def cell(self, key: str, scale: float = 1.0) -> str:
        """Mean and, over several seeds, spread of a figure; empty where not all seeds have it."""
        if key not in self.figures:
            return ""
        mean, spread = mean_and_spread([scale * value for value in self.figures[key]])
        digits = 1 if scale == 1 else 2
        return f"{mean:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")


def run_folders(paths: Iterable[Path]) -> list[Path]:
    """Folders of runs: the paths themselves, or the runs right inside of them, as a sweep has.

    Raises:
        FileNotFoundError: If a path is neither.
    """
    found = []
    for path in paths:
        runs = [folder for folder in (path, *natural_order(path.glob("*/"))) if _begun(folder)]
        runs = [path] if path in runs else runs
        if not runs:
            raise FileNotFoundError(
                f"{path} is neither the folder of a run nor of a sweep: expected config.yaml in it "
                "or in folders right inside of it"
            )
        found += runs
    return found


def _begun(folder: Path) -> bool:
    return any((folder / name).exists() for name in BEGUN)


def read_rows(folder: Path) -> list[Row]:
    """The rows of one run: those of its evaluations, and of the validation that ended its training.

    An evaluation on the same split under the same setting stands for the latter. A training that is
    not finished has none of its own, one that was refused at its start none at all.

    Raises:
        ValueError: If a file is damaged.
    """
    if not (folder / "config.yaml").is_file():
        return []
    config = plain(load_config(folder / "config.yaml"))
    rows = []
    for path in natural_order(folder.glob("evaluation/*/metrics.json")):
        told = _json(path)
        for row in told.get("rows", ()):  # evaluations of before there were settings have none
            measured = (row["setting"], row["flags"], _known(row["figures"]))
            rows.append(Row(config, told["data"], told["split"], *measured, told["untrained"]))
    plain_there = {row.split for row in rows if row.setting == "plain" and not row.untrained}
    if VALIDATION not in plain_there and (own := _own(folder, config)) is not None:
        rows.append(own)
    return rows


def _own(folder: Path, config: Mapping[str, Any]) -> Row | None:
    """The validation that ended a training; None: not finished, or nothing was labelled."""
    path = folder / "metrics.json"
    if not path.is_file():
        return None
    figures = {key.removeprefix("val/"): v for key, v in _known(_json(path)).items()}
    figures = {key: value for key, value in figures.items() if "/sf_" not in key}
    if "ambiguity_pct" not in figures and "mono/mse_2d_pct" not in figures:
        return None
    given = _json(folder / list(config["cascade"])[-1] / "settings.json")
    flags = given | at_test(config["detector"]) | Plain.flags
    data = config["data"]
    source = data.get("source", {}).get("_target_", "mix").rpartition(".")[2]
    name = _json(folder / "data.json").get("dataset", source)
    return Row(config, name, VALIDATION, "plain", flags, figures)


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}): evaluate or train again") from error


def _known(figures: Mapping[str, Any]) -> dict[str, float]:
    """Figures that are numbers: no tables by action, nothing unknown."""
    return {key: float(v) for key, v in figures.items() if isinstance(v, (int, float)) and v == v}


def grouped(rows: Iterable[Row]) -> list[Group]:
    """Groups of rows that differ in their seed alone, in an order that does not depend on theirs.

    Experiments of one name that differ in other keys are told apart by those keys, and those of one
    config by the stage whose weights were measured.

    Raises:
        ValueError: If two rows of a group have the same seed: one run was named twice.
    """
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        settings = json.dumps([_flat(row.config), row.flags], sort_keys=True)
        key = (_name(row), row.data, row.split, row.setting, settings)
        found.setdefault(key, []).append(row)
    names = _told_apart([members[0] for members in found.values()])
    groups = [_group(name, members) for name, members in zip(names, found.values(), strict=True)]
    return sorted(groups, key=lambda g: (g.name, g.data, g.split, g.setting, g.without, g.seeds))


def _group(name: str, members: Sequence[Row]) -> Group:
    members = sorted(members, key=lambda row: row.config["seed"])
    seeds = tuple(row.config["seed"] for row in members)
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"two runs of {name} have one seed ({seeds}): name each run once")
    first = members[0]
    keys = [key for key in first.figures if all(key in row.figures for row in members)]
    figures = {key: tuple(row.figures[key] for row in members) for key in keys}
    told = (first.data, first.split, first.setting, first.flags)
    left_out = first.config.get("without", {})
    without = tuple(part for part in LEFT_OUT if left_out.get(part))
    return Group(name, without, *told, seeds, figures, first.untrained)


def _name(row: Row) -> str:
    return row.config["name"] + (" (untrained)" if row.untrained else "")


def _told_apart(rows: Sequence[Row]) -> list[str]:
    """Names; those of one name and several configs with the keys in which they differ."""
    names = []
    for row in rows:
        here = _told(row)
        others = [_told(other) for other in rows if _name(other) == _name(row)]
        keys = sorted({key for other in others for key in other | here})
        differ = [k for k in keys if any(other.get(k) != here.get(k) for other in others)]
        told = [f"{key}={here.get(key)}" for key in differ if not key.startswith("without.")]
        names.append(" ".join([_name(row), *told]))
    return names


def _told(row: Row) -> dict[str, Any]:
    """A row's config, and the stage whose weights were measured."""
    return _flat(row.config) | {"stage": row.flags.get("stages", [""])[-1]}


def _flat(node: Any, key: str = "") -> dict[str, Any]:
    """A config as values by their keys, without seeds and where its data lies."""
    if isinstance(node, Mapping):
        inner = [
            _flat(value, f"{key}.{name}".lstrip("."))
            for name, value in node.items()
            if not (name == "seed" and not key.endswith("source")) and name != "root"
        ]
        return {name: value for part in inner for name, value in part.items()}
    return {key: node}


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation over seeds (n - 1); None: one seed has no spread."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; the first column to the left, the others to the right.

    >>> print(markdown(["row", "mm"], [["full", "95.9"]]))
    | row | mm |
    |:--|--:|
    | full | 95.9 |
    """
    lines = [heads, *rows]
    told = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([told[0], "|:--|" + "--:|" * (len(heads) - 1), *told[1:]])
