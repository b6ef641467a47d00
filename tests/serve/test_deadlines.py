"""``X-Request-Timeout-Ms`` in every dialect: each refuses a wrong one, keeps a right one, and its document names it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from live_service import GatedModel, live
from tiny_bundle import SIDE, WARM, flat_png

from serve import Settings, create_app
from serve.caller import TIMEOUT_HEADER

PICTURE = flat_png(WARM)
TENSOR = {"name": "images", "datatype": "FP32", "shape": [1, 3, SIDE, SIDE], "data": [0.5] * (3 * SIDE * SIDE)}
# For each path of the document, a path and a body.
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "/predict": ("/predict", {"content": PICTURE}),
    "/predict/batch": ("/predict/batch", {"files": [("file", PICTURE), ("file", PICTURE)]}),
    "/models/{name}/predict": ("/models/tiny/predict", {"content": PICTURE}),
    "/models/{name}/versions/{version}/predict": ("/models/tiny/versions/1.0.0/predict", {"content": PICTURE}),
    "/v2/models/{name}/infer": ("/v2/models/tiny/infer", {"json": {"inputs": [TENSOR]}}),
    "/v2/models/{name}/versions/{version}/infer": (
        "/v2/models/tiny/versions/1.0.0/infer",
        {"json": {"inputs": [TENSOR]}},
    ),
    "/object-detection": ("/object-detection", {"json": {"image": base64.b64encode(PICTURE).decode()}}),
}
# Of another task than the bundle, or not answered while the client waits.
NOT_ASKED = {"/image-classification", "/semantic-segmentation", "/jobs"}


@pytest.fixture(scope="module")
def served(tiny_bundle: Path) -> Iterator[tuple[httpx.Client, GatedModel]]:
    model = GatedModel(tiny_bundle)
    with live(create_app(model, Settings(workers=1, waiting=100))) as client:
        yield client, model


def test_the_table_is_complete(served: tuple[httpx.Client, GatedModel]) -> None:
    paths = served[0].get("/openapi.json").json()["paths"]
    assert {path for path, operations in paths.items() if "post" in operations} == {*ASKED, *NOT_ASKED} - {"/jobs"}


@pytest.mark.parametrize("path", ASKED)
def test_each_dialect_keeps_to_it(path: str, served: tuple[httpx.Client, GatedModel]) -> None:
    client, model = served
    address, body = ASKED[path]
    document = client.get("/openapi.json").json()["paths"][path]["post"]
    assert TIMEOUT_HEADER in [each["name"] for each in document["parameters"]]
    assert {"400", "429", "504"} <= set(document["responses"])

    assert client.post(address, headers={TIMEOUT_HEADER: "60000"}, **body).status_code == 200
    wrong = client.post(address, headers={TIMEOUT_HEADER: "soon"}, **body)
    assert wrong.status_code == 400
    assert "X-Request-Timeout-Ms: expected milliseconds" in sentence(wrong)
    model.gate.clear()
    try:
        late = client.post(address, headers={TIMEOUT_HEADER: "300"}, **body)
    finally:
        model.gate.set()
    assert late.status_code == 504
    assert sentence(late).startswith("the deadline passed before an answer was there")


def sentence(answer: httpx.Response) -> str:
    """The error in the form of its dialect."""
    told = answer.json()
    return str(told["errorMsg"] if "errorMsg" in told else told["error"])
