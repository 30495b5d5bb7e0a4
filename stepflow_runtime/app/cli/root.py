"""The commands by name. A command's module is imported when it is used, so that help and completion are fast."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from stepflow_runtime import __version__

PROGRAM: Final = "stepflow"

COMMANDS: Final[Mapping[str, str]] = {
    "new": "Make a component server with a flow, tests and a configuration.",
    "run": "Run a flow in this process and print its results.",
    "serve": "Run a runtime that clients and component servers connect to.",
    "dev": "Run a runtime to work with: a console, and component servers that follow their files.",
    "submit": "Submit a run to a runtime that serves.",
    "runs": "Look at runs of a runtime that serves, resume, pause, cancel or delete them.",
    "jobs": "Submit jobs: several runs, one after the other.",
    "schedules": "Have runs submitted at the times of a cron expression.",
    "webhooks": "Have events of runs sent to a URL, signed.",
    "flows": "Check flows, show them, draw them, tell their ids.",
    "blobs": "Store and read content by its hash.",
    "components": "List the components that flows can call.",
    "servers": "List the component servers of a runtime that serves.",
    "test": "Run the test cases that flows bring with them.",
    "db": "Check, copy and migrate the database in which a runtime keeps its state.",
    "doctor": "Check whether everything is there that a runtime needs.",
    "completion": "Print a script that completes commands in your shell.",
}
"""What each does, in a line. The command `x` is `x` in the module `x_command`."""


class LazyGroup(click.Group):
    """A group whose commands are imported one by one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"stepflow_runtime.app.cli.{cmd_name}_command")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from difflib import get_close_matches

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            close = get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"There is no command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
def root(**_: Any) -> None:
    """A durable runtime for component servers: flows over many items, nested runs, results that stay."""
