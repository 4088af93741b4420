"""Which camera is wrong, and how? Answered from masks alone, by trying what people get wrong.

The gaps of `silhouettes.py` say that something is wrong. Leaving out one camera at a time says
which; undoing each usual fault in turn, and looking whether the gaps close, says how.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import minimize_scalar

from mask_sup.calibration.settle import settle
from mask_sup.calibration.silhouettes import (
    CAP,
    Outline,
    Silhouettes,
    gaps,
    mean_gap,
    moment_gaps,
    outline,
    person_sizes,
    ray_gaps,
)
from mask_sup.calibration.strangers import (
    COVERED,
    ELSEWHERE,
    Moment,
    explained_by_a_pose,
    strangers,
)
from mask_sup.geometry.degenerate import Sketch, degenerate, frozen, sketch
from mask_sup.geometry.size import scale_in_words

__all__ = ["Finding", "Look", "MasksError", "Rig", "check", "odd_one_out"]

ALARM = 0.12  # percent of the person's size: mean gap from which on a rig is suspected
CLOSES = 0.5  # a fault is named where undoing it leaves this share of the gap or less
SURE = ("swapped", "transposed", "inverted", "unit")
SIZES = ("scaled", "letterboxed")
OF_MASKS = ("masks", "unclear")  # faults with which the size of silhouettes says nothing
AS_OTHERS = 4.0  # times the gap among the others that is left where a wrong size is undone
CLOSED = 0.3  # percent; gaps that small are no accident where one of these is undone
FINALISTS = 4  # trials that are looked at with all rays
FREE = 1.25  # a camera that may move freely must close gaps so much better than a named fault
TOO_MUCH = 5.0  # a camera's rays miss so much more in the others than theirs in it: its masks do
TOO_LITTLE = 10.0  # the other way round; cameras turned or moved were seen up to 5
STANDS_OUT = 0.6  # leaving out the camera at fault leaves this share of what the next one leaves
SHIFTS = 5  # frames
LEAST = 3  # moments of a check
TOO_MANY = 0.5  # share of the moments from which on a camera's bad masks are the fault
STRANGERS_FROM = 3  # views: of two each may be the stranger
MEETING = 0.25  # share of the moments in which all masks meet, so that others are strangers'
SHOWN = 8  # frames that a message lists
SCALES = np.geomspace(0.4, 2.5, 15)
UNITS = {
    1000.0: "metres where millimetres are expected",
    0.001: "millimetres where metres are expected",
    10.0: "centimetres where millimetres are expected",
    0.1: "millimetres where centimetres are expected",
}  # by the factor that undoes it


@dataclass(frozen=True)
class Rig:
    """Cameras and the masks that they took.

    `mask(view, frame)` is a boolean picture without lens distortion; K is for its pixels.
    `number(view, frame)` is what people call the frame, as in the name of the mask's file.
    `guessed(view, frame)` tells whether whoever made the mask had to guess whose its pixels are.
    """

    names: tuple[str, ...]
    K: Float[np.ndarray, "v 3 3"]
    R: Float[np.ndarray, "v 3 3"]
    t: Float[np.ndarray, "v 3"]
    frames: int
    mask: Callable[[int, int], Bool[np.ndarray, "h w"]]
    number: Callable[[int, int], int] = lambda view, frame: frame
    guessed: Callable[[int, int], bool] = lambda view, frame: False


@dataclass(frozen=True)
class Finding:
    """What is wrong with a calibration, or with the masks that it is checked by, if anything is.

    `fault` is one of none, swapped, transposed, inverted, unit, scaled, letterboxed, time,
    extrinsics (a camera is turned or moved), masks (those of a camera show too much or too little)
    and unclear (no single fault explains the gaps).
    `gap` is the mean gap of all rays, percent of the person's size; `mended` what is left of it
    when the fault is undone, `without` what is left among the others when a camera is left out.
    Where masks show nobody in all but a few moments nothing is measured: None, None and ().
    `left_out` says, a line per camera, which moments such masks cost; `scale` what is wrong with
    the scale of all cameras together, which opens no gap: empty where the person has a person's
    size, and where masks may be why not.
    """

    fault: str
    cameras: tuple[str, ...]
    words: str
    gap: float | None
    mended: float | None
    without: tuple[float, ...]
    amount: float | None = None  # frames late, scale of the pictures, factor of the unit
    left_out: tuple[str, ...] = ()
    scale: str = ""


class MasksError(ValueError):
    """The masks of some cameras are at fault, so that they tell nothing of the calibration."""

    def __init__(self, words: str, cameras: tuple[str, ...]):
        super().__init__(words)
        self.cameras = cameras


@dataclass(frozen=True)
class _Trial:
    """One way to undo a fault, and the scene that it leads to."""

    fault: str
    views: tuple[int, ...]
    words: str
    scene: Silhouettes
    amount: float | None = None
    kept: list[int] | None = None  # places of its moments among all that are looked at; None: all


def check(rig: Rig, moments: int = 8, rays: int = 60) -> Finding:
    """Looks for one fault in a rig of three cameras or more.

    Args:
        rig: Cameras and masks.
        moments: How many moments are looked at, spread over the recording.
        rays: Through each mask.

    Returns:
        The fault whose undoing closes the gaps best; `none` where there are none.

    Raises:
        ValueError: If there are fewer than three cameras, or too few moments with a person in
            every mask though no camera's masks are bad.
    """
    if len(rig.names) < 3:
        raise ValueError(
            f"a check by masks needs three cameras or more, got {list(rig.names)}: two agree on "
            "almost any calibration"
        )
    try:
        look = Look(rig, moments, rays)
        look.leave_strangers_out()
    except MasksError as error:
        return Finding("masks", error.cameras, str(error), None, None, ())
    found = gaps(look.scene())
    before, without = mean_gap(found), _without(found)

    def finding(fault: str, views: tuple[int, ...], words: str, mended: float, amount=None):
        cameras = tuple(rig.names[view] for view in views)
        left_out = look.left_out()
        scale = "" if fault in OF_MASKS else scale_in_words(person_sizes(look.scene()))
        return Finding(fault, cameras, words, before, mended, without, amount, left_out, scale)

    if before < ALARM:
        return finding("none", (), "all cameras agree", before)
    suspects = [int(view) for view in np.argsort(without)]
    best, mended = _best(look.trials(suspects), moment_gaps(found))
    closed = max(ALARM, AS_OTHERS * min(without))  # masks that are rough leave gaps everywhere
    if best is not None and best.fault != "extrinsics" and (
        best.fault not in SIZES or mended <= closed
    ):  # fmt: skip
        return finding(best.fault, best.views, best.words, mended, best.amount)
    view = best.views[0] if best is not None else suspects[0]
    if best is None and odd_one_out(found) is None:
        words = "masks and cameras disagree, by rough masks, several people or several faults"
        return finding("unclear", (), words, without[view])
    if words := _of_masks(found, view, rig.names[view]):
        return finding("masks", (view,), words, without[view])
    if words := look.told_as_strangers(view):
        return finding("masks", (view,), words, without[view])
    if best is None or mended > closed:  # a camera that moves freely nearly fits masks of anything
        words = f"{rig.names[view]} does not agree with the others, and no other place of it mends "
        words += "that: its masks show something else, so look at them first, or it was moved far"
        return finding("unclear", (view,), words, without[view])
    return finding("extrinsics", (view,), _moved(rig.names[view]), mended)


def _without(found: Float[np.ndarray, "v m n s v"]) -> tuple[float, ...]:
    """Mean gaps among the others when a camera is left out."""
    views = range(len(found))
    return tuple(mean_gap(found, [v for v in views if v != left_out]) for left_out in views)


def odd_one_out(found: Float[np.ndarray, "v m n s v"]) -> int | None:
    """The view without which gaps close, as they do without none of the others; None: no such."""
    without = _without(found)
    best, second = sorted(without)[:2]
    closes = best <= min(CLOSES * mean_gap(found), STANDS_OUT * second)
    return without.index(best) if closes else None


def _of_masks(found: Float[np.ndarray, "v m n s v"], view: int, name: str) -> str | None:
    """What is wrong with the masks of a camera that does not agree; None: the camera is wrong."""
    own, of_others = _misses(found, view)
    advice = "look at them, and at masks check"
    if own > TOO_MUCH * of_others:
        return f"the masks of {name} show more than the other cameras allow: {advice}"
    if of_others > TOO_LITTLE * own:
        return f"the masks of {name} lack what the other cameras see: {advice}"
    return None


def _misses(found: Float[np.ndarray, "v m n s v"], view: int) -> tuple[float, float]:
    """Mean gap of a camera's own rays, and how much it adds to those of all other cameras.

    A camera that is turned, moved or late opens both. Masks that show more than the person open
    only the first: their rays meet nothing. Masks that lack a part open only the second.
    """
    others = [v for v in range(len(found)) if v != view]
    judged = np.minimum(ray_gaps(found, list(range(len(found)))), CAP)
    added = judged[others] - np.minimum(ray_gaps(found, others), CAP)
    return float(judged[view].mean()), float(added.mean(axis=(1, 2)).sum())


def _best(trials: Iterator[_Trial], before: Float[np.ndarray, " m"]) -> tuple[_Trial | None, float]:
    """The trial that closes the gaps best, and what it leaves of them.

    Args:
        trials: What is tried.
        before: The gap of each moment with nothing undone.

    Returns:
        None, and the highest gap that would have been low enough, where no trial leaves less.
    """
    least = CLOSES * float(before.mean())
    quick = []
    for i, trial in enumerate(trials):
        score = _left(trial, trial.scene.thinned(), before)
        if trial.fault in SURE and score < min(CLOSED, least):
            return trial, _left(trial, trial.scene, before)
        quick.append((score, i, trial))
    best, mended, lowest = None, least, least
    for _, _, trial in sorted(quick)[:FINALISTS]:
        score = _left(trial, trial.scene, before)
        handicap = FREE if trial.fault == "extrinsics" else 1.0
        if score < least and handicap * score < lowest:
            best, mended, lowest = trial, score, handicap * score
    return best, mended


def _left(trial: _Trial, scene: Silhouettes, before: Float[np.ndarray, " m"]) -> float:
    """Mean gap that a trial leaves; moments that it cannot be judged by stay as they were."""
    left = mean_gap(gaps(scene))
    if trial.kept is None:
        return left
    lost = np.delete(before, trial.kept)
    return float((len(trial.kept) * left + lost.sum()) / len(before))


class Look:
    """The moments that are looked at, and the scenes that each trial makes of them.

    Moments in which a mask shows no person (`geometry/degenerate.py`), or in which whoever made it
    had to guess whose its pixels are, are left out.

    Args:
        rig: Cameras and masks.
        moments: How many are looked at.
        rays: Through each mask.

    Raises:
        MasksError: If too few are left, and bad masks of some cameras are why.
        ValueError: If too few are left because the person is not seen.
    """

    def __init__(self, rig: Rig, moments: int, rays: int):
        self.rig, self.rays = rig, rays
        self.views = len(rig.names)
        self.outline = cache(self._outline)
        self.apart: dict[int, Moment] = {}  # how silhouettes meet, by frame
        self.words: list[dict[int, str]] = [{} for _ in rig.names]  # of bad masks, by frame
        self.sketches: dict[tuple[int, int], Sketch] = {}
        clear = self._clear()
        spread = np.linspace(0, len(clear) - 1, 2 * moments if clear else 0)
        frames = sorted({clear[round(i)] for i in spread})
        self.looked_at = frozenset(frames)
        self.seen = len(frames)
        for view in range(self.views):
            for frame in frames:
                self.outline(view, frame)
        self._find_frozen(frames)
        full = [f for f in frames if not any(f in words for words in self.words)]
        if len(full) < min(LEAST, moments):
            self._refuse(len(full))
        self.moments, self.full = moments, full
        self.frames = self._spread(full)

    def _clear(self) -> list[int]:
        """Frames in which no mask is a guess; their neighbours are in the recording, too."""
        margin = min(SHIFTS, self.rig.frames // 4)
        frames = range(margin, self.rig.frames - margin)
        guessed = [{f for f in frames if self.rig.guessed(v, f)} for v in range(self.views)]
        self.guesses = [len(one) for one in guessed]
        clear = [frame for frame in frames if not any(frame in one for one in guessed)]
        if any(self.guesses) and len(clear) < LEAST:
            names = tuple(n for n, count in zip(self.rig.names, self.guesses, strict=True) if count)
            raise MasksError(
                f"in {len(frames) - len(clear)} of {len(frames)} frames people touch, and masks of "
                f"{list(names)} are guesses: a check needs {LEAST} moments or more without that",
                names,
            )
        return clear

    def _spread(self, full: list[int]) -> list[int]:
        count = min(self.moments, len(full))
        return [full[round(i)] for i in np.linspace(0, len(full) - 1, count)]

    def leave_strangers_out(self) -> None:
        """Leave out the moments in which a mask lies off the hull of all others.

        Only where many others meet: a camera that is wrong fits in no moment. (`sync` looks at
        cameras of other times, and leaves out nothing.)
        """
        if self.views < STRANGERS_FROM:
            return
        whole = self._scene([self._moment(frame) for frame in self.full])
        self.apart = dict(zip(self.full, strangers(whole), strict=True))
        meeting = [frame for frame, moment in self.apart.items() if moment.meets]
        anybody = any(moment.elsewhere for moment in self.apart.values())
        if not anybody or len(meeting) < max(LEAST, MEETING * len(self.full)):
            return
        for frame, moment in self.apart.items():
            for view in moment.elsewhere:
                self.words[view][frame] = ELSEWHERE
            if not (moment.meets or moment.elsewhere):
                self.words[moment.worst][frame] = COVERED
        self.full, self.frames = meeting, self._spread(meeting)

    def told_as_strangers(self, view: int) -> str | None:
        """What to say if the masks of a camera are another person's in most moments, as it seems.

        None where they are not, or one other pose of the camera would explain them.
        """
        bad = [frame for frame, moment in self.apart.items() if view in moment.elsewhere]
        if len(bad) < TOO_MANY * len(self.full) or explained_by_a_pose(self.scene(), view):
            return None
        return (
            f"the masks of {self.rig.names[view]} are {ELSEWHERE} in {len(bad)} of the "
            f"{self.seen} moments that were looked at, and no pose of the camera explains that: "
            "follow one person (masks person=0), or see sync"
        )

    def _outline(self, view: int, frame: int) -> Outline | None:
        if not 0 <= frame < self.rig.frames or self.rig.guessed(view, frame):
            return None
        mask = self.rig.mask(view, frame)
        if word := degenerate(mask):
            if frame in self.looked_at:
                self.words[view][frame] = word
            return None
        self.sketches[view, frame] = sketch(mask)
        return outline(mask, self.rays, np.random.default_rng([view, frame]))

    def _find_frozen(self, frames: list[int]) -> None:
        rows = [[self.sketches.get((view, f)) for f in frames] for view in range(self.views)]
        for words, places in zip(self.words, frozen(rows), strict=True):
            words.update({frames[place]: "frozen" for place in places})

    def _refuse(self, full: int) -> None:
        """Say why there are too few moments: masks that are bad, or nobody to be seen."""
        bad = [v for v, words in enumerate(self.words) if len(words) >= TOO_MANY * self.seen]
        empty = all(word == "empty" for words in self.words for word in words.values())
        if bad and not (empty and len(bad) == self.views):
            names = tuple(self.rig.names[view] for view in bad)
            told = "; ".join(self._told(view) for view in bad)
            raise MasksError(f"{told}: mend these masks first, see masks check", names)
        told = "".join(f"; {line}" for line in self.left_out())
        raise ValueError(
            f"only {full} of {self.seen} moments show the person in the masks of all cameras "
            f"{list(self.rig.names)}: a check needs at least {LEAST}{told}"
        )

    def _told(self, view: int) -> str:
        words = self.words[view]
        kinds = " or ".join(dict.fromkeys(words.values()))
        numbers = [self.rig.number(view, frame) for frame in sorted(words)]
        shown = ", ".join(map(str, numbers[:SHOWN])) + ", ..." * (len(words) > SHOWN)
        return (
            f"the masks of {self.rig.names[view]} are {kinds} in {len(words)} of the {self.seen} "
            f"moments that were looked at (frames {shown})"
        )

    def left_out(self) -> tuple[str, ...]:
        """A line for each camera whose masks cost moments."""
        guesses = tuple(
            f"{count} frames in which people touch in {name}, and masks are guesses"
            for name, count in zip(self.rig.names, self.guesses, strict=True)
            if count
        )
        return guesses + tuple(self._told(view) for view, words in enumerate(self.words) if words)

    def scene(self, taker: list[int] | None = None) -> Silhouettes:
        """Silhouettes with the masks of camera `taker[v]` in view v."""
        return self._scene([self._moment(frame, taker) for frame in self.frames])

    def shifted(self, view: int, shift: int) -> tuple[list[int], Silhouettes]:
        """Silhouettes with a view's masks some frames later, and which of the moments are in them.

        Moments that a shift takes out of the recording, to a mask that is a guess, or to one of
        nobody are not. Compare others by the same moments alone.
        """
        moments = [self._moment(frame, shift={view: shift}) for frame in self.frames]
        kept = [place for place, moment in enumerate(moments) if all(moment)]
        return kept, self._scene([moments[place] for place in kept])

    def _scene(self, moments: list[list[Outline]]) -> Silhouettes:
        return Silhouettes(moments, self.rig.K, self.rig.R, self.rig.t)

    def _moment(
        self, frame: int, taker: list[int] | None = None, shift: dict[int, int] | None = None
    ) -> list[Outline | None]:
        taker, shift = taker or list(range(self.views)), shift or {}
        return [self.outline(taker[v], frame + shift.get(v, 0)) for v in range(self.views)]

    def trials(self, suspects: list[int]) -> Iterator[_Trial]:
        """All that is tried, for the two likeliest cameras and for all pairs."""
        names, scene = self.rig.names, self.scene()
        for a, b in combinations(range(self.views), 2):
            taker = list(range(self.views))
            taker[a], taker[b] = b, a
            words = f"{names[a]} and {names[b]} are swapped"
            yield _Trial("swapped", (a, b), words, self.scene(taker))
        for view in suspects[:2]:
            yield from _poses(scene, view, names[view])
            for shift in (s for s in range(-SHIFTS, SHIFTS + 1) if s):
                words = f"{names[view]} runs {abs(shift)} frames {'late' if shift > 0 else 'early'}"
                kept, shifted = self.shifted(view, shift)
                if len(kept) >= LEAST:
                    yield _Trial("time", (view,), words, shifted, shift, kept)
            yield from self._sizes(scene, view)
            settled = settle(scene.thinned(), [view])
            mended = scene.with_camera(view, R=settled.R[view], t=settled.t[view])
            yield _Trial("extrinsics", (view,), _moved(names[view]), mended)

    def _sizes(self, scene: Silhouettes, view: int) -> Iterator[_Trial]:
        name = self.rig.names[view]
        height, width = scene.moments[0][view].outside.shape
        for fault, anchor in (("scaled", (0.0, 0.0)), ("letterboxed", (width / 2, height / 2))):

            def scaled(log: float, anchor=anchor) -> Silhouettes:
                s = np.exp(log)
                cut = np.array(
                    [[s, 0, (1 - s) * anchor[0]], [0, s, (1 - s) * anchor[1]], [0, 0, 1]]
                )
                return scene.with_camera(view, K=cut @ scene.K[view])

            def cost(log: float, scaled=scaled) -> float:
                return mean_gap(gaps(scaled(log).thinned()))

            start = min(np.log(SCALES), key=cost)
            reach = np.log(SCALES[1] / SCALES[0])  # to the next ones tried, and no further
            within = {"bounds": (start - reach, start + reach), "method": "bounded"}
            log = float(minimize_scalar(cost, **within, options={"xatol": 1e-3}).x)
            words = (
                f"the pictures of {name} are {fault} by {np.exp(log):.3f} against its calibration"
            )
            yield _Trial(fault, (view,), words, scaled(log), float(np.exp(log)))


def _moved(name: str) -> str:
    return f"position or direction of {name} is off: calibration refine may mend it"


def _poses(scene: Silhouettes, view: int, name: str) -> Iterator[_Trial]:
    """Rotation and translation, as people confuse them."""
    R, t = scene.R[view], scene.t[view]
    words = f"the rotation of {name} is transposed"
    yield _Trial("transposed", (view,), words, scene.with_camera(view, R=R.T))
    words = f"the pose of {name} is inverted: camera to world in place of world to camera"
    yield _Trial("inverted", (view,), words, scene.with_camera(view, R=R.T, t=-R.T @ t))
    for factor, unit in UNITS.items():
        words = f"the translation of {name} is in {unit}"
        yield _Trial("unit", (view,), words, scene.with_camera(view, t=factor * t), factor)
