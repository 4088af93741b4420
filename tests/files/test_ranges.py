import json
import subprocess
import sys

import pytest
from omegaconf import OmegaConf

from mask_sup.files.config import plain
from mask_sup.files.ranges import Range, check_ranges

TRAINS = [
    ["train"],
    ["train", "+experiment=quickstart"],
    ["train", "+experiment=smoke"],
    ["train", "+experiment=h36m_full", "trainer=slurm"],
    ["train", "cascade=supervised"],
    ["train", "cascade=adapt"],
    ["train", "data=wild_mix"],
    ["train", "+experiment=recording"],
    ["train", "+experiment=unmasked"],
    ["train", "detector=resnet50", "renderer=gaussians"],
    ["train", "detector=patch"],
]
OTHERS = [
    ["evaluate", "checkpoint=x"],
    ["predict", "checkpoint=x", "input=y"],
    ["sync", "input=x"],
    ["masks", "input=x", "output=y"],
    ["masks", "input=x", "output=y", "extractor=grabcut", "roi={a: [1, 2, 3, 4]}"],
    ["masks", "input=x", "output=y", "extractor=chroma", "extractor.hue=[90, 150]"],
    ["masks", "input=x", "output=y", "extractor=knn"],
    ["masks", "input=x", "output=y", "extractor=sam", "extractor.weights=w"],
    ["masks", "input=x", "output=y", "extractor=rembg", "extractor.weights=w"],
    ["masks", "input=x", "output=y", "extractor=mediapipe"],
    ["masks", "input=x", "output=y", "extractor=precomputed", "extractor.source=w"],
    ["check_masks", "masks=x"],
    ["calibration_check", "input=x"],
    ["calibration_refine", "input=x", "output=y"],
    ["export", "poses=x", "fps=25"],
    ["report", "poses=x", "fps=25"],
]


def numbers(node, key=()):
    if isinstance(node, (dict, list)):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for name, value in items:
            yield from numbers(value, (*key, name))
    elif isinstance(node, (int, float)) and not isinstance(node, bool):
        yield key, node


@pytest.mark.parametrize("words", TRAINS + OTHERS, ids=" ".join)
def test_shipped_configs_pass_and_every_number_has_a_range(compose_config, words):
    config = plain(compose_config(*words))
    check_ranges(config)
    for bad in (float("nan"), -1e12, "x", True):
        changed, keys = json.loads(json.dumps(config)), []
        for *way, last in (place for place, _ in numbers(config)):
            if bad == "x" and (*way, last)[0] in ("body", "anatomy", "person"):
                continue  # words stand beside numbers there; its reader knows which
            node = changed
            for name in way:
                node = node[name]
            node[last] = bad
            keys.append(".".join(map(str, (*way, last))))
        if keys:
            with pytest.raises(ValueError, match="expected") as error:
                check_ranges(changed)
            told = {line.partition("=")[0] for line in str(error.value).splitlines()}
            assert told == set(keys)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("cascade.first_round.module.keep=0", r"keep=0: expected a number above 0 to 1"),
        ("cascade.first_round.module.scenes=0", "scenes=0: expected a whole number from 1"),
        ("fitter.explore.kept=0", "fitter.explore.kept=0: expected a whole number from 1"),
        ("save_every=0", "save_every=0: expected a whole number from 1"),
        ("detector.depth_range=-5", "detector.depth_range=-5: expected a number above 0"),
        ("data.batch_size=0", "data.batch_size=0: expected a whole number from 1"),
        ("data.batch_size=1.5", "data.batch_size=1.5: expected a whole number from 1"),
        ("cascade.last_round.max_steps=-1", "max_steps=-1: expected a whole number from 1"),
        ("optimizer.lr=0", "optimizer.lr=0: expected a number above 0"),
        ("data.batch_size=1000000000", "batch_size=1000000000: expected a whole number from 1"),
        ("optimizer.betas=0.9", "optimizer.betas=0.9: expected several values, not one"),
        ("data.pasted.own=1.5", "data.pasted.own=1.5: expected a number from 0 to 1"),
        ("data.pasted=0.5", "data.pasted=0.5: expected several values, not one"),
        ("body.capsules=3", "body.capsules=3: expected several values"),
        ("cascade.last_round.module.zoom=1", "zoom=1: expected a number from 0 below 1"),
    ],
)
def test_the_message_names_key_value_and_range(compose_config, override, says):
    cfg = compose_config("train", "+experiment=quickstart", override)
    with pytest.raises(ValueError, match=says):
        check_ranges(cfg)


@pytest.mark.parametrize(
    "override", ["data.batch_size=null", "cascade.skeleton.max_steps=null", "geodesic.gain=null"]
)
def test_null_is_no_number(compose_config, override):
    with pytest.raises(ValueError, match="=None: expected a"):
        check_ranges(compose_config("train", override))


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(ValueError, match="(?s)seed=-1: .*save_every=0: "):
        check_ranges(OmegaConf.create({"seed": -1, "save_every": 0, "own_key": -3}))


@pytest.mark.parametrize(
    ("value", "holds"), [(1, True), (1.0, True), (0, False), (1.5, False), (float("inf"), False)]
)
def test_whole_numbers(value, holds):
    assert Range(1, whole=True).holds(value) == holds


def test_a_wrong_value_costs_no_drawing(tmp_path):
    words = ["+experiment=smoke", "renderer.size=31", f"hydra.run.dir={tmp_path / 'run'}"]
    done = subprocess.run(
        [sys.executable, "-m", "mask_sup.train", *words, f"data.source.root={tmp_path / 'cache'}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "renderer.size=31: expected a multiple of 2" in done.stderr
    assert not (tmp_path / "cache").exists()
