"""Hooks: POSTs that resume what is suspended under a token."""

from __future__ import annotations

import httpx
import pytest
import trio

from tests.stepflow_runtime.web.kit import ask, submit

TOKEN = "a-token-that-nobody-guesses"
FLOW = {
    "steps": [
        {
            "id": "ask",
            "component": "/builtin/suspend",
            "input": {"payload": "Go on?", "resume_schema": {"type": "boolean"}, "token": TOKEN},
        }
    ],
    "output": {"$step": "ask"},
}


@pytest.fixture
async def suspended(web: httpx.AsyncClient) -> str:
    run_id = await submit(web, FLOW, [1])
    run = await ask(web, "runs/get", runId=run_id, wait=True, waitFor="settled")
    assert run["status"] == "suspended"
    return run_id


async def test_a_hook_resumes_a_run_and_tells_little(web: httpx.AsyncClient, suspended: str) -> None:
    answer = await web.post(f"/hooks/{TOKEN}", content=b"true", headers={"Origin": "https://elsewhere.example"})
    assert answer.status_code == 202
    assert answer.json().keys() == {"runId", "status"}
    run = await ask(web, "runs/get", runId=suspended, wait=True, includeResults=True)
    assert run["results"][0]["result"]["value"] is True


async def test_a_hook_can_wait_for_the_answer_of_the_run(web: httpx.AsyncClient, suspended: str) -> None:
    answer = await web.post(f"/hooks/{TOKEN}?wait", content=b"true")
    assert answer.status_code == 200
    assert answer.json()["results"][0]["result"] == {"outcome": "success", "value": True}


async def test_what_does_not_fit_the_schema_leaves_the_run_suspended(web: httpx.AsyncClient, suspended: str) -> None:
    assert (await web.post(f"/hooks/{TOKEN}", content=b'"no"')).status_code == 422
    assert (await web.post(f"/hooks/{TOKEN}", content=b"{")).status_code == 400
    assert (await ask(web, "runs/get", runId=suspended))["status"] == "suspended"


async def test_only_a_post_with_the_token_resumes(web: httpx.AsyncClient, suspended: str) -> None:
    assert (await web.get(f"/hooks/{TOKEN}")).status_code == 405
    assert (await web.post("/hooks/another-token", content=b"true")).status_code == 404
    assert (await ask(web, "runs/get", runId=suspended))["status"] == "suspended"


async def test_of_two_posts_one_resumes_and_a_repeat_is_given_its_answer(
    web: httpx.AsyncClient, suspended: str
) -> None:
    async def post(key: str, found: list[int]) -> None:
        answer = await web.post(f"/hooks/{TOKEN}", content=b"true", headers={"Idempotency-Key": key})
        found.append(answer.status_code)

    statuses: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(post, "a", statuses)
        nursery.start_soon(post, "a", statuses)
    assert statuses == [202, 202]
    await post("b", statuses)
    assert statuses[2] in (404, 409)
