"""`/metrics`: what is measured, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from stepflow_runtime.model.metric import Histogram, Metric, Sample

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})

ReadMetrics = Callable[[], Awaitable[Iterable[tuple[Metric, Iterable[Sample]]]]]


class MetricsEndpoint:
    """`GET /metrics`.

    Args:
        read: Tells what is measured now.
    """

    def __init__(self, read: ReadMetrics) -> None:
        self._read = read

    async def get(self, request: Request) -> Response:
        lines = [line for metric, samples in await self._read() for line in write_metric(metric, samples)]
        return Response("\n".join([*lines, ""]), media_type=MEDIA_TYPE)


def write_metric(metric: Metric, samples: Iterable[Sample]) -> Iterator[str]:
    """The lines of one metric, with all of its series."""
    yield f"# HELP {metric.name} {metric.help}"
    yield f"# TYPE {metric.name} {metric.kind}"
    for values, value in samples:
        labels = dict(zip(metric.labels, values, strict=True))
        if isinstance(value, Histogram):
            yield from _write_histogram(metric.name, labels, value)
        else:
            yield _write(metric.name, labels, value)


def _write_histogram(name: str, labels: dict[str, str], histogram: Histogram) -> Iterator[str]:
    for bound, count in histogram.buckets():
        yield _write(f"{name}_bucket", {**labels, "le": "+Inf" if bound == float("inf") else f"{bound:g}"}, count)
    yield _write(f"{name}_sum", labels, histogram.sum)
    yield _write(f"{name}_count", labels, histogram.count)


def _write(name: str, labels: dict[str, str], value: float) -> str:
    written = ",".join(f'{label}="{text.translate(_ESCAPES)}"' for label, text in labels.items())
    return f"{name}{{{written}}} {float(value):.15g}" if written else f"{name} {float(value):.15g}"
