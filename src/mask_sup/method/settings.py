"""What a detector was given beside masks, cameras and its own guesses: facts of all its ancestors.

Weights go on from weights: a stage from the stage before, a run from the checkpoint of `init`, and
a round that starts a fresh detector from the poses of the one before. So the facts of a checkpoint
are those of every stage that has led to it: merged as it is trained, kept in the checkpoint
under `settings`, and told with every figure. What nobody knows is None.
"""

from collections.abc import Mapping
from typing import Any

from mask_sup.figure.anatomy import ANATOMY_TERMS
from mask_sup.files.build import KINDS

__all__ = ["at_test", "merged", "of_checkpoint", "of_stage"]

MASKS = {
    "SyntheticData": "rendered, exact to the pixel",
    "RecordingData": "of a recording, as given",
    "PreparedData": "of a prepared data set, as its header tells",
    "ImagesData": "of pictures, as given",
}
BOXES = {  # where the crop of a picture comes from
    "mask": "the person's mask",
    "given": "given by the user",
    "found": "found by the detector: further looks, each around the joints of the one before",
}
Settings = dict[str, Any]


def _class(node: Mapping[str, Any] | None) -> str:
    return (node or {}).get("_target_", "").rpartition(".")[2]


def of_stage(config: Mapping[str, Any], stage: str) -> Settings:
    """The facts that one stage of a plain config adds.

    In the words of the paper's table 1, UP: unpaired poses, T: a manually designed template, which
    is the body of capsules with its front, feet and face, or a standing start. Ours: `hanging_arms`
    (undrawn arms hang as a standing figure's do), `anatomy` (terms that are weighed), `upright`,
    `relabel` (rounds), `body` (that poses are fitted with), `labels`, `person_ids`, `time`
    (neighbouring moments), `masks` (what the training's are), `calibrated` (cameras tie the views).
    """
    module = config["cascade"][stage]["module"]
    target, weights = module.get("_target_"), module.get("weights") or {}
    known = target in KINDS["cascade.*.module"]  # of a class of somebody's own, no no is known
    kind = _class(module) if known else ""
    on = {term for term, weight in weights.items() if weight}
    round_ = kind == "RelabelStage"
    fitter = config.get("fitter") or {}
    if round_:
        on |= {term for term, weight in fitter.get("weights", {}).items() if weight}
    tied = round_ or not config.get("without", {}).get("Delta", False)
    there = tied and _class(config.get("anatomy")) != "NoAnatomy"  # terms on triangulated joints
    anatomy = on & ANATOMY_TERMS if there else set()
    in_time = any(
        (fitter.get("travel"), fitter.get("loans"), fitter.get("weights", {}).get("smoothness"))
    )
    data = config.get("data") or {}
    sources = [data.get("source"), *(p.get("source") for p in data.get("parts", {}).values())]
    facts = {
        "UP": False,
        "T": round_ or "upright" in on,
        "hanging_arms": "rest" in on,
        "anatomy": sorted(anatomy),
        "upright": "upright" in on,
        "relabel": int(round_),
        "labels": kind == "SupervisedStage",
        "body": [_body(config)] if round_ else [],
        "person_ids": round_ or "constancy" in anatomy,
        "time": round_ and in_time,
        "masks": sorted({_masks(source) for source in sources if source}),
        "calibrated": tied,
        "stages": [f"{config.get('name', '')}/{stage}"],
    }
    return facts if known else _without_noes(facts)


def _masks(source: Mapping[str, Any]) -> str:
    """What the masks of a data set are, in words."""
    if _class(source) == "SyntheticData" and source.get("masks") == "spoilt":
        return "rendered, spoilt by chance as extractors' are"
    return MASKS.get(_class(source), "of another data set")


def _body(config: Mapping[str, Any]) -> str:
    """The body that poses are fitted with, in words."""
    skeleton = (config.get("skeleton") or {}).get("name", "an unnamed skeleton")
    return f"capsules on {skeleton}"


def _without_noes(facts: Settings) -> Settings:
    """The facts with None for every no."""
    return {key: value or None for key, value in facts.items()}


def merged(before: Settings | None, here: Settings) -> Settings:
    """The facts of two in a line: what either had; counts add, unknown stays unless it is a yes.

    >>> merged({"labels": None, "relabel": 2, "anatomy": ["chains"]},
    ...        {"labels": False, "relabel": 1, "anatomy": ["midpoints"]})
    {'labels': None, 'relabel': 3, 'anatomy': ['chains', 'midpoints']}
    >>> merged({"relabel": None, "anatomy": None}, {"relabel": 1, "anatomy": ["chains"]})
    {'relabel': None, 'anatomy': ['chains', 'unknown']}
    """
    if before is None:
        return here
    told = {}
    for key in {**before, **here}:
        a, b = before.get(key), here.get(key)
        if isinstance(a, list) or isinstance(b, list):
            unknown = ["unknown"] if a is None or b is None else []
            both = [*(a or ()), *(b or ()), *unknown]
            told[key] = both if key == "stages" else sorted(set(both))
        elif key == "relabel":
            told[key] = None if a is None or b is None else a + b
        else:
            told[key] = True if True in (a, b) else None if None in (a, b) else False
    return told


def of_checkpoint(checkpoint: Mapping[str, Any]) -> Settings:
    """The facts in a checkpoint; of those from before they were kept, what its config tells.

    Such a config names all stages of its run, trained yet or not, so that only what they have in
    common is known; and of `init` it tells no more than that there was one: then no no is known.
    """
    if isinstance(told := checkpoint.get("settings"), dict):
        return told
    config = checkpoint["config"]
    each = [of_stage(config, stage) for stage in config["cascade"]]
    facts = {
        key: value if all(other[key] == value for other in each) else None
        for key, value in each[0].items()
    }
    facts["stages"] = ["unknown"]
    return _without_noes(facts) if config.get("init") else facts


def at_test(detector: Mapping[str, Any], fitter: Any = None, box: str = "mask") -> Settings:
    """What a detector, by its config node, needs and does on a picture; and a fitter after it.

    Args:
        detector: The node.
        fitter: What poses are fitted by; None: they are not.
        box: Where the person's box comes from, a key of `BOXES`.
    """
    needs = "the input and the crop" if detector.get("mask_input") else "the crop"
    if box != "mask":
        needs = "none"
    if fitter is not None:
        needs += ", and poses are fitted to them in all calibrated views"
    mirror, fitted = bool(detector.get("mirror_test", False)), fitter is not None
    return {
        "masks_at_test": needs,
        "box_at_test": BOXES[box],
        "mirror_test": mirror,
        "fitted_at_test": fitted,
    }
