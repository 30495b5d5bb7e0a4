"""The states of many items, as `runs/itemStates` tells them."""

from __future__ import annotations

import httpx

from tests.stepflow_runtime.web.kit import ask, submit

FLOW = {
    "steps": [{"id": "get", "component": "/builtin/get_blob", "input": {"blob_id": {"$input": "$"}}}],
    "output": {"$step": "get"},
}
WAITS = {
    "steps": [{"id": "wait", "component": "/builtin/suspend", "input": {"label": {"$input": "$"}}}],
    "output": {"$step": "wait"},
}


async def test_each_item_has_its_letter(web: httpx.AsyncClient) -> None:
    known = (await ask(web, "blobs/put", data=1))["blob_id"]
    inputs = [known if index % 3 else "unknown" for index in range(600)]
    run_id = await submit(web, FLOW, inputs)
    await ask(web, "runs/get", runId=run_id, wait=True)
    found = await ask(web, "runs/itemStates", runId=run_id)
    assert found == {"states": ("fss" * 1000)[:600], "startIndex": 0, "total": 600}
    part = await ask(web, "runs/itemStates", runId=run_id, startIndex=510, limit=3)
    assert part == {"states": "fss", "startIndex": 510, "total": 600}
    beyond = await ask(web, "runs/itemStates", runId=run_id, startIndex=9999)
    assert beyond == {"states": "", "startIndex": 600, "total": 600}


async def test_items_are_listed_from_an_index_on(web: httpx.AsyncClient) -> None:
    run_id = await submit(web, {"steps": [], "output": 1}, list(range(600)))
    await ask(web, "runs/get", runId=run_id, wait=True)
    page = await ask(web, "runs/items", runId=run_id, startIndex=511, limit=2)
    assert [item["itemIndex"] for item in page["items"]] == [511, 512]
    more = await ask(web, "runs/items", runId=run_id, startIndex=7, cursor=page["nextCursor"], limit=1)
    assert [item["itemIndex"] for item in more["items"]] == [513]
    assert (await ask(web, "runs/items", runId=run_id, startIndex=600))["items"] == []


async def test_what_has_not_ended_has_one_too(web: httpx.AsyncClient) -> None:
    run_id = await submit(web, WAITS, ["a", "b"], sealed=False)
    while (await ask(web, "runs/get", runId=run_id))["items"].get("suspended") != 2:
        await ask(web, "runs/events", runId=run_id, timeoutMs=100)
    assert (await ask(web, "runs/itemStates", runId=run_id))["states"] == "uu"
    await ask(web, "runs/resume", runId=run_id, itemIndex=0, resumeData=1)
    await ask(web, "runs/cancel", runId=run_id, itemIndexes=[1])
    await ask(web, "runs/append", runId=run_id, atIndex=2, inputs=[], sealed=True)
    await ask(web, "runs/get", runId=run_id, wait=True)
    assert (await ask(web, "runs/itemStates", runId=run_id))["states"] == "sc"
