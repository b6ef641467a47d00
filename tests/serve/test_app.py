"""The service as a client sees it: a real server on a real socket, asked by httpx."""

from __future__ import annotations

import io
import json
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from bundle_variants import golden_free
from live_service import BrokenModel, GatedModel, live, wait_for
from PIL import Image
from tiny_bundle import BOX, SIDE, expected_score, flat_png, make_tiny_bundle

from serve import Settings, create_app
from toolkit.bundle_spec import DetectionPostprocessing
from toolkit.inference import Model, load

WARM = (200, 60, 40)


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Model:
    return load(tiny_bundle, "cpu", threads=1)


@pytest.fixture(scope="module")
def client(model: Model) -> Iterator[httpx.Client]:
    with live(create_app(model, Settings(max_body_bytes=2**20))) as client:
        yield client


@pytest.fixture(scope="module")
def openapi(client: httpx.Client) -> dict[str, Any]:
    return client.get("/openapi.json").json()  # type: ignore[no-any-return]


def test_raw_bytes_and_a_form_get_what_python_gets(client: httpx.Client, model: Model) -> None:
    picture = flat_png(WARM, (48, 80))
    expected = model.predict_one(picture, name="street.png").to_dict()
    curls_default = "application/x-www-form-urlencoded"
    # the content decides, not the header
    for kind in ("image/png", "application/octet-stream", "image/jpeg", curls_default, None):
        headers = {"Content-Type": kind} if kind else {}
        answer = client.post("/predict", content=picture, headers=headers)
        assert answer.status_code == 200
        assert without_timing(answer.json()) == without_timing({**expected, "source": "upload"})
    answer = client.post("/predict", files={"file": ("street.png", picture, "image/png")})
    assert without_timing(answer.json()) == without_timing(expected)


def test_the_answer_is_the_one_worked_out_by_hand(client: httpx.Client) -> None:
    answer = client.post("/predict", content=flat_png(WARM)).json()
    assert answer["boxes"] == [list(BOX)]
    assert answer["scores"] == [pytest.approx(expected_score(WARM), abs=1e-5)]
    assert (answer["class_ids"], answer["labels"]) == ([0], ["warm"])
    assert (answer["image_size"], answer["class_names"]) == ([SIDE, SIDE], ["warm", "cold"])


def test_boxes_are_in_pixels_of_the_upright_picture(client: httpx.Client) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, shown standing
    stored = io.BytesIO()
    Image.new("RGB", (2 * SIDE, SIDE), WARM).save(stored, "JPEG", quality=95, exif=exif)
    answer = client.post("/predict", content=stored.getvalue()).json()
    assert answer["image_size"] == [2 * SIDE, SIDE]
    assert answer["boxes"] == [[16.0, 32.0, 64.0, 96.0]]  # twice the input's box, cut at the right border


def test_nothing_found_is_an_empty_list(client: httpx.Client) -> None:
    answer = client.post("/predict?score_threshold=0.999", content=flat_png(WARM))
    assert answer.status_code == 200
    assert [answer.json()[key] for key in ("boxes", "scores", "class_ids", "labels")] == [[], [], [], []]


@pytest.mark.parametrize(("media_type", "suffix"), [("image/png", "PNG"), ("image/jpeg", "JPEG")])
def test_a_drawn_picture_comes_when_it_is_asked_for(
    client: httpx.Client, model: Model, media_type: str, suffix: str
) -> None:
    picture = flat_png(WARM, (120, 160))
    answer = client.post("/predict", content=picture, headers={"Accept": f"{media_type}, */*;q=0.1"})
    assert answer.headers["content-type"] == media_type
    shown = Image.open(io.BytesIO(answer.content))
    assert (shown.format, shown.size) == (suffix, (160, 120))
    difference = np.abs(np.asarray(shown, int) - model.predict_one(picture).draw())
    assert difference.mean() < (0.01 if suffix == "PNG" else 6)


def test_query_parameters_override_the_bundle(tmp_path: Path) -> None:
    """A bundle that finds nothing by itself finds its box when the request lowers the threshold."""
    strict = make_tiny_bundle(tmp_path / "b", postprocessing=DetectionPostprocessing(score_threshold=0.99))
    with live(create_app(load(golden_free(strict, tmp_path / "c"), "cpu", threads=1))) as client:
        counts = [
            len(client.post("/predict", params=params, content=flat_png(WARM)).json()["boxes"])
            for params in (
                {},
                {"score_threshold": "0.5"},
                {"score_threshold": "0", "iou_threshold": "1"},  # every cell of the three levels
                {"score_threshold": "0", "iou_threshold": "1", "max_detections": "7"},
            )
        ]
        boxes, fewer = (
            client.post("/predict", params={"score_threshold": "0", "iou_threshold": overlap}, content=flat_png(WARM))
            for overlap in ("1", "0")
        )
    assert counts == [0, 1, 64 + 16 + 4, 7]
    assert len(fewer.json()["boxes"]) < len(boxes.json()["boxes"])


# Each row: what is sent, the status, and a part of the sentence.
PNG_BOMB = b"\x89PNG\r\n\x1a\n" + b"".join(
    struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(1000))),
        (b"IEND", b""),
    )
)
JPEG = io.BytesIO()
Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(JPEG, "JPEG")
REFUSED = [
    ({"content": b""}, 400, "upload: is empty (0 bytes)"),
    ({"content": b"hello"}, 400, "is not a picture"),
    ({"content": b"hello", "headers": {"Content-Type": "image/jpeg"}}, 400, "is not a picture"),
    ({"content": JPEG.getvalue()[:-300]}, 400, "the JPEG is truncated"),
    ({"content": PNG_BOMB}, 413, "20000x20000 is 400 megapixels, over the limit of 50"),
    ({"content": bytes(2**20 + 1)}, 413, "the body is longer than the 1 MiB this service accepts"),
    ({"content": b"x", "headers": {"Content-Type": "text/plain"}}, 415, "Content-Type 'text/plain' is not a picture"),
    ({"json": {"image": "…"}}, 400, "image: expected base64, got"),
    ({"json": {"picture": ""}}, 422, "image: is missing from the JSON body"),
    ({"json": {"image": "aGVsbG8="}}, 400, "upload: is not a picture"),
    ({"data": {"file": "x"}}, 400, "upload: is not a picture"),  # a true form of this kind holds no picture
    ({"content": b"x", "headers": {"Content-Encoding": "br"}}, 415, "Content-Encoding 'br' is not supported"),
    ({"content": b"x", "headers": {"Content-Encoding": "gzip, gzip"}}, 415, "'gzip, gzip' is not supported"),
    ({"content": b"hello", "headers": {"Content-Encoding": "gzip"}}, 400, "the body is not gzip"),
    ({"files": {"image": flat_png(WARM)}}, 400, "has a field 'image'; the picture goes in the field 'file'"),
    (
        {"files": [("file", flat_png(WARM)), ("file", flat_png(WARM))]},
        400,
        "the form has 2 pictures; send one a request",
    ),
    ({"files": {"file": ("notes.txt", b"text")}}, 400, "notes.txt: is not a picture"),
    ({"files": {"file": ("a.jpg", b"")}}, 400, "a.jpg: is empty (0 bytes)"),
    ({"content": flat_png(WARM), "headers": {"Accept": "text/html"}}, 406, "Accept 'text/html' cannot be served"),
    (
        {"content": flat_png(WARM), "headers": {"Accept": "image/png;q=7"}},
        400,
        "weight '7'; expected a number from 0 to 1",
    ),
    ({"params": {"score_threshold": "abc"}}, 422, "score_threshold: expected a number from 0 to 1, got 'abc'"),
    ({"params": {"score_threshold": "1.5"}}, 422, "score_threshold: expected a number from 0 to 1, got '1.5'"),
    ({"params": {"score_threshold": "nan"}}, 422, "score_threshold: expected a number from 0 to 1, got 'nan'"),
    ({"params": {"iou_threshold": ""}}, 422, "iou_threshold: expected a number from 0 to 1, got ''"),
    ({"params": {"max_detections": "0"}}, 422, "max_detections: expected an integer from 1 to 100000, got '0'"),
    ({"params": {"max_detections": "2.5"}}, 422, "max_detections: expected an integer from 1 to 100000, got '2.5'"),
    ({"params": {"score_treshold": "0.5"}}, 422, "'score_treshold' is unknown; did you mean 'score_threshold'?"),
    ({"params": {"iou_threshold": ["0.5", "0.6"]}}, 422, "iou_threshold stands twice; give it once"),
]


@pytest.mark.parametrize(("request_", "status", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_a_bad_request_gets_its_status_and_one_sentence(
    client: httpx.Client, openapi: dict[str, Any], request_: dict[str, Any], status: int, sentence: str
) -> None:
    answer = client.post("/predict", **request_)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert sentence in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert str(status) in openapi["paths"]["/predict"]["post"]["responses"]


def test_a_picture_too_wide_for_jpeg_is_406_and_png_still_works(client: httpx.Client) -> None:
    wide = flat_png(WARM, (2, 66_000))
    refused = client.post("/predict", content=wide, headers={"Accept": "image/jpeg"})
    assert (refused.status_code, "66000x2 cannot be written" in refused.json()["error"]) == (406, True)
    assert client.post("/predict", content=wide, headers={"Accept": "image/png"}).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "sentence"),
    [
        ("GET", "/nothing", 404, "there is nothing at /nothing"),
        ("GET", "/docs", 404, "there is nothing at /docs"),  # it would load scripts from the Internet
        ("GET", "/predict", 405, "/predict does not take GET; use POST"),
        ("DELETE", "/metadata", 405, "/metadata does not take DELETE; use GET"),
    ],
)
def test_other_paths_and_methods(client: httpx.Client, method: str, path: str, status: int, sentence: str) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.json()["error"][: len(sentence)]) == (status, sentence)


@pytest.mark.parametrize(("given", "kept"), [("order-17.b:2", True), ("a b", False), ("x" * 129, False), ("", False)])
def test_the_request_id_is_echoed_where_it_is_a_plain_word(client: httpx.Client, given: str, kept: bool) -> None:
    for answer in (
        client.post("/predict", content=flat_png(WARM), headers={"X-Request-Id": given}),
        client.post("/predict", content=b"", headers={"X-Request-Id": given}),
        client.get("/nothing", headers={"X-Request-Id": given}),
    ):
        found = answer.headers["x-request-id"]
        assert found == given if kept else re.fullmatch("[0-9a-f]{32}", found)


@pytest.mark.parametrize("accept", ["application/json", "image/png"])
def test_server_timing_names_the_four_stages(client: httpx.Client, accept: str) -> None:
    answer = client.post("/predict", content=flat_png(WARM), headers={"Accept": accept})
    header = answer.headers["server-timing"]
    assert re.findall(r"(\w+);dur=[0-9.]+", header) == ["decode", "preprocess", "network", "postprocess"]
    if accept == "application/json":
        stages = dict(re.findall(r"(\w+);dur=([0-9.]+)", header))
        assert {stage: float(spent) for stage, spent in stages.items()} == answer.json()["timing"]


def test_the_openapi_document_says_what_every_route_does(openapi: dict[str, Any]) -> None:
    """What differs by task is tested in `test_tasks`."""
    assert set(openapi["paths"]) >= {"/", "/health/live", "/health/ready", "/metadata", "/metrics", "/predict"}
    assert "multipart/form-data" in openapi["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert "503" in openapi["paths"]["/health/ready"]["get"]["responses"]
    assert "HTTPValidationError" not in json.dumps(openapi)  # FastAPI's own form of errors is not ours


def test_a_fault_of_ours_is_a_500_without_its_story(tiny_bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = BrokenModel(tiny_bundle)
    with live(create_app(model)) as client:
        model.broken = lambda batch: batch.mean() < 20  # black
        answer = client.post("/predict", content=flat_png((0, 0, 0)), headers={"X-Request-Id": "number-1"})
        assert client.post("/predict", content=flat_png(WARM)).status_code == 200
        assert client.get("/health/live").status_code == 200
    assert answer.status_code == 500
    assert answer.json() == {"error": "the service failed on this request; its log has the reason under number-1"}
    logged = next(record for record in caplog.records if record.levelname == "ERROR")
    assert "number-1" in logged.getMessage()
    assert "secret.py" in str(logged.exc_info)


def test_an_engine_that_is_down_is_a_503_until_it_works_again(tiny_bundle: Path) -> None:
    model = BrokenModel(tiny_bundle)
    with live(create_app(model)) as client:
        model.broken = lambda batch: True
        for answer in (client.post("/predict", content=flat_png(WARM)) for _ in range(2)):  # met, then refused at once
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
            assert answer.json() == {"error": "the engine does not work now; it is tried again every second"}
        assert client.get("/health/ready").status_code == 503
        assert client.get("/health/live").status_code == 200
        model.broken = lambda batch: False
        wait_for(lambda: client.get("/health/ready").status_code == 200)
        assert client.post("/predict", content=flat_png(WARM)).status_code == 200


def test_it_is_ready_only_after_the_golden_pictures_agree(tiny_bundle: Path) -> None:
    model = GatedModel(tiny_bundle)
    model.gate.clear()
    with live(create_app(model), wait_until_ready=False) as client:
        for path, method in (("/health/ready", "GET"), ("/predict", "POST")):
            answer = client.request(method, path)
            assert (answer.status_code, answer.json()) == (503, {"error": "the start-up check is still running"})
            assert answer.headers["retry-after"] == "2"
        assert client.get("/health/live").json() == {"status": "live"}
        model.gate.set()
        wait_for(lambda: client.get("/health/ready").json() == {"status": "ready"})


def without_timing(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "timing"}
