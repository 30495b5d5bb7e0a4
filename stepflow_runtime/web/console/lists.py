"""The pages that list: runs, flows, component servers."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

import trio
from msgspec import Raw, Struct
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from protocol.flows import Fit, FlowIdParams, FlowParams, StepTypes, ValidateFlowResult
from protocol.methods import FLOW_GRAPH, LIST_RUNS, LIST_SERVERS, VALIDATE_FLOW
from protocol.observing import ListServersResult
from protocol.runs import ListRunsParams, ListRunsResult, RunState, RunStatus
from protocol.types import BlobType, Empty, GetBlobParams
from stepflow_runtime.connect.tokens import Role
from stepflow_runtime.model.types.reading import read_schema
from stepflow_runtime.model.types.writing import describe
from stepflow_runtime.web.console.graph_layout import draw
from stepflow_runtime.web.console.rendering import Renderer
from stepflow_runtime.web.gateway import Gateway
from stepflow_runtime.web.readings import GET_BLOB, RawBlob
from stepflow_runtime.web.refusal import Refused

PAGE: Final = 50

SEARCHED: Final = 1000
"""The newest runs among which a piece of an id is looked for, and whose flows are listed."""

RUN_ID_CHARACTERS: Final = 36

FILTERS: Final = ("status", "flow", "label", "text", "createdAfter", "createdBefore")

TYPES_PATIENCE_S: Final = 1.0
"""How long a page waits for component servers to tell what they take and give; it shows no types without them."""


class ShownTypes(Struct, frozen=True):
    """What a step is given and gives, in a few words, and what may be wrong with that."""

    given: str
    gives: str
    trouble: str | None

    @classmethod
    def of(cls, step: StepTypes) -> ShownTypes:
        return cls(describe(read_schema(step.input)), describe(read_schema(step.output)), _TROUBLES.get(step.fit))


_TROUBLES: Final = {Fit.MISFITS: "does not fit", Fit.MAY_MISFIT: "may not fit"}


class Lists:
    """Lists of what there is."""

    def __init__(self, gateway: Gateway, renderer: Renderer) -> None:
        self._gateway = gateway
        self._renderer = renderer

    async def runs(self, request: Request) -> Response:
        """`GET /?status=&flow=&label=&text=&createdAfter=&createdBefore=&cursor=`."""
        asked = {name: request.query_params.get(name, "").strip() for name in FILTERS}
        if len(asked["text"]) == RUN_ID_CHARACTERS:
            return RedirectResponse(f"/runs/{asked['text']}", 303)
        params = ListRunsParams(
            status=RunState(asked["status"]) if asked["status"] in list(RunState) else None,
            labels=_read_labels(asked["label"]),
            created_after=asked["createdAfter"] or None,
            created_before=asked["createdBefore"] or None,
            cursor=request.query_params.get("cursor") or None,
            limit=SEARCHED if asked["text"] else PAGE,
        )
        if asked["flow"].startswith("blake3:"):
            params.flow_id = asked["flow"]
        else:
            params.flow_name = asked["flow"] or None
        found = await self._list(params, request.scope["role"])
        runs = [run for run in found.runs if asked["text"] in run.run_id]
        filters = {name: value for name, value in asked.items() if value}
        return self._renderer.page(
            request,
            "runs.html",
            runs=runs[:PAGE],
            left_out=len(runs[PAGE:]),
            asked=asked,
            states=list(RunState),
            filters=urlencode(filters),
            is_later=params.cursor is not None,
            next=urlencode({**filters, "cursor": found.next_cursor}) if found.next_cursor else None,
        )

    async def flows(self, request: Request) -> Response:
        """`GET /flows`: those of the newest runs."""
        found = await self._list(ListRunsParams(limit=SEARCHED), request.scope["role"])
        latest: dict[str, RunStatus] = {}
        counts: dict[str, int] = {}
        for run in found.runs:
            latest.setdefault(run.flow_id, run)
            counts[run.flow_id] = counts.get(run.flow_id, 0) + 1
        return self._renderer.page(
            request, "flows.html", latest=latest, counts=counts, searched=SEARCHED if found.next_cursor else None
        )

    async def flow(self, request: Request) -> Response:
        """`GET /flows/{flow_id}`: its graph, its steps and its text."""
        flow_id, role = request.path_params["flow_id"], request.scope["role"]
        graph = await self._gateway.call(FLOW_GRAPH, FlowIdParams(flow_id), role)
        blob: RawBlob = await self._gateway.call(GET_BLOB, GetBlobParams(flow_id, BlobType.FLOW), role)
        recent = await self._list(ListRunsParams(flow_id=flow_id, limit=10), role)
        types = await self._find_types(blob, role)
        return self._renderer.page(
            request, "flow.html", flow_id=flow_id, graph=graph, drawing=draw(graph), steps={}, source=blob.data,
            runs=recent.runs, name=recent.runs[0].flow_name if recent.runs else None, types=types,
        )  # fmt: skip

    async def _find_types(self, flow: RawBlob, role: Role) -> dict[str, ShownTypes]:
        """The types of a flow's steps by their ids, if the component servers tell them soon; else none."""
        params = FlowParams(Raw(flow.data), types=True)
        with trio.move_on_after(TYPES_PATIENCE_S):
            found: ValidateFlowResult = await self._gateway.call(VALIDATE_FLOW, params, role)
            return {step.id: ShownTypes.of(step) for step in found.types.steps} if found.types else {}
        return {}

    async def servers(self, request: Request) -> Response:
        """`GET /servers`."""
        found: ListServersResult = await self._gateway.call(LIST_SERVERS, Empty(), request.scope["role"])
        return self._renderer.page(request, "servers.html", servers=found.servers)

    async def _list(self, params: ListRunsParams, role: Role) -> ListRunsResult:
        found: ListRunsResult = await self._gateway.call(LIST_RUNS, params, role)
        return found


def _read_labels(text: str) -> dict[str, str] | None:
    """`name=value`, several with commas between."""
    if not text:
        return None
    parts = [part.partition("=") for part in text.split(",")]
    if not all(name.strip() and equals for name, equals, _ in parts):
        raise Refused(400, "A label is looked for as name=value.")
    return {name.strip(): value.strip() for name, _, value in parts}
