"""Tensors of the Open Inference Protocol v2 as they travel: as JSON, and by its binary tensor data extension.

Source: github.com/kserve/open-inference-protocol, and extension_binary_data.md of the Triton Inference Server. Just the
datatypes are here that a bundle takes or answers. BYTES in JSON are base64 on the way in (JSON holds no raw bytes) and
text on the way out. Shared memory is not served: client and service need not stand on one machine.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from serve.errors import RequestError
from serve.json_fields import JsonBody, from_base64, read_fields

BYTES = "BYTES"
NUMBERS: dict[str, np.dtype[Any]] = {
    "FP32": np.dtype("<f4"),
    "INT64": np.dtype("<i8"),
    "UINT8": np.dtype("u1"),
}
_LENGTH = struct.Struct("<I")
# Numbers in JSON take twenty times their memory while they are read: a larger batch comes as binary data.
_MOST_JSON_VALUES = 1_000_000
_MOST_DIMENSIONS = 8


@dataclass(frozen=True)
class TensorSpec:
    """A tensor that a model takes or answers; -1 in ``shape`` is any length."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """As the model's metadata has it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


@dataclass(frozen=True)
class Tensor:
    """A tensor with its values: an array of its datatype, or a flat list of byte strings for BYTES."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: NDArray[Any] | list[bytes]


class _InputParameters(JsonBody):
    binary_data_size: int | None = Field(default=None, ge=0)


class _Input(JsonBody):
    name: str
    shape: list[int] = Field(max_length=_MOST_DIMENSIONS)
    datatype: str
    parameters: _InputParameters = _InputParameters()
    data: list[Any] | None = None


class _OutputParameters(JsonBody):
    binary_data: bool | None = None


class _Output(JsonBody):
    name: str
    parameters: _OutputParameters = _OutputParameters()


class _Request(JsonBody):
    id: str = ""
    model_name: str = ""
    inputs: list[_Input] = Field(min_length=1)
    outputs: list[_Output] = Field(default_factory=list)
    parameters: dict[str, bool | int | float | str] = Field(default_factory=dict)


@dataclass(frozen=True)
class InferRequest:
    """One call: ``inputs`` by name, the ``outputs`` that are wanted (none: all), which of them come as binary data."""

    id: str
    inputs: Mapping[str, Tensor]
    outputs: Sequence[str]
    parameters: Mapping[str, Any]
    binary: Mapping[str, bool]
    binary_by_default: bool

    def is_binary(self, output: str) -> bool:
        """Whether ``output`` goes behind the JSON."""
        return self.binary.get(output, self.binary_by_default)


def read_request(body: bytes | bytearray, header_length: str | None, specs: Sequence[TensorSpec]) -> InferRequest:
    """Take an unpacked body apart; ``header_length`` is its Inference-Header-Content-Length.

    Every size is checked before a tensor is made: the product of its shape times the item's size against the bytes
    that came. Raises `RequestError` 400 and 422.
    """
    header, rest = _split(body, header_length)
    one_picture = max(math.prod(abs(size) for size in spec.shape) for spec in specs)
    request = read_fields(bytes(header), _Request, max(_MOST_JSON_VALUES, 2 * one_picture))
    known = {spec.name: spec for spec in specs}
    inputs: dict[str, Tensor] = {}
    for item in request.inputs:
        if item.name not in known:
            raise RequestError(400, f"input {item.name!r} is unknown; this model takes {_named(specs)}")
        if item.name in inputs:
            raise RequestError(400, f"input {item.name!r} stands twice; give it once")
        _require_shape(item, known[item.name])
        if item.parameters.binary_data_size is None:
            values = _from_json(item)
        else:
            own, rest = _take(item, rest)
            values = _from_binary(own, item)
        if isinstance(values, np.ndarray) and not np.isfinite(values).all():
            raise RequestError(400, f"input {item.name!r} holds a number that is not finite")
        inputs[item.name] = Tensor(item.name, item.datatype, tuple(item.shape), values)
    if len(rest):
        raise RequestError(400, f"{len(rest)} bytes are left behind the last tensor; correct its binary_data_size")
    parameters = dict(request.parameters)
    binary_by_default = parameters.pop("binary_data_output", False) is True
    wanted = {each.name: each.parameters.binary_data for each in request.outputs}
    binary = {name: flag for name, flag in wanted.items() if flag is not None}
    return InferRequest(request.id, inputs, list(wanted), parameters, binary, binary_by_default)


def write_answer(
    fields: Mapping[str, Any], outputs: Sequence[Tensor], request: InferRequest
) -> tuple[bytes, int | None]:
    """The answer's body, and the length of the JSON at its front where binary data follow it."""
    described, blobs = [], []
    for output in outputs:
        entry: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": list(output.shape)}
        if request.is_binary(output.name):
            blob = _to_binary(output)
            blobs.append(blob)
            entry["parameters"] = {"binary_data_size": len(blob)}
        else:
            entry["data"] = _to_json(output)
        described.append(entry)
    header = json.dumps({**fields, **({"id": request.id} if request.id else {}), "outputs": described}).encode()
    return (b"".join([header, *blobs]), len(header)) if blobs else (header, None)


def _split(body: bytes | bytearray, header_length: str | None) -> tuple[memoryview, memoryview]:
    view = memoryview(body)
    if header_length is None:
        return view, view[len(view) :]
    if not header_length.isascii() or not header_length.isdecimal() or int(header_length) > len(view):
        raise RequestError(
            400,
            f"Inference-Header-Content-Length is {header_length[:20]!r}; expected the length of the JSON at the front "
            f"of the body, which has {len(view)} bytes",
        )
    length = int(header_length)
    return view[:length], view[length:]


def _require_shape(item: _Input, spec: TensorSpec) -> None:
    if item.datatype != spec.datatype:
        raise RequestError(400, f"input {spec.name!r}: expected datatype {spec.datatype}, got {item.datatype!r}")
    fits = len(item.shape) == len(spec.shape) and all(
        (given > 0 if size == -1 else given == size) for given, size in zip(item.shape, spec.shape, strict=True)
    )
    if not fits:
        any_length = " (-1: any from 1)" if -1 in spec.shape else ""
        raise RequestError(400, f"input {spec.name!r}: expected shape {list(spec.shape)}{any_length}, got {item.shape}")


def _take(item: _Input, rest: memoryview) -> tuple[memoryview, memoryview]:
    """The tensor's own bytes, and what is left behind them."""
    size = item.parameters.binary_data_size or 0
    if item.data is not None:
        raise RequestError(400, f"input {item.name!r} has both data and binary_data_size; give one of them")
    if size > len(rest):
        raise RequestError(
            400, f"input {item.name!r}: binary_data_size is {size}, but {len(rest)} bytes are left behind the JSON"
        )
    return rest[:size], rest[size:]


def _from_binary(data: memoryview, item: _Input) -> NDArray[Any] | list[bytes]:
    count = math.prod(item.shape)
    if item.datatype == BYTES:
        return _strings(data, item.name, count)
    dtype = NUMBERS[item.datatype]
    if len(data) != count * dtype.itemsize:
        raise RequestError(
            400,
            f"input {item.name!r}: shape {item.shape} of {item.datatype} is {count * dtype.itemsize} bytes, "
            f"got {len(data)}",
        )
    return np.frombuffer(data, dtype).reshape(item.shape)


def _strings(data: memoryview, name: str, count: int) -> list[bytes]:
    """Byte strings, each behind its length as a little-endian uint32."""
    found: list[bytes] = []
    place = 0
    while place + _LENGTH.size <= len(data) and len(found) < count:
        start = place + _LENGTH.size
        place = start + _LENGTH.unpack_from(data, place)[0]
        found.append(bytes(data[start:place]))
    if place != len(data) or len(found) != count:
        raise RequestError(
            400,
            f"input {name!r}: expected {count} BYTES in its {len(data)} bytes, each element behind its length as a "
            "little-endian uint32",
        )
    return found


def _from_json(item: _Input) -> NDArray[Any] | list[bytes]:
    if item.data is None:
        raise RequestError(400, f"input {item.name!r} has no data; give data, or binary_data_size with binary data")
    flat = _flat(item.data, len(item.shape))
    if len(flat) != math.prod(item.shape):
        count = math.prod(item.shape)
        raise RequestError(400, f"input {item.name!r}: shape {item.shape} is {count} values, got {len(flat)}")
    where, kinds = f"input {item.name!r}", set(map(type, flat))
    if item.datatype == BYTES:
        if kinds != {str}:
            raise RequestError(400, f"{where}: expected base64 text for each of the BYTES in JSON")
        return [from_base64(each, where) for each in flat]
    if not kinds <= {int, float}:
        raise RequestError(400, f"{where}: expected numbers as data of {item.datatype}")
    try:
        with np.errstate(over="ignore"):  # it is told as not finite
            return np.array(flat, NUMBERS[item.datatype]).reshape(item.shape)
    except OverflowError:
        raise RequestError(400, f"{where}: a number is out of the range of {item.datatype}") from None


def _flat(data: list[Any], depth: int) -> list[Any]:
    """The values of a list that is flat or as deep as the shape is long: the protocol allows both."""
    for _ in range(depth - 1):
        if not data or not all(isinstance(each, list) for each in data):
            break
        data = [value for inner in data for value in inner]
    return data


def _to_binary(output: Tensor) -> bytes:
    if isinstance(output.values, list):
        return b"".join(_LENGTH.pack(len(each)) + each for each in output.values)
    return np.ascontiguousarray(output.values, NUMBERS[output.datatype]).tobytes()


def _to_json(output: Tensor) -> list[Any]:
    if isinstance(output.values, list):
        return [each.decode() for each in output.values]
    return output.values.reshape(-1).tolist()


def _named(specs: Sequence[TensorSpec]) -> str:
    return " or ".join(f"{spec.name!r}" for spec in specs)
