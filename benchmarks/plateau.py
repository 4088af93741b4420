"""How often the test of a plateau sees rest, and how often it calls a fall rest, under noise.

    python benchmarks/plateau.py          # writes benchmarks/results/plateau.json

Curves of known answer, at rest or falling, whose single steps scatter by as much as those of mask
training; white, or correlated from step to step as a wandering detector makes it.
"""

import argparse
from pathlib import Path

import numpy as np
from record import record
from rich.progress import track

from mask_sup.files.config import conf_dir, load_config
from mask_sup.method.stages import Plateau

SCATTER = 0.31  # standard deviation of a step's loss over its mean, measured in mask training
CORRELATIONS = (0.0, 0.5, 0.9)  # of neighbouring steps
FALLS = (0.0, 0.1, 0.2, 0.4)  # share of the loss that is lost over the steps of a window


def curve(steps: int, window: int, fall: float, correlation: float, seed: int) -> np.ndarray:
    """A loss that falls by this share over every window, under noise of the first order."""
    rng = np.random.default_rng(seed)
    noise, drive = np.empty(steps), rng.normal(size=steps)
    noise[0] = drive[0]
    for i in range(1, steps):
        noise[i] = correlation * noise[i - 1] + (1 - correlation**2) ** 0.5 * drive[i]
    return (1 - fall) ** (np.arange(steps) / window) * (1 + SCATTER * noise)


def main() -> None:
    """Count, and write the shares."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--curves", type=int, default=100)
    count = parser.parse_args().curves
    stage = load_config(Path(conf_dir()) / "cascade" / "three_stage.yaml")
    steps, settings = stage.skeleton.max_steps, dict(stage.skeleton.module.exit_plateau)
    rows = []
    for fall in FALLS:
        for correlation in CORRELATIONS:
            reached = 0
            for seed in track(range(count), f"fall {fall}, correlation {correlation}"):
                plateau = Plateau(**settings)
                values = curve(steps, settings["window"], fall, correlation, seed)
                reached += any(plateau.update(float(value)) for value in values)
            rows.append(
                {"fall_over_window": fall, "correlation": correlation, "ended": reached / count}
            )
            print(rows[-1])
    record("plateau", curves=count, steps=steps, scatter=SCATTER, **settings, rows=rows)


if __name__ == "__main__":
    main()
