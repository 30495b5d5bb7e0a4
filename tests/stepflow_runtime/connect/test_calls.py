"""What a component server is asked: what is written at once is what the protocol's own shapes would be."""

from __future__ import annotations

import msgspec

from protocol.types import BatchCall, ExecuteBatchParams, ExecuteParams
from stepflow_runtime.connect.calls import CallWriter, write_batch
from stepflow_runtime.model.outcome import Resume
from stepflow_runtime.model.trace import SpanContext
from stepflow_runtime.ports import Execution
from tests.stepflow_runtime.connect.connect_kit import execution

EXECUTIONS = [
    execution(input="1"),
    execution(input='{"a": "\\"}"}'),
    execution(step="other"),
    execution(step="other", run="another"),
    execution(step="other", run="another", trace=SpanContext("0" * 31 + "1", "0" * 15 + "1")),
    execution(step="other", run="another", trace=SpanContext("0" * 31 + "1", "0" * 15 + "2")),
    execution(step='a "quoted" step', resumes=[Resume("1", b'{"b":2}')]),
    execution(input="2"),
]


def is_of(call: ExecuteParams | BatchCall, execution: Execution) -> bool:
    told, trace = call.observability, execution.trace
    return (
        told is not None
        and (bytes(call.input), call.attempt) == (execution.input, execution.attempt)
        and (told.run_id, told.flow_id, told.step_id) == (execution.run_id, execution.flow_id, execution.step_id)
        and (told.item_index, told.execution_id) == (execution.item_index, execution.execution_id)
        and (told.trace_id, told.span_id) == ((None, None) if trace is None else (trace.trace_id, trace.span_id))
    )


def test_each_request_tells_of_its_own_execution_whatever_was_written_before() -> None:
    writer = CallWriter()
    for one in EXECUTIONS:
        params = msgspec.json.decode(writer.write_execute(one, "/a/b", one.input), type=ExecuteParams)
        assert params.component == "/a/b"
        assert is_of(params, one)
        resumes = [] if params.resumes is msgspec.UNSET else params.resumes
        assert [(resume.label, bytes(resume.data)) for resume in resumes] == [(r.label, r.data) for r in one.resumes]


def test_the_calls_of_a_batch_tell_of_an_execution_each() -> None:
    writer = CallWriter()
    calls = [writer.write_call(one, one.input) for one in EXECUTIONS]
    batch = msgspec.json.decode(write_batch("/a/b", calls), type=ExecuteBatchParams)
    assert batch.component == "/a/b"
    assert all(is_of(call, one) for call, one in zip(batch.calls, EXECUTIONS, strict=True))
