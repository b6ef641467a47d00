"""What is known of the request that is being answered: its log line, its metrics and its trace are made of this.

Code behind the routes reaches it by `current`, because it runs in the request's own task; worker threads do not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

_CURRENT: ContextVar[Exchange] = ContextVar("exchange")


@dataclass
class Exchange:
    """One request and its answer. ``model`` is a name that is served here, never what a client only claims.

    Attributes:
        dialect: the first tag of the route that answers, "none" where no route does.
        key: the name of the API key that came with it.
        status: what was answered, once it was.
        timing: the answer's Server-Timing.
        trace_headers: what the caller said of its trace (W3C Trace Context).
        arrived: when it came, by ``time.monotonic``.
        started_at: the same in nanoseconds since 1970.
        is_health: whether a probe asks.
    """

    request_id: str
    method: str
    path: str
    model: str = ""
    dialect: str = "none"
    key: str = ""
    status: int | None = None
    timing: str = ""
    trace_headers: Mapping[str, str] = field(default_factory=dict)
    is_health: bool = False
    arrived: float = field(default_factory=time.monotonic)
    started_at: int = field(init=False)

    def __post_init__(self) -> None:
        self.started_at = time.time_ns() - int(self.seconds * 1e9)
        _CURRENT.set(self)

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self.arrived


def current() -> Exchange | None:
    """The request that the calling task answers; None outside of one."""
    return _CURRENT.get(None)
