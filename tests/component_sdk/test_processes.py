"""Component servers as processes: on stdio, listening and dialling."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from component_sdk.address import dial
from protocol import methods
from protocol.streams import FdStream, adopt_socket_stream
from protocol.types import ConnectParams, ConnectResult, Empty, Limits
from tests.component_sdk.runtimes import RuntimeSide

SERVER = """
import os, subprocess, sys, time
import trio
from component_sdk import ComponentServer
server = ComponentServer()

@server.component
async def loud(input):
    print("to stdout", flush=True)
    os.write(1, b"to fd 1\\n")
    subprocess.run(["echo", "from a child"], check=True)
    assert sys.stdin.read() == ""
    return input

@server.component
async def echo(input):
    return input

@server.component
async def hang():
    await trio.sleep_forever()

@server.component
def block():
    sys.stderr.write("blocking\\n")
    sys.stderr.flush()
    time.sleep(60)

if __name__ == "__main__":
    server.run()
"""


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "server.py"
    path.write_text(SERVER)
    return str(path)


@asynccontextmanager
async def spawn(script: str, *args: str) -> AsyncGenerator[trio.Process]:
    with trio.fail_after(20):
        command = [sys.executable, script, *args]
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                assert pipe is not None
                await pipe.aclose()


@asynccontextmanager
async def speak(process: trio.Process) -> AsyncGenerator[RuntimeSide]:
    """The runtime's end of a spawned server's stdio."""
    assert process.stdin is not None
    assert process.stdout is not None
    stdin: Any = process.stdin
    stdout: Any = process.stdout
    stream = FdStream(os.dup(stdout.fileno()), os.dup(stdin.fileno()))
    await process.stdin.aclose()
    async with trio.open_nursery() as nursery:
        runtime = RuntimeSide(stream, {})
        await nursery.start(runtime.link.run)
        await runtime.initialize()
        yield runtime
        await runtime.link.aclose()


async def test_nothing_that_is_printed_breaks_the_wire(script: str) -> None:
    async with spawn(script) as process:
        async with speak(process) as runtime:
            for number in range(3):
                assert await runtime.execute("/loud", number) == number
        assert await process.wait() == 0
        assert process.stderr is not None
        written = bytes(await process.stderr.receive_some())
    assert written.count(b"to stdout") == written.count(b"to fd 1") == written.count(b"from a child") == 3


@pytest.mark.parametrize("component", ["/hang", "/block"])
async def test_the_end_of_stdin_ends_the_server(script: str, component: str) -> None:
    async with spawn(script) as process:
        async with speak(process) as runtime:
            runtime.post(component, None, "endless")
            await runtime.link.call(methods.PING, Empty())
        with trio.fail_after(5):
            assert await process.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_server(script: str, number: signal.Signals) -> None:
    async with spawn(script) as process, speak(process) as runtime:
        runtime.post("/hang", None, "endless")
        await runtime.link.call(methods.PING, Empty())
        process.send_signal(number)
        with trio.fail_after(5):
            assert await process.wait() == 0
        await runtime.wait_answers(1)
        assert runtime.posted["endless"].lost


async def test_a_server_listens(script: str) -> None:
    async with spawn(script, "--tcp", "127.0.0.1:0") as process:
        address = await _read_address(process)
        for _ in range(2):  # connections come and go
            stream = await dial(address)
            async with trio.open_nursery() as nursery:
                runtime = RuntimeSide(stream, {})
                await nursery.start(runtime.link.run)
                await runtime.initialize()
                assert await runtime.execute("/echo", 1) == 1
                await runtime.link.aclose()
        process.terminate()
        assert await process.wait() == 0


async def _read_address(process: trio.Process) -> str:
    assert process.stderr is not None
    written = b""
    while b"\n" not in written:
        written += await process.stderr.receive_some()
    line = written.decode()
    assert line.startswith("listening on ")
    return line.split()[2]


async def test_a_server_dials_the_runtime_and_again(script: str, tmp_path: Path) -> None:
    hellos: list[ConnectParams] = []

    async def connect(params: ConnectParams, context: object) -> ConnectResult:
        hellos.append(params)
        return ConnectResult(1, "0.1.0", Limits())

    (tmp_path / "token").write_text("secret\n")
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address = f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    args = ("--connect", address, "--name", "gpu-workers", "--token-file", str(tmp_path / "token"))
    async with spawn(script, *args) as process, listeners[0]:
        for _ in range(2):
            stream = adopt_socket_stream(await listeners[0].accept())
            async with trio.open_nursery() as nursery:
                runtime = RuntimeSide(stream, {"connect": connect})
                await nursery.start(runtime.link.run)
                await runtime.initialize()
                assert await runtime.execute("/echo", 1) == 1
                await runtime.link.aclose()
        process.terminate()
        assert await process.wait() == 0
    assert [(h.role, h.name, h.token, h.max_in_flight) for h in hellos] == [
        ("server", "gpu-workers", "secret", 1000)
    ] * 2


async def test_a_server_that_the_runtime_refuses_says_why(script: str) -> None:
    from protocol.errors import ErrorCode, RpcError

    async def connect(params: ConnectParams, context: object) -> ConnectResult:
        raise RpcError(ErrorCode.NOT_AUTHENTICATED, "That is not the token.")

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address = f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    async with spawn(script, "--connect", address) as process, listeners[0]:
        stream = adopt_socket_stream(await listeners[0].accept())
        async with trio.open_nursery() as nursery:
            runtime = RuntimeSide(stream, {"connect": connect})
            nursery.start_soon(runtime.link.run)
            assert await process.wait() == 1
        assert process.stderr is not None
        assert b"The runtime refused: That is not the token." in bytes(await process.stderr.receive_some())


def test_importing_the_sdk_is_light() -> None:
    code = "import sys, component_sdk; print(sorted(m for m in sys.modules if m in HEAVY))"
    heavy = "HEAVY = {'trio', 'msgspec', 'yaml', 'pydantic', 'apsw', 'asyncio', 'structlog', 'jsonrpcserver'}"
    ran = subprocess.run([sys.executable, "-c", f"{heavy}; {code}"], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_every_public_name_is_there() -> None:
    import component_sdk

    assert all(getattr(component_sdk, name) is not None for name in component_sdk.__all__)
    assert sorted(component_sdk._HOME_OF) == component_sdk.__all__
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = component_sdk.nope
