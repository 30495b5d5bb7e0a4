"""A disk that is full or fails: nothing that was acknowledged is lost, running work waits and goes on later."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import apsw
import pytest

from protocol.errors import ErrorCode
from protocol.types import BlobType
from stepflow_runtime.model.canonical import blob_id
from stepflow_runtime.model.ids import BlobId
from stepflow_runtime.ports import StoreUnavailable
from stepflow_runtime.store.connection import Connection
from stepflow_runtime.store.sqlite import open_sqlite
from stepflow_runtime.store.view import open_view
from tests.conformance.wire import RawClient, make_flow, serve
from tests.contracts.store_kit import addition, create, end, name_run, step
from tests.operations.test_db import check
from tests.operations.test_drain import GATED, begun
from tests.system.processes import await_that
from tests.system.servers import config

T = TypeVar("T")

# --- every write, in process ---


class FailingDisk:
    """Makes one statement that writes, or one commit, fail; counts them.

    Args:
        at: Which one, from 0.
        error: How.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, error: type[apsw.Error]) -> None:
        self.writes = 0
        self._at = at
        self._error = error
        make, begin = Connection.__init__, Connection.transaction

        def connect(connection: Connection, path: Path) -> None:
            make(connection, path)
            connection.run = self._watch(connection.run)
            connection.run_many = self._watch(connection.run_many)

        @contextmanager
        def transaction(connection: Connection) -> Generator[None]:
            with begin(connection):
                yield
                self._strike()

        monkeypatch.setattr(Connection, "__init__", connect)
        monkeypatch.setattr(Connection, "transaction", transaction)

    def _watch(self, write: Callable[..., object]) -> Callable[..., object]:
        def checked(*args: Any) -> object:
            self._strike()
            return write(*args)

        return checked

    def _strike(self) -> None:
        self.writes += 1
        if self.writes == self._at + 1:
            raise self._error("injected")


BLOBS: Final = [(BlobId(blob_id(data)), data) for data in (b"1", b"2", b"3")]


class Patient:
    """Does things until they are acknowledged, and counts how often the medium refused."""

    def __init__(self) -> None:
        self.refused = 0

    async def do(self, work: Callable[..., Awaitable[T]], *args: Any) -> T:
        while True:
            try:
                return await work(*args)
            except StoreUnavailable:
                self.refused += 1


async def fill(path: Path) -> int:
    """Writes runs and blobs; returns how often the medium refused."""
    patient = Patient()
    async with AsyncExitStack() as stack:
        store = await patient.do(lambda: stack.enter_async_context(open_sqlite(path, inline_only=True)))
        for id, data in BLOBS:
            await patient.do(store.put, id, data, BlobType.DATA)
        for number in (1, 2):
            run_id = await patient.do(partial(create, store, number, labels={"a": "b"}))
            await patient.do(store.commit, [addition(store, run_id, 1, [step(0)], ended=1)])
            await patient.do(partial(end, store, run_id, after=2))
        await patient.do(store.delete, [name_run(2)])
    return patient.refused


@pytest.mark.parametrize("error", [apsw.FullError, apsw.IOError])
async def test_whichever_write_fails_what_is_acknowledged_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[apsw.Error]
) -> None:
    at = 0
    while True:
        path = tmp_path / f"{at}.db"
        with monkeypatch.context() as patch:
            disk = FailingDisk(patch, at, error)
            refused = await fill(path)
        if disk.writes <= at:
            break
        assert refused == 1, f"write {at}"
        with open_view(path) as view:
            assert [await view.get(id) for id, _ in BLOBS] == [(data, BlobType.DATA) for _, data in BLOBS]
            assert await view.run(name_run(1)) is not None
            assert await view.run(name_run(2)) is None
            assert len(await view.journal(name_run(1), 1, 9)) == 3
        at += 1
    assert at > 20


# --- a disk that is really full ---


@pytest.fixture
def small_disk(tmp_path: Path) -> Generator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def stuff(folder: Path) -> Path:
    """Uses up what is free."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler


def test_a_full_disk_refuses_submissions_and_running_work_waits_and_goes_on(tmp_path: Path, small_disk: Path) -> None:
    parts = config(tmp_path, GATED, storage=True, env={"FOLDER": str(tmp_path)})
    parts["storage"]["path"] = str(small_disk / "state.db")
    with serve(tmp_path, parts) as runtime, runtime.connect() as client:
        flow_id = client.put_flow(make_flow("/python/gated"))
        run_id = client.call("runs/submit", {"flowId": flow_id, "inputs": [1, 2, 3]})["runId"]
        await_that(lambda: begun(tmp_path) == 3)
        filler = stuff(small_disk)
        exhaust_wal(client)
        refusal = client.refuse("runs/submit", {"flowId": flow_id, "inputs": [4]})
        assert refusal.code == ErrorCode.INTERNAL_ERROR
        assert "the disk is full; free some space" in refusal.message
        assert refusal.data["reason"] == "storeUnavailable"
        refusal = client.refuse("blobs/put", {"data": "y" * 100_000})
        assert refusal.data["reason"] == "storeUnavailable"
        (tmp_path / "gate").touch()
        await_that(lambda: "running ones wait" in runtime.log)
        refusal = client.refuse("runs/submit", {"flowId": flow_id, "inputs": ["x" * 100_000]})
        assert refusal.data["reason"] == "storeUnavailable", "also while others wait"
        assert client.call("runs/get", {"runId": run_id})["status"] == "running", "reading goes on"
        filler.unlink()
        status = client.call("runs/get", {"runId": run_id, "wait": True, "includeResults": True})
        assert [entry["result"]["value"] for entry in status["results"]] == [1, 2, 3]
        await_that(lambda: "store available again" in runtime.log)
        assert client.run(make_flow("/builtin/noop"), [5])["status"] == "success"
    assert begun(tmp_path) == 3, "nothing went again"
    assert check(small_disk / "state.db")[0] == 0


def exhaust_wal(client: RawClient) -> None:
    """Fills what the WAL has left of its length, so that the next write needs space."""
    while True:
        try:
            client.call("blobs/put", {"data": {"at": time.monotonic_ns()}})
        except Exception:
            return


def test_a_component_that_needs_the_full_disk_waits_and_its_sub_run_is_made_once(
    tmp_path: Path, small_disk: Path
) -> None:
    parts = config(tmp_path, GATED, storage=True, env={"FOLDER": str(tmp_path)})
    parts["storage"]["path"] = str(small_disk / "state.db")
    with serve(tmp_path, parts) as runtime, runtime.connect() as client:
        flow_id = client.put_flow(make_flow("/python/parent"))
        run_id = client.call("runs/submit", {"flowId": flow_id, "inputs": [10]})["runId"]
        await_that(lambda: begun(tmp_path) == 1)
        filler = stuff(small_disk)
        exhaust_wal(client)
        (tmp_path / "gate").touch()
        await_that(lambda: "running ones wait" in runtime.log)
        filler.unlink()
        status = client.call("runs/get", {"runId": run_id, "wait": True, "includeResults": True})
        assert status["results"][0]["result"]["value"] == 21
        children = client.call("runs/list", {"parentRunId": run_id})["runs"]
        assert len(children) == 2
