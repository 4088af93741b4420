"""What is installed, what is missing, and what to do about it.

Nothing is changed and nothing is fetched. Ends with 1 where something would stop a command, else
with 0; --json is for programs.
"""

import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distributions, requires, version
from pathlib import Path
from typing import NamedTuple

import click

from mask_sup.files.verbs import Command

__all__ = ["Finding", "examine"]

GB = 1e9
LEAST_DISK, LEAST_MEMORY = 1.0, 2.0  # GB: drawn data and checkpoints; a training of the quickstart
COMPILERS = ("c++", "g++", "clang++", "cl")
OPENCV = "opencv-"  # all of its packages put the same module in place: the last one wins


class Finding(NamedTuple):
    """One thing that was looked at."""

    name: str
    fine: bool
    told: str
    """What is there."""
    cure: str = ""
    """What to do where it is not fine, or where a command would do better with it."""


def examine() -> list[Finding]:
    """All that commands need, in order; a check that fails itself is a finding that is not fine."""
    found = []
    for check in CHECKS:
        try:
            found += check()
        except Exception as error:  # a broken package may raise anything
            name = check.__name__.strip("_")
            found.append(Finding(name, False, f"{type(error).__name__}: {error}", "reinstall"))
    return found


def _packages() -> Iterator[Finding]:
    """Ours, Python's, and whether each package that we need is there in a version that will do."""
    from packaging.requirements import Requirement

    yield Finding("mask-sup", True, f"{version('mask-sup')}, Python {platform.python_version()}")
    wrong = []
    for text in requires("mask-sup") or ():
        needed = Requirement(text)
        if needed.marker and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            there = version(needed.name)
        except PackageNotFoundError:
            wrong.append(f"{needed} is missing")
            continue
        if not needed.specifier.contains(there, prereleases=True):
            wrong.append(f"{needed.name} is {there}, expected {needed.specifier}")
    told = "; ".join(wrong) or "all there"
    yield Finding("packages", not wrong, told, "pip install -U mask-sup" if wrong else "")


def _device() -> Iterator[Finding]:
    import torch

    from mask_sup.files.threads import own_cores
    from mask_sup.method.precision import has_bf16

    yield Finding("torch", True, torch.__version__)
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / GB
        yield Finding("device", True, f"{torch.cuda.get_device_name()}, {memory:.0f} GB")
        return
    fast = "with" if has_bf16() else "without"
    yield Finding("device", True, f"cpu: {len(own_cores())} cores, {fast} fast bf16",
                  "fine for predict and the quickstart; h36m_full wants a GPU")  # fmt: skip


def _geodesic() -> Iterator[Finding]:
    compiler = next((name for name in COMPILERS if shutil.which(name)), None)
    try:
        import_module("skfmm")
    except ImportError as error:
        from mask_sup.geometry.geodesic import INSTEAD

        cure = "pip install scikit-fmm" if compiler else "install a C++ compiler, then scikit-fmm"
        yield Finding("scikit-fmm", True, f"not there ({error}): {INSTEAD}", cure)
        return
    yield Finding("scikit-fmm", True, f"{version('scikit-fmm')}, compiler {compiler or 'none'}")


def _opencv() -> Iterator[Finding]:
    there = sorted(
        {
            f"{package.metadata['Name'].lower()} {package.version}"
            for package in distributions()
            if (package.metadata["Name"] or "").lower().startswith(OPENCV)
        }
    )
    double = len(there) > 1
    cure = "they overwrite each other: pip uninstall all, then install opencv-python-headless"
    yield Finding("OpenCV", not double, ", ".join(there), cure if double else "")
    import_module("cv2")


def _video() -> Iterator[Finding]:
    av = import_module("av")
    yield Finding("video", True, f"PyAV {av.__version__}, with FFmpeg's libraries in it")


def _weights() -> Iterator[Finding]:
    from mask_sup.models.shipped import read_pair, weights_file

    path = weights_file("shipped")
    read_pair(path)
    yield Finding(
        "weights", True, f"the detector in the package, {path.stat().st_size / 1e6:.1f} MB"
    )


def _room() -> Iterator[Finding]:
    """Disk where runs and drawn data go, and memory."""
    import psutil

    cache = Path(os.environ.get("MASK_SUP_CACHE", "~/.cache/mask_sup")).expanduser()
    for name, folder in (("disk", Path.cwd()), ("cache", cache)):
        there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
        free = shutil.disk_usage(there).free / GB
        try:
            with tempfile.TemporaryFile(dir=there):
                cure = "" if free > LEAST_DISK else f"make room: expected {LEAST_DISK:g} GB"
        except OSError as error:
            cure = f"not writable ({error.strerror}): " + (
                "set MASK_SUP_CACHE to another folder" if name == "cache" else "work elsewhere"
            )
        yield Finding(name, not cure, f"{free:.0f} GB free in {folder}", cure)
    free = psutil.virtual_memory().available / GB
    little = free < LEAST_MEMORY
    cure = "close other programs, or give data.memory=false" if little else ""
    yield Finding("memory", not little, f"{free:.1f} GB available", cure)


def _wandb() -> Iterator[Finding]:
    mode = os.environ.get("WANDB_MODE", "offline")
    known = mode in ("online", "offline", "disabled")
    cure = "" if known else "WANDB_MODE is online, offline or disabled"
    yield Finding("W&B", known, f"{mode}, with logger=wandb alone", cure)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    *(_packages, _device, _geodesic, _opencv, _video, _weights, _room, _wandb),
)


@click.command("doctor", cls=Command, help=__doc__)
@click.option("--json", "for_programs", is_flag=True, help="For programs.")
def main(for_programs: bool) -> None:
    """Print what is found; the exit status is 1 where something is not fine."""
    found = examine()
    if for_programs:
        print(json.dumps([one._asdict() for one in found], indent=1))
    else:
        for name, fine, told, cure in found:
            line = f"{'ok' if fine else '!!':3}{name:12}{told}"
            print(line + (f"\n{'':15}{cure}" if cure else ""))
    sys.exit(not all(one.fine for one in found))


if __name__ == "__main__":
    main()
