"""The service on many machines: a thin Ray Serve ingress over the same application, one copy of it a replica.

Ray places replicas, shares requests out and starts anew what dies. Batches are made by the service's own batcher, in
each replica: Ray's would have to wait for requests before it sees whether the engine is idle, and knows no deadlines.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from serve.allocation import hold_on
from serve.app import create_app
from serve.logs import LogFormat, log_to_stderr
from serve.service import Service
from serve.settings import MOST_WORKERS, Settings
from toolkit.errors import UserError, suggest
from toolkit.inference import load

if TYPE_CHECKING:
    from ray.serve import Application

# A replica is asked as often whether it is well, and after three times that it is not, Ray starts another.
_HEALTH_SECONDS = 5.0
# Requests that a replica holds beside those it works on: they are there to be refused, or ask for health and metrics.
_BESIDE = 16


class Placement(BaseModel):
    """Where replicas run, and what of. The bundles are shipped names, or paths that are there on every machine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundles: tuple[str, ...] = Field(min_length=1)
    replicas: int = Field(default=2, ge=1)
    cpus: int = Field(default=1, ge=1, description="Cores of one replica")
    gpus: float = Field(default=0.0, ge=0, description="GPUs of one replica; more than 0 runs the network there")
    precision: str = Field(default="auto", description="fp32, int8 or auto, as of `toolkit serve`")
    drain_seconds: float = Field(default=30.0, gt=0)
    log_format: LogFormat = "text"


# Jobs have no place here: they need one folder with one owner, and a replica has neither.
_SETTINGS = {each.name for each in fields(Settings) if "job" not in each.name}
_LISTS = ("bundles", "cors_origins", "picture_hosts")


def build(arguments: Mapping[str, Any]) -> Application:
    """The application that ``serve run serve.ray_app:build bundles=a,b replicas=2 cpus=2`` deploys.

    ``arguments`` are the fields of `Placement` and of `Settings`, but for those of jobs; lists may be one text with
    commas. Raises UserError for anything else, and without Ray.
    """
    try:
        from ray import serve
    except ImportError as error:
        raise UserError("Ray is not installed; install the toolkit as 'cv-toolkit[ray]'") from error
    placement, settings = read(arguments)

    at_once = settings.runs + settings.waiting + _BESIDE

    # A class made here travels to the other machines as it is, with the arguments.
    @serve.deployment(
        name="toolkit",
        num_replicas=placement.replicas,
        ray_actor_options={"num_cpus": placement.cpus, "num_gpus": placement.gpus},
        max_ongoing_requests=at_once,
        max_queued_requests=at_once,  # what comes on top while no replica has room is refused with 503
        graceful_shutdown_timeout_s=placement.drain_seconds,
        health_check_period_s=_HEALTH_SECONDS,
    )
    @serve.ingress(lambda: _app(placement, settings))
    class Toolkit:
        app: FastAPI  # given by the ingress

        async def check_health(self) -> None:
            await _require_well(self.app.state.service)

    return cast("Application", Toolkit.bind())  # type: ignore[attr-defined]


def read(arguments: Mapping[str, Any]) -> tuple[Placement, Settings]:
    """The arguments of `build`, checked; UserError for one that is unknown or wrong."""
    given = {
        key: tuple(value.split(",")) if key in _LISTS and isinstance(value, str) else value
        for key, value in arguments.items()
    }
    known = {*Placement.model_fields, *_SETTINGS}
    for name in given:
        if name not in known:
            raise UserError(f"argument {name!r} is unknown{suggest(name, known)}")
    try:
        placement = Placement.model_validate({key: value for key, value in given.items() if key not in _SETTINGS})
        workers = {"workers": min(MOST_WORKERS, placement.cpus)}
        chosen = {key: value for key, value in given.items() if key in _SETTINGS}
        return placement, TypeAdapter(Settings).validate_python(workers | chosen)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"argument {where}: {first['msg'].lower()}, got {first['input']!r}") from error


def _app(placement: Placement, settings: Settings) -> FastAPI:
    """One replica's application; called there."""
    log_to_stderr(placement.log_format)
    hold_on()
    threads = max(1, placement.cpus // settings.runs)
    device = "cuda" if placement.gpus else "cpu"
    models = [
        load(each, device, precision=placement.precision, threads=threads, allow_spinning=False)
        for each in placement.bundles
    ]
    return create_app(models, settings)


async def _require_well(service: Service) -> None:
    """Return once the golden pictures have been answered; RuntimeError where a replica shall be replaced."""
    await service.checked.wait()
    if not service.ready:
        raise RuntimeError(service.why_not_ready or "the engine is down")
