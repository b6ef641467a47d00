"""Traces: a span a request, in the caller's trace, and none unless they are asked for. No network."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from live_service import live, wait_for
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tiny_bundle import WARM, flat_png

from serve import Settings, create_app
from serve.tracing import Traces
from toolkit.inference import load

SECRET = "canary"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    monkeypatch.setattr(Traces, "to", lambda endpoint: Traces(exporter))
    return exporter


@pytest.fixture
def client(tiny_bundle: Path, spans: InMemorySpanExporter) -> Iterator[httpx.Client]:
    settings = Settings(traces="http://collector.example:4318")
    with live(create_app(load(tiny_bundle, "cpu", threads=1), settings)) as client:
        yield client


def test_a_request_is_a_span_in_the_trace_of_its_caller(client: httpx.Client, spans: InMemorySpanExporter) -> None:
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    headers = {"traceparent": f"00-{trace}-{parent}-01", "X-Request-Id": "one", "User-Agent": SECRET}
    before = time.time_ns()
    answer = client.post(f"/predict?{SECRET}=1", content=flat_png(WARM))
    answer = client.post("/predict", files={"file": (f"{SECRET}.png", flat_png(WARM))}, headers=headers)
    client.get("/nothing")
    client.get("/metrics")
    client.get("/v2/health/ready")
    finished = wait_for_spans(spans, 3)
    span = finished[1]
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (trace, parent)  # type: ignore[union-attr]
    attributes = dict(span.attributes or {})
    stages = {name.removeprefix("toolkit.").removesuffix("_ms"): attributes.pop(name) for name in list(attributes)[-4:]}
    assert stages == pytest.approx(answer.json()["timing"])
    assert attributes == {
        "http.request.method": "POST",
        "url.path": "/predict",
        "http.response.status_code": 200,
        "toolkit.request_id": "one",
        "toolkit.model": "tiny",
        "toolkit.dialect": "prediction",
    }
    assert before < span.start_time < span.end_time < time.time_ns()  # type: ignore[operator]
    assert [each.name for each in finished] == ["POST prediction", "POST prediction", "GET none"]
    assert [each.attributes["http.response.status_code"] for each in finished] == [422, 200, 404]  # type: ignore[index]
    assert SECRET not in "".join(each.to_json() for each in finished)


def wait_for_spans(spans: InMemorySpanExporter, count: int) -> list[ReadableSpan]:
    wait_for(lambda: len(spans.get_finished_spans()) >= count)  # they leave by a thread of their own, once a second
    assert len(spans.get_finished_spans()) == count
    return list(spans.get_finished_spans())


def test_a_caller_s_nonsense_starts_a_trace_of_its_own(client: httpx.Client, spans: InMemorySpanExporter) -> None:
    client.get("/metadata", headers={"traceparent": "00-zz-zz-01"})
    (span,) = wait_for_spans(spans, 1)
    assert span.parent is None


def test_a_collector_that_is_gone_stops_nobody(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("no collector here")

    monkeypatch.setattr("requests.Session.post", fail)
    monkeypatch.setattr(OTLPSpanExporter, "_export", fail, raising=False)
    settings = Settings(traces="http://127.0.0.1:9")
    with live(create_app(load(tiny_bundle, "cpu", threads=1), settings)) as client:
        assert client.post("/predict", content=flat_png(WARM)).status_code == 200


def test_without_an_endpoint_there_is_nothing(tiny_bundle: Path) -> None:
    assert create_app(load(tiny_bundle, "cpu", threads=1)).state.traces is None
