"""Streams and events of runs as server-sent events."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio

from tests.stepflow_runtime.web.kit import ask, call, submit

FLOW = {"steps": [], "output": {"$input": "$"}}


async def open_run(web: httpx.AsyncClient, *chunks: Any) -> str:
    run_id = await submit(web, FLOW, [1], sealed=False)
    await write(web, run_id, *chunks)
    return run_id


async def write(web: httpx.AsyncClient, run_id: str, *chunks: Any, **params: Any) -> None:
    await ask(web, "runs/streams/write", runId=run_id, namespace="log", chunks=list(chunks), **params)


async def end(web: httpx.AsyncClient, run_id: str) -> None:
    await ask(web, "runs/append", runId=run_id, atIndex=1, inputs=[], sealed=True)
    await ask(web, "runs/get", runId=run_id, wait=True)


class Events:
    """Reads events as a browser does."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._received = b""

    async def read_block(self) -> bytes:
        """What stands before the next empty line; nothing at the end."""
        while b"\n\n" not in self._received:
            chunk = await self._stream.receive_some()
            if not chunk:
                return b""
            self._received += chunk.replace(b"\r\n", b"\n")
        block, _, self._received = self._received.partition(b"\n\n")
        return block

    async def __anext__(self) -> dict[str, str]:
        while block := await self.read_block():
            fields = dict(line.partition(": ")[::2] for line in block.decode().split("\n"))
            if "data" in fields:
                return fields
        raise StopAsyncIteration

    async def all(self) -> list[dict[str, str]]:
        """Those up to the end."""
        found = [await anext(self)]
        while found[-1].get("event") != "end":
            found.append(await anext(self))
        return found


@asynccontextmanager
async def follow(web: httpx.AsyncClient, path: str, last_id: str | None = None) -> AsyncGenerator[Events]:
    host, port = web.base_url.host, web.base_url.port
    assert port is not None
    resume = "" if last_id is None else f"Last-Event-ID: {last_id}\r\n"
    async with await trio.open_tcp_stream(host, port) as stream:
        await stream.send_all(f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n{resume}\r\n".encode())
        events = Events(stream)
        head = await events.read_block()
        assert head.startswith(b"HTTP/1.1 200 "), head
        assert b"content-type: text/event-stream" in head.lower()
        yield events


async def test_chunks_come_as_they_are_written_each_with_its_index(web: httpx.AsyncClient) -> None:
    run_id = await open_run(web, {"n": 1}, "two\nlines")
    async with follow(web, f"/runs/{run_id}/streams/log") as events:
        assert await anext(events) == {"id": "0", "data": '{"n":1}'}
        assert await anext(events) == {"id": "1", "data": '"two\\nlines"'}
        await write(web, run_id, 12345678901234567890.5)
        assert (await anext(events))["id"] == "2"
        await write(web, run_id, base64.b64encode(b"\x00").decode(), encoding="base64")
        assert await anext(events) == {"id": "3", "event": "base64", "data": '"AA=="'}
        await end(web, run_id)
        assert await events.all() == [{"id": "3", "event": "end", "data": '{"tailIndex":4}'}]


async def test_digits_of_a_chunk_stay(web: httpx.AsyncClient) -> None:
    run_id = await open_run(web)
    message = call("runs/streams/write", runId=run_id, chunks=["digits"])
    await web.post("/rpc", content=json.dumps(message).replace('"digits"', "1.10000000000000000001"))
    async with follow(web, f"/runs/{run_id}/streams/default") as events:
        assert (await anext(events))["data"] == "1.10000000000000000001"


async def test_a_reader_that_lost_its_connection_goes_on_after_what_it_has(web: httpx.AsyncClient) -> None:
    run_id = await open_run(web, *range(250))
    async with follow(web, f"/runs/{run_id}/streams/log") as events:
        seen = [json.loads((await anext(events))["data"]) for _ in range(120)]
    async with follow(web, f"/runs/{run_id}/streams/log", "119") as events:
        seen += [json.loads((await anext(events))["data"]) for _ in range(130)]
    assert seen == list(range(250))


async def test_a_browser_that_has_all_is_told_to_stop(web: httpx.AsyncClient) -> None:
    run_id = await open_run(web, 1, 2)
    await end(web, run_id)
    answer = await web.get(f"/runs/{run_id}/streams/log", headers={"Last-Event-ID": "1"})
    assert answer.status_code == 204


async def test_a_stream_can_be_read_from_its_tail(web: httpx.AsyncClient) -> None:
    run_id = await open_run(web, "a", "b", "c")
    async with follow(web, f"/runs/{run_id}/streams/log?startIndex=-1") as events:
        assert await anext(events) == {"id": "2", "data": '"c"'}


@pytest.mark.parametrize(
    ("path", "last_id", "status"),
    [
        ("/runs/0191aaaa/streams/log", None, 404),
        ("/runs/0191aaaa/events", None, 404),
        ("{run}/streams/log", "x", 400),
        ("{run}/streams/log?startIndex=x", None, 400),
        ("{run}/events", "x", 400),
        ("{run}/events", "!!.1", 400),
        ("{run}/events?types=nothing", None, 400),
    ],
)
async def test_what_cannot_be_followed_is_refused(
    web: httpx.AsyncClient, path: str, last_id: str | None, status: int
) -> None:
    run_id = await open_run(web)
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    answer = await web.get(path.format(run=f"/runs/{run_id}"), headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]


async def test_events_come_once_each_wherever_a_reader_was_interrupted(web: httpx.AsyncClient) -> None:
    run_id = await submit(web, FLOW, list(range(60)))
    await ask(web, "runs/get", runId=run_id, wait=True)
    expected = (await ask(web, "runs/events", runId=run_id, limit=1000))["events"]
    async with follow(web, f"/runs/{run_id}/events") as events:
        whole = await events.all()
    assert [json.loads(event["data"]) for event in whole[:-1]] == expected
    assert [event["event"] for event in whole] == [*(event["type"] for event in expected), "end"]
    for place in (0, 7, 99, 100, len(expected) - 2):
        async with follow(web, f"/runs/{run_id}/events", whole[place]["id"]) as events:
            assert await events.all() == whole[place + 1 :]
    assert (await web.get(f"/runs/{run_id}/events", headers={"Last-Event-ID": whole[-1]["id"]})).status_code == 204


async def test_events_come_live_and_filtered(web: httpx.AsyncClient) -> None:
    run_id = await open_run(web)
    async with follow(web, f"/runs/{run_id}/events?types=run.completed") as events, trio.open_nursery() as nursery:
        nursery.start_soon(end, web, run_id)
        assert (await anext(events))["event"] == "run.completed"
        assert (await anext(events))["event"] == "end"
