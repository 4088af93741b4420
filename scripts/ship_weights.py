r"""The weights in the package: detector.safetensors, its card detector.json, docs/model_card.md.

    python scripts/ship_weights.py outputs/demo/last_round/checkpoints/last.ckpt \
        outputs/demo/evaluation/val/metrics.json outputs/demo/evaluation/mocap/metrics.json

A checkpoint that labels have led to is refused. Weights are kept as float16 where that moves joints
by next to nothing (`TINY_PCT`, on moments of `val`), else as float32. Each metrics.json is of
`python -m mask_sup.evaluate`, and has to be of these weights.
"""

import argparse
import copy
import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from mask_sup.data.moments import expand
from mask_sup.files.build import build
from mask_sup.files.disk import write_file
from mask_sup.method.settings import of_checkpoint
from mask_sup.models.checkpoint import fingerprint, read_checkpoint, restore, run_folder
from mask_sup.models.detector import Detector
from mask_sup.models.shipped import ASSETS, write_pair

ROOT = Path(__file__).parents[1]
NEEDED = ("name", "seed", "skeleton", "detector", "data")  # keys of a config, for inference
EMBEDDED = "~/.cache/mask_sup/synthetic"
TINY_PCT = {  # of the crop's side; detectors are off by 2 to 5 %, a hundred times as much
    "mean_pct_of_crop": 0.02,
    "largest_pct_of_crop": 0.5,
}
TRIED = 25  # batches of pictures that rounding is tried on
BEGIN, END = "<!-- written by scripts/ship_weights.py -->", "<!-- end -->"
COLUMNS = {  # of the table in docs/model_card.md -> keys of metrics.json and decimals
    "MPJPE mono / tri, mm": (("mono/mpjpe_mm", "tri/mpjpe_mm"), 1),
    "P-MPJPE mono / tri, mm": (("mono/p_mpjpe_mm", "tri/p_mpjpe_mm"), 1),
    "2D MSE, %": (("mono/mse_2d_pct",), 1),
    "PCK@150 mono / tri, %": (("mono/pck150_pct", "tri/pck150_pct"), 1),
    "ambiguity, %": (("ambiguity_pct",), 1),
    "scene flips, %": (("scene_flip_pct",), 1),
}


def ship(checkpoint: Path, metrics: Iterable[Path], assets: Path, page: Path) -> dict[str, Any]:
    """Write the pair into `assets` and the figures into the page; returns the card.

    Raises:
        FileNotFoundError: If the checkpoint, the record of its run or the page is missing.
        ValueError: If labels have or may have led to the weights, figures are of other weights, or
            the file would be too large.
    """
    read = read_checkpoint(checkpoint)
    settings = of_checkpoint(read)
    if settings.get("labels") is not False:
        known = "labels have" if settings.get("labels") else "nobody knows whether labels have"
        raise ValueError(
            f"{known} led to {checkpoint} (stages {settings.get('stages')}): expected weights that "
            "learned from masks alone; ship those of another run"
        )
    provenance = trained(run_folder(checkpoint) / "run.json")
    detector = restore(read)
    state, rounding = rounded(detector, read["config"])
    same = fingerprint(detector), fingerprint(holding(detector, state))
    figures = dict(figures_of(path, same) for path in metrics)
    card = {
        "licence": "MIT",
        "docs": "docs/model_card.md",
        "weights": rounding,
        "training": provenance,
        "settings": settings,
        "figures": figures,
        "config": portable(read["config"]),
    }
    text = page.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f"{page} has no place for figures: expected the lines {BEGIN} and {END}")
    written = write_pair(assets, state, card)
    card = json.loads(written.with_suffix(".json").read_text())
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    write_file(page, f"{before}{BEGIN}\n{in_words(card)}{END}{after}")
    return card


def portable(config: Mapping[str, Any]) -> dict[str, Any]:
    """What inference needs of a config; embedded data lies where it does on any machine."""
    told = copy.deepcopy({key: config[key] for key in NEEDED if key in config})
    source = told["data"].get("source", {})
    if source.get("_target_", "").endswith(".SyntheticData"):
        source["root"] = EMBEDDED
    return told


def trained(record: Path) -> dict[str, Any]:
    """How a run was started, of which revision, on what: from its run.json.

    Raises:
        FileNotFoundError: If there is none.
    """
    if not record.is_file():
        raise FileNotFoundError(f"no {record}: expected the checkpoint of a training in its folder")
    told = json.loads(record.read_text())
    words = [word for word in told["command"][1:] if not word.startswith("hydra.run.dir=")]
    return {
        "command": shlex.join(["python", "-m", "mask_sup.train", *words]),
        "commit": told["git"],
        "changes": told["git_changes"],
        **{key: told[key] for key in ("seed", "versions", "machine")},
    }


def holding(detector: Detector, state: Mapping[str, torch.Tensor]) -> Detector:
    """A detector like this one, with these weights."""
    other = copy.deepcopy(detector)
    other.load_state_dict(state)
    return other


def rounded(
    detector: Detector, config: Mapping[str, Any]
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Weights in as few bits as move no joint, and what rounding them does to joints of `val`."""
    state = dict(detector.state_dict())
    half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    other = holding(detector, half)
    data = build(config["data"], "data", skeleton=detector.skeleton, geodesic=None)
    data.prepare_data()
    moved = []
    with torch.inference_mode():
        for _, batch in zip(range(TRIED), data.eval_dataloader("val"), strict=False):
            image = expand(batch).views.image
            # Two units along each axis: the crop's sides, and the depth that z spans.
            moved.append(50 * (detector(image) - other(image)).norm(dim=-1).flatten())
    moved = torch.cat(moved)
    told = {
        "mean_pct_of_crop": float(moved.mean()),
        "largest_pct_of_crop": float(moved.max()),
        "joints": len(moved),
        "split": "val",
    }
    if all(told[key] <= most for key, most in TINY_PCT.items()):  # not if it is NaN
        return half, {"dtype": "float16", "rounding_moves_joints_by": told}
    return state, {"dtype": "float32", "float16_would_move_joints_by": told}


def figures_of(path: Path, weights: Iterable[str]) -> tuple[str, dict[str, Any]]:
    """Split and figures of a metrics.json.

    Args:
        path: Of the file.
        weights: Fingerprints that it may be of.

    Raises:
        ValueError: If it is of other weights.
    """
    told = json.loads(path.read_text())
    if told.get("weights") not in weights:
        raise ValueError(
            f"{path} has the figures of other weights (or was written before these were told): "
            f"run python -m mask_sup.evaluate checkpoint=<this one> split={told.get('split')}"
        )
    kinds = ("mono/", "tri/", "ambiguity_", "scene_flip_")
    figures = {key: value for key, value in told.items() if key.startswith(kinds)}
    command = f"python -m mask_sup.evaluate split={told['split']}"
    return told["split"], {"command": command, "moments": told["moments"], **figures}


def in_words(card: Mapping[str, Any]) -> str:
    """The lines of the page that come from the card."""

    def cell(figures: Mapping[str, Any], keys: Iterable[str], decimals: int) -> str:
        values = [figures.get(key) for key in keys]
        return " / ".join("-" if value is None else f"{value:.{decimals}f}" for value in values)

    weights, training = card["weights"], card["training"]
    moves = weights.get("rounding_moves_joints_by") or weights["float16_would_move_joints_by"]
    rows = [f"| split | moments | {' | '.join(COLUMNS)} |", "|---" * (2 + len(COLUMNS)) + "|"]
    for split, figures in card["figures"].items():
        cells = (cell(figures, *column) for column in COLUMNS.values())
        rows.append(f"| `{split}` | {figures['moments']} | {' | '.join(cells)} |")
    commands = ", ".join(f"`{figures['command']}`" for figures in card["figures"].values())
    would = "moves" if weights["dtype"] == "float16" else "would move"
    return "\n".join(
        [
            *rows,
            "",
            f"Measured by {commands or 'nothing yet'}. Trained by `{training['command']}`, seed "
            f"{training['seed']}, revision {str(training['commit'])[:12]}, through the stages "
            f"{', '.join(card['settings']['stages'])}.",
            f"{weights['parameters']:,} weights in {weights['dtype']}, {weights['bytes'] / 1e6:.2f}"
            f" MB, SHA-256 {weights['sha256'][:12]}. Rounding to float16 {would} joints by "
            f"{moves['mean_pct_of_crop']:.4f} % of the crop on average and "
            f"{moves['largest_pct_of_crop']:.3f} % at most ({moves['joints']:,} joints of "
            f"`{moves['split']}`).",
            "",
        ]
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="of a training: .../checkpoints/last.ckpt")
    parser.add_argument("metrics", type=Path, nargs="*", help="metrics.json of its evaluations")
    parser.add_argument("--assets", type=Path, default=ASSETS, help="folder of the two files")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "model_card.md")
    given = parser.parse_args()
    try:
        card = ship(given.checkpoint, given.metrics, given.assets, given.page)
    except (OSError, ValueError) as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error
    print(f"written to {given.assets} and {given.page}: {card['weights']}")


if __name__ == "__main__":
    main()
