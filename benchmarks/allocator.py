"""A training step with glibc's defaults beside one that keeps its memory, as `toolkit train` sets it.

    python -m benchmarks.allocator [--rounds 5] [--batch 32]

The setting is a process's own, so each measurement is a fresh process; the two take turns.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys

STEP = """
import os, statistics, sys, time
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
from toolkit.training.train import _keep_memory, _share_cores
_share_cores()
if sys.argv[1] == "kept":
    _keep_memory()
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    given = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} cores, {platform.libc_ver()}, batch {given.batch}")
    seconds: dict[str, list[float]] = {"default": [], "kept": []}
    for _ in range(given.rounds):
        for name, times in seconds.items():
            command = [sys.executable, "-c", STEP, name, str(given.batch)]
            times.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    for name, times in seconds.items():
        median = statistics.median(times)
        print(
            f"{name:8} {median * 1e3:7.0f} ms a step ({min(times) * 1e3:.0f}-{max(times) * 1e3:.0f}),"
            f" {given.batch / median:.1f} pictures/s"
        )
    ratio = statistics.median(seconds["kept"]) / statistics.median(seconds["default"])
    print(f"kept / default: {ratio:.3f}")


if __name__ == "__main__":
    main()
