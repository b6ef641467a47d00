"""JSON from strangers: what is read, what is refused, and that refusing takes neither time nor memory."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peak_memory import rises_less_than

from serve.errors import RequestError
from serve.json_body import read_json

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_what_another_writer_wrote_is_read(value: Any, ascii_only: bool) -> None:
    assert read_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


MANY = 16 * 2**20
REFUSED = [
    (b"", 400, "the body is not valid JSON: Expecting value: line 1 column 1"),
    (b"{'a': 1}", 400, "not valid JSON"),
    (b"[1, 2", 400, "not valid JSON"),
    (b"[NaN]", 400, "NaN is not a number of JSON"),
    (b"[-Infinity]", 400, "-Infinity is not a number of JSON"),
    (b'"\xff"', 400, "'utf-8' codec can't decode byte 0xff"),
    ("[1]".encode("utf-16"), 400, "'utf-8' codec can't decode"),  # where brackets could hide from the count
    (b"9" * 5000, 400, "5000 digits"),
    (nested(33), 413, "the JSON has more than 32 lists or objects in each other"),
    (b"[" * MANY, 413, "more than 4000000 values"),
    (b'{"a":' * 100_000, 413, "more than 32 lists or objects"),
    (b'"\\"",' + nested(33), 413, "more than 32 lists or objects"),  # an escaped quote does not end a string
    (b"[" + b"{}," * 4_000_000 + b"1]", 413, "more than 4000000 values"),
    (b"[" + b"1," * MANY + b"1]", 413, "more than 4000000 values"),
    (b"[" + b'"",' * 4_000_000 + b"1]", 413, "more than 4000000 values"),
    (b'"' + b'\\"' * MANY, 400, "not valid JSON"),  # never ends: gone through once, not once a quote
]


@pytest.mark.parametrize(("data", "status", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_refused(data: bytes, status: int, sentence: str) -> None:
    with rises_less_than(10 + 3 * len(data) / 1e6), pytest.raises(RequestError) as refused:
        read_json(data)
    assert (refused.value.status, sentence in refused.value.sentence) == (status, True), refused.value.sentence


@pytest.mark.parametrize("data", [nested(32), b'"' + b"[" * 100 + b'"', b'["\\\\", "\\"[[[", {}]'])
def test_brackets_in_strings_are_no_depth(data: bytes) -> None:
    assert read_json(data) == json.loads(data)


def test_the_bounds_are_the_caller_s() -> None:
    assert read_json(b"[1, 2, 3]", max_values=4, max_depth=1) == [1, 2, 3]
    for bounds in ({"max_values": 3}, {"max_depth": 0}):
        with pytest.raises(RequestError):
            read_json(b"[1, 2, 3]", **bounds)


@given(st.binary(max_size=200))
def test_noise_is_read_or_refused_never_more(noise: bytes) -> None:
    with contextlib.suppress(RequestError):
        read_json(noise)
