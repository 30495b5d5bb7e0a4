"""Who comes in, and what they may do: a whole runtime with tokens and TLS, and clients of every kind."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from component_sdk.client import open_client
from component_sdk.errors import CannotConnectError
from protocol.errors import RpcError
from protocol.methods import METHODS, READING, Side
from stepflow_runtime.app.cli.boundary import CliError
from stepflow_runtime.app.cli.link import open_link
from stepflow_runtime.app.config import Listen, MemoryStorage, default_config
from stepflow_runtime.app.config_file import parse_config
from stepflow_runtime.app.opening import open_runtime
from stepflow_runtime.connect.tokens import TokenFile
from tests.requirements import REQUIREMENTS
from tests.stepflow_runtime.connect.doors import CLIENT, READER, Certificates, write_tokens

FLOW = {"steps": [], "output": {"$input": "$"}}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


@asynccontextmanager
async def serve(listen: Listen) -> AsyncGenerator[str]:
    config = msgspec.structs.replace(default_config(Path()), storage=MemoryStorage(), listen=listen)
    async with open_runtime(config) as runtime, trio.open_nursery() as nursery:
        yield await nursery.start(runtime.serve_tcp)
        nursery.cancel_scope.cancel()


def write_token(folder: Path, token: str) -> Path:
    path = folder / "mine"
    path.write_text(token)
    path.chmod(0o600)
    return path


async def test_a_script_comes_in_with_its_token_file_and_not_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(Listen(rpc="127.0.0.1:0", token_file=write_tokens(tmp_path))) as address:
        mine = write_token(tmp_path, CLIENT)
        async with open_client(address, token_file=mine) as client:
            assert (await client.submit_run(flow=FLOW, inputs=[7], wait=True)).status == "success"
        monkeypatch.delenv("STEPFLOW_TOKEN_FILE", raising=False)
        with pytest.raises(RpcError, match="asks for a token"):
            async with open_client(address):
                pass
        with pytest.RaisesGroup(pytest.RaisesExc(CliError, match="STEPFLOW_TOKEN_FILE names the file")):
            async with open_link(address):
                pass
        monkeypatch.setenv("STEPFLOW_TOKEN_FILE", str(mine))
        async with open_client(address) as client, open_link(address):
            assert [run.status async for run in client.list_runs()] == ["success"]


async def test_a_reader_reads_and_changes_nothing(tmp_path: Path) -> None:
    async with serve(Listen(rpc="127.0.0.1:0", token_file=write_tokens(tmp_path))) as address:
        async with open_client(address, token_file=write_token(tmp_path, CLIENT)) as client:
            status = await client.submit_run(flow=FLOW, inputs=[7], wait=True)
        async with open_client(address, token_file=write_token(tmp_path, READER)) as reader:
            assert await reader.get_run(status.run_id).return_value() == 7
            for writing in (
                reader.submit_run(status.flow_id, [1]),
                reader.put_blob(1),
                reader.get_run(status.run_id).cancel(),
            ):
                with pytest.raises(RpcError, match="may only read") as refused:
                    await writing
                assert refused.value.code == -32002


def test_every_method_that_may_change_something_is_closed_to_readers() -> None:
    writing = {name for name, method in METHODS.items() if method.answered_by is not Side.SERVER} - READING
    assert {"runs/submit", "runs/append", "runs/cancel", "runs/delete", "blobs/put", "flows/evaluate"} <= writing


async def test_clients_talk_over_tls_with_a_certificate_of_theirs(
    tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen = Listen(rpc="127.0.0.1:0", token_file=write_tokens(tmp_path), tls=certificates.strict_server)
    monkeypatch.setenv("STEPFLOW_TOKEN_FILE", str(write_token(tmp_path, CLIENT)))
    monkeypatch.setenv("STEPFLOW_TLS_CA", str(certificates.ca))
    monkeypatch.setenv("STEPFLOW_TLS_CERT", str(certificates.known_client.cert))
    async with serve(listen) as address:
        async with open_client(f"tls://{address}") as client, open_link(f"tls://{address}"):
            values = [{"text": "x" * 1000, "n": number} for number in range(2000)]
            run = await client.start(FLOW, values)
            assert await run.return_value() == values
        with pytest.raises((CannotConnectError, RpcError)):
            async with open_client(address, patience_s=0):
                pass


def test_the_examples_of_the_page_on_security_can_be_used(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "explanation" / "security.md").read_text()
    (tokens,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    (config,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    file = TokenFile(write_tokens(tmp_path, tokens))
    grants = [file.find(line.split()[0]) for line in tokens.splitlines()]
    assert [(grant.role, grant.name) for grant in grants if grant is not None] == [
        ("client", None),
        ("read-only", None),
        ("server", "gpu-workers"),
    ]
    parsed = parse_config(config.encode(), "stepflow-config.yml", tmp_path, {})
    assert parsed.warnings == ()
    assert parsed.listen.tls is not None
    assert set(parsed.secrets) == {"api_key", "db_password"}


def test_the_page_on_security_names_promises_that_there_are() -> None:
    page = (Path(__file__).parents[3] / "docs" / "explanation" / "security.md").read_text()
    named = {
        name for group in re.findall(r"\((`[a-z-]+`(?:, `[a-z-]+`)*)\)", page) for name in re.findall(r"[a-z-]+", group)
    }
    assert len(named) >= 10
    assert named <= {requirement.id for requirement in REQUIREMENTS}
