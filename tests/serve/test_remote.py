"""Pictures by URL: which are refused before anything is asked, and what is made of the answers of those that are."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tiny_bundle import WARM, flat_png

from serve import InProcessClient, Settings, create_app
from serve.body import Upload
from serve.errors import RequestError
from serve.remote import PinnedConnection, RemotePictures
from toolkit.errors import UserError
from toolkit.inference import load

HOST = "pictures.example.com"
PUBLIC = "93.184.215.14"


class Names:
    """A name server of our own: counts what it is asked, and may answer otherwise the second time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: list[list[str]] = []
        self.asked: list[str] = []
        monkeypatch.setattr(socket, "getaddrinfo", self.look_up)

    def look_up(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked.append(host)
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(0, socket.SOCK_STREAM, 0, "", (address, port)) for address in addresses]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


def refuse(remote: RemotePictures, url: str) -> RequestError:
    with pytest.raises(RequestError) as refused:
        asyncio.run(remote.fetch(url))
    return refused.value


def never(*_: Any) -> Any:
    raise AssertionError("nothing may be connected to")


@pytest.mark.parametrize(
    "url",
    [
        f"http://{HOST}/a.jpg",
        f"https://{HOST}:8443/a.jpg",
        f"https://user@{HOST}/a.jpg",
        f"https://user:word@{HOST}/a.jpg",
        "https://other.example.com/a.jpg",
        f"https://{HOST}.evil.example/a.jpg",
        f"https://evil.example/{HOST}",
        f"https://evil.example#@{HOST}/",
        f"https://evil.example\\@{HOST}/",
        "https://127.0.0.1/a.jpg",
        "https://[::1]/a.jpg",
        "https://[::1/a.jpg",
        f"https://{HOST}:port/a.jpg",
        f"https://{HOST}/a b.jpg",
        f"https://{HOST}/a.jpg\r\nX-Evil: 1",
        f"https://{HOST}/ä.jpg",
        "file:///etc/passwd",
        "ftp://pictures.example.com/a.jpg",
        "data:image/png;base64,AAAA",
        "//pictures.example.com/a.jpg",
        "",
    ],
)
def test_a_url_that_may_not_be_fetched(names: Names, url: str) -> None:
    refused = refuse(RemotePictures([HOST], 1000, connect=never), url)
    assert refused.status == 400
    assert names.asked == []


def test_no_url_is_fetched_unless_a_host_is_named(names: Names) -> None:
    refused = refuse(RemotePictures([], 1000, connect=never), f"https://{HOST}/a.jpg")
    assert (refused.status, refused.sentence) == (400, "this service fetches no URLs; send the picture itself")
    assert names.asked == []


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.7"],
        ["172.16.3.4"],
        ["192.168.1.1"],
        ["169.254.169.254"],  # where clouds keep their secrets
        ["100.64.0.1"],
        ["0.0.0.0"],
        ["224.0.0.1"],
        ["255.255.255.255"],
        ["::1"],
        ["::"],
        ["fe80::1"],
        ["fd00::1"],
        ["::ffff:127.0.0.1"],
        ["::ffff:10.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::"],
        [PUBLIC, "127.0.0.1"],  # one of several is enough
    ],
)
def test_a_name_that_leads_inside_is_refused(names: Names, addresses: list[str]) -> None:
    names.answers = [addresses]
    refused = refuse(RemotePictures([HOST], 1000, connect=never), f"https://{HOST}/a.jpg")
    assert (refused.status, "is at an address that is not public" in refused.sentence) == (400, True)


def test_the_address_that_was_checked_is_the_one_that_is_asked(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    names.answers = [[PUBLIC], ["127.0.0.1"]]  # a name server that changes its mind
    asked: list[Any] = []

    def connect(address: Any, *_: Any, **__: Any) -> Any:
        asked.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", connect)
    refused = refuse(RemotePictures([HOST.upper()], 1000), f"https://{HOST}/a.jpg")
    assert (refused.status, refused.sentence) == (
        502,
        f"the picture at {HOST} cannot be fetched (ConnectionRefusedError)",
    )
    assert (asked, names.asked) == ([(PUBLIC, 443)], [HOST])


def test_the_certificate_is_held_against_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(socket, "create_connection", lambda *_: ours)
    told: dict[str, Any] = {}

    def wrap(self: ssl.SSLContext, plain: socket.socket, **options: Any) -> socket.socket:
        told.update(options, verify=self.verify_mode, check=self.check_hostname)
        return plain

    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", wrap)
    PinnedConnection(HOST, PUBLIC, 1.0).connect()
    ours.close()
    theirs.close()
    assert told == {"server_hostname": HOST, "verify": ssl.CERT_REQUIRED, "check": True}


class Host(BaseHTTPRequestHandler):
    """Answers by the path it is asked for."""

    def do_GET(self) -> None:
        match self.path:
            case "/moved":
                self.send_response(302)
                self.send_header("Location", "http://127.0.0.1/secret")
                self.end_headers()
            case "/slow":
                self.send_response(200)
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # the client has had enough
                    for _ in range(100):
                        self.wfile.write(b"x")
                        time.sleep(0.05)
            case "/garbage":
                self.wfile.write(b"no HTTP at all\r\n\r\n")
            case "/missing":
                self.send_error(404)
            case "/warm.png":
                self.send_response(200)
                self.end_headers()
                self.wfile.write(flat_png(WARM))
            case _:
                length = 1001 if self.path == "/long" else 1000
                self.send_response(200)
                self.end_headers()  # no Content-Length: counted as it comes
                self.wfile.write(bytes(length))

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture(scope="module")
def remote() -> Iterator[RemotePictures]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Host)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def connect(host: str, address: str, seconds: float) -> http.client.HTTPConnection:
        assert (host, address) == (HOST, PUBLIC)
        return http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=seconds)

    yield RemotePictures([HOST], 1000, seconds=0.5, connect=connect)
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_dialect_that_takes_urls_gets_the_picture_where_its_host_is_named(
    tiny_bundle: Path, names: Names, monkeypatch: pytest.MonkeyPatch, remote: RemotePictures
) -> None:
    names.answers = [[PUBLIC]]
    app = create_app(load(tiny_bundle, "cpu", threads=1), Settings(picture_hosts=(HOST,)))
    with InProcessClient(app) as client:
        app.state.service.remote = remote
        real = socket.create_connection
        monkeypatch.setattr(socket, "create_connection", lambda *a, **k: _numeric(real, *a, **k))
        found = [
            client.request("POST", "/object-detection", json.dumps({"image": f"https://{host}/warm.png"}).encode())
            for host in (HOST, "other.example.com")
        ]
    assert [each.status for each in found] == [200, 400]
    assert [each["categoryName"] for each in found[0].json()["result"]["detectedObjects"]] == ["warm"]
    assert "is not one that this service fetches pictures from" in found[1].json()["errorMsg"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/album/street.jpg?size=1", Upload(bytes(1000), "street.jpg")),
        ("", Upload(bytes(1000), HOST)),
        ("/long", (413, f"the picture at {HOST} has more bytes than are accepted here")),
        ("/moved", (502, f"the host {HOST} answered 302, expected 200")),
        ("/missing", (502, f"the host {HOST} answered 404, expected 200")),
        ("/slow", (502, f"the picture at {HOST} cannot be fetched (it took too long)")),
        ("/garbage", (502, f"the picture at {HOST} cannot be fetched (BadStatusLine)")),
    ],
)
def test_what_is_made_of_a_host_s_answer(names: Names, monkeypatch: Any, remote: Any, path: str, expected: Any) -> None:
    real = socket.create_connection
    monkeypatch.setattr(socket, "create_connection", lambda *a, **k: _numeric(real, *a, **k))
    names.answers = [[PUBLIC]]
    if isinstance(expected, Upload):
        assert asyncio.run(remote.fetch(f"https://{HOST}{path}")) == expected
    else:
        refused = refuse(remote, f"https://{HOST}{path}")
        assert (refused.status, refused.sentence) == expected


def _numeric(real: Any, address: Any, timeout: Any = None, *_: Any, **__: Any) -> socket.socket:
    """`socket.create_connection` asks the name server too, which is ours here."""
    sock = socket.socket()
    sock.settimeout(timeout)
    sock.connect(address)
    return sock


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "a_b.example.com", "*.example.com", "a.b/c", ""])
def test_a_host_that_cannot_be_named(host: str) -> None:
    with pytest.raises(UserError, match="expected a host's full name"):
        RemotePictures([host], 1000)
