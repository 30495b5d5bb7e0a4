"""Spans of runs and steps, sent to an OpenTelemetry collector over OTLP/HTTP.

It stands between parts that know nothing of it: it hears of the end of runs as their commits are put together, and of
the steps of sampled items on their way to servers and back. Where a span belongs is `model.trace`'s. Needs the extra
`otel`, and is imported only when `telemetry` is configured; without that nothing here exists.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext as WireContext
from opentelemetry.trace import SpanKind, Status, StatusCode, TraceFlags

from stepflow_runtime import __version__
from stepflow_runtime.app.config import TelemetryConfig
from stepflow_runtime.connect.answers import AnswerQueue
from stepflow_runtime.model.events import AnyEvent, RunCompleted
from stepflow_runtime.model.outcome import Answer, Displaced, Failure, Suspension
from stepflow_runtime.model.spec import RunSpec
from stepflow_runtime.model.trace import SpanContext, is_sampled, span_of_execution, span_of_run
from stepflow_runtime.ports import Announcer, Answered, Clock, ComponentCaller, Delivery, Execution, ExecutionSink

_SCOPE: Final = InstrumentationScope("stepflow_runtime", __version__)
_NO_SPAN: Final = "0" * 16
_MS: Final = 1_000_000
FLUSH_MS: Final = 2_000
"""How long a runtime that stops waits for a collector."""


class Spans:
    """Where ended spans go: batches, sent by a thread of the SDK's own, which drops them if the collector is away.

    Args:
        config: The collector, and who we are.
    """

    def __init__(self, config: TelemetryConfig) -> None:
        self._resource = Resource.create({"service.name": config.service_name, "service.version": __version__})
        exporter = OTLPSpanExporter(endpoint=config.endpoint, headers=config.headers, timeout=FLUSH_MS / 1000)
        self._processor = BatchSpanProcessor(exporter, schedule_delay_millis=config.interval_ms)

    def add(
        self,
        name: str,
        span: SpanContext,
        parent: SpanContext,
        start_ms: int,
        end_ms: int,
        attributes: dict[str, str | int],
        error: str | None = None,
    ) -> None:
        """Adds a span that has ended; `error` says why it failed, if it did."""
        self._processor.on_end(
            ReadableSpan(
                name,
                context=_to_wire(span),
                parent=None if parent.span_id is None else _to_wire(parent),
                resource=self._resource,
                attributes=attributes,
                kind=SpanKind.INTERNAL,
                status=Status(StatusCode.OK) if error is None else Status(StatusCode.ERROR, error),
                start_time=start_ms * _MS,
                end_time=end_ms * _MS,
                instrumentation_scope=_SCOPE,
            )
        )

    def close(self) -> None:
        """Sends what is left. Blocks, for `FLUSH_MS` and a little more at most."""
        self._processor.force_flush(FLUSH_MS)
        self._processor.shutdown()  # type: ignore[no-untyped-call]


class RunSpans:
    """Gives each sampled run that ends a span; an `Announcer` before the one that has subscriptions.

    Args:
        announcer: The one behind it.
        spans: Where they go.
        ratio: The share of traces that are sampled.
    """

    def __init__(self, announcer: Announcer, spans: Spans, ratio: float) -> None:
        self._announcer = announcer
        self._spans = spans
        self._ratio = ratio

    def announce(self, spec: RunSpec, events: Sequence[AnyEvent], first_seq: int, at_ms: int) -> Sequence[Delivery]:
        last = events[-1] if events else None
        if type(last) is RunCompleted and spec.trace is not None and is_sampled(spec.trace, self._ratio):
            self._add(spec, spec.trace, last.status, at_ms)
        return self._announcer.announce(spec, events, first_seq, at_ms)

    def announced(self) -> None:
        self._announcer.announced()

    def _add(self, spec: RunSpec, trace: SpanContext, status: str, at_ms: int) -> None:
        attributes: dict[str, str | int] = {
            "stepflow.run_id": spec.run_id,
            "stepflow.root_run_id": spec.root_run_id,
            "stepflow.flow_id": spec.flow_id,
            "stepflow.status": status,
        }
        if spec.parent is not None:
            attributes["stepflow.parent_run_id"] = spec.parent.run_id
        error = None if status == "success" else f"the run is {status}"
        own = span_of_run(trace, spec.run_id)
        self._spans.add(
            f"run {spec.flow_name or ''}".rstrip(), own, trace, spec.created_at_ms, at_ms, attributes, error
        )


class StepSpans:
    """Gives the steps of sampled items spans: a `ComponentCaller` before the router, and a sink behind it.

    Args:
        caller: The router.
        sink: The engine.
        spans: Where they go.
        clock: For their times.
        ratio: The share of traces that are sampled.
        step_ratio: The share of their items.
    """

    def __init__(
        self,
        caller: ComponentCaller,
        sink: ExecutionSink,
        spans: Spans,
        clock: Clock,
        ratio: float,
        step_ratio: float,
    ) -> None:
        self._caller = caller
        self._sink = sink
        self._spans = spans
        self._clock = clock
        self._ratio = ratio
        self._step_ratio = step_ratio
        self._begun: dict[Execution, tuple[SpanContext, int]] = {}
        # What it has no part in goes straight on.
        self.knows = caller.knows
        self.park = caller.park
        self.unpark = caller.unpark
        self.flush = caller.flush
        self.interrupt = caller.interrupt
        self.dispatched = sink.dispatched
        self.has_others = sink.has_others
        self.end_turn = sink.end_turn

    def call(self, execution: Execution) -> None:
        trace = execution.trace
        if trace is not None and self._takes(trace, execution.item_index):
            self._begun[execution] = trace, self._clock.wall_ms()
            execution.trace = span_of_execution(trace, execution.execution_id)
        self._caller.call(execution)

    def cancel(self, execution: Execution) -> None:
        self._end(execution, "cancelled")
        self._caller.cancel(execution)

    def answered(self, answers: Iterable[Answered]) -> None:
        answers = list(answers)
        for execution, outcome in answers:
            self._end(execution, _tell_error(outcome), outcome)
        self._sink.answered(answers)

    def _takes(self, trace: SpanContext, item_index: int) -> bool:
        return is_sampled(trace, self._ratio) and is_sampled(trace, self._step_ratio, item_index + 1)

    def _end(self, execution: Execution, error: str | None, outcome: Answer | None = None) -> None:
        begun = self._begun.pop(execution, None)
        if begun is None or execution.trace is None:
            return
        parent, start_ms = begun
        attributes: dict[str, str | int] = {
            "stepflow.run_id": execution.run_id,
            "stepflow.step_id": execution.step_id,
            "stepflow.item_index": execution.item_index,
            "stepflow.attempt": execution.attempt,
            "stepflow.component": execution.component,
        }
        if isinstance(outcome, Failure):
            attributes["stepflow.error_code"] = outcome.code
        if isinstance(outcome, Suspension):
            attributes["stepflow.suspended"] = "true"
        name = f"step {execution.step_id}"
        self._spans.add(name, execution.trace, parent, start_ms, self._clock.wall_ms(), attributes, error)


def _tell_error(outcome: Answer) -> str | None:
    match outcome:
        case Failure(message=error) | Displaced(reason=error):
            return error
        case _:
            return None


class Tracing:
    """All of it, for the composition root.

    Args:
        config: What is sent, and where to.
        clock: For times.
    """

    def __init__(self, config: TelemetryConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._spans = Spans(config)

    def hear(self, announcer: Announcer) -> Announcer:
        """Puts itself before an announcer."""
        return RunSpans(announcer, self._spans, self._config.sample_ratio)

    def stand_between(self, sink: ExecutionSink, caller: ComponentCaller, answers: AnswerQueue) -> ComponentCaller:
        """Puts itself between the engine and the router, if steps have spans at all; returns the engine's caller."""
        config = self._config
        if not config.step_sample_ratio:
            return caller
        steps = StepSpans(caller, sink, self._spans, self._clock, config.sample_ratio, config.step_sample_ratio)
        answers.report_to(steps)
        return steps

    def close(self) -> None:
        """Sends what is left; blocks briefly."""
        self._spans.close()


def _to_wire(span: SpanContext) -> WireContext:
    flags = TraceFlags(TraceFlags.SAMPLED)
    return WireContext(int(span.trace_id, 16), int(span.span_id or _NO_SPAN, 16), is_remote=False, trace_flags=flags)
