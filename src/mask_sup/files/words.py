"""Words of the command line: a path means what it says, and a command that is told can be copied.

Hydra reads `key=value` by a grammar, in which brackets, commas, quotes, spaces at the ends and any
letter beyond ASCII mean something else or nothing at all. People give paths. So words are read here
before Hydra sees them, and written here where messages tell commands.
"""

import functools
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mask_sup.files.errors import HYDRA_SHOWS_WAY, SHOW_WAY, nearest, readable, without_way
from mask_sup.files.usage import conf_folder, missing, usage

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

__all__ = ["PATHS", "command", "literal", "said", "shell_command"]

PATHS = (
    "box",
    "checkpoint",
    "data*.cache",
    "data*.source.masks",
    "data*.source.root",
    "extractor*.plates",
    "extractor*.source",
    "extractor*.weights",
    "hydra.run.dir",
    "hydra.sweep.dir",
    "init",
    "input",
    "masks",
    "output",
    "poses",
    "resume",
    "run",
    "videos",
)
"""Keys whose values are paths; `*` for anything."""

NUMBERS = ("box",)
"""Of these, in whose place a list of numbers may stand."""

VALUED = {  # options of Hydra whose next word is their value
    *("--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd"),
    *("--package", "-p", "--experimental-rerun"),
}
SWEEPS = ("-m", "--multirun", "hydra.mode=MULTIRUN", "+sweep=")  # words that ask for several runs
PLAIN = re.compile(r"[A-Za-z_/.][A-Za-z0-9_/.-]*", re.ASCII)  # means itself in Hydra's grammar
WORDS = re.compile(r"(true|false|null|nan|inf|\.[0-9_]+(e-?[0-9_]+)?)", re.ASCII | re.IGNORECASE)
HELP = ("-h", "--help")
INTERPOLATION = "${"
QUOTES = "'", '"'
SHARE = "\\\\"  # how the path of a Windows share begins


def command(config: str, name: str = "") -> Callable[[Callable[[Any], None]], Callable[..., None]]:
    """`hydra.main` for a config of `conf/`, with words that are read as `literal` says.

    Help, and what is missing, are told before Hydra is loaded (`mask_sup.files.usage`), and errors
    in a few lines (`mask_sup.files.errors`).

    Args:
        config: Its name, without the ending.
        name: How the command is called, if not like its config.
    """
    name = name or config

    def decorated(function: Callable[[Any], None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(cfg: Any = None) -> None:
            if cfg is not None:
                function(cfg)
                return
            words = [word for word in sys.argv[1:] if word != SHOW_WAY]
            if any(word in HELP for word in words):
                print(usage(name, function.__doc__ or "", conf_folder(), config))
                return
            shows_way = SHOW_WAY in sys.argv or HYDRA_SHOWS_WAY in os.environ
            try:
                _check_folder(os.getcwd(), "the folder that this is run in")
                sys.argv[1:] = words = literal(words)
            except ValueError as error:
                raise SystemExit(f"{error}") from None
            options = any(word.startswith("-") and word not in SWEEPS for word in words)
            if not options and (lacks := missing(words, name, conf_folder(), config)):
                raise SystemExit(lacks)
            check_options(words)
            import hydra

            from mask_sup.files.config import conf_dir

            begun = hydra.main(version_base="1.3", config_path=conf_dir(), config_name=config)
            with readable(words, config, shows_way):
                begun(function if shows_way else without_way(function))()

        return run

    return decorated


def check_options(words: Sequence[str]) -> None:
    """Refuse options that Hydra does not have.

    Raises:
        SystemExit: With the nearest one that it has.
    """
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()

    def refuse(message: str) -> None:
        known = [option for action in parser._actions for option in action.option_strings]
        wrong = message.rpartition("unrecognized arguments: ")[2].split()
        hint = f"\n  {nearest(wrong[0], known)}" if "unrecognized" in message else ""
        raise SystemExit(f"{message}{hint}")

    parser.error = refuse  # which prints all of its usage else
    parser.parse_args(words)


def literal(words: Sequence[str]) -> list[str]:
    """Words as Hydra has to be given them, so that their values are what was typed.

    What Hydra cannot read is quoted, and what it reads is left alone. Lists, mappings and values
    for several runs are left to Hydra's error. Paths (`PATHS`) are always their text, unless that
    is quoted, null, or holds an interpolation or an escape; if there is such a file or folder, it
    is meant even so, except by null.

    Raises:
        ValueError: If a path that is there holds `${`: configs cannot say it.
    """
    sweeps = any(word.startswith(SWEEPS) for word in words)
    before = ["", *words]
    return [
        word if option in VALUED else _literal(word, sweeps)
        for option, word in zip(before, words, strict=False)
    ]


def _literal(word: str, sweeps: bool) -> str:
    key, equal, text = word.partition("=")
    if not equal or not text or word.startswith(("-", "~")) or _is_plain(text):
        return word
    name = key.lstrip("+")
    is_path = any(fnmatchcase(name, pattern) for pattern in PATHS)
    if is_path and _exists(text):
        _check_folder(text, word)
        meant = text.lower() == "null"
    else:
        is_path = is_path and not (name in NUMBERS and text.startswith("["))
        meant = _is_meant(_parsed(word), text, is_path, sweeps)
    return word if meant else f"{key}={_quoted(text)}"


def _is_meant(override: "Override | None", text: str, is_path: bool, sweeps: bool) -> bool:
    """Whether a value is in Hydra's grammar on purpose, and is left to it."""
    if override is None:
        return (sweeps and "," in text) or (not is_path and text.startswith(("[", "{")))
    if not is_path:
        return True
    if override.is_sweep_override():
        return sweeps
    if text.startswith(QUOTES) or override.value() is None:
        return True
    value = override.value()
    escaped = "\\" in text and not text.startswith(SHARE)
    return isinstance(value, str) and (value == text or (escaped and text == text.strip()))


def _parsed(word: str) -> "Override | None":
    """A word as Hydra reads it; None if it cannot."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(word)
    except HydraException:
        return None


def _is_plain(text: str) -> bool:
    return bool(PLAIN.fullmatch(text)) and not WORDS.fullmatch(text)


def _exists(text: str) -> bool:
    try:
        return os.path.lexists(text)
    except ValueError:  # a zero byte
        return False


def _check_folder(path: str, what: str) -> None:
    """Refuse a path that a config would read as a reference to another key."""
    if INTERPOLATION in path:
        raise ValueError(
            f"{what}: expected a path without {INTERPOLATION}, which a config reads as a reference "
            f"to another key, got {path}; rename it, or give a link to it"
        )


def _quoted(text: str) -> str:
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text, Quote.double).with_quotes()


def said(text: str) -> str:
    """A text as Hydra's grammar takes it, in a list or as a value."""
    return text if _is_plain(text) else _quoted(text)


def shell_command(name: str, *words: str, **paths: Path | str) -> str:
    """A command to copy: whatever names hold, it survives the shell and Hydra.

    Args:
        name: Of the module in mask_sup, and its command: "calibration convert".
        words: Said in Hydra's grammar.
        paths: By their key.

    >>> shell_command("sync", "most=9", input="Trial (1)")
    "python -m mask_sup.sync 'input=Trial (1)' most=9"
    """
    told = [_path_word(key, f"{path}") for key, path in paths.items()]
    return " ".join([f"python -m mask_sup.{name}", *map(shlex.quote, (*told, *words))])


def _path_word(key: str, path: str) -> str:
    """A path for the command line, in quotes of Hydra only where `literal` needs them."""
    bare, quoted = f"{key}={path}", f"{key}={_quoted(path)}"
    if _is_plain(path) or INTERPOLATION in path:
        return bare
    return bare if literal([bare]) == [quoted] else quoted
