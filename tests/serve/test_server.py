"""`serve.run` as a process: it takes its port first, says when it is ready, and stops in good order."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from bundle_variants import spoilt
from live_service import wait_for
from tiny_bundle import flat_png

import serve
from toolkit.errors import UserError

ROOT = Path(__file__).parents[2]
PICTURE = flat_png((200, 60, 40))
# The network takes as long as the environment says once the start-up check is over.
SCRIPT = """
import os, sys, time
from toolkit.inference import engine
run, ready = engine.Engine.run, []
def slow(self, batch, outputs):
    if ready:
        time.sleep(float(os.environ["SLOW"]))
    return run(self, batch, outputs)
engine.Engine.run = slow
import serve
def announce(line):
    ready.append(line)
    print(line, flush=True)
settings = serve.Settings(workers=1, waiting=0)
serve.run(sys.argv[1], port=0, announce=announce, settings=settings, drain_seconds=float(sys.argv[2]))
"""


@contextlib.contextmanager
def process(
    bundle: Path, slow: float = 0.0, drain_seconds: float = 20.0
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The service in a process of its own: the process, and the line that it prints."""
    environment = {**os.environ, "SLOW": str(slow), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT, str(bundle), str(drain_seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as child:
        try:
            assert child.stdout is not None
            yield child, child.stdout.readline()
        finally:
            child.kill()


def test_it_says_where_it_is_once_it_is_ready_and_ends_with_0(tiny_bundle: Path) -> None:
    with process(tiny_bundle) as (child, line):
        found = re.fullmatch(
            rf"serving tiny 1\.0\.0 from {re.escape(str(tiny_bundle))} at (http://127\.0\.0\.1:\d+/) "
            r"\(drop a picture on that page\)\n",
            line,
        )
        assert found, line
        assert httpx.get(f"{found[1]}health/ready").status_code == 200
        assert httpx.post(f"{found[1]}predict", content=PICTURE).json()["labels"] == ["warm"]
        child.send_signal(signal.SIGTERM)
        _, log = child.communicate(timeout=20)
    assert child.returncode == 0
    assert "POST /predict -> 200" in log
    assert "Traceback" not in log


def test_ctrl_c_ends_with_0_too(tiny_bundle: Path) -> None:
    with process(tiny_bundle) as (child, _):
        child.send_signal(signal.SIGINT)
        _, log = child.communicate(timeout=20)
    assert (child.returncode, "Traceback" in log) == (0, False)


def test_sigterm_drains_what_is_inside_and_takes_no_more(tiny_bundle: Path) -> None:
    with process(tiny_bundle, slow=3.0) as (child, line):
        url = address(line)
        answers: list[httpx.Response] = []

        def ask() -> None:
            while not answers or answers[-1].status_code == 429:  # one of the probes below was inside
                answers.append(httpx.post(f"{url}predict", content=PICTURE, timeout=20))

        request = threading.Thread(target=ask)
        request.start()
        wait_for(lambda: httpx.post(f"{url}predict", content=b"").status_code == 429)  # the picture is inside
        child.send_signal(signal.SIGTERM)
        wait_for(lambda: httpx.get(f"{url}health/ready").status_code == 503)
        refused = httpx.post(f"{url}predict", content=PICTURE)
        assert (refused.status_code, refused.json()) == (503, {"error": "the service is shutting down"})
        assert httpx.get(f"{url}health/live").status_code == 200
        request.join()
        assert answers[-1].json()["labels"] == ["warm"]
        child.communicate(timeout=20)
    assert child.returncode == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}health/live")


def test_draining_ends_at_its_time_limit(tiny_bundle: Path) -> None:
    """A client that never finishes its upload does not keep the process alive."""
    with process(tiny_bundle, drain_seconds=0.5) as (child, line):
        port = int(line.split(":")[-1].split("/")[0])
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
            assert raw.recv(4096).startswith(b"HTTP/1.1 100 ")  # it is inside
            started = time.monotonic()
            child.send_signal(signal.SIGTERM)
            child.communicate(timeout=20)
    assert child.returncode == 0
    assert 0.4 < time.monotonic() - started < 10


def test_a_port_in_use_is_said_before_the_bundle_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"^port {port} on 127.0.0.1 is in use; give another with --port$"):
            serve.run("no such bundle", port=port)


@pytest.mark.parametrize(
    ("host", "port", "sentence"),
    [
        ("127.0.0.1", 70000, "port 70000: expected a number from 0 to 65535"),
        ("203.0.113.7", 0, "host '203.0.113.7' is not an address of this machine; give another with --host"),
        ("no.such.host.invalid", 0, "host 'no.such.host.invalid' is not an address of this machine ("),
    ],
)
def test_other_addresses_that_cannot_be_had(host: str, port: int, sentence: str) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)):
        serve.run("no such bundle", host, port)


def test_a_missing_bundle_is_one_sentence_and_the_port_is_free_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    for _ in range(2):
        with pytest.raises(UserError, match="no-such-bundle"):
            serve.run("no-such-bundle", port=port)


def test_a_bundle_whose_golden_pictures_disagree_is_not_served(tmp_path: Path) -> None:
    with process(spoilt(tmp_path)) as (child, line):
        _, log = child.communicate(timeout=20)
    assert line == ""
    assert child.returncode == 1
    assert "toolkit.errors.UserError: bundle" in log
    assert "the start-up check failed: golden/0.png: expected warm 0.5000" in log


def address(line: str) -> str:
    return line.split(" at ")[1].split(" ")[0]
