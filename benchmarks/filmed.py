r"""How far predictions on the filmed example are from the truth, and does confidence tell?

    mask-sup film film --fault none --seconds 3 --seed 2
    python -m mask_sup.masks input=film output=film/masks extractor=plate
        extractor.plates=film/plates
    python -m mask_sup.predict checkpoint=<ckpt> input=film output=poses
    python benchmarks/filmed.py poses/poses.npz film/answer/joints.npz --name adapted

    for m in true plate grabcut; do   # true: film/answer/masks
        python -m mask_sup.predict checkpoint=<ckpt> input=film masks=<masks> output=poses_$m
        python benchmarks/filmed.py poses_$m/poses.npz film/answer/joints.npz \
            --name fitted --masks $m
    done

Prints the root-relative error of the triangulated joints in mm, per joint and in five equal parts
of all joints in the order of their confidence; added under that name to
benchmarks/results/filmed.json, with what the weights were given. With --masks it is the mean error
of these masks that is added, and how many times that of the true ones it is.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from record import RESULTS, record
from rich.console import Console
from rich.table import Table

from mask_sup.files.poses import read_poses
from mask_sup.synthetic.bodies import JOINTS


def over_true(masks: dict[str, dict[str, Any]]) -> str:
    """Notes how much larger errors are than with true masks, once these are known; in words."""
    told = []
    for name, one in masks.items():
        if "true" in masks:
            one["over_true"] = one["mean_mm"] / masks["true"]["mean_mm"]
        share = f" ({one['over_true']:.2f} times that of true masks)" if "over_true" in one else ""
        told.append(f"{name}: {one['mean_mm']:.0f} mm{share}")
    return ", ".join(told)


def main() -> None:
    """Read the command line, print both tables, add them to the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("poses", type=Path, help="poses.npz of mask_sup.predict")
    parser.add_argument("answer", type=Path, help="joints.npz of mask-sup film")
    parser.add_argument("--name", required=True, help="of the detector in the result")
    parser.add_argument("--masks", help="true, plate, ...: what the poses were fitted to")
    given = parser.parse_args()
    header, poses = read_poses(given.poses)
    with np.load(given.answer) as answer:
        truth = answer["joints_world_mm"][:: header["every"]]
    found = poses["joints_world_mm"]
    if found.shape != truth.shape:
        raise SystemExit(
            f"{given.poses} has joints {found.shape}, {given.answer} {truth.shape}: predict the "
            "same film"
        )
    error = np.linalg.norm((found - found[:, :1]) - (truth - truth[:, :1]), axis=-1)
    joints = Table(title=f"{len(error)} frames, mean error {np.nanmean(error):.0f} mm")
    joints.add_column("joint")
    joints.add_column("mm", justify="right")
    for name, mm in zip(JOINTS, np.nanmean(error, 0), strict=True):
        joints.add_row(name, f"{mm:.0f}")
    parts = Table(title="joints in the order of their confidence, a fifth each")
    for column in ("mean confidence", "mean error, mm"):
        parts.add_column(column, justify="right")
    order, fifths = np.argsort(poses["confidence"], axis=None), []
    for part in np.array_split(order, 5):
        confidence = poses["confidence"].flat[part].mean()
        fifths.append({"confidence": float(confidence), "mm": float(np.nanmean(error.flat[part]))})
        parts.add_row(f"{confidence:.2f}", f"{np.nanmean(error.flat[part]):.0f}")
    path = RESULTS / "filmed.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    detectors, masks = known.get("detectors", {}), known.get("masks", {})
    result = {
        "settings": header.get("settings"),
        "frames": len(error),
        "mean_mm": float(np.nanmean(error)),
        "joints_mm": dict(zip(JOINTS, np.nanmean(error, 0).tolist(), strict=True)),
        "fifths_by_confidence": fifths,
    }
    if given.masks:
        masks.setdefault(given.name, {})[given.masks] = {
            "settings": header.get("settings"),
            "frames": len(error),
            "mean_mm": float(np.nanmean(error)),
        }
        print(over_true(masks[given.name]))
    else:
        detectors[given.name] = result
    record("filmed", detectors=detectors, masks=masks)
    console = Console()
    console.print(joints)
    console.print(parts)


if __name__ == "__main__":
    main()
