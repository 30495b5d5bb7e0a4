"""The pages of one run, one for each way to look at it, and that of one of its items."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from protocol.byproducts import ListArtifactsResult, ListStreamsResult
from protocol.flows import FlowIdParams
from protocol.methods import FLOW_GRAPH, ITEM_STATES, LIST_ARTIFACTS, LIST_RUNS, LIST_STREAMS, METHODS
from protocol.observing import STATE_LETTERS, ItemStatesParams, ItemStatesResult
from protocol.runs import (
    EventsParams,
    GetRunParams,
    ItemState,
    ListItemsParams,
    ListRunsParams,
    ListRunsResult,
    ListStepsParams,
    RunParams,
)
from stepflow_runtime.connect.tokens import Role
from stepflow_runtime.web.artifacts import link_to
from stepflow_runtime.web.console.forms import make_fields
from stepflow_runtime.web.console.graph_layout import draw
from stepflow_runtime.web.console.rendering import Renderer
from stepflow_runtime.web.console.timeline import find_times, lay_out
from stepflow_runtime.web.console.tree import grow
from stepflow_runtime.web.gateway import Gateway
from stepflow_runtime.web.query import read_int
from stepflow_runtime.web.readings import (
    GET_RUN,
    LIST_EVENTS,
    LIST_ITEMS,
    LIST_STEPS,
    RawEvents,
    RawItems,
    RawRun,
    RawSteps,
)
from stepflow_runtime.web.refusal import Refused, answer_json

VIEWS: Final = {
    "overview": "Overview",
    "items": "Items",
    "timeline": "Timeline",
    "tree": "Sub-runs",
    "events": "Events",
    "streams": "Streams",
    "artifacts": "Artifacts",
}

ITEMS: Final = 50
STEPS: Final = 200
"""Executions that a page shows of an item; so many of the first items tell how the steps of a flow are."""

FRONT: Final = 1000
"""So many items before and after the number of those that have ended, what is at work in a large run is looked for."""

BARS: Final = 60
"""Executions in the timeline of a run of many items."""

EVENTS: Final = 100
TREE: Final = 200
"""Runs of a tree that a page shows, the newest; it may have a hundred thousand."""


class RunPages:
    """A run, as people look at it."""

    def __init__(self, gateway: Gateway, renderer: Renderer) -> None:
        self._gateway = gateway
        self._renderer = renderer

    async def run(self, request: Request) -> Response:
        """`GET /runs/{run_id}?view=`."""
        run_id, role = request.path_params["run_id"], request.scope["role"]
        view = request.query_params.get("view", "overview")
        if view not in VIEWS:
            raise Refused(404, f"There is no such view; there are: {', '.join(VIEWS)}.")
        run: RawRun = await self._gateway.call(GET_RUN, GetRunParams(run_id), role)
        values: dict[str, Any] = await getattr(self, f"_find_{view}")(request, run, role)
        fields = [
            make_fields(None if each.resume_schema is UNSET else bytes(each.resume_schema))
            for each in run.suspensions or ()
        ]
        return self._renderer.page(
            request, f"run_{view}.html", run=run, view=view, views=VIEWS, fields=fields, methods=METHODS, **values
        )

    async def item(self, request: Request) -> Response:
        """`GET /runs/{run_id}/items/{index}`."""
        run_id, role = request.path_params["run_id"], request.scope["role"]
        index: int = request.path_params["index"]
        run: RawRun = await self._gateway.call(GET_RUN, GetRunParams(run_id), role)
        if index >= run.items.total:
            raise Refused(404, f"This run has {run.items.total} items; the last one is {run.items.total - 1}.")
        items: RawItems = await self._gateway.call(
            LIST_ITEMS, ListItemsParams(run_id, start_index=index, limit=1), role
        )
        return self._renderer.page(
            request, "item.html", run=run, item=items.items[0], **await self._find_steps(run, role, index)
        )

    async def steps(self, request: Request) -> Response:
        """`GET /runs/{run_id}/steps`: the flow as a graph, with how its steps are; a part of a page."""
        run_id, role = request.path_params["run_id"], request.scope["role"]
        run: RawRun = await self._gateway.call(GET_RUN, GetRunParams(run_id), role)
        return self._renderer.page(request, "steps.html", run=run, **await self._find_steps(run, role, None))

    async def states(self, request: Request) -> Response:
        """`GET /runs/{run_id}/states?startIndex=&limit=`: what `runs/itemStates` answers."""
        params = ItemStatesParams(
            request.path_params["run_id"], read_int(request, "startIndex"), read_int(request, "limit")
        )
        return answer_json(await self._gateway.call(ITEM_STATES, params, request.scope["role"]))

    # --- views -------------------------------------------------------------------------------------------------------

    async def _find_overview(self, request: Request, run: RawRun, role: Role) -> dict[str, Any]:
        if run.items.total != 1:
            return {"item": None}
        items: RawItems = await self._gateway.call(LIST_ITEMS, ListItemsParams(run.run_id, limit=1), role)
        return {"item": items.items[0]}

    async def _find_items(self, request: Request, run: RawRun, role: Role) -> dict[str, Any]:
        status = request.query_params.get("status", "")
        params = ListItemsParams(
            run.run_id,
            status=ItemState(status) if status in list(ItemState) else None,
            cursor=request.query_params.get("cursor") or None,
            start_index=read_int(request, "index"),
            limit=ITEMS,
        )
        found: RawItems = await self._gateway.call(LIST_ITEMS, params, role)
        return {"items": found.items, "next": found.next_cursor, "state": status, "states": list(ItemState)}

    async def _find_timeline(self, request: Request, run: RawRun, role: Role) -> dict[str, Any]:
        found = await self._list_steps(run, role, None, STEPS if run.items.total == 1 else BARS)
        return {"timeline": lay_out(found.steps, self._renderer.now_ms()), "is_part": found.next_cursor is not None}

    async def _find_tree(self, request: Request, run: RawRun, role: Role) -> dict[str, Any]:
        root = run.root_run_id or run.run_id
        params = ListRunsParams(root_run_id=root, limit=TREE)
        found: ListRunsResult = await self._gateway.call(LIST_RUNS, params, role)
        runs = {each.run_id: each for each in found.runs}
        if root not in runs:
            runs[root] = await self._gateway.call(GET_RUN, GetRunParams(root), role)
        return {"lines": list(grow(list(runs.values()))), "is_part": found.next_cursor is not None}

    async def _find_events(self, request: Request, run: RawRun, role: Role) -> dict[str, Any]:
        """A page of events: the last ones of a run that goes on, else the first ones, or those that were asked for."""
        cursor = request.query_params.get("cursor")
        is_live = cursor is None and run.completed_at is None
        params = EventsParams(run.run_id, cursor or None, limit=EVENTS, tail=EVENTS if is_live else None)
        found: RawEvents = await self._gateway.call(LIST_EVENTS, params, role)
        has_more = not is_live and not found.done
        return {
            "events": found.events,
            "next": found.next_cursor if has_more else None,
            "after": f"{found.next_cursor}.0" if is_live and not found.done else None,
            "is_whole": bool(found.events) and found.events[0].seq == 1,
        }

    async def _find_streams(self, request: Request, run: RawRun, role: Role) -> dict[str, Any]:
        found: ListStreamsResult = await self._gateway.call(LIST_STREAMS, RunParams(run.run_id), role)
        wanted = request.query_params.get("namespace")
        shown = next((each for each in found.streams if wanted in (None, each.namespace)), None)
        return {"streams": found.streams, "shown": shown}

    async def _find_artifacts(self, request: Request, run: RawRun, role: Role) -> dict[str, Any]:
        found: ListArtifactsResult = await self._gateway.call(LIST_ARTIFACTS, RunParams(run.run_id), role)
        return {"artifacts": [(artifact, link_to(artifact)) for artifact in found.artifacts]}

    # --- steps -------------------------------------------------------------------------------------------------------

    async def _find_steps(self, run: RawRun, role: Role, index: int | None) -> dict[str, Any]:
        graph = await self._gateway.call(FLOW_GRAPH, FlowIdParams(run.flow_id), role)
        found = await self._list_steps(run, role, index, STEPS)
        by_step: dict[str, Counter[str]] = {}
        for step in found.steps:
            by_step.setdefault(step.step_id, Counter())[step.status] += 1
        is_part = found.next_cursor is not None
        if is_part and index is None and run.completed_at is None:
            for step_id, count in (await self._count_active(run, role)).items():
                by_step.setdefault(step_id, Counter())["running"] = count
        return {
            "graph": graph,
            "drawing": draw(graph),
            "steps": by_step,
            "times": find_times(found.steps),
            "executed": found.steps,
            "timeline": lay_out(found.steps, self._renderer.now_ms()),
            "is_part": is_part,
        }

    async def _count_active(self, run: RawRun, role: Role) -> Counter[str]:
        """In which steps items are at work, of the first ones that are found where a run is likely to be now."""
        ended = run.items.success + run.items.failed + run.items.cancelled
        start = max(0, ended - FRONT)
        look = ItemStatesParams(run.run_id, start, 2 * FRONT)
        front: ItemStatesResult = await self._gateway.call(ITEM_STATES, look, role)
        first = front.states.find(STATE_LETTERS[ItemState.RUNNING])
        if first < 0:
            return Counter()
        params = ListItemsParams(run.run_id, start_index=start + first, limit=ITEMS)
        found: RawItems = await self._gateway.call(LIST_ITEMS, params, role)
        return Counter(step for item in found.items for step in item.current_steps or ())

    async def _list_steps(self, run: RawRun, role: Role, index: int | None, limit: int) -> RawSteps:
        """The steps of an item, or of the first few: a page costs the same for any number of items."""
        params = ListStepsParams(run.run_id, item_index=index, limit=limit)
        found: RawSteps = await self._gateway.call(LIST_STEPS, params, role)
        return found
