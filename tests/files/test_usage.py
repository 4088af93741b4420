"""Help, and what a command line lacks, are told by the text of configurations alone."""

import re
from pathlib import Path

import pytest
import yaml

from mask_sup.files.usage import conf_folder, missing, usage

CONF = conf_folder()
COMMANDS = sorted(path.stem for path in CONF.glob("*.yaml"))


def keys_of(command):
    return yaml.safe_load((CONF / f"{command}.yaml").read_text()).keys() - {"defaults", "hydra"}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_tells_every_key_every_group_and_two_examples(command):
    page = usage(command, "What it does.", CONF, command)
    keys, _, rest = page.partition("\n\nexamples:\n")
    for key in keys_of(command):
        assert re.search(rf"^  {key}=", keys, re.M), key
    examples = rest.splitlines()
    assert len(examples) >= 2
    assert all(line.startswith("  python -m mask_sup.") for line in examples)
    for entry in yaml.safe_load((CONF / f"{command}.yaml").read_text())["defaults"]:
        if isinstance(entry, dict) and not next(iter(entry)).startswith("override"):
            ((group, option),) = entry.items()
            assert f"  {group}={option}" in page
            for other in (CONF / group).glob("*.yaml"):
                assert other.stem in page
    assert max(map(len, keys.splitlines())) < 130  # long defaults stand by themselves


def test_experiments_and_ablations_of_a_training_are_groups_that_are_added():
    page = usage("train", "", CONF, "train")
    assert re.search(r"\+experiment=\.\.\. +none, or baseline, general, h36m_full", page)
    assert re.search(r"\+ablation=\.\.\. +none, or wo_Delta", page)


@pytest.fixture
def conf(tmp_path):
    """A folder of one configuration."""
    (tmp_path / "mend.yaml").write_text(
        "# python -m mask_sup.mend input=a\n"
        "defaults:\n  - mend_schema\n  - tool: needle\n  - _self_\n"
        "input: ???          # a coat\n"
        "thread: {colour: red}   # from the drawer,\n"
        "                    # or bought\n"
        "quickly: true\n"
        "deep:\n  inside: 1       # no key of its own\n"
        "hydra:\n  run: {dir: .}\n"
    )
    (tmp_path / "tool").mkdir()
    for name in ("needle", "awl"):
        (tmp_path / "tool" / f"{name}.yaml").write_text("")
    return tmp_path


def test_comments_of_the_file_are_the_help(conf):
    lines = usage("mend", "Mends.", conf, "mend").splitlines()
    assert "Mends." in lines
    assert "  input=...             needed: a coat" in lines
    assert "  thread={colour: red}  from the drawer, or bought" in lines
    assert "  quickly=true" in lines
    assert "  tool=needle  or awl" in lines
    assert lines[-1] == "  python -m mask_sup.mend input=a"
    assert not any("inside" in line or "run" in line.split("=")[0] for line in lines[4:9])


@pytest.mark.parametrize("words", [[], ["quickly=false"], ["tool=awl"], ["input"]])
def test_a_key_that_is_needed_and_not_given_is_told_with_its_meaning(conf, words):
    told = missing(words, "mend", conf, "mend")
    assert told.splitlines() == [
        "input= is missing: a coat",
        "usage: python -m mask_sup.mend input=...; --help tells all keys",
    ]


def test_what_was_typed_for_a_key_is_named(conf):
    told = missing(["inptu=coat", "quickly=false"], "mend", conf, "mend")
    assert told.splitlines()[0] == "input= is missing (inptu= is no key): a coat"


@pytest.mark.parametrize("words", [["input=coat"], ["+input=coat"], ["input="], ["a=b", "input=x"]])
def test_nothing_is_missing_where_all_is_given(conf, words):
    assert missing(words, "mend", conf, "mend") == ""


def test_a_configuration_is_in_the_package_or_the_checkout():
    assert (conf_folder() / "train.yaml").is_file()
    assert conf_folder() == Path(conf_folder()).resolve()
