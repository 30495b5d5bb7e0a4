"""What stepflow-py 0.7 does on the wire, with the standard library only; its names, as far as the tests use them.

Faithful also in what it lacks: it knows eleven methods and ignores all others without an answer, `ping` among them;
it reads lines up to 512 KiB and ends at a longer one; it sends `"observability": null` when nothing is traced; any
exception of a component is answered with -32003. Unlike 0.7, its context has `submit_run`, for later servers.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import uuid
from collections.abc import Callable
from typing import Any, Final

from stepflow_py.exceptions import StepflowFailed
from stepflow_py.generated_protocol import (
    METHODS,
    BlobType,
    Object,
    check_flow_result,
    check_result,
)

MAX_LINE_BYTES: Final = 512 * 1024


class StepflowContext:
    """What a component calls the runtime through."""

    def __init__(self, server: StepflowServer, params: Object) -> None:
        facts = params["observability"]
        self._server = server
        self.attempt: int = params["attempt"]
        self.run_id: str | None = facts.get("run_id")
        self.flow_id: str | None = facts.get("flow_id")
        self.step_id: str | None = facts.get("step_id")

    async def put_blob(self, data: Any, blob_type: BlobType = BlobType.data) -> str:
        blob_id: str = (await self._call("blobs/put", {"data": data, "blob_type": blob_type.value}))["blob_id"]
        return blob_id

    async def get_blob(self, blob_id: str) -> Any:
        return (await self._call("blobs/get", {"blob_id": blob_id}))["data"]

    async def evaluate_flow_by_id(self, flow_id: str, input: Any) -> Any:
        result = await self._call("flows/evaluate", {"flow_id": flow_id, "input": input})
        return _unwrap(result["result"], "")

    async def get_metadata(self, step_id: str | None = None) -> Object:
        params = {"flow_id": self.flow_id, "step_id": step_id or self.step_id}
        result = await self._call("flows/get_metadata", params)
        return {key: value for key, value in result.items() if value is not None}

    async def submit_batch_by_id(self, flow_id: str, inputs: list[Any], max_concurrency: int | None = None) -> str:
        params = {"flow_id": flow_id, "inputs": inputs, "max_concurrency": max_concurrency}
        batch_id: str = (await self._call("flows/submit_batch", params))["batch_id"]
        return batch_id

    async def get_batch(self, batch_id: str, wait: bool = False, include_results: bool = False) -> tuple[Any, Any]:
        params = {"batch_id": batch_id, "wait": wait, "include_results": include_results}
        result = await self._call("flows/get_batch", params)
        return result["details"], result.get("outputs")

    async def evaluate_batch_by_id(
        self, flow_id: str, inputs: list[Any], max_concurrency: int | None = None
    ) -> list[Any]:
        batch_id = await self.submit_batch_by_id(flow_id, inputs, max_concurrency)
        _, outputs = await self.get_batch(batch_id, wait=True, include_results=True)
        results: list[Any] = []
        for output in outputs:
            place = f"Run at index {output['batch_input_index']}"
            if output.get("result") is None:
                raise Exception(f"{place} has no result (status: {output['status']})")
            results.append(_unwrap(output["result"], f"{place} failed: "))
        return results

    async def submit_run(self, flow_id: str, inputs: list[Any], wait: bool = False) -> Object:
        return await self._call("runs/submit", {"flowId": flow_id, "inputs": inputs, "wait": wait})

    async def _call(self, method: str, params: Object) -> Any:
        return await self._server.call(method, {**params, "observability": None})


class StepflowServer:
    """A component server on stdin and stdout."""

    def __init__(self) -> None:
        self._components: dict[str, Callable[..., Any]] = {}
        self._pending: dict[str, tuple[str, asyncio.Future[Any]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._writer: asyncio.StreamWriter | None = None

    def component(self, function: Callable[..., Any]) -> Callable[..., Any]:
        self._components["/" + function.__name__] = function
        return function

    def start_stdio(self) -> None:
        asyncio.run(self._serve())

    async def call(self, method: str, params: Object) -> Any:
        request_id = str(uuid.uuid4())
        future: asyncio.Future[Any] = asyncio.Future()
        self._pending[request_id] = method, future
        assert self._writer is not None
        request = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
        self._writer.write(_encode(request))
        await self._writer.drain()
        return await future

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout)
        self._writer = asyncio.StreamWriter(transport, protocol, None, loop)
        while line := await reader.readline():
            task = asyncio.create_task(self._receive(line))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _receive(self, line: bytes) -> None:
        try:
            message = json.loads(line)
            id, method = message.get("id"), message.get("method")
            if method is not None and (method not in METHODS or "params" not in message):
                raise ValueError(f"cannot decode {method}")
            if id is not None and method is None:
                self._resolve(id, message)
        except Exception as error:
            print(f"Failed to handle message: {error}", file=sys.stderr)
            return
        if id is None or method is None:
            return
        try:
            answer = {"id": id, "result": await self._handle(method, message["params"]), "jsonrpc": "2.0"}
        except KeyError as error:
            answer = _make_error(id, -32001, f"Component '{error.args[0]}' not found", {"component": error.args[0]})
        except Exception as error:
            answer = _make_error(id, -32003, f"Component execution failed: {error}", {})
        sys.stdout.buffer.write(_encode(answer))
        sys.stdout.buffer.flush()

    def _resolve(self, id: str, message: Object) -> None:
        method, future = self._pending.pop(id)
        error = message.get("error")
        if error is None:
            check_result(method, message["result"])
            future.set_result(message["result"])
        else:
            assert isinstance(error["code"], int), error
            assert isinstance(error["message"], str), error
            future.set_exception(Exception(f"Request failed: {error}"))

    async def _handle(self, method: str, params: Object) -> Object:
        match method:
            case "initialize":
                assert params["runtime_protocol_version"] >= 1
                return {"server_protocol_version": 1}
            case "components/list":
                return {"components": [_describe(name, function) for name, function in self._components.items()]}
            case "components/info":
                return {"info": _describe(params["component"], self._components[params["component"]])}
            case "components/execute":
                return {"output": await self._execute(self._components[params["component"]], params)}
            case _:
                raise ValueError(f"Method not found: {method}")

    async def _execute(self, function: Callable[..., Any], params: Object) -> Any:
        wants_context = "context" in inspect.signature(function).parameters
        context = (StepflowContext(self, params),) if wants_context else ()
        try:
            output = function(params["input"], *context)
            return await output if inspect.isawaitable(output) else output
        except KeyError as error:
            raise ValueError(str(error)) from error


def _unwrap(result: Object, prefix: str) -> Any:
    check_flow_result(result)
    if result["outcome"] == "success":
        return result["result"]
    error = result["error"]
    raise StepflowFailed(error["code"], prefix + error["message"], error.get("data"))


def _describe(name: str, function: Callable[..., Any]) -> Object:
    schema = {"type": "object"}
    return {"component": name, "description": function.__doc__, "input_schema": schema, "output_schema": schema}


def _make_error(id: Any, code: int, message: str, data: Object) -> Object:
    return {"id": id, "error": {"code": code, "message": message, "data": data}, "jsonrpc": "2.0"}


def _encode(message: Object) -> bytes:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
