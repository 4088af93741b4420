"""mask-sup completion bash|zsh: the script by which a shell completes words of mask-sup."""

import shlex
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from mask_sup.files.verbs import Command, Commands

__all__ = ["completed"]

# The shells give the line up to where the cursor is, and get a word a line: a space at its end
# where it is complete. bash breaks words at = itself, so it gets what comes behind it alone.
BASH = """\
_mask_sup() {
    local IFS=$'\\n'
    COMPREPLY=($(mask-sup completion words bash "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
}
complete -o default -o nospace -F _mask_sup mask-sup"""
ZSH = """\
#compdef mask-sup
_mask_sup() {
    local -a found
    local word
    found=(${(f)"$(mask-sup completion words zsh "${(j: :)words[1,CURRENT]}" 2>/dev/null)"})
    (( $#found )) || { compset -P '*='; _files; return }
    for word in $found; do
        if [[ $word == *' ' ]]; then compadd -Q -- "${word% }"
        else compadd -Q -S '' -- "$word"; fi
    done
}
compdef _mask_sup mask-sup"""
GOES_ON = ("=", ".")
CONFIGS = {"masks check": "check_masks"}  # that are not called like their command


def completed(words: Sequence[str], begun: str) -> list[str]:
    """What a word of `mask-sup ...` may become.

    Args:
        words: Before it, behind mask-sup.
        begun: The word so far.
    """
    from mask_sup.__main__ import COMMANDS

    tree = [word.split() for told in COMMANDS.values() for word in told]
    if not words:
        return sorted({word for word, *_ in tree if word.startswith(begun)})
    inner = [more[0] for word, *more in tree if word == words[0] and more]
    verb = words[:2] if len(words) > 1 and words[1] in inner else words[:1]
    found = []
    if len(verb) == len(words) == 1:
        found = [word for word in inner if word.startswith(begun)]
    if (len(verb) > 1 or not inner or words[0] == "masks") and "=" not in words[0]:
        found += _words_of(list(verb), words[len(verb) :], begun)
    return found


def _words_of(verb: list[str], words: Sequence[str], begun: str) -> list[str]:
    """Of a command of options, these; of one of a configuration, its keys and groups."""
    from mask_sup.files.complete import completions
    from mask_sup.files.usage import conf_folder

    conf, config = conf_folder(), CONFIGS.get(" ".join(verb), "_".join(verb))
    if (conf / f"{config}.yaml").is_file():
        return completions(begun, words, conf, config)
    module = (
        verb[0] if (Path(__file__).parent / f"{verb[0]}.py").is_file() else f"{verb[0]}.__main__"
    )
    command: Any = import_module(f"mask_sup.{module}").main
    command = command.commands[verb[1]] if len(verb) > 1 else command
    known = {option: one for one in command.params for option in one.opts if option.startswith("-")}
    if words and words[-1] in known:
        choices = getattr(known[words[-1]].type, "choices", ())
        return [choice for choice in choices if choice.startswith(begun)]
    return sorted(option for option in (*known, "--help") if begun and option.startswith(begun))


def _print_words(shell: str, line: str) -> None:
    """What the last word of a line may become, as this shell takes it."""
    try:
        typed = shlex.split(line)
    except ValueError:  # within quotes
        typed = line.split()
    typed, begun = (typed, "") if line.endswith(" ") else (typed[:-1], typed[-1])
    for word in completed(typed[1:], begun):
        shown = word.rpartition("=")[2] if shell == "bash" and "=" in begun else word
        print(shown + " " * (not word.endswith(GOES_ON)))


def _prints(shell: str, script: str, where: str) -> Command:
    return Command(
        shell,
        callback=lambda: print(script),
        help=f'The script for {shell}: put eval "$(mask-sup completion {shell})" into {where}.',
    )


main = Commands(
    "completion",
    "Let the shell complete commands, keys, groups and their options.",
    {
        "bash": _prints("bash", BASH, "~/.bashrc"),
        "zsh": _prints("zsh", ZSH, "~/.zshrc"),
        "words": Command(
            "words",
            callback=_print_words,
            params=[click.Argument(["shell"]), click.Argument(["line"])],
            hidden=True,
            help="What the last word of a line may become.",
        ),
    },
)

if __name__ == "__main__":
    main()
