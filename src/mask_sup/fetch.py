"""mask-sup fetch: the public four-camera recording that the examples use."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from importlib import resources
from pathlib import Path

import click

from mask_sup.files.verbs import Command

ABOUT = """\
Fetch the public four-camera recording that the examples use: a man on a balance beam.

    mask-sup fetch data/recording --masks masks.zip
    mask-sup train +experiment=recording data.source.root=data/recording

The videos are the single-person demonstration of Pose2Sim (BSD-3-Clause), taken from its release on
PyPI; the refined cameras come with this package. Masks are yours to bring: a folder or zip with
<camera>_<frame>.png or <camera>/<frame>.png, one per frame of each video."""
PACKAGE = "pose2sim==0.10.49"
SHA256 = "403e0dc4065898ba6a595e72a8970950310979253d60e24c2e00b16b36bf21e1"
VIDEOS = "Pose2Sim/Demo_SinglePerson/videos/"
CALIBRATION = "Pose2Sim/Demo_SinglePerson/calibration/Calib.qca.txt"


def fetch(root: Path) -> None:
    """Put the videos, their original calibration and the refined cameras under `root`.

    Raises:
        OSError: If they cannot be fetched.
        ValueError: If what was fetched is something else.
    """
    from mask_sup.files.disk import write_file

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder, PACKAGE]
        print(f"fetching {PACKAGE}, 51 MB")
        if subprocess.run([*command, "--quiet"], check=False).returncode:
            raise OSError(f"pip could not fetch {PACKAGE}: is there a network?")
        wheel = next(Path(folder).glob("*.whl"))
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if found != SHA256:
            raise ValueError(f"{wheel.name} has the checksum {found}, expected {SHA256}: refused")
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith(VIDEOS) and name.endswith(".mp4"):
                    write_file(root / "videos" / Path(name).name, archive.read(name))
            write_file(root / "Calib.qca.txt", archive.read(CALIBRATION))
    cameras = resources.files("mask_sup") / "assets" / "pose2sim_cameras.json"
    write_file(root / "cameras.json", cameras.read_bytes())


def unpack_masks(source: Path, root: Path) -> None:
    """Sort masks named <camera>_<frame>.png or <camera>/<frame>.png into root/<camera>/.

    Raises:
        FileNotFoundError: If there are none.
        ValueError: If the file is no zip.
    """
    from mask_sup.files.disk import write_file

    with tempfile.TemporaryDirectory() as folder:
        if source.is_file():
            if not zipfile.is_zipfile(source):
                raise ValueError(f"{source} is no zip: give a folder or zip of png files")
            with zipfile.ZipFile(source) as archive:
                archive.extractall(folder)
            source = Path(folder)
        pictures = sorted(source.rglob("*.png"))
        if not pictures:
            raise FileNotFoundError(f"no png files in {source}: expected cam01_000.png and so on")
        for path in pictures:
            camera, _, frame = path.stem.rpartition("_")
            write_file(root / (camera or path.parent.name) / f"{frame}.png", path.read_bytes())
    print(f"{len(pictures)} masks in {root}")


@click.command("fetch", cls=Command, help=ABOUT)
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--masks", type=click.Path(path_type=Path), help="Folder or zip of masks.")
def main(root: Path, masks: Path | None) -> None:
    """Fetch it into a folder."""
    if masks and not masks.exists():
        raise FileNotFoundError(f"no masks at {masks}: give a folder or zip of png files")
    fetch(root)
    if masks:
        unpack_masks(masks, root / "masks")
    print(f"recording in {root}: " + ", ".join(sorted(p.name for p in root.iterdir())))


if __name__ == "__main__":
    main()
