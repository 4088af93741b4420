"""`poses.npz`: what `mask_sup.predict` writes and everything after it reads."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mask_sup.files.disk import read_arrays, write_arrays

__all__ = [
    "BADLY",
    "UNSURE",
    "USUAL",
    "VERDICT",
    "VERSION",
    "confidence_of",
    "doubts",
    "healthy",
    "limits",
    "moment_in_words",
    "read_poses",
    "verdict_in_words",
    "write_poses",
]

VERSION = 2
NEEDED = ("pictures", "joints_px", "joints_root_mm", "joints", "parents")  # joints, parents: header
WITH_WORLD = ("reprojected_px", "confidence")
SHAPES = {  # n frames, v views, j joints
    "pictures": ("n", "v"),
    "picture_size_px": ("n", "v", 2),
    "person_px": ("n", "v"),
    "joints_px": ("n", "v", "j", 2),
    "joints_root_mm": ("n", "v", "j", 3),
    "joints_world_mm": ("n", "j", 3),
    "reprojected_px": ("n", "v", "j", 2),
    "reprojection_error_px": ("n", "v", "j"),
    "confidence": ("n", "j"),
    "expected_error_mm": ("n", "j"),
    "unexplained": ("n",),
    "unexplained_view": ("n", "v"),
    "unexplained_limb": ("n", "l"),
    "strain": ("n",),
    "front": ("n",),
    "healthy": ("n",),
    "size_mm": ("n",),
}
VERDICT = (
    *("unexplained", "unexplained_view", "unexplained_limb"),
    *("strain", "front", "expected_error_mm"),
)
USUAL = (0.02, 0.06)  # unexplained share of masks with clean outlines of one person, rightly posed
BADLY = (0.06, 0.10)  # from which on a pose is doubted: of clean masks, of such with rough outlines
ONE_VIEW = (0.08, 0.12)  # of the worst view
ROUGH = 1.4  # times the median of all moments is rough outlines' share, in between
STRAINED = 0.001  # share of the foreground that the anatomy has against a pose
FRONT = 0.01  # more that is unexplained with left and right exchanged, where names are sure
STANDS_OUT = 2.0  # times the median of all views, or limbs
WORST = 5  # moments that are named
PERSON = {  # where a picture's crop comes from -> what person_px measures
    "mask": "larger side of the person's mask; NaN as above",
    "given": "larger side of the person's box as it was given, without the lens's distortion; NaN "
    "as above",
    "found": "side of the square that the detector found to hold the person",
}
UNSURE = 0.05  # of the size: expected error where confidence is 0.5; mean one of doubted poses


def write_poses(
    path: Path,
    poses: dict[str, np.ndarray],
    pictures: np.ndarray,
    skeleton: Any,
    limbs: Sequence[str],
    fps: float | None,
    request: Any,
    settings: dict[str, Any],
    box: str,
) -> None:
    """poses.npz, readable with allow_pickle=False; `header` is JSON that explains every array."""
    header = {
        "version": VERSION,
        "skeleton": skeleton.name,
        "joints": list(skeleton.joints),
        "parents": dict(skeleton.parents),
        "limbs": list(limbs),
        "fps": fps,  # null: unknown
        "every": request.every,
        "units": {"joints_*_mm": "mm", "*_px": "pixels", "fps": "predicted frames a second"},
        "axes": {
            "*_px": "x right, y down, from the picture's upper left corner; pixel (row r, column "
            "c) covers [c, c+1] x [r, r+1]",
            "joints_root_mm": "x right, y down, z away from the camera; origin at the root joint",
            "joints_world_mm": "the world of the calibration",
        },
        "arrays": {
            "joints_px": "frame, view, joint, (x, y): continuous pixels of the input pictures; NaN "
            "in views whose mask or box shows nobody, which count nowhere at that moment",
            "joints_root_mm": "frame, view, joint, (x right, y down, z away from the camera): mm "
            f"relative to the root; scale from a person of {request.person_height} mm; NaN as "
            "above",
            "person_px": f"frame, view: {PERSON[box]}",
            "picture_size_px": "frame, view, (width, height)",
            "joints_world_mm": "frame, joint, (x, y, z): mm in the world of the calibration; NaN "
            "where fewer than two views show anybody",
            "reprojected_px": "frame, view, joint, (x, y): the triangulated joints seen again",
            "reprojection_error_px": "frame, view, joint: distance of the two, pixels",
            "confidence": "frame, joint: of joints_world_mm, in [0, 1], 0 where it is NaN: 1 / (1 "
            f"+ (s / {UNSURE})^2), s the expected error as a share of the person's size"
            + (
                ""
                if "unexplained" in poses
                else ": s^2 = 9 / (2 v) * sum over the v views of (reprojection_error_px / "
                "person_px)^2 / (2 v - 3)"
            ),
            "expected_error_mm": "frame, joint: expected distance from the true joint, from what "
            "the masks leave open and what speaks against the pose (mask_sup.fitting.verdict)",
            "unexplained": "frame: share of the masks' foreground that the body leaves unexplained "
            "(mean squared difference over mean foreground, all views)",
            "unexplained_view": "frame, view: the same of each view; NaN where nobody is shown",
            "unexplained_limb": "frame, limb (`limbs` of this header): the same of what is "
            "nearest to each, over the body there",
            "strain": "frame: what the anatomy has against the pose (bones too long or short, "
            "limbs in each other), as a share of the foreground",
            "front": "frame: how much more is unexplained with left and right exchanged",
            "healthy": "frame: 1 where nothing speaks against the pose: unexplained at most "
            f"{ROUGH} times the median of all frames, within {BADLY}, in the worst view likewise, "
            f"within {ONE_VIEW}, strain at most {STRAINED}, front at least {FRONT}, mean "
            f"expected error at most {UNSURE} of the person's size; 0 for all where that holds "
            "for fewer than half of them",
            "size_mm": "frame: square root of the silhouettes' area at the person's distance, mm, "
            "median of the views: 700 is usual, whatever the pose; NaN where a view shows nobody",
            "pictures": "frame, view: file of each picture",
        },
        "checkpoint": str(request.checkpoint),
        "settings": settings,  # what the detector was given, by all its ancestors
        "input": str(request.input),
    }
    header["arrays"] = {k: t for k, t in header["arrays"].items() if k in poses or k == "pictures"}
    write_arrays(path, header, {"pictures": pictures, **poses})


def confidence_of(expected: np.ndarray) -> np.ndarray:
    """Confidence in [0, 1] of joints that are expected to be a share of the person's size off.

    >>> confidence_of(np.array([0.0, 0.05, 0.5])).round(2).tolist()
    [1.0, 0.5, 0.01]
    """
    return 1 / (1 + np.square(expected / UNSURE))


def expected_of(confidence: np.ndarray) -> np.ndarray:
    """What joints with a confidence are expected to be off: a share of the person's size.

    >>> expected_of(np.array([1.0, 0.5, 0.0])).tolist()
    [0.0, 0.05, inf]
    """
    with np.errstate(divide="ignore"):
        return UNSURE * np.sqrt(1 / np.asarray(confidence) - 1)


def doubts(poses: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """What speaks against the pose of each moment, of those that were held against masks.

    Args:
        poses: Arrays of a poses.npz, `unexplained` and all of `VERDICT` among them.

    Returns:
        Sign -> moments (n) that show it. Moments without a pose show none.
    """
    most, view = limits(poses)
    badly = np.nan_to_num(poses["unexplained"]) > most
    one_view = np.nan_to_num(poses["unexplained_view"]).max(1) > view
    expected = expected_of(poses["confidence"]).mean(1)
    return {
        "unexplained": badly,
        "one view": one_view & ~badly,
        "strained": np.nan_to_num(poses["strain"]) > STRAINED,
        "unsure": (expected > UNSURE) & np.isfinite(poses["unexplained"]),
        "either way": poses["front"] < FRONT,
    }


def limits(poses: Mapping[str, Any]) -> tuple[float, float]:
    """Unexplained shares, of all views and of the worst one, from which on a pose is doubted.

    A recording has its own level: outlines of masks made without a network are rough throughout.

    Args:
        poses: See `doubts`.
    """
    posed = np.isfinite(poses["unexplained"])
    if not posed.any():
        return BADLY[0], ONE_VIEW[0]
    worst = np.nan_to_num(poses["unexplained_view"][posed]).max(1)
    usual = np.median(poses["unexplained"][posed]), np.median(worst)
    return tuple(
        float(np.clip(ROUGH * float(one), *ends))
        for one, ends in zip(usual, (BADLY, ONE_VIEW), strict=True)
    )


SIGNS = {
    "unexplained": "leave more than {most:.0f} % of the masks unexplained: these hold what is no "
    "person or lack a part, the calibration is wrong, or the pose is",
    "one view": "leave more than {view:.0f} % unexplained in one view alone: its masks show "
    "something else than the others', or that camera is turned, moved or late: see masks check, "
    "then calibration check",
    "strained": "are strained: bones are squeezed or limbs lie in each other to meet the masks, as "
    "where these lack a part of the person",
    "either way": "are explained nearly as well with left and right exchanged: the person may face "
    "the other way",
    "unsure": "are unsure: joints are expected to be {unsure:.0f} % of the person's size off and "
    "more, as other poses explain the masks about as well",
}


def healthy(poses: Mapping[str, Any]) -> np.ndarray:
    """The moments (n) that nothing speaks against; none where most of the recording is doubted.

    What spoils most moments, such as masks of half a person, has taught a wrong build to the rest.

    Args:
        poses: See `doubts`.
    """
    posed = np.isfinite(poses["unexplained"])
    fine = posed & ~np.logical_or.reduce(list(doubts(poses).values()))
    return fine & (2 * fine.sum() >= posed.sum())


def verdict_in_words(
    poses: Mapping[str, Any], cameras: Sequence[str], limbs: Sequence[str]
) -> list[str]:
    """How well poses explain their masks, and then what speaks against some of them, a line each.

    Args:
        poses: Arrays of a poses.npz, `unexplained` and all of `VERDICT` among them.
        cameras: A name per view.
        limbs: Names of the columns of `unexplained_limb`.
    """
    unexplained, (least, most) = float(np.nanmedian(poses["unexplained"])), USUAL
    lines = [
        f"the body leaves {100 * unexplained:.1f} % of the masks unexplained (median; of clean "
        f"ones {100 * least:.0f} to {100 * most:.0f} % are usual)"
    ]
    if most < unexplained <= BADLY[1]:
        lines.append(
            "masks are rough throughout, so limbs may be some centimetres off: see masks check, "
            "and try another extractor"
        )
    found = doubts(poses)
    doubted = np.logical_or.reduce(list(found.values()))
    if not doubted.any():
        return lines
    order = np.argsort(np.where(doubted, poses["confidence"].mean(1), np.inf))
    worst = order[: min(int(doubted.sum()), WORST)]
    named = "; ".join(f"{i}: {moment_in_words(poses, i, cameras, limbs)}" for i in worst.tolist())
    lines.append(
        f"do not trust {int(doubted.sum())} of {len(doubted)} moments before you have looked at "
        f"their overlays; the worst are {named}"
    )
    most, view = (100 * limit for limit in limits(poses))
    return lines + [
        f"{int(which.sum())} {SIGNS[sign].format(most=most, view=view, unsure=100 * UNSURE)}"
        for sign, which in found.items()
        if which.any()
    ]


def moment_in_words(
    poses: Mapping[str, Any], moment: int, cameras: Sequence[str], limbs: Sequence[str]
) -> str:
    """How badly the pose of one moment explains its masks, and where most."""
    told = f"{100 * poses['unexplained'][moment]:.0f} % unexplained"
    view, limb = (np.nan_to_num(poses[f"unexplained_{part}"][moment]) for part in ("view", "limb"))
    most = int(view.argmax())
    if view[most] > STANDS_OUT * np.median(view):
        told += f", {100 * view[most]:.0f} % in {cameras[most]}"
    most = int(limb.argmax())
    if limb[most] > STANDS_OUT * np.median(limb):
        told += f", most at the {limbs[most]}"
    expected = np.nanmean(poses["expected_error_mm"][moment])
    return f"{told}, joints expected {expected:.0f} mm off"


def read_poses(path: Path, *needed: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays of a poses.npz of this version, checked against each other.

    Args:
        path: The file.
        needed: Arrays that the caller cannot do without, beside `NEEDED`; with poses in the world,
            it needs all of `WITH_WORLD`, too, if it needs any.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no poses.npz, of another version, or something in it is missing or does
            not fit: says what.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no poses at {path}: give the poses.npz of mask_sup.predict")
    header, arrays = read_arrays(path, {*SHAPES, *needed}, VERSION, "predict again")
    world = WITH_WORLD if needed and "joints_world_mm" in arrays else ()
    if missing := [n for n in (*NEEDED, *needed, *world) if n not in {*arrays, *header}]:
        raise ValueError(f"{path} lacks {missing}: predict again")
    if wrong := _misfit(header, arrays):
        raise ValueError(f"{path}: {wrong}: predict again")
    return header, arrays


def _misfit(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> str | None:
    """What in a poses.npz does not fit, in words; None if all does."""
    joints, parents, fps = header["joints"], header["parents"], header.get("fps")
    if not isinstance(joints, list) or not all(isinstance(j, str) and j for j in joints):
        return f"joints of its header are {joints!r:.80}, expected a list of names"
    if not joints or len(set(joints)) != len(joints):
        return f"joints of its header are {joints!r:.80}, expected names that differ"
    named = isinstance(parents, dict) and all(isinstance(j, str) for j in parents.values())
    if not named or not {*parents, *parents.values()} <= set(joints):
        return f"parents of its header are {parents!r:.80}, expected a joint for each joint"
    if len(parents) != len(joints) - 1 or _circles(parents):
        return "parents of its header make no tree with one root"
    if fps is not None and not (type(fps) in (int, float) and 0 < fps < float("inf")):
        return f"fps of its header is {fps!r}, expected frames a second above 0, or null"
    if any(not isinstance(header.get(key, ""), str) for key in ("skeleton", "input", "checkpoint")):
        return "skeleton, input and checkpoint of its header are texts"
    if arrays["joints_px"].ndim != 4:
        return (
            f"joints_px has the shape {arrays['joints_px'].shape}, expected frames, views, "
            "joints and 2"
        )
    n, v = arrays["joints_px"].shape[:2]
    sizes = {"n": n, "v": v, "j": len(joints), "l": len(header.get("limbs", ()))}
    for name, axes in SHAPES.items():
        if name not in arrays:
            continue
        shape, kind = tuple(sizes.get(axis, axis) for axis in axes), arrays[name].dtype.kind
        if arrays[name].shape != shape:
            return (
                f"{name} has the shape {arrays[name].shape}, expected {shape} for {n} frames, {v} "
                f"views and {len(joints)} joints"
            )
        if kind not in ("U" if name == "pictures" else "fiu"):
            return f"{name} holds {arrays[name].dtype}, expected " + (
                "file names" if name == "pictures" else "numbers"
            )
    return None


def _circles(parents: dict[str, str]) -> bool:
    """Whether some joint is its own ancestor."""
    for joint in parents:
        chain = [joint]
        while chain[-1] in parents:
            chain.append(parents[chain[-1]])
            if len(chain) > len(parents) + 1:
                return True
    return False
