"""What the service does when it is given too much: too many at once, too many bytes, too slowly."""

from __future__ import annotations

import gzip
import http.client
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from live_service import GatedModel, live, wait_for
from peak_memory import rises_less_than
from tiny_bundle import COLD, MAKERS, WARM, flat_png

from serve import Settings, create_app
from toolkit.inference import load

PICTURE = flat_png((200, 60, 40))


def test_beyond_its_bound_it_refuses_and_health_still_answers(tiny_bundle: Path) -> None:
    model = GatedModel(tiny_bundle)
    app = create_app(model, Settings(workers=2, waiting=3))
    with live(app) as client, ThreadPoolExecutor(5) as threads:
        model.gate.clear()
        accepted = [threads.submit(client.post, "/predict", content=PICTURE) for _ in range(5)]
        wait_for(lambda: app.state.service.room.inside == 5)
        for _ in range(3):
            refused = client.post("/predict", content=PICTURE)
            assert (refused.status_code, refused.json()) == (429, {"error": "the service is busy; try again later"})
            assert int(refused.headers["retry-after"]) >= 1
        with connect(client) as raw:  # and before the body is sent
            raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
            assert raw.recv(4096).startswith(b"HTTP/1.1 429 ")
        started = time.perf_counter()
        assert client.get("/health/live").status_code == client.get("/health/ready").status_code == 200
        assert client.get("/metadata").status_code == 200
        assert time.perf_counter() - started < 2  # all threads of the pool are held: none of these needs one
        assert model.running == 2
        model.gate.set()
        assert [each.result().status_code for each in accepted] == [200] * 5
        wait_for(lambda: app.state.service.room.inside == 0)
        assert client.post("/predict", content=PICTURE).status_code == 200
    assert app.state.service.bodies.held == 0


# What an answer says of a picture of one colour.
SAID: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "detection": lambda answer: answer["labels"],
    "classification": lambda answer: [{"red": "warm", "blue": "cold"}[answer["label"]]],
    "segmentation": lambda answer: [each["label"] for each in answer["masks"] if each["class_id"]],
}


@pytest.mark.parametrize("task", SAID)
def test_many_clients_at_once_all_get_their_own_answer(task: str, tmp_path: Path) -> None:
    """Four threads share one model: colours decide the label, so a mixed-up buffer would show."""
    colours = [(WARM, "warm"), (COLD, "cold")]
    model = load(MAKERS[task](tmp_path / "b"), "cpu", threads=1)
    with live(create_app(model, Settings(workers=4, waiting=200))) as client:

        def ask(index: int) -> bool:
            colour, label = colours[index % 2]
            answer = client.post(
                "/predict", files={"file": (f"{index}.png", flat_png(colour, (50 + index, 70)))}
            ).json()
            expected = (f"{index}.png", [label], [50 + index, 70])
            return (answer["source"], SAID[task](answer), answer["image_size"]) == expected

        with ThreadPoolExecutor(16) as threads:
            assert all(threads.map(ask, range(100)))


@pytest.fixture(scope="module")
def small(tiny_bundle: Path) -> Iterator[httpx.Client]:
    """A service that takes little and waits shortly."""
    settings = Settings(max_body_bytes=100_000, body_seconds=1.0, max_pixels=10_000)
    app = create_app(load(tiny_bundle, "cpu", threads=1), settings)
    with live(app) as client:
        yield client
        assert app.state.service.bodies.held == 0
        assert app.state.service.active == 0


def test_a_chunked_body_is_counted_as_it_arrives(small: httpx.Client) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(40_000):  # 4 GB, if nobody stops it
            sent += 1
            yield bytes(100_000)

    with rises_less_than(30):  # the server is in this process
        answer = ask_raw(small, chunks())
    assert answer.status == 413
    assert b"the body is longer than the 0.0953674 MiB this service accepts" in answer.read()
    assert sent < 2000


def test_an_announced_length_is_refused_before_the_body_is_sent(small: httpx.Client) -> None:
    with connect(small) as raw:
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\nExpect: 100-continue\r\n\r\n")
        answer = raw.recv(4096)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in answer


def test_a_client_that_sends_everything_first_still_reads_why(small: httpx.Client) -> None:
    """A server that closes at once breaks the pipe, and such a client never comes to reading the answer."""
    for _ in range(3):
        host = http.client.HTTPConnection(small.base_url.host, small.base_url.port, timeout=10)
        host.request("POST", "/predict", bytes(30_000_000))
        answer = host.getresponse()
        assert (answer.status, answer.getheader("connection")) == (413, "close")
        assert b"the body is longer" in answer.read()


def test_after_a_refusal_the_connection_takes_the_next_request(small: httpx.Client) -> None:
    host = http.client.HTTPConnection(small.base_url.host, small.base_url.port, timeout=10)
    for body, status in ((b"not a picture", 400), (PICTURE, 200), (bytes(10), 400), (PICTURE, 200)):
        host.request("POST", "/predict", body)
        answer = host.getresponse()
        answer.read()
        assert answer.status == status


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_body_is_inflated_and_bounded(small: httpx.Client, encoding: str, compress: Any) -> None:
    headers = {"Content-Encoding": encoding}
    good = small.post("/predict", content=compress(PICTURE), headers=headers)
    assert (good.status_code, good.json()["labels"]) == (200, ["warm"])
    bomb = compress(bytes(100 * 10**6), 9)
    assert len(bomb) < 98_000
    with rises_less_than(10):  # the server is in this process
        refused = small.post("/predict", content=bomb, headers=headers)
    assert (refused.status_code, "inflated, is longer than" in refused.json()["error"]) == (413, True)


def test_a_body_that_trickles_is_a_408_and_leaves_others_alone(small: httpx.Client) -> None:
    with connect(small) as raw:
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
        assert small.post("/predict", content=PICTURE).status_code == 200
        raw.settimeout(10)
        answer = raw.recv(4096)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"the body did not arrive within 1 seconds" in answer


def test_a_client_that_goes_away_leaves_nothing_behind(small: httpx.Client) -> None:
    for _ in range(20):
        with connect(small) as raw:
            raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc")
    assert small.post("/predict", content=PICTURE).status_code == 200


def test_too_many_pixels_are_refused_by_the_header(small: httpx.Client) -> None:
    assert small.post("/predict", content=flat_png((1, 2, 3), (100, 100))).status_code == 200
    answer = small.post("/predict", content=flat_png((1, 2, 3), (100, 101)))
    assert (answer.status_code, "101x100 is 0.0101 megapixels" in answer.json()["error"]) == (413, True)


def test_all_bodies_together_are_bounded(tiny_bundle: Path) -> None:
    app = create_app(load(tiny_bundle, "cpu", threads=1), Settings(max_body_bytes=50_000, max_held_bytes=80_000))
    with live(app) as client:
        with connect(client) as first:
            first.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n" + bytes(49_000))
            wait_for(lambda: app.state.service.bodies.held == 49_000)
            refused = client.post("/predict", content=bytes(40_000))
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert "too many uploads" in refused.json()["error"]
            assert client.post("/predict", content=PICTURE).status_code == 200
        wait_for(lambda: app.state.service.bodies.held == 0)
        assert client.post("/predict", content=bytes(40_000)).status_code == 400


def test_the_event_loop_turns_while_a_large_picture_is_decoded(tiny_bundle: Path) -> None:
    large = flat_png((200, 60, 40), (5000, 6000))
    with live(create_app(load(tiny_bundle, "cpu", threads=1), Settings(workers=1))) as client:
        done = threading.Event()

        def predict() -> None:
            for _ in range(2):
                assert client.post("/predict", content=large).status_code == 200
            done.set()

        thread = threading.Thread(target=predict)
        thread.start()
        answered = 0
        while not done.is_set():
            assert client.get("/health/live").status_code == 200
            answered += 1
        thread.join()
    assert answered > 20


def ask_raw(client: httpx.Client, body: Iterator[bytes]) -> http.client.HTTPResponse:
    """Send a chunked body with the standard library's client, which sends everything before it reads."""
    host = http.client.HTTPConnection(client.base_url.host, client.base_url.port, timeout=10)
    host.putrequest("POST", "/predict")
    host.putheader("Transfer-Encoding", "chunked")
    host.endheaders()
    try:
        for chunk in body:
            host.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        host.send(b"0\r\n\r\n")
    except OSError:  # the service has answered and closed
        pass
    return host.getresponse()


def connect(client: httpx.Client) -> socket.socket:
    return socket.create_connection((client.base_url.host, client.base_url.port), timeout=10)
