"""A service on a free port of this machine, asked by clients that others wrote."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self, cast

import httpx
import numpy as np
import uvicorn
from fastapi import FastAPI
from numpy.typing import NDArray

from serve.door import behind_door
from serve.protocol import Protocol
from toolkit.bundle import Bundle
from toolkit.inference import Model


class GatedModel(Model):
    """A real model whose network waits before each run until the gate is open."""

    def __init__(self, bundle: Path) -> None:
        super().__init__(Bundle.open(bundle), device="cpu", threads=1)
        self.gate = threading.Event()
        self.gate.set()
        self.running = 0

    def network(self, batch: NDArray[np.float32], *, explain: bool = False) -> list[NDArray[np.float32]]:
        self.running += 1
        if not self.gate.wait(30):
            raise TimeoutError("the test forgot to open the gate")
        self.running -= 1
        return super().network(batch, explain=explain)


def not_grey(batch: NDArray[np.float32]) -> bool:
    """Anything but the grey picture that tells a bug from a dead engine."""
    return bool(batch.std() > 0)


class BrokenModel(Model):
    """A real model that works while the service starts, and then meets a bug in the batches that ``broken`` names."""

    def __init__(self, bundle: Path) -> None:
        super().__init__(Bundle.open(bundle), device="cpu", threads=1)
        self.broken: Callable[[NDArray[np.float32]], bool] = lambda batch: False

    def network(self, batch: NDArray[np.float32], *, explain: bool = False) -> list[NDArray[np.float32]]:
        if self.broken(batch):
            raise RuntimeError("at /home/someone/secret.py")
        return super().network(batch, explain=explain)


@contextlib.contextmanager
def live(app: FastAPI, *, wait_until_ready: bool = True, protocol: type[Protocol] = Protocol) -> Iterator[httpx.Client]:
    """Run ``app`` under uvicorn in a thread, and give a client that knows its address."""
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        http=cast("type[Protocol]", behind_door(app, protocol)),
        log_level="warning",
        lifespan="on",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
            if wait_until_ready:
                wait_for(lambda: client.get("/health/ready").status_code == 200)
            yield client
    finally:
        server.should_exit = True
        thread.join(30)


class Clients:
    """Threads that `ask`, one request after the other, from the beginning of a ``with`` block to its end."""

    def __init__(self, count: int, patience: float = 30.0) -> None:
        self.stopped = threading.Event()
        self._patience = patience
        self._threads = [threading.Thread(target=self.ask, args=(number,)) for number in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        for thread in self._threads:
            thread.join(self._patience)
        assert self.ended, "a client hangs"

    @property
    def ended(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def ask(self, number: int) -> None:
        """What client ``number`` does until ``stopped`` is set."""
        raise NotImplementedError("each kind of client asks in its own way")


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Return once ``condition()`` is true; fail after ``seconds``."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"still not true after {seconds} s")
        time.sleep(0.01)
