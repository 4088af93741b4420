"""Whether a detector that is given neither masks nor boxes finds the person by its own joints.

    python benchmarks/second_look.py [checkpoint]

People of the embedded data stand at random places of grey pictures, of whose side they take a
share. Grey is what masked pictures have for a background, so that detectors of such can be asked,
too; behind a person nothing is to be taken for one, so this is the easy case for those of whole
pictures. Found is who has a square about the mask's: its middle off by at most a quarter of the
person's size, its side 0.7 to 1.5 times it. Written to benchmarks/results/second_look.json.
"""

import argparse
import tempfile
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from record import record
from rich.console import Console
from rich.table import Table
from unseen import filmed

from mask_sup.data.boxes import LOOKS, look_for
from mask_sup.data.images import uncalibrated_view
from mask_sup.data.moments import GREY, Crop, View
from mask_sup.files.masks import read_mask
from mask_sup.files.pictures import read_image, write_png
from mask_sup.models.checkpoint import read_checkpoint, restore
from mask_sup.models.detector import Detector
from mask_sup.synthetic.rigs import default_rig

SHARES = (0.75, 0.5, 0.33, 0.25, 0.2)  # of the picture's side that the person takes
MOST_OFF, LEAST_SIDE, MOST_SIDE = 0.25, 0.7, 1.5  # of the person's size, where it is found


class Person(NamedTuple):
    """A picture of somebody, and where its mask is."""

    view: View
    middle: np.ndarray  # (2,) pixels
    size: int  # larger side of the mask, pixels


def person_on_grey(view: View, share: float, path: Path, rng: np.random.Generator) -> Person:
    """Somebody at a random place of a grey picture, written to `path`."""
    mask = read_mask(view.mask)
    left, top, width, height = cv2.boundingRect((mask > 127).astype(np.uint8))
    opaque = mask[..., None] / 255
    person = np.rint(read_image(view.image) * opaque + GREY * (1 - opaque)).astype(np.uint8)
    side = round(max(width, height) / share)
    picture = np.full((side, side, 3), GREY, np.uint8)
    x, y = int(rng.integers(0, side - width + 1)), int(rng.integers(0, side - height + 1))
    picture[y : y + height, x : x + width] = person[top : top + height, left : left + width]
    write_png(path, picture)
    middle = np.array([x + width / 2, y + height / 2])
    return Person(uncalibrated_view(path, None), middle, max(width, height))


def found(detector: Detector, data: dict, people: list[Person]) -> dict[str, float]:
    """How well the boxes of people are found, and how many looks a picture that took."""
    settings = {key: data[key] for key in ("image_size", "mask_size", "padding")}
    settings, looks = settings | {"mask_input": False}, []

    def detected(crops: list[Crop]) -> torch.Tensor:
        looks.append(len(crops))
        images = torch.from_numpy(np.stack([crop.image for crop in crops]))
        with torch.inference_mode():
            return detector(images.permute(0, 3, 1, 2).float() / 255)

    views = look_for([one.view for one in people], detected, detector.skeleton, settings)
    boxes, size = np.array([view.box for view in views]), np.array([one.size for one in people])
    middle = boxes[:, :2] + boxes[:, 2:] / 2
    off = np.linalg.norm(middle - [one.middle for one in people], axis=1) / size
    side = boxes[:, 2] / size
    good = (off <= MOST_OFF) & (side >= LEAST_SIDE) & (side <= MOST_SIDE)
    return {
        "found_pct": 100 * float(good.mean()),
        "off_median": float(np.median(off)),
        "side_median": float(np.median(side)),
        "looks": sum(looks) / len(people),
    }


def main() -> None:
    """Draw people, look for them, write and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", nargs="?", default="shipped")
    parser.add_argument("--runs", type=int, default=8)
    given = parser.parse_args()
    checkpoint = read_checkpoint(given.checkpoint)
    detector, rng, told = restore(checkpoint), np.random.default_rng(0), {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        moments = [
            one for seed in range(given.runs) for one in filmed(folder, default_rig(), seed).moments
        ]
        views = [moment.views[i % len(moment.views)] for i, moment in enumerate(moments)]
        for share in SHARES:
            people = [
                person_on_grey(view, share, folder / f"grey_{share}_{i}.png", rng)
                for i, view in enumerate(views)
            ]
            told[f"{share:g}"] = found(detector, checkpoint["config"]["data"], people)
    record(
        "second_look",
        settings=checkpoint.get("settings"),
        mask_input=detector.mask_input,
        pictures=len(views),
        most_looks=LOOKS,
        by_share_of_the_side=told,
    )
    table = Table("share of the side", *told["0.5"], title=f"{len(views)} pictures each")
    for share, figures in told.items():
        table.add_row(share, *(f"{value:.2f}" for value in figures.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
