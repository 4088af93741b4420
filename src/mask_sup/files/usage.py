"""What a command's help says: its keys as conf/<command>.yaml explains them, groups and examples.

The file is read as text: what stands behind a `#` in it is the help, and nothing has to be loaded.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mask_sup.files.errors import near

__all__ = ["INNER", "conf_folder", "groups_of", "missing", "usage"]

NEEDED = "???"  # in place of a value: the command line has to give it
KEY = re.compile(r"(\w+): *(\S.*?)??(?: +# *(.*))?$")
MORE = re.compile(r" +# *(.*)$")  # a comment that goes on
DEFAULT = re.compile(r"  - (\w+): (\w+)$")
ADDED = re.compile(r"\+(\w+)=")  # groups that are added, of which none is the default
EXAMPLE = "# python -m "
INNER = ("defaults", "hydra")  # keys of Hydra's own
WIDTH, WIDEST, INDENT = 100, 28, "  "
HYDRA = """\
Keys inside a group are given with dots, detector.channels=64; --cfg job prints every value, and
--hydra-help tells what Hydra itself takes (multirun, and so on)."""


def conf_folder() -> Path:
    """The folder of YAML files: inside an installed package, or the checkout's top level.

    Raises:
        FileNotFoundError: If there is none.
    """
    packaged = Path(__file__).parents[1] / "conf"
    folder = packaged if packaged.is_dir() else Path(__file__).parents[3] / "conf"
    if not folder.is_dir():
        raise FileNotFoundError(f"no configuration at {folder}: reinstall mask-sup")
    return folder


def usage(name: str, about: str, conf: Path, config: str) -> str:
    """The help of a command.

    Args:
        name: As it is called: "calibration check".
        about: What it does.
        conf: Folder of configurations.
        config: Its own, without the ending.
    """
    text = (conf / f"{config}.yaml").read_text()
    parts = [f"usage: python -m mask_sup.{name} key=value ...\n\n{about.strip()}"]
    told = dict(
        (f"{key}=...", f"needed: {words}") if value == NEEDED else (f"{key}={value}", words)
        for key, value, words in _keys(text)
    )
    parts.append(_section("keys, and what they are unless they are given:", told))
    groups = dict(_groups(text, conf))
    if groups:
        parts.append(_section("groups (one option of each):", groups))
        parts.append(HYDRA)
    examples = [line[2:] for line in text.splitlines() if line.startswith(EXAMPLE)]
    parts.append("\n".join(["examples:", *(INDENT + line for line in examples)]))
    return "\n\n".join(parts)


def missing(words: Sequence[str], name: str, conf: Path, config: str) -> str:
    """What the command line has to give and does not, in words; "" if nothing.

    Args:
        words: Of the command line.
        name: See `usage`.
        conf: See `usage`.
        config: See `usage`.
    """
    given = {word.partition("=")[0].lstrip("+") for word in words if "=" in word}
    keys = list(_keys((conf / f"{config}.yaml").read_text()))
    lacks = [(key, told) for key, value, told in keys if value == NEEDED and key not in given]
    if not lacks:
        return ""
    unknown = given - {key for key, _, _ in keys}
    needs = " ".join(f"{key}=..." for key, value, _ in keys if value == NEEDED)
    return "\n".join(
        [
            *(f"{key}= is missing{_typed_for(key, unknown)}: {told}" for key, told in lacks),
            f"usage: python -m mask_sup.{name} {needs}; --help tells all keys",
        ]
    )


def _typed_for(key: str, given: Iterable[str]) -> str:
    """What was typed, where it may have been meant for a key."""
    typed = near(key, sorted(given))
    return f" ({typed}= is no key)" if typed else ""


def _keys(text: str) -> Iterator[tuple[str, str, str]]:
    """Each key of the top level, its value and what is said of it, in its line and below."""
    lines = text.splitlines()
    for at, line in enumerate(lines):
        found = KEY.match(line)
        if not found or found[1] in INNER or line.startswith((" ", "#")):
            continue
        words = [found[3] or ""]
        for below in lines[at + 1 :]:
            if not (more := MORE.match(below)):
                break
            words.append(more[1])
        yield found[1], found[2] or "", " ".join(words).strip()


def groups_of(text: str) -> dict[str, str]:
    """The groups that a configuration's text names: their defaults, "" where they are added."""
    named = dict.fromkeys(ADDED.findall(text), "")
    return named | {
        found[1]: found[2] for line in text.splitlines() if (found := DEFAULT.match(line))
    }


def _groups(text: str, conf: Path) -> Iterator[tuple[str, str]]:
    """Each group with its default, and its other options."""
    for group, default in groups_of(text).items():
        options = sorted(path.stem for path in (conf / group).glob("*.yaml"))
        others = ", ".join(option for option in options if option not in (default, "none"))
        others += ", none" * ("none" in options and bool(default) and default != "none")
        yield (f"{group}={default}", f"or {others}" if others else "") if default else (
            f"+{group}=...", f"none, or {others}"
        )  # fmt: skip


def _section(title: str, told: dict[str, str]) -> str:
    width = min(WIDEST, max(map(len, told)))
    lines = [title]
    for key, words in told.items():
        first, *more = textwrap.wrap(words, WIDTH - width - 4) or [""]
        lines.append(f"{INDENT}{key:{width}}  {first}".rstrip())
        lines += [f"{'':{width + 4}}{line}" for line in more]
    return "\n".join(lines)
