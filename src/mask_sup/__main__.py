"""mask-sup <command> ...: one word for all that the package does; python -m mask_sup is the same.

A command's own module runs as `python -m mask_sup.<command>` would: nothing is loaded before one is
chosen.
"""

import platform
import runpy
from functools import partial
from importlib.metadata import version

import click

from mask_sup.files.verbs import Commands, handing_on

__all__ = ["COMMANDS", "main"]

# Heading -> command, with the word after it where there is one -> what it does.
COMMANDS = {
    "Your own recordings": {
        "new": "a project from a folder of videos, their calibration and masks",
        "masks": "foreground masks of videos",
        "masks check": "which of them are bad",
        "sync": "by how many frames cameras that were started by hand are apart",
        "calibration convert": "cameras.json from the files of other programs",
        "calibration check": "which camera is wrong, and how, told by the masks",
        "calibration refine": "cameras that agree with the masks",
        "predict": "3D poses of pictures, videos or recordings, with no training",
        "report": "poses as a page to look at, and what not to trust in them",
        "export": "poses as BVH, TRC, C3D, CSV, JSON, COCO or Rerun",
    },
    "Recordings to try it on": {
        "fetch": "a public one of four cameras",
        "film": "one of an embedded body, with a mistake to find and its answer",
    },
    "Data sets": {
        "prepare h36m": "Human3.6M, as downloaded, into the store that training reads",
        "prepare 3dhp": "MPI-INF-3DHP",
        "prepare tiktok": "TikTok",
        "prepare mpii": "MPII",
        "shard": "such a store as a few large archives",
    },
    "Training": {
        "look": "what a training would read: counts, sizes, a sheet of pictures",
        "train": "a detector from masks alone",
        "evaluate": "figures of a checkpoint on a split that has labels",
    },
    "This installation": {
        "doctor": "what is installed, what is missing, and what to do about it",
        "completion bash": 'Tab completes words: eval "$(mask-sup completion bash)"',
        "completion zsh": "the same in zsh",
    },
}
FIRST_HOUR = """\
The first hour:
  mask-sup predict input=<pictures> masks=<masks>   a skeleton on each, by the packaged detector
  mask-sup new man --videos <folder>                a project of your own calibrated recording
  mask-sup train +experiment=quickstart             the laptop recipe on data that it draws itself

mask-sup <command> --help tells the keys of a command; python -m mask_sup.<command> is the same.
"""


class _Front(Commands):
    """The commands by heading."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(f"{self.help}\n")
        for heading, told in COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl(list(told.items()))
        formatter.write(f"\n{FIRST_HOUR}")


def _run(word: str) -> None:
    """What `python -m mask_sup.<word>` does."""
    runpy.run_module(f"mask_sup.{word}", run_name="__main__", alter_sys=True)


def _versions(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    """Print what runs here: ours, PyTorch's, Python's, and the device that it would take."""
    if not asked:
        return
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    click.echo(
        f"mask-sup {version('mask-sup')}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, device {device}"
    )
    ctx.exit()


WORDS = dict.fromkeys(word.split()[0] for told in COMMANDS.values() for word in told)
main = _Front(
    "",
    "3D human pose from masks alone.",
    {word: handing_on(word, "", partial(_run, word)) for word in WORDS},
)
main.params.append(
    click.Option(["--version"], is_flag=True, is_eager=True, expose_value=False, callback=_versions)
)

if __name__ == "__main__":
    main()
