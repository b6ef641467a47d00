"""Jobs: ``POST /jobs`` takes a zip of pictures, a video or a CT series, ``GET /jobs/{id}`` tells how far it is.

They are there where the service has a folder for them. The same content with the same options is the same job.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel, Field
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse

from serve.answers import errors
from serve.background.runner import JobRunner
from serve.background.store import CANCELLED, DONE, FINISHED, Job
from serve.background.upload import receive
from serve.errors import RequestError
from serve.options import query_of
from serve.service import Service

_TAGS: list[Any] = ["jobs"]
# An event stream says something at least this often, so that whatever lies between keeps it open.
_HEARTBEAT_SECONDS = 15.0
_UPLOAD = {"content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in (
    "application/zip", "video/mp4", "video/quicktime", "video/x-msvideo", "video/x-matroska",
    "application/gzip", "application/octet-stream",
)}, "required": True}  # fmt: skip


class JobAnswer(BaseModel):
    """A job as it is now."""

    id: str
    status: str = Field(description="queued, running, done, failed or cancelled")
    stage: str = Field(description="What is done now: loading, reading slices, predicting ..., or the status")
    percent: float = Field(description="How much is answered, 0 to 100")
    done: int = Field(description="Pictures, frames or slices that are answered")
    total: int = Field(description="All of them; 0 while they are not counted")
    error: str = Field(description="One sentence, where it failed")
    created: float = Field(description="Seconds since 1970")
    results: str | None = Field(description="Where the answers are, one JSON object a line, once it is done")
    mask: str | None = Field(description="Where the mask of a CT series is, as NIfTI, once it is done")
    kept_until: float | None = Field(description="When the answers are deleted, in seconds since 1970")


def add(app: FastAPI, service: Service) -> None:
    """Add ``/jobs`` where the service has a runner."""
    runner: JobRunner | None = app.state.jobs
    if runner is not None:
        _add_upload(app, service, runner)
        _add_states(app, runner)


def _add_upload(app: FastAPI, service: Service, runner: JobRunner) -> None:
    query = query_of(service.model.spec)

    async def create(request: Request) -> Response:
        with service.admitted() as served:
            given = query.read(request.query_params.multi_items())
            served.check_options(given.explain, given.overrides)
            options = json.dumps({key: value for key, value in given.overrides.items() if value is not None})
            settings = service.settings
            content = await receive(request, runner.folder, settings.max_job_bytes, settings.body_seconds)
            spec = served.model.spec
            named = "\n".join((content.digest, content.kind, spec.name, spec.version, options))
            job_id = hashlib.sha256(named.encode()).hexdigest()[:32]
            bundle = str(served.model.bundle.path)
            job = Job(job_id, content.kind, spec.name, spec.version, options, bundle, created=time.time())
            job = await runner.add(job, content.path)
        return JSONResponse(_told(job, runner).model_dump(), 202, headers={"Location": f"/jobs/{job.id}"})

    app.post(
        "/jobs",
        status_code=202,
        response_model=JobAnswer,
        responses=errors(400, 408, 413, 415, 422, 429, 500, 503),
        openapi_extra={"requestBody": _UPLOAD, "parameters": query.parameters()},
        summary="Predict on a zip of pictures, a video or a CT series (a zip of DICOM files, NIfTI) in the background",
        tags=_TAGS,
    )(create)


def _add_states(app: FastAPI, runner: JobRunner) -> None:
    async def find(job_id: str) -> Job:
        job = await runner.get(job_id)
        if job is None:
            raise RequestError(404, f"there is no job {job_id[:40]!r}; finished jobs are forgotten after a while")
        return job

    async def finished(job_id: str, told: str) -> Job:
        job = await find(job_id)
        if job.status != DONE:
            raise RequestError(409, f"the job is {job.status}; its {told} there when it is done")
        return job

    @app.get("/jobs/{job_id}", responses=errors(404), summary="How far a job is", tags=_TAGS)
    async def state(job_id: str) -> JobAnswer:
        return _told(await find(job_id), runner)

    @app.delete("/jobs/{job_id}", responses=errors(404, 409), summary="Cancel a job", tags=_TAGS)
    async def cancel(job_id: str) -> JobAnswer:
        job = await find(job_id)
        if not await runner.cancel(job_id) and (job := await find(job_id)).status != CANCELLED:
            raise RequestError(409, f"the job is {job.status} already")
        return _told(await find(job_id), runner)

    @app.get(
        "/jobs/{job_id}/results",
        response_class=FileResponse,
        responses=errors(404, 409),
        summary="A finished job's answers, one JSON object a line",
        tags=_TAGS,
    )
    async def results(job_id: str) -> Response:
        job = await finished(job_id, "answers are")
        return FileResponse(runner.results(job), media_type="application/x-ndjson")

    @app.get(
        "/jobs/{job_id}/mask",
        response_class=FileResponse,
        responses=errors(404, 409),
        summary="The mask of a finished CT series, a packed NIfTI file",
        tags=_TAGS,
    )
    async def mask(job_id: str) -> Response:
        if (path := runner.mask(await finished(job_id, "mask is"))) is None:
            raise RequestError(404, "the job was no CT series, so it has no mask of a volume")
        return FileResponse(path, media_type="application/gzip", filename="mask.nii.gz")

    @app.get(
        "/jobs/{job_id}/events",
        response_class=StreamingResponse,
        responses=errors(404),
        summary="The job's state whenever it changes, as server-sent events",
        tags=_TAGS,
    )
    async def events(job_id: str) -> Response:
        return StreamingResponse(_events(await find(job_id), runner), media_type="text/event-stream")


async def _events(job: Job, runner: JobRunner) -> AsyncIterator[str]:
    shown: Job | None = None
    seen = -1  # the state that was found first may be old by now
    while True:
        if job != shown:
            shown = job
            yield f"event: {job.status}\ndata: {_told(job, runner).model_dump_json()}\n\n"
        else:
            yield ": still there\n\n"
        if job.status in FINISHED:
            return
        await runner.change(seen, _HEARTBEAT_SECONDS)
        seen, job = runner.changes, await runner.get(job.id) or job


def _told(job: Job, runner: JobRunner) -> JobAnswer:
    fields = {name: value for name, value in asdict(job).items() if name in JobAnswer.model_fields}
    finished = job.status in FINISHED
    return JobAnswer(
        **fields,
        percent=job.percent,
        results=f"/jobs/{job.id}/results" if job.status == DONE else None,
        mask=f"/jobs/{job.id}/mask" if runner.mask(job) else None,
        kept_until=job.finished + runner.limits.keep_seconds if finished else None,
    )
