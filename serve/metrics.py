"""The service's metrics in the form that Prometheus reads: what `serve.observer` is told, counted.

One registry an application, so that several in one process (tests, notebooks) do not share their numbers.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

import onnxruntime
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

import toolkit
from serve.exchange import Exchange
from serve.observer import Observer
from toolkit.inference import Model

if TYPE_CHECKING:
    from serve.service import Service

# Seconds: from a tenth of a millisecond (a queue with nobody in it) to the longest deadline in common use.
_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics(Observer):
    """An observer that counts. Every call takes microseconds and may come from any thread."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "toolkit_requests",
            "Requests answered, by the model they asked (empty for those that ask none), dialect and status code.",
            ("model", "dialect", "code"),
            registry=registry,
        )
        self._request_seconds = Histogram(
            "toolkit_request_seconds",
            "From a request's first byte to its answer's last.",
            ("model", "dialect"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._stage_seconds = Histogram(
            "toolkit_stage_seconds",
            "Of one picture in queue, decode, preprocess, network and postprocess.",
            ("model", "stage"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._batch_sizes = Histogram(
            "toolkit_batch_pictures",
            "Pictures in one run of the network.",
            ("model",),
            buckets=_SIZES,
            registry=registry,
        )
        self._turned_away = Counter(
            "toolkit_turned_away",
            "Pictures that were let in or asked to be, and not answered: rejected, expired or cancelled.",
            ("model", "why"),
            registry=registry,
        )
        # To find a label's own counter costs more than to count.
        self._count_of = cache(self._requests.labels)
        self._request_seconds_of = cache(self._request_seconds.labels)
        self._stage_seconds_of = cache(self._stage_seconds.labels)
        build = Gauge(
            "toolkit_build_info",
            "Always 1; what is installed.",
            ("version", "python", "onnxruntime"),
            registry=registry,
        )
        build.labels(toolkit.__version__, platform.python_version(), onnxruntime.__version__).set(1)

    def stage(self, model: Model, name: str, seconds: float) -> None:
        self._stage_seconds_of(model.name, name).observe(seconds)

    def batch(self, model: Model, size: int) -> None:
        self._batch_sizes.labels(model.name).observe(size)

    def turned_away(self, model: Model, why: str) -> None:
        self._turned_away.labels(model.name, why).inc()

    def answered(self, exchange: Exchange) -> None:
        """Count a request at its end; 499 where the client left before its answer began."""
        self._count_of(exchange.model, exchange.dialect, str(exchange.status or 499)).inc()
        self._request_seconds_of(exchange.model, exchange.dialect).observe(exchange.seconds)

    def watch(self, service: Service) -> None:
        """Read the state of ``service`` each time that the metrics are asked for."""
        self._registry.register(_State(service))

    def text(self) -> bytes:
        """All metrics in Prometheus's text format, version 0.0.4."""
        return generate_latest(self._registry)


class _State(Collector):
    """What is so at this moment, not what has happened."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        service = self._service
        waiting = max(0, service.room.inside - service.room.runs)
        yield _gauge("ready", "Whether pictures are taken: 1 or 0.", service.ready)
        yield _gauge("queue_pictures", "Pictures that wait for a worker thread.", waiting)
        yield _gauge("running_pictures", "Pictures in worker threads.", service.room.inside - waiting)
        yield _gauge(
            "queue_limit_pictures",
            "Pictures that may wait; more are rejected.",
            service.room.places - service.room.runs,
        )
        yield _gauge("held_bytes", "Bytes of all request bodies in memory.", service.bodies.held)
        yield _gauge("held_limit_bytes", "Bytes that bodies may take together.", service.bodies.max_held_bytes)
        models = GaugeMetricFamily(
            "toolkit_model_info",
            "Always 1; what is served.",
            labels=("model", "version", "task", "device"),
        )
        for model in (served.model for served in service.registry):
            models.add_metric((model.name, model.spec.version, model.spec.task, model.device), 1)
        yield models

    def describe(self) -> Iterator[Metric]:
        """Nothing: registering must not read a service that is still being made."""
        return iter(())


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"toolkit_{name}", meaning, value=value)
