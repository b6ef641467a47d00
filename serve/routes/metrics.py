"""The metrics for Prometheus. Nothing here waits for anything that works, so a full service can still be watched."""

from __future__ import annotations

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import PlainTextResponse, Response

from serve.metrics import Metrics
from serve.service import Service


def add(app: FastAPI, service: Service) -> None:
    """Add ``/metrics``."""
    metrics: Metrics = app.state.metrics
    metrics.watch(service)

    @app.get(
        "/metrics", response_class=PlainTextResponse, summary="Counts and times for Prometheus", tags=["operations"]
    )
    async def show_metrics() -> Response:
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})
