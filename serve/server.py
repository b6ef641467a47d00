"""Runs the service in this process: takes the port, loads the bundle, says where it is, and stops in good order."""

from __future__ import annotations

import contextlib
import errno
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from serve.app import create_app
from serve.logs import check_format, log_to_stderr
from serve.protocol import Protocol
from serve.service import Service
from serve.settings import Settings
from toolkit.errors import UserError
from toolkit.inference import load
from toolkit.inference.engine import usable_cores

_BACKLOG = 1024
_CONNECTIONS = 65536
# A client that keeps its connection open without a request is let go after this many seconds.
_KEEP_ALIVE_SECONDS = 15
# After draining only the last bytes of finished answers are on their way.
_FLUSH_SECONDS = 2


def _say(line: str) -> None:
    print(line, flush=True)  # whoever waits for it may read from a pipe


def run(
    bundle: str | Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    device: str = "auto",
    settings: Settings | None = None,
    drain_seconds: float = 30.0,
    log_format: str = "text",
    announce: Callable[[str], None] = _say,
) -> None:
    """Serve ``bundle`` (a shipped name, a bundle, or a training run) until SIGTERM or Ctrl+C; then return.

    ``announce`` is given one line once pictures are taken; port 0 takes a free one. On a signal the service says that
    it is not ready, takes no more pictures, answers those inside for at most ``drain_seconds``, and ends. Raises
    UserError for a port that cannot be had, a bundle that cannot be loaded, or one whose golden check fails here.
    ``log_format`` is "text" or "json".
    """
    settings, form = settings or Settings(), check_format(log_format)
    _allow_connections()
    with _listen(host, port) as listener:
        # Runs share the cores; a thread that spins while it waits would take them from the decoding of others.
        model = load(bundle, device, threads=max(1, usable_cores() // settings.runs), allow_spinning=False)
        app = create_app(model, settings)
        url = _url(host, listener.getsockname()[1])
        sentence = f"serving {model.name} {model.spec.version} from {bundle} at {url} (drop a picture on that page)"
        log_to_stderr(form)
        server = _Server(
            _uvicorn_config(app, app.state.service.settings.max_body_bytes),
            app.state.service,
            drain_seconds,
            lambda: announce(sentence),
        )
        server.run(sockets=[listener])
    if app.state.service.failed:
        raise UserError(f"bundle {bundle}: {app.state.service.why_not_ready}; export it again on this machine")


class _Server(uvicorn.Server):
    """uvicorn, but a signal first drains the service with the door still open, and an orderly stop is exit code 0."""

    def __init__(
        self, config: uvicorn.Config, service: Service, drain_seconds: float, when_ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
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
        before = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
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
        http=Protocol,
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


def _allow_connections() -> None:
    """As many open files as this user may have: each connection is one, and the usual 1024 are soon taken."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _CONNECTIONS if most == resource.RLIM_INFINITY else min(most, _CONNECTIONS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before anything is loaded. Clients that come early wait in the backlog."""
    if not 0 <= port <= 65535:
        raise UserError(f"port {port}: expected a number from 0 to 65535; give another with --port")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise UserError(
            f"host {host!r} is not an address of this machine ({error.strerror}); give another with --host"
        ) from None
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise UserError(_refusal(host, port, error)) from None
    listener.setblocking(False)
    return listener


def _refusal(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} on {host} is in use; give another with --port"
        case errno.EACCES:
            return f"port {port} on {host} needs more rights than this user has; give one from 1024 up with --port"
        case errno.EADDRNOTAVAIL:
            return f"host {host!r} is not an address of this machine; give another with --host"
    return f"port {port} on {host} cannot be taken ({error.strerror}); give another with --port"


def _url(host: str, port: int) -> str:
    """The address for a browser on this machine."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}/"
