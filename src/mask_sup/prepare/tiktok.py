"""TikTok: dances of one person, each filmed by one unknown camera; masks, but no labels.

    TikTok_dataset/00034/images/0001.png
    TikTok_dataset/00034/masks/0001.png
A mask is named like its picture.
"""

from pathlib import Path

import numpy as np

from mask_sup.files.names import natural_order
from mask_sup.prepare.frames import Pictures
from mask_sup.prepare.protocol import Protocol
from mask_sup.prepare.release import Clip, Release, names_in, refuse_missing

__all__ = ["find_clips"]

TRIM = 20  # pictures at either end that are left out
GIVEN = "of the release (made by a program, no labels)"


def find_clips(root: Path, protocol: Protocol, masks: Path | None = None) -> Release:
    """The dances that a protocol asks for.

    Args:
        root: Folder of the release, or its TikTok_dataset.
        protocol: Which dances, by their five digits, and which frames.
        masks: Folder with `00034/0001.png` in place of the release's masks.

    Raises:
        FileNotFoundError: If this is no such release, or a file that should be there is missing;
            with all that are missing.
        ValueError: If a dance has too few pictures.
    """
    home = root / "TikTok_dataset" if (root / "TikTok_dataset").is_dir() else root
    if not any(home.glob("[0-9]*/images")):
        raise FileNotFoundError(
            f"no TikTok data set in {root}: expected TikTok_dataset/00034/images/0001.png and so "
            f"on, found {names_in(root)}"
        )
    clips, skipped, missing = [], {}, []
    for subject in sorted({s for split in protocol.splits.values() for s in split.subjects}):
        name = f"{subject}/dance"
        if why := protocol.exclude.get(name):
            skipped[name] = why
            continue
        paths = natural_order((home / subject / "images").glob("*.png"))
        if not paths:
            missing.append(home / subject / "images")
            continue
        if len(paths) <= 2 * TRIM:
            raise ValueError(
                f"{home / subject / 'images'} holds {len(paths)} pictures, of which {TRIM} at "
                "either end are left out: half unpacked? Unpack it again, or exclude it in the "
                "protocol"
            )
        clip = _clip(name, protocol, paths, masks / subject if masks else home / subject / "masks")
        wanted = {number for chosen in clip.frames.values() for number in chosen}
        found = [clip.masks[0].paths[number] for number in sorted(wanted)]
        missing += [path for path in found if not path.is_file()]
        clips.append(clip)
    refuse_missing(missing, root)
    return Release(clips, "official", f"given in {masks}" if masks else GIVEN, skipped, [])


def _clip(name: str, protocol: Protocol, paths: list[Path], masks: Path) -> Clip:
    """One dance; frames are places in the list of all its pictures."""
    frames = protocol.frames(*name.split("/"), len(paths) - 2 * TRIM)
    return Clip(
        name,
        "",
        {split: tuple(TRIM + i for i in chosen) for split, chosen in frames.items()},
        ("0",),
        K=np.full((1, 3, 3), np.nan),
        R=np.full((1, 3, 3), np.nan),
        t=np.full((1, 3), np.nan),
        distortion=np.zeros((1, 5)),
        pictures=(Pictures(tuple(paths)),),
        masks=(Pictures(tuple(masks / path.name for path in paths), mask=True),),
        joints_world=np.full((len(paths), 18, 3), np.nan),
    )
