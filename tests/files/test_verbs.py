"""The words that choose a command, and commands of options."""

import sys

import click
import pytest

from mask_sup.files.verbs import Command, Commands, handing_on


def mend(thread):
    if thread == "gone":
        raise FileNotFoundError("no thread at gone: buy some")
    if thread == "broken":
        raise ZeroDivisionError
    print(f"mended with {thread}")


@pytest.fixture
def coats(capsys):
    """Words -> exit status, what is told and what went wrong."""
    options = [click.Option(["--thread"], type=click.Choice(["red", "gone", "broken"]))]
    commands = {
        "mend": Command(
            "mend", callback=mend, params=options, help="Mend.\n\n    a  line\n    more"
        ),
        "wash": handing_on("wash", "Wash.", lambda: print(sys.argv[1:])),
    }
    tree = Commands("coats", "For coats.", commands, usual="wash")

    def run(*words):
        try:
            tree.main(list(words))
        except SystemExit as end:
            return end.code, *capsys.readouterr()
        return 0, *capsys.readouterr()

    return run


def test_the_first_word_is_the_command(coats):
    assert coats("mend", "--thread", "red") == (0, "mended with red\n", "")


@pytest.mark.parametrize("words", [["a=b", "mend"], ["--help"], ["-m", "a=1,2"], []])
def test_words_of_the_usual_command_and_of_others_are_handed_on(coats, monkeypatch, words):
    monkeypatch.setattr(sys, "argv", ["coats"])
    assert coats(*words) == (0, f"{words}\n", "")
    assert coats("wash", *words) == (0, f"{words}\n", "")


def test_a_wrong_word_is_told_with_the_nearest_right_one(coats):
    status, _, told = coats("mned", "--thread", "red")
    assert status == 2
    assert "no command 'mned': did you mean mend?" in told
    assert "Usage: mask-sup coats " in told


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--thraed", "red"], "--thread"),
        (["--thread", "green"], "'red', 'gone', 'broken'"),
        (["more"], "unexpected extra argument"),
    ],
)
def test_a_wrong_option_is_a_few_lines(coats, words, named):
    status, out, told = coats("mend", *words)
    assert (status, out) == (2, "")
    assert named in told
    assert words[-1] in told or words[0] in told
    assert len(told.splitlines()) <= 5


def test_help_keeps_its_lines(coats):
    assert "\n    a  line\n    more\n" in coats("mend", "--help")[1]


def test_errors_about_input_are_words_unless_their_way_is_asked_for(coats):
    status, _, _ = coats("mend", "--thread", "gone")
    assert status.startswith("no thread at gone: buy some\n")
    with pytest.raises(FileNotFoundError):
        coats("mend", "--thread", "gone", "--traceback")
    with pytest.raises(ZeroDivisionError):
        coats("mend", "--thread", "broken")


def test_whoever_interrupts_gets_no_traceback():
    def stopped():
        raise KeyboardInterrupt

    tree = Commands("coats", "", {"mend": Command("mend", callback=stopped)})
    with pytest.raises(SystemExit) as end:
        tree.main(["mend"])
    assert end.value.code == 130
