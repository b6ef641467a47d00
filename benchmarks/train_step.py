"""Time one training step of a YOLOX network with and without the fused batch normalisation and SiLU.

One process, the variants interleaved, so that a busy machine disturbs all alike. Run it alone: two processes whose
OpenMP threads spin on the same cores make each other tens of times slower.

    python benchmarks/train_step.py --batch 16 --size 416 416 --threads 2
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", choices=["yolox_nano", "yolox_tiny", "yolox_s"], default="yolox_nano")
parser.add_argument("--batch", type=int, default=16, help="pictures in a batch")
parser.add_argument("--size", type=int, nargs=2, default=[416, 416], metavar=("HEIGHT", "WIDTH"), help="pixels")
parser.add_argument("--threads", type=int, default=os.cpu_count(), help="for torch and numba alike")
parser.add_argument("--rounds", type=int, default=10, help="timed steps of each variant")
parser.add_argument("--pools", choices=["shared", "two"], default="shared", help="OpenMP runtimes of numba and torch")
options = parser.parse_args()

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numba  # noqa: E402

if options.pools == "shared":
    # Loaded first, numba's OpenMP runtime also serves torch: one pool of threads instead of two that spin.
    from numba.np.ufunc import omppool  # noqa: F401

import numpy as np  # noqa: E402
import torch  # noqa: E402

import zoo.yolox  # noqa: E402
from zoo.norm_act import fusable  # noqa: E402
from zoo.yolox_loss import yolox_loss  # noqa: E402

torch.set_num_threads(options.threads)
numba.set_num_threads(options.threads)
torch.manual_seed(0)
size = tuple(options.size)
network = getattr(zoo.yolox, options.model)(3).to(memory_format=torch.channels_last).train()
optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
pictures = (torch.rand(options.batch, 3, *size) * 255).contiguous(memory_format=torch.channels_last)
boxes = [np.array([[10, 10, 100, 120], [200, 200, 240, 250]], np.float32)] * options.batch
classes = [np.array([0, 2])] * options.batch


def step() -> tuple[float, float]:
    """Return the seconds of the forward pass and of the whole step."""
    start = time.perf_counter()
    raw = network(pictures)
    forward = time.perf_counter() - start
    loss = yolox_loss(raw, boxes, classes, input_size=size)["loss"]
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return forward, time.perf_counter() - start


def select(variant: str) -> None:
    zoo.yolox.fusable = fusable if variant == "fused" else lambda x, bn: False
    for module in network.modules():
        if isinstance(module, torch.nn.SiLU):
            module.inplace = variant == "torch, SiLU in place"


variants = ["torch, SiLU in place", "torch", "fused"]
times: dict[str, list[tuple[float, float]]] = {variant: [] for variant in variants}
for number in range(options.rounds + 2):
    for variant in variants:
        select(variant)
        measured = step()
        if number >= 2:  # compilation and first allocations
            times[variant].append(measured)

print(
    f"python {platform.python_version()}, torch {torch.__version__}, numba {numba.__version__}, "
    f"threads torch {torch.get_num_threads()} numba {numba.get_num_threads()} ({numba.threading_layer()}), "
    f"OpenMP pools {options.pools}, load {os.getloadavg()[0]:.1f}"
)
print(f"{options.model}, batch {options.batch}, {size[0]}x{size[1]}, {options.rounds} rounds, milliseconds")
print(f"{'variant':22} {'forward':>8} {'step':>8} {'step, quartiles':>16} {'against in place':>17}")
reference = statistics.median(total for _, total in times[variants[0]])
for variant in variants:
    forward, total = zip(*times[variant], strict=True)
    low, median, high = statistics.quantiles(total, n=4)
    print(
        f"{variant:22} {1e3 * statistics.median(forward):8.0f} {1e3 * median:8.0f} "
        f"{1e3 * low:7.0f} .. {1e3 * high:5.0f} {reference / median:16.2f}x"
    )
