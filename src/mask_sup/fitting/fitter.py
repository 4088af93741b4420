"""Poses fitted to masks by search and gradient, with no training.

A network that learns from masks shares one mistake among many scenes (arms in the trunk, legs
crossed). A single scene is small enough to be searched instead: turn the trunk, try limbs, draw the
body, keep what covers the masks best, then follow the gradient. Where scenes follow each other in
time, each may borrow from its neighbours, the cheapest story is told, and movements are smooth.
Image, mask and camera are all that is read.
"""

import math
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from mask_sup.figure.anatomy import Anatomy, NoAnatomy
from mask_sup.figure.body import Body
from mask_sup.fitting.hypotheses import Hypotheses
from mask_sup.fitting.naming import as_knees_bend, both_names, other_limbs, same_side
from mask_sup.fitting.objective import Objective
from mask_sup.fitting.scenes import Build, Fit, Scenes, better, seen, shows
from mask_sup.fitting.search import LimbSearch
from mask_sup.fitting.sequences import choose, with_neighbours
from mask_sup.fitting.subject import fitted_radii, sizes
from mask_sup.geometry.batch import Camera

__all__ = ["Fitted", "PoseFitter"]

CHUNK = 50  # scenes of one job: time is cut between jobs, elsewhere in every step
LIMBS = ("legs", "arms")
AS_WELL = 0.002  # share of the foreground: so much better is e times as likely
STEP, TURN = 1 << 48, 1 << 32  # of seeds: scenes, turns of a step and steps share none


class Fitted(NamedTuple):
    """What a recipe made of scenes."""

    joints_world: Float[Tensor, "n j 3"]
    residual: Float[Tensor, " n"]
    """Mean squared difference of the drawn body and the masks, over all views."""
    unexplained: Float[Tensor, " n"]
    """The same as a share of the foreground."""
    front: Float[Tensor, " n"]
    """How much more is left unexplained with left and right exchanged; NaN where not asked."""
    spread: Float[Tensor, "n j"]
    """How far joints of other poses lie that explain the masks about as well, mm; NaN as above."""
    build: Build
    """Of each subject."""


class PoseFitter:
    """Fits free 3D joints to masks.

    Args:
        body: What is drawn.
        anatomy: Terms that keep the joints a figure's; its lengths are the usual ones.
        weights: See `Objective`.
        tolerance: See `Objective`.
        search: See `LimbSearch`.
        rough_search: The same for figures that have just been put on a trunk line.
        hypotheses: See `Hypotheses`.
        explore: `badly`, the share of the foreground that a pose leaves unexplained from which on
            its scene is explored, or `worse` times the median; `followed` figures, with limbs,
            follow the gradient for `steps` of `step_mm` at first, and `kept` of them are improved.
        improve: `alternatives` of each pair of limbs follow the gradient for `steps` of `step_mm`;
            the chosen ones for `last_steps` of `last_step_mm`.
        settle: `steps` of `step_mm` that poses settle for, and either naming of the sides.
        crossed: Limbs that are exchanged below their roots are searched anew where they leave by
            less than `worse`, a share of the foreground, more unexplained; they are taken where
            they then leave by `better` less, and remembered as a doubt where they do not.
        build: From how many `scenes` of a subject its build is learned, among the share `keep` of
            them that is explained best, if they leave less than `below` unexplained, or than
            `worse` times what the best one does, and `at_most`: masks with a halo are explained
            badly by anybody of usual thickness, but a wrong pose teaches a wrong build.
        repeat: `improve` and `name` go on, `at_most` so many times, until the mean unexplained
            share falls by less than `gain` of itself.
        travel: Share of the foreground, left unexplained, that one metre of a pose's mean way to
            the next moment weighs.
        film: See `mask_sup.fitting.film`: keys are at most `apart` moments from each other, and so
            that masks mostly change by a share of `change`; every one of `thinned` gets the whole
            recipe; a moment between them that leaves `worse` times as much unexplained as they do
            is searched, too.
        verdict: What each sign of a wrong pose weighs in `mask_sup.fitting.verdict.judge`:
            `floor`, whatever the masks say; what a misplaced body leaves by `view`; what is left
            unexplained by `limb`; the anatomy's `strain`; the `spread` of other poses; `jumps` in
            time; left and right `named` the wrong way, where the right way mostly explains a share
            of `front` more; and how loosely pixels that are off by `pixel` hold (`held`) a joint
            that bones leave a `reach`, a share of the stature; how slowly errors grow with the way
            from the root joint (`near`, see `expected`); `most`, the share that errors come near.
        recipes: Name -> what is done in turn: `explore`, `improve`, `settle` (the gradient alone),
            `name`, `uncross`, `build`, `repeat`.
        seed: Of all random directions.

    Raises:
        ValueError: Without bone lengths, or if a recipe names something else.
    """

    def __init__(
        self,
        body: Body,
        anatomy: Anatomy | NoAnatomy,
        weights: Mapping[str, float],
        tolerance: float,
        search: Mapping[str, Any],
        rough_search: Mapping[str, Any],
        hypotheses: Mapping[str, Any],
        explore: Mapping[str, Any],
        improve: Mapping[str, Any],
        settle: Mapping[str, Any],
        crossed: Mapping[str, float],
        build: Mapping[str, Any],
        repeat: Mapping[str, Any],
        travel: float,
        film: Mapping[str, Any],
        verdict: Mapping[str, float],
        recipes: Mapping[str, Sequence[str]],
        seed: int,
    ):
        if not isinstance(anatomy, Anatomy):
            raise ValueError("fitting poses needs bone lengths: choose anatomy=human")
        steps = ("explore", "improve", "settle", "name", "uncross", "build", "repeat")
        for recipe, told in recipes.items():
            if not told or set(told) - set(steps):
                raise ValueError(
                    f"fitter.recipes.{recipe}={list(told)}: expected one or more of {list(steps)}"
                )
        self.body, self.anatomy, self.seed = body, anatomy, seed
        self.objective = Objective(body, anatomy, weights, tolerance)
        self.search = LimbSearch(self.objective, **search)
        self.rough_search = LimbSearch(self.objective, **rough_search)
        self.hypotheses = Hypotheses(self.objective, **hypotheses)
        self.explore, self.improve, self.settle = dict(explore), dict(improve), dict(settle)
        self.crossed, self.build, self.repeat = dict(crossed), dict(build), dict(repeat)
        self.travel = travel
        self.film, self.verdict = dict(film), dict(verdict)
        self.recipes = {recipe: list(told) for recipe, told in recipes.items()}

    # -- public ---------------------------------------------------------------------------------

    def usual(self, subjects: int = 1) -> Build:
        """The build of so many subjects of whom nothing is known."""
        lengths, radius = self.anatomy.length, self.body.radius
        return Build(*(part.repeat(subjects, 1) for part in (lengths, radius)))

    def stature(self, build: Build) -> float:
        """How tall a subject of this build stands, mm."""
        usual, heights = self.anatomy.length, self.body.skeleton.heights.values()
        tall = self.hypotheses.stature(usual[None]) * (max(heights) - min(heights))
        return float(tall * build.lengths[0].sum() / usual.sum())

    def fit(
        self,
        recipe: str,
        joints_world: Float[Tensor, "n j 3"],
        camera: Camera,
        mask: Float[Tensor, "n v hm wm"],
        subject: Int[Tensor, " n"] | None = None,
        sequence: Int[Tensor, " n"] | None = None,
        build: Build | None = None,
    ) -> Fitted:
        """Poses that explain the masks, from a start that may be wrong.

        Scenes are fitted in chunks, in as many processes as torch has threads.

        Args:
            recipe: One of `recipes`.
            joints_world: Where to start, mm.
            camera: Cameras of the views (n v).
            mask: Foreground in [0, 1], NaN where a picture ends and the person may go on; a view
                without any is not looked at.
            subject: Who is seen, 0, 1, ...; None: all the same.
            sequence: Scenes in a row with the same number follow each other in time; None: each
                stands alone.
            build: How subjects are built, as far as known; None: as usual.

        Raises:
            ValueError: If there is no such recipe, or a scene shows foreground in fewer than two
                views.
        """
        if recipe not in self.recipes:
            raise ValueError(f"no recipe {recipe!r}: fitter.recipes has {list(self.recipes)}")
        subject = torch.zeros(len(mask), dtype=torch.long) if subject is None else subject
        build = build or self.usual(int(subject.max()) + 1)
        scenes = self.scenes(camera, mask, build, subject, sequence)
        fit = self.objective.fit_of(joints_world, scenes)
        front = torch.full_like(fit.residual, torch.nan)
        spread = torch.full_like(joints_world[..., 0], torch.nan)
        steps = self.recipes[recipe]
        quick = set(steps) == {"settle"}  # done before other processes have started
        with _workers(1 if quick else len(mask)) as run:
            for number, step in enumerate(steps):
                jobs = _Jobs(run, self.seed + number * STEP)
                if step == "explore":
                    fit = self._explored(fit, scenes, jobs)
                elif step == "improve":
                    fit, spread = self._improved(fit, scenes, jobs)
                elif step == "settle":
                    fit = self._settled(fit.joints_world, scenes, jobs)
                elif step == "name":
                    fit, front = self._named(fit, scenes, jobs)
                elif step == "repeat":
                    fit, front, spread = self._repeated(fit, scenes, jobs)
                elif step == "uncross":
                    for limbs in reversed(LIMBS):
                        fit, apart = self._uncrossed(fit, scenes, jobs, limbs)
                        spread = spread.fmax(apart)
                else:
                    build = self._built(fit, scenes, subject, build)
                    scenes = scenes._replace(
                        lengths=build.lengths[subject], radius=build.radius[subject]
                    )
                    fit = self.objective.fit_of(fit.joints_world, scenes)
        unexplained = fit.residual / scenes.area
        return Fitted(fit.joints_world, fit.residual, unexplained, front, spread, build)

    def scenes(
        self,
        camera: Camera,
        mask: Float[Tensor, "n v hm wm"],
        build: Build,
        subject: Int[Tensor, " n"] | None = None,
        sequence: Int[Tensor, " n"] | None = None,
    ) -> Scenes:
        """What is known of scenes, see `fit`; views without foreground stand for others."""
        subject = torch.zeros(len(mask), dtype=torch.long) if subject is None else subject
        sequence = torch.arange(len(mask)) if sequence is None else sequence
        known = self.scaled(mask.isfinite().float()).round()
        camera, mask, known = seen(camera, self.scaled(mask), known)
        if known.all():
            known = known[:, :1, :1, :1]  # nothing to look up
        return Scenes(camera, mask, known, build.lengths[subject], build.radius[subject], sequence)

    # -- the steps of recipes -------------------------------------------------------------------

    def _explored(self, fit: Fit, scenes: Scenes, jobs: "_Jobs") -> Fit:
        """Scenes that are explained badly start anew."""
        unexplained = fit.residual / scenes.area
        limit = min(self.explore["badly"], self.explore["worse"] * float(unexplained.median()))
        badly = (unexplained > limit).nonzero().flatten()
        if not len(badly):
            return fit
        start, some = Fit(*(value[badly] for value in fit)), scenes.part(badly)
        found = better(start, jobs(self._explore, "exploring", start.joints_world, some))
        return Fit(*(old.index_copy(0, badly, new) for old, new in zip(fit, found, strict=True)))

    def _improved(self, fit: Fit, scenes: Scenes, jobs: "_Jobs") -> tuple[Fit, Tensor]:
        """Limbs are searched, the cheapest story is told, and the gradient followed."""
        in_time = bool(scenes.follows.any())
        found = jobs(self._alternatives, "searching limbs", fit.joints_world, scenes, in_time)
        which = choose(found, scenes, self.travel, self.body.skeleton.flip)
        steps, step_mm = self.improve["last_steps"], self.improve["last_step_mm"]
        start = found.of(which).joints_world
        spread = _spread(found, start, scenes.area)
        fit = jobs(self._settle, "following the gradient", start, scenes, steps, step_mm)
        return fit, spread

    def _settled(self, joints: Tensor, scenes: Scenes, jobs: "_Jobs") -> Fit:
        """Poses follow the gradient for some steps."""
        steps, step_mm = self.settle["steps"], self.settle["step_mm"]
        return jobs(self._settle, "following the gradient", joints, scenes, steps, step_mm)

    def _named(self, fit: Fit, scenes: Scenes, jobs: "_Jobs") -> tuple[Fit, Tensor]:
        """Both namings settle on the masks; that which explains them better mostly is right.

        Feet point forward, and legs that have to reach feet turned backward fit badly; knees that
        would have to bend forward cost.
        """
        poses = both_names(same_side(fit.joints_world, self.body), self.body)
        n, apart = len(poses), scenes.sequence.max() + 1
        twice = scenes.part(torch.arange(n).repeat(2))._replace(
            sequence=torch.cat([scenes.sequence, scenes.sequence + apart])
        )
        settled = self._settled(poses.transpose(0, 1).flatten(0, 1), twice, jobs)
        both = Fit(*(torch.stack(part.split(n), 1) for part in settled))
        which = choose(both, scenes, self.travel)
        chosen, other = both.of(which), both.of(1 - which)
        return chosen, (other.cost - chosen.cost) / scenes.area

    def _uncrossed(self, fit: Fit, scenes: Scenes, jobs: "_Jobs", limbs: str) -> tuple[Fit, Tensor]:
        """Limbs exchanged below their roots settle; where they explain as well, they are searched.

        The search of limbs starts where they are, and exchanged ones are too long or too short for
        it: it rarely goes that way by itself. But limbs that have been searched once more nearly
        always explain a little better, right or wrong, and neighbours in time then follow them.
        """
        crossed = other_limbs(fit.joints_world, getattr(self.body, limbs))
        other = self._settled(crossed, scenes, jobs)
        searched = other
        worse = (other.cost - fit.cost) / scenes.area
        if len(near := (worse < self.crossed["worse"]).nonzero().flatten()):
            start, some = other.joints_world[near], scenes.part(near)
            found = jobs(self._searched, f"searching {limbs}", start, some, limbs).joints_world
            # As smooth as the pose that they compete with: smoothness costs, too.
            searched = self._settled(fit.joints_world.index_copy(0, near, found), scenes, jobs)
        poses = Fit(*(torch.stack(part, 1) for part in zip(fit, other, searched, strict=True)))
        handicap = torch.tensor([0.0, 1, 1]) * self.crossed["better"] * scenes.area[:, None]
        which = choose(poses._replace(cost=poses.cost + handicap), scenes, self.travel)
        chosen = poses.of(which)
        return chosen, _spread(poses, chosen.joints_world, scenes.area)

    def _repeated(self, fit: Fit, scenes: Scenes, jobs: "_Jobs") -> tuple[Fit, Tensor, Tensor]:
        """Improve and name until it helps no more."""
        for _ in range(self.repeat["at_most"]):
            before = float((fit.residual / scenes.area).mean())
            fit, spread = self._improved(fit, scenes, jobs)
            fit, front = self._named(fit, scenes, jobs)
            if float((fit.residual / scenes.area).mean()) > (1 - self.repeat["gain"]) * before:
                break
        return fit, front, spread

    def _built(self, fit: Fit, scenes: Scenes, subject: Tensor, build: Build) -> Build:
        """Radii and lengths of each subject, from its scenes that are explained best."""
        unexplained, some = fit.residual / scenes.area, []
        trusted = torch.zeros(len(subject), dtype=torch.bool)
        for who in subject.unique():
            own = (subject == who).nonzero().flatten()
            best = own[unexplained[own].argsort()][: math.ceil(self.build["keep"] * len(own))]
            thick = self.build["worse"] * float(unexplained[best[0]])
            limit = max(self.build["below"], min(thick, self.build["at_most"]))
            best = best[unexplained[best] < limit]
            if not len(best):
                continue
            trusted[best] = True
            some.append(best[:: math.ceil(len(best) / self.build["scenes"])])
        if not some:
            return build
        some, tree, usual = torch.cat(some), self.anatomy.tree, self.anatomy.length
        lengths = sizes(fit.joints_world, subject, trusted, usual, tree, build.lengths)
        part, joints = scenes.part(some), fit.joints_world[some]
        radius = fitted_radii(joints, part, subject[some], build.radius, self.objective)
        return Build(lengths, radius)

    # -- the work of one job --------------------------------------------------------------------

    def _explore(self, start: Tensor, scenes: Scenes, generator: torch.Generator) -> Fit:
        """The best of figures all over the hull, limbs searched roughly, then improved alone."""
        figures = self.hypotheses(start, scenes, generator)
        n, count = figures.shape[:2]
        many, poses = scenes.repeated(count), figures.flatten(0, 1)
        for limbs in LIMBS:
            poses = self.rough_search(poses, many, limbs, 1, generator)[:, 0]
        poses = as_knees_bend(poses, self.body)
        fit = self.objective.fit_of(poses, many)
        steps, step_mm = self.explore["steps"], self.explore["step_mm"]
        for kept, last in ((self.explore["followed"], False), (self.explore["kept"], True)):
            few = fit.cost.unflatten(0, (n, -1)).topk(kept, largest=False).indices
            poses = fit.joints_world.unflatten(0, (n, -1))[torch.arange(n)[:, None], few]
            many, poses = scenes.repeated(kept), poses.flatten(0, 1)
            if last:
                found = self._alternatives(poses, many, generator, in_time=False)
                poses = found.best.joints_world
            fit = self.objective.descend(poses, many, steps, step_mm)
        return Fit(*(value.unflatten(0, (n, -1)) for value in fit)).best

    def _alternatives(
        self, start: Tensor, scenes: Scenes, generator: torch.Generator, in_time: bool
    ) -> Fit:
        """Neighbours' poses, other legs, then other arms, each after some steps (n k)."""
        found = []
        if in_time:
            poses = with_neighbours(start, scenes, self.body.trunk[0], self.body.skeleton.flip)
            found.append(self._followed(poses, scenes))
            start = found[-1].best.joints_world
        for limbs in LIMBS:
            poses = self.search(start, scenes, limbs, self.improve["alternatives"], generator)
            found.append(self._followed(poses, scenes))
            start = found[-1].best.joints_world
        return Fit(*(torch.cat(part, 1) for part in zip(*found, strict=True)))

    def _searched(
        self, start: Tensor, scenes: Scenes, generator: torch.Generator, limbs: str
    ) -> Fit:
        """The best of other limbs, after some steps."""
        poses = self.search(start, scenes, limbs, self.improve["alternatives"], generator)
        return self._followed(poses, scenes).best

    def _followed(self, poses: Float[Tensor, "n k j 3"], scenes: Scenes) -> Fit:
        """Alternatives after some steps, each by itself (n k)."""
        many, start = scenes.repeated(poses.shape[1]), as_knees_bend(poses.flatten(0, 1), self.body)
        steps, step_mm = self.improve["steps"], self.improve["step_mm"]
        fit = self.objective.descend(start, many, steps, step_mm)
        return Fit(*(value.unflatten(0, poses.shape[:2]) for value in fit))

    def _settle(
        self, start: Tensor, scenes: Scenes, generator: torch.Generator, steps: int, step_mm: float
    ) -> Fit:
        return self.objective.descend(
            start, scenes, steps, step_mm, smooth=bool(scenes.follows.any())
        )

    def shows(self, mask: Float[Tensor, "n v hm wm"]) -> Bool[Tensor, "n v"]:
        """Which views have foreground left at the size at which the body is drawn."""
        return shows(self.scaled(mask))

    def scaled(self, mask: Tensor) -> Tensor:
        """Masks at the size at which the body is drawn; nobody where they are not known."""
        return F.interpolate(mask.nan_to_num(), (self.body.size, self.body.size), mode="area")


class _Jobs:
    """Runs the work of one step of a recipe on chunks of scenes, in turn."""

    def __init__(self, run: Callable[..., Iterator[Fit]], seed: int):
        self.run, self.seed, self.turn = run, seed, 0

    def __call__(
        self, work: Callable[..., Fit], label: str, joints: Tensor, scenes: Scenes, *told: Any
    ) -> Fit:
        """Fits of all scenes; every other time the chunks begin half a chunk earlier."""
        self.turn += 1
        edges = list(range(CHUNK // 2 if self.turn % 2 else CHUNK, len(joints), CHUNK))
        parts = [slice(a, b) for a, b in zip([0, *edges], [*edges, len(joints)], strict=True)]
        seed = self.seed + self.turn * TURN
        jobs = [(work, joints[part], scenes.part(part), seed + part.start, *told) for part in parts]
        fits = list(track(self.run(_do, jobs), label, len(jobs), transient=True))
        return Fit(*(torch.cat(values) for values in zip(*fits, strict=True)))


def _do(job: tuple[Any, ...]) -> Fit:
    """One job, wherever it runs."""
    work, joints, scenes, seed, *told = job
    return work(joints, scenes, torch.Generator().manual_seed(seed), *told)


@contextmanager
def _workers(scenes: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """A map over jobs, in as many processes as torch has threads."""
    count = min(torch.get_num_threads(), math.ceil(scenes / CHUNK))
    if count == 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, context, torch.set_num_threads, (1,))
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)


def _spread(
    alternatives: Fit, chosen: Float[Tensor, "n j 3"], area: Float[Tensor, " n"]
) -> Float[Tensor, "n j"]:
    """Root mean square way from the chosen joints to those of alternatives, mm.

    An alternative counts the less the more of the foreground it leaves unexplained beyond the best.
    """
    beyond = alternatives.cost - alternatives.cost.amin(1, keepdim=True)
    weight = (-beyond / area[:, None] / AS_WELL).exp()
    off = (alternatives.joints_world - chosen[:, None]).square().sum(-1)
    return ((weight[..., None] * off).sum(1) / weight.sum(1)[:, None]).sqrt()
