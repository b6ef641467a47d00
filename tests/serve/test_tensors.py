"""The tensors of the Open Inference Protocol on the wire, byte by byte; a client that others wrote is in test_oip."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import numpy as np
import pytest

from serve.errors import RequestError
from serve.tensors import InferRequest, Tensor, TensorSpec, read_request, write_answer

SPECS = (TensorSpec("picture", "BYTES", (1,)), TensorSpec("images", "FP32", (-1, 1, 1, 2)))
NUMBERS = np.array([[[[1.5, -2.0]]], [[[0.0, 3.0]]]], np.float32)
TENSOR: dict[str, Any] = {"name": "images", "datatype": "FP32", "shape": [2, 1, 1, 2]}
PICTURE: dict[str, Any] = {"name": "picture", "datatype": "BYTES", "shape": [1]}
JPEG = b"\xff\xd8 not UTF-8"


def sized(tensor: dict[str, Any], size: int) -> dict[str, Any]:
    return {**tensor, "parameters": {"binary_data_size": size}}


def packed(*items: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(item)) + item for item in items)


def body(*tensors: dict[str, Any], blobs: bytes = b"", **fields: Any) -> tuple[bytes, str | None]:
    header = json.dumps({"inputs": list(tensors), **fields}).encode()
    return header + blobs, str(len(header)) if blobs else None


# Each row: the request, and the values of the one tensor in it.
READ = [
    (body(sized(TENSOR, 16), blobs=NUMBERS.tobytes()), NUMBERS),
    (body({**TENSOR, "data": [1.5, -2, 0, 3]}), NUMBERS),  # flat
    (body({**TENSOR, "data": NUMBERS.tolist()}), NUMBERS),  # as deep as the shape
    (body({**TENSOR, "data": [[1.5, -2], [0, 3]]}), NUMBERS),  # halfway: the numbers come in the same order
    (body(sized(PICTURE, len(JPEG) + 4), blobs=packed(JPEG)), [JPEG]),
    (body({**PICTURE, "data": [base64.b64encode(JPEG).decode()]}), [JPEG]),
    (body(sized(PICTURE, 4), blobs=packed(b"")), [b""]),
]


@pytest.mark.parametrize(("request_", "expected"), READ, ids=range(len(READ)))
def test_a_tensor_is_read_as_it_was_meant(request_: tuple[bytes, str | None], expected: Any) -> None:
    (tensor,) = read_request(*request_, SPECS).inputs.values()
    np.testing.assert_array_equal(np.asarray(tensor.values), np.asarray(expected))
    assert tensor.shape == np.asarray(expected).shape


def test_two_tensors_take_their_bytes_in_turn() -> None:
    blobs = packed(JPEG) + NUMBERS.tobytes()
    read = read_request(*body(sized(PICTURE, len(JPEG) + 4), sized(TENSOR, 16), blobs=blobs), SPECS)
    assert read.inputs["picture"].values == [JPEG]
    np.testing.assert_array_equal(read.inputs["images"].values, NUMBERS)


@pytest.mark.parametrize(
    ("outputs", "default", "binary"),
    [
        ([], None, [False, False]),
        ([], True, [True, True]),
        ([{"name": "a"}, {"name": "b", "parameters": {"binary_data": True}}], None, [False, True]),
        ([{"name": "a", "parameters": {"binary_data": False}}], True, [False, True]),  # its own word goes first
    ],
)
def test_which_outputs_come_as_binary_data(outputs: list[Any], default: bool | None, binary: list[bool]) -> None:
    parameters = {} if default is None else {"binary_data_output": default, "top_k": 3}
    read = read_request(*body({**TENSOR, "data": [0, 0, 0, 0]}, outputs=outputs, parameters=parameters), SPECS)
    assert [read.is_binary(name) for name in "ab"] == binary
    assert list(read.outputs) == [each["name"] for each in outputs]
    assert read.parameters == ({} if default is None else {"top_k": 3})


DATA = {"data": [1, 2, 3, 4]}
# Each row: the request, the status, and a part of the sentence.
REFUSED: list[tuple[tuple[bytes, str | None], int, str]] = [
    ((b"", None), 400, "the body is not valid JSON"),
    ((b"[]", None), 422, "the body: expected"),
    ((b'{"inputs": [' + b"0," * 1_000_000 + b"0]}", None), 413, "the JSON has more than 1000000 values"),
    ((b"{}", "3"), 400, "Inference-Header-Content-Length is '3'; expected the length of the JSON at the front of"),
    ((b"{}", "-1"), 400, "Inference-Header-Content-Length is '-1'"),
    ((b"{}", "²"), 400, "Inference-Header-Content-Length is '²'"),
    ((b"{}", None), 422, "inputs: is missing from the JSON body"),
    (body(), 422, "inputs: expected"),
    (body({**TENSOR, **DATA}, output=[]), 422, "output: is unknown; did you mean 'outputs'?"),
    (body({**TENSOR, **DATA, "shape": "2"}), 422, "inputs[0].shape: expected"),
    (body({**TENSOR, **DATA, "shape": [2.5]}), 422, "inputs[0].shape[0]: expected"),
    (body({**TENSOR, **DATA}, outputs=[{"name": "raw", "parameters": {"classification": 2}}]), 422, "is unknown"),
    (body({**TENSOR, "parameters": {"shared_memory_region": "a"}}), 422, "shared_memory_region: is unknown"),
    (body({**TENSOR, **DATA, "name": "pixels"}), 400, "input 'pixels' is unknown; this model takes 'picture' or"),
    (body({**TENSOR, **DATA}, {**TENSOR, **DATA}), 400, "input 'images' stands twice"),
    (body({**TENSOR, **DATA, "datatype": "FP64"}), 400, "expected datatype FP32, got 'FP64'"),
    (body({**TENSOR, **DATA, "shape": [2, 1, 2, 1]}), 400, "expected shape [-1, 1, 1, 2] (-1: any from 1), got [2,"),
    (body({**TENSOR, **DATA, "shape": [4]}), 400, "expected shape [-1, 1, 1, 2]"),
    (body({**TENSOR, "data": [], "shape": [0, 1, 1, 2]}), 400, "expected shape"),
    (body({**TENSOR, **DATA, "shape": [-2, 1, 1, 2]}), 400, "expected shape"),
    (body(TENSOR), 400, "input 'images' has no data"),
    (body({**TENSOR, "data": [1, 2, 3]}), 400, "shape [2, 1, 1, 2] is 4 values, got 3"),
    (body({**TENSOR, "data": [[1, 2], 3, 4, 5]}), 400, "expected numbers as data of FP32"),
    (body({**TENSOR, "data": [True, 2, 3, 4]}), 400, "expected numbers"),
    (body({**TENSOR, "data": ["1", 2, 3, 4]}), 400, "expected numbers"),
    (body({**TENSOR, "data": [10**400, 2, 3, 4]}), 400, "out of the range of FP32"),
    (body({**TENSOR, "data": [1e300, 2, 3, 4]}), 400, "a number that is not finite"),
    (body(sized(TENSOR, 16), blobs=np.full(4, np.nan, np.float32).tobytes()), 400, "a number that is not finite"),
    (body({**PICTURE, "data": ["//!/ no base64"]}), 400, "input 'picture': expected base64, got"),
    (body({**PICTURE, "data": [3]}), 400, "expected base64 text"),
    (body(sized(TENSOR, 16), blobs=bytes(12)), 400, "binary_data_size is 16, but 12 bytes are left"),
    (body(sized(TENSOR, 12), blobs=bytes(12)), 400, "shape [2, 1, 1, 2] of FP32 is 16 bytes, got 12"),
    (body(sized(TENSOR, 16), blobs=bytes(20)), 400, "4 bytes are left behind the last tensor"),
    (body({**sized(TENSOR, 16), **DATA}, blobs=bytes(16)), 400, "both data and binary_data_size"),
    (body(sized(TENSOR, 2**62), blobs=bytes(16)), 400, f"binary_data_size is {2**62}"),
    (body({**sized(TENSOR, 16), "shape": [2**62, 1, 1, 2]}, blobs=bytes(16)), 400, f"is {2**65} bytes, got 16"),
    (body(sized(PICTURE, 3), blobs=bytes(3)), 400, "expected 1 BYTES in its 3 bytes"),
    (body(sized(PICTURE, 8), blobs=struct.pack("<I", 2**32 - 1) + bytes(4)), 400, "expected 1 BYTES in its 8 bytes"),
    (body(sized(PICTURE, 10), blobs=packed(b"a", b"b")), 400, "expected 1 BYTES in its 10 bytes"),
    (body(sized(PICTURE, 0), {**TENSOR, **DATA}), 400, "expected 1 BYTES in its 0 bytes"),
]


@pytest.mark.parametrize(("request_", "status", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_what_does_not_add_up_is_refused_in_one_sentence(
    request_: tuple[bytes, str | None], status: int, sentence: str
) -> None:
    with pytest.raises(RequestError) as refused:
        read_request(*request_, SPECS)
    assert (refused.value.status, sentence in refused.value.sentence) == (status, True), refused.value.sentence
    assert "\n" not in refused.value.sentence


ANSWER = [
    Tensor("boxes", "FP32", (0, 4), np.empty((0, 4), np.float32)),  # nothing was found
    Tensor("class_ids", "INT64", (2,), np.array([3, -1])),
    Tensor("labels", "BYTES", (2,), ["täst".encode(), b""]),
]


def test_an_answer_as_json() -> None:
    content, length = write_answer({"model_name": "m"}, ANSWER, InferRequest("7", {}, [], {}, {}, False))
    assert length is None
    assert json.loads(content) == {
        "model_name": "m",
        "id": "7",
        "outputs": [
            {"name": "boxes", "datatype": "FP32", "shape": [0, 4], "data": []},
            {"name": "class_ids", "datatype": "INT64", "shape": [2], "data": [3, -1]},
            {"name": "labels", "datatype": "BYTES", "shape": [2], "data": ["täst", ""]},
        ],
    }


def test_an_answer_with_binary_data_behind_its_json() -> None:
    content, length = write_answer({}, ANSWER, InferRequest("", {}, [], {}, {"class_ids": False}, True))
    assert length is not None
    described = json.loads(content[:length])["outputs"]
    assert [each.get("parameters") for each in described] == [{"binary_data_size": 0}, None, {"binary_data_size": 13}]
    assert described[1]["data"] == [3, -1]
    assert content[length:] == packed("täst".encode(), b"")
