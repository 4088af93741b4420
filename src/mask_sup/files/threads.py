"""How many threads PyTorch takes: as many as the machine has cores free when a command starts.

Threads that share a core with another program make each other wait at the end of every operation:
on a busy machine, as many threads as there are cores are slower than one.
"""

import math
import os
from collections.abc import Collection
from pathlib import Path

__all__ = ["own_cores", "settle_threads"]

TOLD = "OMP_NUM_THREADS"
QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds, of how many
SECONDS = 0.4  # of looking at the machine


def settle_threads(before: int | None = None) -> int:
    """Set PyTorch's threads from what the machine has free, and tell it in a line.

    `OMP_NUM_THREADS` is obeyed, where it is set.

    Args:
        before: The number that a run began with, which a resumed one keeps: another one rounds
            otherwise. None: look at the machine.

    Returns:
        The number of threads.
    """
    import torch

    most = torch.get_num_threads()
    if TOLD in os.environ:
        threads, why = most, f"as {TOLD} says"
    elif before:
        threads, why = before, "as when this run began"
    else:
        cores, busy = len(own_cores()), busy_cores()
        free = min(cores - busy, _quota())
        threads = max(1, min(most, round(free)))
        why = f"{free:.1f} of {cores} cores are free ({TOLD}=n sets another number)"
    torch.set_num_threads(threads)
    print(f"threads: {threads}, {why}")
    return threads


def busy_cores() -> float:
    """How many of the cores that this process may use have been busy, while it did nothing."""
    import psutil

    shares = psutil.cpu_percent(SECONDS, percpu=True)
    return sum(shares[core] for core in own_cores() if core < len(shares)) / 100


def own_cores() -> Collection[int]:
    """The cores that this process may use: not all, where it was bound to some."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return range(os.cpu_count() or 1)


def _quota() -> float:
    """How many cores' time this process's container may use."""
    try:
        time, of = QUOTA.read_text().split()
        return int(time) / int(of)
    except (OSError, ValueError):  # no container, or no quota: "max"
        return math.inf
