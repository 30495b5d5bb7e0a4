"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import uuid4

import click

from protocol.vocabulary import VOCABULARIES, Vocabulary
from stepflow_runtime.app.cli.boundary import Settings
from stepflow_runtime.app.logging import LogLevel, configure_logging

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_ADDRESS: Final = "127.0.0.1:7837"


class Format(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


class LogFormat(StrEnum):
    """How log lines are written."""

    AUTO = "auto"
    JSON = "json"
    PRETTY = "pretty"


def request_option(function: F) -> F:
    """`--request-id`, which is a new one unless it is given."""
    option = click.option(
        "--request-id",
        metavar="ID",
        default=lambda: uuid4().hex,
        help="What is asked twice under the same id is done once; default, a new one.",
    )
    return option(function)


def _set_verbose(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and isinstance(ctx.obj, Settings):
        ctx.obj.verbose = True


def _set_logging(ctx: click.Context, option: click.Parameter, value: str) -> None:
    """Sets up logs with what is known until now; the other option has its say when it is read."""
    if not ctx.resilient_parsing:
        ctx.meta[option.name or ""] = value
        wanted = ctx.meta.get("log_format", LogFormat.AUTO)
        pretty = None if wanted == LogFormat.AUTO else wanted == LogFormat.PRETTY
        configure_logging(LogLevel(ctx.meta.get("log_level", LogLevel.WARNING)), pretty=pretty)


def common_options(log_level: LogLevel = LogLevel.WARNING) -> Callable[[F], F]:
    """`--verbose`, `--log-level` and `--log-format`.

    Args:
        log_level: What is logged by default.
    """

    def add(function: F) -> F:
        verbose = click.option(
            "--verbose",
            "-v",
            is_flag=True,
            expose_value=False,
            callback=_set_verbose,
            help="Show tracebacks of errors.",
        )
        level = click.option(
            "--log-level",
            type=click.Choice([level.value for level in LogLevel]),
            default=log_level.value,
            show_default=True,
            envvar="STEPFLOW_LOG_LEVEL",
            show_envvar=True,
            expose_value=False,
            is_eager=True,
            callback=_set_logging,
            help="What is logged on stderr.",
        )
        form = click.option(
            "--log-format",
            type=click.Choice([form.value for form in LogFormat]),
            default=LogFormat.AUTO.value,
            show_default=True,
            envvar="STEPFLOW_LOG_FORMAT",
            show_envvar=True,
            expose_value=False,
            is_eager=True,
            callback=_set_logging,
            help="How: for people, or a JSON object a line; auto asks whether stderr is a terminal.",
        )
        return verbose(level(form(function)))

    return add


def _read_format(_: click.Context, __: click.Parameter, value: str | None) -> Format | None:
    return Format(value) if value else None


def _set_vocabulary(ctx: click.Context, _: click.Parameter, value: Vocabulary | None) -> None:
    if isinstance(ctx.obj, Settings):
        ctx.obj.vocabulary = value


def vocabulary_option(function: F) -> F:
    """`--vocabulary`: how runs are is told in the words of another system."""
    return click.option(
        "--vocabulary",
        type=click.Choice(VOCABULARIES),
        expose_value=False,
        callback=_set_vocabulary,
        help="Tell a run's status in the words of another system.",
    )(function)


def output_option(default: Format | None = Format.TABLE) -> Callable[[F], F]:
    """`-o`; the parameter is `output`."""
    return click.option(
        "--output",
        "-o",
        type=click.Choice([form.value for form in Format]),
        default=default.value if default else None,
        show_default=default is not None,
        callback=_read_format,
        help="How to print what is found, on stdout.",
    )


def url_option(function: F) -> F:
    """`--url`: the address of a runtime that serves."""
    return click.option(
        "--url",
        default=DEFAULT_ADDRESS,
        show_default=True,
        envvar="STEPFLOW_URL",
        show_envvar=True,
        metavar="HOST:PORT",
        help="The runtime to talk to; also tls://HOST:PORT or unix:/PATH.",
    )(function)


def config_option(function: F) -> F:
    """`--config`; the parameter is `config_path`."""
    return click.option(
        "--config",
        "-c",
        "config_path",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The configuration. Else STEPFLOW_CONFIG, a stepflow-config.yml beside the flow or here, or the defaults.",
    )(function)


def flow_argument(function: F) -> F:
    """`FLOW`: a file; the parameter is `flow`."""
    return click.argument("flow", metavar="FLOW", type=click.Path(path_type=Path))(function)


def storage_option(function: F) -> F:
    """`--storage-path`, over what the configuration says."""
    return click.option(
        "--storage-path",
        envvar="STEPFLOW_STORAGE_PATH",
        show_envvar=True,
        metavar="FILE",
        help="Where state lies, instead of what the configuration says; `:memory:` keeps none.",
    )(function)
