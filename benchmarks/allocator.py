"""A training step with glibc's defaults beside one that keeps its memory, as `toolkit train` sets it.

    python -m benchmarks.allocator [--rounds 5] [--batch 32] [--jemalloc /usr/lib/.../libjemalloc.so.2]

Beside them what only the user can set, before the process starts: huge pages, another allocator. The settings are a
process's own, so each measurement is a fresh process; they take turns.
"""

from __future__ import annotations

import argparse
import ctypes.util
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

STEP = """
import os, statistics, sys, time
from toolkit.training.own_process import keep_memory, share_cores
share_cores(0)
if sys.argv[1] == "kept":
    keep_memory()
import torch
from zoo.mobilenet_v2 import mobilenet_v2

batch = int(sys.argv[2])
network = mobilenet_v2(num_classes=6).to(memory_format=torch.channels_last)
optimizer = torch.optim.AdamW(network.parameters())
pictures = torch.rand(batch, 3, 224, 224).to(memory_format=torch.channels_last)
classes = torch.randint(0, 6, (batch,))
times = []
for _ in range(9):
    started = time.perf_counter()
    torch.nn.functional.cross_entropy(network(pictures), classes).backward()
    optimizer.step()
    optimizer.zero_grad()
    times.append(time.perf_counter() - started)
print(statistics.median(times[2:]))
"""


def variants(jemalloc: str | None) -> dict[str, tuple[str, dict[str, str]]]:
    """By name: whether the process keeps its memory, and what its environment says."""
    found: dict[str, tuple[str, dict[str, str]]] = {
        "default": ("default", {}),
        "kept": ("kept", {}),
        "kept, huge pages": ("kept", {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}),
    }
    if jemalloc:
        found["jemalloc"] = ("default", {"LD_PRELOAD": jemalloc})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--jemalloc", default=ctypes.util.find_library("jemalloc"), help="its library, if not found")
    given = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, {platform.libc_ver()}, batch {given.batch}")
    huge = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    print(f"transparent huge pages: {huge.read_text().strip() if huge.is_file() else 'unknown'}")
    tried = variants(given.jemalloc)
    seconds: dict[str, list[float]] = {name: [] for name in tried}
    for _ in range(given.rounds):
        for name, (setting, environment) in tried.items():
            command = [sys.executable, "-c", STEP, setting, str(given.batch)]
            done = subprocess.run(
                command, env={**os.environ, **environment}, capture_output=True, text=True, check=True
            )
            seconds[name].append(float(done.stdout))
    usual = statistics.median(seconds["default"])
    for name, times in seconds.items():
        median = statistics.median(times)
        print(
            f"{name:16} {median * 1e3:7.0f} ms a step ({min(times) * 1e3:.0f}-{max(times) * 1e3:.0f}),"
            f" {given.batch / median:.1f} pictures/s, {median / usual:.3f} of the default's time"
        )


if __name__ == "__main__":
    main()
