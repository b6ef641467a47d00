"""How far this process's memory rises in a block, at its highest. What came before does not hide it."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def rises_less_than(megabytes: float) -> Iterator[None]:
    """Fail where the resident memory's peak within the block lies this far over what it was at its start."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the kernel's peak starts again from now (Linux, proc(5))
    before = _resident("VmRSS")
    yield
    rise = (_resident("VmHWM") - before) / 1e6
    assert rise < megabytes, f"memory rose by {rise:.1f} MB, expected less than {megabytes:g}"


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field + ":")) * 1024
