"""What of a service an operator may choose, with the defaults. Nothing here acts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from toolkit.images import MAX_PIXELS
from toolkit.inference.engine import usable_cores

# More runs at once than this only share the same caches and memory; each gets several cores instead.
MOST_WORKERS = 4


def default_workers() -> int:
    """Predictions that run at once, unless said otherwise: one a usable core, at most `MOST_WORKERS`."""
    return min(MOST_WORKERS, usable_cores())


@dataclass(frozen=True)
class Settings:
    """What a service takes and how much of it at once.

    Attributes:
        workers: predictions that run at once; None is `default_workers`.
        waiting: pictures that may wait besides; what comes on top gets 429.
        batching: whether pictures of several requests run through the network together; "auto" measures at the start
            whether that gains at least a tenth.
        max_batch: most pictures of one run.
        batch_wait_ms: how long a picture waits for company while another run is on; an idle engine starts at once.
        timeout_seconds: how long a request may take that does not say so in ``X-Request-Timeout-Ms``.
        max_body_bytes: a longer body gets 413.
        max_held_bytes: all bodies together; None is eight of the longest. What comes on top gets 429.
        max_pixels: a picture with more gets 413.
        body_seconds: a body that takes longer to arrive gets 408.
        keys: the file of API keys, which then everything but health needs; None asks for none.
        picture_hosts: the hosts that a picture named by its URL may be fetched from; none refuses every URL.
        traces: the URL of an OpenTelemetry collector that is sent a span a request; None makes none.
        cors_origins: the origins whose pages may call from a browser; "*" is all.
        jobs: the folder where jobs, their uploads and their answers lie; None takes no jobs.
        max_job_bytes: a longer upload for a job gets 413.
        job_seconds: a job that takes longer is ended.
        job_memory_bytes: what a job's process may have.
        keep_jobs_seconds: how long a finished job and its answers are kept.
    """

    workers: int | None = None
    waiting: int = 32
    batching: Literal["auto", "on", "off"] = "auto"
    max_batch: int = 8
    batch_wait_ms: float = 2.0
    timeout_seconds: float = 30.0
    max_body_bytes: int = 32 * 2**20
    max_held_bytes: int | None = None
    max_pixels: int = MAX_PIXELS
    body_seconds: float = 60.0
    keys: Path | None = None
    picture_hosts: tuple[str, ...] = ()
    traces: str | None = None
    cors_origins: tuple[str, ...] = ()
    jobs: Path | None = None
    max_job_bytes: int = 2**30
    job_seconds: float = 3600.0
    job_memory_bytes: int = 4 * 2**30
    keep_jobs_seconds: float = 24 * 3600.0

    @cached_property
    def runs(self) -> int:
        """``workers`` as a number. Counting the cores reads files, and every request asks."""
        return self.workers or default_workers()

    @property
    def held_bytes(self) -> int:
        """``max_held_bytes`` as a number."""
        return self.max_held_bytes or 8 * self.max_body_bytes
