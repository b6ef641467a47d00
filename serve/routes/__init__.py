"""The routes of the service, by dialect: each file has ``add(app, service)``, and is one line in `ROUTES`."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI

from serve.routes import batch, descriptions, health, jobs, metrics, models, oip, paddlex, predict, stream
from serve.service import Service

ROUTES: tuple[Callable[[FastAPI, Service], None], ...] = (
    predict.add,
    batch.add,
    stream.add,
    models.add,
    jobs.add,
    oip.add,
    paddlex.add,
    health.add,
    descriptions.add,
    metrics.add,
)
