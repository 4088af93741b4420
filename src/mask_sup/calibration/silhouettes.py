"""Do calibrated cameras agree on the shape that they see? From masks alone.

A point of the person lies inside the masks of all cameras, so every ray through a mask must meet a
point that all the other masks contain (Laurentini, "The visual hull concept", 1994). The distance
by which a ray misses such a point is that ray's *gap*, as a percentage of the person's size in the
picture. Perfect cameras and masks have gaps of 0; whatever is wrong with a camera opens some.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float

from mask_sup.geometry.size import silhouette_sizes

__all__ = [
    "Outline",
    "Silhouettes",
    "centre_of_rays",
    "gaps",
    "mean_gap",
    "moment_gaps",
    "outline",
    "person_sizes",
    "points_on_rays",
    "ray_gaps",
]

STEPS = 128  # points on a ray
REACH = 0.75  # of the cameras' distance: half of the way that points on rays are looked at
CAP = 10.0  # percent; one hopeless ray does not outweigh many
FAR = 1e3  # percent; the gap of a point behind a camera
WIDE = 0.5  # of a side of a picture: no person covers as much of it
RIM = 0.005  # of the longer side of a picture: a mask that comes so near to its border is cut off


class Outline(NamedTuple):
    """One mask, as rays see it."""

    outside: Float[np.ndarray, "h w"]  # pixels to the mask, 0 in it
    cut: Bool[np.ndarray, "4"]  # whether the person may go on beyond the left, top, right, bottom
    rays_px: Float[np.ndarray, "n 2"]  # points in the mask, continuous pixels
    size_px: float  # of the person: square root of the mask's area


@dataclass(frozen=True)
class Silhouettes:
    """Masks of some moments, and the cameras that are believed.

    Masks are free of lens distortion; K is for their pixels, t in the unit of the calibration.
    """

    moments: list[list[Outline]]  # [moment][view]
    K: Float[np.ndarray, "v 3 3"]
    R: Float[np.ndarray, "v 3 3"]
    t: Float[np.ndarray, "v 3"]
    steps: int = STEPS

    def with_camera(self, view: int, **changed: np.ndarray) -> "Silhouettes":
        """The same masks, one camera believed to be another; names K, R or t."""
        arrays = {name: getattr(self, name).copy() for name in changed}
        for name, value in changed.items():
            arrays[name][view] = value
        return replace(self, **arrays)

    def thinned(self) -> "Silhouettes":
        """Every second moment, third ray and second point on it: twelve times quicker to judge."""
        return replace(self, moments=self.moments[::2]).sparse()

    def sparse(self) -> "Silhouettes":
        """Every third ray and second point on it, of all moments."""
        moments = [
            [seen._replace(rays_px=seen.rays_px[::3]) for seen in moment] for moment in self.moments
        ]
        return replace(self, moments=moments, steps=self.steps // 2)


def outline(mask: Bool[np.ndarray, "h w"], rays: int, rng: np.random.Generator) -> Outline:
    """Distance field and random rays of a mask that is not empty.

    Args:
        mask: True where the person is, without lens distortion.
        rays: How many rays, half of them at the edge.
        rng: Chooses them.
    """
    return Outline(_outside(mask), _cut(mask), _rays(mask, rays, rng), float(np.sqrt(mask.sum())))


def _cut(mask: np.ndarray) -> np.ndarray:
    """The sides of the picture that the mask comes to, as a person does and not a leak."""
    rim = max(1, round(RIM * max(mask.shape)))
    sides = mask[:, :rim].any(1), mask[:rim].any(0), mask[:, -rim:].any(1), mask[-rim:].any(0)
    return np.array([0 < side.mean() < WIDE for side in sides])


def _outside(mask: np.ndarray) -> np.ndarray:
    field = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.maximum(field - 0.5, 0.0)  # to the edge of the nearest pixel, not to its centre


def _rays(mask: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Half of the points at the edge of the mask, where a gap opens first, half in all of it."""
    edge = mask & (cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)
    parts = []
    for region in (edge, mask):
        rows, columns = np.nonzero(region)
        chosen = rng.integers(0, len(rows), count // 2)
        parts.append(np.stack([columns[chosen], rows[chosen]], 1) + 0.5)
    return np.concatenate(parts)


def centre_of_rays(scene: Silhouettes) -> tuple[np.ndarray, float]:
    """Where the cameras look: a point (3,) that most pairs agree on, and its distance from them."""
    centres = -np.einsum("vji,vj->vi", scene.R, scene.t)
    found = []
    for moment in scene.moments:
        ways = []
        for view, seen in enumerate(moment):
            ray = np.linalg.solve(scene.K[view], np.append(seen.rays_px.mean(0), 1.0))
            way = scene.R[view].T @ ray
            ways.append(way / np.linalg.norm(way))
        for a in range(len(ways)):
            for b in range(a):
                found.append(_closest(centres[a], ways[a], centres[b], ways[b]))
    point = np.median(found, axis=0)
    return point, float(np.median(np.linalg.norm(centres - point, axis=1)))


def _closest(p: np.ndarray, u: np.ndarray, q: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The point halfway between two lines, of unit directions, where they are closest."""
    between, cosine = q - p, u @ v
    u_then, v_then = u @ between, v @ between
    spread = max(1.0 - cosine**2, 1e-9)  # of parallel lines any point will do
    on_u, on_v = u_then - cosine * v_then, cosine * u_then - v_then
    return (p + on_u / spread * u + q + on_v / spread * v) / 2


def person_sizes(scene: Silhouettes) -> Float[np.ndarray, " m"]:
    """`geometry/size.py: silhouette_sizes` of each moment, in the unit of t."""
    masks = [[seen.outside == 0 for seen in moment] for moment in scene.moments]
    area = np.array([[mask.sum() for mask in moment] for moment in masks], float)
    middle = np.array([[np.argwhere(m).mean(0)[::-1] + 0.5 for m in moment] for moment in masks])
    cameras = (
        np.broadcast_to(part, (len(masks), *part.shape)) for part in (scene.K, scene.R, scene.t)
    )
    return silhouette_sizes(area, middle, *cameras)


def gaps(
    scene: Silhouettes,
    ball: tuple[np.ndarray, float] | None = None,
    known: Float[np.ndarray, "v m n s v"] | None = None,
    moved: int | None = None,
) -> Float[np.ndarray, "v m n s v"]:
    """How far each point on each ray is outside of each mask, percent of the person's size there.

    Args:
        scene: Masks and cameras.
        ball: Centre and radius of where points are looked at; None: where the cameras look.
        known: Gaps of the same scene and ball but for one camera.
        moved: That camera: only what it changes is looked at again.

    Returns:
        [view of the ray, moment, ray, point on it, view that judges]; 0 where the two views are
        the same. The hull of any set of views follows, see `ray_gaps`.
    """
    views, rays = len(scene.K), len(scene.moments[0][0].rays_px)
    if ball is None:
        centre, distance = centre_of_rays(scene)
        ball = centre, REACH * distance
    if known is None:
        found = np.zeros((views, len(scene.moments), rays, scene.steps, views), np.float32)
    else:
        found = known.copy()
    for i, moment in enumerate(scene.moments):
        for view, seen in enumerate(moment):
            on_rays = _points(scene, view, seen.rays_px, *ball)
            for judge, judging in enumerate(moment):
                if judge != view and moved in (None, view, judge):
                    found[view, i, ..., judge] = _gap(scene, judge, judging, *on_rays)
    return found


def points_on_rays(
    scene: Silhouettes,
    view: int,
    pixels: Float[np.ndarray, "n 2"],
    centre: Float[np.ndarray, "3"],
    radius: float,
) -> Float[np.ndarray, "n s 3"]:
    """The points that `gaps` looks at on rays through these pixels of a view, inside a ball."""
    origin, ways, steps = _points(scene, view, pixels, centre, radius)
    return origin + steps[..., None] * ways[:, None]


def _points(
    scene: Silhouettes, view: int, pixels: np.ndarray, centre: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points on the rays of one mask inside a ball; where a ray misses it, next to it.

    Returns:
        Where the rays start (3,), their directions (n, 3), and how far along the points are (n, s).
    """
    rays = np.concatenate([pixels, np.ones((len(pixels), 1))], 1) @ np.linalg.inv(scene.K[view]).T
    ways = rays @ scene.R[view]
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    origin = -scene.R[view].T @ scene.t[view]
    along = ways @ (centre - origin)
    miss = np.linalg.norm(origin + along[:, None] * ways - centre, axis=1)
    half = np.sqrt(np.clip(radius**2 - miss**2, 0.0, None))
    steps = along[:, None] + half[:, None] * np.linspace(-1.0, 1.0, scene.steps)
    return origin, ways, np.maximum(steps, 0.0)


def _gap(
    scene: Silhouettes,
    judge: int,
    seen: Outline,
    origin: np.ndarray,
    ways: np.ndarray,
    steps: np.ndarray,
) -> np.ndarray:
    """(n, s) how far points on rays are outside of a mask, percent of the person's size in it."""
    start = scene.K[judge] @ (scene.R[judge] @ origin + scene.t[judge])
    way = ways @ (scene.K[judge] @ scene.R[judge]).T
    depth = start[2] + steps * way[:, 2:]
    ahead = depth > 1e-9
    per_depth = 1.0 / np.where(ahead, depth, 1.0)
    x, y = (
        np.clip((start[i] + steps * way[:, i, None]) * per_depth, -1e6, 1e6) - 0.5 for i in (0, 1)
    )
    x, y = x.astype(np.float32), y.astype(np.float32)
    # A point beside the picture counts as one at its border; where the person is cut off there,
    # nothing is known of it.
    found = cv2.remap(seen.outside, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    height, width = seen.outside.shape
    for cut, beyond in zip(seen.cut, (x < 0, y < 0, x > width - 1, y > height - 1), strict=True):
        if cut:
            found[beyond] = 0.0
    return np.where(ahead, 100.0 / seen.size_px * found, FAR)


def ray_gaps(found: Float[np.ndarray, "v m n s v"], views: list[int]) -> Float[np.ndarray, "k m n"]:
    """The gap of each ray of these views, judged by these views alone."""
    rays = found[views]
    outside = rays[..., views[0]].copy()
    for judge in views[1:]:
        np.maximum(outside, rays[..., judge], out=outside)
    return outside.min(-1)


def moment_gaps(
    found: Float[np.ndarray, "v m n s v"], views: list[int] | None = None
) -> Float[np.ndarray, " m"]:
    """Mean gap of the rays of these views in each moment, judged by them; None: of all, percent."""
    views = list(range(len(found))) if views is None else views
    return np.minimum(ray_gaps(found, views), CAP).mean(axis=(0, 2))


def mean_gap(found: Float[np.ndarray, "v m n s v"], views: list[int] | None = None) -> float:
    """The same over all moments."""
    return float(moment_gaps(found, views).mean())
