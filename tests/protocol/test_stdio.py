"""What only pipes and sockets of the system have."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import trio

from protocol.streams import FdStream, SocketStream

CHATTY = """
import os, sys, subprocess, trio
from protocol.streams import take_stdio
print("before", flush=False)
stream = take_stdio()
print("stray", flush=True)
os.write(1, b"raw\\n")
subprocess.run([sys.executable, "-c", "print('of a child')"], check=True)
assert sys.stdin.read() == ""

async def echo():
    while data := await stream.receive_some():
        await stream.wait_send_all(data)

trio.run(echo)
"""


def test_print_cannot_break_a_wire_that_was_moved_off_stdio() -> None:
    done = subprocess.run([sys.executable, "-c", CHATTY], input=b"{}\n", capture_output=True, check=True, timeout=20)
    assert done.stdout == b"before\n{}\n"
    assert done.stderr == b"stray\nraw\nof a child\n"


async def test_descriptors_are_as_blocking_after_the_end_as_before() -> None:
    read_fd, write_fd = os.pipe()
    others = os.dup(read_fd), os.dup(write_fd)
    stream = FdStream(read_fd, write_fd)
    assert [os.get_blocking(fd) for fd in others] == [False, False]
    await stream.aclose()
    assert [os.get_blocking(fd) for fd in others] == [True, True]
    for fd in others:
        os.close(fd)


async def test_the_pipes_of_a_child_are_a_stream() -> None:
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: ASYNC220 - returns at once
    assert child.stdin is not None
    assert child.stdout is not None
    stream = FdStream(os.dup(child.stdout.fileno()), os.dup(child.stdin.fileno()))
    child.stdin.close()
    child.stdout.close()
    with trio.fail_after(5):
        await stream.wait_send_all(b"x" * 10_000)
        received = 0
        while received < 10_000:
            received += len(await stream.receive_some())
        await stream.aclose()
    child.wait(5)


def test_tcp_does_not_hold_small_writes_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = SocketStream(socket.create_connection(listener.getsockname()))
        assert stream._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        stream._sock.close()
