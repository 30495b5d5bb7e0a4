"""Component servers whose source files change are started anew, while the runs go on: what `stepflow dev` does.

It knows files and plugins. How one server gives way to the next is the business of `connect.supervisor`; what is
watched is watchfiles', which is imported here only when there is something to watch.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

import trio
from msgspec import UNSET, Struct

from stepflow_runtime.app.config import Config, McpProcessConfig, StdioConfig
from stepflow_runtime.app.runtime import Runtime
from stepflow_runtime.model.outcome import Failure

QUIET_MS: Final = 100
"""Files that are saved so soon after each other are one change."""

GATHER_MS: Final = 1_000
"""After so long a change is acted upon even if more files are still being saved."""

SHOWN_LINES: Final = 20
"""How much is shown of what a server that does not start wrote to its stderr."""

Report = Callable[[str], None]


class Sources(Struct, frozen=True):
    """What a plugin's servers are made of.

    Args:
        plugin: Its name.
        folder: Where they run; every Python file beneath it belongs to them.
        files: Those that their command names, wherever they are and whatever they are written in.
    """

    plugin: str
    folder: Path
    files: frozenset[Path]

    def include(self, path: Path) -> bool:
        """Whether a file that changed is one of them."""
        return path in self.files or path.is_relative_to(self.folder)


def find_sources(config: Config) -> list[Sources]:
    """The sources of all plugins whose servers are processes of ours."""
    found: list[Sources] = []
    for name, plugin in config.plugins.items():
        process = plugin.process if isinstance(plugin, McpProcessConfig) else plugin
        if isinstance(process, StdioConfig):
            folder = process.cwd.resolve()
            named = [(folder / word).resolve() for word in process.args if not word.startswith("-")]
            found.append(Sources(name, folder, frozenset(path for path in named if path.is_file())))
    return found


def _find_settings(config: Config) -> set[Path]:
    return {Path(config.source).resolve()} if config.source else set()


async def reload_on_change(runtime: Runtime, report: Report) -> None:
    """Starts the servers of a plugin anew whenever its sources change, until it is cancelled.

    Args:
        runtime: It runs.
        report: Is told, a line for each, what changed and what became of it.
    """
    sources, settings = find_sources(runtime.config), _find_settings(runtime.config)
    try:
        async with _watch(sources, settings) as changes:
            async for changed in changes:
                if settings & set(changed):
                    report(f"{_name(settings)} changed; stop stepflow dev and start it again to have it read")
                for one in sources:
                    ours = [path for path in changed if one.include(path) and path not in settings]
                    if ours:
                        await _restart(runtime, one.plugin, _name(ours), report)
    except OSError as error:
        report(f"Files are not watched any more ({error}); WATCHFILES_FORCE_POLLING=1 has them looked at instead.")


async def _restart(runtime: Runtime, plugin: str, changed: str, report: Report) -> None:
    began = time.monotonic()
    failure = await runtime.restart_servers(plugin, f"{changed} changed")
    if failure is None:
        report(f"{changed} changed: {plugin} restarted in {time.monotonic() - began:.1f} s")
    else:
        report(f"{changed} changed, but {plugin} does not start:")
        for line in _explain(failure):
            report(f"    {line}")
        report(f"{plugin} goes on as it was; save the file again when it is mended")


def _explain(failure: Failure) -> Sequence[str]:
    data = cast("dict[str, Any]", {} if failure.data is UNSET else failure.data)
    return str(data.get("stderr") or failure.message).splitlines()[-SHOWN_LINES:]


@asynccontextmanager
async def _watch(
    sources: Iterable[Sources], settings: set[Path]
) -> AsyncGenerator[AsyncGenerator[Sequence[Path], None]]:
    """Gives the paths that change, those of one moment together, in order.

    Raises:
        OSError: The system watches no more files for us.
    """
    from watchfiles import Change, PythonFilter, awatch

    logging.getLogger("watchfiles").setLevel(logging.WARNING)  # what matters of it is told in our words
    named = settings.union(*(one.files for one in sources))
    folders = {one.folder for one in sources} | {path.parent for path in settings}
    beside = [path for path in named if not any(path.is_relative_to(folder) for folder in folders)]
    is_python, stopped = PythonFilter(), trio.Event()

    def is_source(change: Change, path: str) -> bool:
        return is_python(change, path) or Path(path) in named

    async def follow() -> AsyncGenerator[Sequence[Path]]:
        watching = awatch(
            *folders,
            *beside,
            watch_filter=is_source,
            debounce=GATHER_MS,
            step=QUIET_MS,
            stop_event=stopped,
            ignore_permission_denied=True,
        )
        async with aclosing(watching):
            async for changes in watching:
                yield sorted({Path(path) for _, path in changes})

    async with trio.open_nursery() as nursery, aclosing(follow()) as changes:
        nursery.start_soon(_set_when_cancelled, stopped)
        yield changes
        nursery.cancel_scope.cancel()


async def _set_when_cancelled(stopped: trio.Event) -> None:
    """The thread that waits for changes cannot be cancelled, but told."""
    try:
        await trio.sleep_forever()
    finally:
        stopped.set()


def _name(paths: Iterable[Path]) -> str:
    """How a change is told: `server.py`, or `server.py and 2 more`."""
    first, *rest = sorted(paths)
    here = Path.cwd()
    shown = str(first.relative_to(here) if first.is_relative_to(here) else first)
    return f"{shown} and {len(rest)} more" if rest else shown
