"""Accept header to media type: the rules of RFC 9110, section 12.5.1."""

from __future__ import annotations

import pytest

from serve.errors import RequestError
from serve.negotiation import MASK, choose_answer

JSON, JPEG, PNG = "application/json", "image/jpeg", "image/png"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, JSON),
        ("", JSON),
        ("*/*", JSON),
        ("application/json", JSON),
        ("application/*", JSON),
        ("image/jpeg", JPEG),
        ("IMAGE/JPEG", JPEG),
        ("image/*", JPEG),
        ("image/png, image/jpeg", JPEG),  # equal weights: our order, not the client's
        ("image/png, image/jpeg;q=0.9", PNG),
        ("image/png;q=0.5, application/json;q=0.4", PNG),
        ("image/*, image/jpeg;q=0", PNG),  # the more specific range counts
        ("*/*, application/json;q=0.1", JPEG),
        ("image/webp, image/png;q=0.3, */*;q=0.1", PNG),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", JSON),  # a browser
        ("image/jpeg ; q=0.8 , ,application/json; q=0.7", JPEG),
        ("image/png;level=1;q=1", PNG),
    ],
)
def test_the_answer_is_what_the_client_weighs_highest(accept: str | None, expected: str) -> None:
    assert choose_answer(accept) == expected


@pytest.mark.parametrize("accept", ["text/html", "image/webp", "*/*;q=0", "application/json;q=0", "image"])
def test_nothing_that_is_wanted_is_406(accept: str) -> None:
    with pytest.raises(RequestError, match=r"is answered as application/json, image/jpeg, image/png$") as refused:
        choose_answer(accept)
    assert refused.value.status == 406


@pytest.mark.parametrize(
    ("accept", "expected"), [("image/*", PNG), ("image/jpeg, image/png;q=0.1", PNG), ("image/jpeg, */*;q=0.1", JSON)]
)
def test_a_mask_is_never_a_jpeg(accept: str, expected: str) -> None:
    assert choose_answer(accept, MASK) == expected
    with pytest.raises(RequestError, match=r"is answered as application/json, image/png$"):
        choose_answer("image/jpeg", MASK)


@pytest.mark.parametrize("weight", ["2", "-1", "high", "nan", ""])
def test_a_weight_that_is_none_is_400(weight: str) -> None:
    with pytest.raises(RequestError, match="expected a number from 0 to 1") as refused:
        choose_answer(f"image/png;q={weight}")
    assert refused.value.status == 400
