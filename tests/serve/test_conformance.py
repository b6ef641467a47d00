"""The service against its own OpenAPI document, by Schemathesis: requests that fit it and requests that do not.

No answer is a fault of the service, and each has a status, a type and a shape that the document names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from live_service import live
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tiny_bundle import MAKERS, WARM, flat_png

from serve import Settings, create_app
from toolkit.api_keys import add_key
from toolkit.inference import load

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
# Each of them, for each task; about 1200 requests in 20 seconds altogether.
EXAMPLES = 15
schemathesis.openapi.format("binary", st.just(flat_png(WARM)) | st.binary(max_size=64))


@pytest.fixture(scope="module", params=sorted(MAKERS))
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    bundle = MAKERS[request.param](tmp_path_factory.mktemp("conformance") / "b")
    with live(create_app(load(bundle, "cpu", threads=1), Settings(body_seconds=2.0))) as client:
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


def run(operation: Any, mode: GenerationMode, base: str, session: requests.Session, statuses: set[int]) -> None:
    """Ask the operation; one that has nothing to get wrong makes no wrong requests."""

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=HealthCheck)
    def ask(case: Any) -> None:
        answer = case.call(base_url=base, session=session, timeout=20)
        statuses.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    try:
        ask()
    except Unsatisfiable:
        if mode is GenerationMode.POSITIVE:
            raise
