"""Overload: who is refused before the application, with what, and whose waiting counts against the deadline."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from fastapi import FastAPI
from live_service import GatedModel, live, wait_for
from tiny_bundle import WARM, flat_png

from serve import Settings, create_app
from serve.arrival import unread_seconds
from serve.protocol import Protocol
from toolkit.api_keys import add_key
from toolkit.inference import load

PICTURE = flat_png(WARM)
HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"


class Hurried(Protocol):
    head_seconds = 0.5


@contextlib.contextmanager
def crowded(bundle: Path, **settings: object) -> Iterator[tuple[FastAPI, httpx.Client, httpx.Client]]:
    """A service whose three places are taken, a client without a connection, and one whose connection is older."""
    model = GatedModel(bundle)
    app = create_app(model, Settings(workers=1, waiting=2, **settings))  # type: ignore[arg-type]
    with live(app, protocol=Hurried) as old, ThreadPoolExecutor(3) as threads:
        model.gate.clear()
        inside = [threads.submit(old.post, "/predict", content=PICTURE) for _ in range(3)]
        try:
            if not settings:
                wait_for(lambda: app.state.service.room.inside == 3)
            with httpx.Client(base_url=old.base_url, timeout=30, trust_env=False) as fresh:
                old.get("/health/live")  # it leaves its connection for the next request
                yield app, fresh, old
        finally:
            model.gate.set()
        assert all(each.result().status_code in (200, 401) for each in inside)
    assert (app.state.service.active, app.state.service.bodies.held, len(app.state.service.room.coming)) == (0, 0, 0)


def test_the_door_answers_as_the_application_does(tiny_bundle: Path) -> None:
    with crowded(tiny_bundle) as (_, fresh, old):
        told = [each.post("/predict", content=PICTURE, headers={"X-Request-Id": "me"}) for each in (fresh, old)]
        text = old.get("/metrics").text
    assert [each.status_code for each in told] == [429, 429]
    assert told[0].content == told[1].content == b'{"error":"the service is busy; try again later"}'
    plain = [{**each.headers, "date": ""} for each in told]
    assert plain[0].pop("vary", None) == plain[1].pop("vary", None)
    assert plain[0] == plain[1]
    assert plain[0]["x-request-id"] == "me"
    assert int(plain[0]["retry-after"]) >= 1
    assert 'toolkit_requests_total{code="429",dialect="prediction",model="tiny"} 2.0' in text
    assert 'toolkit_turned_away_total{model="tiny",why="rejected"} 2.0' in text


# The first bytes of a connection to a crowded service, in pieces, and the status of the answer.
FIRST = [
    ([HEAD % 9 + b"\r\n"], 429),
    ([HEAD % 9 + b"Expect: 100-continue\r\n\r\n"], 429),
    ([b"POST /predict?explain=true HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"], 429),
    ([HEAD % 9, b"\r\n"], 429),  # in two pieces it goes the long way
    ([HEAD % 9 + b"X-Request-Timeout-Ms: soon\r\n\r\n"], 429),  # the application, too, asks first whether there is room
    ([b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"], 200),
    ([b"POST /elsewhere HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"], 404),
    ([b"POST /predictions HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"], 404),
    ([b"nonsense\r\n\r\n"], 400),
]


def test_only_pictures_are_refused_there(tiny_bundle: Path) -> None:
    with crowded(tiny_bundle) as (_, fresh, _):
        for pieces, status in FIRST:
            with connect(fresh) as raw:
                for piece in pieces:
                    raw.sendall(piece)
                    time.sleep(0.05)
                assert raw.recv(4096).startswith(b"HTTP/1.1 %d " % status), pieces


def test_a_client_that_sends_everything_first_still_reads_why(tiny_bundle: Path) -> None:
    with crowded(tiny_bundle) as (_, fresh, _):
        for _ in range(3):
            with connect(fresh) as raw:
                raw.sendall(HEAD % 30_000_000 + b"\r\n")
                for _ in range(30):
                    raw.sendall(bytes(1_000_000))
                answer = b"".join(iter(lambda: raw.recv(65536), b""))
                assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"].startswith("the service is busy")


def test_who_says_nothing_to_a_crowded_service_is_sent_away(tiny_bundle: Path) -> None:
    with crowded(tiny_bundle) as (_, fresh, _), connect(fresh) as raw:
        assert raw.recv(4096) == b""


def test_a_key_is_asked_for_before_anything_else(tiny_bundle: Path, tmp_path: Path) -> None:
    add_key(tmp_path / "keys.json", "camera")
    with crowded(tiny_bundle, keys=tmp_path / "keys.json") as (app, fresh, _):
        assert app.state.door is None
        assert fresh.post("/predict", content=PICTURE).status_code == 401


def test_slow_senders_do_not_keep_others_out(tiny_bundle: Path) -> None:
    app = create_app(load(tiny_bundle, "cpu", threads=1), Settings(workers=1, waiting=2))
    with live(app) as client, contextlib.ExitStack() as held:
        for count in range(1, 6):
            held.enter_context(connect(client)).sendall(HEAD % 100 + b"\r\nabc")
            wait_for(lambda: app.state.service.active == count)  # noqa: B023
            wait_for(lambda: len(app.state.service.room.coming) == 0)
        assert client.post("/predict", content=PICTURE).status_code == 200


def test_what_came_while_the_event_loop_was_busy_has_waited(tiny_bundle: Path) -> None:
    """Nothing in the process can have seen these requests before; the kernel has."""
    app = create_app(load(tiny_bundle, "cpu", threads=1))

    @app.get("/block")
    async def block() -> None:
        time.sleep(0.8)

    with live(app) as client, ThreadPoolExecutor(3) as threads:

        def ask(timeout_ms: int) -> int:
            headers = {"X-Request-Timeout-Ms": str(timeout_ms)}
            return client.post("/predict", content=PICTURE, headers=headers).status_code

        client.get("/health/live")
        blocked = threads.submit(client.get, "/block")
        time.sleep(0.2)
        hurried, patient = threads.submit(ask, 300), threads.submit(ask, 20_000)
        assert (hurried.result(), patient.result(), blocked.result().status_code) == (429, 200, 200)
        seconds = [line for line in client.get("/metrics").text.splitlines() if "request_seconds_sum" in line]
        assert float(next(line for line in seconds if "prediction" in line).split()[-1]) > 0.5


def test_the_age_of_unread_bytes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.sendall(b"x" * 200)
        time.sleep(0.3)
        accepted, _ = server.accept()
        with accepted:
            assert 0.25 < unread_seconds(accepted) < 5
    assert unread_seconds(None) == 0
    first, second = socket.socketpair()
    with first, second:
        assert unread_seconds(first) == 0


def connect(client: httpx.Client) -> socket.socket:
    raw = socket.create_connection((client.base_url.host, client.base_url.port))
    raw.settimeout(10)
    return raw
