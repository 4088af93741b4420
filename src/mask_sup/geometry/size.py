"""How big a person is in the silhouettes of calibrated cameras: it tells a calibration's scale.

Views agree on a shape whatever the scale of their calibration. How big that shape is does not
depend on who stretches an arm: the mean area of its silhouettes is what counts (a quarter of its
surface, were it convex; Cauchy).
"""

import math

import numpy as np
from jaxtyping import Float

__all__ = ["area_and_middle", "scale_in_words", "silhouette_sizes"]

# Square root of the silhouettes' area, mm: the embedded bodies have 670 to 760 in random rigs.
USUAL_MM = 710.0
LEAST_MM, MOST_MM = 330.0, 950.0  # below: less than a toddler; above: more than a giant of 2.3 m
MANY = 3.0  # times as big as one person: no crowd in the masks
TENFOLD = 0.15  # a factor whose logarithm is so near to that of 10, 100, ... is a wrong unit


def silhouette_sizes(
    area: Float[np.ndarray, "n v"],
    middle: Float[np.ndarray, "n v 2"],
    K: Float[np.ndarray, "n v 3 3"],
    R: Float[np.ndarray, "n v 3 3"],
    t: Float[np.ndarray, "n v 3"],
) -> Float[np.ndarray, " n"]:
    """Square root of silhouettes' area at the person's distance, the median of the views, mm.

    Args:
        area: Of the masks, in squared units of the picture.
        middle: Centre of mass of the masks, in the same units; their rays meet at the person.
        K: Cameras for these units.
        R: World -> camera.
        t: The same, mm.

    Returns:
        NaN where a view shows nobody, or the cameras look in one direction.
    """
    ways = np.linalg.solve(
        K, np.concatenate([middle, np.ones_like(middle[..., :1])], -1)[..., None]
    )
    ways = (R.swapaxes(-1, -2) @ ways)[..., 0]
    ways /= np.linalg.norm(ways, axis=-1, keepdims=True)
    centres = -(R.swapaxes(-1, -2) @ t[..., None])[..., 0]
    across = np.eye(3) - ways[..., :, None] * ways[..., None, :]
    nearest = np.linalg.pinv(across.sum(1)) @ (across @ centres[..., None]).sum(1)
    depth = ((R @ nearest[:, None])[..., 0] + t)[..., 2]
    focal = np.sqrt(K[..., 0, 0] * K[..., 1, 1])
    sizes = np.median(np.sqrt(area) * depth / focal, axis=-1)
    return np.where((area > 0).all(-1), sizes, np.nan)


def area_and_middle(
    mask: Float[np.ndarray, "*n h w"],
) -> tuple[Float[np.ndarray, "*n"], Float[np.ndarray, "*n 2"]]:
    """Area and centre of mass of masks in crops that go from -1 to 1.

    >>> area, middle = area_and_middle(np.array([[[0.0, 1.0], [0.0, 1.0]]]))
    >>> area.tolist(), middle.tolist()
    ([2.0], [[0.5, 0.0]])
    """
    h, w = mask.shape[-2:]
    x, y = ((2 * np.arange(side) + 1) / side - 1 for side in (w, h))
    columns, rows = mask.sum(-2), mask.sum(-1)
    total = rows.sum(-1)
    sums = [(columns * x).sum(-1), (rows * y).sum(-1)]
    middle = np.stack(sums, -1) / np.maximum(total, 1e-9)[..., None]
    return 4 / (h * w) * total, middle


def scale_in_words(sizes_mm: Float[np.ndarray, " n"]) -> str:
    """What is wrong with the scale of a calibration that makes people so big; empty if nothing.

    Args:
        sizes_mm: `silhouette_sizes` of moments; NaN where not known.

    >>> scale_in_words(np.array([650.0, 700.0, 1500.0, np.nan]))
    ''
    >>> scale_in_words(np.array([7100.0])).split(": python -m mask_sup.")[1]
    'calibration convert input=<calibration> output=cameras.json scale=0.1'
    """
    known = sizes_mm[np.isfinite(sizes_mm)]
    size = float(np.median(known)) if len(known) else USUAL_MM
    if LEAST_MM <= size <= MOST_MM:
        return ""
    factor = size / USUAL_MM
    tens = round(math.log10(factor)) if factor > 0 else 0
    unit = tens != 0 and abs(math.log10(factor) - tens) < TENFOLD
    undone = f"{10.0**-tens:g}" if unit else f"{1 / factor:.2g}"
    why = "its unit was taken for another" if unit else "was a board or wand measured wrongly?"
    masks = ", or the masks hold more than one person" if 1 < factor < MANY else ""
    better = "" if unit else " (better: a length that you know over the same as calibrated)"
    times = f"{factor:.0f}" if factor >= MANY else f"{factor:.2g}"
    return (
        f"a person would be {times} times as big as people are (silhouettes of {size:.0f} mm, the "
        f"square root of their area; people's are {LEAST_MM:.0f} to {MOST_MM:.0f}): the scale of "
        f"the calibration is wrong ({why}){masks}; all lengths that follow are, too. To undo it: "
        "python -m mask_sup.calibration convert input=<calibration> output=cameras.json "
        f"scale={undone}{better}"
    )
