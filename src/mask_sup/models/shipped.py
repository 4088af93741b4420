"""Weights that are handed on: detector.safetensors, and beside it its card, detector.json.

Such a pair is read as a checkpoint is, with what inference needs of it alone: the detector, its
config, and what it was given. Neither file can hold code: one is numbers, the other JSON, whose
config names classes by the rules of every config (`mask_sup.files.build`). The pair that comes
with the package goes by the word `shipped`.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mask_sup.files.config import renamed
from mask_sup.files.disk import write_file

__all__ = [
    "MOST_BYTES",
    "SHIPPED",
    "is_pair",
    "read_pair",
    "say_shipped",
    "weights_file",
    "write_pair",
]

SHIPPED = "shipped"  # in place of a path; a folder of that name is ./shipped
ASSETS = Path(__file__).parents[1] / "assets"
WEIGHTS, CARD = ".safetensors", ".json"
NAME = "detector"
FORMAT = 1
MOST_BYTES = 4_000_000  # of weights in the package


def weights_file(path: str | Path) -> Path:
    """The file that holds the weights of a checkpoint, of a pair by any of its paths, or `shipped`.

    Args:
        path: A checkpoint; either file of a pair, or their folder; or the word `shipped`.
    """
    path = ASSETS if str(path) == SHIPPED else Path(path)
    if path.suffix == CARD:
        return path.with_suffix(WEIGHTS)
    if path == ASSETS or (path / f"{NAME}{WEIGHTS}").is_file():
        return path / f"{NAME}{WEIGHTS}"
    return path


def is_pair(path: str | Path) -> bool:
    """Whether this is a pair's path, and no checkpoint's of a training."""
    return weights_file(path).suffix == WEIGHTS


def read_pair(path: str | Path) -> dict[str, Any]:
    """A pair as a checkpoint: `config`, `settings`, `state_dict` (float32) and the whole `card`.

    Raises:
        FileNotFoundError: If one of the two is missing.
        ValueError: If one is damaged, or they do not belong together.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    weights = weights_file(path)
    card_file = weights.with_suffix(CARD)
    for file in (weights, card_file):
        if file.is_file():
            continue
        if weights.parent == ASSETS:
            raise FileNotFoundError(
                f"this copy of mask_sup has no weights in it ({file} is missing): give "
                "checkpoint=<run>/<stage>/checkpoints/last.ckpt of a training (`make demo` makes "
                "one), or reinstall"
            )
        raise FileNotFoundError(f"no {file.name} in {file.parent}: weights and card are a pair")
    try:
        card = json.loads(card_file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{card_file} cannot be read as a card of weights: {error}") from error
    _check_card(card, card_file)
    content = weights.read_bytes()
    if (found := hashlib.sha256(content).hexdigest()) != card["weights"].get("sha256"):
        raise ValueError(
            f"{weights} is not the file that {card_file.name} describes: its SHA-256 begins with "
            f"{found[:12]}, the card's with {str(card['weights'].get('sha256'))[:12]}; copy both "
            "again from where they came"
        )
    try:
        state = {f"detector.{name}": value.float() for name, value in load(content).items()}
    except SafetensorError as error:
        raise ValueError(f"{weights} cannot be read as weights: {error}") from error
    return {
        "config": renamed(card["config"]),
        "settings": card["settings"],
        "state_dict": state,
        "card": card,
    }


def _check_card(card: Any, path: Path) -> None:
    """Refuse what is no card, or one of a later form.

    Raises:
        ValueError: With what is expected.
    """
    parts = ("config", "settings", "weights")
    if not isinstance(card, dict) or not all(isinstance(card.get(part), dict) for part in parts):
        raise ValueError(f"{path} is no card of weights: expected the keys {list(parts)}")
    if card.get("format") != FORMAT:
        raise ValueError(
            f"{path} is a card of format {card.get('format')!r}, this mask_sup reads {FORMAT}: "
            "update it"
        )


def say_shipped(key: str, path: str | Path) -> None:
    """Print a line where the package's own weights are used: nobody has to have asked for them.

    Args:
        key: Of the config that takes another path.
        path: What it says.
    """
    if str(path) == SHIPPED:
        print(
            "weights: the detector that comes with mask_sup, learned from masks of the embedded "
            f"data (card: docs/model_card.md, mask_sup.load().card); {key}=<path> takes others"
        )


def write_pair(
    folder: Path,
    state: Mapping[str, Tensor],
    card: Mapping[str, Any],
    most: int | None = MOST_BYTES,
) -> Path:
    """Write a detector's weights and their card, whose `format`, size and sum are added.

    Args:
        folder: Where detector.safetensors and detector.json go.
        state: The detector's, by its own names.
        card: `config`, `settings`, and whatever else is to be told.
        most: Bytes of weights; None: any.

    Returns:
        The file of the weights.

    Raises:
        ValueError: If the weights are larger than `most`; nothing is written.
    """
    from safetensors.torch import save

    content = save({name: value.contiguous() for name, value in state.items()})
    if most is not None and len(content) > most:
        raise ValueError(
            f"these weights take {len(content):,} bytes, expected at most {most:,}: a "
            "package stays small; ship a smaller detector or fewer bits"
        )
    told = {
        **card.get("weights", {}),
        "parameters": sum(value.numel() for value in state.values()),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    path = folder / f"{NAME}{WEIGHTS}"
    write_file(path, content)
    text = json.dumps({"format": FORMAT, **card, "weights": told}, indent=1, allow_nan=False)
    write_file(path.with_suffix(CARD), text + "\n")
    return path
