"""PaddleX 3's dialect: its documented requests get the documented fields, its errors its own envelope."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from live_service import BrokenModel, live, not_grey
from PIL import Image
from tiny_bundle import (
    BOX,
    COLD,
    GREY,
    MAKERS,
    SIDE,
    WARM,
    as_png,
    expected_probabilities,
    expected_score,
    flat_png,
    halves,
)

from serve import Settings, create_app
from toolkit.inference import load

ROOT = Path(__file__).parents[2]
PICTURE = as_png(halves(WARM, GREY, (SIDE, SIDE)))
MEAN = [(a + b) / 2 for a, b in zip(WARM, GREY, strict=True)]
PATHS = {
    "detection": "/object-detection",
    "classification": "/image-classification",
    "segmentation": "/semantic-segmentation",
}


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, httpx.Client]]:
    folder = tmp_path_factory.mktemp("paddlex")
    settings = Settings(max_body_bytes=2**20)
    running = {
        task: live(create_app(load(make(folder / task), "cpu", threads=1), settings)) for task, make in MAKERS.items()
    }
    yield {task: service.__enter__() for task, service in running.items()}
    for service in running.values():
        service.__exit__(None, None, None)


def in_base64(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def ask(client: httpx.Client, task: str, picture: bytes = PICTURE, **fields: Any) -> dict[str, Any]:
    answer = client.post(PATHS[task], json={"image": in_base64(picture), **fields})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert set(body) == {"logId", "result", "errorCode", "errorMsg"}
    assert (body["errorCode"], body["errorMsg"]) == (0, "Success")
    assert body["logId"] == answer.headers["x-request-id"]
    return body["result"]  # type: ignore[no-any-return]


def test_object_detection(clients: dict[str, httpx.Client]) -> None:
    result = ask(clients["detection"], "detection")
    assert set(result) == {"detectedObjects", "image"}
    assert result["detectedObjects"] == [
        {"bbox": list(BOX), "categoryId": 0, "categoryName": "warm",
         "score": pytest.approx(expected_score(MEAN), abs=1e-5)}
    ]  # fmt: skip
    shown = Image.open(io.BytesIO(base64.b64decode(result["image"])))
    assert (shown.format, shown.size) == ("JPEG", (SIDE, SIDE))


def test_image_classification(clients: dict[str, httpx.Client]) -> None:
    result = ask(clients["classification"], "classification", topk=2)
    wanted = expected_probabilities(MEAN)
    best = sorted(range(3), key=lambda index: -wanted[index])[:2]
    assert result["categories"] == [
        {"id": index, "name": ("red", "green", "blue")[index], "score": pytest.approx(wanted[index], abs=1e-5)}
        for index in best
    ]
    assert len(ask(clients["classification"], "classification")["categories"]) == 3


@pytest.mark.parametrize("size", [(SIDE, SIDE), (50, 121)])
def test_semantic_segmentation(clients: dict[str, httpx.Client], size: tuple[int, int]) -> None:
    picture = as_png(halves(COLD, WARM, size))
    result = ask(clients["segmentation"], "segmentation", picture)
    assert set(result) == {"labelMap", "size", "image"}
    assert result["size"] == list(size)
    masks = clients["segmentation"].post("/predict?masks=png", content=picture).json()
    expected = np.asarray(Image.open(io.BytesIO(base64.b64decode(masks["mask_png"]))))
    np.testing.assert_array_equal(np.reshape(result["labelMap"], size), expected)
    assert set(result["labelMap"]) >= {1, 2}


@pytest.mark.parametrize("task", PATHS)
@pytest.mark.parametrize(("visualize", "drawn"), [(None, True), (True, True), (False, False)])
def test_the_drawn_picture_comes_unless_it_is_not_wanted(
    clients: dict[str, httpx.Client], task: str, visualize: bool | None, drawn: bool
) -> None:
    assert ("image" in ask(clients[task], task, visualize=visualize)) == drawn


@pytest.mark.parametrize("threshold", [0.999, 1, {"0": 0.999}, {"0": 0.999, "1": 0}])
def test_nothing_over_the_threshold_is_an_empty_list(clients: dict[str, httpx.Client], threshold: Any) -> None:
    assert ask(clients["detection"], "detection", threshold=threshold, visualize=False) == {"detectedObjects": []}


@pytest.mark.parametrize(
    ("threshold", "found"),
    [
        (None, ["warm", "cold"]),
        (0.5, ["warm", "cold"]),
        ({"1": 0.999}, ["warm"]),  # the other class keeps the bundle's
        ({"0": 0.999}, ["cold"]),
        ({"0": 0.999, "1": 0.5}, ["cold"]),
    ],
)
def test_a_threshold_may_be_each_class_s_own(
    clients: dict[str, httpx.Client], threshold: Any, found: list[str]
) -> None:
    objects = [
        each
        for colour in (WARM, COLD)
        for each in ask(clients["detection"], "detection", flat_png(colour), threshold=threshold)["detectedObjects"]
    ]
    assert [each["categoryName"] for each in objects] == found


IMAGE = in_base64(PICTURE)
# Each row: the task of the bundle, the route's, what is sent, the status, and a part of the sentence.
REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("detection", "detection", {}, 422, "image: is missing from the JSON body"),
    ("detection", "detection", [], 422, "the body: expected"),
    ("detection", "detection", {"image": 3}, 422, "image: expected a valid string, got 3"),
    ("detection", "detection", {"image": "hello!"}, 400, "image: expected base64"),
    ("detection", "detection", {"image": in_base64(b"hello")}, 400, "image: is not a picture"),
    ("detection", "detection", {"image": ""}, 400, "image: is empty"),
    ("detection", "detection", {"image": "https://example.com/a.jpg"}, 400, "this service fetches no URLs"),
    ("detection", "detection", {"image": IMAGE, "treshold": 0.5}, 422, "treshold: is unknown; did you mean"),
    ("detection", "detection", {"image": IMAGE, "threshold": "a"}, 422, "threshold: expected a number from 0 to 1"),
    ("detection", "detection", {"image": IMAGE, "threshold": True}, 422, "threshold: expected a number from 0 to 1"),
    ("detection", "detection", {"image": IMAGE, "threshold": 1.5}, 422, "threshold: expected a number from 0 to 1"),
    ("detection", "detection", {"image": IMAGE, "threshold": {"7": 0.5}}, 422, "class ids from 0 to 1, got '7'"),
    ("detection", "detection", {"image": IMAGE, "visualize": "no"}, 422, "visualize: expected a valid boolean"),
    ("classification", "classification", {"image": IMAGE, "topk": 0}, 422, "topk: expected greater than"),
    ("segmentation", "segmentation", {"image": IMAGE, "targetSize": 512}, 422, "targetSize: is unknown"),
    ("detection", "segmentation", {"image": IMAGE}, 404, "tiny is a detection model and no segmentation"),
    ("segmentation", "detection", {"image": IMAGE}, 404, "use POST /semantic-segmentation"),
    ("detection", "detection", {"image": in_base64(bytes(2**20))}, 413, "the body is longer than the 1 MiB"),
]  # fmt: skip


@pytest.mark.parametrize(("served", "asked", "body", "status", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_a_refusal_has_paddlex_s_envelope(
    clients: dict[str, httpx.Client], served: str, asked: str, body: Any, status: int, sentence: str
) -> None:
    answer = clients[served].post(PATHS[asked], json=body)
    told = answer.json()
    assert set(told) == {"logId", "errorCode", "errorMsg"}
    assert (answer.status_code, told["errorCode"]) == (status, status), told
    assert sentence in told["errorMsg"]
    assert "\n" not in told["errorMsg"]


def test_other_refusals_have_it_too(clients: dict[str, httpx.Client]) -> None:
    assert clients["detection"].get("/object-detection").json()["errorCode"] == 405
    assert clients["detection"].post("/object-detection", content=b"{").json()["errorCode"] == 400
    assert clients["detection"].get("/health").json()["errorMsg"] == "Healthy"
    assert clients["detection"].get("/nothing").json().keys() == {"error"}


def test_a_fault_of_ours_has_it_too(tiny_bundle: Path) -> None:
    model = BrokenModel(tiny_bundle)
    with live(create_app(model)) as client:
        model.broken = not_grey
        answer = client.post("/object-detection", json={"image": IMAGE}, headers={"X-Request-Id": "n-1"})
    assert answer.status_code == 500
    sentence = "the service failed on this request; its log has the reason under n-1"
    assert answer.json() == {"logId": "n-1", "errorCode": 500, "errorMsg": sentence}


def test_a_wide_picture_s_label_map_has_every_pixel(clients: dict[str, httpx.Client]) -> None:
    """Over what a JPEG can hold: the map comes without the drawing, and with it the way out is told."""
    wide = flat_png(WARM, (2, 66_000))
    assert len(ask(clients["segmentation"], "segmentation", wide, visualize=False)["labelMap"]) == 132_000
    refused = clients["segmentation"].post("/semantic-segmentation", json={"image": in_base64(wide)})
    assert (refused.status_code, "send visualize as false" in refused.json()["errorMsg"]) == (422, True)


def test_a_client_written_as_paddlex_documents_it(clients: dict[str, httpx.Client], tmp_path: Path) -> None:
    picture = tmp_path / "demo.png"
    picture.write_bytes(PICTURE)
    for task, client in clients.items():
        out = tmp_path / f"{task}.jpg"
        address = f"{str(client.base_url).rstrip('/')}{PATHS[task]}"
        command = [sys.executable, str(ROOT / "demos/call_as_paddlex.py"), address, str(picture), str(out)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert Image.open(out).size == (SIDE, SIDE)
        told = json.loads(done.stdout)
        assert set(told) & {"detectedObjects", "categories", "labelMap"}
