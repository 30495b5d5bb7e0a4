from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol import first_line
from protocol.streams import memory_stream_pair
from protocol.types import ConnectParams
from stepflow_runtime.connect import door, listener
from stepflow_runtime.connect.secret_files import read_token
from stepflow_runtime.connect.tokens import Grant, TokenFile
from tests.stepflow_runtime.connect.doors import (
    CLIENT,
    READER,
    SERVER,
    TOKENS,
    hello,
    knock,
    open_door,
    request,
    write_tokens,
)


def found(file: TokenFile, token: str) -> tuple[str, str | None] | None:
    grant = file.find(token)
    return None if grant is None else (grant.role, grant.name)


DEEP = b'{"jsonrpc":"2.0","method":"connect","params":' + b"[" * 4000 + b"\n"

# --- the file --------------------------------------------------------------------------------------------------------


def test_a_token_is_for_one_role_and_a_servers_for_one_name(tmp_path: Path) -> None:
    file = TokenFile(write_tokens(tmp_path))
    assert found(file, CLIENT) == ("client", None)
    assert found(file, READER) == ("read-only", None)
    assert found(file, SERVER) == ("server", "workers")
    assert file.find(CLIENT[:-1]) is file.find("") is file.find("\ud800") is None


def test_tokens_rotate_without_a_gap_and_without_a_restart(tmp_path: Path) -> None:
    path = write_tokens(tmp_path, "old-" + "o" * 32)
    file = TokenFile(path)
    write_tokens(tmp_path, "old-" + "o" * 32 + "\nnew-" + "n" * 32)
    assert found(file, "old-" + "o" * 32) == found(file, "new-" + "n" * 32) == ("client", None)
    write_tokens(tmp_path, "new-" + "n" * 32)
    assert file.find("old-" + "o" * 32) is None
    assert found(file, "new-" + "n" * 32) == ("client", None)


@pytest.mark.parametrize("spoil", [lambda path: path.chmod(0o640), os.unlink, lambda path: path.write_text("short")])
def test_a_file_that_cannot_be_used_any_more_lets_nobody_in_until_it_can(tmp_path: Path, spoil: object) -> None:
    path = write_tokens(tmp_path)
    file = TokenFile(path)
    grant = file.find(CLIENT)
    assert grant is not None
    spoil(path)  # type: ignore[operator]
    assert file.find(CLIENT) is None
    assert file.stands(grant), "who is inside stays until it is known who may"
    write_tokens(tmp_path)
    assert found(file, CLIENT) == ("client", None)


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        (TOKENS, 0o640, "can be read or written by others; run: chmod 600"),
        (TOKENS, 0o602, "can be read or written by others"),
        ("# nothing\n", 0o600, "has no token"),
        ("tooshort", 0o600, "line 1: a token has at least 16 characters"),
        (f"{CLIENT} role=admin", 0o600, "line 1: after a token come only"),
        (f"\n{CLIENT} role=server", 0o600, "line 2: role=server and name=NAME go together"),
        (f"{CLIENT} name=me", 0o600, "go together"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_and_no_token_is_told(
    tmp_path: Path, text: str, mode: int, said: str
) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        TokenFile(write_tokens(tmp_path, text, mode))
    assert CLIENT not in str(raised.value)
    assert "tooshort" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere cannot be read: No such file"):
        TokenFile(tmp_path / "nowhere")


def test_every_known_token_is_compared_in_constant_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []

    def compare(known: bytes, offered: bytes) -> bool:
        compared.append((len(known), len(offered)))
        return known == offered

    file = TokenFile(write_tokens(tmp_path))
    monkeypatch.setattr("stepflow_runtime.connect.tokens.hmac.compare_digest", compare)
    for offered in (CLIENT, SERVER, "x", "x" * 3000):
        file.find(offered)
        assert compared == [(32, 32)] * 3, "each of them, by hashes of one length"
        compared.clear()


def test_the_token_of_a_client_is_the_first_word_of_its_file(tmp_path: Path) -> None:
    assert read_token(write_tokens(tmp_path, f"{SERVER} role=server name=workers\n")) == SERVER
    with pytest.raises(ValueError, match="is empty"):
        read_token(write_tokens(tmp_path, "\n"))


def test_a_server_may_not_take_another_name_or_role() -> None:
    grant = Grant("server", "workers")
    grant.check(ConnectParams(1, role="server", name="workers"))
    for params in (ConnectParams(1, role="server", name="others"), ConnectParams(1), ConnectParams(1, role="client")):
        with pytest.raises(Exception, match="This token is"):
            grant.check(params)
    with pytest.raises(Exception, match='not for the role "server"'):
        Grant().check(ConnectParams(1, role="server", name="workers"))


# --- the door --------------------------------------------------------------------------------------------------------


async def test_a_valid_token_lets_in_and_what_follows_at_once_is_answered(tmp_path: Path) -> None:
    async with open_door(write_tokens(tmp_path)) as (_, address), knock(address) as peer:
        await peer.send(hello(CLIENT) + request("ping"))
        answers = [await peer.receive(), await peer.receive()]
        assert all("result" in answer for answer in answers)


@pytest.mark.parametrize(
    "first",
    [
        pytest.param(request("rpc.discover"), id="another method first"),
        pytest.param(hello(CLIENT).replace(b'"connect"', b'"runs/list"'), id="another method with a token"),
        pytest.param(hello(None), id="no token"),
        pytest.param(hello(""), id="an empty one"),
        pytest.param(hello(CLIENT + "x"), id="a wrong one"),
        pytest.param(hello("x" * 1000), id="a long wrong one"),
        pytest.param(hello(SERVER), id="one for another role"),
        pytest.param(hello(SERVER, role="server", name="others"), id="one for another name"),
        pytest.param(hello(READER, role="server", name="workers"), id="a reader as a server"),
        pytest.param(b"[" + hello(CLIENT).strip() + b"]\n", id="a batch"),
        pytest.param(b'{"jsonrpc":"2.0","id":1,"method":"connect","params":{"token":7}}\n', id="a number"),
        pytest.param(b'{"jsonrpc":"2.0","id":{},"method":"connect"}\n', id="a bad id"),
        pytest.param(b"x" * 4097, id="4 KiB without an end"),
        pytest.param(b'{"jsonrpc":"2.0","pad":"' + b"x" * 4097 + b'"}\n', id="a line of more than 4 KiB"),
    ],
)
async def test_without_a_valid_token_nothing_is_handled_and_no_log_tells_it(
    tmp_path: Path, first: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    async with open_door(write_tokens(tmp_path)) as (_, address), knock(address) as peer:
        await peer.send(first)
        assert await peer.is_shut_out()
        await trio.testing.wait_all_tasks_blocked()
    logged = "".join(capfd.readouterr())
    assert "connection refused" in logged
    for token in (CLIENT, READER, SERVER):
        assert token not in logged


BAD_KEY = b'{"jsonrpc":"2.0","id":1,"\xb0":1}\n'


@pytest.mark.parametrize("first", [BAD_KEY, b"\xff\xfe\x00\n", b"POST / HTTP/1.1\r\n", b"\n", b"null\n", DEEP])
async def test_bytes_that_are_no_message_end_the_connection(tmp_path: Path, first: bytes) -> None:
    async with open_door(write_tokens(tmp_path)) as (_, address), knock(address) as peer:
        await peer.send(first)
        assert (await peer.receive()).get("result") is None


async def test_who_says_nothing_is_shut_out_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert first_line.TIMEOUT_S == 5
    monkeypatch.setattr(first_line, "TIMEOUT_S", 0.01)
    async with open_door(write_tokens(tmp_path)) as (_, address), knock(address) as peer:
        await peer.send(hello(CLIENT)[:-1])
        assert await peer.is_shut_out()


async def test_no_more_than_so_many_wait_at_the_door(tmp_path: Path) -> None:
    async with open_door(write_tokens(tmp_path), max_connecting=2) as (_, address):
        async with knock(address) as one, knock(address):
            await trio.testing.wait_all_tasks_blocked()
            async with knock(address) as third:
                assert await third.receive() == {}
            await one.send(hello(CLIENT))
            assert "result" in await one.receive(), "who has waited is let in"
        async with knock(address) as later:
            await trio.testing.wait_all_tasks_blocked()
            await later.send(hello(CLIENT))
            assert "result" in await later.receive()


async def test_a_server_with_its_token_is_initialized(tmp_path: Path) -> None:
    async with open_door(write_tokens(tmp_path)) as (_, address), knock(address) as peer:
        await peer.send(hello(SERVER, role="server", name="workers"))
        assert "result" in await peer.receive()
        assert (await peer.receive())["method"] == "initialize"


async def test_a_peer_that_is_in_cannot_become_something_else(tmp_path: Path) -> None:
    async with open_door(write_tokens(tmp_path)) as (_, address), knock(address) as peer:
        await peer.send(hello(CLIENT))
        await peer.receive()
        answer = await peer.ask("connect", protocolVersion=1, role="server", name="workers", token=SERVER)
        assert answer["error"]["code"] == -32002


async def test_who_came_in_with_a_token_that_is_taken_back_is_shut_out_and_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(listener, "TOKEN_CHECK_S", 0.01)
    path = write_tokens(tmp_path, f"{CLIENT}\n{READER} role=read-only\n{SERVER} role=server name=workers")
    async with (
        open_door(path) as (_, address),
        knock(address) as client,
        knock(address) as reader,
        knock(address) as server,
    ):
        for peer, said in ((client, hello(CLIENT)), (reader, hello(READER))):
            await peer.send(said)
            assert "result" in await peer.receive()
        await server.send(hello(SERVER, role="server", name="workers"))
        assert "result" in await server.receive()
        assert (await server.receive())["method"] == "initialize"
        write_tokens(tmp_path, f"{CLIENT}\n{READER} role=client")
        assert await server.receive() == {}
        assert await reader.receive() == {}, "what it is for has changed"
        assert "result" in await client.ask("ping")
    assert "its token was taken back" in "".join(capfd.readouterr())


async def test_a_unix_socket_is_its_owners_and_asks_for_tokens_too(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with open_door(write_tokens(tmp_path), address=f"unix:{path}") as (_, address):
        assert address == f"unix:{path}"
        assert path.stat().st_mode & 0o777 == 0o600
        async with knock(address) as peer:
            await peer.send(hello(CLIENT))
            assert "result" in await peer.receive()
        async with knock(address) as peer:
            await peer.send(request("ping"))
            assert await peer.is_shut_out()
    assert not path.exists()


async def test_a_stale_unix_socket_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with trio.socket.socket(trio.socket.AF_UNIX) as left:
        await left.bind(str(path))
    async with open_door(address=f"unix:{path}"):
        with pytest.RaisesGroup(OSError, flatten_subgroups=True, allow_unwrapped=True):
            async with open_door(address=f"unix:{path}"):
                pass
    path.write_text("precious")
    with pytest.RaisesGroup(FileExistsError, flatten_subgroups=True, allow_unwrapped=True):
        async with open_door(address=f"unix:{path}"):
            pass
    assert path.read_text() == "precious"


# --- any bytes -------------------------------------------------------------------------------------------------------


def lines() -> st.SearchStrategy[bytes]:
    """Bytes of any kind, and messages that are nearly right."""
    leaves = st.none() | st.booleans() | st.integers() | st.text()
    values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
    fields = st.dictionaries(st.sampled_from(["jsonrpc", "id", "method", "params", "x"]), values)
    named = st.fixed_dictionaries({"jsonrpc": st.just("2.0"), "method": st.just("connect"), "params": values})
    return st.binary(max_size=5000) | (fields | named | values).map(lambda value: json.dumps(value).encode() + b"\n")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=lines(), cut=st.integers(0, 5000))
def test_no_bytes_get_past_the_door_or_break_it(tmp_path: Path, sent: bytes, cut: int) -> None:
    file = TokenFile(write_tokens(tmp_path))

    async def knock_with_bytes() -> None:
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                for part in (sent[:cut], sent[cut:]):
                    with suppress(trio.BrokenResourceError):
                        await theirs.wait_send_all(part)
                await theirs.aclose()

            nursery.start_soon(send)
            with trio.fail_after(5):
                assert await door.admit(ours, file) is None

    trio.run(knock_with_bytes)


@settings(max_examples=200, deadline=None)
@given(text=st.text())
def test_no_text_of_a_token_file_does_harm(text: str) -> None:
    with TemporaryDirectory() as folder, suppress(ValueError):
        assert TokenFile(write_tokens(Path(folder), text)).find("") is None
