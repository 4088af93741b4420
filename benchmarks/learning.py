"""What a recipe learns, over several seeds: median and worst of every figure, and the wall time.

    python benchmarks/learning.py                                    # quickstart, seeds 0 1 2
    python benchmarks/learning.py --name supervised cascade=supervised
    python benchmarks/learning.py --name paper_exact anatomy=none cascade=three_stage ...

Each seed is a training and evaluations in processes of their own; a seed that is done is not run
again by the same command, and with --keep neither is one that another revision has left in the
result. It is written to benchmarks/results/<name>.json, every run with the revision that made it.
Run nothing else meanwhile, or the minutes mean little. `mocap` is for the end (--splits val mocap):
nothing is tuned on it.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from record import RESULTS, revision
from rich.console import Console
from rich.table import Table

SHOWN = (
    "mono/mpjpe_mm", "mono/p_mpjpe_mm", "tri/mpjpe_mm", "mono/mse_2d_pct", "ambiguity_pct",
    "scene_flip_pct",
)  # fmt: skip


def command(*words: str) -> None:
    """Run a module of this package; its output goes on as it comes."""
    subprocess.run([sys.executable, "-m", *words], check=True)


def one_seed(asked: dict[str, Any], seed: int, folder: Path) -> dict[str, Any]:
    """Train and evaluate; figures by split, and the wall time of the training in seconds."""
    done = folder / "figures.json"
    if done.is_file() and (told := json.loads(done.read_text()))["asked"] == asked:
        return told["figures"]
    start = time.perf_counter()
    command("mask_sup.train", *asked["overrides"], f"seed={seed}", f"hydra.run.dir={folder}")
    seconds = time.perf_counter() - start
    last = list(yaml.safe_load((folder / "config.yaml").read_text())["cascade"])[-1]
    checkpoint = folder / last / "checkpoints" / "last.ckpt"
    figures: dict[str, Any] = {
        "seed": seed,
        "commit": asked["commit"],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "seconds": seconds,
    }
    for split in asked["splits"]:
        command("mask_sup.evaluate", f"checkpoint={checkpoint}", f"split={split}")
        figures[split] = json.loads((folder / "evaluation" / split / "metrics.json").read_text())
    done.write_text(json.dumps({"asked": asked, "figures": figures}))
    return figures


def earlier(path: Path, asked: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Runs by seed of a result of the same recipe that has all that is asked."""
    if (
        not path.is_file()
        or (told := json.loads(path.read_text()))["overrides"] != asked["overrides"]
    ):
        return {}
    return {run["seed"]: run for run in told["runs"] if all(s in run for s in asked["splits"])}


def summary(runs: list[dict[str, Any]], split: str) -> dict[str, dict[str, float]]:
    """Median and worst over the seeds of every figure of a split."""
    keys = [k for k, v in runs[0][split].items() if all(k in run[split] for run in runs)]
    keys = [k for k in keys if isinstance(runs[0][split][k], float)]
    worst = {key: min if "pck" in key or "auc" in key else max for key in keys}
    return {
        key: {
            "median": statistics.median(run[split][key] for run in runs),
            "worst": worst[key](run[split][key] for run in runs),
        }
        for key in keys
    }


def show(console: Console, result: dict[str, Any]) -> None:
    """Print a table per split: the main figures, then the joint groups."""
    for split, figures in result["summary"].items():
        title = f"{result['name']}, {split}, seeds {result['seeds']}"
        table = Table(title=title)
        for column in ("figure", "median", "worst"):
            table.add_column(column, justify="left" if column == "figure" else "right")
        groups = [key for key in figures if key.startswith("mono/mpjpe_") and key not in SHOWN]
        for key in (*(key for key in SHOWN if key in figures), *groups):
            table.add_row(key, *(f"{figures[key][kind]:.1f}" for kind in ("median", "worst")))
        console.print(table)
    for run in result["runs"]:
        console.print(
            f"seed {run['seed']}: {run['seconds'] / 60:.1f} minutes of training, "
            f"{run['machine']}, threads: {run['threads']}, revision {run['commit'][:7]}"
        )


def main() -> None:
    """Run the seeds, write the result, print it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--name", default="quickstart", help="of the result file")
    parser.add_argument("--experiment", default="quickstart")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--splits", nargs="+", default=["val"])
    parser.add_argument("--folder", type=Path, default=Path("outputs/learning"))
    parser.add_argument("--keep", action="store_true", help="runs of the result that is there")
    parser.add_argument("overrides", nargs="*", help="overrides of the training")
    given = parser.parse_args()
    if swallowed := [word for word in given.splits if "=" in word]:
        parser.error(f"{swallowed} are no splits: name overrides before --splits")
    asked = {
        "overrides": [f"+experiment={given.experiment}", *given.overrides],
        "splits": given.splits,
        "commit": revision(),
    }
    path = RESULTS / f"{given.name}.json"
    kept = earlier(path, asked) if given.keep else {}
    runs = [
        kept.get(seed) or one_seed(asked, seed, given.folder / given.name / str(seed))
        for seed in given.seeds
    ]
    result = {
        "name": given.name,
        "overrides": asked["overrides"],
        "seeds": given.seeds,
        "summary": {split: summary(runs, split) for split in given.splits},
        "runs": runs,
    }
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    show(Console(), result)


if __name__ == "__main__":
    main()
