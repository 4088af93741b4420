"""Does a training survive? Kills, flipped bits, signals, lost processes, garbage, hostile files.

    python benchmarks/reliability.py                    # all of it, about an hour on two cores
    python benchmarks/reliability.py --parts kills --kills 20

Every part counts what it tried and what came of it; all counts are written to
benchmarks/results/reliability.json, and docs/reliability.md is made of them. A small part of it is
among the tests.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import garbage
import numpy as np
import torch
from hydra import compose, initialize_config_dir
from record import RESULTS, record, revision
from rich.progress import track

from mask_sup.files.config import conf_dir, load_config
from mask_sup.files.disk import write_file
from mask_sup.models.checkpoint import read_checkpoint

PAGE = Path(__file__).parents[1] / "docs" / "reliability.md"
STEPS = 12
SMALL = [
    "+experiment=smoke",
    "data.source.moments={train: 6, val: 2}",
    "~data.source.moments.mocap",
    "data.source.size=32",
    "data.batch_size=2",
    "detector.backbone.channels=16",
    "cascade.relabel.module.scenes=6",
    f"trainer.val_check_interval={STEPS}",
    "+trainer.enable_progress_bar=false",
    "save_every=2",
    *(
        f"cascade.{stage}.max_steps={STEPS}"
        for stage in ("skeleton", "physique", "relabel", "arms")
    ),
]
PATIENCE = 300.0  # seconds after which a process counts as hanging
SAVED_WITHIN = 5.0  # seconds from a signal to the end of a process
ENDED_WITHIN = 60.0  # seconds from the death of one process to the end of all
CONTEXT = multiprocessing.get_context("forkserver")  # libraries are loaded once
CONTEXT.set_forkserver_preload(["lightning", "torch", "mask_sup.train", "mask_sup.method.relabel"])


class Part(NamedTuple):
    """What one part found: counts by outcome, and those of them that must not be."""

    counts: dict[str, int]
    bad: tuple[str, ...]
    says: str


# -- one small training ---------------------------------------------------------------------------


def fresh(folder: Path) -> None:
    """Train in this process; entered in a child."""
    torch.set_num_threads(1)
    from mask_sup.train import train

    with initialize_config_dir(conf_dir(), version_base="1.3"):
        cfg = compose("train", [*SMALL, f"data.source.root={folder.parent / 'cache'}"])
    train(cfg, folder)


def resumed(folder: Path) -> None:
    """Finish a training in this process, as `resume=<folder>` does; entered in a child."""
    torch.set_num_threads(1)
    from mask_sup.train import train

    train(load_config(folder / "config.yaml"), folder)


def child(job: Callable[[Path], None], folder: Path) -> multiprocessing.Process:
    """The job in a process of its own, without words."""
    process = CONTEXT.Process(target=quietly, args=(job, folder))
    process.start()
    return process


def quietly(job: Callable[[Path], None], folder: Path) -> None:
    """The job, with all that it says in <folder>.log."""
    with open(f"{folder}.log", "a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        job(folder)


def weights(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    """Of every stage's last checkpoint."""
    return {
        path.parents[1].name: read_checkpoint(path)["state_dict"]
        for path in sorted(folder.glob("*/checkpoints/last.ckpt"))
    }


def equal(found: dict, wanted: dict) -> bool:
    """Whether all weights are the same bits."""
    return found.keys() == wanted.keys() and all(
        found[stage].keys() == wanted[stage].keys()
        and all(torch.equal(value, wanted[stage][key]) for key, value in found[stage].items())
        for stage in wanted
    )


def reference(root: Path) -> tuple[dict, float]:
    """Weights of a training that nothing disturbs, and its seconds."""
    process, start = child(fresh, root / "reference"), time.perf_counter()
    process.join()
    if process.exitcode:
        raise SystemExit((root / "reference.log").read_text())
    return weights(root / "reference"), time.perf_counter() - start


def finished(root: Path, folder: Path, wanted: dict) -> str:
    """What comes of a disturbed training that is resumed: `equal`, or what is wrong."""
    job = resumed if (folder / "config.yaml").is_file() else fresh
    process = child(job, folder)
    process.join(PATIENCE)
    if process.is_alive():
        process.kill()
        return "hangs"
    if process.exitcode:
        return "resume fails"
    if not equal(weights(folder), wanted):
        return "other weights"
    left = [path for path in folder.rglob("*") if path.name.endswith(".part")]
    return "leaves files" if left else "equal"


# -- kills ----------------------------------------------------------------------------------------


def anywhere(folder: Path, rng: np.random.Generator, seconds: float) -> Callable[[], bool]:
    """At any time."""
    end = time.perf_counter() + rng.uniform(0.0, seconds)
    return lambda: time.perf_counter() > end


def while_writing(folder: Path, rng: np.random.Generator, seconds: float) -> Callable[[], bool]:
    """While a checkpoint is half-written: one of the first twenty."""
    left, there = int(rng.integers(1, 21)), False

    def now() -> bool:
        nonlocal left, there
        before, there = there, any(folder.glob("*/checkpoints/.*.part"))
        left -= there and not before
        return left <= 0

    return now


def while_relabelling(folder: Path, rng: np.random.Generator, seconds: float) -> Callable[[], bool]:
    """In a round's search, or in the writing of its poses."""
    end, wait = None, rng.uniform(0.0, 0.5)

    def now() -> bool:
        nonlocal end
        if end is None and (folder / "physique" / "finished.json").is_file():
            end = time.perf_counter() + wait
        return end is not None and time.perf_counter() > end

    return now


TIMES = (anywhere, while_writing, while_relabelling)


def kills(root: Path, count: int) -> Part:
    """SIGKILL, then `resume=`: every stage's weights against an undisturbed training's."""
    wanted, seconds = reference(root)
    found: Counter[str] = Counter()
    for number in track(range(count), "kills"):
        rng, when = np.random.default_rng(number), TIMES[number % len(TIMES)]
        folder = root / f"kill{number}"
        process, killed = child(fresh, folder), False
        now = when(folder, rng, seconds)
        while process.is_alive() and not killed:
            if now():
                process.kill()
                killed = True
            time.sleep(0.0005)
        process.join()
        name = when.__doc__.split(":")[0].rstrip(".").lower() if killed else "not in time"
        outcome = finished(root, folder, wanted)
        found[f"{name}: {outcome}"] += 1
        keep_or_remove(folder, outcome == "equal")
    bad = tuple(name for name in found if not name.endswith("equal"))
    return Part(dict(found), bad, "resumed after SIGKILL; `equal`: all weights, to the bit")


def keep_or_remove(folder: Path, good: bool) -> None:
    """Remove what is of no more use; what went wrong stays for people to look at."""
    if good:
        shutil.rmtree(folder, ignore_errors=True)
        Path(f"{folder}.log").unlink(missing_ok=True)


# -- flipped bits ---------------------------------------------------------------------------------


def flips(root: Path, count: int) -> Part:
    """One flipped bit anywhere in a checkpoint, which is then read."""
    if not (root / "reference").is_dir():
        reference(root)
    path = root / "reference" / "arms" / "checkpoints" / "last.ckpt"
    content, whole = path.read_bytes(), read_checkpoint(path)
    damaged, found = root / "damaged.ckpt", Counter()
    rng = np.random.default_rng(0)
    for bit in track(rng.integers(0, 8 * len(content), count).tolist(), "flips"):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.write_bytes(flipped)
        found[read_again(damaged, whole)] += 1
    return Part(dict(found), ("loads silently", "unhandled"), "checkpoints with one bit flipped")


def read_again(path: Path, whole: dict[str, Any]) -> str:
    """Whether damage is seen."""
    try:
        told = read_checkpoint(path)
    except ValueError:
        return "refused"
    except Exception:
        return "unhandled"
    same = equal({"": told["state_dict"]}, {"": whole["state_dict"]})
    return "harmless" if same and told["config"] == whole["config"] else "loads silently"


# -- signals --------------------------------------------------------------------------------------


def command(*words: str, **options: Any) -> subprocess.Popen:
    """A command of this package, in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", **options.pop("environment", {})}
    return subprocess.Popen(
        [sys.executable, "-m", *words],
        env=environment,
        stdout=options.pop("log", subprocess.DEVNULL),
        stderr=subprocess.STDOUT,
        **options,
    )


def training(root: Path, folder: Path, *words: str) -> list[str]:
    """Words of the small training."""
    return ["mask_sup.train", *SMALL, f"data.source.root={root / 'cache'}",
            f"hydra.run.dir={folder}", *words]  # fmt: skip


PLACES = {  # a signal comes this many seconds after this file has appeared in the run folder
    "in a stage": ("skeleton/checkpoints/last.ckpt", 0.05),
    "in a round": ("physique/finished.json", 0.1),
    "in a late stage": ("arms/checkpoints/last.ckpt", 0.05),
}


def signals(root: Path, count: int) -> Part:
    """SIGTERM, SIGUSR1 and SIGINT: seconds to the end, exit code, and what resuming gives."""
    wanted, _ = reference(root) if not (root / "reference").is_dir() else (None, 0.0)
    wanted = wanted or weights(root / "reference")
    found: Counter[str] = Counter()
    kinds = [(s, p) for s in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT) for p in PLACES]
    for number in track(range(count), "signals"):
        which, place = kinds[number % len(kinds)]
        folder = root / f"signal{number}"
        awaited, wait = PLACES[place]
        with open(f"{folder}.log", "w") as log:
            process = command(*training(root, folder), log=log)
            while process.poll() is None and not (folder / awaited).exists():
                time.sleep(0.005)
            time.sleep(wait)
            in_time = process.poll() is None
            process.send_signal(which)
            start = time.perf_counter()
            code = process.wait(PATIENCE)
        late = time.perf_counter() - start > SAVED_WITHIN
        outcome = "too late" if late else "exit code 0" if code == 0 else ""
        outcome = outcome or finished(root, folder, wanted)
        name = which.name if in_time else "not in time"
        found[f"{name} {place}: {outcome}"] += 1
        keep_or_remove(folder, outcome == "equal")
    bad = tuple(name for name in found if not name.endswith("equal") and "not in time" not in name)
    return Part(
        dict(found), bad,
        f"signals, ended within {SAVED_WITHIN:.0f} s with a code other than 0; `equal`: resumed to "
        "the same weights",
    )  # fmt: skip


# -- several processes ----------------------------------------------------------------------------


def ranks(root: Path, count: int) -> Part:
    """Two gloo processes; one is killed in a stage or in a round: seconds until both are gone."""
    found: Counter[str] = Counter()
    for number in track(range(count), "ranks"):
        folder, victim = root / f"ranks{number}", number % 2
        awaited, wait = list(PLACES.values())[number // 2 % len(PLACES)]
        words = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
        with open(f"{folder}.log", "w") as log:
            process = command(*training(root, folder, *words), log=log, start_new_session=True)
            while process.poll() is None and not (folder / awaited).exists():
                time.sleep(0.01)
            time.sleep(wait)
            family = members(process.pid)
            if process.poll() is not None or len(family) < 2:
                found["not in time"] += 1
                continue
            os.kill(family[victim], signal.SIGKILL)
            start = time.perf_counter()
            while any(alive(pid) for pid in family) and time.perf_counter() - start < ENDED_WITHIN:
                process.poll()
                time.sleep(0.1)
        left = [pid for pid in family if alive(pid)]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        ended = "still there" if left else "exit code 0" if process.wait() == 0 else "ended"
        found[f"rank {victim} killed: {ended}"] += 1
    bad = tuple(name for name in found if "still there" in name or "code 0" in name)
    return Part(dict(found), bad, f"all processes gone within {ENDED_WITHIN:.0f} s")


def members(leader: int) -> list[int]:
    """A process and its children that train, in the order of their ranks."""
    listed = subprocess.run(
        ["pgrep", "--session", str(leader), "--full", "mask_sup"], capture_output=True, text=True
    )
    return sorted(int(pid) for pid in listed.stdout.split())


def alive(pid: int) -> bool:
    """Whether a process runs (a dead child that nobody has waited for does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


# -- garbage --------------------------------------------------------------------------------------


def garbled(root: Path, count: int) -> Part:
    """Damaged files and senseless values of every kind."""
    if not (root / "reference").is_dir():
        reference(root)
    kinds = garbage.all_kinds(root, root / "reference" / "arms" / "checkpoints" / "last.ckpt")
    found: Counter[str] = Counter()
    for number, (name, kind) in enumerate(track(kinds.items(), "garbage")):
        kind.run(count // len(kinds), number)
        found.update({f"{name}: {outcome}": n for outcome, n in kind.found.items()})
        if kind.told:
            write_file(root / f"garbage_{name}.log", "\n".join(dict.fromkeys(kind.told)))
    ends = ("unhandled", "wrong", "slow")
    return Part(dict(found), tuple(n for n in found if n.endswith(ends)), "cases by hypothesis")


# -- hostile files --------------------------------------------------------------------------------


def hostile(root: Path, _: int) -> Part:
    """The attacks of tests/test_hostile.py: files made to run code, or to eat memory or time."""
    attacks = Path(__file__).parents[1] / "tests" / "test_hostile.py"
    told = root / "hostile.xml"
    words = [sys.executable, "-m", "pytest", "-q", str(attacks), f"--junitxml={told}"]
    subprocess.run(words, cwd=attacks.parents[1], stdout=subprocess.DEVNULL)
    found: Counter[str] = Counter()
    for case in ElementTree.parse(told).iter("testcase"):
        name = case.get("name", "").partition("[")[0].removeprefix("test_").replace("_", " ")
        failed = case.find("failure") is not None or case.find("error") is not None
        found[f"{name}: {'NOT SO' if failed else 'so it is'}"] += 1
    bad = tuple(name for name in found if name.endswith("NOT SO"))
    return Part(dict(found), bad, "files made to run code, or to eat memory or time")


PARTS = {
    "kills": kills,
    "flips": flips,
    "signals": signals,
    "ranks": ranks,
    "garbage": garbled,
    "hostile": hostile,
}


def page(told: dict[str, Any]) -> str:
    """docs/reliability.md."""
    rows = []
    for name, part in told["parts"].items():
        tried = sum(part["counts"].values())
        bad = sum(part["counts"].get(key, 0) for key in part["bad"])
        rows.append(f"| {name} | {tried} | {bad} | {part['commit'][:12]} | {part['says']} |")
    details = []
    for name, part in told["parts"].items():
        lines = [f"| {key} | {n} |" for key, n in sorted(part["counts"].items())]
        details += [
            f"\n## {name}\n",
            f"{part['says']}.\n",
            "| outcome | times |",
            "|---|---|",
            *lines,
        ]
    return "\n".join(
        [
            "# Reliability\n",
            "Written by `python benchmarks/reliability.py`; the counts are in "
            "`benchmarks/results/reliability.json`.",
            f"{told['machine']}.\n",
            "| part | tried | went wrong | revision | what |",
            "|---|---|---|---|---|",
            *rows,
            *details,
            "",
        ]
    )


def main() -> None:
    """Run the parts that are asked for, write the result and the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--signals", type=int, default=18)
    parser.add_argument("--ranks", type=int, default=6)
    parser.add_argument("--garbage", type=int, default=11_000)
    parser.add_argument("--folder", type=Path, help="where to work; kept")
    given = parser.parse_args()
    root = (given.folder or Path(tempfile.mkdtemp())).absolute()
    root.mkdir(parents=True, exist_ok=True)
    path = RESULTS / "reliability.json"
    parts = json.loads(path.read_text())["parts"] if path.is_file() else {}
    for name in given.parts:
        found = PARTS[name](root, getattr(given, name, 1))
        parts[name] = found._asdict() | {"commit": revision()}
        print(name, json.dumps(found.counts, indent=1))
        record("reliability", parts={name: parts[name] for name in PARTS if name in parts})
    write_file(PAGE, page(json.loads(path.read_text())))
    bad = [f"{n}: {key}" for n, p in parts.items() for key in p["bad"] if p["counts"].get(key)]
    raise SystemExit(f"went wrong: {bad}" if bad else 0)


if __name__ == "__main__":
    main()
