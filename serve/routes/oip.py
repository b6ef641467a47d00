"""The Open Inference Protocol v2 under ``/v2``: what clients of KServe, Triton and others speak.

A model takes either an encoded picture (BYTES), which is answered with the task's result, or the network's own input
(FP32), which is answered with the network's raw outputs. One picture a request: the service makes its own batches.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import Response

import toolkit
from serve.answers import HealthAnswer, errors
from serve.body import UNNAMED, Upload
from serve.caller import TIMEOUT_PARAMETER, Caller
from serve.compression import IDENTITY, choose_encoding, compress
from serve.errors import RequestError
from serve.result_tensors import PICTURE, answer_specs, answered, input_specs, raw_specs
from serve.served import Served
from serve.service import Service
from serve.tensors import InferRequest, Tensor, TensorSpec, read_request, write_answer
from toolkit.errors import suggest

_HEADER_LENGTH = "Inference-Header-Content-Length"
_TIMEOUT = "timeout"  # a parameter of a request, in microseconds
_TAGS: list[Any] = ["oip"]


@dataclass(frozen=True)
class _Form:
    """How one call is answered: the fields at the top, the outputs and their form, and how all of it is packed."""

    fields: Mapping[str, str]
    request: InferRequest
    encoding: str

    def of(self, outputs: Sequence[Tensor]) -> Response:
        """The finished answer; work for a thread."""
        content, header_length = write_answer(self.fields, outputs, self.request)
        content, encoding = compress(content, self.encoding)
        headers = {"Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
        if header_length is not None:
            headers[_HEADER_LENGTH] = str(header_length)
        if encoding != IDENTITY:
            headers["Content-Encoding"] = encoding
        kind = "application/json" if header_length is None else "application/octet-stream"
        return Response(content, media_type=kind, headers=headers)


def add(app: FastAPI, service: Service) -> None:
    """Add all that is under ``/v2``."""
    _add_server(app, service)
    _add_model(app, service, "/v2/models/{name}")
    _add_model(app, service, "/v2/models/{name}/versions/{version}")


def _add_server(app: FastAPI, service: Service) -> None:
    @app.get("/v2/health/live", summary="Whether the event loop turns", tags=[*_TAGS, "health"])
    async def live() -> HealthAnswer:
        return HealthAnswer(status="live")

    @app.get("/v2/health/ready", responses=errors(503), summary="Whether pictures are taken", tags=[*_TAGS, "health"])
    async def ready() -> HealthAnswer:
        service.require_ready()
        return HealthAnswer(status="ready")

    @app.get("/v2", summary="The server and its extensions", tags=_TAGS)
    async def describe() -> dict[str, Any]:
        return {"name": "cv-toolkit", "version": toolkit.__version__, "extensions": ["binary_tensor_data"]}


def _add_model(app: FastAPI, service: Service, path: str) -> None:
    named = {"parameters": [_path_parameter(name) for name in ("name", "version") if f"{{{name}}}" in path]}

    @app.get(path, responses=errors(404), openapi_extra=named, summary="A model's inputs and outputs", tags=_TAGS)
    async def describe(request: Request) -> dict[str, Any]:
        return _metadata(_find(service, request))

    @app.get(
        f"{path}/ready",
        responses=errors(404, 503),
        openapi_extra=named,
        summary="Whether a model takes pictures",
        tags=_TAGS,
    )
    async def ready(request: Request) -> HealthAnswer:
        _find(service, request)
        service.require_ready()
        return HealthAnswer(status="ready")

    async def infer(request: Request) -> Response:
        arrived = time.monotonic()
        with service.admitted(**_named(request)) as served:
            caller = service.caller(request)
            encoding = choose_encoding(", ".join(request.headers.getlist("accept-encoding")))
            async with service.bodies.of(request) as body:
                read = partial(read_request, body, request.headers.get(_HEADER_LENGTH), input_specs(served.model))
                asked = await served.work(read, caller, len(body))
                spec = served.model.spec
                form = _Form({"model_name": spec.name, "model_version": spec.version}, asked, encoding)
                return await _answer(served, asked, _hurried(caller, asked, arrived), form)

    app.post(
        f"{path}/infer",
        response_model=None,
        responses=errors(400, 404, 408, 413, 415, 422, 429, 500, 503, 504),
        openapi_extra={"parameters": [*named["parameters"], TIMEOUT_PARAMETER], "requestBody": _BODY},
        summary="Predict on one encoded picture, or run the network on its own input",
        description="With binary data behind the JSON, its length goes into `Inference-Header-Content-Length`.",
        tags=_TAGS,
    )(infer)


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


_BODY = {
    "required": True,
    "content": {
        kind: {"schema": schema}
        for kind, schema in (
            ("application/json", {"type": "object", "required": ["inputs"]}),
            ("application/octet-stream", {"type": "string", "format": "binary"}),
        )
    },
}


def _named(request: Request) -> dict[str, str]:
    return {key: request.path_params[key] for key in ("name", "version") if key in request.path_params}


def _find(service: Service, request: Request) -> Served:
    return service.find(**_named(request))


def _metadata(served: Served) -> dict[str, Any]:
    model = served.model
    outputs = [*answer_specs(model.spec), *raw_specs(model)]
    return {
        "name": model.spec.name,
        "versions": [model.spec.version],
        "platform": "onnxruntime_onnx",
        "inputs": [spec.to_dict() for spec in input_specs(model)],
        "outputs": [spec.to_dict() for spec in outputs],
    }


def _hurried(caller: Caller, asked: InferRequest, arrived: float) -> Caller:
    """The caller with the deadline that the request itself may have, in microseconds."""
    timeout = asked.parameters.get(_TIMEOUT)
    if timeout is None:
        return caller
    if isinstance(timeout, bool) or not isinstance(timeout, int) or timeout < 1:
        raise RequestError(400, f"parameters.{_TIMEOUT}: expected microseconds from 1 up, got {timeout!r}")
    return replace(caller, deadline=min(caller.deadline, arrived + timeout / 1e6))


async def _answer(served: Served, asked: InferRequest, caller: Caller, form: _Form) -> Response:
    if len(asked.inputs) != 1:
        raise RequestError(400, f"the request has {len(asked.inputs)} inputs; give one of {', '.join(asked.inputs)}")
    ((name, given),) = asked.inputs.items()
    options = {key: value for key, value in asked.parameters.items() if key != _TIMEOUT}
    if isinstance(given.values, list):
        wanted = _wanted(asked, name, answer_specs(served.model.spec))
        task = served.model.spec.task
        return await served.result(
            Upload(given.values[0], UNNAMED), caller, lambda result: form.of(answered(result, task, wanted)),
            options=options,
        )  # fmt: skip
    if options:
        raise RequestError(400, f"parameters {', '.join(options)}: are for {PICTURE!r}, raw outputs have no options")
    wanted = _wanted(asked, name, raw_specs(served.model))
    raw = await served.tensors(given.values, caller, outputs=wanted)
    outputs = [Tensor(key, "FP32", values.shape, values) for key, values in raw.items()]
    return await served.work(partial(form.of, outputs), caller, sum(values.nbytes for values in raw.values()))


def _wanted(asked: InferRequest, given: str, specs: Sequence[TensorSpec]) -> list[str]:
    """The outputs to answer; all that this kind of input has where none are named."""
    known = [spec.name for spec in specs]
    for name in asked.outputs:
        if name not in known:
            raise RequestError(
                400, f"output {name!r} is not what input {given!r} is answered with{suggest(name, known)}; "
                f"known are {', '.join(known)}"
            )  # fmt: skip
    return list(asked.outputs) or known
