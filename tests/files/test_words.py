"""What a word of the command line means, after the shell and Hydra have read it."""

import random
import re
import shlex
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser

from mask_sup.files.config import conf_dir
from mask_sup.files.words import PATHS, VALUED, command, literal, said, shell_command

NAMES = [
    *("Vidéos/", "Trial (1)", "S01, walk", "speed=3", "a, b=c", "日本", "x#1", "50%", "a&b", "a;b"),
    *("it's", 'say "x"', "'x", "x'", "a'b\"c", "[1]", "[a,b]", "{x}", "{x: y}", "$HOME", "$x$"),
    *(" lead", "trail ", "a  b", "a\tb", "a\nb", "~", "~/x", "!", "*", "?", "a:b", "<x>", "a|b"),
    *("C:\\Videos\\x", "C:\\x\\", "\\\\share\\x", "a\\'", "é\\", "é\\\\", "\\'\\", '\\"', "`x`"),
    *("1e3", "2024_01_02", "1.10", "007", "+5", "-x", "-1", ".5", ".1e5", "inf", "nan", "true"),
    *("glob(*)", "int(3)", "choice(a,b)", "range(3)", "str(x)", "walk(1)", "a,b", ",", "=", "@a"),
]
LETTERS = "aé0. /\\\"'()[]{}$#,=:~+-_*%!|&;@e1"
GARBLED = 2000
PURPOSE = [  # what was meant for Hydra and stays as it is
    *(
        "cameras=[cam01,cam02]",
        "turn={cam_2: 90}",
        "calibrated_size=[640,480]",
        "every=2",
        "fps=25",
    ),
    *("masks=null", "output=null", "overlays=false", "data=h36m", "+experiment=smoke", "masks="),
    *("~logger", "~data.source", "+data.source.root=x", "++seed=3", "optimizer.betas=[0.9,0.99]"),
    *("output=${oc.env:HOME}/x", "hydra.run.dir=outputs/${now:%Y-%m-%d}", "input='S01, walk'"),
    *(
        'input="speed=3"',
        r"input=Trial\ \(1\)",
        "name=str(3)",
        "trainer.devices=2",
        "device=cuda:0",
    ),
    *("data@parts.h36m=h36m", "hydra/launcher=basic", "roi={cam01: [1, 2, 3, 4]}", "rename=[a,b"),
]


def read(word):
    return OverridesParser.create().parse_override(word).value()


def meant(word):
    """The value that a config gets for a word that was typed."""
    (word,) = literal([word])
    return read(word)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", ["input", "hydra.run.dir", "+data.source.root"])
def test_a_path_is_its_text(name, key):
    assert meant(f"{key}={name}") == name


def test_garbled_names_are_their_text_on_the_command_line_and_in_what_is_told():
    chance = random.Random(0)
    for _ in range(GARBLED):
        name = "".join(chance.choices(LETTERS, k=chance.randint(1, 9)))
        (*_, word) = shlex.split(shell_command("sync", input=name))
        assert meant(word) == name
        assert read(f"key=[{said(name)},b]") == [name, "b"]


def test_plain_words_are_what_hydra_reads_from_them():
    chance = random.Random(1)
    for _ in range(GARBLED):
        name = "".join(chance.choices("aeinftrul_/.-1", k=chance.randint(1, 6)))
        if name.lower() != "null":
            assert meant(f"input={name}") == name


@pytest.mark.parametrize("word", PURPOSE)
def test_grammar_on_purpose_is_left_alone(word):
    assert literal([word]) == [word]
    assert literal(literal([word])) == [word]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_quoted_once_is_not_quoted_again(name):
    once = literal([f"input={name}"])
    assert literal(once) == once


def test_several_values_are_those_of_a_sweep_unless_there_is_such_a_folder():
    sweep = ["-m", "init=a,b", "seed=1,2", "data.source.root=x,y"]
    assert literal(sweep) == sweep
    assert literal(sweep[1:2]) == ['init="a,b"']
    Path("a,b").mkdir()
    assert literal(sweep) == ["-m", 'init="a,b"', *sweep[2:]]


@pytest.mark.parametrize("text", [r"Trial\ \(1\)", "'x'", '"a, b"'])
def test_what_is_there_is_meant(text):
    assert meant(f"input={text}") != text
    Path(text).mkdir()
    assert meant(f"input={text}") == text


def test_a_box_is_numbers_or_the_path_of_a_file():
    assert meant("box=[-3,40.5,50,80]") == [-3, 40.5, 50, 80]
    assert meant("box=Trial (1), boxes.csv") == "Trial (1), boxes.csv"
    assert meant("box=null") is None
    Path("[1,2,3,4]").mkdir()
    assert meant("box=[1,2,3,4]") == "[1,2,3,4]"


def test_null_is_no_path_even_where_there_is_such_a_folder():
    Path("null").mkdir()
    assert meant("masks=null") is None
    assert meant("masks=./null") == "./null"


def test_names_that_hydra_cannot_read_are_texts():
    assert meant("name=Vidéos (2)") == "Vidéos (2)"
    assert meant("name=a=b") == "a=b"


def test_a_folder_that_configs_would_read_as_a_reference_is_refused_in_a_line(monkeypatch):
    Path("${x}").mkdir()
    with pytest.raises(ValueError, match=r"input=\$\{x\}: expected a path without \$\{.*rename it"):
        literal(["input=${x}"])
    monkeypatch.chdir("${x}")
    monkeypatch.setattr("sys.argv", ["sync", "input=."])
    with pytest.raises(SystemExit, match="the folder that this is run in: expected a path without"):
        command("sync")(print)()


def test_values_of_options_are_left_alone():
    words = ["--config-dir", "my é=(1)", "-cd", "input=(", "input=("]
    assert literal(words) == [*words[:-1], 'input="("']


def test_the_options_are_those_of_hydra():
    actions = get_args_parser()._actions
    valued = {name for a in actions if a.nargs is None for name in a.option_strings}
    assert valued - {"--cfg", "-c"} == VALUED  # those take one of few words


@pytest.mark.parametrize("name", ["Vidéos, Trial (1)", "it's", 'say "x"', "speed=3", " lead"])
def test_a_command_gets_the_text_in_one_run_and_in_several(name, monkeypatch):
    seen = []
    main = command("sync")(lambda cfg: seen.append(cfg.input))
    Path(name).mkdir()
    for words in ([], ["-m", "most=1,2", "hydra.sweep.dir=swéep"]):
        monkeypatch.setattr("sys.argv", ["sync", *words, f"input={name}"])
        main()
    assert seen == [name] * 3


def test_run_folders_have_such_names(monkeypatch):
    monkeypatch.setattr("sys.argv", ["train", "hydra.run.dir=outputs/Vidéos, (1)"])
    command("train")(lambda cfg: None)()
    assert Path("outputs/Vidéos, (1)/.hydra/config.yaml").is_file()
    monkeypatch.setattr("sys.argv", ["train", "resume=outputs/Vidéos, (1)"])
    command("train")(lambda cfg: None)()
    assert Path("outputs/Vidéos, (1)/resumed/.hydra/config.yaml").is_file()


def leaves(node, key=""):
    """Keys of a file of conf/."""
    for name, value in node.items():
        here = f"{key}.{name}" if key else f"{name}"
        if isinstance(value, dict):
            yield from leaves(value, here)
        else:
            yield here


def keys_of(path):
    """Keys of the file where they stand in a config, with the lines that say them."""
    told = path.read_text()
    group = path.parent.relative_to(conf_dir()).as_posix()
    at_root = group in (".", "protocol") or told.startswith("# @package _global_")
    package = "" if at_root else f"{group}."
    for key in leaves(yaml.safe_load(told) or {}):
        if not key.startswith("defaults"):
            pattern = rf"^ *(- )?(.*[ {{])?{re.escape(key.split('.')[-1])}:.*$"
            yield f"{package}{key}", "\n".join(m[0] for m in re.finditer(pattern, told, re.M))


def all_keys():
    return dict(pair for path in sorted(Path(conf_dir()).rglob("*.yaml")) for pair in keys_of(path))


def is_path(key):
    return any(fnmatchcase(key, pattern) for pattern in PATHS)


def test_every_path_of_the_list_is_a_key():
    keys = {*all_keys(), "hydra.run.dir", "hydra.sweep.dir"}
    for pattern in PATHS:
        assert any(fnmatchcase(key, pattern) for key in keys), pattern


NO_PATHS = {"calibrated_size", "fps", "html", "turn", "unit"}  # tell of files, but are none


def test_keys_that_tell_of_files_and_folders_are_in_the_list():
    words = re.compile(r"#.*\b(folders?|files?|checkpoint|poses\.npz|JSON of|video)\b|\.onnx")
    missing = [
        key
        for key, line in all_keys().items()
        if words.search(line) and not is_path(key) and not key.startswith("hydra")
    ]
    assert set(missing) == NO_PATHS
