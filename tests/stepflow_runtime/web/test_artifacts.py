"""Artifacts as files, and the links to them that expire."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.requests import Request

from stepflow_runtime.web.artifacts import Artifacts
from stepflow_runtime.web.refusal import Refused
from stepflow_runtime.web.signing import Signer
from tests.stepflow_runtime.web.kit import ask, open_web, submit

FLOW = {"steps": [], "output": 1}
CONTENT = bytes(range(256))
TOKEN = "a-token-that-may-write"


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncGenerator[httpx.AsyncClient]:
    tokens = tmp_path / "tokens"
    tokens.write_text(TOKEN)
    tokens.chmod(0o600)
    async with open_web(tmp_path, tokens) as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        yield client


async def put(web: httpx.AsyncClient, name: str, content: bytes, mime_type: str | None = None) -> dict[str, Any]:
    run_id = await submit(web, FLOW, [1], sealed=False)
    headers = {} if mime_type is None else {"Content-Type": mime_type}
    answer = await web.put(f"/runs/{run_id}/artifacts/{name}", content=content, headers=headers)
    assert answer.status_code == 201, answer.text
    artifact: dict[str, Any] = answer.json()
    return artifact


async def test_a_file_goes_up_and_comes_down_byte_for_byte(web: httpx.AsyncClient) -> None:
    artifact = await put(web, "a%20b/r%C3%A9sum%C3%A9%22.bin", CONTENT)
    assert (artifact["name"], artifact["size"]) == ('a b/résumé".bin', 256)
    answer = await web.get(artifact["url"])
    assert answer.content == CONTENT
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''r%C3%A9sum%C3%A9%22.bin"
    listed = (await web.get(f"/runs/{artifact['runId']}/artifacts")).json()
    assert listed == {"artifacts": [artifact]}


async def test_who_has_it_is_not_sent_it_again(web: httpx.AsyncClient) -> None:
    artifact = await put(web, "x", CONTENT)
    tag = (await web.get(artifact["url"])).headers["etag"]
    assert (await web.get(artifact["url"], headers={"If-None-Match": tag})).status_code == 304


@pytest.mark.parametrize(
    "mime_type", ["text/html", "image/svg+xml", "application/xhtml+xml", "TEXT/HTML;charset=utf-8"]
)
async def test_a_page_that_a_run_made_is_never_a_page_of_ours(web: httpx.AsyncClient, mime_type: str) -> None:
    artifact = await put(web, "page.html", b"<script>alert(1)</script>", mime_type)
    headers = (await web.get(artifact["url"])).headers
    assert headers["content-disposition"].startswith("attachment")
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert headers["x-content-type-options"] == "nosniff"


async def test_pictures_and_text_are_shown_in_a_sandbox(web: httpx.AsyncClient) -> None:
    artifact = await put(web, "picture.png", CONTENT, "image/png")
    headers = (await web.get(artifact["url"])).headers
    assert headers["content-disposition"].startswith("inline")
    assert "sandbox" in headers["content-security-policy"]


async def test_json_blobs_come_as_json(web: httpx.AsyncClient) -> None:
    run_id = await submit(web, FLOW, [1], sealed=False)
    blob = (await ask(web, "blobs/put", data={"a": [1, 2.50]}))["blob_id"]
    await ask(web, "runs/artifacts/put", runId=run_id, name="x", mimeType="application/json", blobId=blob)
    assert (await web.get(f"/runs/{run_id}/artifacts/x")).content == b'{"a":[1,2.5]}'


async def test_of_a_name_the_last_one_is_given(web: httpx.AsyncClient) -> None:
    artifact = await put(web, "x", b"first")
    path = f"/runs/{artifact['runId']}/artifacts/x"
    await web.put(path, content=b"second")
    assert (await web.get(path)).content == b"second"
    assert (await web.get(artifact["url"])).content == b"first"


async def test_what_is_not_there_or_cannot_be_is_refused(web: httpx.AsyncClient) -> None:
    artifact = await put(web, "x", b"")
    run = f"/runs/{artifact['runId']}/artifacts"
    assert (await web.get(f"{run}/y")).status_code == 404
    assert (await web.get("/runs/0191aaaa/artifacts/x")).status_code == 404
    assert (await web.put(f"{run}/x", content=b"", headers={"Content-Type": "no type"})).status_code == 400
    assert (await web.put(f"{run}/{'x' * 201}", content=b"")).status_code == 400
    assert (await web.put(f"{run}/x?itemIndex=7", content=b"")).status_code == 400
    assert (await web.put(f"{run}/x", content=b"x" * 60_000)).status_code == 413


async def test_a_signed_link_needs_no_token_and_leads_to_one_artifact_only(guarded: httpx.AsyncClient) -> None:
    artifact = await put(guarded, "x", CONTENT)
    made = await guarded.post(artifact["url"])
    assert made.status_code == 201
    url = made.json()["url"]
    async with httpx.AsyncClient() as stranger:
        assert (await stranger.get(url)).content == CONTENT
        assert (await stranger.get(url, headers={"Sec-Fetch-Site": "cross-site"})).status_code == 200
        assert (await stranger.get(str(guarded.base_url).rstrip("/") + artifact["url"])).status_code == 401
        for forged in (
            url[:-1] + ("0" if url[-1] != "0" else "1"),
            url.replace("expires=", "expires=9"),
            url.replace(artifact["artifactId"], "0" * 32),
            url.partition("?")[0],
        ):
            assert (await stranger.get(forged)).status_code == 403


async def test_a_life_that_is_too_long_is_refused(web: httpx.AsyncClient) -> None:
    artifact = await put(web, "x", b"")
    assert (await web.post(f"{artifact['url']}&expiresInMs=0")).status_code == 400
    assert (await web.post(f"{artifact['url']}&expiresInMs=99999999999")).status_code == 400


async def test_a_signed_link_expires() -> None:
    class Clock:
        def wall_ms(self) -> int:
            return 1000

        def monotonic(self) -> float:
            return 0.0

    signer = Signer(lambda: b"key")
    split = urlsplit(signer.sign("run", "artifact", 999))
    path = {"run_id": "run", "artifact_id": "artifact"}
    request = Request({"type": "http", "query_string": split.query.encode(), "path_params": path, "headers": []})
    with pytest.raises(Refused, match="expired") as refused:
        await Artifacts(None, signer, Clock()).get_signed(request)  # type: ignore[arg-type]
    assert refused.value.status == 410
    assert signer.matches(split.query.rpartition("=")[2], "run", "artifact", 999)
