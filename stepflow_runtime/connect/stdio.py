"""A component server as a child process, spoken to over its stdin and stdout.

The process has its own session, an allow-listed environment and no other descriptors. Its stderr is always drained,
into a bounded ring whose tail errors quote. When it is to stop, its stdin is closed; what still runs after a while gets
SIGTERM and then SIGKILL, the whole group; nothing is left behind as a zombie. Where `setpriv` is there (Linux), the
process also dies with the runtime, however that dies; what is left nevertheless is found by `leftovers`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Final

import trio
from msgspec import Struct

from protocol.streams import ByteStream, FdStream
from protocol.types import Positive
from stepflow_runtime.connect.origin import Opened

STDERR_BYTES: Final = 64 * 1024
"""How much of a server's stderr is kept."""

TAIL_BYTES: Final = 4 * 1024
"""How much of it an error quotes."""

GRACE_S: Final = 2.0
"""From closing stdin to SIGTERM, and from there to SIGKILL, unless somebody is in a hurry."""

PIPE_BYTES: Final = 1024 * 1024
"""What the pipes of a server hold, where the system allows it, so that large values take few turns. With asyncio its
stdout does not block, and stepflow-py 0.7 tears an answer that does not fit."""

EXIT_S: Final = 1.0
"""How long a process may take from closing its stdout to its exit, before that goes untold."""

INHERITED: Final = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV"}
)
INHERITED_PREFIXES: Final = ("LC_", "PYTHON", "SSL_")


class ProcessLimits(Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What the system lets one process of a component server use, and each that it starts.

    Args:
        memory_mb: Of address space, in MiB; more cannot be allocated.
        cpu_seconds: Of computing; then the process is killed.
        open_files: Descriptors at once.
        file_mb: Of each file that it writes, in MiB; then the process is killed.
    """

    memory_mb: Positive | None = None
    cpu_seconds: Positive | None = None
    open_files: Positive | None = None
    file_mb: Positive | None = None

    def wrap(self, program: str) -> list[str]:
        """The command that starts a program within these limits."""
        limits = (
            ("-v", self.memory_mb and self.memory_mb * 1024),
            ("-t", self.cpu_seconds),
            ("-n", self.open_files),
            ("-f", self.file_mb and self.file_mb * 2048),  # counted in blocks of 512 bytes
        )
        settings = [f"ulimit {option} {value}" for option, value in limits if value is not None]
        return ["/bin/sh", "-c", " && ".join([*settings, 'exec "$@"']), "sh", program] if settings else [program]


class StdioOrigin:
    """How to start a component server.

    Args:
        command: A program on the PATH, or a path.
        args: Its arguments.
        env: What the configuration adds to the environment.
        cwd: Its working folder.
        limits: What the system lets it use.
        on_stderr: Called with each line of its stderr.
        scrub: Takes secrets out of what it writes to its stderr.
        grace_s: Tells, when it is to stop, how long it has from the end of stdin to SIGTERM, and from there to SIGKILL.

    Raises:
        ValueError: There is no such program.
    """

    def __init__(
        self,
        command: str,
        args: Sequence[str] = (),
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        limits: ProcessLimits | None = None,
        on_stderr: Callable[[str], None] | None = None,
        scrub: Callable[[str], str] = str,
        grace_s: Callable[[], float] = lambda: GRACE_S,
    ) -> None:
        self._grace_s = grace_s
        self._env = {**inherited_environment(os.environ), **(env or {})}
        program = find_program(command, self._env.get("PATH"), cwd)
        setpriv = shutil.which("setpriv")
        dies_with_us = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
        self._argv = [*dies_with_us, *(limits or ProcessLimits()).wrap(program), *args]
        self._cwd = cwd
        self._on_stderr = on_stderr
        self._scrub = scrub
        self._ahead: deque[ServerProcess] = deque()

    def open(self) -> AbstractAsyncContextManager[Opened]:
        """Starts the process; leaving the context stops it.

        Raises:
            OSError: It could not be started.

        Cancellation: stops it, within twice `grace_s`.
        """
        return self._open()

    def start_ahead(self, count: int) -> None:
        """Starts the processes that the next calls of `open` will give; what cannot be started, `open` tries again."""
        with suppress(OSError):
            self._ahead.extend(self._start() for _ in range(count))

    async def kill_unused(self) -> None:
        """Kills the processes that were started ahead and never asked for."""
        while self._ahead:
            await self._ahead.popleft().kill()

    def _start(self) -> ServerProcess:
        return _start(self._argv, self._env, self._cwd, self._scrub)

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[Opened]:
        process = self._ahead.popleft() if self._ahead else self._start()
        async with trio.open_nursery() as nursery:
            try:
                nursery.start_soon(process.attend, self._on_stderr)
                yield process
            finally:
                await process.stop(self._grace_s)


class ServerProcess:
    """A running component server."""

    def __init__(
        self, popen: subprocess.Popen[bytes], stream: ByteStream, stderr_fd: int, scrub: Callable[[str], str]
    ) -> None:
        self.stream = stream
        self._scrub = scrub
        self._popen = popen
        self._stderr = trio.lowlevel.FdStream(stderr_fd)
        self._ring = bytearray()
        self._attention = trio.CancelScope(shield=True)
        self._exited = trio.Event()
        self._drained = trio.Event()

    @property
    def pid(self) -> int:
        return self._popen.pid

    async def ending(self) -> str:
        """Exit status or signal, waited for briefly."""
        with trio.move_on_after(EXIT_S):
            await self._exited.wait()
            await self._drained.wait()
        return _describe_exit(self._popen.returncode)

    def last_words(self) -> str:
        # Scrubbed before it is cut: a cut may leave part of a secret.
        return self._scrub(self._ring.decode(errors="replace")).strip()[-TAIL_BYTES:]

    async def attend(self, on_line: Callable[[str], None] | None) -> None:
        """Drains stderr and reaps the process, until `stop` is through.

        Cancellation: shielded; `stop` ends it.
        """
        with self._attention:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._drain_stderr, on_line)
                nursery.start_soon(self._reap)

    async def stop(self, grace_s: Callable[[], float]) -> None:
        """Closes stdin, then SIGTERM, then SIGKILL.

        Cancellation: shielded, and bounded by twice `grace_s`.
        """
        with trio.CancelScope(shield=True):
            await self.stream.aclose()
            for number in (signal.SIGTERM, signal.SIGKILL):
                with trio.move_on_after(grace_s()):
                    await self._exited.wait()
                if self._exited.is_set():
                    break
                self._signal(number)
            await self._exited.wait()
            with trio.move_on_after(EXIT_S):
                await self._drained.wait()
            self._attention.cancel()
            await self._stderr.aclose()

    async def kill(self) -> None:
        """Kills a process that nobody attends to.

        Cancellation: shielded.
        """
        self._signal(signal.SIGKILL)
        self._popen.wait()
        with trio.CancelScope(shield=True):
            await self.stream.aclose()
            await self._stderr.aclose()

    async def _drain_stderr(self, on_line: Callable[[str], None] | None) -> None:
        rest = b""
        async for chunk in self._stderr:
            self._ring += chunk
            del self._ring[:-STDERR_BYTES]
            if on_line is not None:
                *lines, rest = (rest + chunk).split(b"\n")
                rest = rest[-STDERR_BYTES:]
                for line in lines:
                    on_line(self._scrub(line.decode(errors="replace"))[-TAIL_BYTES:])
        self._drained.set()

    async def _reap(self) -> None:
        await _wait_exit(self._popen.pid)
        self._signal(signal.SIGKILL)  # what is left of its group, before the pid is free for others
        self._popen.wait()
        self._exited.set()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, number)


def find_program(command: str, path: str | None, cwd: Path | None) -> str:
    """Finds a program as a shell would, relative paths from its working folder.

    Raises:
        ValueError: It is not there, or cannot be executed.
    """
    if "/" in command and not command.startswith("/"):
        command = str((cwd or Path.cwd()) / command)
    found = shutil.which(command, path=path)
    if found is None:
        raise ValueError(
            f'The command "{command}" of a component server was not found on the PATH; install it, or give its path.'
        )
    return found


def inherited_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What a component server gets to see of the runtime's environment: no secrets that happen to be there."""
    return {name: value for name, value in environ.items() if name in INHERITED or name.startswith(INHERITED_PREFIXES)}


def _start(argv: Sequence[str], env: Mapping[str, str], cwd: Path | None, scrub: Callable[[str], str]) -> ServerProcess:
    """Starts the process from this thread: it is this thread's end that the kernel would tell it."""
    popen = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(env),
        cwd=cwd,
        start_new_session=True,
        bufsize=0,
    )
    write_fd, read_fd, stderr_fd = (_take_fd(pipe) for pipe in (popen.stdin, popen.stdout, popen.stderr))
    for fd in (write_fd, read_fd):
        _enlarge_pipe(fd)
    return ServerProcess(popen, FdStream(read_fd, write_fd), stderr_fd, scrub)


def _enlarge_pipe(fd: int) -> None:
    if sys.platform == "linux":
        with suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _take_fd(pipe: IO[bytes] | None) -> int:
    assert pipe is not None
    with pipe:
        return os.dup(pipe.fileno())


async def _wait_exit(pid: int) -> None:
    """Waits until a child has exited, without reaping it."""
    if not hasattr(os, "pidfd_open"):
        await trio.to_thread.run_sync(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT, abandon_on_cancel=True)
        return
    fd = os.pidfd_open(pid)
    try:
        await trio.lowlevel.wait_readable(fd)
    finally:
        os.close(fd)


def _describe_exit(status: int | None) -> str:
    if status is None:
        return "the process closed its stdout and runs on"
    if status < 0:
        return f"the process was killed by {signal.Signals(-status).name}"
    return f"the process exited with status {status}"
