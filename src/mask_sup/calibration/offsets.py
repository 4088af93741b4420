"""How many frames late each camera runs, as a file: what `mask_sup.sync` writes."""

import json
from collections.abc import Sequence
from pathlib import Path

__all__ = ["OFFSETS", "read_offsets"]

OFFSETS = "sync.json"


def read_offsets(path: Path, names: Sequence[str]) -> dict[str, int] | None:
    """Frames that each camera runs late, from 0 on; None if there is no such file.

    Raises:
        ValueError: If the file is damaged or lacks a camera.
    """
    if not path.is_file():
        return None
    try:
        late = {name: int(json.loads(path.read_text())["late"][name]) for name in names}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} does not say how late each of {list(names)} runs ({error}): expected "
            '{"late": {camera: frames}}; remove it or run python -m mask_sup.sync again'
        ) from error
    return {name: value - min(late.values()) for name, value in late.items()}
