"""Since when a client waits, and whether it still does. Before the application is called, a request has waited for its
connection to be accepted and read, and under overload that is most of its time; the kernel knows how long.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

# In a scope's state: a time of `time.monotonic`, and what happens when the client leaves.
_ARRIVED = "toolkit.arrived"
_LEAVING = "toolkit.leaving"
# `tcpi_last_data_recv` of Linux's struct tcp_info, after 8 bytes and 11 numbers: milliseconds since data last came.
_LAST_DATA = struct.Struct("52xI")
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def note(scope: Mapping[str, Any], transport: asyncio.BaseTransport) -> None:
    """Write down that the first bytes of a request are read now, which came over ``transport`` some time ago."""
    state = scope["state"]
    state[_ARRIVED] = time.monotonic() - unread_seconds(transport.get_extra_info("socket"))
    state[_LEAVING] = Leaving()


def arrived(scope: Mapping[str, Any]) -> float:
    """When the request reached this machine, by ``time.monotonic``; now, where the server has not written it down."""
    found: float = scope.get("state", {}).get(_ARRIVED) or time.monotonic()
    return found


class Leaving:
    """What shall happen when a client leaves before it is answered. To be called costs less than to wait in a task."""

    def __init__(self) -> None:
        self.left = False
        self.tell: Callable[[], object] | None = None

    def now(self) -> None:
        """It has left."""
        self.left = True
        if self.tell is not None:
            self.tell()


def leaving(scope: Mapping[str, Any]) -> Leaving | None:
    """The `Leaving` of a request; None where the server does not tell."""
    found: Leaving | None = scope.get("state", {}).get(_LEAVING)
    return found


def unread_seconds(connection: socket.socket | None) -> float:
    """How long the newest bytes of a TCP connection have been here; 0 where the system does not say.

    A body longer than the kernel's buffer stops to come when that is full, so this is about the age of the request too.
    """
    if connection is None or connection.family not in _FAMILIES or not sys.platform.startswith("linux"):
        return 0.0
    told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_DATA.size)
    return float(_LAST_DATA.unpack(told)[0]) / 1e3 if len(told) == _LAST_DATA.size else 0.0
