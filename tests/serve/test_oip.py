"""The Open Inference Protocol, spoken by Triton's own client: what it is answered, in every form it can ask for."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from live_service import GatedModel, live, wait_for
from numpy.typing import NDArray
from tiny_bundle import BOX, GREY, MAKERS, SIDE, WARM, as_png, flat_png, halves
from tritonclient.utils import InferenceServerException

import toolkit
from serve import Settings, create_app
from toolkit.inference import Model, load

PICTURE = as_png(halves(WARM, GREY, (SIDE, SIDE)))
ANSWERS = {
    "detection": ("boxes", "scores", "class_ids", "labels"),
    "classification": ("probabilities", "class_id", "label"),
    "segmentation": ("label_map",),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    folder = tmp_path_factory.mktemp("oip")
    return {task: load(make(folder / task), "cpu", threads=1) for task, make in MAKERS.items()}


@pytest.fixture(scope="module")
def services(models: dict[str, Model]) -> Iterator[dict[str, httpx.Client]]:
    running = {task: live(create_app(model, Settings(max_body_bytes=2**20))) for task, model in models.items()}
    yield {task: service.__enter__() for task, service in running.items()}
    for service in running.values():
        service.__exit__(None, None, None)


@pytest.fixture
def clients(services: dict[str, httpx.Client]) -> Iterator[dict[str, triton.InferenceServerClient]]:
    opened = {task: connect(service) for task, service in services.items()}
    yield opened
    for client in opened.values():
        client.close()


def connect(service: httpx.Client) -> triton.InferenceServerClient:
    return triton.InferenceServerClient(f"{service.base_url.host}:{service.base_url.port}")


def picture(data: bytes = PICTURE, *, binary: bool = True) -> triton.InferInput:
    """The input with an encoded picture; the client's JSON takes text, so it goes as base64 there."""
    given = triton.InferInput("encoded_image", [1], "BYTES")
    given.set_data_from_numpy(np.array([data if binary else base64.b64encode(data)], np.object_), binary_data=binary)
    return given


def tensor(batch: NDArray[np.float32], *, binary: bool = True) -> triton.InferInput:
    given = triton.InferInput("images", list(batch.shape), "FP32")
    given.set_data_from_numpy(batch, binary_data=binary)
    return given


def expected(model: Model) -> dict[str, Any]:
    """What Python gets, by the names of the outputs."""
    result: Any = model.predict_one(PICTURE)
    if model.spec.task == "segmentation":
        return {"label_map": result.mask}
    if model.spec.task == "classification":
        return {
            "probabilities": result.probabilities,
            "class_id": [result.class_id],
            "label": [result.label.encode()],
        }
    labels = np.array([label.encode() for label in result.labels], np.object_)
    return {"boxes": result.boxes, "scores": result.scores, "class_ids": result.class_ids, "labels": labels}


def test_live_and_ready(clients: dict[str, triton.InferenceServerClient]) -> None:
    client = clients["detection"]
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert client.is_model_ready("tiny", "1.0.0")
    assert not client.is_model_ready("other")
    assert not client.is_model_ready("tiny", "2")
    assert not client.is_model_ready("../tiny")


def test_a_service_that_starts_lives_and_is_not_ready(tiny_bundle: Path) -> None:
    model = GatedModel(tiny_bundle)
    model.gate.clear()
    with live(create_app(model), wait_until_ready=False) as service:
        client = connect(service)
        assert client.is_server_live()
        assert not client.is_server_ready()
        assert not client.is_model_ready("tiny")
        with pytest.raises(InferenceServerException, match="the start-up check is still running"):
            client.infer("tiny", [picture()])
        model.gate.set()
        wait_for(client.is_server_ready)
        assert client.is_model_ready("tiny")
        client.close()


def test_the_server_s_metadata(clients: dict[str, triton.InferenceServerClient]) -> None:
    assert clients["detection"].get_server_metadata() == {
        "name": "cv-toolkit",
        "version": toolkit.__version__,
        "extensions": ["binary_tensor_data"],
    }


RAW = {
    "detection": [{"name": "raw", "datatype": "FP32", "shape": [-1, 84, 7]}],
    "classification": [
        {"name": "raw", "datatype": "FP32", "shape": [-1, 3]},
        {"name": "class_map", "datatype": "FP32", "shape": [-1, 3, -1, -1]},
    ],
    "segmentation": [{"name": "raw", "datatype": "FP32", "shape": [-1, 3, -1, -1]}],
}
NAMED = {
    "detection": [("boxes", "FP32", [-1, 4]), ("scores", "FP32", [-1]), ("class_ids", "INT64", [-1]),
                  ("labels", "BYTES", [-1])],
    "classification": [("probabilities", "FP32", [3]), ("class_id", "INT64", [1]), ("label", "BYTES", [1])],
    "segmentation": [("label_map", "UINT8", [-1, -1])],
}  # fmt: skip


@pytest.mark.parametrize("task", ANSWERS)
@pytest.mark.parametrize("version", ["", "1.0.0"])
def test_a_model_s_metadata(clients: dict[str, triton.InferenceServerClient], task: str, version: str) -> None:
    answers = [{"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in NAMED[task]]
    assert clients[task].get_model_metadata("tiny", version) == {
        "name": "tiny",
        "versions": ["1.0.0"],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {"name": "encoded_image", "datatype": "BYTES", "shape": [1]},
            {"name": "images", "datatype": "FP32", "shape": [-1, 3, SIDE, SIDE]},
        ],
        "outputs": [*answers, *RAW[task]],
    }


FORMS = list(
    itertools.product((True, False), (True, False, None), (None, "gzip", "deflate"), (None, "gzip", "deflate"))
)


@pytest.mark.parametrize("task", ANSWERS)
def test_a_picture_in_every_form_gets_what_python_gets(
    clients: dict[str, triton.InferenceServerClient], models: dict[str, Model], task: str
) -> None:
    """Binary and JSON, in and out (None: the client names no outputs and wants all as binary data), packed or not."""
    wanted = expected(models[task])
    for binary_in, binary_out, packed_in, packed_out in FORMS:
        outputs = binary_out if binary_out is None else [
            triton.InferRequestedOutput(name, binary_data=binary_out) for name in ANSWERS[task]
        ]  # fmt: skip
        answer = clients[task].infer(
            "tiny",
            [picture(binary=binary_in)],
            outputs=outputs,
            request_compression_algorithm=packed_in,
            response_compression_algorithm=packed_out,
            request_id="17",
        )
        about = answer.get_response()
        assert (about["model_name"], about["model_version"], about["id"]) == ("tiny", "1.0.0", "17")
        assert [each["name"] for each in about["outputs"]] == list(ANSWERS[task])
        for name, value in wanted.items():
            found = answer.as_numpy(name)
            if found.dtype == np.object_ and binary_out is False:
                found = np.array([text.encode() for text in found], np.object_)
            np.testing.assert_array_equal(found, value)


@pytest.mark.parametrize("task", ANSWERS)
def test_the_network_s_own_input_in_every_form_gets_its_raw_outputs(
    clients: dict[str, triton.InferenceServerClient], models: dict[str, Model], task: str
) -> None:
    model = models[task]
    batch = np.random.default_rng(0).uniform(0, 255, (2, 3, SIDE, SIDE)).astype(np.float32)
    names = [each["name"] for each in RAW[task]]
    wanted = dict(zip(names, model.network(batch, explain=len(names) > 1), strict=True))
    for binary_in, binary_out, packed_in, packed_out in FORMS:
        outputs = binary_out if binary_out is None else [
            triton.InferRequestedOutput(name, binary_data=binary_out) for name in names
        ]  # fmt: skip
        answer = clients[task].infer(
            "tiny",
            [tensor(batch, binary=binary_in)],
            outputs=outputs,
            request_compression_algorithm=packed_in,
            response_compression_algorithm=packed_out,
        )
        for name, value in wanted.items():
            np.testing.assert_allclose(answer.as_numpy(name), value, rtol=1e-5, atol=1e-4)


def test_the_answer_is_the_one_worked_out_by_hand(clients: dict[str, triton.InferenceServerClient]) -> None:
    answer = clients["detection"].infer("tiny", [picture(flat_png(WARM))])
    np.testing.assert_array_equal(answer.as_numpy("boxes"), [BOX])
    assert answer.as_numpy("labels").tolist() == [b"warm"]


@pytest.mark.parametrize("binary", [True, False])
def test_nothing_found_is_an_empty_tensor(clients: dict[str, triton.InferenceServerClient], binary: bool) -> None:
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ANSWERS["detection"]]
    answer = clients["detection"].infer("tiny", [picture()], outputs=outputs, parameters={"score_threshold": 0.999})
    shapes = [answer.as_numpy(name).shape for name in ANSWERS["detection"]]
    assert shapes == [(0, 4), (0,), (0,), (0,)]


def test_only_the_outputs_that_are_named_come_in_their_order(clients: dict[str, triton.InferenceServerClient]) -> None:
    outputs = [triton.InferRequestedOutput(name) for name in ("labels", "boxes")]
    answer = clients["detection"].infer("tiny", [picture()], outputs=outputs)
    assert [each["name"] for each in answer.get_response()["outputs"]] == ["labels", "boxes"]


def test_a_compressed_answer_is_smaller(services: dict[str, httpx.Client]) -> None:
    request = {"inputs": [{"name": "encoded_image", "shape": [1], "datatype": "BYTES",
                           "data": [base64.b64encode(PICTURE).decode()]}]}  # fmt: skip
    lengths = {}
    for encoding in ("identity", "gzip", "deflate"):
        headers = {"Accept-Encoding": encoding}
        answer = services["segmentation"].post("/v2/models/tiny/infer", json=request, headers=headers)
        assert answer.headers.get("content-encoding", "identity") == encoding
        assert answer.headers["vary"] == "Accept-Encoding"
        lengths[encoding] = int(answer.headers["content-length"])
    assert max(lengths["gzip"], lengths["deflate"]) < lengths["identity"] / 10


def test_other_clients_may_say_what_they_send(services: dict[str, httpx.Client]) -> None:
    """Triton's client sends no Content-Type; whichever comes, the header with the length says what the body is."""
    header = json.dumps({"inputs": [{"name": "encoded_image", "shape": [1], "datatype": "BYTES",
                                     "parameters": {"binary_data_size": len(PICTURE) + 4}}]}).encode()  # fmt: skip
    body = header + len(PICTURE).to_bytes(4, "little") + PICTURE
    for kind in (None, "application/octet-stream", "application/json", "application/x-www-form-urlencoded"):
        headers = {"Inference-Header-Content-Length": str(len(header)), **({"Content-Type": kind} if kind else {})}
        answer = services["detection"].post("/v2/models/tiny/infer", content=body, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.json()["outputs"][3] == {"name": "labels", "datatype": "BYTES", "shape": [1], "data": ["warm"]}


# Each row: what is asked, and a part of the sentence that the client is told.
Asked = dict[str, Any]
ZEROS = np.zeros((1, 3, SIDE, SIDE), np.float32)
REFUSED: list[tuple[Asked, str]] = [
    ({"model_name": "other"}, "[404] no model 'other' is served here; served: tiny"),
    ({"model_name": "../tiny"}, "[404] "),
    ({"model_version": "2"}, "[404] model tiny is served in version 1.0.0, not '2'"),
    ({"inputs": [picture(b"hello")]}, "[400] upload: is not a picture"),
    ({"inputs": [picture(b"")]}, "[400] upload: is empty"),
    ({"inputs": [picture(bytes(2**20))]}, "[413] the body is longer than the 1 MiB"),
    ({"inputs": [picture(), tensor(ZEROS)]}, "[400] the request has 2 inputs; give"),
    ({"inputs": [tensor(np.zeros((1, 3, 32, 32), np.float32))]}, "[400] input 'images': expected shape [-1,"),
    ({"outputs": [triton.InferRequestedOutput("box")]}, "[400] output 'box' is not what input 'encoded_image' is"),
    ({"outputs": [triton.InferRequestedOutput("raw")]}, "known are boxes, scores, class_ids, labels"),
    ({"outputs": [triton.InferRequestedOutput("boxes", class_count=3)]}, "[422] outputs[0].parameters.classification"),
    ({"parameters": {"score_treshold": 0.5}}, "[422] score_treshold: this model takes"),
    ({"parameters": {"score_threshold": 1.5}}, "[422] score_threshold: expected a number from 0 to 1, got 1.5"),
    ({"inputs": [tensor(ZEROS)], "parameters": {"top_k": 1}}, "[400] parameters top"),
    ({"priority": 1}, "[422] priority: this model takes"),
    ({"headers": {"Content-Encoding": "br"}}, "[415] Content-Encoding 'br' is not supported"),
    ({"request_compression_algorithm": "gzip", "inputs": [picture(bytes(2**21))]}, "[413] the body, inflated, is"),
    ({"headers": {"Accept-Encoding": "gzip;q=2"}}, "[400] the Accept-Encoding header has the weight '2'"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_a_refusal_reaches_the_client_as_one_sentence(
    clients: dict[str, triton.InferenceServerClient], asked: Asked, sentence: str
) -> None:
    with pytest.raises(InferenceServerException) as refused:
        clients["detection"].infer(**{"model_name": "tiny", "inputs": [picture()], **asked})
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_request_s_own_timeout_is_its_deadline(tiny_bundle: Path) -> None:
    model = GatedModel(tiny_bundle)
    with live(create_app(model)) as service:
        client = connect(service)
        model.gate.clear()
        with pytest.raises(InferenceServerException, match=r"\[504\] the deadline passed"):
            client.infer("tiny", [picture()], timeout=200_000)
        model.gate.set()
        client.close()


def test_the_openapi_document_has_all_of_it(services: dict[str, httpx.Client]) -> None:
    paths = services["detection"].get("/openapi.json").json()["paths"]
    model = {f"/v2/models/{{name}}{version}" for version in ("", "/versions/{version}")}
    expected = {"/v2", "/v2/health/live", "/v2/health/ready", *model}
    assert {path for path in paths if path.startswith("/v2")} == expected | {
        f"{path}/{last}" for path in model for last in ("ready", "infer")
    }
    for path, methods in paths.items():
        for about in methods.values():
            named = [each["name"] for each in about.get("parameters", []) if each["in"] == "path"]
            assert all(f"{{{name}}}" in path for name in named)
            assert len(named) == path.count("{")
