"""Errors as people read them: a few lines, without the way through the code that raised them.

What the program says of its input, and what Hydra says of a word, ends the command with these
lines and exit status 1; `--traceback` shows the way, too. It is always shown for what nobody
expected: that is a fault of the program.
"""

import difflib
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = [
    "ABOUT_INPUT",
    "HYDRA_SHOWS_WAY",
    "SHOW_WAY",
    "in_words",
    "near",
    "nearest",
    "readable",
    "without_way",
]

SHOW_WAY = "--traceback"
ABOUT_INPUT = (ValueError, OSError, ModuleNotFoundError, FloatingPointError)
"""Kinds of errors that this program raises on purpose."""
HYDRA_SHOWS_WAY = "HYDRA_FULL_ERROR"
LONGEST = 5  # lines of an error of Hydra's
NEAR = 0.6  # least similarity of a name that is offered for another


def without_way(function: Callable[[Any], None]) -> Callable[[Any], None]:
    """A command whose errors about its input are their words alone.

    One of several runs (`-m`) raises them, so that Hydra runs the others and tells which it was.
    """

    @functools.wraps(function)
    def run(cfg: Any) -> None:
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        try:
            function(cfg)
        except ABOUT_INPUT as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            raise SystemExit(in_words(error)) from error

    return run


@contextmanager
def readable(words: Sequence[str], config: str, shows_way: bool) -> Iterator[None]:
    """Within: errors of the words of a command line, told with the nearest right ones.

    Args:
        words: As Hydra is given them.
        config: Name of the command's config.
        shows_way: Whether errors stay as they are.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    of_words = HydraException, OmegaConfBaseException
    before = os.environ.get(HYDRA_SHOWS_WAY)
    os.environ[HYDRA_SHOWS_WAY] = "1"  # else Hydra prints them, and ends the program
    try:
        yield
    except (*of_words, *ABOUT_INPUT) as error:
        if shows_way:
            raise
        told = _of_words(error, words, config) if isinstance(error, of_words) else in_words(error)
        raise SystemExit(told) from error
    finally:
        del os.environ[HYDRA_SHOWS_WAY]
        if before is not None:
            os.environ[HYDRA_SHOWS_WAY] = before


def in_words(error: BaseException) -> str:
    """What is printed of an error about input."""
    told = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        told = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{told}\n({SHOW_WAY} shows where in the program)"


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint at the name that may have been meant, or at all of them.

    >>> nearest("detectr", ["data", "detector"])
    'did you mean detector?'
    >>> nearest("xyz", ["data", "detector"])
    'expected one of data, detector'
    """
    found = near(name, known)
    return f"did you mean {found}?" if found else f"expected one of {', '.join(known)}"


def near(name: str, known: Iterable[str]) -> str | None:
    """The most similar name, if any is."""
    return next(iter(difflib.get_close_matches(name, list(known), 1, NEAR)), None)


def _of_words(error: Exception, words: Sequence[str], config: str) -> str:
    """The word that Hydra stumbled over, and what may have been meant."""
    from hydra.errors import (
        ConfigCompositionException,
        MissingConfigException,
        OverrideParseException,
    )

    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, option = (error.missing_cfg_file or "").rpartition("/")
        return f"{group}={option}: there is no such option\n  {nearest(option, error.options)}"
    if isinstance(error, OverrideParseException):
        key = error.override.partition("=")[0]
        what = "cannot be read" if "=" in error.override else f"expected {key}=<value>"
        return f"{error.override}: {what}\n  {error.message.splitlines()[0]}"
    if isinstance(error, ConfigCompositionException):
        for word in words:
            key = word.partition("=")[0]
            if "=" in word and f"Could not override '{key}'" in str(error):
                return f"{word}: there is no such key\n  {_nearest_key(key, words, config)}"
            if word.startswith("+") and f"Multiple values for {_group(word)}." in str(error):
                return f"{word}: there is one already\n  say {word.lstrip('+')} to have another"
    lines = f"{error}\n{error.__cause__ or ''}".splitlines()
    return "\n".join([line for line in lines if line.strip()][:LONGEST])


def _nearest_key(key: str, words: Sequence[str], config: str) -> str:
    """A hint at the key that may have been meant, beside it or further inside."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from mask_sup.files.config import conf_dir

    folder = conf_dir()
    with initialize_config_dir(folder, version_base="1.3"):
        groups = [word for word in words if (Path(folder) / _group(word)).is_dir()]
        cfg = OmegaConf.to_container(compose(config, groups), resolve=False)
    node: Any = cfg
    above, name = "", key
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            name = part
            break
        above, node = f"{above}{part}.", node[part]
    inside = {path.rpartition(".")[2]: path for path in sorted(_paths(node), key=_deepest_first)}
    for known in (node if isinstance(node, dict) else {}, inside):
        if found := near(name, map(str, known)):
            return f"did you mean {above}{inside[found]}?"
    return "--help tells all keys, --cfg job those inside groups, too"


def _group(word: str) -> str:
    return word.partition("=")[0].lstrip("+")


def _deepest_first(path: str) -> int:
    return -path.count(".")


def _paths(node: Any, above: str = "") -> Iterator[str]:
    """Each key of a config with those above it, joined by dots."""
    for key, value in node.items() if isinstance(node, dict) else ():
        yield f"{above}{key}"
        yield from _paths(value, f"{above}{key}.")
