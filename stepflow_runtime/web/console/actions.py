"""What people do to a run with a button: one form each, then back to the page of the run."""

from __future__ import annotations

from urllib.parse import quote

from msgspec import UNSET, Raw
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from protocol.forking import RestartParams, TimeTravelParams
from protocol.methods import (
    CANCEL_RUN,
    DELETE_RUN,
    PAUSE_RUN,
    RESTART_RUN,
    RESUME_RUN,
    TIME_TRAVEL,
    UNPAUSE_RUN,
    WAKE_UP_RUN,
)
from protocol.runs import CancelRunParams, GetRunParams, ResumeParams, RunParams, RunStatus, WakeUpParams
from stepflow_runtime.web.console.bodies import read_fields
from stepflow_runtime.web.console.forms import read_form, read_json
from stepflow_runtime.web.gateway import Gateway
from stepflow_runtime.web.readings import GET_RUN, RawRun
from stepflow_runtime.web.refusal import Refused


class Actions:
    """`POST /runs/{run_id}/{action}`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def cancel(self, request: Request) -> Response:
        """With a `reason`, and of one item with an `item`."""
        fields = await read_fields(request)
        item = fields.get("item", "")
        params = CancelRunParams(
            request.path_params["run_id"],
            item_indexes=[int(item)] if item.isdecimal() and item.isascii() else None,
            reason=fields.get("reason", "").strip() or None,
        )
        await self._gateway.call(CANCEL_RUN, params, request.scope["role"])
        return _back(request)

    async def pause(self, request: Request) -> Response:
        await self._gateway.call(PAUSE_RUN, RunParams(request.path_params["run_id"]), request.scope["role"])
        return _back(request)

    async def unpause(self, request: Request) -> Response:
        await self._gateway.call(UNPAUSE_RUN, RunParams(request.path_params["run_id"]), request.scope["role"])
        return _back(request)

    async def wake_up(self, request: Request) -> Response:
        await self._gateway.call(WAKE_UP_RUN, WakeUpParams(request.path_params["run_id"]), request.scope["role"])
        return _back(request)

    async def delete(self, request: Request) -> Response:
        await self._gateway.call(DELETE_RUN, RunParams(request.path_params["run_id"]), request.scope["role"])
        return RedirectResponse("/", 303)

    async def resume(self, request: Request) -> Response:
        """The form of one suspension, which is named by `item`, `step` and `label`."""
        run_id, role = request.path_params["run_id"], request.scope["role"]
        fields = await read_fields(request)
        run: RawRun = await self._gateway.call(GET_RUN, GetRunParams(run_id), role)
        place = (fields.get("item", ""), fields.get("step", ""), fields.get("label", ""))
        for suspension in run.suspensions or ():
            if (str(suspension.item_index), suspension.step_id, suspension.label) == place:
                break
        else:
            raise Refused(409, "This is not suspended any more; somebody else may have resumed it.")
        schema = suspension.resume_schema
        data = read_form(None if schema is UNSET else bytes(schema), fields)
        params = ResumeParams(
            run_id,
            step=suspension.step_id,
            label=suspension.label,
            item_index=suspension.item_index,
            resume_data=UNSET if data is None else Raw(data),
        )
        await self._gateway.call(RESUME_RUN, params, role)
        return _back(request)

    async def restart(self, request: Request) -> Response:
        """What has not succeeded goes again; of an ended run in a fork, whose page is shown then."""
        params = RestartParams(request.path_params["run_id"])
        run: RunStatus = await self._gateway.call(RESTART_RUN, params, request.scope["role"])
        return RedirectResponse(f"/runs/{quote(run.run_id, '')}", 303)

    async def travel(self, request: Request) -> Response:
        """From a `step` on, of all items or of one `item`, with another `input` or not: the page of the fork."""
        fields = await read_fields(request)
        item, input = fields.get("item", "").strip(), fields.get("input", "").strip()
        if item and not (item.isdecimal() and item.isascii()):
            raise Refused(400, "The item is named by its index, a whole number.")
        params = TimeTravelParams(
            request.path_params["run_id"],
            fields.get("step", ""),
            item_indexes=[int(item)] if item else None,
            input=Raw(read_json("Input", input)) if input else UNSET,
        )
        run: RunStatus = await self._gateway.call(TIME_TRAVEL, params, request.scope["role"])
        return RedirectResponse(f"/runs/{quote(run.run_id, '')}", 303)


def _back(request: Request) -> Response:
    return RedirectResponse(f"/runs/{quote(request.path_params['run_id'], '')}", 303)
