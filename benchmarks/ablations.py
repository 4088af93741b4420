"""The order of the paper's ablations at laptop length: Table 3, Fig. 4, Eq. 3, the paper itself.

    python benchmarks/ablations.py                # three seeds each, on `val`

Each row is a recipe of `learning.py` without relabelling rounds, so nothing decides left and right
of a scene: read the MPJPE after a supervised flip and the ambiguity, not the MPJPE alone. Median
(least to most) over the seeds; written to benchmarks/results/ablations.json.
"""

import argparse
import json
from pathlib import Path

from learning import one_seed
from record import RESULTS, revision
from rich.console import Console
from rich.table import Table

# Where left and right are named by chance, the mean of a picture and its mirror image folds a body.
# Masks alone teach better with Adam than with the quickstart's Muon.
COMMON = ("detector.mirror_test=false", "optimizer=adam", "optimizer.lr=1.5e-3")
MASKS = "cascade=quick_masks"
ROWS = {
    "full": [MASKS],
    "wo_G": [MASKS, "+ablation=wo_G"],
    "wo_psi": [MASKS, "+ablation=wo_psi"],
    "wo_Delta": [MASKS, "+ablation=wo_Delta"],
    "single_stage": ["cascade=quick_single"],
    "gaussians": [MASKS, "renderer=gaussians"],
    # Nothing of ours: the authors' optimiser, width and merge, no anatomy, no start.
    "paper_exact": [
        *("cascade=three_stage", "anatomy=none", "optimizer.lr=2e-4"),
        *("renderer.merge=sum", "renderer.width=0.0548", "cascade.skeleton.max_steps=1300"),
        *("cascade.physique.max_steps=600", "cascade.arms.max_steps=1100"),
        *("cascade.physique.module.ramp_steps=300", "shape_prior=unet"),
        "shape_prior.channels=[8,16,32]",
    ],
}
FIGURES = (
    "mono/sf_mpjpe_mm",
    "mono/mpjpe_mm",
    "mono/p_mpjpe_mm",
    "ambiguity_pct",
    "scene_flip_pct",
)


def main() -> None:
    """Run all rows and seeds, write the result, print it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=Path("outputs/ablations"))
    given = parser.parse_args()
    commit = revision()
    runs = {row: [] for row in given.rows}
    for seed in given.seeds:  # all rows of a seed before the next: a stopped table is a whole one
        for row in given.rows:
            asked = {
                "overrides": ["+experiment=quickstart", *COMMON, *ROWS[row]],
                "splits": ["val"],
                "commit": commit,
            }
            runs[row].append(
                one_seed(asked, seed, given.folder.resolve() / row / str(seed), Path.cwd())
            )
    result = {"commit": commit, "seeds": given.seeds, "rows": ROWS, "runs": runs}
    (RESULTS / "ablations.json").write_text(json.dumps(result, indent=1) + "\n")
    table = Table(title=f"val, seeds {given.seeds}: median (least to most)")
    for column in ("row", *FIGURES, "minutes"):
        table.add_column(column, justify="left" if column == "row" else "right")
    for row, figures in runs.items():
        cells = [[run["val"][key] for run in figures] for key in FIGURES]
        cells.append([run["seconds"] / 60 for run in figures])
        table.add_row(row, *(spread(values) for values in cells))
    Console().print(table)


def spread(values: list[float]) -> str:
    """Median, least and most, as text."""
    ordered = sorted(values)
    return f"{ordered[len(ordered) // 2]:.1f} ({ordered[0]:.1f} to {ordered[-1]:.1f})"


if __name__ == "__main__":
    main()
