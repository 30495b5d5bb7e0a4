"""What a component server is asked, as JSON: the params of its requests (PROTOCOL §2). `outcomes` reads the answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw

from protocol.types import Observability, Resume
from stepflow_runtime.model.trace import SpanContext
from stepflow_runtime.ports import Execution

_encode: Final = msgspec.json.Encoder().encode


class CallWriter:
    """Writes params; what goes into them was JSON before.

    Executions in a row are mostly of the same step of a run, and what one has in common with the last is not encoded
    again.
    """

    __slots__ = ("_run_id", "_shared", "_step_id", "_trace")

    def __init__(self) -> None:
        self._run_id = self._step_id = ""
        self._trace: SpanContext | None = None
        self._shared = b""

    def write_execute(self, execution: Execution, path: str, input: bytes) -> bytes:
        """The params of `components/execute`.

        Args:
            execution: Whose.
            path: The component, as the server knows it.
            input: Raw JSON, as it is sent.
        """
        call, resumes = self._write_call(execution, input), b""
        if execution.resumes:
            resumes = b',"resumes":%b' % _encode([Resume(one.label, Raw(one.data)) for one in execution.resumes])
        return b'{"component":%b,%b%b}' % (_encode(path), call, resumes)

    def write_call(self, execution: Execution, input: bytes) -> bytes:
        """One of the calls of a batch."""
        return b"{%b}" % self._write_call(execution, input)

    def _write_call(self, execution: Execution, input: bytes) -> bytes:
        if execution.step_id != self._step_id or execution.run_id != self._run_id or execution.trace is not self._trace:
            self._share(execution)
        return b'"input":%b,"attempt":%d,"observability":%b,"item_index":%d,"execution_id":%b}' % (
            input,
            execution.attempt,
            self._shared,
            execution.item_index,
            _encode(execution.execution_id),
        )

    def _share(self, execution: Execution) -> None:
        self._run_id, self._step_id = execution.run_id, execution.step_id
        self._trace = trace = execution.trace
        shared = Observability(
            None if trace is None else trace.trace_id,
            None if trace is None else trace.span_id,
            execution.run_id,
            execution.flow_id,
            execution.step_id,
        )
        self._shared = _encode(shared)[:-1]


def write_batch(path: str, calls: Sequence[bytes]) -> bytes:
    """The params of `components/execute_batch`, of calls as `CallWriter.write_call` writes them."""
    return b'{"component":%b,"calls":[%b]}' % (_encode(path), b",".join(calls))
