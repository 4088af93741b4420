"""What Tab makes of words that are begun, and the scripts that ask for it."""

import json
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from mask_sup import __main__ as front
from mask_sup.completion import BASH, completed, main
from mask_sup.files.usage import conf_folder

CONF = conf_folder()


def options(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("tra", ["train"]),
        ("trainn", []),
        ("calibration ", ["convert", "check", "refine"]),
        ("calibration chekc in", []),
        ("calibration check in", ["input="]),
        ("prepare h", ["h36m"]),
        ("prepare h36m --pro", ["--protocol"]),
        ("masks check m", ["masks="]),
        ("masks che", ["check"]),
        ("masks input=x extractor=gr", ["extractor=grabcut"]),
        ("completion ", ["bash", "zsh"]),
        ("train tr", ["trainer.", "trainer="]),
        ("train +", ["+ablation=", "+experiment="]),
        ("train detector=p", ["detector=patch", "detector=patch128"]),
        ("train detector=patch detector.backbone.w", ["detector.backbone.widths="]),
        ("train detector=hourglass detector.backbone.w", []),
        ("train data.source.moments.tr", ["data.source.moments.train="]),
        ("train +experiment=quickstart cascade.last_round.max", ["cascade.last_round.max_steps="]),
        ("train +experiment=quickstart cascade=three_stage cascade.last_r", []),
        ("train data=wild_mix data.parts.t", ["data.parts.tiktok."]),
        ("train +experiment=h36m_full data.image_s", ["data.image_size="]),
        ("train without.p", ["without.psi="]),
        ("train seed=", []),
        ("train nothing.insi", []),
        ("predict overlays=", ["overlays=false", "overlays=true"]),
        ("film x --fault s", ["swapped"]),
        ("doctor --j", ["--json"]),
    ],
)
def test_a_word_becomes_what_may_stand_there(line, found):
    *words, begun = line.split(" ")
    assert completed(words, begun) == found


@pytest.mark.parametrize("group", ["experiment", "ablation"])
def test_all_options_of_a_group_are_offered(group):
    assert completed(["train"], f"+{group}=") == [f"+{group}={name}" for name in options(group)]


@pytest.mark.parametrize("verb", [word for told in front.COMMANDS.values() for word in told])
def test_every_command_completes_its_own_help_or_keys(verb):
    assert completed(verb.split(), "--") or completed(verb.split(), "")


def test_zsh_gets_whole_words_and_bash_what_follows_the_sign():
    told = {
        shell: CliRunner().invoke(main, ["words", shell, "mask-sup train detector=pat"]).stdout
        for shell in ("bash", "zsh")
    }
    assert told["bash"] == "patch \npatch128 \n"
    assert told["zsh"] == "detector=patch \ndetector=patch128 \n"


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@pytest.mark.parametrize(("line", "found"), [("tra", ["train "]), ("train optimizer=m", ["muon "])])
def test_bash_asks_by_the_script(line, found):
    script = (
        f'mask-sup() {{ "{sys.executable}" -m mask_sup "$@"; }}\n{BASH}\n'
        f'COMP_LINE="mask-sup {line}" COMP_POINT=100\n_mask_sup\n'
        'for word in "${COMPREPLY[@]}"; do echo "$word|"; done\n'
        "complete -p mask-sup"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    *words, registered = done.stdout.splitlines()
    assert words == [f"{word}|" for word in found]
    assert "-F _mask_sup mask-sup" in registered


def test_nothing_heavy_is_loaded_for_it():
    code = (
        "import json, sys\nfrom mask_sup.completion import completed\n"
        "assert completed(['train', '+experiment=quickstart'], 'cascade.last_round.')\n"
        "heavy = {'torch', 'hydra', 'omegaconf', 'numpy', 'cv2'} & set(sys.modules)\n"
        "print(json.dumps(sorted(heavy)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_each_shell_has_its_script(shell):
    told = CliRunner().invoke(main, [shell])
    assert told.exit_code == 0
    assert f"mask-sup completion words {shell} " in told.stdout
    assert "did you mean" in CliRunner().invoke(main, [shell[:-1]]).output
