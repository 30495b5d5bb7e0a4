from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
import trio
import trio.testing

from stepflow_runtime.connect import stdio
from stepflow_runtime.connect.stdio import ProcessLimits, StdioOrigin
from tests.stepflow_runtime.connect.connect_kit import PATIENCE_S, World, execution, open_world
from tests.stepflow_runtime.connect.server_script import FLOODING, FORSAKING, SILENT, SOURCE, STUBBORN

KILLED_S: Final = 5.0
"""A process may take so long to be gone once it was killed."""


def server(folder: Path, source: str = SOURCE, **options: Any) -> StdioOrigin:
    script = folder / "server.py"
    script.write_text(source)
    return StdioOrigin(sys.executable, [str(script)], cwd=folder, **options)


async def ask(world: World, what: str) -> Any:
    one = execution("/python/do", what)
    world.call(one)
    (outcome,) = await world.sink.wait_for(one)
    return outcome


async def wait_gone(pidfd: int) -> None:
    """Waits until a process has ended that was killed; if it was not, it is now."""
    try:
        with trio.fail_after(KILLED_S):
            await trio.lowlevel.wait_readable(pidfd)
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)


async def test_a_process_answers(tmp_path: Path) -> None:
    async with open_world(server(tmp_path)) as world:
        assert await ask(world, '{"echo": {"x": 1}}') == {"x": 1}
        assert [info.component for info in await world.router.components()] == ["/python/do"]


async def test_a_process_that_is_killed_fails_what_is_in_flight_and_is_started_again(tmp_path: Path) -> None:
    async with open_world(server(tmp_path)) as world:
        pid = await ask(world, '{"pid": true}')
        one = execution("/python/do", '{"wait": true}')
        world.call(one)
        await trio.testing.wait_all_tasks_blocked()
        os.kill(pid, signal.SIGKILL)
        (failure,) = await world.sink.wait_for(one)
        assert failure.code == "UNREACHABLE"
        assert "killed by SIGKILL" in failure.message
        assert await ask(world, '{"pid": true}') != pid


async def test_the_failure_tells_the_exit_status_and_quotes_stderr(tmp_path: Path) -> None:
    async with open_world(server(tmp_path)) as world:
        failure = await ask(world, '{"die": 3}')
        assert failure.code == "UNREACHABLE"
        assert "exited with status 3" in failure.message
        assert "about to die" in failure.message
        assert failure.data == {"stderr": "about to die"}


async def test_a_flood_on_stderr_blocks_nothing_and_only_its_tail_is_kept(tmp_path: Path) -> None:
    lines: list[str] = []
    async with open_world(server(tmp_path, on_stderr=lines.append)) as world:
        assert await ask(world, '{"shout": 2000, "echo": "done"}') == "done"
        failure = await ask(world, '{"die": 1}')
        assert len(failure.data["stderr"]) <= stdio.TAIL_BYTES
        assert lines[-1] == "about to die"
        assert len(lines) == 2001


async def test_a_flood_on_stderr_takes_no_more_memory_than_what_is_kept(tmp_path: Path) -> None:
    ended = trio.Event()
    async with server(tmp_path, FLOODING, on_stderr=lambda line: ended.set() if line == "end" else None).open() as peer:
        with trio.fail_after(PATIENCE_S):
            await ended.wait()
        assert isinstance(peer, stdio.ServerProcess)
        assert len(peer._ring) == stdio.STDERR_BYTES


async def test_a_server_that_never_initializes_is_given_up_and_told_about(tmp_path: Path) -> None:
    options = {"unavailable_timeout_ms": 1500, "initialize_timeout_ms": 300}
    async with open_world(server(tmp_path, SILENT), **options) as world:
        failure = await ask(world, "{}")
        assert failure.code == "UNREACHABLE"
        assert 'did not answer "initialize"' in failure.message
        assert "I never answer" in failure.message


async def test_two_processes_are_two_processes(tmp_path: Path) -> None:
    origin = server(tmp_path)
    async with open_world(origin, origin) as world:
        with trio.fail_after(PATIENCE_S):
            pids: set[int] = set()
            while len(pids) < 2:
                both = [execution("/python/do", '{"pid": true}') for _ in range(2)]
                world.call(*both)
                pids |= set(await world.sink.wait_for(*both))


async def test_leaving_stops_the_process_and_leaves_no_zombie(tmp_path: Path) -> None:
    async with open_world(server(tmp_path)) as world:
        pid = await ask(world, '{"pid": true}')
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_process_that_does_not_stop_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdio, "GRACE_S", 0.2)
    send, receive = trio.open_memory_channel[str](10)
    with trio.fail_after(PATIENCE_S):
        async with server(tmp_path, STUBBORN, on_stderr=send.send_nowait).open():
            child = os.pidfd_open(int(await receive.receive()))
    await wait_gone(child)


async def test_what_a_process_leaves_behind_is_killed(tmp_path: Path) -> None:
    send, receive = trio.open_memory_channel[str](10)
    with trio.fail_after(PATIENCE_S):
        async with server(tmp_path, FORSAKING, on_stderr=send.send_nowait).open():
            child = os.pidfd_open(int(await receive.receive()))
    await wait_gone(child)


async def test_the_environment_is_allow_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", "secret")
    monkeypatch.setenv("LC_TEST", "de")
    async with open_world(server(tmp_path, env={"GIVEN": "yes"})) as world:
        assert await ask(world, '{"env": "DATABASE_PASSWORD"}') is None
        assert await ask(world, '{"env": "LC_TEST"}') == "de"
        assert await ask(world, '{"env": "GIVEN"}') == "yes"


async def test_no_descriptors_are_left_behind(tmp_path: Path) -> None:
    async with open_world(server(tmp_path)) as world:
        await ask(world, '{"echo": 1}')
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            await ask(world, '{"die": 1}')
        await ask(world, '{"echo": 1}')
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_command_that_is_not_there_is_refused_with_its_name() -> None:
    with pytest.raises(ValueError, match=r'The command "no-such-program" of a component server was not found'):
        StdioOrigin("no-such-program")


# --- what it is given ------------------------------------------------------------------------------------------------


async def test_a_process_inherits_no_descriptors(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as ours:
        os.set_inheritable(ours.fileno(), True)
        async with open_world(server(tmp_path)) as world:
            assert await ask(world, '{"open": true}') == [0, 1, 2]


async def test_a_process_has_a_session_and_a_group_of_its_own(tmp_path: Path) -> None:
    async with open_world(server(tmp_path)) as world:
        *_, (group, session) = await ask(world, '{"limits": true}')
        assert group == session == await ask(world, '{"pid": true}')
        assert session != os.getsid(0)


async def test_a_process_sees_only_the_environment_that_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STEPFLOW_VAR_KEY", "STEPFLOW_TOKEN_FILE", "AWS_SECRET_ACCESS_KEY", "LD_PRELOAD_X", "LC_X"):
        monkeypatch.setenv(name, "x")
    async with open_world(server(tmp_path, env={"GIVEN": "y"})) as world:
        seen = set(await ask(world, '{"all_env": true}'))
    assert {"GIVEN", "LC_X"} <= seen
    assert not {name for name in seen if name.startswith(("STEPFLOW_VAR", "STEPFLOW_TOKEN", "AWS", "LD_"))}


async def test_a_process_keeps_to_its_limits(tmp_path: Path) -> None:
    limits = ProcessLimits(memory_mb=512, cpu_seconds=60, open_files=64, file_mb=8)
    async with open_world(server(tmp_path, limits=limits)) as world:
        memory, cpu, files, file_size, (group, _) = await ask(world, '{"limits": true}')
        assert (memory, cpu, files, file_size) == ([512 << 20] * 2, [60] * 2, [64] * 2, [8 << 20] * 2)
        assert group == await ask(world, '{"pid": true}')


async def test_secrets_are_scrubbed_from_the_last_words_before_they_are_cut(tmp_path: Path) -> None:
    secret = "s3cret-" + "x" * 100
    source = SOURCE.replace('print("about to die"', f'print({secret!r} + "y" * {stdio.TAIL_BYTES - 50}')
    async with open_world(server(tmp_path, source, scrub=lambda text: text.replace(secret, "-"))) as world:
        failure = await ask(world, '{"die": 3}')
    assert "yyy" in failure.message
    assert "x" not in failure.data["stderr"]


async def test_a_process_that_was_started_ahead_is_the_first_that_is_opened(tmp_path: Path) -> None:
    origin = server(tmp_path)
    origin.start_ahead(1)
    (ahead,) = origin._ahead
    async with origin.open() as first, origin.open() as second:
        assert first.pid == ahead.pid
        assert second.pid != ahead.pid
    await origin.kill_unused()


async def test_a_process_that_was_started_ahead_in_vain_is_killed_and_leaves_nothing(tmp_path: Path) -> None:
    origin = server(tmp_path, SILENT)
    before = set(os.listdir("/proc/self/fd"))
    origin.start_ahead(2)
    pids = [process.pid for process in origin._ahead]
    await origin.kill_unused()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert set(os.listdir("/proc/self/fd")) == before
