"""`/metrics`: what the runtime can tell of itself and of its component servers, in the text format of Prometheus."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from protocol.methods import LIST_SERVERS
from protocol.observing import ListServersResult, ServerInfo, ServerState
from protocol.types import Empty
from stepflow_runtime import __version__
from stepflow_runtime.web.gateway import Gateway

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})

Sample = tuple[dict[str, str], float]


class Metrics:
    """`GET /metrics`.

    Args:
        gateway: Calls the runtime.
        find_hindrance: Why no work is taken now, or `None`.
    """

    def __init__(self, gateway: Gateway, find_hindrance: Callable[[], str | None]) -> None:
        self._gateway = gateway
        self._find_hindrance = find_hindrance

    async def get(self, request: Request) -> Response:
        found: ListServersResult = await self._gateway.call(LIST_SERVERS, Empty(), request.scope["role"])
        is_ready = self._find_hindrance() is None
        own: list[Sample] = [({"version": __version__}, 1)]
        lines = [
            *_write("stepflow_build_info", "gauge", "The version that runs.", own),
            *_write("stepflow_ready", "gauge", "Whether work is taken.", [({}, is_ready)]),
            *_write_servers(found.servers),
            *_write_process(),
        ]
        return Response("\n".join([*lines, ""]), media_type=MEDIA_TYPE)


def _write_servers(servers: Iterable[ServerInfo]) -> Iterator[str]:
    named = [({"plugin": server.plugin, "server": server.name}, server) for server in servers]
    up: list[Sample] = [(labels, server.state is ServerState.READY) for labels, server in named]
    load: list[Sample] = [(labels, server.in_flight) for labels, server in named]
    most: list[Sample] = [(labels, server.max_in_flight or 0) for labels, server in named]
    yield from _write("stepflow_server_up", "gauge", "Whether a component server takes executions.", up)
    yield from _write("stepflow_server_in_flight", "gauge", "Executions in flight at a component server.", load)
    yield from _write("stepflow_server_max_in_flight", "gauge", "How many it takes at once.", most)


def _write_process() -> Iterator[str]:
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu: list[Sample] = [({}, used.ru_utime + used.ru_stime)]
    yield from _write("process_cpu_seconds_total", "counter", "Time that the runtime has computed, in seconds.", cpu)
    statm, fds = Path("/proc/self/statm"), Path("/proc/self/fd")
    if statm.exists():  # Linux
        resident = int(statm.read_text().split()[1]) * resource.getpagesize()
        yield from _write("process_resident_memory_bytes", "gauge", "Memory in use, in bytes.", [({}, resident)])
        yield from _write("process_open_fds", "gauge", "Open descriptors.", [({}, len(os.listdir(fds)))])


def _write(name: str, kind: str, help: str, samples: Iterable[Sample]) -> Iterator[str]:
    yield f"# HELP {name} {help}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        written = ",".join(f'{label}="{text.translate(_ESCAPES)}"' for label, text in labels.items())
        yield f"{name}{{{written}}} {float(value):g}" if written else f"{name} {float(value):.15g}"
