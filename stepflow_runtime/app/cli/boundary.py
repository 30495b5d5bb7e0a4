"""Where everything that goes wrong becomes a sentence on stderr and an exit code.

A user's error never shows a traceback, unless `--verbose` asks for it.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from enum import IntEnum
from typing import Any, Final, cast

import click

from protocol.errors import ErrorCode, LinkClosed, RpcError
from protocol.vocabulary import Vocabulary


class ExitCode(IntEnum):
    """What the process tells whoever started it."""

    SUCCESS = 0
    FAILED = 1
    """The run failed, or something inside."""
    USAGE = 2
    CANNOT_CONNECT = 3
    CANCELLED = 4
    """The run was cancelled."""
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    """Nobody reads what is written, as a process tells that SIGPIPE ends."""


class CliError(Exception):
    """What the user has to know, and the exit code.

    Args:
        message: One sentence that says what is wrong and what to do.
    """

    def __init__(self, message: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.code = code


class Settings:
    """What holds for the whole program; the options that set it may stand after any command."""

    def __init__(self) -> None:
        self.verbose = False
        self.vocabulary: Vocabulary | None = None


_ADVICE: Final = {
    "run": "`stepflow runs list` shows those that there are",
    "job": "`stepflow jobs list` shows those that there are",
    "schedule": "`stepflow schedules list` shows those that there are",
    "webhook": "`stepflow webhooks list` shows those that there are",
    "suspension": "`stepflow runs get RUN` shows what waits",
}
"""What to do if there is no such thing."""

_TROUBLE_INSIDE: Final = frozenset({ErrorCode.INTERNAL_ERROR, ErrorCode.REQUEST_CANCELLED, ErrorCode.THROTTLED})


def run_command(argv: Sequence[str] | None) -> int:
    """Does what was typed.

    Returns:
        The exit code.
    """
    from stepflow_runtime.app.cli.root import PROGRAM, root

    settings = Settings()
    try:
        result = root.main(
            args=None if argv is None else list(argv), prog_name=PROGRAM, standalone_mode=False, obj=settings
        )
        sys.stdout.flush()
        return int(result or 0)
    except click.Abort:
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except BaseException as error:
        leaves = list(find_leaves(error))
        if any(isinstance(leaf, BrokenPipeError) for leaf in leaves):
            _give_up_stdout()
            return ExitCode.BROKEN_PIPE
        if settings.verbose:
            traceback.print_exception(error)
        if any(isinstance(leaf, SystemExit | GeneratorExit) for leaf in leaves):
            raise
        message, code = _explain(leaves)
        if message:
            click.echo(f"stepflow: {message}", err=True)
        return code


def run_async(work: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Runs a command's coroutine and returns what it returns: an exit code, or nothing."""
    import trio

    return trio.run(work, *args)


def warn(sentences: Iterable[str]) -> None:
    """What is odd, but refuses nothing."""
    for sentence in sentences:
        click.echo(f"warning: {sentence}", err=True)


def _give_up_stdout() -> None:
    """What is still buffered has nowhere to go, and would be tried again at exit."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def find_leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group of them, those that matter most first."""
    if isinstance(error, BaseExceptionGroup):
        members = cast("BaseExceptionGroup[BaseException]", error).exceptions
        leaves = [leaf for member in members for leaf in find_leaves(member)]
        yield from sorted(leaves, key=lambda leaf: isinstance(leaf, LinkClosed))
    else:
        yield error


def _explain(leaves: Sequence[BaseException]) -> tuple[str, ExitCode]:
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
        return "", ExitCode.INTERRUPTED
    error = leaves[0]
    match error:
        case CliError():
            return str(error), error.code
        case RpcError():
            return _describe_rpc_error(error), ExitCode.FAILED if error.code in _TROUBLE_INSIDE else ExitCode.USAGE
        case LinkClosed():
            return str(error), ExitCode.CANNOT_CONNECT
        case _ if _is_users(error):
            return str(error), ExitCode.USAGE
        case _:
            what = f"{type(error).__name__}: {error}"
            return f"Something failed inside stepflow ({what}); --verbose shows where.", ExitCode.FAILED


def _is_users(error: BaseException) -> bool:
    from stepflow_runtime.app.config import ConfigError
    from stepflow_runtime.ports import StoreCorrupt, StoreUnavailable

    return isinstance(error, ConfigError | StoreUnavailable | StoreCorrupt)


def _describe_rpc_error(error: RpcError) -> str:
    issues = error.data.get("issues")
    if not isinstance(issues, list) or len(issues) < 2:  # pyright: ignore[reportUnknownArgumentType]
        advice = _find_advice(error)
        return error.message if advice is None else f"{error.message.rstrip('.')}; {advice}."
    lines = [f"  {issue.get('path') or '/'}: {issue.get('message')}" for issue in issues]  # pyright: ignore
    return "\n".join([error.message, *lines])


def _find_advice(error: RpcError) -> str | None:
    match error.code:
        case ErrorCode.RUN_NOT_FOUND:
            return _ADVICE["run"]
        case ErrorCode.NOT_SUSPENDED if not error.data.get("available"):
            return _ADVICE["suspension"]
        case ErrorCode.NOT_FOUND if "deliveryId" not in error.data:
            return _ADVICE.get(str(error.data.get("kind")))
        case _:
            return None
