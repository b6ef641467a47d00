"""How often somebody may ask: a token bucket each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from toolkit.api_keys import ApiKey

# A key that names no burst may use up this share of its minute at once.
_BURST_MINUTES = 1 / 6


class Rates:
    """One bucket a key name: it fills at ``per_minute``, holds ``burst``, and a request takes one token."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens, and when they were counted

    def wait(self, key: ApiKey) -> float:
        """Take a token and return 0, or take none and return the seconds until there is one."""
        if key.per_minute is None:
            return 0.0
        burst = key.burst or max(1, math.floor(key.per_minute * _BURST_MINUTES))
        now = self._now()
        tokens, counted = self._buckets.get(key.name, (burst, now))
        tokens = min(burst, tokens + (now - counted) * key.per_minute / 60)
        taken = tokens >= 1
        self._buckets[key.name] = tokens - taken, now
        return 0.0 if taken else (1 - tokens) * 60 / key.per_minute
