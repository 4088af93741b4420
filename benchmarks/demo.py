"""What a run ended with, as its evaluations and rounds left it: benchmarks/results/<name>.json.

    make demo
    python benchmarks/demo.py outputs/demo
    python benchmarks/demo.py outputs/general/<time> --name general

One run, of the revision and threads that it says; `benchmarks/learning.py` is for several seeds.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from record import record


def figures(path: Path) -> dict[str, Any]:
    """An evaluation's figures and settings, but for where its checkpoint lies."""
    told = json.loads(path.read_text())
    del told["checkpoint"]
    return told


def minutes(run: Path) -> float:
    """How long the training took, its data drawn within it, if it was not stopped meanwhile."""
    begun, ended = run / ".hydra" / "overrides.yaml", run / "metrics.json"
    return (ended.stat().st_mtime - begun.stat().st_mtime) / 60


def main() -> None:
    """Collect every metrics.json of the run's evaluations, and how pure its pseudo-labels were."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="run folder, e.g. outputs/demo")
    parser.add_argument("--name", default="demo", help="of the result")
    given = parser.parse_args()
    found = sorted(given.run.glob("evaluation/*/metrics.json"))
    if not found:
        raise SystemExit(
            f"no evaluation/*/metrics.json in {given.run}: run python -m mask_sup.evaluate"
        )
    record(
        given.name,
        minutes=minutes(given.run),
        trained=json.loads((given.run / "run.json").read_text())["git"],
        rounds={
            path.parent.name: json.loads(path.read_text())
            for path in sorted(given.run.glob("*/relabel.json"))
        },
        evaluations={path.parent.name: figures(path) for path in found},
    )


if __name__ == "__main__":
    main()
