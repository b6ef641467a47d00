"""OpenTelemetry traces: one span a request, in the trace of whoever asked. Off unless an endpoint is given.

A span is made when its request has ended, of what `serve.exchange` knows then, so nothing else in the service knows of
traces. It never holds what a request carried.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import toolkit
from serve.exchange import Exchange
from toolkit.errors import UserError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

_EXPORT_SECONDS = 2
_STAGE = re.compile(r"(\w+);dur=([0-9.]+)")
# Probes and scrapes come every few seconds and say nothing.
_UNTRACED = ("health", "operations")


class Traces:
    """Spans to one exporter, from a thread of its own; what cannot be sent is dropped and never waited for."""

    def __init__(self, exporter: SpanExporter) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        resource = Resource.create({"service.name": "toolkit", "service.version": toolkit.__version__})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, export_timeout_millis=_EXPORT_SECONDS * 1000, schedule_delay_millis=1000)
        )
        self._tracer = self._provider.get_tracer("serve")
        self._propagator = TraceContextTextMapPropagator()

    @classmethod
    def to(cls, endpoint: str) -> Traces:
        """Send them by OTLP over HTTP to a collector such as ``http://localhost:4318``.

        Raises UserError for anything else and where the extra is not installed.
        """
        if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", endpoint):
            raise UserError(f"traces {endpoint!r}: expected a collector's URL, such as http://localhost:4318")
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError as error:
            raise UserError(f"traces need the extra [tracing] ({error}); pip install 'cv-toolkit[tracing]'") from None
        return cls(OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_EXPORT_SECONDS))

    def answered(self, exchange: Exchange) -> None:
        """Make the span of a request that has ended."""
        from opentelemetry.trace import SpanKind, Status, StatusCode

        if exchange.dialect in _UNTRACED or exchange.is_health:
            return
        span = self._tracer.start_span(
            f"{exchange.method} {exchange.dialect}",
            context=self._propagator.extract(exchange.trace_headers),
            kind=SpanKind.SERVER,
            attributes=_attributes(exchange),
            start_time=exchange.started_at,
        )
        if exchange.status is None or exchange.status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end(exchange.started_at + int(exchange.seconds * 1e9))

    def close(self) -> None:
        """Send what is left, for at most two seconds."""
        self._provider.force_flush(_EXPORT_SECONDS * 1000)
        self._provider.shutdown()


def _attributes(exchange: Exchange) -> dict[str, Any]:
    """By OpenTelemetry's names for HTTP where it has one; the stages in milliseconds."""
    known = {
        "http.request.method": exchange.method,
        "url.path": exchange.path,
        "http.response.status_code": exchange.status,
        "toolkit.request_id": exchange.request_id,
        "toolkit.model": exchange.model,
        "toolkit.dialect": exchange.dialect,
        "toolkit.key": exchange.key,
    }
    stages = {f"toolkit.{stage}_ms": float(spent) for stage, spent in _STAGE.findall(exchange.timing)}
    return {name: value for name, value in known.items() if value not in (None, "")} | stages
