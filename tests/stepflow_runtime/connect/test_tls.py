from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio

from protocol.tls import TlsFiles, TlsStream, make_client_context, make_server_context, open_tls_stream
from stepflow_runtime.connect.addresses import check_protection
from stepflow_runtime.connect.tcp import SocketOrigin
from tests.stepflow_runtime.connect.connect_kit import PATIENCE_S, FakeServer, execution, open_world
from tests.stepflow_runtime.connect.doors import (
    CLIENT,
    Certificates,
    Peer,
    hello,
    knock,
    open_door,
    request,
    write_tokens,
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


async def ask_over_tls(address: str, files: TlsFiles, *lines: bytes) -> list[dict[str, object]]:
    host, _, port = address.rpartition(":")
    with trio.fail_after(PATIENCE_S):
        stream = await open_tls_stream(host, int(port), make_client_context(files))
        try:
            await stream.wait_send_all(b"".join(lines))
            peer = Peer(Adapter(stream))
            return [await peer.receive() for _ in lines]
        finally:
            await stream.aclose()


class Adapter:
    """A `TlsStream` with the face that `Peer` knows."""

    def __init__(self, stream: TlsStream) -> None:
        self.receive_some = stream.receive_some
        self.send_all = stream.wait_send_all


async def test_a_peer_talks_over_tls_with_its_token(tmp_path: Path, certificates: Certificates) -> None:
    async with open_door(write_tokens(tmp_path), make_server_context(certificates.server)) as (_, address):
        long = request("ping", pad="x" * 1_000_000)
        answers = await ask_over_tls(address, certificates.client, hello(CLIENT), long)
        assert all("result" in answer for answer in answers)


async def test_a_peer_that_does_not_trust_the_certificate_does_not_talk(certificates: Certificates) -> None:
    async with open_door(None, make_server_context(certificates.server)) as (_, address):
        with pytest.raises(ConnectionError, match=r"self-signed certificate|unable to get local issuer"):
            await ask_over_tls(address, TlsFiles(), request("ping"))


async def test_a_certificate_must_name_the_host(tmp_path: Path, certificates: Certificates) -> None:
    wrong = make_server_context(TlsFiles(cert=certificates.known_client.cert))
    async with open_door(None, wrong) as (_, address):
        with pytest.raises(ConnectionError, match=r"127\.0\.0\.1"):
            await ask_over_tls(address, certificates.client, request("ping"))


async def test_with_mtls_only_known_peers_come_in(certificates: Certificates) -> None:
    async with open_door(None, make_server_context(certificates.strict_server)) as (_, address):
        (answer,) = await ask_over_tls(address, certificates.known_client, request("ping"))
        assert "result" in answer
        try:
            (answer,) = await ask_over_tls(address, certificates.client, request("ping"))
        except OSError:
            answer = {}
        except trio.BrokenResourceError:
            answer = {}
        assert answer == {}


async def test_plain_text_gets_nowhere_where_tls_is_spoken(tmp_path: Path, certificates: Certificates) -> None:
    async with (
        open_door(write_tokens(tmp_path), make_server_context(certificates.server)) as (_, address),
        knock(address) as peer,
    ):
        await peer.send(hello(CLIENT) + request("ping") * 100)
        with trio.fail_after(PATIENCE_S):
            received = b""
            while chunk := await _receive(peer):
                received += chunk
        assert b"jsonrpc" not in received


async def _receive(peer: Peer) -> bytes:
    try:
        return bytes(await peer.stream.receive_some())
    except trio.BrokenResourceError:
        return b""


async def test_a_server_is_dialled_over_tls_and_never_without(certificates: Certificates) -> None:
    servers: list[FakeServer] = []

    async def serve(tcp: trio.SocketStream) -> None:
        stream = TlsStream(tcp, make_server_context(certificates.strict_server))
        await stream.shake_hands()
        server = FakeServer(stream)
        servers.append(server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.run)
            await server.answer_all(1)
            await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(partial(trio.serve_listeners, serve, [listener]))
        port = listener.socket.getsockname()[1]
        async with open_world(SocketOrigin(f"tls://127.0.0.1:{port}", certificates.known_client)) as world:
            one = execution()
            world.call(one)
            await world.sink.wait_for(one)
        nursery.cancel_scope.cancel()


async def test_a_server_that_speaks_no_tls_is_not_talked_to_in_plain_text(certificates: Certificates) -> None:
    received = b""

    async def serve(tcp: trio.SocketStream) -> None:
        nonlocal received
        async with tcp:
            received += await tcp.receive_some()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(partial(trio.serve_listeners, serve, [listener]))
        port = listener.socket.getsockname()[1]
        origin = SocketOrigin(f"tls://127.0.0.1:{port}", certificates.client)
        async with open_world(origin, unavailable_timeout_ms=200) as world:
            one = execution()
            world.call(one)
            (failure,) = await world.sink.wait_for(one)
        assert "cannot be reached" in failure.message
        assert b"initialize" not in received
        nursery.cancel_scope.cancel()


def test_files_that_tls_cannot_use_are_named(tmp_path: Path, certificates: Certificates) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.pem.*No such file"):
        make_server_context(TlsFiles(cert=tmp_path / "nowhere.pem"))
    with pytest.raises(ValueError, match="TLS cannot use its files"):
        make_client_context(TlsFiles(ca=certificates.ca, cert=certificates.ca))
    with pytest.raises(ValueError, match="needs a certificate"):
        make_server_context(TlsFiles(ca=certificates.ca))


@pytest.mark.parametrize("address", ["0.0.0.0:7837", "192.168.1.4:1", "[::]:7837", "example.com:80"])
def test_other_machines_come_in_only_over_tls_and_with_a_token(address: str) -> None:
    for has_tokens, has_tls, missing in [
        (False, False, "tokenFile.*tls"),
        (True, False, "tls"),
        (False, True, "token"),
    ]:
        with pytest.raises(ValueError, match=f"can be reached from other machines.*{missing}"):
            check_protection(address, has_tokens=has_tokens, has_tls=has_tls)
    check_protection(address, has_tokens=True, has_tls=True)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1", "localhost:0", "unix:/a"])
def test_this_machine_needs_neither(address: str) -> None:
    check_protection(address, has_tokens=False, has_tls=False)
