"""What a recipe learns, over several seeds: median and worst of every figure, and the wall time.

    python benchmarks/learning.py                                    # quickstart, seeds 0 1 2
    python benchmarks/learning.py --name supervised cascade=supervised
    python benchmarks/learning.py --name paper_exact anatomy=none cascade=three_stage ...
    python benchmarks/learning.py --reach 76 53 --against ea0c93d    # and as it was, seed by seed

Each seed is a training and evaluations in processes of their own; a seed that is done is not run
again by the same command, and with --keep neither is one that another revision has left in the
result. It is written to benchmarks/results/<name>.json, every run with the revision that made it.
Run nothing else meanwhile, or the minutes mean little. `mocap` is for the end (--splits val mocap):
nothing is tuned on it.

`curve` tells what each validation of a training found and when, in seconds from the command on
(data that is drawn on first use included); with --reach, `reached` is when both errors were first
that low, null: never. A training that was stopped and went on has its pause in its curve. With
--against, the same experiment of another revision is trained in turn with this one, in a worktree
of its own with the packages that are installed.
"""

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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

VALIDATED = ("val/mono/mpjpe_mm", "val/tri/mpjpe_mm")


def command(source: Path, *words: str) -> None:
    """Run a module of a checkout of this package; its output goes on as it comes."""
    path = os.pathsep.join([str(source / "src"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    subprocess.run([sys.executable, "-m", *words], check=True, cwd=source, env=environment)


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A worktree of another revision."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "checkout"
        subprocess.run(["git", "worktree", "add", "--detach", folder, commit], check=True)
        try:
            yield folder
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", folder], check=True)


def one_seed(asked: dict[str, Any], seed: int, folder: Path, source: Path) -> dict[str, Any]:
    """Train and evaluate; figures by split, and the wall time of the training in seconds."""
    done = folder / "figures.json"
    if done.is_file() and (told := json.loads(done.read_text()))["asked"] == asked:
        return told["figures"]
    start, begun = time.perf_counter(), time.time()
    words = (*asked["overrides"], f"seed={seed}", f"hydra.run.dir={folder}")
    command(source, "mask_sup.train", *words)
    seconds = time.perf_counter() - start
    stages = list(yaml.safe_load((folder / "config.yaml").read_text())["cascade"])
    checkpoint = folder / stages[-1] / "checkpoints" / "last.ckpt"
    figures: dict[str, Any] = {
        "seed": seed,
        "commit": asked["commit"],
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "seconds": seconds,
        "curve": curve([folder / stage for stage in stages], begun),
    }
    for split in asked["splits"]:
        command(source, "mask_sup.evaluate", f"checkpoint={checkpoint}", f"split={split}")
        figures[split] = json.loads((folder / "evaluation" / split / "metrics.json").read_text())
    done.write_text(json.dumps({"asked": asked, "figures": figures}))
    return figures


def curve(stages: list[Path], begun: float) -> list[dict[str, Any]]:
    """What each validation found, and seconds from `begun` (Unix time) until it was drawn."""
    found = []
    for stage in stages:
        with (stage / "metrics.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get(VALIDATED[0])]
        # The last weights are validated twice at one step: the last row of a step counts.
        for step, row in {int(row["step"]): row for row in rows}.items():
            sheet = stage / "overlays" / f"{step:06d}.png"
            if sheet.is_file():
                told = {key.removeprefix("val/"): float(row[key]) for key in VALIDATED}
                seconds = sheet.stat().st_mtime - begun
                found.append({"stage": stage.name, "step": step, "seconds": seconds, **told})
    return found


def reached(run: dict[str, Any], most: list[float]) -> float | None:
    """Seconds until both errors of a validation were first as low as that; None: never."""
    keys = [key.removeprefix("val/") for key in VALIDATED]
    low = [
        one["seconds"]
        for one in run.get("curve", ())  # results of before have none
        if all(one[key] <= limit for key, limit in zip(keys, most, strict=True))
    ]
    return min(low, default=None)


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
    for run in (*result["runs"], *result.get("against", {}).get("runs", ())):
        told = ""
        if result.get("reach"):
            seconds = reached(run, result["reach"])
            both = " / ".join(f"{limit:g}" for limit in result["reach"])
            told = f", {both} mm " + (f"after {seconds / 60:.1f}" if seconds else "never reached")
        console.print(
            f"seed {run['seed']}: {run['seconds'] / 60:.1f} minutes of training{told}, "
            f"{run['machine']}, threads: {run['threads']}, revision {run['commit'][:7]}"
        )


def head(source: Path) -> str:
    """The commit of a checkout."""
    words = ["git", "rev-parse", "HEAD"]
    return subprocess.run(words, cwd=source, capture_output=True, text=True).stdout.strip()


def compared(runs: list[dict[str, Any]], given: argparse.Namespace) -> dict[str, Any]:
    """The runs of one revision and what they have in common."""
    told = {"summary": {split: summary(runs, split) for split in given.splits}}
    if given.reach:
        told["reached"] = [reached(run, given.reach) for run in runs]
    return {**told, "runs": runs}


def main() -> None:
    """Run the seeds, write the result, print it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--name", default="quickstart", help="of the result file")
    parser.add_argument("--experiment", default="quickstart")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--splits", nargs="+", default=["val"])
    parser.add_argument("--folder", type=Path, default=Path("outputs/learning"))
    parser.add_argument("--keep", action="store_true", help="runs of the result that is there")
    parser.add_argument("--reach", type=float, nargs=2, help="mono and tri, mm, of validations")
    parser.add_argument("--against", help="a revision that is trained in turn with this one")
    parser.add_argument("overrides", nargs="*", help="overrides of the training")
    given = parser.parse_args()
    if swallowed := [word for word in given.splits if "=" in word]:
        parser.error(f"{swallowed} are no splits: name overrides before --splits")
    asked = {
        "overrides": [f"+experiment={given.experiment}", *given.overrides],
        "splits": given.splits,
        "commit": revision(),
    }
    path, folder, here = RESULTS / f"{given.name}.json", given.folder.resolve(), Path.cwd()
    kept = earlier(path, asked) if given.keep else {}
    sides = {"now": (asked, here)}
    with ExitStack() as stack:
        if given.against:
            there = stack.enter_context(checkout(given.against))
            sides["against"] = (asked | {"commit": head(there)}, there)
        runs: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
        for seed in given.seeds:
            for side, (told, source) in sides.items():
                known = kept.get(seed) if side == "now" else None
                place = folder / given.name / side / str(seed)
                runs[side].append(known or one_seed(told, seed, place, source))
    result = {
        "name": given.name,
        "overrides": asked["overrides"],
        "seeds": given.seeds,
        "reach": given.reach,
        **compared(runs["now"], given),
    }
    if given.against:
        result["against"] = compared(runs["against"], given)
    RESULTS.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    show(Console(), result)


if __name__ == "__main__":
    main()
