"""What `make demo` ended with, as its evaluations left it: benchmarks/results/demo.json.

    make demo
    python benchmarks/demo.py outputs/demo

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


def main() -> None:
    """Collect every metrics.json of the run's evaluations."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="run folder, e.g. outputs/demo")
    run = parser.parse_args().run
    found = sorted(run.glob("evaluation/*/metrics.json"))
    if not found:
        raise SystemExit(f"no evaluation/*/metrics.json in {run}: run python -m mask_sup.evaluate")
    record(
        "demo",
        trained=json.loads((run / "run.json").read_text())["git"],
        evaluations={path.parent.name: figures(path) for path in found},
    )


if __name__ == "__main__":
    main()
