"""Runs the service in this process: takes the port, loads the bundles, says where it is, and stops in good order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import cast

import uvicorn
from fastapi import FastAPI

from serve.admin import create_admin_app
from serve.allocation import hold_on
from serve.app import create_app
from serve.door import behind_door
from serve.listening import allow_connections, listen, url_of
from serve.logs import check_format, log_to_stderr
from serve.service import Service
from serve.settings import Settings
from serve.shelf import Shelf
from toolkit.errors import UserError
from toolkit.inference import Model, load
from toolkit.inference.engine import usable_cores

log = logging.getLogger("serve")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A client that keeps its connection open without a request is let go after this many seconds.
_KEEP_ALIVE_SECONDS = 15
# After draining only the last bytes of finished answers are on their way.
_FLUSH_SECONDS = 2


def _say(line: str) -> None:
    print(line, flush=True)  # whoever waits for it may read from a pipe


def run(
    bundles: str | Path | Sequence[str | Path],
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    device: str = "auto",
    precision: str = "auto",
    models_dir: Path | None = None,
    admin_port: int | None = None,
    settings: Settings | None = None,
    drain_seconds: float = 30.0,
    log_format: str = "text",
    announce: Callable[[str], None] = _say,
) -> None:
    """Serve ``bundles`` (shipped names, bundles, or training runs) until SIGTERM or Ctrl+C; then return.

    ``announce`` is given one line once pictures are taken; port 0 takes a free one. On a signal the service says that
    it is not ready, takes no more pictures, answers those inside for at most ``drain_seconds``, and ends. Raises
    UserError for a port that cannot be had, a bundle that cannot be loaded, or one whose golden check fails here.
    ``log_format`` is "text" or "json". The bundles in ``models_dir`` are served too, and ``admin_port``, which listens
    on this machine only, lets others of that folder be loaded, swapped and unloaded.
    """
    settings, form = settings or Settings(), check_format(log_format)
    allow_connections()
    hold_on()
    given = [bundles] if isinstance(bundles, str | Path) else list(bundles)
    with (
        _ending_on_signals(),
        listen(host, port) as listener,
        _admin_listener(admin_port, models_dir) as admin_listener,
    ):
        # Runs share the cores; a thread that spins while it waits would take them from the decoding of others.
        threads = max(1, usable_cores() // settings.runs)
        shelf = Shelf(
            models_dir, partial(load, device=device, precision=precision, threads=threads, allow_spinning=False)
        )
        app = create_app(_loaded(given, shelf), settings)
        service: Service = app.state.service
        log_to_stderr(form)
        if admin_listener:
            log.info("models are changed at %s", url_of("127.0.0.1", admin_listener.getsockname()[1]))
        config = partial(_uvicorn_config, max_message_bytes=settings.max_body_bytes)
        beside = _Beside(config(create_admin_app(service, shelf)), admin_listener) if admin_listener else None
        sentence = _sentence(service, given, url_of(host, listener.getsockname()[1]))
        server = _Server(config(app), service, drain_seconds, lambda: announce(sentence), beside)
        server.run(sockets=[listener])
        if service.failed:
            where = ", ".join(str(each) for each in [*given, *([models_dir] if models_dir else [])])
            quantized = any(each.model.precision == "int8" for each in service.registry)
            besides = ", or serve it with --precision fp32" if quantized else ""
            raise UserError(f"bundle {where}: {service.why_not_ready}; export it again on this machine{besides}")


def _loaded(given: Sequence[str | Path], shelf: Shelf) -> list[Model]:
    """The models that are served from the start: those given, and all on the shelf."""
    models = [shelf.open(each) for each in given] + [shelf.load(name) for name in shelf.names()]
    if not models:
        raise UserError("nothing to serve; give a bundle, or a folder of bundles with --models-dir")
    return models


def _sentence(service: Service, given: Sequence[str | Path], url: str) -> str:
    names = ", ".join(f"{each.model.name} {each.model.spec.version}" for each in service.registry)
    source = f" from {given[0]}" if len(given) == len(list(service.registry)) == 1 else ""
    return f"serving {names}{source} at {url} (drop a picture on that page)"


@contextlib.contextmanager
def _admin_listener(port: int | None, models_dir: Path | None) -> Iterator[socket.socket | None]:
    """The admin API's own door, for this machine only."""
    if port is None:
        yield None
        return
    if models_dir is None:
        raise UserError("--admin-port loads bundles from a folder; name it with --models-dir")
    with listen("127.0.0.1", port) as listener:
        yield listener


class _StoppedError(BaseException):
    """A signal came while the bundles were loaded."""


@contextlib.contextmanager
def _ending_on_signals() -> Iterator[None]:
    """End the block in good order on SIGTERM and Ctrl+C. The server has its own way once it runs."""
    if threading.current_thread() is not threading.main_thread():  # only that one may handle signals
        yield
        return

    def stop(sig: int, frame: FrameType | None) -> None:
        raise _StoppedError

    before = {each: signal.signal(each, stop) for each in _SIGNALS}
    try:
        yield
    except _StoppedError:
        log.info("stopped before it served")
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


class _Beside(uvicorn.Server):
    """A second server in the event loop of the first, which handles the signals for both."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self._listener = listener

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def start(self) -> asyncio.Task[None]:
        """Serve in a task; `should_exit` ends it."""
        return asyncio.create_task(self.serve(sockets=[self._listener]))


class _Server(uvicorn.Server):
    """uvicorn, but a signal first drains the service with the door still open, and an orderly stop is exit code 0."""

    def __init__(
        self,
        config: uvicorn.Config,
        service: Service,
        drain_seconds: float,
        when_ready: Callable[[], None],
        beside: _Beside | None,
    ) -> None:
        super().__init__(config)
        self._beside = beside
        self._beside_task: asyncio.Task[None] | None = None
        self._service = service
        self._drain_seconds = drain_seconds
        self._when_ready: Callable[[], None] | None = when_ready
        self._stop_at: float | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's own raises the signal again after its shutdown, which would end the process by the signal."""
        if threading.current_thread() is not threading.main_thread():  # only that one may handle signals
            yield
            return
        before = {each: signal.signal(each, self.handle_exit) for each in _SIGNALS}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._stop_at is not None and sig == signal.SIGINT:
            self.force_exit = True  # Ctrl+C twice
        self._service.drain()
        if self._stop_at is None:
            self._stop_at = time.monotonic() + self._drain_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._beside is not None:
            self._beside_task = self._beside.start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._beside is not None and self._beside_task is not None:
            self._beside.should_exit = True
            await self._beside_task
        await super().shutdown(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second by uvicorn; True ends the serving."""
        if self._service.ready and self._when_ready is not None:
            self._when_ready()
            self._when_ready = None
        if self._stop_at is not None:
            drained = self._service.active == 0 or time.monotonic() > self._stop_at
            self.should_exit = drained or self.force_exit
        self.should_exit = self.should_exit or self._service.failed
        return await super().on_tick(counter)


def _uvicorn_config(app: FastAPI, max_message_bytes: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", behind_door(app)),
        loop="auto",  # uvloop where it exists
        ws="auto",
        ws_max_size=max_message_bytes,
        ws_per_message_deflate=False,  # pictures are packed already
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_FLUSH_SECONDS,
    )
