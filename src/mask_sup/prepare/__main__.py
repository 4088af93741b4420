"""mask-sup prepare <data set> ROOT OUT: an official release into the store that training reads."""

import os
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import click

from mask_sup.files.verbs import Command, Commands


class DataSet(NamedTuple):
    """How the release of a data set is read."""

    module: str
    """In `mask_sup.prepare`, with `find_clips`."""
    dataset: str
    """That the protocol must be of."""
    protocol: str
    """The usual one."""
    about: str


DATA_SETS = {
    "h36m": DataSet("human36m", "h36m", "h36m_six", """\
Human3.6M, as downloaded, into the store that training reads.

    mask-sup prepare h36m downloads/h36m data/h36m
    mask-sup train +experiment=h36m_full

ROOT is the official release (videos, D3_Positions, metadata.xml, ground_truth_bs masks), what
h36m-fetch makes of it, or the layout of X-as-Supervision; see mask_sup/prepare/human36m.py."""),
    "3dhp": DataSet("mpi_inf_3dhp", "mpi_inf_3dhp", "mpi_inf_3dhp", """\
MPI-INF-3DHP, as downloaded, into the store that training reads.

    mask-sup prepare 3dhp downloads/mpi_inf_3dhp data/mpi_inf_3dhp
    mask-sup train +experiment=mpi_inf_3dhp_full

    mask-sup prepare 3dhp downloads/mpi_inf_3dhp data/mpi_inf_3dhp_test \\
        --protocol mpi_inf_3dhp_test --masks masks

ROOT holds S1 to S8 (videos with their FGmasks and ChairMasks) and mpi_inf_3dhp_test_set. The test
set, S1/Seq2 and S4/Seq2 have no masks: make some with mask-sup masks; see
mask_sup/prepare/mpi_inf_3dhp.py."""),
    "tiktok": DataSet("tiktok", "tiktok", "tiktok", """\
TikTok, as downloaded, into the store that training reads.

    mask-sup prepare tiktok downloads/tiktok data/tiktok
    mask-sup train +experiment=wild_tiktok

ROOT holds TikTok_dataset; see mask_sup/prepare/tiktok.py. There are no labels and no cameras."""),
    "mpii": DataSet("mpii", "mpii", "mpii", """\
MPII, as downloaded, into the store that training reads.

    mask-sup prepare mpii downloads/mpii data/mpii --masks masks

ROOT holds images/ and either annot/mpii_train.json and annot/mpii_val.json or the original .mat;
MPII has no masks, so those are yours; see mask_sup/prepare/mpii.py."""),
}  # fmt: skip


def prepare(
    kind: DataSet, root: Path, out: Path, protocol: str, masks: Path | None, size: int, workers: int
) -> None:
    """Find the sequences, write the store, print what was done and left out.

    Args:
        kind: Of data set.
        root: The release, as unpacked.
        out: Folder of the store.
        protocol: Name in conf/protocol, or a file.
        masks: Folder of masks that are not in the release.
        size: Side of stored pictures, pixels.
        workers: Processes.

    Raises:
        FileNotFoundError: If a file of the release or the protocol is missing.
        ValueError: If one of them cannot be read, or the protocol is of another data set.
    """
    from mask_sup.prepare.protocol import load_protocol

    chosen = load_protocol(protocol)
    if chosen.dataset != kind.dataset:
        raise ValueError(f"protocol {chosen.name} is for {chosen.dataset}, not {kind.dataset}")
    masks = masks.expanduser() if masks else None
    find_clips = import_module(f"mask_sup.prepare.{kind.module}").find_clips
    found = find_clips(root.expanduser(), chosen, masks)
    print(f"{root}: {found.layout}, {len(found.clips)} sequences; masks: {found.masks}")
    for name, why in found.skipped.items():
        print(f"left out {name}: {why}")
    for note in found.notes:
        print(note)
    from mask_sup.prepare.store import write_store

    told = {key: getattr(found, key) for key in ("layout", "masks", "skipped", "notes")}
    header = write_store(found.clips, out.expanduser(), chosen, size, workers, told)
    for reason, count in header["dropped"].items():
        print(f"dropped {count} moments: {reason}")
    splits = ", ".join(f"{name} {count}" for name, count in header["moments"].items())
    print(f"written to {out}: {splits} moments, protocol {chosen.name} {chosen.hash}")


def _command(name: str, kind: DataSet) -> Command:
    """The command of one data set."""

    def run(**given: Any) -> None:
        prepare(kind, **given)

    folder, cores = click.Path(path_type=Path), os.cpu_count() or 1
    number = {"type": click.IntRange(1), "show_default": True}
    params = [
        click.Argument(["root"], type=folder),
        click.Argument(["out"], type=folder),
        click.Option(["--protocol"], default=kind.protocol, show_default=True,
                     help="Name in conf/protocol, or a file."),
        click.Option(["--masks"], type=folder, help="Folder of masks that are not in the release."),
        click.Option(["--size"], default=320, help="Side of stored pictures, pixels.", **number),
        click.Option(["--workers"], default=cores, help="Processes.", **number),
    ]  # fmt: skip
    return Command(name, callback=run, params=params, help=kind.about)


main = Commands(
    "prepare",
    "An official release of a data set, as downloaded, into the store that training reads.",
    {name: _command(name, kind) for name, kind in DATA_SETS.items()},
)

if __name__ == "__main__":
    main()
