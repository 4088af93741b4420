"""The command line that all `scripts/prepare_*.py` share."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from mask_sup.prepare.protocol import Protocol, load_protocol
from mask_sup.prepare.release import Release
from mask_sup.prepare.store import write_store

__all__ = ["command"]

Find = Callable[[Path, Protocol, Path | None], Release]


def command(find_clips: Find, dataset: str, protocol: str, about: str) -> None:
    """Read arguments, find the sequences, write the store, print what was done and left out.

    Args:
        find_clips: Root of the release, protocol and folder of masks -> what is there.
        dataset: That the protocol must be of.
        protocol: The usual one.
        about: What the command does.
    """
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, help="the release, as unpacked")
    parser.add_argument("out", type=Path, help="folder of the store")
    parser.add_argument("--protocol", default=protocol, help="name in conf/protocol, or a file")
    parser.add_argument("--masks", type=Path, help="folder of masks that are not in the release")
    parser.add_argument("--size", type=int, default=320, help="side of stored pictures, pixels")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    given = parser.parse_args()
    try:
        chosen = load_protocol(given.protocol)
        if chosen.dataset != dataset:
            raise ValueError(f"protocol {chosen.name} is for {chosen.dataset}, not {dataset}")
        masks = given.masks.expanduser() if given.masks else None
        found = find_clips(given.root.expanduser(), chosen, masks)
        print(f"{given.root}: {found.layout}, {len(found.clips)} sequences; masks: {found.masks}")
        for name, why in found.skipped.items():
            print(f"left out {name}: {why}")
        for note in found.notes:
            print(note)
        told = {
            "layout": found.layout,
            "masks": found.masks,
            "skipped": found.skipped,
            "notes": found.notes,
        }
        header = write_store(
            found.clips, given.out.expanduser(), chosen, given.size, given.workers, told
        )
    except (OSError, ValueError) as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
    for reason, count in header["dropped"].items():
        print(f"dropped {count} moments: {reason}")
    splits = ", ".join(f"{name} {count}" for name, count in header["moments"].items())
    print(f"written to {given.out}: {splits} moments, protocol {chosen.name} {chosen.hash}")
