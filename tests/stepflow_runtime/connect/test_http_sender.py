"""Deliveries over real sockets: posted once, to an address that was judged, and nothing that an answer does hurts."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trustme

from stepflow_runtime.connect.destinations import parse_networks
from stepflow_runtime.connect.http_sender import HttpSender
from stepflow_runtime.ports import SendFailed

LOOPBACK = parse_networks(["127.0.0.0/8"])
OK = b"HTTP/1.1 204 No Content\r\n\r\n"


class Receiver:
    """Answers each connection with the same bytes, and keeps what it got."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.got: list[bytes] = []

    async def handle(self, stream: trio.abc.Stream) -> None:
        got = b""
        async with stream:
            try:
                while not got.endswith(b"\r\n\r\n{}"):
                    got += await stream.receive_some(65536) or b"\r\n\r\n{}"
                self.got.append(got)
                if self.answer is None:
                    await trio.sleep_forever()
                else:
                    await stream.send_all(self.answer)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass


@asynccontextmanager
async def receiving(
    answer: bytes | None = OK, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[tuple[Receiver, int]]:
    receiver = Receiver(answer)
    async with trio.open_nursery() as nursery:
        listener: Any
        if tls is None:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            port = listener.socket.getsockname()[1]
        else:
            (listener,) = await trio.open_ssl_over_tcp_listeners(0, tls, host="127.0.0.1")
            port = listener.transport_listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, receiver.handle, [listener])
        yield receiver, port
        nursery.cancel_scope.cancel()


def resolving(*addresses: str) -> Callable[[str, int], Any]:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


def make_sender(**options: Any) -> HttpSender:
    given: dict[str, Any] = {"timeout_s": 10, "schemes": ("http", "https"), "allowed": LOOPBACK, **options}
    return HttpSender(**given)


async def test_a_delivery_is_posted() -> None:
    async with receiving() as (receiver, port):
        with trio.fail_after(10):
            await make_sender().send(f"http://127.0.0.1:{port}/hook?x=1", {"webhook-id": "msg_1"}, b"{}")
    (got,) = receiver.got
    assert got.startswith(b"POST /hook?x=1 HTTP/1.1\r\n")
    assert f"\r\nhost: 127.0.0.1:{port}\r\n".encode() in got.lower()
    assert b"\r\nwebhook-id: msg_1\r\n" in got.lower()
    assert b"\r\ncontent-length: 2\r\n" in got.lower()


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", 500, "answered 500"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n", 302, "redirects are not followed"),
        (b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", 410, "answered 410"),
        (b"not http\r\n\r\n", None, "could not be sent"),
        (b"", None, "could not be sent"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000, None, "could not be sent"),
    ],
)
async def test_a_delivery_that_is_not_accepted_has_failed(answer: bytes, status: int | None, words: str) -> None:
    async with receiving(answer) as (_, port):
        with trio.fail_after(10), pytest.raises(SendFailed, match=words) as caught:
            await make_sender().send(f"http://127.0.0.1:{port}/", {}, b"{}")
    assert caught.value.status == status


async def test_of_an_answer_that_never_ends_only_the_status_is_read() -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n" + b"x" * 100_000
    async with receiving(endless) as (_, port):
        with trio.fail_after(10):
            await make_sender().send(f"http://127.0.0.1:{port}/", {}, b"{}")


async def test_a_receiver_that_does_not_answer_is_given_up_in_time(autojump_clock: object) -> None:
    async with receiving(None) as (_, port):
        with pytest.raises(SendFailed, match=r"webhooks\.timeoutMs"):
            await make_sender(timeout_s=5).send(f"http://127.0.0.1:{port}/", {}, b"{}")


async def test_nobody_is_there() -> None:
    with trio.fail_after(10), pytest.raises(SendFailed, match="could not be sent"):
        await make_sender().send("http://127.0.0.1:1/", {}, b"{}")


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.1", "8.8.8.8"], ["8.8.8.8", "::ffff:127.0.0.1"], []])
async def test_a_name_is_judged_by_all_that_it_stands_for(addresses: list[str]) -> None:
    async with receiving() as (receiver, port):
        sender = make_sender(allowed=(), resolve=resolving(*addresses))
        with trio.fail_after(10), pytest.raises(SendFailed, match=r"not on the public internet|has no address"):
            await sender.send(f"http://receiver.example:{port}/", {}, b"{}")
    assert not receiver.got


async def test_the_connection_goes_to_the_address_that_was_judged() -> None:
    """A name that stands for another address the next time gains nothing."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.2", "127.0.0.1"]

    async with receiving() as (receiver, port):
        with trio.fail_after(10):
            await make_sender(resolve=resolve).send(f"http://rebinding.example:{port}/", {}, b"{}")
    assert asked == ["rebinding.example"]
    assert f"host: rebinding.example:{port}".encode() in receiver.got[0].lower()


@pytest.mark.parametrize("number", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1"])
async def test_odd_ways_to_write_an_address_are_judged_as_what_they_stand_for(number: str) -> None:
    with trio.fail_after(10), pytest.raises(SendFailed, match="not on the public internet"):
        await make_sender(allowed=()).send(f"http://{number}/", {}, b"{}")


@pytest.mark.parametrize("name", ["receiver.example", "other.example"])
async def test_the_certificate_must_be_for_the_name(name: str) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("receiver.example").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with receiving(tls=context) as (receiver, port):
        sender = make_sender(resolve=resolving("127.0.0.1"), tls=trusting)
        with trio.fail_after(10):
            if name == "receiver.example":
                await sender.send(f"https://{name}:{port}/", {}, b"{}")
            else:
                with pytest.raises(SendFailed, match="certificate"):
                    await sender.send(f"https://{name}:{port}/", {}, b"{}")
    assert len(receiver.got) == (name == "receiver.example")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "receiver.example",
        "ftp://receiver.example/",
        "file:///etc/passwd",
        "gopher://receiver.example/",
        "https://",
        "https:///path",
        "https://user@receiver.example/",
        "https://user:password@receiver.example/",
        "https://receiver.example/#fragment",
        "https://receiver.example:0/",
        "https://receiver.example:99999/",
        "https://receiver.example/\r\nX: y",
        "https://recéiver.example/",
        "https://[::1]/",
        "https://[::1/",
        "https://169.254.169.254/latest/meta-data",
        "https://receiver.example/" + "x" * 3000,
    ],
)
async def test_a_url_that_is_never_sent_to_is_refused(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  the words are those of each case
        make_sender(allowed=()).check_url(url)


def test_plain_http_must_be_wanted() -> None:
    with pytest.raises(ValueError, match=r"webhooks\.schemes"):
        make_sender(schemes=("https",)).check_url("http://receiver.example/")
