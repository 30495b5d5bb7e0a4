"""`stepflow new`: a folder to begin with: components, a flow that calls them, tests, configuration."""

from __future__ import annotations

import re
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

import click

from stepflow_runtime.app.cli.boundary import CliError
from stepflow_runtime.app.cli.options import common_options
from stepflow_runtime.app.logging import LogLevel

SUFFIX: Final = ".template"
PLACEHOLDER: Final = "NAME"
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]*")


@click.command("new")
@click.argument("folder", metavar="NAME", type=click.Path(path_type=Path))
@common_options(LogLevel.WARNING)
def command(folder: Path) -> None:
    """Make a component server with a flow, tests and a configuration, in a new folder NAME.

    All of it works as it is: its README says which commands test it and run it.
    """
    name = check_name(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CliError(f"{folder} is there already and not empty; take another name.")
    written = sorted(write_project(folder, name))
    for path in written:
        click.echo(f"{folder / path}")
    click.echo(f"\nNext: cd {folder}; python -m pytest; stepflow run flow.yaml --inputs inputs.jsonl; stepflow dev")


def check_name(folder: Path) -> str:
    """What the project is called: the last part of its path.

    Raises:
        CliError: Components could not be called so.
    """
    name = folder.resolve().name
    if _NAME.fullmatch(name) is None:
        raise CliError(
            f"{name!r} cannot be part of the name of a component; "
            "take small letters, digits, - and _, with a letter first."
        )
    return name


def write_project(folder: Path, name: str) -> list[Path]:
    """Writes all files.

    Returns:
        Their paths within the folder.
    """
    template = resources.files("stepflow_runtime.app") / "project"
    return _write(template, folder, Path(), name)


def _write(source: Traversable, folder: Path, within: Path, name: str) -> list[Path]:
    (folder / within).mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for entry in source.iterdir():
        if entry.is_dir():
            written += _write(entry, folder, within / entry.name, name)
        elif entry.name.endswith(SUFFIX):
            path = within / entry.name.removesuffix(SUFFIX)
            (folder / path).write_text(entry.read_text(encoding="utf-8").replace(PLACEHOLDER, name), encoding="utf-8")
            written.append(path)
    return written
