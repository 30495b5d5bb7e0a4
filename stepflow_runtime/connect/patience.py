"""Components that go on though nobody wants their answer any more: after a time-out, or a cancellation and its grace.

They are found by looking now and then at what was asked and is wanted, so that nothing per execution has to be noted.
What becomes of their server is the business of `supervisor`.
"""

from __future__ import annotations

import trio

from protocol.peer import Answer
from stepflow_runtime.connect.connection import Connection


async def wait_until_ignored(connection: Connection, timeout_s: float) -> None:
    """Waits until a server has not answered what nobody has wanted for this time; notices it within twice that."""
    before: dict[int, object] = {}
    while True:
        await trio.sleep(timeout_s)
        unwanted = _find_unwanted(connection)
        if before.keys() & unwanted.keys():
            return
        before = unwanted


async def wait_until_idle(connection: Connection) -> None:
    """Waits until nothing is in flight on a connection that somebody wants; nothing new may be sent there any more."""
    idle, receive = trio.Event(), connection.receive

    def receive_last(answers: list[Answer]) -> None:
        receive(answers)
        if not connection.executions:
            idle.set()

    if connection.executions:
        connection.receive = receive_last
        await idle.wait()


def _find_unwanted(connection: Connection) -> dict[int, object]:
    """What a server was asked and did not answer, and nobody waits for."""
    wanted = {id(one) for execution in connection.executions.values() for one in (execution, execution.place)}
    return {id(token): token for token in connection.link.unanswered if id(token) not in wanted}
