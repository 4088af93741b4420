"""Time and memory of the closed-form renderer against keeping every bone map for autograd.

    python benchmarks/renderer.py

Both draw the same skeletons in one process, turn by turn; ratios are of medians. Peak memory is
that of a process of its own for each, less what the process held before drawing. Written to
benchmarks/results/renderer.json.
"""

import argparse
import multiprocessing
import statistics
import time
from pathlib import Path

import torch
from record import record
from rich.console import Console
from rich.table import Table

from mask_sup.geometry.segments import draw_segments

BONES = 21
WIDTH = 0.0548


def naive(ends: torch.Tensor, width: torch.Tensor, size: int, merge: str) -> torch.Tensor:
    """Eq. (4-5) as written: all bones x all pixels, kept by autograd."""
    centres = (torch.arange(size, dtype=ends.dtype) * 2 + 1) / size - 1
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    pixel = torch.stack([x, y], -1)
    a, c = ends[:, :, None, None, 0], ends[:, :, None, None, 1]
    along = c - a
    t = ((pixel - a) * along).sum(-1) / along.square().sum(-1).clamp_min(1e-12)
    nearest = a + t.clamp(0, 1)[..., None] * along
    squared = (pixel - nearest).square().sum(-1) / width[:, None, None] ** 2
    maps = torch.exp(-squared)
    return maps.max(1).values if merge == "max" else maps.sum(1)


def step(draw, crops: int, size: int, merge: str) -> float:
    """Seconds of one forward and backward pass."""
    generator = torch.Generator().manual_seed(0)
    ends = (torch.rand(crops, BONES, 2, 2, generator=generator) * 2 - 1).requires_grad_()
    width = torch.full((BONES,), WIDTH)
    start = time.perf_counter()
    draw(ends, width, size, merge).square().sum().backward()
    return time.perf_counter() - start


def peak_mb(name: str, crops: int, size: int, merge: str) -> float:
    """Additional peak memory of one pass, MB."""
    draw = naive if name == "naive" else draw_segments
    step(draw, 1, 16, merge)  # what the first use loads does not count
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = status_mb("VmRSS")
    step(draw, crops, size, merge)
    return status_mb("VmHWM") - before


def status_mb(key: str) -> float:
    """A memory figure of this process, Linux only; getrusage inherits its parent's peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def main() -> None:
    """Print one row per size and merge, write them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    table = Table(title=f"forward + backward, {BONES} bones, {torch.get_num_threads()} threads")
    for column in ("crops", "merge", "closed form", "naive", "ratio", "memory", "naive memory"):
        table.add_column(column, justify="right")
    rows = []
    context = multiprocessing.get_context("spawn")
    for crops, size in ((48, 64), (16, 128), (8, 256)):
        for merge in ("max", "sum"):
            times = {"ours": [], "naive": []}
            for _ in range(repeats):
                times["ours"].append(step(draw_segments, crops, size, merge))
                times["naive"].append(step(naive, crops, size, merge))
            ours, theirs = (statistics.median(times[name]) for name in ("ours", "naive"))
            memory = []
            for name in ("ours", "naive"):
                with context.Pool(1) as pool:
                    memory.append(pool.apply(peak_mb, (name, crops, size, merge)))
            rows.append(
                {
                    "crops": crops,
                    "size": size,
                    "merge": merge,
                    "seconds": ours,
                    "times_faster": theirs / ours,
                    "mb": memory[0],
                    "naive_mb": memory[1],
                }
            )
            table.add_row(
                f"{crops} x {size}^2",
                merge,
                f"{ours * 1e3:.1f} ms",
                f"{theirs * 1e3:.1f} ms",
                f"{theirs / ours:.1f}x",
                f"{memory[0]:.0f} MB",
                f"{memory[1]:.0f} MB",
            )
    record("renderer", bones=BONES, rows=rows)
    Console().print(table)


if __name__ == "__main__":
    main()
