"""Seconds that each step of the README's sequence for one's own cameras takes.

    mask-sup fetch data/recording
    python benchmarks/sequence.py data/recording outputs/demo/last_round/checkpoints/last.ckpt

From videos and the calibration that came with them to exports and a report, with no training, in a
temporary project that is kept with --keep; whole commands, one after another. Where mediapipe has
no environment yet, making it is part of `masks`. Written to benchmarks/results/sequence.json. Run
nothing else meanwhile.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import record


def steps(project: Path, checkpoint: Path) -> dict[str, list[str]]:
    """Name -> module and words of each step after `new`."""
    man, poses = f"input={project}", project / "poses" / "poses.npz"
    masks, network = project / "masks", ["extractor=mediapipe", "extractor.install=true"]
    return {
        "masks": ["masks", man, f"output={masks}", *network],
        "masks check": ["masks", "check", f"masks={masks}", man],
        "sync": ["sync", man],
        "calibration check": ["calibration", "check", man],
        "calibration refine": ["calibration", "refine", man, f"output={project / 'cameras.json'}"],
        "predict": ["predict", f"checkpoint={checkpoint}", man, f"output={poses.parent}"],
        "export": ["export", f"poses={poses}", "formats=[bvh,trc,csv,json]"],
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
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--keep", type=Path, help="folder for the project")
    given = parser.parse_args()
    root = (given.keep or Path(tempfile.mkdtemp())).absolute()
    project, videos = root / "man", root / "raw" / "videos"
    shutil.copytree(given.recording / "videos", videos)
    shutil.copy(given.recording / "Calib.qca.txt", videos.parent)
    seconds = {"new": timed(["mask_sup.new", str(project), "--videos", str(videos)])}
    todo = steps(project, given.checkpoint.absolute())
    for name, (module, *words) in todo.items():
        seconds[name] = timed([f"mask_sup.{module}", *words])
    count = len(list(videos.iterdir()))
    record("sequence", videos=count, seconds=seconds)
    for name, value in seconds.items():
        print(f"{name}: {value:.0f} s")
    if given.keep is None:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
