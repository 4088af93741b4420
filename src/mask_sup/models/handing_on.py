"""Models for others: a folder of weights, card and README, and ONNX."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mask_sup.files.disk import write_file
from mask_sup.models.detector import Detector
from mask_sup.models.shipped import write_pair

__all__ = ["README", "onnx_file", "save_pretrained"]

README = "README.md"
NEEDED = ("name", "seed", "skeleton", "detector", "data")  # keys of a config, for inference
OF_CROPS = ("image_size", "mask_size", "padding", "mask_input")  # keys of `data` that count there
SHOWN = ("mono/mpjpe_mm", "tri/mpjpe_mm", "mono/p_mpjpe_mm", "tri/p_mpjpe_mm", "mono/mse_2d_pct")
EXAMPLE = 2  # pictures that an export is traced with: one would be taken for a constant
INSTALL = "pip install 'mask-sup[onnx]'"


def save_pretrained(detector: Detector, settings: Mapping[str, Any], folder: Path) -> Path:
    """Write detector.safetensors, detector.json and README.md, which `mask_sup.load` reads.

    Of the config goes along what inference needs; where training data lay does not.

    Args:
        detector: With its `card`.
        settings: What the weights and all their ancestors were given (`mask_sup.method.settings`).
        folder: Where the three files go; it is made.
    """
    config = {key: detector.card["config"][key] for key in NEEDED if key in detector.card["config"]}
    config["data"] = {key: config["data"][key] for key in OF_CROPS if key in config["data"]}
    told = {**detector.card, "config": config, "settings": dict(settings)}
    path = write_pair(folder, detector.state_dict(), told, most=None)
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    write_file(folder / README, in_words(card))
    return folder


def in_words(card: Mapping[str, Any]) -> str:
    """The model card of a pair's card: use, input, what it was given, figures, the file."""
    config, weights, settings = card["config"], card["weights"], card["settings"]
    joints = config["skeleton"]["joints"]
    side = config["data"]["image_size"]
    masked = " with all but the person grey" if config["detector"].get("mask_input") else ""
    lines = [
        *("---", "library_name: mask_sup", f"license: {card.get('licence', 'unknown').lower()}"),
        *("---", f"# {config.get('name', 'A detector')}", ""),
        f"3D joints of one person from crops of {side} x {side} pixels{masked}: {len(joints)} of "
        f"`{config['skeleton']['name']}` ({', '.join(joints)}).",
        *("", "```python", "import mask_sup", "", 'model = mask_sup.load("<this folder>")', "```"),
        *("", "## What it was given, by all its ancestors", ""),
        *(f"- `{key}`: {_told(value)}" for key, value in settings.items()),
        *("", "## Figures", ""),
    ]
    figures = card.get("figures") or {}
    for split, found in figures.items():
        values = ", ".join(f"{key} {found[key]:.1f}" for key in SHOWN if key in found)
        lines.append(f"- `{split}` ({found['moments']} moments, `{found['command']}`): {values}")
    if not figures:
        lines.append("None are known.")
    lines += [
        *("", "## Weights", ""),
        f"detector.safetensors: {weights['parameters']:,} numbers, {weights['bytes']:,} bytes, "
        f"SHA-256 {weights['sha256']}. detector.json has the config and all of the above.",
    ]
    return "\n".join(lines) + "\n"


def _told(value: Any) -> str:
    """A fact in words; None is what nobody knows."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return {None: "unknown", True: "yes", False: "no"}.get(value, str(value))


def onnx_file(detector: Detector, path: Path) -> Path:
    """Write a detector as ONNX: `image` (n, 3, h, w) RGB in [0, 1] -> `joints_crop` (n, j, 3).

    The integral over heatmaps is inside, and n is free. Joints are in crop coordinates, z about the
    root; names, sides of crops and the conventions are in the file's metadata.

    Args:
        detector: With its `card`, in evaluation mode.
        path: Of the file.

    Raises:
        ImportError: If the packages that write ONNX are missing.
    """
    try:
        import onnx  # pyright: ignore[reportMissingImports]
        import onnxscript  # noqa: F401 # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(f"ONNX needs the packages onnx and onnxscript: {INSTALL}") from error
    side = detector.card["config"]["data"]["image_size"]
    device = next(detector.parameters()).device
    program = torch.onnx.export(
        detector,
        (torch.rand(EXAMPLE, 3, side, side, device=device),),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        input_names=["image"],
        output_names=["joints_crop"],
        verbose=False,
    )
    assert program is not None  # with dynamo
    model = program.model_proto
    told = {
        "joints": json.dumps(list(detector.skeleton.joints)),
        "input": f"RGB in [0, 1], {side} x {side}, NCHW"
        + (", all but the person 0.4" if detector.mask_input else ""),
        "output": "x right, y down in [-1, 1] of the crop; z in [-1, 1] of "
        f"{detector.depth_range} mm about the root, + away from the camera",
    }
    onnx.helper.set_model_props(model, told)
    write_file(path, model.SerializeToString())
    return path
