"""Load on a service on this machine, and what it says: closed-loop by wrk, open-loop by requests that come whether or
not those before are answered. Nothing of the toolkit is imported.
"""

from __future__ import annotations

import json
import os
import selectors
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

# The request is made once and sent as it is: a `request` function would be called for each.
_SCRIPT = """
local file = assert(io.open(os.getenv("WRK_BODY"), "rb"))
wrk.body = file:read("*a")
file:close()
wrk.method = "POST"
wrk.headers["Content-Type"] = "image/jpeg"
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\nWRK {"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "connect": %d, "read": %d, "write": %d, ' ..
    '"timeout": %d, "status": %d}\\n', summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), e.connect, e.read, e.write, e.timeout, e.status))
end
"""


class Closed(NamedTuple):
    """What wrk saw: answers of status 2xx and 3xx a second, milliseconds, and everything that went wrong."""

    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int


def wrk(port: int, picture: Path, connections: int, seconds: float) -> Closed:
    """One thread with so many connections that each send the next request when the last is answered."""
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not installed; on Debian: apt install wrk")
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_SCRIPT)
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s", "-s", script.name]
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{port}/predict"],
            capture_output=True,
            text=True,
            env={**os.environ, "WRK_BODY": str(picture)},
        )
    lines = [line[4:] for line in done.stdout.splitlines() if line.startswith("WRK ")]
    if done.returncode or len(lines) != 1:
        raise SystemExit(f"wrk did not report: {done.stdout} {done.stderr}")
    said = json.loads(lines[0])
    good = said["requests"] - said["status"]
    errors = sum(said[kind] for kind in ("connect", "read", "write", "timeout", "status"))
    return Closed(good / said["microseconds"] * 1e6, said["p50"] / 1e3, said["p99"] / 1e3, errors)


class Answer(NamedTuple):
    """``seconds`` from the moment at which the request was due; status 0 where the connection failed."""

    status: int
    seconds: float
    retry_after: bool


class _Client:
    """One request on a connection of its own, as independent clients have it; it reads also while it still writes."""

    def __init__(self, port: int, request: bytes, due: float) -> None:
        self.due = due
        self.answer: Answer | None = None
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(("127.0.0.1", port))
        self._left, self._got = memoryview(request), b""

    def write(self) -> bool:
        """Send what goes now; True when all of it has gone."""
        try:
            self._left = self._left[self.socket.send(self._left) :]
        except BlockingIOError:
            pass
        except OSError:  # refused while it was sent: the answer may be there
            return True
        return not self._left

    def read(self) -> bool:
        """Take what has come; True at the end of the connection, when `answer` is there."""
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        self._got += data
        head, found, _ = self._got.partition(b"\r\n\r\n")
        if found and self.answer is None:
            seconds = time.perf_counter() - self.due
            self.answer = Answer(int(head.split(None, 2)[1]), seconds, b"\r\nretry-after:" in head.lower())
        if not data and self.answer is None:
            self.answer = Answer(0, time.perf_counter() - self.due, False)
        return not data


def _offer(port: int, request: bytes, per_second: float, seconds: float) -> list[Answer]:
    """One thread and few system calls: it has the cores in common with the service."""
    begun, count, total = time.perf_counter() + 0.05, 0, int(per_second * seconds)
    answers: list[Answer] = []
    with selectors.DefaultSelector() as selector:
        while len(answers) < total:
            while count < total and begun + count / per_second <= time.perf_counter():
                client = _Client(port, request, begun + count / per_second)
                selector.register(client.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, client)
                count += 1
            next_due = begun + count / per_second - time.perf_counter() if count < total else 1.0
            for key, events in selector.select(max(0.0, next_due)):
                if events & selectors.EVENT_WRITE and key.data.write():
                    selector.modify(key.fileobj, selectors.EVENT_READ, key.data)
                if events & selectors.EVENT_READ and key.data.read():
                    selector.unregister(key.fileobj)
                    key.data.socket.close()
                    answers.append(key.data.answer)
    return answers


class Open(NamedTuple):
    """What became of requests that came at a steady rate. Milliseconds are of those answered 200."""

    offered_per_second: float
    statuses: Mapping[str, int]
    accepted_per_second: float
    p50_ms: float
    p99_ms: float
    late: int  # answered 200 after their deadline
    without_retry_after: int  # of the 429


def offered(port: int, picture: bytes, per_second: float, seconds: float, timeout_ms: int) -> Open:
    """Offer that load with that deadline; the latency counts from when a request was due, not from when it was sent."""
    head = (
        f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: image/jpeg\r\nConnection: close\r\n"
        f"X-Request-Timeout-Ms: {timeout_ms}\r\nContent-Length: {len(picture)}\r\n\r\n"
    )
    begun = time.perf_counter()
    answers = _offer(port, head.encode() + picture, per_second, seconds)
    took = time.perf_counter() - begun
    good = sorted(each.seconds * 1e3 for each in answers if each.status == 200)
    refused = [each for each in answers if each.status == 429]
    return Open(
        per_second,
        {str(status): count for status, count in sorted(Counter(each.status for each in answers).items())},
        len(good) / took,
        good[len(good) // 2] if good else 0.0,
        good[int(len(good) * 0.99)] if good else 0.0,
        sum(each > timeout_ms for each in good),
        sum(not each.retry_after for each in refused),
    )
