"""Rows of a sweep, or of single runs: mean and spread over seeds, and the ambiguity of each.

python scripts/collect.py outputs/h36m_full/sweep_...          # a sweep
python scripts/collect.py outputs/quickstart/* --out rows.json # single runs

Each run gives what its evaluations measured, and the validation that ended its training. Runs that
differ in their seed alone are one row. A table holds one data set, split and setting, and each row
says what it was given. Figures are monocular; the spread is the standard deviation over seeds.
"""

import argparse
import itertools
import json
import sys
from pathlib import Path

from mask_sup.files.disk import write_file
from mask_sup.method.rows import (
    Group,
    grouped,
    markdown,
    mean_and_spread,
    read_rows,
    run_folders,
)

FIGURES = {
    "MPJPE mm": "mono/mpjpe_mm",
    "N-MPJPE mm": "mono/n_mpjpe_mm",
    "P-MPJPE mm": "mono/p_mpjpe_mm",
    "2D MSE %": "mono/mse_2d_pct",
    "ambiguity %": "ambiguity_pct",
    "scene flips %": "scene_flip_pct",
}


def main() -> None:
    """Read, print a table for each data set, split and setting, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs or sweeps")
    parser.add_argument("--out", type=Path, help="JSON file of the rows")
    given = parser.parse_args()
    try:
        read = {folder: read_rows(folder) for folder in run_folders(given.runs)}
        groups = grouped(row for rows in read.values() for row in rows)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    for (data, split, setting), some in itertools.groupby(sorted(groups, key=_of), _of):
        rows = [
            [group.label, group.given, str(len(group.seeds)), *map(group.cell, FIGURES.values())]
            for group in some
        ]
        print(f"{data}, {split}, setting {setting}\n")
        print(markdown(["row", "given", "seeds", *FIGURES], rows), end="\n\n")
    for folder in (folder for folder, rows in read.items() if not rows):
        print(f"{folder}: nothing measured: its training is not finished, or was refused")
    if given.out:
        write_file(given.out, json.dumps([_told(group) for group in groups], indent=1) + "\n")


def _of(group: Group) -> tuple[str, str, str]:
    return group.data, group.split, group.setting


def _told(group: Group) -> dict[str, object]:
    """A group as JSON."""
    figures = {
        key: dict(zip(("mean", "spread"), mean_and_spread(values), strict=True))
        | {"values": values}
        for key, values in group.figures.items()
    }
    return group._asdict() | {"label": group.label, "figures": figures}


if __name__ == "__main__":
    main()
