"""Chooses the form of the answer from the Accept header (RFC 9110, section 12.5.1): JSON, or a picture."""

from __future__ import annotations

from serve.errors import RequestError

JSON = "application/json"
PNG = "image/png"
# Also the order of preference where the client has none.
DRAWN = (JSON, "image/jpeg", PNG)
MASK = (JSON, PNG)  # JPEG would blur class ids


def choose_answer(accept: str | None, offered: tuple[str, ...] = DRAWN) -> str:
    """Return the member of ``offered`` that ``accept`` weighs highest; JSON where it says nothing.

    The most specific range that matches a type gives its weight, so ``image/*, image/png;q=0`` means JPEG.
    Raises `RequestError` 406 where nothing offered is wanted, 400 for a weight that is no number from 0 to 1.
    """
    if accept is None or not accept.strip():
        return JSON
    ranges = weights(accept, "Accept")
    best = max(offered, key=lambda offer: _weight(offer, ranges))
    if _weight(best, ranges) <= 0:
        raise RequestError(406, f"Accept {accept!r} cannot be served; this request is answered as {', '.join(offered)}")
    return best


def weights(text: str, header: str) -> list[tuple[str, float]]:
    """What ``header`` lists as ``text``, in lower case, each with its weight; `RequestError` 400 for a bad weight."""
    return [_parse(item, header) for item in text.split(",") if item.strip()]


def _parse(item: str, header: str) -> tuple[str, float]:
    kind, *parameters = [part.strip().lower() for part in item.split(";")]
    weight = next((part[2:].strip() for part in parameters if part.startswith("q=")), "1")
    try:
        value = float(weight)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise RequestError(400, f"the {header} header has the weight {weight!r}; expected a number from 0 to 1")
    return kind, value


def _weight(offer: str, ranges: list[tuple[str, float]]) -> float:
    """Weight of the most specific range that covers ``offer``; 0 where none does."""
    group = offer.partition("/")[0] + "/*"
    for pattern in (offer, group, "*/*"):
        given = [weight for kind, weight in ranges if kind == pattern]
        if given:
            return max(given)
    return 0.0
