"""Whether the service lives and takes pictures. Neither waits for anything that works."""

from __future__ import annotations

from fastapi import FastAPI

from serve.answers import HealthAnswer, errors
from serve.service import Service


def add(app: FastAPI, service: Service) -> None:
    """Add ``/health/live`` and ``/health/ready``."""

    @app.get("/health/live", summary="Whether the event loop turns", tags=["health"])
    async def live() -> HealthAnswer:
        return HealthAnswer(status="live")

    @app.get("/health/ready", responses=errors(503), summary="Whether pictures are taken", tags=["health"])
    async def ready() -> HealthAnswer:
        service.require_ready()
        return HealthAnswer(status="ready")
