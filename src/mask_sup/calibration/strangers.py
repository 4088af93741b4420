"""Masks of somebody else: one camera's silhouette lies off the hull that all others meet in.

A camera that is wrong is wrong in every moment, and one pose of it puts its masks where the others
see the person. A mask of another person lies elsewhere in some moments and fits in others, or moves
in a way that no pose of the camera explains.
"""

from itertools import combinations
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float

from mask_sup.calibration.silhouettes import (
    CAP,
    REACH,
    Silhouettes,
    centre_of_rays,
    gaps,
    points_on_rays,
    ray_gaps,
)

__all__ = ["COVERED", "ELSEWHERE", "Moment", "explained_by_a_pose", "strangers"]

ELSEWHERE = "elsewhere, of another person or another time,"
COVERED = "cut, where people cover each other,"
MEETS = 1.0  # percent of the person's size: mean gap of silhouettes that meet in one hull
OFF = 5.0  # percent; a mask lies off a hull where nearly all of its rays miss it by that
NEARLY = 10  # percent of the rays that may be nearer
MOST = 2  # views of a moment that may be somebody else's
CLOSES = 0.3  # percent; what is left among the others where a view shows somebody else
INSIDE = 0.5  # percent; a point with a smaller gap is in the hull
POSED = 0.3  # of the person's size: how far off one pose of a camera may leave its masks
FEWEST = 5  # moments that tell a pose from a walk


class Moment(NamedTuple):
    """How the silhouettes of a moment meet."""

    meets: bool  # all in one hull
    elsewhere: frozenset[int]  # views off the hull of the others, who meet; all that it may be
    worst: int  # the view without which the others meet best


def strangers(scene: Silhouettes) -> list[Moment]:
    """Which views show somebody else, moment by moment."""
    found = gaps(scene.sparse())
    return [_moment(found[:, i : i + 1]) for i in range(found.shape[1])]


def _moment(found: Float[np.ndarray, "v 1 n s v"]) -> Moment:
    views = list(range(len(found)))
    without = [_gap(found, [v for v in views if v != view]) for view in views]
    meets, worst = _gap(found, views) <= MEETS, int(np.argmin(without))
    told: set[int] = set()
    for count in range(1, min(MOST, len(views) - 2) + 1):
        if meets or told:
            break
        for out in combinations(views, count):
            rest = [v for v in views if v not in out]
            if _gap(found, rest) <= CLOSES and all(_off(found, view, rest) > OFF for view in out):
                told.update(out)
    return Moment(meets, frozenset(told), worst)


def _gap(found: np.ndarray, views: list[int]) -> float:
    return float(np.minimum(ray_gaps(found, views), CAP).mean())


def _off(found: np.ndarray, view: int, rest: list[int]) -> float:
    """By how much nearly all rays of a view miss the hull of the others, percent."""
    return float(np.percentile(found[view][..., rest].max(-1).min(-1), NEARLY))


def explained_by_a_pose(scene: Silhouettes, view: int) -> bool:
    """Whether one pose of a camera puts its masks where the other cameras see the person.

    True as well where there are too few moments to tell.
    """
    rest = [v for v in range(len(scene.K)) if v != view]
    places, seen, sizes = [], [], []
    for k in range(len(scene.moments)):
        place = _place(scene, k, rest)
        if place is not None:
            outline = scene.moments[k][view]
            places.append(place)
            seen.append(outline.rays_px.mean(0))
            sizes.append(outline.size_px)
    if len(places) < FEWEST:
        return True
    points, pixels = np.array(places), np.array(seen)
    error = min(
        _reprojection(scene, view, points, pixels, flags)
        for flags in (cv2.SOLVEPNP_SQPNP, cv2.SOLVEPNP_ITERATIVE)
    )
    return error < POSED * float(np.median(sizes))


def _place(scene: Silhouettes, moment: int, views: list[int]) -> Float[np.ndarray, "3"] | None:
    """The middle of the hull of some views."""
    part = Silhouettes(
        [[scene.moments[moment][v] for v in views]],
        scene.K[views],
        scene.R[views],
        scene.t[views],
        scene.steps,
    )
    centre, distance = centre_of_rays(part)
    ball = centre, REACH * distance
    outside = gaps(part, ball).max(-1)[:, 0]
    points = [
        points_on_rays(part, i, outline.rays_px, *ball)[outside[i] < INSIDE]
        for i, outline in enumerate(part.moments[0])
    ]
    inside = np.concatenate(points)
    return np.median(inside, 0) if len(inside) else None


def _reprojection(
    scene: Silhouettes, view: int, points: np.ndarray, pixels: np.ndarray, flags: int
) -> float:
    """Root mean square error of the best pose, pixels."""
    turn, move = cv2.Rodrigues(scene.R[view])[0], scene.t[view].reshape(3, 1).copy()
    guess = flags == cv2.SOLVEPNP_ITERATIVE
    found, turn, move = cv2.solvePnP(points, pixels, scene.K[view], None, turn, move, guess, flags)
    if not found:
        return float("inf")
    again = cv2.projectPoints(points, turn, move, scene.K[view], None)[0].reshape(-1, 2)
    return float(np.sqrt(np.square(again - pixels).sum(1).mean()))
