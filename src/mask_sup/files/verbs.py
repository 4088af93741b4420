"""The tree of commands: how the word that is meant is found, the same for all of them.

A `Command` has options and reads its words itself; `Commands` are several by name, one of which
takes the words that follow; `handing_on` is one whose words are read elsewhere, as Hydra's are.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import click

from mask_sup.files.errors import ABOUT_INPUT, SHOW_WAY, in_words, nearest

__all__ = ["Command", "Commands", "handing_on"]

WIDTH = 100
STOPPED = 130  # exit status of a command that was interrupted, as shells have it


class _Called(click.Command):
    """What `main` of all commands does: called by its full name, it returns when it is done."""

    def main(self, *args: Any, **settings: Any) -> Any:
        settings = {"prog_name": f"mask-sup {self.name}".strip()} | settings
        try:
            return super().main(*args, **settings, standalone_mode=False)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except click.Abort:
            sys.exit(STOPPED)


class Command(_Called):
    """A command of options, whose help is written out in lines.

    Errors about its input are their words alone; `--traceback` shows the way, too.
    """

    def __init__(self, name: str, **settings: Any):
        super().__init__(name, context_settings={"max_content_width": WIDTH}, **settings)
        self.params.append(click.Option([SHOW_WAY], is_flag=True, help="Where an error arose."))

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        shows_way = ctx.params.pop(SHOW_WAY.strip("-"))
        try:
            return super().invoke(ctx)
        except ABOUT_INPUT as error:
            if shows_way:
                raise
            raise SystemExit(in_words(error)) from error

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help as it stands: examples keep their lines."""
        formatter.write(f"\n{(self.help or '').strip()}\n")


class Commands(_Called, click.Group):
    """Commands by name; a wrong name is told with the nearest right one.

    Args:
        name: Of all of them.
        about: What they are for.
        commands: In order.
        usual: The one that runs where the first word is a key or an option.
    """

    def __init__(
        self, name: str, about: str, commands: Mapping[str, click.Command], usual: str | None = None
    ):
        settings = {"max_content_width": WIDTH}
        super().__init__(name, commands=commands, help=about, context_settings=settings)
        self.usual = usual

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In order."""
        return [name for name, command in self.commands.items() if not command.hidden]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The first word is the command; without one, what there is is told."""
        if self.usual and (not args or args[0].startswith("-") or "=" in args[0]):
            args = [self.usual, *args]
        args = args or ["--help"]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple:
        """The command that is meant, and its words."""
        if args[0] not in self.commands:
            hint = nearest(args[0], self.list_commands(ctx))
            raise click.UsageError(f"no command {args[0]!r}: {hint}", ctx)
        return super().resolve_command(ctx, args)


def handing_on(name: str, about: str, run: Callable[[], Any]) -> click.Command:
    """A command whose words are those of the command line for `run`, help among them."""

    def callback(words: tuple[str, ...]) -> None:
        sys.argv[1:] = words
        run()

    return click.Command(
        name,
        callback=callback,
        short_help=about,
        params=[click.Argument(["words"], nargs=-1, type=click.UNPROCESSED)],
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
        add_help_option=False,
    )
