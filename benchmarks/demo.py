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

BEFORE = 60  # seconds: what is so much older than a run's beginning is of one before


def figures(path: Path) -> dict[str, Any]:
    """An evaluation's figures and settings, but for where its checkpoint lies."""
    told = json.loads(path.read_text())
    del told["checkpoint"]
    return told


def minutes(run: Path) -> float | None:
    """How long the training took, its data drawn within it; None if it was stopped and resumed."""
    begun = (run / ".hydra" / "overrides.yaml").stat().st_mtime
    if any(path.stat().st_mtime < begun - BEFORE for path in run.rglob("*")):
        return None
    return ((run / "metrics.json").stat().st_mtime - begun) / 60


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
