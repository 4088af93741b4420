"""Words of a command line that is being typed: keys, groups and their options, from YAML alone."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mask_sup.files.usage import INNER, groups_of

__all__ = ["completions"]

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
CHOSEN = re.compile(r"override /(\w+)")  # what an experiment chooses: an option of this group
ADDS = "+"  # before a group that has no default


def completions(begun: str, words: Sequence[str], conf: Path, config: str) -> list[str]:
    """What a word may become; one that ends in `=` or `.` goes on.

    Args:
        begun: The word so far.
        words: Before it, behind the command.
        conf: Folder of configurations.
        config: The command's own, without the ending.

    >>> from mask_sup.files.usage import conf_folder
    >>> completions("detector=p", [], conf_folder(), "train")
    ['detector=patch', 'detector=patch128']
    """
    groups = groups_of((conf / f"{config}.yaml").read_text())
    key, equal, _ = begun.partition("=")
    group = key.lstrip(ADDS)
    found = [f"{'' if default else ADDS}{name}=" for name, default in groups.items()]
    if equal and group in groups:
        found = [f"{key}={path.stem}" for path in (conf / group).glob("*.yaml")]
    elif not begun.startswith(ADDS):
        found += _keys(key, bool(equal), _tree(words, conf, config, groups))
    return sorted({word for word in found if word.startswith(begun)})


def _keys(key: str, valued: bool, tree: Mapping[str, Any]) -> Iterator[str]:
    """Keys beside one, with those above them; of one that has its `=`, the values that it takes."""
    above, _, name = key.rpartition(".")
    for part in above.split(".") if above else ():
        inside = tree.get(part)
        tree = inside if isinstance(inside, Mapping) else {}
    if valued:
        yield from (f"{key}={state}" for state in ("true", "false") if type(tree.get(name)) is bool)
        return
    for inner, value in tree.items():
        if not inner.startswith("_"):
            ending = "." if isinstance(value, Mapping) and value else "="
            yield f"{above}{'.' if above else ''}{inner}{ending}"


def _tree(
    words: Sequence[str], conf: Path, config: str, groups: Mapping[str, str]
) -> dict[str, Any]:
    """The configuration as far as keys go, with the options that `words` choose."""
    said = {key.lstrip(ADDS): value for key, _, value in (word.partition("=") for word in words)}
    chosen = {group: said.get(group, default) for group, default in groups.items()}
    tree = _read(conf / f"{config}.yaml")
    for group in [name for name, default in groups.items() if not default]:
        added = _read(conf / group / f"{chosen.pop(group)}.yaml")
        for line in added.pop("defaults", ()):
            for name, option in line.items() if isinstance(line, dict) else ():
                if (found := CHOSEN.match(name)) and found[1] not in said:
                    chosen[found[1]] = option
        tree = _merged(tree, added)
    for group, option in chosen.items():
        tree = _merged({group: _option(conf / group, option)}, tree)
    return {key: value for key, value in tree.items() if key not in INNER}


def _option(folder: Path, option: str) -> dict[str, Any]:
    """An option of a group, and those of the same group that it begins with."""
    told = _read(folder / f"{option}.yaml")
    for line in told.pop("defaults", ()):
        if isinstance(line, str):
            name, _, place = line.partition("@")
            inside = _option(folder, name)
            for part in reversed(place.split(".") if place else ()):
                inside = {part: inside}
            told = _merged(inside, told)
    return told


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Both; where both have a value, the other's."""
    both = {**one, **other}
    for key in one.keys() & other.keys():
        if isinstance(one[key], Mapping) and isinstance(other[key], Mapping):
            both[key] = _merged(one[key], other[key])
    return both


def _read(path: Path) -> dict[str, Any]:
    try:
        return yaml.load(path.read_text(), LOADER) or {}
    except (OSError, yaml.YAMLError):  # not typed to its end, or somebody's own
        return {}
