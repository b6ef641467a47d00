"""Frames over a WebSocket, asked by a client that others wrote: in time or not at all, and the newest one first."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from live_service import GatedModel, live, wait_for
from tiny_bundle import COLD, WARM, flat_png
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from serve import Settings, create_app
from serve.routes import stream
from serve.service import Service


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> GatedModel:
    return GatedModel(tiny_bundle)


@pytest.fixture(scope="module")
def served(model: GatedModel) -> Iterator[tuple[httpx.Client, Service]]:
    app = create_app(model, Settings(max_body_bytes=2**16, cors_origins=("https://shop.example",)))
    with live(app) as client:
        yield client, app.state.service


@contextmanager
def opened(client: httpx.Client, query: str = "", **options: Any) -> Iterator[ClientConnection]:
    address = f"ws://{client.base_url.host}:{client.base_url.port}/stream{query}"
    with connect(address, proxy=None, **options) as socket:
        yield socket


def told(socket: ClientConnection) -> dict[str, Any]:
    return json.loads(socket.recv(timeout=20))  # type: ignore[no-any-return]


def send(socket: ClientConnection, picture: bytes, **note: Any) -> None:
    if note:
        socket.send(json.dumps(note))
    socket.send(picture)


def test_the_document_describes_it(served: tuple[httpx.Client, Service]) -> None:
    client, _ = served
    document = client.get("/openapi.json").json()
    (path, described), *others = document["x-websockets"].items()
    assert (path, others) == ("/stream", [])
    options = [each["name"] for each in document["paths"]["/predict"]["post"]["parameters"] if each["in"] == "query"]
    assert [each["name"] for each in described["parameters"]] == ["budget_ms", *options]
    assert set(described["send"]["text"]["schema"]["properties"]) == set(stream.FrameNote.model_fields)
    with opened(client, "?budget_ms=60000") as socket:
        send(socket, flat_png(WARM), id="a")
        assert set(told(socket)) <= set(described["receive"]["text"]["schema"]["properties"])


def test_each_frame_gets_what_its_picture_gets(served: tuple[httpx.Client, Service]) -> None:
    client, service = served
    with opened(client) as socket:
        for number, colour in enumerate((WARM, COLD, WARM)):
            picture = flat_png(colour, (50, 70))
            send(socket, picture)
            answer = told(socket)
            alone = client.post("/predict", content=picture).json()
            assert answer["id"] == number
            assert {**answer["result"], "timing": 0, "source": 0} == {**alone, "timing": 0, "source": 0}
            assert answer["result"]["source"] == f"frame {number}"
    wait_for(lambda: service.bodies.held == service.active == 0)


def test_the_query_holds_for_all_frames_and_nothing_found_is_an_empty_list(
    served: tuple[httpx.Client, Service],
) -> None:
    with opened(served[0], "?score_threshold=0.999") as socket:
        send(socket, flat_png(WARM), id="a")
        answer = told(socket)
    assert (answer["id"], answer["result"]["boxes"], answer["result"]["labels"]) == ("a", [], [])


def test_while_one_is_worked_on_the_newest_waits(served: tuple[httpx.Client, Service], model: GatedModel) -> None:
    client, service = served
    model.gate.clear()
    with opened(client) as socket:
        send(socket, flat_png(WARM), id=0)
        wait_for(lambda: model.running)
        for number in (1, 2, 3):
            send(socket, flat_png(COLD), id=number)
        assert [told(socket) for _ in range(2)] == [{"id": number, "dropped": "superseded"} for number in (1, 2)]
        assert service.bodies.held == len(flat_png(WARM)) + len(flat_png(COLD))  # two frames, not four
        model.gate.set()
        answers = [told(socket) for _ in range(2)]
    assert [(each["id"], each["result"]["labels"]) for each in answers] == [(0, ["warm"]), (3, ["cold"])]
    wait_for(lambda: service.bodies.held == service.active == 0)


@pytest.mark.parametrize("way", ["query", "note"])
def test_a_late_answer_is_dropped_and_never_delivered(
    served: tuple[httpx.Client, Service], model: GatedModel, way: str
) -> None:
    model.gate.clear()
    with opened(served[0], "?budget_ms=150" if way == "query" else "") as socket:
        started = time.monotonic()
        send(socket, flat_png(WARM), **({} if way == "query" else {"budget_ms": 150}))
        assert told(socket) == {"id": 0, "dropped": "late"}
        assert time.monotonic() - started >= 0.15
        model.gate.set()
        wait_for(lambda: not model.running)
        send(socket, flat_png(COLD), id="next", budget_ms=20_000)
        answer = told(socket)  # nothing of the late one comes before it
    assert (answer["id"], answer["result"]["labels"]) == ("next", ["cold"])


def test_a_frame_that_came_late_is_not_worked_on(served: tuple[httpx.Client, Service], model: GatedModel) -> None:
    model.gate.clear()
    try:
        with opened(served[0]) as socket:
            send(socket, flat_png(WARM), captured=time.time() - 10, budget_ms=9_000)
            assert told(socket) == {"id": 0, "dropped": "late"}
            assert not model.running
    finally:
        model.gate.set()


def test_a_capture_time_in_the_future_gives_no_more_than_the_budget(
    served: tuple[httpx.Client, Service], model: GatedModel
) -> None:
    model.gate.clear()
    try:
        with opened(served[0]) as socket:
            send(socket, flat_png(WARM), captured=time.time() + 3600, budget_ms=100)
            assert told(socket) == {"id": 0, "dropped": "late"}
    finally:
        model.gate.set()


def test_a_frame_that_is_no_picture_fails_alone(served: tuple[httpx.Client, Service]) -> None:
    with opened(served[0]) as socket:
        for data, status, sentence in (
            (b"hello", 400, "frame 0: is not a picture"),
            (b"", 400, "frame 1: is empty"),
            (bytes(2**16 + 1), 413, "the frame has 65537 bytes"),
        ):
            socket.send(data)
            answer = told(socket)
            assert (answer["status"], sentence in answer["error"]) == (status, True), answer
        send(socket, flat_png(WARM))
        assert told(socket)["result"]["labels"] == ["warm"]


@pytest.mark.parametrize(
    ("query", "note", "sentence"),
    [
        ("?score=1", None, "query parameter 'score' is unknown"),
        ("?budget_ms=soon", None, "query parameter budget_ms: expected milliseconds up to 600000, got 'soon'"),
        ("", "hello", "the body is not valid JSON"),
        ("", '{"ids": 7}', "ids: is unknown; did you mean 'id'?"),
        ("", '{"budget_ms": -1}', "budget_ms: expected greater than 0, got -1"),
        ("", '{"id": "%s"}' % ("x" * 5000), "a text message has 5010 characters, over the limit of 4096"),
    ],
)
def test_what_is_asked_wrongly_is_told_before_it_is_closed(
    served: tuple[httpx.Client, Service], query: str, note: str | None, sentence: str
) -> None:
    with opened(served[0], query) as socket:
        if note is not None:
            socket.send(note)
        assert sentence in told(socket)["error"]
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=20)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


@pytest.mark.parametrize(("origin", "taken"), [("https://evil.example", False), ("https://shop.example", True)])
def test_pages_of_others_are_refused_unless_they_are_named(
    served: tuple[httpx.Client, Service], origin: str, taken: bool
) -> None:
    if taken:
        with opened(served[0], origin=origin) as socket:
            send(socket, flat_png(WARM))
            assert told(socket)["id"] == 0
        return
    with pytest.raises(InvalidStatus), opened(served[0], origin=origin):
        pass


def test_streams_are_bounded(served: tuple[httpx.Client, Service], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "MOST_STREAMS", 1)
    with opened(served[0]) as first:
        send(first, flat_png(WARM))
        told(first)
        with opened(served[0]) as second, pytest.raises(ConnectionClosed) as closed:
            second.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1013
        send(first, flat_png(COLD))
        assert told(first)["result"]["labels"] == ["cold"]


def test_a_client_that_leaves_leaves_nothing_behind(served: tuple[httpx.Client, Service], model: GatedModel) -> None:
    client, service = served
    model.gate.clear()
    with opened(client) as socket:
        send(socket, flat_png(WARM))
        wait_for(lambda: model.running)
        send(socket, flat_png(COLD))
        wait_for(lambda: service.bodies.held == len(flat_png(WARM)) + len(flat_png(COLD)))
    wait_for(lambda: service.bodies.held == service.active == 0)
    model.gate.set()
    wait_for(lambda: not model.running)
