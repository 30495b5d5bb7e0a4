from __future__ import annotations

import pytest

from protocol.errors import ErrorCode, RpcError
from protocol.types import Observability
from stepflow_runtime.connect.connection import Connection, Connections
from stepflow_runtime.ports import Execution
from tests.stepflow_runtime.connect.connect_kit import execution


def connect(connections: Connections, *executions: Execution) -> Connection:
    connection = Connection("c", "server", "python")
    connection.executions = {one.execution_id: one for one in executions}
    connections.add(connection)
    return connection


def test_an_execution_id_finds_its_execution_on_any_connection() -> None:
    connections, wanted = Connections(), execution()
    connect(connections, wanted)
    client = Connection("client")
    assert connections.find_execution(client, Observability(execution_id=wanted.execution_id)) is wanted


def test_the_id_of_an_execution_that_ended_is_refused() -> None:
    connections = Connections()
    connection = connect(connections, execution())
    with pytest.raises(RpcError) as caught:
        connections.find_execution(connection, Observability(execution_id="gone"))
    assert caught.value.code == ErrorCode.NOT_CURRENT


def test_without_an_id_run_and_step_name_the_execution_if_there_is_one() -> None:
    connections = Connections()
    first, second = execution(run="r", step="s", item=0), execution(run="r", step="s", item=1)
    connection = connect(connections, first, second, execution(run="r", step="t", item=0))
    assert connections.find_execution(connection, Observability(run_id="r", step_id="s")) is None
    assert connections.find_execution(connection, Observability(run_id="r", step_id="s", item_index=1)) is second


def test_without_an_id_only_the_same_connection_is_searched() -> None:
    connections, wanted = Connections(), execution(run="r", step="s")
    connect(connections, wanted)
    other = connect(connections)
    assert connections.find_execution(other, Observability(run_id="r", step_id="s")) is None


def test_a_run_id_alone_names_no_execution() -> None:
    connections = Connections()
    connection = connect(connections, execution(run="r"))
    assert connections.find_execution(connection, Observability(run_id="r")) is None


def test_without_observability_the_only_execution_is_meant() -> None:
    connections, only = Connections(), execution()
    connection = connect(connections, only)
    assert connections.find_execution(connection, None) is only
    second = execution()
    connection.executions[second.execution_id] = second
    assert connections.find_execution(connection, None) is None
