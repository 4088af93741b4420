"""python -m mask_sup.calibration <command> key=value ...: the first word is the command.

Each command is a function of one configuration, conf/calibration_<command>.yaml.
"""

import sys
from importlib import import_module

from omegaconf import DictConfig

from mask_sup.files.ranges import check_ranges
from mask_sup.files.words import command

# Where the function of that name is, imported when it runs, so that help is quick; what it does.
COMMANDS = {
    "convert": ("mask_sup.calibration.convert", "Cameras from the files of other programs."),
    "check": ("mask_sup.calibration.from_masks", "Which camera is wrong, and how, by the masks."),
    "refine": ("mask_sup.calibration.from_masks", "Cameras that agree with the masks."),
}
USAGE = f"""usage: python -m mask_sup.calibration <command> key=value ...

commands: {", ".join(COMMANDS)}; python -m mask_sup.calibration <command> --help tells the keys"""


def main() -> None:
    """Take the command off the command line and run it."""
    word = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if word in ("-h", "--help"):
        print(USAGE)
        return
    if word not in COMMANDS:
        raise SystemExit(f"no command {word!r}\n{USAGE}")
    del sys.argv[1]

    module, about = COMMANDS[word]

    def run(cfg: DictConfig) -> None:
        check_ranges(cfg)
        getattr(import_module(module), word)(cfg)

    run.__doc__ = about
    command(f"calibration_{word}", f"calibration {word}")(run)()


if __name__ == "__main__":
    main()
