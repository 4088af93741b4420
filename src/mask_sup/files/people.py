"""people.json beside masks: how many people an extraction saw, and where it had to guess."""

import json
from pathlib import Path

__all__ = ["PEOPLE", "touching_in"]

PEOPLE = "people.json"  # {camera: {"people": count, "touching": [numbers of frames]}}


def touching_in(folder: Path, camera: str) -> list[int]:
    """Numbers of the frames in which people touch, so that whose a pixel is was guessed.

    Args:
        folder: Of masks, with a folder for each camera.
        camera: Name of one.
    """
    try:
        return json.loads((folder / PEOPLE).read_text())[camera]["touching"]
    except (FileNotFoundError, KeyError):
        return []
