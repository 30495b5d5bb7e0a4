"""Component servers as processes, over TLS and with tokens: one that listens, and one that dials in."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from component_sdk.client import open_client
from protocol.runs import RunStatus
from protocol.tls import TlsFiles
from stepflow_runtime.app.config import AcceptConfig, Config, DialConfig, Listen, MemoryStorage, RuntimeLimits
from stepflow_runtime.app.opening import open_runtime
from stepflow_runtime.connect.routes import Route
from stepflow_runtime.engine.retry import RetryPolicy
from tests.stepflow_runtime.connect.doors import CLIENT, SERVER, Certificates, write_tokens

SOURCE = """
import os, sys
from component_sdk import ComponentServer

server = ComponentServer()

@server.component
def look(input) -> dict:
    return {"input": input, "argv": sys.argv[1:]}

server.run()
"""
FLOW = {"steps": [{"id": "s", "component": "/remote/look", "input": {"$input": "$"}}], "output": {"$step": "s"}}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


def write_secret(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return path


@asynccontextmanager
async def spawn(folder: Path, *args: str, **environment: str) -> AsyncGenerator[trio.Process]:
    script = folder / "server.py"
    script.write_text(SOURCE)
    process = await trio.lowlevel.open_process(
        [sys.executable, str(script), *args], stderr=subprocess.PIPE, env={**os.environ, **environment}
    )
    assert process.stderr is not None
    try:
        yield process
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stderr.aclose()


async def read_address(process: trio.Process) -> str:
    said = b""
    assert process.stderr is not None
    while b"\n" not in said:
        said += await process.stderr.receive_some()
    return said.decode().split()[-1]


async def run_once(plugin: DialConfig) -> RunStatus:
    """One item through `/remote/look`."""
    async with open_runtime(make_config(plugin, Listen(rpc="127.0.0.1:0"))) as runtime, trio.open_nursery() as nursery:
        async with open_client(await nursery.start(runtime.serve_tcp)) as client:
            status = await client.submit_run(flow=FLOW, inputs=[1], wait=True)
        nursery.cancel_scope.cancel()
    return status


def make_config(plugin: DialConfig | AcceptConfig, listen: Listen, unavailable_timeout_ms: int = 1_000) -> Config:
    return Config(
        folder=Path(),
        plugins={"remote": plugin},
        routes=(Route("/remote/{*component}", "remote"),),
        storage=MemoryStorage(),
        listen=listen,
        limits=RuntimeLimits(unavailable_timeout_ms=unavailable_timeout_ms),
        retry=RetryPolicy(transport_max_retries=0),
    )


async def test_a_server_that_listens_asks_for_a_certificate_and_a_token(
    tmp_path: Path, certificates: Certificates
) -> None:
    right, wrong = write_secret(tmp_path, "right", "t" * 32), write_secret(tmp_path, "wrong", "w" * 32)
    tls = certificates.strict_server
    args = ["--tcp", "127.0.0.1:0", "--tls-cert", str(tls.cert), "--tls-ca", str(tls.ca), "--token-file", str(right)]
    with trio.fail_after(60):
        async with spawn(tmp_path, *args) as process:
            url = f"tls://{await read_address(process)}"
            known = certificates.known_client
            status = await run_once(DialConfig(url=url, tls=known, token_file=right))
            assert status.results is not None
            assert status.results[0].result.outcome == "success"
            assert "t" * 32 not in repr(status)
            for refused, why in (
                (DialConfig(url=url, tls=known, token_file=wrong), "asks for a token, and this is not it"),
                (DialConfig(url=url, tls=known), "asks for a token"),
                (DialConfig(url=url, tls=TlsFiles()), "cannot be reached"),
            ):
                failed = await run_once(refused)
                assert failed.results is not None
                error = failed.results[0].result.error
                assert error is not None
                assert why in error.message
                assert "w" * 32 not in repr(failed)


@pytest.mark.parametrize(
    ("protected_by", "missing"),
    [((), "--token-file and --tls-cert are missing"), (("token",), "--tls-cert is"), (("tls",), "--token-file is")],
)
async def test_a_server_does_not_listen_for_other_machines_without_a_token_and_tls(
    tmp_path: Path, certificates: Certificates, protected_by: tuple[str, ...], missing: str
) -> None:
    options = {
        "token": ["--token-file", str(write_secret(tmp_path, "token", "t" * 32))],
        "tls": ["--tls-cert", str(certificates.server.cert)],
    }
    given = [word for name in protected_by for word in options[name]]
    with trio.fail_after(30):
        async with spawn(tmp_path, "--tcp", "0.0.0.0:0", *given) as process:
            assert await process.wait() != 0
            assert process.stderr is not None
            said = (await process.stderr.receive_some()).decode()
    assert missing in said
    assert "Traceback" not in said


async def test_a_server_dials_in_over_tls_with_the_token_for_its_name(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = write_tokens(tmp_path)
    listen = Listen(rpc="127.0.0.1:0", token_file=tokens, tls=certificates.server)
    monkeypatch.setenv("STEPFLOW_TLS_CA", str(certificates.ca))
    mine, servers = write_secret(tmp_path, "mine", CLIENT), write_secret(tmp_path, "servers", SERVER)
    with trio.fail_after(60):
        config = make_config(AcceptConfig(accept="workers"), listen, 30_000)
        async with open_runtime(config) as runtime, trio.open_nursery() as nursery:
            address = await nursery.start(runtime.serve_tcp)
            args = ["--connect", f"tls://{address}", "--name", "workers"]
            async with (
                spawn(tmp_path, *args, STEPFLOW_TOKEN_FILE=str(servers)),
                open_client(f"tls://{address}", token_file=mine) as client,
            ):
                status = await client.submit_run(flow=FLOW, inputs=[1], wait=True)
            async with spawn(tmp_path, *args, "--token-file", str(mine)) as impostor:
                assert await impostor.wait() != 0
                assert impostor.stderr is not None
                said = (await impostor.stderr.receive_some()).decode()
            nursery.cancel_scope.cancel()
    assert status.results is not None
    assert status.results[0].result.value == {"input": 1, "argv": args}
    assert 'not for the role "server"' in said
    assert CLIENT not in said
