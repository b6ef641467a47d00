"""Clients that take their time with a request's head, or with reading an answer: they are sent away, others are not."""

from __future__ import annotations

import contextlib
import io
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from live_service import live, wait_for
from PIL import Image
from tiny_bundle import WARM, flat_png

from serve import create_app
from serve.protocol import Protocol
from toolkit.inference import load


class Hurried(Protocol):
    head_seconds = 0.5
    stalled_seconds = 0.5


@pytest.fixture(scope="module")
def client(tiny_bundle: Path) -> Iterator[httpx.Client]:
    app = create_app(load(tiny_bundle, "cpu", threads=1))
    with live(app, protocol=Hurried) as client:
        yield client
        wait_for(lambda: app.state.service.active == 0)
        assert app.state.service.bodies.held == 0


def connect(client: httpx.Client, buffer: int | None = None) -> socket.socket:
    raw = socket.socket()
    if buffer:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    raw.settimeout(10)
    raw.connect((client.base_url.host, client.base_url.port))
    return raw


GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("first", "drip"),
    [(b"", b""), (b"GET / HT", b""), (b"GET / HTTP/1.1\r\nHost: x\r\n", b"X-A: b\r\n"), (GET + b"GET / HT", b"")],
    ids=["nothing", "half a line", "a header at a time", "half of the second request"],
)
def test_a_head_that_does_not_end_ends_the_connection(client: httpx.Client, first: bytes, drip: bytes) -> None:
    with connect(client) as raw:
        raw.sendall(first)
        if first.startswith(GET):
            assert raw.recv(4096).startswith(b"HTTP/1.1 200 ")
        raw.settimeout(0.1)
        answer = None
        for _ in range(100):
            try:
                raw.sendall(drip)
                answer = raw.recv(4096)
                break
            except TimeoutError:
                continue
            except OSError:  # it is closed while we still send
                answer = b""
                break
        assert answer == b""


def test_a_slow_body_and_an_idle_connection_are_not_a_slow_head(client: httpx.Client) -> None:
    picture = flat_png(WARM)
    with connect(client) as raw:
        for _ in range(2):
            raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(picture))
            raw.sendall(picture[:10])
            time.sleep(0.8)
            raw.sendall(picture[10:])
            assert raw.recv(65536).startswith(b"HTTP/1.1 200 ")
            time.sleep(0.8)


def asking_for_much() -> bytes:
    """A request for a drawn picture of some ten megabytes."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (2000, 2000, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "PNG", compress_level=1)
    head = "POST /predict HTTP/1.1\r\nHost: x\r\nAccept: image/png\r\nContent-Length: {}\r\n\r\n"
    return head.format(len(buffer.getvalue())).encode() + buffer.getvalue()


@pytest.mark.parametrize(("stop", "whole"), [(0.02, True), (3.0, False)], ids=["slowly", "not at all"])
def test_an_answer_that_is_not_read_ends_the_connection(client: httpx.Client, stop: float, whole: bool) -> None:
    """A client that reads slowly gets all of it; one that stops does not keep it in the service's memory."""
    request = asking_for_much()
    with connect(client, 64 * 1024) as raw:
        raw.sendall(request)
        head, _, received = raw.recv(64 * 1024).partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        assert length > 5_000_000
        count = len(received)
        time.sleep(stop)
        with contextlib.suppress(OSError):  # the connection is reset
            while count < length and (chunk := raw.recv(256 * 1024)):
                count += len(chunk)
                if whole:
                    time.sleep(stop)
    assert (count == length) is whole
