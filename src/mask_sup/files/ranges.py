"""The range of every number of a config, by its key; checked before anything heavy is loaded.

A value outside of its range fails in the first second, with the key as it was typed, and not after
hours, or never. `tests/files/test_ranges.py` walks the composed configs: a number without a row
here fails there.
"""

import math
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from omegaconf import DictConfig

from mask_sup.files.config import plain

__all__ = ["RANGES", "Range", "check_ranges"]


class Range(NamedTuple):
    """Numbers from `low` to `high`, both included unless told otherwise."""

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    above: bool = False
    """Whether `low` itself is left out."""
    below: bool = False
    """Whether `high` itself is left out."""

    def holds(self, value: Any) -> bool:
        """Whether a value is in the range; a text, true or NaN is in none."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
            return False
        if self.whole and value != int(value if math.isfinite(value) else 0.5):
            return False
        low = value > self.low if self.above else value >= self.low
        return low and (value < self.high if self.below else value <= self.high)

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        words = []
        if math.isfinite(self.low):
            words.append(f"above {self.low:g}" if self.above else f"from {self.low:g}")
        if math.isfinite(self.high):
            words.append(f"below {self.high:g}" if self.below else f"to {self.high:g}")
        return " ".join([kind, *words]) if words else "a finite number"


COUNT, AMOUNT = Range(1, whole=True), Range(0, whole=True)
POSITIVE, NOT_NEGATIVE, ANY = Range(0, above=True, high=1e9), Range(0, 1e9), Range(-1e9, 1e9)
SHARE, SOME = Range(0, 1), Range(0, 1, above=True)
PIXELS = Range(8, 4096, whole=True)
MEMORY = Range(0, 1, below=True)  # of running means and of optimisers
SEED = Range(0, 2**32 - 1, whole=True)

RANGES: Mapping[str, Range] = {
    "seed": SEED,
    "*.seed": SEED,
    "save_every": COUNT,
    "skeleton.points": Range(2, whole=True),
    "skeleton*.heights.*": SHARE,
    # data
    "data*.batch_size": Range(1, 65536, whole=True),
    "data*.image_size": PIXELS,
    "data*.mask_size": PIXELS,
    "data*.padding": Range(1, 10),
    "data*.pasted.*": SHARE,
    "data*.views": COUNT,
    "data*.workers": Range(0, 256, whole=True),
    "data.weights.*": POSITIVE,
    "data*.source.every": COUNT,
    "data*.source.joints": COUNT,
    "data*.source.moments.*": COUNT,
    "data*.source.size": Range(16, 4096, whole=True),
    # networks and drawing
    "detector.backbone.blocks": Range(1, 16, whole=True),
    "detector.backbone.channels": COUNT,
    "detector.backbone.channels_per_group": COUNT,
    "detector.backbone.depth": Range(1, 8, whole=True),
    "detector.backbone.stacks": Range(1, 16, whole=True),
    "detector.backbone.stem_stride": Range(2, 8, whole=True),
    "detector.backbone.widths.*": COUNT,
    "detector.depth_range": POSITIVE,
    "detector.head.depth_bins": Range(2, 1024, whole=True),
    "renderer.size": PIXELS,
    "renderer.width": POSITIVE,
    "renderer.group_width.*": POSITIVE,
    "shape_prior.channels.*": COUNT,
    "shape_prior.channels_per_group": COUNT,
    "geodesic.gain": NOT_NEGATIVE,
    "geodesic.background_gain": NOT_NEGATIVE,
    # a person's build
    "anatomy.chains.*": ANY,
    "anatomy.lengths.*": POSITIVE,
    "anatomy.memory": MEMORY,
    "anatomy.people": COUNT,
    "anatomy.tolerance": NOT_NEGATIVE,
    "body.capsules.*.2": POSITIVE,
    "body.capsules.*": ANY,
    "body.face.3": POSITIVE,
    "body.feet.radius": POSITIVE,
    "body.feet.*": ANY,
    "body.size": PIXELS,
    # rounds
    "fitter.*.*_mm": POSITIVE,
    "fitter.*search.spread": POSITIVE,
    "fitter.crossed.*": NOT_NEGATIVE,
    "fitter.build.below": POSITIVE,
    "fitter.build.keep": SHARE,
    "fitter.build.at_most": POSITIVE,
    "fitter.build.worse": POSITIVE,
    "fitter.film.change": POSITIVE,
    "fitter.film.worse": POSITIVE,
    "fitter.repeat.gain": SHARE,
    "fitter.explore.badly": POSITIVE,
    "fitter.explore.worse": POSITIVE,
    "fitter.tolerance": NOT_NEGATIVE,
    "fitter.travel": NOT_NEGATIVE,
    "fitter.verdict.front": POSITIVE,
    "fitter.verdict.pixel": POSITIVE,
    "fitter.verdict.reach": POSITIVE,
    "fitter.verdict.*": NOT_NEGATIVE,
    "fitter.weights.*": NOT_NEGATIVE,
    "fitter.*search.*": COUNT,
    "fitter.build.scenes": COUNT,
    "fitter.explore.*": COUNT,
    "fitter.film.*": COUNT,
    "fitter.hypotheses.*": COUNT,
    "fitter.improve.*": COUNT,
    "fitter.repeat.at_most": COUNT,
    "fitter.settle.*": COUNT,
    # stages
    "cascade.*.max_steps": COUNT,
    "cascade.*.module.*_plateau.tolerance": MEMORY,
    "cascade.*.module.*_plateau.window": Range(20, whole=True),
    "cascade.*.module.keep": SOME,
    "cascade.*.module.keep_front": SOME,
    "cascade.*.module.scenes": COUNT,
    "cascade.*.module.ramp_latest": AMOUNT,
    "cascade.*.module.ramp_steps": AMOUNT,
    "cascade.*.module.upright_steps": AMOUNT,
    "cascade.*.module.weights.*": NOT_NEGATIVE,
    "cascade.*.module.width_start": POSITIVE,
    "cascade.*.module.width_steps": AMOUNT,
    "cascade.*.module.zoom": MEMORY,
    "cascade.*.module.colour": MEMORY,
    "cascade.*.module.patches": SHARE,
    "cascade.*.module.roll": Range(0, 180),
    "optimizer.lr": POSITIVE,
    "optimizer.adam_lr": POSITIVE,
    "optimizer.momentum": MEMORY,
    "optimizer.betas.*": MEMORY,
    "trainer.devices": Range(-1, whole=True),
    "trainer.num_nodes": COUNT,
    "trainer.gradient_clip_val": NOT_NEGATIVE,
    "trainer.log_every_n_steps": COUNT,
    "trainer.num_sanity_val_steps": Range(-1, whole=True),
    "trainer.val_check_interval": COUNT,
    # other commands
    "spp.lr": POSITIVE,
    "spp.*": COUNT,
    "every": COUNT,
    "person_height": POSITIVE,
    "sample": COUNT,
    "pictures": AMOUNT,
    "most": COUNT,
    "turn.*": Range(90, 270, whole=True),
    "calibrated_size.*": COUNT,
    "samples": COUNT,
    "size": PIXELS,
    "roi.*": NOT_NEGATIVE,
    "person": NOT_NEGATIVE,
    "extractor*.closing": SHARE,
    "extractor*.core": SHARE,
    "extractor*.reach": SHARE,
    "extractor*.scene": SHARE,
    "extractor*.saturation": SHARE,
    "extractor*.value": SHARE,
    "extractor*.threshold": NOT_NEGATIVE,
    "extractor*.shadow_colour": NOT_NEGATIVE,
    "extractor*.width": Range(0, 180, above=True),
    "extractor*.hue.*": Range(0, 720),
    "extractor*.rounds": COUNT,
    "extractor*.size": PIXELS,
    "extractor*.points": COUNT,
    "extractor*.padding": Range(1, 10),
    "smallest": SHARE,
    "border": SHARE,
    "second": SHARE,
    "outside": SHARE,
    "area": Range(1, 1e9, above=True),
    "jump": NOT_NEGATIVE,
    "neighbours": COUNT,
    "moments": COUNT,
    "rays": COUNT,
    "min_confidence": SHARE,
    "fill": AMOUNT,
    "cutoff_hz": POSITIVE,
    "window": COUNT,
    "fps": POSITIVE,
}
"""Key, `*` for anything -> what it may be; the first row that fits counts."""


SEVERAL = tuple(pattern.removesuffix(".*") for pattern in RANGES if pattern.endswith(".*"))
"""Keys of lists and mappings."""

NULL = (
    *("cascade.*.module.scenes", "data*.views", "fps", "size", "roi", "extractor*.hue"),
    "trainer.*",
)
"""Keys that may be null although they have a range."""

TEXTS = ("body.capsules*", "anatomy.chains*", "person")
"""Keys that may hold words beside numbers; what reads them knows which."""


def check_ranges(cfg: DictConfig | Mapping[str, Any]) -> None:
    """Refuse numbers outside of their range, and what should be a number and is none.

    Null passes where `NULL` says so. Keys that no row knows, of packages of one's own, pass.

    Raises:
        ValueError: With key, value and range of each.
    """
    wrong = []
    for key, value in _leaves(plain(cfg)):
        known = next((r for pattern, r in RANGES.items() if fnmatchcase(key, pattern)), None)
        texts = isinstance(value, str) and any(fnmatchcase(key, pattern) for pattern in TEXTS)
        null = value is None and any(fnmatchcase(key, pattern) for pattern in NULL)
        if known is None and value is not None and any(fnmatchcase(key, p) for p in SEVERAL):
            wrong.append(f"{key}={value}: expected several values, not one")
        if known is not None and not null and not texts and not known.holds(value):
            wrong.append(f"{key}={value}: expected {known}")
    if wrong:
        raise ValueError("\n".join(wrong))


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Keys and values of what is no mapping and no list."""
    items = node.items() if isinstance(node, Mapping) else enumerate(node)
    for name, value in items:
        here = f"{key}.{name}" if key else str(name)
        if isinstance(value, (Mapping, list)):
            yield from _leaves(value, here)
        else:
            yield here, value
