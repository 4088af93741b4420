"""Who is who over views: silhouettes of one person meet in one visual hull, those of two do not.

Space is cut into cubes. A cube belongs to somebody if all cameras that see its place have
foreground there; the parts of the foreground that it falls on, one a view, belong together. As in
all hulls of several people some cubes lie in nobody (Laurentini 1994; "ghosts"): the people are the
fewest sets of parts whose cubes cover the foreground of all views.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float, Integer

from mask_sup.calibration import Calibration
from mask_sup.masks.extractor import disc

__all__ = ["Body", "Hull", "divided"]

CUBES = 96  # along each side of the space that is looked at
REACH = 0.75  # of the cameras' distance from where they look: half of that side
FEWEST_VIEWS = 3  # two views agree on almost anything
LEAST = 6  # cubes of a person
SMALL = 0.1  # of the cubes of the largest person: below that it is a ghost or a crumb
APART_MM = 400.0  # between two people who are not one
COVER = 0.7  # of the parts, in half of the views: less of them is in the hull of a ghost
HALF = 0.5  # of a part: who is partly beside a picture covers more of theirs
NEW = 0.25  # of what somebody covers: more than that has to be covered by nobody else
OUTSIDE = 65535  # the part of a cube that a camera does not see


class Body(NamedTuple):
    """Somebody in one moment."""

    place: Float[np.ndarray, "3"]  # mm
    parts: list[set[int]]  # labels of each view's parts that are theirs, or that they are among
    regions: list[np.ndarray]  # where their cubes are in each view, (h, w) bool
    depths: list[float]  # mm from each camera
    cubes: Integer[np.ndarray, "c"]  # numbers of their cubes


class Hull:
    """The space before a rig.

    Args:
        cameras: Three or more.
        sizes: Width and height of each camera's small pictures of labels.
    """

    def __init__(self, cameras: Calibration, sizes: Sequence[tuple[int, int]]):
        if len(cameras.names) < FEWEST_VIEWS:
            raise ValueError(
                f"a visual hull of several people needs {FEWEST_VIEWS} cameras, got {cameras.names}"
            )
        self.sizes = list(sizes)
        centre, distance = _middle(cameras)
        half = REACH * distance
        side = np.linspace(-half, half, CUBES)
        cubes = np.stack(np.meshgrid(side, side, side, indexing="ij"), -1).reshape(-1, 3) + centre
        pixels, seen = zip(
            *(_pixels(cameras, view, size, cubes) for view, size in enumerate(sizes)), strict=True
        )
        known = np.sum(seen, 0) >= FEWEST_VIEWS
        self.cubes = cubes[known].astype(np.float32)
        self.pixels = [np.where(s, p, -1)[known] for p, s in zip(pixels, seen, strict=True)]
        self.depths = [
            (self.cubes @ R[2] + t[2]) for R, t in zip(cameras.R, cameras.t, strict=True)
        ]
        step = side[1] - side[0]
        self.radii = [
            max(1, round(0.5 * step * K[0, 0] * size[0] / whole[0] / max(float(np.median(z)), 1.0)))
            for K, size, whole, z in zip(cameras.K, sizes, cameras.sizes, self.depths, strict=True)
        ]

    def people(self, labels: Sequence[Integer[np.ndarray, "h w"]]) -> list[Body]:
        """Who is there, from parts of the foreground of each view, 0 for none."""
        wide = [
            cv2.dilate(label.astype(np.uint16), disc(radius))
            for label, radius in zip(labels, self.radii, strict=True)
        ]
        here = np.arange(len(self.cubes))
        for view, label in enumerate(wide):
            pixels = self.pixels[view][here]
            here = here[(pixels < 0) | (label.ravel()[pixels] > 0)]
        if len(here) == 0:
            return []
        told = np.stack(
            [
                np.where(pixels[here] < 0, OUTSIDE, label.ravel()[pixels[here]])
                for label, pixels in zip(wide, self.pixels, strict=True)
            ],
            1,
        )
        keys, which, counts = np.unique(told, axis=0, return_inverse=True, return_counts=True)
        which = which.ravel()
        sets = [here[which == k] for k in np.argsort(-counts) if counts[k] >= LEAST]
        keys = [keys[k] for k in np.argsort(-counts) if counts[k] >= LEAST]
        return self._fewest(sets, keys, labels)

    def _fewest(
        self, sets: list[np.ndarray], keys: list[np.ndarray], labels: Sequence[np.ndarray]
    ) -> list[Body]:
        """Greedily those that cover the most that nobody covers yet."""
        covers = [self._regions(cubes) for cubes in sets]
        for cover, key in zip(covers, keys, strict=True):
            for view, label in enumerate(labels):
                cover[view] &= label == key[view]
        left = [label > 0 for label in labels]
        bodies: list[tuple[np.ndarray, list[np.ndarray]]] = []
        open_sets = list(range(len(sets)))
        while open_sets:
            gains = [_shared(covers[k], left) for k in open_sets]
            best = open_sets.pop(int(np.argmax(gains)))
            gain, whole = max(gains), sum(int(c.sum()) for c in covers[best])
            middle = np.median(self.cubes[sets[best]], 0)
            near = [
                i
                for i, (cubes, keys_of) in enumerate(bodies)
                if np.linalg.norm(np.median(self.cubes[cubes], 0) - middle) < APART_MM
                or any(_agree(key, keys[best]) for key in keys_of)
            ]
            if near and gain:
                cubes, keys_of = bodies[near[0]]
                bodies[near[0]] = np.concatenate([cubes, sets[best]]), [*keys_of, keys[best]]
            elif (
                gain > NEW * whole
                and len(sets[best]) > SMALL * len(sets[0])
                and _covered(covers[best], keys[best], labels) > COVER
            ):
                bodies.append((sets[best], [keys[best]]))
            else:
                continue
            left = [open_ & ~mine for open_, mine in zip(left, covers[best], strict=True)]
        return [self._body(cubes, keys_of, labels) for cubes, keys_of in bodies]

    def _body(
        self, cubes: np.ndarray, keys: Sequence[np.ndarray], labels: Sequence[np.ndarray]
    ) -> Body:
        regions = self._regions(cubes)
        parts = []
        for view, (region, label) in enumerate(zip(regions, labels, strict=True)):
            told = {int(key[view]) for key in keys}
            theirs = told - {OUTSIDE, 0}
            if OUTSIDE in told:  # who is beside a picture may reach into somebody else's part
                theirs = {p for p in theirs if region[label == p].mean() > HALF}
            parts.append(theirs)
        depths = [float(np.median(depth[cubes])) for depth in self.depths]
        return Body(self.cubes[cubes].mean(0), parts, regions, depths, cubes)

    def spread(self, body: Body) -> float:
        """Of somebody's cubes about their place, root mean square, mm."""
        off = np.linalg.norm(self.cubes[body.cubes] - body.place, axis=1)
        return float(np.sqrt(np.square(off).mean()))

    def parted(self, body: Body, places: Sequence[Float[np.ndarray, "3"]]) -> list[Body]:
        """People who touch in all views, each with the cubes nearest to where they should be."""
        away = [np.linalg.norm(self.cubes[body.cubes] - place, axis=1) for place in places]
        nearest = np.argmin(away, 0)
        found = []
        for i, place in enumerate(places):
            cubes = body.cubes[nearest == i]
            depths = [float(np.median(d[cubes])) if len(cubes) else np.inf for d in self.depths]
            found.append(Body(np.asarray(place), body.parts, self._regions(cubes), depths, cubes))
        return found

    def _regions(self, cubes: np.ndarray) -> list[np.ndarray]:
        """Where cubes are in each view."""
        found = []
        for pixels, radius, (width, height) in zip(
            self.pixels, self.radii, self.sizes, strict=True
        ):
            region = np.zeros(height * width, np.uint8)
            inside = pixels[cubes]
            region[inside[inside >= 0]] = 1
            found.append(cv2.dilate(region.reshape(height, width), disc(radius)) > 0)
        return found


def _covered(cover: Sequence[np.ndarray], key: np.ndarray, labels: Sequence[np.ndarray]) -> float:
    """Share of its parts that a set of cubes covers: the median over the views that see it."""
    shares = [
        mine.sum() / (label == part).sum()
        for mine, part, label in zip(cover, key, labels, strict=True)
        if part != OUTSIDE and (label == part).any()
    ]
    return float(np.median(shares)) if shares else 0.0


def _agree(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two sets of parts are the same in all views that see the places of both."""
    both = (first != OUTSIDE) & (second != OUTSIDE)
    return bool((first == second)[both].all())


def _shared(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> int:
    """Pixels of all views that are in both."""
    return sum(int((a & b).sum()) for a, b in zip(first, second, strict=True))


def divided(
    part: Bool[np.ndarray, "h w"], regions: Sequence[np.ndarray], depths: Sequence[float]
) -> Integer[np.ndarray, "h w"]:
    """Whose each pixel of a part is: 1 for the first region, and so on; 0 outside of the part.

    A pixel is of the nearest region; of several that it lies in, of the one nearest to the camera.
    """
    order = np.argsort(depths, kind="stable")
    away = np.stack(
        [cv2.distanceTransform((~regions[i]).astype(np.uint8), cv2.DIST_L2, 3) for i in order]
    )
    return np.where(part, order[away.argmin(0)] + 1, 0)


def _middle(cameras: Calibration) -> tuple[Float[np.ndarray, "3"], float]:
    """Where the optical axes meet, mm, by least squares, and how far the cameras are from it."""
    ways = cameras.R[:, 2]
    across = np.eye(3) - ways[:, :, None] * ways[:, None]
    centres = cameras.centres
    middle = np.linalg.lstsq(across.sum(0), np.einsum("vij,vj->i", across, centres), rcond=None)[0]
    return middle, float(np.median(np.linalg.norm(centres - middle, axis=1)))


def _pixels(
    cameras: Calibration, view: int, size: tuple[int, int], points: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Number of the pixel that each point falls on in a small picture, and whether it does."""
    in_camera = points @ cameras.R[view].T + cameras.t[view]
    ahead = in_camera[:, 2] > 1.0
    flat = in_camera / np.where(ahead, in_camera[:, 2], 1.0)[:, None]
    bend = cameras.distortion[view]
    limit = 1.0 / np.maximum(np.abs(cameras.K[view][[0, 1], [0, 1]]), 1e-9) * cameras.sizes[view]
    ahead &= (np.abs(flat[:, :2]) < 2 * limit).all(1)  # far outside, lenses bend back
    flat = np.where(ahead[:, None], flat, [0.0, 0.0, 1.0])
    zero = np.zeros(3)
    xy = cv2.projectPoints(flat, zero, zero, cameras.K[view], bend)[0].reshape(-1, 2)
    x, y = np.floor(xy * (np.array(size) / cameras.sizes[view])).astype(int).T
    width, height = size
    seen = ahead & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return np.where(seen, y * width + x, 0), seen
