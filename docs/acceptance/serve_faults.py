"""Thousands of mixed requests from several clients to a real service, swapped meanwhile, whose memory is watched.

    python docs/acceptance/serve_faults.py [--requests 10000] [--clients 8]

Good pictures of many sizes, damaged ones, wrong options, hurried deadlines, and clients that leave in the middle.
Every answer must have the status that is right for it; the resident memory may grow by less than 5 % over what it is
after the first tenth of the requests. Ends with code 1 where anything is not so.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

BUNDLE = "mask_detection"
_OF_LOAD = {429, 504}  # what a hurried request may get besides its answer


def picture(height: int, width: int, seed: int) -> bytes:
    """A JPEG of noise over a gradient."""
    noise = np.random.default_rng(seed).integers(0, 60, (height, width, 3))
    pixels = noise + np.linspace(0, 190, width)[None, :, None]
    stored = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(stored, "JPEG", quality=90)
    return stored.getvalue()


@dataclass(frozen=True)
class Kind:
    """A sort of request: what is sent, and the statuses that are right for it."""

    query: str
    body: bytes
    right: frozenset[int]
    timeout_ms: str = ""


def kinds() -> list[Kind]:
    sizes = [(480, 640), (640, 480), (200, 200), (90, 700), (1080, 1920)]
    good = [Kind("", picture(*size, seed), frozenset({200})) for seed, size in enumerate(sizes)]
    return [
        *good,
        Kind("?score_threshold=0.9&max_detections=3", good[0].body, frozenset({200})),
        Kind("", good[1].body[: len(good[1].body) // 2], frozenset({400})),
        Kind("", b"no picture", frozenset({400})),
        Kind("?score_threshold=7", good[2].body, frozenset({422})),
        Kind("", good[3].body, frozenset({200, *_OF_LOAD}), timeout_ms="20"),
    ]


class Service:
    """``toolkit serve`` over one bundle in a folder of its own, with its admin API."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.admin = f"http://127.0.0.1:{probe.getsockname()[1]}"
        command = [
            *(sys.executable, "-m", "toolkit.cli.main", "serve", "--port", "0", "--device", "cpu"),
            *("--models-dir", str(folder), "--admin-port", self.admin.rpartition(":")[2]),
        ]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.child.stdout is not None
        found = re.search(r" at (http\S+)/ ", self.child.stdout.readline())
        if found is None:
            raise SystemExit("the service did not start")
        self.url = found[1]

    def memory(self) -> float:
        """Resident MiB."""
        pages = int(Path(f"/proc/{self.child.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGESIZE") / 2**20

    def settled(self) -> float:
        """`memory` once free memory had the time to go back to the system, which happens every ten seconds."""
        time.sleep(12)
        return self.memory()

    def ask(self, kind: Kind) -> int:
        headers = {"Content-Type": "image/jpeg"}
        if kind.timeout_ms:
            headers["X-Request-Timeout-Ms"] = kind.timeout_ms
        request = urllib.request.Request(f"{self.url}/predict{kind.query}", kind.body, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                answer.read()
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.read()
            return error.code

    def leave(self, kind: Kind) -> None:
        """Send a whole request and go away before it is answered."""
        host, port = self.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as raw:
            head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(kind.body)}\r\n\r\n"
            raw.sendall(head.encode() + kind.body)

    def swap(self) -> int:
        """Load the bundle anew in place of itself."""
        request = urllib.request.Request(f"{self.admin}/models/{BUNDLE}/load", b"", method="POST")
        with urllib.request.urlopen(request, timeout=120) as answer:
            return int(answer.status)


@contextlib.contextmanager
def started() -> Iterator[Service]:
    from toolkit.bundles import find

    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(find(BUNDLE), Path(folder) / BUNDLE)
        service = Service(Path(folder))
        try:
            yield service
        finally:
            service.child.kill()
            service.child.wait()


class Clients:
    """Many at once, and what came of their requests."""

    def __init__(self, service: Service, count: int) -> None:
        self._service, self._count, self._sorts = service, count, kinds()
        self._lock = threading.Lock()
        self.seen: Counter[int] = Counter()
        self.wrong: Counter[str] = Counter()

    def ask(self, first: int, last: int) -> None:
        """Requests number ``first`` to ``last`` - 1."""
        with ThreadPoolExecutor(self._count) as threads:
            list(threads.map(self._one, range(first, last)))

    def _one(self, index: int) -> None:
        kind = self._sorts[index % len(self._sorts)]
        try:
            status = self._leave(kind) if index % 50 == 49 else self._service.ask(kind)
        except OSError as error:
            self._count_wrong(f"lost: {error}")
            return
        with self._lock:
            self.seen[status] += 1
        if status and status not in kind.right:
            self._count_wrong(f"{status} where {sorted(kind.right)} are right")

    def _leave(self, kind: Kind) -> int:
        self._service.leave(kind)
        return 0

    def _count_wrong(self, what: str) -> None:
        with self._lock:
            self.wrong[what] += 1


def memory_by_tenths(service: Service, clients: Clients, requests: int) -> list[float]:
    """Resident MiB after each tenth of the requests, which are all made here.

    A model is swapped in the first tenth, so that the one which is kept for the way back is there from then on, and
    again in the sixth, both under load.
    """
    tenth, found = requests // 10, []
    for number in range(10):
        swapping = threading.Thread(target=service.swap)
        if number in (0, 5):
            swapping.start()
        clients.ask(number * tenth, (number + 1) * tenth)
        if swapping.ident is not None:
            swapping.join()
        found.append(service.settled())
        print(f"{(number + 1) * tenth:6} requests: {found[-1]:.0f} MiB", flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=8)
    given = parser.parse_args()

    with started() as service:
        clients = Clients(service, given.clients)
        print(f"resident memory by requests of {given.clients} clients:")
        memory = memory_by_tenths(service, clients, given.requests)
        with urllib.request.urlopen(f"{service.url}/models") as answer:
            ready = all(each["ready"] for each in json.load(answer))
        service.child.send_signal(signal.SIGTERM)
        code = service.child.wait(60)

    drift = max(memory) / memory[0] - 1
    left = clients.seen.pop(0, 0)
    print(f"answers by status: {dict(sorted(clients.seen.items()))}; clients that left before theirs: {left}")
    print(f"wrong or lost: {dict(clients.wrong) or 'none'}")
    print(f"most memory against that after the first tenth: {drift:+.1%}")
    print(f"ready at the end: {ready}; exit code after SIGTERM: {code}")
    return 0 if not clients.wrong and drift < 0.05 and ready and code == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
