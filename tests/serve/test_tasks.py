"""What differs by task in the service: the answer and its pictures, the query parameters, descriptions, the page."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_variants import SPOILT, spoilt
from live_service import live, wait_for
from PIL import Image
from pycocotools import mask as coco
from pydantic import TypeAdapter
from tiny_bundle import (
    BOX,
    COLD,
    GREY,
    MAKERS,
    WARM,
    as_png,
    expected_probabilities,
    expected_score,
    halves,
    make_tiny_classifier,
)

import toolkit
from serve import InProcessClient, create_app
from serve.answers import TASKS
from toolkit.bundle_spec import ClassificationPostprocessing, ClassifierNetwork, SegmentationPostprocessing
from toolkit.drawing import PALETTE
from toolkit.inference import Model, load

PICTURE = as_png(halves(WARM, GREY, (64, 64)))
MEAN = [(a + b) / 2 for a, b in zip(WARM, GREY, strict=True)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    folder = tmp_path_factory.mktemp("tasks")
    return {task: load(make(folder / task), "cpu", threads=1) for task, make in MAKERS.items()}


@pytest.fixture(scope="module")
def clients(models: dict[str, Model]) -> Iterator[dict[str, InProcessClient]]:
    """A started service of each task, asked without a socket."""
    started = {task: InProcessClient(create_app(model)) for task, model in models.items()}
    for client in started.values():
        client.__enter__()
    yield started
    for client in started.values():
        client.__exit__(None, None, None)


def ask(client: InProcessClient, query: str = "", accept: str = "application/json", data: bytes = PICTURE) -> Any:
    return client.request("POST", "/predict", data, {"Accept": accept}, query)


# What the tiny networks say of a picture that is warm at the left and grey at the right, worked out by hand.
BY_HAND = {
    "detection": {
        "boxes": [list(BOX)],
        "scores": [pytest.approx(expected_score(MEAN), abs=1e-5)],
        "class_ids": [0],
        "labels": ["warm"],
    },
    "classification": {
        "probabilities": pytest.approx(expected_probabilities(MEAN), abs=1e-5),
        "label": "red",
        "class_id": 0,
    },
}


@pytest.mark.parametrize("task", BY_HAND)
def test_the_answer_is_the_one_worked_out_by_hand(clients: dict[str, InProcessClient], task: str) -> None:
    answer = clients[task].predict(PICTURE)
    assert {key: answer[key] for key in BY_HAND[task]} == BY_HAND[task]


def test_a_mask_is_the_one_worked_out_by_hand_in_each_of_its_forms(clients: dict[str, InProcessClient]) -> None:
    client, half = clients["segmentation"], 64 * 32
    expected = np.zeros((64, 64), np.uint8)
    expected[:, :32] = 1
    masks = clients["segmentation"].predict(PICTURE)["masks"]
    assert [(each["class_id"], each["label"], each["area"]) for each in masks] == [
        (0, "background", half),
        (1, "warm", half),
    ]
    np.testing.assert_array_equal(coco.decode(masks[1]["rle"]), expected)
    embedded = client.predict(PICTURE, query="masks=png")
    assert "masks" not in embedded
    for data in (base64.b64decode(embedded["mask_png"]), ask(client, "picture=mask", "image/png").content):
        shown = Image.open(io.BytesIO(data))
        assert (shown.format, shown.mode) == ("PNG", "L")
        np.testing.assert_array_equal(np.asarray(shown), expected)


@pytest.mark.parametrize("task", MAKERS)
def test_python_and_the_service_say_the_same(
    clients: dict[str, InProcessClient], models: dict[str, Model], task: str
) -> None:
    for size in ((64, 64), (50, 121)):
        picture = as_png(halves(COLD, WARM, size))
        found, expected = clients[task].predict(picture), models[task].predict_one(picture, name="upload").to_dict()
        assert found.pop("timing").keys() == expected.pop("timing").keys()
        assert found == expected


@pytest.mark.parametrize(("media_type", "most"), [("image/png", 0), ("image/jpeg", 6)])
@pytest.mark.parametrize("task", MAKERS)
def test_every_task_draws_its_answer(
    clients: dict[str, InProcessClient], models: dict[str, Model], task: str, media_type: str, most: float
) -> None:
    picture = as_png(halves(WARM, GREY, (120, 160)))
    reply = ask(clients[task], accept=media_type, data=picture)
    assert reply.headers["content-type"] == media_type
    assert re.findall(r"(\w+);dur=", reply.headers["server-timing"]) == [
        *("decode", "preprocess", "network", "postprocess")
    ]
    drawn = models[task].predict_one(picture).draw()
    assert (drawn != np.asarray(Image.open(io.BytesIO(picture)))).any()
    assert np.abs(np.asarray(Image.open(io.BytesIO(reply.content)), int) - drawn).mean() <= most


def test_evidence_is_drawn_when_it_is_asked_for_and_leaves_the_json_alone(
    clients: dict[str, InProcessClient], models: dict[str, Model]
) -> None:
    client, model = clients["classification"], models["classification"]
    drawn = [
        np.asarray(Image.open(io.BytesIO(ask(client, f"explain={value}", "image/png").content)))
        for value in ("true", "false")
    ]
    np.testing.assert_array_equal(drawn[0], model.predict_one(PICTURE, explain=True).draw())
    np.testing.assert_array_equal(drawn[1], model.predict_one(PICTURE).draw())
    light = drawn[0].mean(axis=2)[40:]  # below the panel: what is red is light, the grey half is dark
    assert light[:, :24].min() > light[:, 40:].max()
    plain, explained = (json.loads(ask(client, query).content) for query in ("", "explain=true"))
    assert {**plain, "timing": 0} == {**explained, "timing": 0}


def test_top_k_holds_for_one_request(clients: dict[str, InProcessClient], tmp_path: Path) -> None:
    client = clients["classification"]
    assert [len(client.predict(PICTURE, query=query)["top"]) for query in ("", "top_k=1", "top_k=99")] == [3, 1, 3]
    changed = make_tiny_classifier(tmp_path / "two", postprocessing=ClassificationPostprocessing(top_k=2))
    with InProcessClient(create_app(load(changed, "cpu", threads=1))) as other:
        assert [each["label"] for each in other.predict(PICTURE)["top"]] == ["red", "green"]


# Each row: the task, the query, the Accept header, the status, and a part of the sentence.
REFUSED = [
    ("detection", "score_threshold=2", "", 422, "score_threshold: expected a number from 0 to 1, got '2'"),
    ("detection", "max_detections=100001", "", 422, "expected an integer from 1 to 100000, got '100001'"),
    ("detection", "top_k=2", "", 422, "'top_k' is unknown; known are score_threshold, iou_threshold, max_detections"),
    ("detection", "explain=true", "", 422, "'explain' is unknown; known are score_threshold"),
    ("classification", "top_k=0", "", 422, "top_k: expected an integer from 1 to 100000, got '0'"),
    ("classification", "topk=1", "", 422, "'topk' is unknown; did you mean 'top_k'?; known are top_k, explain"),
    ("classification", "explain=perhaps", "", 422, "explain: expected true or false, got 'perhaps'"),
    ("classification", "explain=", "", 422, "explain: expected true or false, got ''"),
    ("classification", "explain=1&explain=0", "", 422, "explain stands twice; give it once"),
    ("classification", "score_threshold=0.5", "", 422, "'score_threshold' is unknown; known are top_k, explain"),
    ("classification", "picture=mask", "image/png", 422, "'picture' is unknown"),
    ("segmentation", "masks=polygon", "", 422, "masks: expected rle or png, got 'polygon'"),
    ("segmentation", "picture=Mask", "", 422, "picture: expected drawn or mask, got 'Mask'"),
    ("segmentation", "mask=png", "", 422, "'mask' is unknown; did you mean 'masks'?; known are masks, picture"),
    ("segmentation", "top_k=1", "", 422, "'top_k' is unknown; known are masks, picture"),
    ("segmentation", "picture=mask", "image/jpeg", 406, "this request is answered as application/json, image/png"),
]


@pytest.mark.parametrize(("task", "query", "accept", "status", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_a_request_that_the_task_does_not_have(
    clients: dict[str, InProcessClient], task: str, query: str, accept: str, status: int, sentence: str
) -> None:
    reply = ask(clients[task], query, accept)
    assert (reply.status, list(reply.json())) == (status, ["error"])
    assert sentence in reply.json()["error"]


def test_a_classifier_without_its_map_says_so_before_it_reads_the_picture(tmp_path: Path) -> None:
    bundle = make_tiny_classifier(tmp_path / "plain", network=ClassifierNetwork(architecture="tiny"))
    with InProcessClient(create_app(load(bundle, "cpu", threads=1))) as client:
        assert client.request("GET", "/metadata").json()["explain"] is False
        assert client.predict(PICTURE)["label"] == "red"
        reply = ask(client, "explain=true", "image/png", b"not even a picture")
    sentence = "explain: the bundle tiny has no class activation map; export it again"
    assert (reply.status, reply.json()) == (422, {"error": sentence})


POSTPROCESSING: dict[str, Any] = {
    "detection": {"score_threshold": 0.25, "iou_threshold": 0.6, "max_detections": 300, "bins": {}},
    "classification": {"top_k": 5, "bins": {}},
    "segmentation": {"regions": {}, "presence": {}},
}
PARAMETERS = {
    "detection": {"score_threshold", "iou_threshold", "max_detections"},
    "classification": {"top_k", "explain"},
    "segmentation": {"masks", "picture"},
}


@pytest.mark.parametrize("task", MAKERS)
def test_metadata(clients: dict[str, InProcessClient], models: dict[str, Model], task: str) -> None:
    found = clients[task].request("GET", "/metadata").json()
    assert found == {
        "name": "tiny",
        "version": "1.0.0",
        "task": task,
        "labels": list(models[task].labels),
        "input_size": [64, 64],
        "postprocessing": POSTPROCESSING[task],
        "licence": "CC0-1.0",
        "intended_use": "tests",
        "not_for": "",
        "metrics": models[task].bundle.read_json("metrics.json"),
        "toolkit_version": toolkit.__version__,
        "device": "cpu",
        "precision": "fp32",
        **({"explain": True} if task == "classification" else {}),
    }


def test_metadata_name_the_regions_that_are_measured_together(tmp_path: Path) -> None:
    measured = SegmentationPostprocessing(regions={"anything": ("warm", "cold")})
    bundle = MAKERS["segmentation"](tmp_path / "b", postprocessing=measured)
    with InProcessClient(create_app(load(bundle, "cpu", threads=1))) as client:
        found = client.request("GET", "/metadata").json()["postprocessing"]
    assert found == {"regions": {"anything": ["warm", "cold"]}, "presence": {}}


@pytest.mark.parametrize("task", MAKERS)
def test_the_openapi_document_says_what_is_sent(clients: dict[str, InProcessClient], task: str) -> None:
    client = clients[task]
    openapi = client.request("GET", "/openapi.json").json()
    assert openapi["info"]["title"] == f"tiny {task} service"
    predict = openapi["paths"]["/predict"]["post"]
    assert predict["summary"] == TASKS[task].summary
    assert {each["name"] for each in predict["parameters"] if each["in"] == "query"} == PARAMETERS[task]
    assert all(each["description"] for each in predict["parameters"])
    content = predict["responses"]["200"]["content"]
    assert set(content) == {"application/json", "image/jpeg", "image/png"}
    queries = ["", "masks=png"] if task == "segmentation" else [""]
    schemas = content["application/json"]["schema"]
    names = [each["$ref"].rsplit("/", 1)[1] for each in schemas.get("anyOf", [schemas])]
    for name, query in zip(names, queries, strict=True):
        sent = client.predict(PICTURE, query=query)
        assert_described(openapi["components"]["schemas"], name, sent)
        TypeAdapter(TASKS[task].answer).validate_python(sent)
    described = openapi["paths"]["/metadata"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    metadata = client.request("GET", "/metadata").json()
    assert_described(openapi["components"]["schemas"], described["$ref"].rsplit("/", 1)[1], metadata)


def assert_described(schemas: dict[str, Any], name: str, sent: Any) -> None:
    """The schema's properties are the sent object's, and so within the objects and lists that it holds; those that
    not every bundle has may be left out.
    """
    properties = schemas[name]["properties"]
    may_be_null = {key for key, schema in properties.items() if {"type": "null"} in schema.get("anyOf", ())}
    not_always = may_be_null - set(schemas[name].get("required", ()))
    assert set(properties) - not_always <= set(sent) <= set(properties), name
    for key, schema in properties.items():
        schema = schema.get("items", schema)
        if reference := schema.get("$ref"):
            for part in sent[key] if isinstance(sent[key], list) else [sent[key]]:
                assert_described(schemas, reference.rsplit("/", 1)[1], part)


@pytest.mark.parametrize("task", MAKERS)
def test_the_page_is_the_tasks_own_and_loads_nothing_from_elsewhere(
    clients: dict[str, InProcessClient], task: str
) -> None:
    reply = clients[task].request("GET", "/")
    page = reply.content.decode()
    assert reply.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    addresses = re.findall(r"""(?:src|href|action)=["']([^"']*)""", page) + re.findall(r"url\(([^)]*)", page)
    assert [each for each in addresses if not each.startswith("data:")] == ["openapi.json", "metadata", "health/ready"]
    assert not re.search(r"@import|import\(|https?://(?!www\.w3\.org/2000/svg)", page)
    assert f"const PALETTE = {json.dumps(PALETTE)};" in page  # the colours of drawn pictures
    titles = {"detection": "Detections", "classification": "Classes", "segmentation": "Areas"}
    assert re.findall(r'title: "(\w+)",\n  columns', page) == [titles[task]]


@pytest.mark.parametrize("task", SPOILT)
def test_golden_pictures_that_disagree_keep_it_from_being_ready(tmp_path: Path, task: str) -> None:
    with live(create_app(load(spoilt(tmp_path, task), "cpu", threads=1)), wait_until_ready=False) as client:
        wait_for(lambda: "still running" not in client.get("/health/ready").json()["error"])
        for path, method in (("/health/ready", "GET"), ("/predict", "POST")):
            answer = client.request(method, path)
            assert answer.status_code == 503
            assert f"the start-up check failed: {SPOILT[task][1]}" in answer.json()["error"]
        assert client.get("/health/live").status_code == 200
