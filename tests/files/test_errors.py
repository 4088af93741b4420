"""What a command that ends with an error prints."""

import os
import sys

import pytest

from mask_sup.files.errors import in_words, nearest
from mask_sup.files.words import command


def failing(error):
    """A training that raises."""

    def train(cfg):
        raise error

    return command("train")(train)


@pytest.fixture
def end(monkeypatch, tmp_path):
    """Exit of a command with these words: what it prints, or its status."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def run(main, *words):
        monkeypatch.setattr(sys, "argv", ["train", *words])
        with pytest.raises(SystemExit) as told:
            main()
        return told.value.code

    return run


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("detectr=patch", "did you mean detector?"),
        ("data.batchsize=3", "did you mean data.batch_size?"),
        ("batch_size=3", "did you mean data.batch_size?"),
        ("detector.backbone.chanels=3", "did you mean detector.backbone.channels?"),
        ("data.source.moment.train=3", "did you mean data.source.moments?"),
        ("seeds=3", "did you mean seed?"),
        ("qqq=3", "--help tells all keys"),
        ("dataa.batch_size=3", "did you mean data?"),
        ("data.rig=rings", "did you mean data.source.rig?"),
    ],
)
def test_a_wrong_key_gets_the_nearest_right_one(end, word, hint):
    told = end(failing(ValueError()), "data=synthetic", word)
    assert told.splitlines()[0] == f"{word}: there is no such key"
    assert hint in told.splitlines()[1]
    assert len(told.splitlines()) == 2


def test_keys_of_the_chosen_group_are_offered(end):
    told = end(failing(ValueError()), "cascade=quick", "cascade.last_round.max_step=3")
    assert "did you mean cascade.last_round.max_steps?" in told


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("detector=patchh", "detector=patchh: there is no such option\n  did you mean patch?"),
        ("+experiment=qqq", "experiment=qqq: there is no such option\n  expected one of "),
        ("+detector=patch", "+detector=patch: there is one already\n  say detector=patch"),
        ("~qqq", "'qqq' does not exist"),
        ("+seed=3", "remove + prefix"),
        ("name=[", "no viable alternative"),
        ("seed.qqq=3", "override seed.qqq=3"),
    ],
)
def test_other_wrong_words_are_a_few_lines(end, word, told):
    found = end(failing(ValueError()), word)
    assert told in found
    assert len(found.splitlines()) <= 5


def test_errors_about_input_are_their_words_alone(end):
    assert end(failing(ValueError("two\nlines")), "seed=3") == in_words(ValueError("two\nlines"))
    assert in_words(ValueError("two\nlines")).startswith("two\nlines\n(--traceback")


def test_a_command_leaves_the_next_one_as_it_found_it(end):
    for _ in range(2):
        assert end(failing(ValueError("once more"))).startswith("once more\n")
    assert "HYDRA_FULL_ERROR" not in os.environ


def test_errors_of_the_system_say_which_file(tmp_path):
    with pytest.raises(OSError, match="No such file") as told:
        (tmp_path / "gone").read_text()
    assert in_words(told.value).startswith(f"{tmp_path / 'gone'}: No such file or directory\n")
    assert in_words(FileNotFoundError("no input at x")).startswith("no input at x\n")


@pytest.mark.parametrize("how", ["--traceback", "HYDRA_FULL_ERROR"])
def test_the_way_is_shown_on_request(monkeypatch, tmp_path, how):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    if how == "--traceback":
        monkeypatch.delenv("HYDRA_FULL_ERROR")
    monkeypatch.setattr(sys, "argv", ["train", *([how] if how.startswith("-") else [])])
    with pytest.raises(ValueError, match="whole"):
        failing(ValueError("whole"))()


def test_what_nobody_expected_keeps_its_way(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.setattr(sys, "argv", ["train"])
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError())()


def test_of_several_runs_all_are_begun(end, capsys):
    seen = []

    def train(cfg):
        seen.append(cfg.seed)
        raise ValueError(f"seed {cfg.seed}")

    assert end(command("train")(train), "-m", "seed=1,2").startswith("seed 1\n")
    assert seen == [1, 2]
    assert "seed=1" in capsys.readouterr().err


def test_a_function_that_is_called_with_a_config_raises():
    with pytest.raises(ValueError, match="as it is"):
        failing(ValueError("as it is"))({})


def test_nothing_near_lists_what_there_is():
    assert nearest("xyz", ["data", "detector"]) == "expected one of data, detector"
