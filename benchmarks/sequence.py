"""Seconds that each step of the README's sequence for one's own cameras takes.

    python scripts/fetch_recording.py data/recording --masks <zip or folder>
    python benchmarks/sequence.py data/recording outputs/demo/last_round/checkpoints/last.ckpt

From videos and the calibration that came with them to exports and a report, with masks of our own
(`grabcut`), in a temporary project that is kept with --keep; whole commands, one after another.
Written to benchmarks/results/sequence.json. Run nothing else meanwhile.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import record


def steps(project: Path, run: Path, init: Path) -> dict[str, list[str]]:
    """Name -> module and words of each step after `new`."""
    man, poses = f"input={project}", project / "poses" / "poses.npz"
    masks, adapted = (
        project / "masks",
        run / "adapted" / "second_round" / "checkpoints" / "last.ckpt",
    )
    train = ["--config-dir", str(project), f"+experiment={project.name}", f"init={init}"]
    formats = "formats=[bvh,trc,csv,json]"
    return {
        "masks": ["masks", man, f"output={masks}", "extractor=grabcut"],
        "masks check": ["masks", "check", f"masks={masks}", man],
        "calibration check": ["calibration", "check", man],
        "calibration refine": ["calibration", "refine", man, f"output={project / 'cameras.json'}"],
        "train": ["train", *train, "cascade=adapt", f"hydra.run.dir={run / 'adapted'}"],
        "predict": ["predict", f"checkpoint={adapted}", man, f"output={poses.parent}"],
        "export": ["export", f"poses={poses}", formats],
        "report": ["report", f"poses={poses}"],
    }


def timed(words: list[str]) -> float:
    """Seconds of one command."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", *words], check=True)
    return time.perf_counter() - start


def main() -> None:
    """Run the steps, write and print their seconds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recording", type=Path, help="with videos/ and Calib.qca.txt")
    parser.add_argument("init", type=Path, help="checkpoint to adapt")
    parser.add_argument("--keep", type=Path, help="folder for the project and its run")
    given = parser.parse_args()
    root = (given.keep or Path(tempfile.mkdtemp())).absolute()
    project, videos = root / "man", root / "raw" / "videos"
    shutil.copytree(given.recording / "videos", videos)
    shutil.copy(given.recording / "Calib.qca.txt", videos.parent)
    seconds = {"new": timed(["mask_sup.new", str(project), "--videos", str(videos)])}
    for name, (module, *words) in steps(project, root / "run", given.init.absolute()).items():
        seconds[name] = timed([f"mask_sup.{module}", *words])
    record("sequence", videos=len(list(videos.iterdir())), seconds=seconds)
    for name, value in seconds.items():
        print(f"{name}: {value:.0f} s")
    if given.keep is None:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
