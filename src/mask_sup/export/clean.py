"""Doubtful joints, gaps and jitter: what may be mended before a clip is written.

Nothing is mended unless it is asked for. All of it is done to 3D joints and to pixels alike, and
no filter ever reaches across a gap that stays open.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from mask_sup.export.clip import Clip, known_fps

__all__ = ["SMOOTHERS", "clean", "drop_doubtful", "fill_gaps", "smooth"]

BUTTERWORTH_ORDER = 2  # run forwards and backwards: fourth order without lag
SAVGOL_DEGREE = 3
SMOOTHERS = ("none", "butterworth", "savgol")


def clean(
    clip: Clip,
    min_confidence: float = 0.0,
    fill: int = 0,
    smoothing: str = "none",
    cutoff_hz: float = 6.0,
    window: int = 9,
) -> Clip:
    """Drop doubtful joints, fill short gaps, smooth: in this order, each only if asked for.

    Args:
        clip: What is mended.
        min_confidence: Joints below it become unknown; 0 keeps all.
        fill: Longest gap, in frames, that is interpolated; 0 fills none.
        smoothing: One of `SMOOTHERS`.
        cutoff_hz: Of `butterworth`: movements quicker than that are taken away.
        window: Of `savgol`: frames that each cubic is fitted to, odd.

    Raises:
        ValueError: If a setting makes no sense or needs what the clip does not have.
    """
    clip = drop_doubtful(clip, min_confidence)
    if fill < 0:
        raise ValueError(f"fill={fill}: expected a number of frames, 0 to fill no gap")
    filter_run = _filter(clip, smoothing, cutoff_hz, window)

    def mended(track: np.ndarray) -> np.ndarray:
        flat = track.reshape(len(track), -1, track.shape[-1])
        flat = fill_gaps(flat, fill) if fill else flat
        return (smooth(flat, filter_run) if filter_run else flat).reshape(track.shape)

    return clip._replace(points_mm=mended(clip.points_mm), joints_px=mended(clip.joints_px))


def drop_doubtful(clip: Clip, min_confidence: float) -> Clip:
    """The clip with joints below a confidence unknown, in 3D and in all views.

    Raises:
        ValueError: If the limit is outside [0, 1], or the clip knows no confidence.
    """
    if not 0 <= min_confidence <= 1:
        raise ValueError(f"min_confidence={min_confidence}: expected a number in [0, 1]")
    if min_confidence == 0:
        return clip
    if clip.confidence is None:
        raise ValueError(
            f"min_confidence={min_confidence}: poses of a single view hold no confidence, "
            "which is how well several views agree: leave it at 0"
        )
    keep = (clip.confidence >= min_confidence)[..., None]
    return clip._replace(
        points_mm=np.where(keep, clip.points_mm, np.nan),
        joints_px=np.where(keep[:, None], clip.joints_px, np.nan),
    )


def fill_gaps(track: Float[np.ndarray, "t n d"], longest: int) -> Float[np.ndarray, "t n d"]:
    """Gaps of up to `longest` frames between known frames, bridged by a monotone cubic.

    What is unknown before the first or after the last known frame stays unknown.
    """
    from scipy.interpolate import PchipInterpolator

    filled = track.copy()
    frames = np.arange(len(track))
    known = np.isfinite(track).all(-1)
    for joint in range(track.shape[1]):
        if not known[:, joint].any():
            continue
        seen = frames[known[:, joint]]
        gaps = [
            gap
            for gap in _runs(~known[:, joint])
            if seen[0] < gap.start and gap.stop <= seen[-1] and gap.stop - gap.start <= longest
        ]
        if gaps:
            bridge = PchipInterpolator(seen, track[seen, joint])
            for gap in gaps:
                filled[gap, joint] = bridge(frames[gap])
    return filled


def smooth(
    track: Float[np.ndarray, "t n d"], filter_run: Callable[[np.ndarray], np.ndarray]
) -> Float[np.ndarray, "t n d"]:
    """Every unbroken run of known frames of every joint, filtered by itself."""
    smoothed = track.copy()
    known = np.isfinite(track).all(-1)
    for joint in range(track.shape[1]):
        for run in _runs(known[:, joint]):
            smoothed[run, joint] = filter_run(track[run, joint])
    return smoothed


def _runs(wanted: Bool[np.ndarray, " t"]) -> list[slice]:
    """The stretches of frames for which `wanted` is true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], wanted.astype(int), [0]])))
    return [slice(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _filter(
    clip: Clip, smoothing: str, cutoff_hz: float, window: int
) -> Callable[[np.ndarray], np.ndarray] | None:
    """The filter of one run of frames (t, d), or None."""
    if smoothing not in SMOOTHERS:
        raise ValueError(f"smooth={smoothing}: expected one of {list(SMOOTHERS)}")
    if smoothing == "butterworth":
        return _butterworth(known_fps(clip, "smooth=butterworth"), cutoff_hz)
    return _savgol(window) if smoothing == "savgol" else None


def _butterworth(fps: float, cutoff_hz: float) -> Callable[[np.ndarray], np.ndarray]:
    """Zero-phase low pass: half the power, both passes together, is left at the cutoff."""
    from scipy.signal import butter, sosfiltfilt

    # Each pass has to leave 1 / sqrt(2) of the power at the cutoff, so its own lies higher.
    corner = (
        fps
        / np.pi
        * np.arctan(np.tan(np.pi * cutoff_hz / fps) / (np.sqrt(2) - 1) ** (0.5 / BUTTERWORTH_ORDER))
    )
    if not 0 < cutoff_hz < corner < fps / 2:
        raise ValueError(
            f"cutoff_hz={cutoff_hz}: expected a frequency above 0 and below {fps / 2:g}, half of "
            f"the {fps:g} frames a second"
        )
    sections = butter(BUTTERWORTH_ORDER, corner, fs=fps, output="sos")
    padding = int(np.ceil(3 * fps / cutoff_hz))  # periods after which the ends are forgotten

    def filter_run(run: np.ndarray) -> np.ndarray:
        return sosfiltfilt(sections, run, axis=0, padlen=min(padding, len(run) - 1))

    return filter_run


def _savgol(window: int) -> Callable[[np.ndarray], np.ndarray]:
    """Cubics fitted to a moving window; runs shorter than the window are left as they are."""
    from scipy.signal import savgol_filter

    if window <= SAVGOL_DEGREE or window % 2 == 0:
        raise ValueError(f"window={window}: expected an odd number of frames, 5 or more")

    def filter_run(run: np.ndarray) -> np.ndarray:
        return run if len(run) < window else savgol_filter(run, window, SAVGOL_DEGREE, axis=0)

    return filter_run
