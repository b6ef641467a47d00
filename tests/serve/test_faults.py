"""The service under load when something goes wrong: a real server, real sockets, and nobody who is let in is lost."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from live_service import Clients, GatedModel, live, wait_for
from tiny_bundle import COLD, WARM, flat_png, make_tiny_bundle

from serve import Settings, create_app

ROOT = Path(__file__).parents[2]
PICTURES = {"warm": flat_png(WARM, (48, 80)), "cold": flat_png(COLD, (90, 33))}
BLACK = flat_png((0, 0, 0))


class Poisonable(GatedModel):
    """Fails on every run that holds a black picture."""

    armed = False

    def network(self, batch, *, explain=False):  # type: ignore[no-untyped-def]
        if self.armed and (np.median(batch, axis=(1, 2, 3)) == 0).any():
            raise FloatingPointError("poisoned")
        return super().network(batch, explain=explain)


@pytest.fixture
def model(tiny_bundle: Path) -> Poisonable:
    return Poisonable(tiny_bundle)


@contextlib.contextmanager
def together(model: Poisonable, count: int) -> Iterator[tuple[httpx.Client, ThreadPoolExecutor, Any]]:
    """A service whose two runs are held at the gate by two pictures, so that all that comes next waits together."""
    app = create_app(model, Settings(workers=2, waiting=50, batching="on"))
    with live(app) as client, ThreadPoolExecutor(count + 2) as threads:
        service, queue = app.state.service, app.state.service.default.batcher.queue
        model.gate.clear()
        held = [threads.submit(client.post, "/predict", content=PICTURES["warm"]) for _ in range(2)]
        wait_for(lambda: queue.running == 2 and queue.rows == 0)
        try:
            yield client, threads, queue
        finally:
            model.gate.set()
        assert [each.result().status_code for each in held] == [200, 200]
        wait_for(lambda: service.room.inside == 0)
        assert (queue.rows, queue.size, queue.running, queue.coming) == (0, 0, 0, 0)
        assert (service.bodies.held, service.active) == (0, 0)


def test_one_client_of_a_batch_leaves_and_the_others_are_answered(model: Poisonable) -> None:
    with together(model, 5) as (client, threads, queue):
        others = [threads.submit(client.post, "/predict", content=PICTURES["cold"]) for _ in range(4)]
        with socket.create_connection((client.base_url.host, client.base_url.port)) as leaver:
            leaver.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(BLACK) + BLACK)
            wait_for(lambda: queue.rows == 5)
        wait_for(lambda: queue.rows == 4)  # it left before it ran
        model.gate.set()
        assert [each.result().json()["labels"] for each in others] == [["cold"]] * 4
        assert 'toolkit_turned_away_total{model="tiny",why="cancelled"} 1.0' in client.get("/metrics").text


def test_a_poisoned_picture_in_a_batch_fails_alone(model: Poisonable) -> None:
    with together(model, 5) as (client, threads, queue):
        model.armed = True
        bodies = [PICTURES["cold"], BLACK, PICTURES["warm"], PICTURES["cold"], PICTURES["warm"]]
        asked = [threads.submit(client.post, "/predict", content=body) for body in bodies]
        wait_for(lambda: queue.rows == 5)
        model.gate.set()
        answers = [each.result() for each in asked]
        assert [each.status_code for each in answers] == [200, 500, 200, 200, 200]
        assert [each.json()["labels"] for each in answers if each.status_code == 200] == [
            ["cold"], ["warm"], ["cold"], ["warm"],
        ]  # fmt: skip
        assert client.get("/health/ready").status_code == 200


def test_who_cannot_be_answered_in_time_is_told_at_the_door_or_at_the_deadline(model: Poisonable) -> None:
    with together(model, 4) as (client, threads, queue):
        hurried = {"X-Request-Timeout-Ms": "80"}
        late = client.post("/predict", content=PICTURES["cold"], headers=hurried)
        assert late.status_code in (429, 504)
        assert queue.rows == 0  # it waits no more
        patient = threads.submit(client.post, "/predict", content=PICTURES["cold"])
        wait_for(lambda: queue.rows == 1)
        model.gate.set()
        assert patient.result().status_code == 200


def test_mixed_requests_from_many_clients_are_each_answered_right(model: Poisonable) -> None:
    """Pictures of many sizes, some of them damaged, some options wrong, some clients that leave."""
    model.armed = True
    kinds: list[tuple[str, bytes, int]] = [
        ("", PICTURES["warm"], 200),
        ("", flat_png(COLD, (200, 10)), 200),
        ("", PICTURES["cold"][:-30], 400),
        ("?score_threshold=2", PICTURES["cold"], 422),
        ("?score_threshold=0.999", PICTURES["cold"], 200),
        ("", BLACK, 500),
    ]
    app = create_app(model, Settings(workers=2, waiting=100, batching="on", max_batch=4))
    with live(app) as client, ThreadPoolExecutor(12) as threads:

        def ask(index: int) -> bool:
            if index % 10 == 9:
                with socket.create_connection((client.base_url.host, client.base_url.port)) as leaver:
                    leaver.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nabc")
                return True
            query, body, status = kinds[index % len(kinds)]
            return client.post(f"/predict{query}", content=body).status_code == status

        assert all(threads.map(ask, range(300)))
        wait_for(lambda: app.state.service.room.inside == app.state.service.active == 0)
        assert app.state.service.ready


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """``toolkit serve`` in a process of its own, its address, and the lines of its log, complete when it has ended."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "toolkit.cli.main", "serve", *arguments, "--port", "0", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        lines: list[str] = []
        reader = threading.Thread(target=lines.extend, args=(child.stderr,))
        reader.start()
        try:
            line = child.stdout.readline()
            assert " at http" in line, lines
            yield child, line.split(" at ")[1].split(" ")[0], lines
            reader.join(20)
        finally:
            child.kill()
            reader.join(20)


class Load(Clients):
    """Clients that remember what each request got."""

    def __init__(self, url: str, clients: int) -> None:
        super().__init__(clients)
        self.answers: dict[str, int] = {}
        self.labels: Counter[str] = Counter()
        self._url = url

    def ask(self, number: int) -> None:
        with httpx.Client(base_url=self._url, timeout=30, trust_env=False) as client:
            for count in itertools.count():
                if self.stopped.is_set():
                    return
                name = f"client-{number}-{count}"
                try:
                    answer = client.post("predict", content=PICTURES["warm"], headers={"X-Request-Id": name})
                except httpx.HTTPError:  # the door is closed
                    return
                self.answers[name] = answer.status_code
                if answer.status_code == 200:
                    self.labels.update(answer.json()["labels"])


def test_models_are_swapped_under_load_and_no_request_fails(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    make_tiny_bundle(folder / "old")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with process("--models-dir", str(folder), "--admin-port", str(port)) as (child, url, _):
        make_tiny_bundle(folder / "new", ("hot", "cool"), version="2.0.0")
        with Load(url, 4) as load:

            def twenty_more(label: str) -> None:
                before = load.labels[label]
                wait_for(lambda: load.labels[label] > before + 20)

            twenty_more("warm")
            for path, label in (("new/load", "hot"), ("tiny/rollback", "warm"), ("tiny/rollback", "hot")):
                assert httpx.post(f"http://127.0.0.1:{port}/models/{path}", timeout=30).status_code == 200
                twenty_more(label)
            (folder / "new/model.onnx").write_bytes(b"damaged")
            assert httpx.post(f"http://127.0.0.1:{port}/models/new/load", timeout=30).status_code == 409
            twenty_more("hot")
            assert not load.ended
        assert set(load.answers.values()) == {200}
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0


def test_sigterm_under_load_loses_nobody_who_was_let_in(tiny_bundle: Path) -> None:
    """What the service's own log says was answered has reached its client, and nothing else was promised."""
    with process(str(tiny_bundle)) as (child, url, lines), Load(url, 6) as load:
        wait_for(lambda: load.labels["warm"] > 50)
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0
        wait_for(lambda: load.ended)
    told = re.findall(r"request (client-\d+-\d+): POST /predict -> (\w+)", "".join(lines))
    assert len(told) > 50
    assert {name: str(status) for name, status in load.answers.items()} == dict(told)
    assert set(load.answers.values()) <= {200, 503}


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_bundle_is_loaded_ends_with_0(tiny_bundle: Path, sent: int) -> None:
    program = """
import sys, time
from toolkit.inference import engine
def open_slowly(*arguments):
    print("loading", flush=True)
    time.sleep(30)
engine._open = open_slowly
import serve
serve.run(sys.argv[1], port=0)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, str(tiny_bundle)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "loading\n"
        started = time.monotonic()
        child.send_signal(sent)
        out, err = child.communicate(timeout=20)
    assert (child.returncode, out, "Traceback" in err) == (0, "", False)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"bundles": []}, "nothing to serve; give a bundle, or a folder of bundles with --models-dir"),
        ({"bundles": [], "admin_port": 0}, "--admin-port loads bundles from a folder; name it with --models-dir"),
        ({"bundles": [], "models_dir": Path("/no/such")}, "models folder /no/such: there is no such folder"),
    ],
)
def test_what_cannot_be_served_is_said(arguments: dict[str, Any], sentence: str) -> None:
    import serve
    from toolkit.errors import UserError

    run: Callable[..., None] = serve.run
    with pytest.raises(UserError, match=sentence):
        run(**arguments, port=0)
