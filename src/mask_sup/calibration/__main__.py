"""mask-sup calibration <command> key=value ...: the first word is the command.

Each command is a function of one configuration, conf/calibration_<command>.yaml.
"""

from collections.abc import Callable
from importlib import import_module

from omegaconf import DictConfig

from mask_sup.files.ranges import check_ranges
from mask_sup.files.verbs import Commands, handing_on
from mask_sup.files.words import command

# Where the function of that name is, imported when it runs, so that help is quick; what it does.
COMMANDS = {
    "convert": ("mask_sup.calibration.convert", "Cameras from the files of other programs."),
    "check": ("mask_sup.calibration.from_masks", "Which camera is wrong, and how, by the masks."),
    "refine": ("mask_sup.calibration.from_masks", "Cameras that agree with the masks."),
}


def _runs(word: str, module: str, about: str) -> Callable[[], None]:
    """A command of one configuration."""

    def run(cfg: DictConfig) -> None:
        check_ranges(cfg)
        getattr(import_module(module), word)(cfg)

    run.__doc__ = about
    return command(f"calibration_{word}", f"calibration {word}")(run)


main = Commands(
    "calibration",
    "Cameras: read from the files of other programs, and held against masks.",
    {
        word: handing_on(word, about, _runs(word, module, about))
        for word, (module, about) in COMMANDS.items()
    },
)

if __name__ == "__main__":
    main()
