"""An HTTP server within the test that keeps what it is sent: a collector of traces, a receiver of webhooks."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

TRACES = "/v1/traces"


class Sent(Struct):
    """A request that came; the names of its headers are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """What came to it. Made by `open_receiver`.

    Args:
        url: Where it listens, without a path.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.sent: list[Sent] = []

    @property
    def traces(self) -> list[Any]:
        """The exports of an OpenTelemetry exporter, as protobuf has them."""
        return [ExportTraceServiceRequest.FromString(sent.body) for sent in self.sent if sent.path == TRACES]

    @property
    def spans(self) -> list[Any]:
        """The spans in them."""
        return [
            span for export in self.traces for resource in export.resource_spans for scope in resource.scope_spans
            for span in scope.spans
        ]  # fmt: skip

    def chain(self, above: bytes = b"") -> list[Any]:
        """The spans from the one beneath `above` down, where each has one beneath it."""
        found = [span for span in self.spans if span.parent_span_id == above]
        return [*found, *self.chain(found[0].span_id)] if found else []


@contextmanager
def open_receiver() -> Generator[Receiver]:
    """A receiver on a port of its own; it accepts everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.sent.append(Sent(self.path, headers, self.rfile.read(int(headers["content-length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Tests say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
