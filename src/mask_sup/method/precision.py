"""In which precision a training computes, where `trainer.precision=auto` leaves it open.

bf16 halves what a step moves and multiplies faster on processors made for it (AMX, AVX512-BF16);
elsewhere it is emulated, many times slower. So it is tried on the network and the crops at hand,
once per run: what was decided is recorded, and a resumed run does not decide again.
"""

import copy
import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mask_sup.files.disk import write_file

__all__ = ["AUTO", "BF16", "FULL", "decided", "has_bf16", "settle", "trainer_node"]

RECORD = "precision.json"  # in the folder of the run
AUTO, FULL, BF16 = "auto", "32-true", "bf16-mixed"
GAIN = 0.9  # of the time of full precision, at most: less is within the noise of so few steps
ROUNDS = 5  # steps timed each way, turn by turn
ENOUGH_S = 1.0  # of measuring, after which one more round is not begun


def has_bf16() -> bool:
    """Whether this processor has instructions for bf16."""
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # not in every torch
    return any(getattr(torch.cpu, name, lambda: False)() for name in names)


def settle(folder: Path, network: nn.Module, crops: int, side: int) -> None:
    """Decide for the run in `folder`, unless it has decided before, and tell it in a line.

    Args:
        folder: Of the run.
        network: See `decided`.
        crops: See `decided`.
        side: See `decided`.
    """
    path = folder / RECORD
    if path.is_file():
        print(f"precision: {_recorded(path)}, as decided when this run began")
        return
    told = decided(network, crops, side)
    write_file(path, json.dumps(told, indent=2))
    print(f"precision: {told['precision']}, {told['why']}")


def trainer_node(node: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The trainer's node with what the run in `folder` has decided; before that, in full precision.

    Raises:
        ValueError: If precision is left open for another machine than one processor.
    """
    node = dict(node)
    if node.get("precision") == AUTO:
        _check_processor(node)
        path = folder / RECORD
        node["precision"] = _recorded(path) if path.is_file() else FULL
    return node


def _recorded(path: Path) -> str:
    return json.loads(path.read_text())["precision"]


def _check_processor(trainer: Mapping[str, Any]) -> None:
    """Refuse to decide for other machines than one processor."""
    accelerator, devices = trainer.get("accelerator"), trainer.get("devices")
    if accelerator != "cpu" or devices != 1:
        raise ValueError(
            f"trainer.precision={AUTO} is decided for one processor (trainer.accelerator=cpu "
            f"trainer.devices=1), not for accelerator={accelerator} devices={devices}: give "
            f"trainer.precision={FULL} or {BF16}"
        )


def decided(network: nn.Module, crops: int, side: int) -> dict[str, Any]:
    """bf16 where the processor has it and steps are faster by it, else full precision.

    Args:
        network: Images to a tensor; a copy of it is timed.
        crops: Of a step.
        side: Of a crop, pixels.

    Returns:
        `precision`, `why` in words, and `ms`: the median step each way, where it was measured.
    """
    if not has_bf16():
        return {"precision": FULL, "why": "this processor has no AMX and no AVX512-BF16", "ms": {}}
    ms = _measured(network, crops, side)
    faster = ms[BF16] < GAIN * ms[FULL]
    why = f"a step takes {ms[BF16]:.0f} ms in bf16, {ms[FULL]:.0f} in full precision"
    return {"precision": BF16 if faster else FULL, "why": why, "ms": ms}


def _measured(network: nn.Module, crops: int, side: int) -> dict[str, float]:
    """Milliseconds of a forward and backward pass each way; the run's random numbers are kept."""
    network = copy.deepcopy(network).train()
    images = torch.rand(crops, 3, side, side, generator=torch.Generator().manual_seed(0))
    times: dict[str, list[float]] = {FULL: [], BF16: []}
    for precision in times:
        _step(network, images, precision)  # what the first use loads does not count
    begun = time.perf_counter()
    for _ in range(ROUNDS):
        for precision, kept in times.items():
            kept.append(_step(network, images, precision))
        if time.perf_counter() - begun > ENOUGH_S:
            break
    return {precision: 1e3 * statistics.median(kept) for precision, kept in times.items()}


def _step(network: nn.Module, images: torch.Tensor, precision: str) -> float:
    """Seconds of one pass, forward and backward."""
    network.zero_grad()
    begun = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == BF16):
        loss = network(images).square().mean()
    loss.backward()
    return time.perf_counter() - begun
