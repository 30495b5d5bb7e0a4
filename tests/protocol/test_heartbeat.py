"""Silent peers are pinged, and given up when nothing comes back: on streams in memory, and a clock that jumps."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from protocol.errors import LinkClosed, RemoteProtocolError
from protocol.heartbeat import Heartbeat
from protocol.link import Link
from protocol.methods import LIST_COMPONENTS, Side
from protocol.sender import SEND_BYTES
from protocol.streams import MemoryStream, SocketStream, memory_stream_pair
from protocol.types import Empty, Limits
from tests.protocol.wires import open_tcp_pair

HEARTBEAT = Heartbeat(ping_after_s=10, ping_timeout_s=5)


@asynccontextmanager
async def open_watched() -> AsyncGenerator[tuple[Link, MemoryStream]]:
    """A link that is watched, and the other end of its stream."""
    ours, theirs = memory_stream_pair(SEND_BYTES)
    link = Link(ours, side=Side.RUNTIME, name="server", limits=Limits())
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        nursery.start_soon(HEARTBEAT.watch, link)
        yield link, theirs
        nursery.cancel_scope.cancel()


async def test_a_silent_peer_is_pinged_and_one_that_answers_stays(autojump_clock: MockClock) -> None:
    async with open_watched() as (link, stream), trio.open_nursery() as nursery:
        peer = Link(stream, side=Side.SERVER, name="runtime", limits=Limits())
        await nursery.start(peer.run)
        await trio.sleep(1)
        for turn in range(1, 11):
            await trio.sleep(10)
            assert peer.alive_at == pytest.approx(10 * turn), "it was pinged"
        assert not link.closed
        await link.aclose()


async def test_a_peer_that_is_gone_is_given_up_within_both_times(autojump_clock: MockClock) -> None:
    async with open_watched() as (link, _):
        began = trio.current_time()
        with pytest.raises(LinkClosed, match="it was silent for 10 s"):
            await link.call(LIST_COMPONENTS, Empty())
        await link.wait_closed()
        assert trio.current_time() - began == pytest.approx(15)
        assert isinstance(link.fault, RemoteProtocolError)
        assert link.fault.data == {"limit": "pingTimeoutMs", "value": 5000}


async def test_whatever_a_peer_says_is_a_sign_of_life_and_spares_it_the_ping(autojump_clock: MockClock) -> None:
    async with open_watched() as (link, peer):
        for _ in range(20):
            await trio.sleep(9)
            peer.send_nowait(b"\n")
        await trio.sleep(9)
        await peer.aclose()
        await link.wait_closed()
        assert link.fault is None
        assert not peer._received, "no ping"


async def test_a_word_after_the_ping_is_enough_though_the_answer_is_late(autojump_clock: MockClock) -> None:
    async with open_watched() as (link, peer):
        for _ in range(10):
            await trio.sleep(14)
            peer.send_nowait(b"\n")
        assert not link.closed


async def test_an_answer_that_came_while_we_were_stopped_counts(mock_clock: MockClock) -> None:
    async with open_watched() as (link, peer):
        await wait_all_tasks_blocked()
        for _ in range(50):
            mock_clock.jump(10)
            await wait_all_tasks_blocked()
            peer.send_nowait(b"\n")
            mock_clock.jump(3600)
            await wait_all_tasks_blocked()
            assert not link.closed
            peer.send_nowait(b"\n")
            await wait_all_tasks_blocked()


async def test_a_peer_that_takes_a_long_message_slowly_is_alive(autojump_clock: MockClock) -> None:
    async with open_watched() as (link, peer):
        link.notify(LIST_COMPONENTS, b'"%b"' % (b"x" * (20 * SEND_BYTES)))
        link.flush()
        for _ in range(20):
            await trio.sleep(12)
            await peer.receive_some()
        assert not link.closed
        await link.wait_closed()
        assert "silent" in str(link.fault), "it took all, and then nothing more"


async def test_that_a_buffer_takes_a_little_is_no_sign_of_life(autojump_clock: MockClock) -> None:
    async with open_watched() as (link, peer):
        link.notify(LIST_COMPONENTS, b'"%b"' % (b"x" * (SEND_BYTES + SEND_BYTES // 2)))
        link.flush()
        await trio.sleep(12)
        peer._received.clear()  # as a system may enlarge the buffer of a process that is stopped
        peer._note_change()
        await link.wait_closed()
        assert trio.current_time() == pytest.approx(15)


async def test_the_end_of_a_link_ends_its_heartbeat(autojump_clock: MockClock) -> None:
    ours, _ = memory_stream_pair()
    link = Link(ours, side=Side.RUNTIME, name="server", limits=Limits())
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        nursery.start_soon(HEARTBEAT.watch, link)
        await trio.sleep(11)
        await link.aclose()
    assert link.fault is None


async def test_the_system_looks_after_connections_whose_peer_declares_nothing() -> None:
    for stream in await open_tcp_pair():
        assert isinstance(stream, SocketStream)
        assert stream._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert stream._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
        await stream.aclose()
