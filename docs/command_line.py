"""The reference of the command line, from the commands themselves; `generate` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import click

from stepflow_runtime.app.cli.root import PROGRAM, root

COMMON: Final = ("--help", "--verbose", "--log-level", "--log-format")
"""Options of nearly every command, which are told once."""


def write_cli() -> Iterator[str]:
    """The lines of the page."""
    yield "# Command line"
    yield "`stepflow COMMAND --help` says the same, and `stepflow completion` completes it in your shell."
    yield (
        "Exit codes: 0 success, 1 the run failed, 2 wrong use, 3 cannot connect, 4 the run was cancelled, "
        "130 interrupted. Every command takes `--verbose`, which shows tracebacks, `--log-level` "
        "(`STEPFLOW_LOG_LEVEL`) and `--log-format` (`STEPFLOW_LOG_FORMAT`)."
    )
    context = click.Context(root, info_name=PROGRAM)
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        assert command is not None
        yield from _write_command(command, f"{PROGRAM} {name}", context)


def _write_command(command: click.Command, name: str, parent: click.Context) -> Iterator[str]:
    context = click.Context(command, parent, info_name=name.rpartition(" ")[2])
    members = command.commands if isinstance(command, click.Group) else {}
    yield f"{'##' if name.count(' ') == 1 else '###'} {name}"
    if not members:
        yield f"`{' '.join([name, *command.collect_usage_pieces(context)])}`"
    yield _flow(command.help or "")
    options = [p for p in command.params if isinstance(p, click.Option) and not set(p.opts) & set(COMMON)]
    if options:
        yield "| option | |"
        yield "|---|---|"
        yield from (_write_option(option) for option in options)
    for member_name, member in sorted(members.items()):
        yield from _write_command(member, f"{name} {member_name}", context)


def _write_option(option: click.Option) -> str:
    names = ", ".join(option.opts)
    value = "" if option.is_flag else " " + (option.metavar or _describe(option.type)).replace("|", "\\|")
    facts = [_flow(option.help or "")]
    if option.show_default and option.default is not None and not option.is_flag:
        facts.append(f"Default: {option.default}.")
    if option.envvar:
        facts.append(f"Environment: `{option.envvar}`.")
    return f"| `{names}{value}` | {' '.join(facts)} |".replace("\n", " ")


def _describe(kind: Any) -> str:
    return "/".join(map(str, kind.choices)) if isinstance(kind, click.Choice) else str(kind.name).upper()


def _flow(text: str) -> str:
    """Text without the line ends that the source has."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n")).replace("|", "\\|")
