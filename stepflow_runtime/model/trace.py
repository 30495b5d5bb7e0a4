"""Where runs and executions stand in a distributed trace (W3C Trace Context). Pure.

Nothing is drawn, and nothing stored but what is above a run: the trace of a root run is its id, its span the end of
that id, so that they are the same after a restart. What becomes of spans is the business of `app.tracing`.
"""

from __future__ import annotations

import re
from typing import Final

from blake3 import blake3
from msgspec import Struct

from stepflow_runtime.model.ids import ExecutionId, RunId

_TRACE_ID: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")
_SPAN_ID: Final = re.compile(r"(?!0{16})[0-9a-f]{16}")
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.*)?")


class SpanContext(Struct, frozen=True, array_like=True):
    """A span of a trace, both in lower-case hex; without `span_id` the trace as a whole, above its first span."""

    trace_id: str
    span_id: str | None = None


def begin_trace(root_run_id: RunId) -> SpanContext:
    """The trace of a run that comes from none."""
    return SpanContext(root_run_id.replace("-", ""))


def read_trace(trace_id: str | None, span_id: str | None) -> SpanContext | None:
    """The trace that a peer named; what is not W3C's form is as if it were not there."""
    if trace_id is None or not _TRACE_ID.fullmatch(trace_id):
        return None
    return SpanContext(trace_id, span_id if span_id is not None and _SPAN_ID.fullmatch(span_id) else None)


def read_traceparent(header: str | None) -> SpanContext | None:
    """The span that a header `traceparent` names, of this version or a later one; what is none is as if not there."""
    found = None if header is None else _TRACEPARENT.fullmatch(header.strip())
    trace = None if found is None else read_trace(found[1], found[2])
    return None if trace is None or trace.span_id is None else trace


def span_of_run(trace: SpanContext, run_id: RunId) -> SpanContext:
    """The span of a run in its trace."""
    return SpanContext(trace.trace_id, run_id.replace("-", "")[-16:])


def span_of_execution(trace: SpanContext, execution_id: ExecutionId) -> SpanContext:
    """The span of an execution; a hash, because who sees a trace may not speak for the execution."""
    return SpanContext(trace.trace_id, blake3(execution_id.encode()).hexdigest(length=8))


def is_sampled(trace: SpanContext, ratio: float, salt: int = 0) -> bool:
    """Whether a trace belongs to that share of all: the same answer everywhere, as OpenTelemetry's TraceIdRatioBased.

    Args:
        trace: Whose id decides.
        ratio: From 0 to 1.
        salt: Decides for parts of a trace: the index of an item.
    """
    low = (int(trace.trace_id[16:], 16) + salt * 0x9E3779B97F4A7C15) % 2**64
    return low < ratio * 2**64
