"""Takes a port, or says in one sentence why it cannot be had; and as many open files as connections may need."""

from __future__ import annotations

import errno
import resource
import socket

from toolkit.errors import UserError

_BACKLOG = 1024
_CONNECTIONS = 65536


def allow_connections() -> None:
    """As many open files as this user may have: each connection is one, and the usual 1024 are soon taken."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _CONNECTIONS if most == resource.RLIM_INFINITY else min(most, _CONNECTIONS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def listen(host: str, port: int) -> socket.socket:
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


def url_of(host: str, port: int) -> str:
    """The address for a browser on this machine."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}/"
