"""The pages of the console, without a browser: who may see and do what, and that what others wrote stays text."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from stepflow_runtime.services.events.public import EVENT_TYPES
from stepflow_runtime.web import console
from tests.stepflow_runtime.web.kit import ask, call, open_web, submit

HOSTILE = "\"><img src=x onerror=alert(1)><script>alert(1)</script>'`{{7*7}}"
READER, WRITER, SERVER = "a-token-that-only-reads", "a-token-that-may-write", "a-token-of-a-server"
VIEWS = ["overview", "items", "timeline", "tree", "events", "streams", "artifacts"]
ASKS: dict[str, Any] = {
    "name": HOSTILE,
    "steps": [
        {
            "id": HOSTILE,
            "component": "/builtin/suspend",
            "input": {
                "label": HOSTILE,
                "payload": {HOSTILE: HOSTILE},
                "resume_schema": {
                    "type": "object",
                    "properties": {HOSTILE: {"type": "string", "description": HOSTILE}, "n": {"enum": [HOSTILE]}},
                },
            },
        }
    ],
    "output": {"$step": HOSTILE},
}
FAILS = {
    "name": HOSTILE,
    "steps": [{"id": "a", "component": f"/{HOSTILE}", "input": 1}],
    "output": {"$step": "a"},
}
QUICK = {"steps": [], "output": {"$input": "$"}}


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncGenerator[httpx.AsyncClient]:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{WRITER}\n{READER} role=read-only\n{SERVER} role=server name=x\n")
    tokens.chmod(0o600)
    async with open_web(tmp_path, tokens) as client:
        client.headers["Accept"] = "text/html"
        yield client


async def get(web: httpx.AsyncClient, path: str) -> str:
    answer = await web.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 200, (path, answer.text)
    return answer.text


def check(page: str) -> None:
    """Nothing in the page runs, or looks, but what comes from files of ours."""
    assert "<img" not in page
    assert page.count("<script") == len(re.findall(r'<script src="/static/[0-9a-f]+/[a-z]+\.js" type="module">', page))
    assert not re.search(r"<[^>]*\s(on[a-z]+|style)\s*=", re.sub(r'"[^"]*"', '""', page))
    assert "<style" not in page
    assert "javascript:" not in page


async def test_what_others_wrote_is_text_on_every_page(web: httpx.AsyncClient) -> None:
    labels = {HOSTILE: HOSTILE}
    waits = await submit(web, ASKS, [{HOSTILE: HOSTILE}], flowLabel=HOSTILE, labels=labels)
    await ask(web, "runs/get", runId=waits, wait=True, waitFor="settled")
    fails = await submit(web, FAILS, [HOSTILE, {HOSTILE: [HOSTILE]}], flowLabel=HOSTILE, labels=labels)
    await ask(web, "runs/get", runId=fails, wait=True)
    cancelled = await submit(web, ASKS, [HOSTILE] * 2)
    await ask(web, "runs/streams/write", runId=waits, namespace=HOSTILE, chunks=[HOSTILE])
    blob = (await ask(web, "blobs/put", data=HOSTILE))["blob_id"]
    await ask(web, "runs/artifacts/put", runId=waits, name=HOSTILE, mimeType="text/html", blobId=blob)
    await ask(web, "runs/cancel", runId=cancelled, reason=HOSTILE)
    flow_id = (await ask(web, "runs/get", runId=waits))["flowId"]
    paths = [f"/runs/{run}?view={view}" for run in (waits, fails, cancelled) for view in VIEWS]
    paths += [f"/runs/{run}/{part}" for run in (waits, fails, cancelled) for part in ("steps", "items/0")]
    paths += ["/", "/flows", f"/flows/{flow_id}", "/servers"]
    for path in paths:
        page = await get(web, path)
        check(page)
    answer = await web.get(
        "/", params={"flow": HOSTILE, "text": HOSTILE, "cursor": "x"}, headers={"Accept": "text/html"}
    )
    check(answer.text)
    check((await web.get("/login", params={"next": HOSTILE})).text)


async def test_a_page_has_a_policy_under_which_nothing_else_would_run(web: httpx.AsyncClient) -> None:
    policy = (await web.get("/")).headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy


async def test_style_and_scripts_are_asked_for_once_until_they_change(web: httpx.AsyncClient) -> None:
    page = await get(web, "/")
    paths = re.findall(r'(?:href|src)="(/static/[^"#]+)', page)
    assert len(set(paths)) == 3
    for path in paths:
        answer = await web.get(path)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
        old = await web.get(f"/static/an-older-one/{path.rpartition('/')[2]}")
        assert (old.content, old.headers["cache-control"]) == (answer.content, "no-store")
    assert (await web.get("/static/any/console.py")).status_code == 404


async def test_a_form_of_another_site_changes_nothing(web: httpx.AsyncClient) -> None:
    run_id = await submit(web, QUICK, [1], sealed=False)
    for action in ("cancel", "pause", "delete", "resume", "wake-up", "restart", "time-travel"):
        answer = await web.post(f"/runs/{run_id}/{action}", data={"x": "y"}, headers={"Origin": "http://evil.example"})
        assert answer.status_code == 403
    assert (await ask(web, "runs/get", runId=run_id))["status"] == "running"


async def test_a_form_is_carried_out_once_it_is_ours(web: httpx.AsyncClient) -> None:
    run_id = await submit(web, QUICK, [1], sealed=False)
    path, ours = f"/runs/{run_id}", {"Origin": str(web.base_url).rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    for action, detail in (("pause", "paused"), ("unpause", "open")):
        answer = await web.post(f"{path}/{action}", data={}, headers=ours)
        assert (answer.status_code, answer.headers["location"]) == (303, path)
        assert (await ask(web, "runs/get", runId=run_id))["statusDetail"] == detail
    await web.post(f"{path}/cancel", data={"reason": "enough"}, headers=ours)
    assert (await ask(web, "runs/get", runId=run_id))["cancelReason"] == "enough"
    assert (await web.post(f"{path}/delete", data={}, headers=ours)).headers["location"] == "/"
    assert (await web.get(path)).status_code == 404


async def test_what_failed_goes_again_in_a_fork_whose_page_follows(web: httpx.AsyncClient) -> None:
    blob = {"id": "get", "component": "/builtin/get_blob", "input": {"blob_id": {"$input": "$"}}}
    run_id = await submit(web, {"steps": [blob], "output": {"$step": "get"}}, ["unknown", "unknown"])
    await ask(web, "runs/get", runId=run_id, wait=True)
    assert "/restart" in await get(web, f"/runs/{run_id}")
    known = (await ask(web, "blobs/put", data="here"))["blob_id"]
    again = await web.post(f"/runs/{run_id}/restart", data={})
    travelled = await web.post(
        f"/runs/{run_id}/time-travel", data={"step": "get", "item": "1", "input": f'{{"blob_id": "{known}"}}'}
    )
    for answer, expected in ((again, "ff"), (travelled, "fs")):
        assert answer.status_code == 303
        path = answer.headers["location"]
        fork = path.rpartition("/")[2]
        await ask(web, "runs/get", runId=fork, wait=True)
        assert (await ask(web, "runs/itemStates", runId=fork))["states"] == expected
        assert f'forked from <a href="/runs/{run_id}">' in await get(web, path)
    assert (await web.post(f"/runs/{run_id}/time-travel", data={"step": "none"})).status_code in (400, 409, 422)
    assert (await web.post(f"/runs/{run_id}/time-travel", data={"step": "get", "input": "{"})).status_code == 400


async def test_an_answer_that_does_not_fit_is_refused_on_a_page(web: httpx.AsyncClient) -> None:
    flow = {
        "steps": [{"id": "ask", "component": "/builtin/suspend", "input": {"resume_schema": {"type": "integer"}}}],
        "output": {"$step": "ask"},
    }
    run_id = await submit(web, flow, [1])
    await ask(web, "runs/get", runId=run_id, wait=True, waitFor="settled")
    suspension = (await ask(web, "runs/get", runId=run_id))["suspensions"][0]
    place = {"item": "0", "step": "ask", "label": suspension["label"]}
    headers = {"Accept": "text/html"}
    for fields, status in (
        ({**place, "value": "1.5"}, 422),
        ({**place, "value": "{"}, 400),
        ({**place, "step": "x"}, 409),
    ):
        answer = await web.post(f"/runs/{run_id}/resume", data=fields, headers=headers)
        assert (answer.status_code, "<h1>" in answer.text) == (status, True), fields
    assert (await web.post(f"/runs/{run_id}/resume", json={})).status_code == 415
    assert (await web.post(f"/runs/{run_id}/resume", data={**place, "value": "7"})).status_code == 303
    run = await ask(web, "runs/get", runId=run_id, wait=True, includeResults=True)
    assert run["results"][0]["result"]["value"] == 7


async def test_a_browser_signs_in_once_and_out_again(guarded: httpx.AsyncClient) -> None:
    answer = await guarded.get("/runs/x")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fruns%2Fx")
    assert (await guarded.get("/runs/x", headers={"Accept": "*/*"})).status_code == 401
    for wrong in ("", "no-token-of-this-runtime", SERVER):
        answer = await guarded.post("/login", data={"token": wrong, "next": "/flows"})
        assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    answer = await guarded.post("/login", data={"token": WRITER, "next": "/flows"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/flows")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert WRITER not in cookie
    assert (await guarded.get("/flows")).status_code == 200
    await guarded.post("/logout")
    assert (await guarded.get("/flows")).status_code == 303


@pytest.mark.parametrize("next", ["//evil.example", "https://evil.example", "/\\evil.example", "/\r\nX: y", ""])
async def test_after_signing_in_one_stays_here(guarded: httpx.AsyncClient, next: str) -> None:
    answer = await guarded.post("/login", data={"token": WRITER, "next": next})
    assert answer.headers["location"] == "/"


async def test_who_only_reads_sees_no_buttons_and_changes_nothing(guarded: httpx.AsyncClient) -> None:
    guarded.headers["Authorization"] = f"Bearer {WRITER}"
    run_id = await submit(guarded, QUICK, [1], sealed=False)
    assert "/cancel" in await get(guarded, f"/runs/{run_id}")
    guarded.headers["Authorization"] = f"Bearer {READER}"
    assert "/cancel" not in await get(guarded, f"/runs/{run_id}")
    assert (await guarded.post(f"/runs/{run_id}/cancel", data={})).status_code == 403


async def test_runs_are_filtered_and_paged(web: httpx.AsyncClient) -> None:
    ids = [await submit(web, {**QUICK, "name": f"flow {n % 2}"}, [1], labels={"n": str(n)}) for n in range(60)]
    page = await get(web, "/")
    assert page.count('<li class="row"') == 50
    older = re.search(r'href="(/\?cursor=[^"]+)" rel="next"', page)
    assert older is not None
    assert (await get(web, older[1])).count('<li class="row"') == 10
    assert (await get(web, "/?flow=flow+1")).count('<li class="row"') == 30
    assert (await get(web, "/?label=n%3D7")).count('<li class="row"') == 1
    assert (await get(web, f"/?text={ids[3][-12:]}")).count('<li class="row"') == 1
    assert "10 more have this in their id" in await get(web, f"/?text={ids[3][:4]}")
    assert (await get(web, "/?status=failed")).count('<li class="row"') == 0
    created = [(await ask(web, "runs/get", runId=ids[n]))["createdAt"].removesuffix("Z") for n in (20, 40)]
    between = urlencode({"createdAfter": created[0], "createdBefore": created[1], "flow": "flow 1"})
    page = await get(web, f"/?{between}")
    assert 0 < page.count('<li class="row"') <= 10
    assert f'name="createdAfter" value="{created[0][:10]}"' in page
    assert (await web.get("/?label=nothing")).status_code == 400
    assert (await web.get("/?createdAfter=yesterday")).status_code == 400


async def test_digits_of_results_stay_on_a_page(web: httpx.AsyncClient) -> None:
    flow = (await ask(web, "blobs/put", data=QUICK, blob_type="flow"))["blob_id"]
    message = call("runs/submit", wait=True, flowId=flow, inputs=["digits"])
    body = json.dumps(message).replace('"digits"', "1.10000000000000000001")
    run_id = (await web.post("/rpc", content=body)).json()["result"]["runId"]
    assert (await get(web, f"/runs/{run_id}")).count("1.10000000000000000001") == 2


async def test_a_value_that_is_deep_or_long_is_shown_in_part(web: httpx.AsyncClient) -> None:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    run_id = await submit(web, QUICK, [deep, list(range(5000))])
    await ask(web, "runs/get", runId=run_id, wait=True)
    assert "nested more deeply" in await get(web, f"/runs/{run_id}/items/0")
    assert "and 4800 more" in await get(web, f"/runs/{run_id}/items/1")


def test_the_page_of_events_listens_for_every_type_that_there_is() -> None:
    script = (Path(console.__file__).parent / "static" / "follow.js").read_text("utf-8")
    listed = script.partition("const TYPES = [")[2].partition("]")[0]
    assert set(re.findall(r'"([^"]+)"', listed)) == EVENT_TYPES


def test_a_runtime_that_serves_no_http_does_not_load_it() -> None:
    script = (
        "import sys, stepflow_runtime.app.cli.serve_command, stepflow_runtime.app.runtime;"
        "print([name for name in ('starlette', 'hypercorn', 'jinja2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_the_page_of_a_flow_shows_what_its_steps_take_and_give(web: httpx.AsyncClient) -> None:
    steps = [
        {"id": "store", "component": "/builtin/put_blob", "input": {"data": 1}},
        {"id": "read", "component": "/builtin/get_blob", "input": {"blob_id": {"$step": "store"}}},
    ]
    run_id = await submit(web, {"steps": steps, "output": {"$step": "read"}}, [])
    page = await get(web, f"/flows/{(await ask(web, 'runs/get', runId=run_id))['flowId']}")
    assert "<code>{data: 1}</code></td><td><code>{blob_id: string}</code>" in page
    assert "<code>{blob_id: {blob_id: string}}</code> <strong>does not fit</strong>" in page
