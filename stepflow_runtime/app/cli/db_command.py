"""`stepflow db …`: care for the database of a runtime, also while it serves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from stepflow_runtime.app.cli.age import Age
from stepflow_runtime.app.cli.boundary import CliError, ExitCode, run_async
from stepflow_runtime.app.cli.options import common_options, config_option, storage_option
from stepflow_runtime.app.config import MemoryStorage, SqliteStorage
from stepflow_runtime.app.config_file import obtain_config, override
from stepflow_runtime.services.audit import Audit
from stepflow_runtime.store.garbage import collect_garbage
from stepflow_runtime.store.maintenance import back_up, examine, migrate
from stepflow_runtime.store.view import open_view

F = TypeVar("F", bound=Callable[..., Any])


@click.group("db")
def command() -> None:
    """Check, copy and migrate the database in which a runtime keeps its state."""


def _database_options(function: F) -> F:
    return config_option(storage_option(common_options()(function)))


def _find_database(config_path: Path | None, storage_path: str | None) -> Path:
    match override(obtain_config(config_path), storage_path=storage_path).storage:
        case SqliteStorage(path=path) if path.is_file():
            return path
        case SqliteStorage(path=path):
            raise CliError(f"There is no database {path}; name one with --storage-path, or with --config.")
        case MemoryStorage():
            raise CliError("The configuration keeps state in memory; name a database with --storage-path.")


@command.command("check")
@_database_options
def check_command(config_path: Path | None, storage_path: str | None) -> int:
    """Read everything that is stored, and tell what does not fit together; nothing is changed.

    A runtime may serve meanwhile. Exit code 1 if something is wrong.
    """
    path = _find_database(config_path, storage_path)
    soundness = examine(path)
    for damage in soundness.damages:
        click.echo(f"problem: the file is damaged: {damage}")
    click.echo(f"{path}: schema version {soundness.version}")
    if soundness.version < soundness.latest:
        click.echo(f"The next start, or `stepflow db migrate`, brings it to version {soundness.latest}.")
    if soundness.damages:
        click.echo("Restore a backup, or copy what can be read with `stepflow db backup`.")
        return ExitCode.FAILED
    faults: int = run_async(_audit, path)
    return ExitCode.FAILED if faults else ExitCode.SUCCESS


async def _audit(path: Path) -> int:
    faults = 0
    with open_view(path) as view:
        audit = Audit(view)
        async for fault in audit.find_faults():
            faults += 1
            click.echo(f"problem: {fault}")
    found = f"{faults} {'problem' if faults == 1 else 'problems'}" if faults else "all is well"
    click.echo(f"{audit.runs} runs and {audit.blobs} blobs: {found}.")
    return faults


@command.command("backup")
@click.argument("target", type=click.Path(path_type=Path))
@_database_options
def backup_command(target: Path, config_path: Path | None, storage_path: str | None) -> None:
    """Copy the database to the file TARGET as it is at one moment; a runtime may serve meanwhile."""
    try:
        size = back_up(_find_database(config_path, storage_path), target)
    except FileExistsError as error:
        raise CliError(str(error)) from None
    click.echo(f"{target}: {size} bytes")


@command.command("gc")
@click.option(
    "--keep",
    "keep_s",
    type=Age(),
    default="24h",
    show_default=True,
    metavar="AGE",
    help="What was put within this time stays, like 30d, 12h or 45m.",
)
@click.option("--dry-run", is_flag=True, help="Remove nothing, only tell what would be.")
@_database_options
def gc_command(keep_s: int, dry_run: bool, config_path: Path | None, storage_path: str | None) -> None:
    """Remove blobs that no run can reach and that were not put lately; no runtime may have the database.

    What a run can reach is its flow, and every blob that is named in what is stored of it, or in such a blob.
    """
    collected = collect_garbage(_find_database(config_path, storage_path), keep_s=keep_s, pretend=dry_run)
    verb = "would be removed" if dry_run else "removed"
    click.echo(f"{collected.removed} blobs of {collected.removed_bytes} bytes {verb}, {collected.kept} kept.")


@command.command("migrate")
@_database_options
def migrate_command(config_path: Path | None, storage_path: str | None) -> None:
    """Bring the database to the schema of this release, as the next start would; make a backup first."""
    path = _find_database(config_path, storage_path)
    before, after = migrate(path)
    done = f"is at schema version {after} already" if before == after else f"went from version {before} to {after}"
    click.echo(f"{path} {done}.")
