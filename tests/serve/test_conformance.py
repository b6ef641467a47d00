"""The service against its own OpenAPI document, by Schemathesis: requests that fit it and requests that do not.

No answer is a fault of the service, and each has a status, a type and a shape that the document names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from live_service import live, wait_for
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tiny_bundle import MAKERS, WARM, flat_png, zipped

from serve import Settings, create_app
from serve.caller import TIMEOUT_HEADER
from toolkit.api_keys import add_key
from toolkit.inference import load


def no_fault(context: Any, answer: Any, case: Any) -> bool | None:
    """A 5xx, but for the 504 that a hurried client asked for."""
    hurried = answer.status_code == 504 and TIMEOUT_HEADER in (case.headers or {})
    return None if hurried else not_a_server_error(context, answer, case)


CHECKS = [no_fault, status_code_conformance, content_type_conformance, response_schema_conformance]
ZIP = zipped({"a.png": flat_png(WARM), "b.png": b"no picture"})
# Each of them, for each task; about 1200 requests in 20 seconds altogether.
EXAMPLES = 15
schemathesis.openapi.format("binary", st.just(flat_png(WARM)) | st.just(ZIP) | st.binary(max_size=64))


@pytest.fixture(scope="module", params=sorted(MAKERS))
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    bundle = MAKERS[request.param](tmp_path_factory.mktemp("conformance") / "b")
    with live(create_app(load(bundle, "cpu", threads=1), Settings(body_seconds=2.0))) as client:
        yield client


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service that takes jobs."""
    folder = tmp_path_factory.mktemp("jobs")
    settings = Settings(body_seconds=2.0, jobs=folder / "jobs", max_job_bytes=2**16)
    with live(create_app(load(MAKERS["detection"](folder / "b"), "cpu", threads=1), settings)) as client:
        yield client


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_one_that_the_document_names(client: httpx.Client, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    base = str(client.base_url)
    statuses: dict[str, set[int]] = {}
    with requests.Session() as session:
        session.trust_env = False
        for found in schema.get_all_operations():
            operation = found.ok()
            statuses[operation.label] = set()
            run(operation, mode, base, session, statuses[operation.label])
    assert {"GET /health/live", "POST /predict", "POST /v2/models/{name}/infer"} <= set(statuses)
    if mode is GenerationMode.POSITIVE:
        assert {200, 400} <= statuses["POST /predict"]  # pictures among noise
    else:
        assert statuses["POST /predict"] & {400, 415, 422}


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_jobs_answer_as_the_document_says(working: httpx.Client, mode: GenerationMode) -> None:
    """Of the jobs that are asked for by their id, one is done and one was cancelled; the others never were."""
    real = [working.post(f"/jobs?max_detections={number}", content=ZIP).json()["id"] for number in (1, 2)]
    working.delete(f"/jobs/{real[1]}")
    wait_for(lambda: working.get(f"/jobs/{real[0]}").json()["status"] == "done", 60)
    statuses: dict[str, set[int]] = {}
    with requests.Session() as session:
        session.trust_env = False
        for found in schemathesis.openapi.from_dict(working.get("/openapi.json").json()).get_all_operations():
            operation = found.ok()
            if operation.path.startswith("/jobs"):
                told = statuses.setdefault(operation.label, set())
                run(operation, mode, str(working.base_url), session, told, {"job_id": real})
    if mode is GenerationMode.POSITIVE:
        assert statuses["POST /jobs"] >= {202, 415}
        assert statuses["GET /jobs/{job_id}"] == {200, 404}
        assert statuses["DELETE /jobs/{job_id}"] == {200, 404, 409}
        assert statuses["GET /jobs/{job_id}/results"] == {200, 404, 409}
        assert statuses["GET /jobs/{job_id}/events"] == {200, 404}
    else:
        assert statuses["POST /jobs"] & {400, 415, 422}


def test_without_a_key_every_answer_is_a_401_that_the_document_names(tmp_path: Path) -> None:
    key = add_key(tmp_path / "keys.json", "me")
    bundle = MAKERS["detection"](tmp_path / "b")
    statuses: dict[str, set[int]] = {}
    settings = Settings(keys=tmp_path / "keys.json")
    with live(create_app(load(bundle, "cpu", threads=1), settings)) as client, requests.Session() as session:
        session.trust_env = False
        document = client.get("/openapi.json", headers={"X-API-Key": key}).json()
        for found in schemathesis.openapi.from_dict(document).get_all_operations():
            operation = found.ok()
            kind = "health" if "health" in operation.definition.raw["tags"] else "other"
            run(operation, GenerationMode.POSITIVE, str(client.base_url), session, statuses.setdefault(kind, set()))
    assert statuses == {"health": {200}, "other": {401}}


def run(
    operation: Any,
    mode: GenerationMode,
    base: str,
    session: requests.Session,
    statuses: set[int],
    real: Mapping[str, Sequence[str]] | None = None,
) -> None:
    """Ask the operation; one that has nothing to get wrong makes no wrong requests.

    ``real`` are path parameters that are there, which half of the right requests have.
    """

    @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
    @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=HealthCheck)
    def ask(case: Any, data: st.DataObject) -> None:
        for name, values in (real or {}).items():
            if name in (case.path_parameters or {}) and mode is GenerationMode.POSITIVE and data.draw(st.booleans()):
                case.path_parameters[name] = data.draw(st.sampled_from(values))
        answer = case.call(base_url=base, session=session, timeout=20)
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    try:
        ask()
    except Unsatisfiable:
        if mode is GenerationMode.POSITIVE:
            raise
