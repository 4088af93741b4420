"""Where measured figures go: benchmarks/results/<name>.json, with the revision and the machine."""

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from mask_sup.files.disk import write_file

__all__ = ["RESULTS", "machine", "record", "revision"]

RESULTS = Path(__file__).parent / "results"


def revision() -> str:
    """The last commit of the program and its configs, marked where the working tree differs."""

    def git(*words: str) -> str:
        words = (*words, "--", "src", "conf")
        return subprocess.run(["git", *words], capture_output=True, text=True).stdout.strip()

    return git("log", "-1", "--format=%H") + ("+changes" if git("status", "--porcelain") else "")


def machine() -> str:
    """What the figures were measured on, and on how many threads."""
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    return f"{platform.machine()}, {os.cpu_count()} cores, threads: {threads}"


def record(name: str, **figures: Any) -> None:
    """Write the figures of one benchmark."""
    told = {"commit": revision(), "machine": machine(), **figures}
    write_file(RESULTS / f"{name}.json", json.dumps(told, indent=1) + "\n")
