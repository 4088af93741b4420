"""Crops a second of a training step: forward, backward and optimiser, by network and precision.

    python benchmarks/step.py

One thread. All rows take their steps turn by turn in one process, on random crops and targets, the
second of two in a row; figures are medians, ratios are to the first row of as many crops:
quickstart's step as it was, with 4 channels a group and Muon's iteration on the wide matrix. psi,
forward and backward alone, is as in quickstart, on patches; beside it as it was, a U-Net at full
size; its ratio is to forward and backward of quickstart's detector. Without AMX or AVX512-BF16,
bf16 is emulated, and timed in one turn. Written to benchmarks/results/step.json.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple
from unittest.mock import patch

import torch
from hydra import compose, initialize_config_dir
from record import record
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from mask_sup.files.build import build
from mask_sup.files.config import conf_dir
from mask_sup.method import optim
from mask_sup.method.precision import BF16, FULL, has_bf16

SIDE = 64  # pixels of crops and masks in quickstart
PRIORS = {
    "psi, U-Net": ("shape_prior=unet", "shape_prior.channels=[8,16,32]"),
    "psi, patches": ("shape_prior=patch",),
}
WIDE = ("detector=patch128", "data.image_size=128")
HERE = "hourglass, 4 a group"  # quickstart's detector
GROUPS = "detector.backbone.channels_per_group"


class Row(NamedTuple):
    """One kind of step."""

    what: str
    overrides: tuple[str, ...]
    crops: int
    precision: str = FULL
    wide_muon: bool = False


def rows(crops: int) -> list[Row]:
    """All kinds of steps, the one of before first."""
    kinds = [
        Row("hourglass, 4 a group, wide Muon", (f"{GROUPS}=4",), crops, FULL, True),
        Row(HERE, (f"{GROUPS}=4",), crops),
        Row("patch, wide Muon", ("detector=patch",), crops, FULL, True),
    ]
    for what, overrides in {
        "hourglass, 16 a group": (f"{GROUPS}=16",),
        "patch": ("detector=patch",),
        "patch, 128 pixels": WIDE,
    }.items():
        kinds += [Row(what, overrides, crops, precision) for precision in (FULL, BF16)]
    return kinds


def on_the_wide_matrix(matrix: Tensor) -> Tensor:
    """Muon's iteration as Jordan et al. write it, every step on the whole matrix."""
    wide = matrix if matrix.shape[-2] <= matrix.shape[-1] else matrix.mT
    x = wide / wide.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-7)
    a, b, c = optim.NEWTON_SCHULZ
    for _ in range(optim.ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide is matrix else x.mT


def step_of(row: Row) -> Callable[[], dict[str, float]]:
    """A step that tells the seconds of its parts."""
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        cfg = compose("train", ["+experiment=quickstart", *row.overrides])
    torch.manual_seed(0)
    skeleton = build(cfg.skeleton, "skeleton")
    detector = build(cfg.detector, "detector", skeleton=skeleton).train()
    optimizer = build(cfg.optimizer, "optimizer")(detector.parameters())
    images = torch.rand(row.crops, 3, cfg.data.image_size, cfg.data.image_size)
    joints = torch.rand(row.crops, len(skeleton.joints), 3) - 0.5
    iteration = on_the_wide_matrix if row.wide_muon else optim.orthogonalised

    def step() -> dict[str, float]:
        optimizer.zero_grad()
        begun = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=row.precision == BF16):
            loss = (detector(images) - joints).abs().mean()
        loss.backward()
        passed = time.perf_counter()
        with patch.object(optim, "orthogonalised", iteration):
            optimizer.step()
        ended = time.perf_counter()
        return {"passes": passed - begun, "optimizer": ended - passed, "step": ended - begun}

    return step


def psi_of(overrides: tuple[str, ...], crops: int) -> Callable[[], float]:
    """Seconds of psi, forward and backward."""
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        cfg = compose("train", ["+experiment=quickstart", *overrides])
    torch.manual_seed(0)
    psi: nn.Module = build(cfg.shape_prior, "shape_prior")
    masks = torch.rand(crops, SIDE, SIDE, requires_grad=True)

    def step() -> float:
        psi.zero_grad()
        begun = time.perf_counter()
        psi(masks).square().mean().backward()
        return time.perf_counter() - begun

    return step


def medians(times: list[dict[str, float]]) -> dict[str, float]:
    """Milliseconds by part."""
    return {f"{part}_ms": 1e3 * statistics.median(t[part] for t in times) for part in times[0]}


def main() -> None:
    """Print one row per kind of step, write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crops", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    torch.set_num_threads(1)
    todo = {row: step_of(row) for crops in given.crops for row in rows(crops)}
    priors = {
        (what, crops): psi_of(overrides, crops)
        for crops in given.crops
        for what, overrides in PRIORS.items()
    }
    times: dict[Row, list[dict[str, float]]] = {row: [] for row in todo}
    prior_times: dict[tuple[str, int], list[float]] = {key: [] for key in priors}
    for turn in range(given.repeats):
        for row, step in todo.items():
            if turn and row.precision == BF16 and not has_bf16():
                continue
            step()
            times[row].append(step())
        for key, step in priors.items():
            step()
            prior_times[key].append(step())
    found = [row._asdict() | medians(times[row]) for row in todo]
    table = Table(title="a training step, one thread")
    for column in ("network", "crops", "precision", "passes", "optimiser", "crops/s", "of before"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for row in found:
        before = next(r for r in found if r["crops"] == row["crops"])
        row["crops_a_second"] = 1e3 * row["crops"] / row["step_ms"]
        row["of_before"] = before["step_ms"] / row["step_ms"]
        passes, optimizer = f"{row['passes_ms']:.0f} ms", f"{row['optimizer_ms']:.1f} ms"
        rate, share = f"{row['crops_a_second']:.0f}", f"{row['of_before']:.2f}x"
        table.add_row(
            row["what"], str(row["crops"]), row["precision"], passes, optimizer, rate, share
        )
    psi = []
    for (what, crops), seconds in prior_times.items():
        ms = 1e3 * statistics.median(seconds)
        detector = next(row for row in found if row["what"] == HERE and row["crops"] == crops)
        share = ms / detector["passes_ms"]
        psi.append({"what": what, "crops": crops, "ms": ms, "of_detector": share})
        rate, told = f"{1e3 * crops / ms:.0f}", f"{share:.2f} of detector"
        table.add_row(what, str(crops), FULL, f"{ms:.0f} ms", "", rate, told)
    record("step", bf16_in_processor=has_bf16(), repeats=given.repeats, rows=found, psi=psi)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
