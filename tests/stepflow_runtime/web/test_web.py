"""What passes the guard, and JSON-RPC over HTTP, against a runtime that serves."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest
import trio

from stepflow_runtime.web import guard
from tests.stepflow_runtime.web.kit import MAX_FRAME_BYTES, ask, call, open_web, submit

READER = "a-token-that-only-reads"
WRITER = "a-token-that-may-write"


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncGenerator[httpx.AsyncClient]:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{WRITER}\n{READER} role=read-only\n")
    tokens.chmod(0o600)
    async with open_web(tmp_path, tokens) as client:
        yield client


async def test_a_message_is_answered(web: httpx.AsyncClient) -> None:
    answer = await web.post("/rpc", json=call("runs/list"))
    assert (answer.status_code, answer.json()) == (200, {"jsonrpc": "2.0", "id": 1, "result": {"runs": []}})


async def test_a_run_tells_its_status_name_and_times(web: httpx.AsyncClient) -> None:
    run_id = await submit(web, {"name": "Nothing much", "steps": [], "output": {"$input": "$"}}, [1])
    run = await ask(web, "runs/get", runId=run_id, wait=True)
    assert (run["runId"], run["status"], run["flowName"]) == (run_id, "success", "Nothing much")
    assert run["createdAt"] <= run["startedAt"] <= run["completedAt"]


async def test_a_batch_over_several_lines_is_answered_as_one(web: httpx.AsyncClient) -> None:
    body = json.dumps([call("ping"), {**call("nothing"), "id": 12345678901234567890123}], indent=2)
    answer = await web.post("/rpc", content=body)
    results = {element["id"]: element for element in answer.json()}
    assert results[1]["result"] == {}
    assert results[12345678901234567890123]["error"]["code"] == -32601


async def test_what_is_no_json_is_a_parse_error(web: httpx.AsyncClient) -> None:
    assert (await web.post("/rpc", content=b"{\n")).json()["error"]["code"] == -32700


async def test_a_notification_is_not_answered(web: httpx.AsyncClient) -> None:
    answer = await web.post("/rpc", json={"jsonrpc": "2.0", "method": "ping"})
    assert (answer.status_code, answer.content) == (204, b"")


async def test_it_says_that_it_lives_and_takes_work(web: httpx.AsyncClient) -> None:
    assert (await web.get("/healthz")).json() == {"status": "ok"}
    assert (await web.get("/readyz")).status_code == 200


async def test_a_host_that_is_not_ours_is_refused(web: httpx.AsyncClient) -> None:
    assert (await web.get("/healthz", headers={"Host": "evil.example"})).status_code == 421
    assert (await web.get("/healthz", headers={"Host": "RUNTIME.test"})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
    ids=["another site", "a file", "as the browser says"],
)
async def test_a_page_of_another_site_changes_nothing(web: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await web.post("/rpc", json=call("runs/list"), headers=headers)
    assert answer.status_code == 403
    assert "another site" in answer.json()["error"]["message"]


async def test_our_own_page_may(web: httpx.AsyncClient) -> None:
    headers = {"Origin": str(web.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    assert (await web.post("/rpc", json=call("runs/list"), headers=headers)).status_code == 200


async def test_no_script_but_ours_runs_in_a_page(web: httpx.AsyncClient) -> None:
    headers = (await web.get("/healthz")).headers
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("is_announced", [True, False])
async def test_a_body_beyond_the_limit_is_refused(web: httpx.AsyncClient, is_announced: bool) -> None:
    headers = {} if is_announced else {"Transfer-Encoding": "chunked"}
    answer = await web.post("/rpc", content=b" " * 2 * MAX_FRAME_BYTES, headers=headers)
    assert answer.status_code == 413
    assert f"maxFrameBytes is {MAX_FRAME_BYTES}" in answer.json()["error"]["message"]


async def test_a_body_that_does_not_come_is_not_waited_for(
    web: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "BODY_TIMEOUT_S", 0.05)
    async with await trio.open_tcp_stream(web.base_url.host, web.base_url.port or 0) as stream:
        await stream.send_all(b"POST /hooks/any HTTP/1.1\r\nHost: runtime.test\r\nContent-Length: 100\r\n\r\n{")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 408")


async def test_where_tokens_are_asked_for_nothing_is_told_without_one(guarded: httpx.AsyncClient) -> None:
    assert (await guarded.post("/rpc", json=call("runs/list"))).status_code == 401
    wrong = {"Authorization": "Bearer not-a-token-at-all"}
    assert (await guarded.post("/rpc", json=call("runs/list"), headers=wrong)).status_code == 401
    assert (await guarded.get("/healthz")).status_code == 200


async def test_a_token_lets_in_and_one_that_reads_changes_nothing(guarded: httpx.AsyncClient) -> None:
    put = call("blobs/put", data=1)
    for token, refused in ((WRITER, False), (READER, True)):
        headers = {"Authorization": f"Bearer {token}"}
        assert "result" in (await guarded.post("/rpc", json=call("runs/list"), headers=headers)).json()
        assert ("error" in (await guarded.post("/rpc", json=put, headers=headers)).json()) is refused


async def test_whoever_leaves_ends_only_its_waiting(web: httpx.AsyncClient) -> None:
    flow = {"steps": [], "output": 1}
    blob = (await web.post("/rpc", json=call("blobs/put", data=flow, blob_type="flow"))).json()["result"]["blob_id"]
    submit = call("runs/submit", flowId=blob, inputs=[1], sealed=False)
    run_id = (await web.post("/rpc", json=submit)).json()["result"]["runId"]
    with trio.move_on_after(0.1):
        await web.post("/rpc", json=call("runs/get", runId=run_id, wait=True), timeout=None)
    status = (await web.post("/rpc", json=call("runs/get", runId=run_id))).json()["result"]
    assert status["statusDetail"] == "open"
