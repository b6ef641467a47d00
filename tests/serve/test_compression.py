"""Packed answers: as the standard library unpacks them, and only where they are asked for."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest

from serve.compression import choose_encoding, compress
from serve.errors import RequestError

TEXT = b"a tensor " * 1000
UNPACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress, "identity": bytes}


@pytest.mark.parametrize("encoding", UNPACK)
def test_an_answer_is_packed_as_the_standard_library_unpacks_it(encoding: str) -> None:
    packed, name = compress(TEXT, encoding)
    assert (UNPACK[name](packed), name) == (TEXT, encoding)
    assert (len(packed) < len(TEXT)) == (encoding != "identity")
    assert compress(b"short", encoding) == (b"short", "identity")


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        ("", "identity"),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate, br", "gzip"),
        ("GZIP;q=0.2, deflate;q=0.8", "deflate"),
        ("br", "identity"),
        ("gzip;q=0", "identity"),
        ("*", "gzip"),
        ("*;q=0.5, gzip;q=0", "deflate"),
        ("identity, gzip;q=0.5", "identity"),
    ],
)
def test_the_client_says_how_an_answer_is_packed(accept: str, encoding: str) -> None:
    assert choose_encoding(accept) == encoding


def test_a_weight_that_is_none_is_named_with_its_header() -> None:
    with pytest.raises(RequestError, match="the Accept-Encoding header has the weight 'x'"):
        choose_encoding("gzip;q=x")
