"""Every stream keeps the promises of `ByteStream`."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from .wires import PAIRS, OpenPair

pytestmark = pytest.mark.parametrize("open_pair", PAIRS, ids=lambda open_pair: open_pair.__name__)


async def test_what_is_sent_is_received(open_pair: OpenPair) -> None:
    left, right = await open_pair()
    with trio.fail_after(5):
        assert left.send_nowait(b"hello") == 5
        assert await right.receive_some() == b"hello"
        assert right.send_nowait(memoryview(b"and back")) == 8
        assert await left.receive_some() == b"and back"
        await left.aclose()
        await right.aclose()


async def test_a_closed_stream_ends_the_other_one_after_what_was_sent(open_pair: OpenPair) -> None:
    left, right = await open_pair()
    with trio.fail_after(5):
        left.send_nowait(b"last")
        await left.aclose()
        assert await right.receive_some() == b"last"
        assert await right.receive_some() == b""
        await right.aclose()


async def test_a_full_stream_takes_nothing_and_the_rest_goes_when_there_is_room(open_pair: OpenPair) -> None:
    left, right = await open_pair()
    sent = 0
    while count := left.send_nowait(b"x" * 100_000):
        sent += count
    received = 0
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.wait_send_all, b"y" * 1_000_000)
            while received < sent + 1_000_000:
                received += len(await right.receive_some())
        await left.aclose()
        await right.aclose()


async def test_sending_to_somebody_who_has_left_is_a_broken_stream(open_pair: OpenPair) -> None:
    left, right = await open_pair()
    await right.aclose()
    with trio.fail_after(5):
        with pytest.raises(trio.BrokenResourceError):  # noqa: PT012 - a network notices it late
            while True:
                await left.wait_send_all(b"x" * 100_000)
        await left.aclose()


async def test_closing_wakes_who_receives_and_who_sends(open_pair: OpenPair) -> None:
    left, right = await open_pair()
    while left.send_nowait(b"x" * 100_000):
        pass

    async def receive() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await left.receive_some()

    async def send() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await left.wait_send_all(b"x" * 1_000_000)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            await left.aclose()
        with pytest.raises(trio.ClosedResourceError):
            left.send_nowait(b"x")
        await left.aclose()
        await right.aclose()


async def test_receiving_can_be_cancelled_and_loses_nothing(open_pair: OpenPair) -> None:
    left, right = await open_pair()
    with trio.move_on_after(0):
        await right.receive_some()
    left.send_nowait(b"hello")
    with trio.fail_after(5):
        assert await right.receive_some() == b"hello"
        await left.aclose()
        await right.aclose()
