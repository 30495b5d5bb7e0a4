"""The client for trio: scripts and tools that submit runs. `sync` has the same, blocking.

async with open_client("127.0.0.1:7837") as client:
    run = await client.start("flow.yaml", inputs=rows)
    async for entry in run.results(order="byCompletion"):
        ...
"""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Unpack

import trio
from msgspec import Raw

from component_sdk.access import RunOptions
from component_sdk.address import DEFAULT_ADDRESS, read_token
from component_sdk.automation import AutomationAccess
from component_sdk.caller import Caller
from component_sdk.codec import encode
from component_sdk.connection import Connection, Dial, Spawner, dial_address
from component_sdk.flow_file import FlowSource, load_flow
from component_sdk.following import WaitForName
from component_sdk.paging import Paged
from component_sdk.run import Run
from protocol import methods
from protocol.flows import FlowParams, ValidateFlowResult
from protocol.observing import ListServersResult, ServerInfo
from protocol.runs import ListRunsParams, ListRunsResult, RunState, RunStatus
from protocol.types import Empty

PATIENCE_S = 60.0


class Client(AutomationAccess):
    """A runtime, seen from outside; see `open_client`.

    Args:
        caller: Takes requests there, and repeats those that are lost.
    """

    __slots__ = ()

    def __init__(self, caller: Caller) -> None:
        super().__init__(caller)

    async def submit_run(
        self,
        flow_id: str | None = None,
        inputs: Iterable[object] = (),
        *,
        flow: FlowSource | None = None,
        wait: bool = False,
        wait_for: WaitForName | None = None,
        timeout_s: float | None = None,
        **options: Unpack[RunOptions],
    ) -> RunStatus:
        """As in a component, see `RuntimeAccess.submit_run`; without a key of yours the submission gets one, so that
        it can be repeated when the connection is lost."""
        return await super().submit_run(
            flow_id,
            inputs,
            flow=flow,
            wait=wait,
            wait_for=wait_for,
            timeout_s=timeout_s,
            **_make_repeatable(options),
        )

    async def start(self, flow: FlowSource, inputs: Iterable[object] = (), **options: Unpack[RunOptions]) -> Run:
        """As in a component, see `RuntimeAccess.start`; repeatable like `submit_run`."""
        return await super().start(flow, inputs, **_make_repeatable(options))

    async def validate_flow(self, flow: FlowSource, *, types: bool = False) -> ValidateFlowResult:
        """Check a flow without storing it.

        Args:
            flow: The path of a YAML or JSON file, a flow as data, or a builder.
            types: Also infer what each step is given and gives, and check that its component takes it. That asks the
                component servers.

        Returns:
            The findings, each with its place; the types, if they were wanted and the flow can run.
        """
        params = FlowParams(Raw(encode(load_flow(flow))), types or None)
        result: ValidateFlowResult = await self._caller.call(methods.VALIDATE_FLOW, params)
        return result

    def get_run(self, run_id: str) -> Run:
        """A handle on a run; it is not looked up before something is asked."""
        return Run(self._caller, run_id)

    def list_runs(
        self,
        *,
        status: RunState | str | None = None,
        flow_id: str | None = None,
        flow_name: str | None = None,
        parent_run_id: str | None = None,
        root_run_id: str | None = None,
        job_run_id: str | None = None,
        labels: Mapping[str, str] | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
    ) -> Paged[RunStatus]:
        """Runs, newest first, over all pages.

        Args:
            status: Only runs in this state; the others narrow in the same way.
            created_after: With a time zone; also `created_before`.
        """
        params = ListRunsParams(
            status=None if status is None else RunState(status),
            flow_id=flow_id,
            flow_name=flow_name,
            parent_run_id=parent_run_id,
            root_run_id=root_run_id,
            job_run_id=job_run_id,
            labels=None if labels is None else dict(labels),
            created_after=_format_time(created_after),
            created_before=_format_time(created_before),
        )
        return Paged(_RunPages(self._caller, params).fetch)

    async def list_servers(self) -> list[ServerInfo]:
        """The component servers of the runtime, and how they are: their load, their pid, the end of their stderr."""
        result: ListServersResult = await self._caller.call(methods.LIST_SERVERS, Empty())
        return result.servers


class _RunPages:
    """Pages of `runs/list`."""

    def __init__(self, caller: Caller, params: ListRunsParams) -> None:
        self._caller = caller
        self._params = params
        self._is_last = False

    async def fetch(self) -> list[RunStatus] | None:
        while not self._is_last:
            page: ListRunsResult = await self._caller.call(methods.LIST_RUNS, self._params)
            self._params.cursor = page.next_cursor
            self._is_last = page.next_cursor is None
            if page.runs:
                return page.runs
        return None


@asynccontextmanager
async def open_client(
    address: str | None = None,
    *,
    config: str | os.PathLike[str] | None = None,
    name: str | None = None,
    token: str | None = None,
    token_file: str | os.PathLike[str] | None = None,
    patience_s: float = PATIENCE_S,
) -> AsyncGenerator[Client]:
    """Connect to a runtime.

    Args:
        address: `HOST:PORT`, `tls://HOST:PORT` or `unix:PATH`; default, STEPFLOW_URL or 127.0.0.1:7837.
        config: Instead of an address: spawn a runtime of one's own with this config. It ends with the block.
        name: Who you are, for the `created_by` of your runs; default, STEPFLOW_NAME.
        token: If the runtime asks for one; or `token_file`, or the environment's STEPFLOW_TOKEN_FILE.
        patience_s: How long a connection that is lost is dialled again.

    Raises:
        CannotConnectError: Nobody answers.
        RpcError: The runtime does not want us, and says why.
    """
    token = token or read_token(token_file)
    spawner = None if config is None else Spawner(os.fspath(config))
    place = address or os.environ.get("STEPFLOW_URL") or DEFAULT_ADDRESS
    dial: Dial = spawner or dial_address(place)
    failure: Exception | None = None
    try:
        async with trio.open_nursery() as nursery:
            connection = Connection(
                dial,
                nursery,
                name=f"the runtime of {config}" if spawner else place,
                client=name or os.environ.get("STEPFLOW_NAME"),
                token=token,
                patience_s=patience_s,
            )
            try:
                await connection.open()
                yield Client(connection)
            except Exception as error:  # raised below, so that the nursery makes no group of it
                failure = error
            finally:
                with trio.CancelScope(shield=True):
                    await connection.aclose()
                nursery.cancel_scope.cancel()
    finally:
        if spawner is not None:
            await spawner.aclose()
    if failure is not None:
        raise failure


def _make_repeatable(options: RunOptions) -> RunOptions:
    if options.get("idempotency_key") is not None:
        return options
    return {**options, "idempotency_key": uuid.uuid4().hex}


def _format_time(time: datetime | None) -> str | None:
    if time is None:
        return None
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
