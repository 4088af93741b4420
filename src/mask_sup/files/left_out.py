"""Views whose mask or box shows nobody: they count nowhere at that moment, and how many is told."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from mask_sup.files.names import spans

__all__ = ["left_out_in_words"]


def left_out_in_words(
    shown: Bool[np.ndarray, "n v"], cameras: Sequence[str], needed: int
) -> list[str]:
    """What masks and boxes of nobody leave out, a line each; empty where all show somebody.

    Args:
        shown: Whether the mask or box of each moment and view shows somebody.
        cameras: A name per view.
        needed: Views without which a moment has no pose.

    Raises:
        ValueError: If no moment has a pose.

    >>> left_out_in_words(np.array([[True, True], [True, False]]), ["left", "right"], 1)
    ['views whose mask or box shows nobody are left out: right in 1 of 2 moments (1)']
    """
    every = range(len(shown))
    empty = {
        name: np.flatnonzero(~some).tolist() for name, some in zip(cameras, shown.T, strict=True)
    }
    told = [
        f"{name} in {len(places)} of {len(shown)} moments ({spans(places, every)})"
        for name, places in empty.items()
        if places
    ]
    views = "views whose mask or box shows nobody"
    lines = [f"{views} are left out: {', '.join(told)}"] if told else []
    without = np.flatnonzero(shown.sum(1) < needed).tolist()
    least = "one view" if needed == 1 else f"{needed} views"
    if len(without) == len(shown):
        raise ValueError(
            f"no moment has masks or boxes that show somebody in at least {least}: look at them, "
            "and at what `mask_sup.masks check` says of masks"
        )
    if without:
        lines.append(
            f"! {len(without)} of {len(shown)} moments have no pose (NaN, confidence 0), as fewer "
            f"than {least} show somebody: {spans(without, every)}"
        )
    return lines
