"""The CUDA twins on a GPU: each beside the time that its bytes need, and NMS beside torchvision's own kernel.

    python -m benchmarks.ops_gpu [--rounds 50] [--json FILE]        (a GPU, numba-cuda; torchvision if it is there)

Times are of the device, between two events around a call, everything warm and all arrays there already; the floor is
what must be read and written over the bandwidth of a copy from device to device, measured in the same run. Answers are
checked against the kernels for the CPU before anything is timed.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numba import cuda

import ops
from ops._cuda import SIMULATED

Call = Callable[[], Any]


@dataclass
class Timing:
    """Milliseconds: median and the quartiles around it; of the floor where the bytes are what costs."""

    name: str
    median: float
    low: float
    high: float
    floor: float | None = None

    def __str__(self) -> str:
        reached = f"{100 * self.floor / self.median:5.0f} % of the copy bandwidth" if self.floor else ""
        return f"{self.name:44} {self.median:9.3f} ms  [{self.low:.3f}, {self.high:.3f}]  {reached}"


def timed(name: str, call: Call, rounds: int, floor: float | None = None) -> Timing:
    call()
    times = []
    for _ in range(rounds):
        begin, end = cuda.event(), cuda.event()
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    low, median, high = statistics.quantiles(times, n=4)
    return Timing(name, median, low, high, floor)


def copy_bandwidth(megabytes: int, rounds: int) -> float:
    """Bytes a millisecond, read and written, of a copy from device to device."""
    source = cuda.to_device(np.zeros(megabytes * 2**18, np.float32))
    target = cuda.device_array_like(source)
    return 2 * source.nbytes / timed("copy", lambda: target.copy_to_device(source), rounds).median


def random_boxes(count: int, size: float) -> np.ndarray:
    rng = np.random.default_rng(count)
    corner = rng.uniform(0, size, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(4, size / 8, (count, 2))], 1).astype(np.float32)


def pictures(count: int, height: int, width: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]


def cases(scale: float) -> list[tuple[str, Callable[..., Any], list[Any], dict[str, Any]]]:
    """Memory-bound operators at sizes that fill the card; ``scale`` shrinks every length."""

    def n(length: int) -> int:
        return max(2, int(length * scale))

    rng = np.random.default_rng(1)
    album = pictures(max(2, int(32 * scale)), n(1080), n(1920))
    logits = rng.normal(size=(4, n(512), n(512))).astype(np.float32)
    masks = rng.integers(0, 2, (n(256), n(480), n(640)), np.uint8)
    labels = rng.integers(0, 20, (n(4096), n(4096)), np.uint8)
    size = n(640), n(640)
    return [
        ("letterbox_batch, 1080p to 640", ops.letterbox_batch, [album, size], {}),
        ("resize_normalize, 1080p to 640, averaged", ops.resize_normalize, [album[0], size], {}),
        ("argmax_resize, 4 classes to 4096", ops.argmax_resize, [logits, (n(4096), n(4096))], {}),
        ("box_iou, 10k x 10k", ops.box_iou, [random_boxes(n(10_000), 4000), random_boxes(n(10_000), 4000)], {}),
        ("mask_iou, 256 x 256 of 480x640", ops.mask_iou, [masks, masks], {}),
        ("confusion_matrix, 4096x4096, 20 classes", ops.confusion_matrix, [labels, labels, 20], {}),
        ("channel_statistics, 1080p", ops.channel_statistics, [album[0]], {}),
    ]


def sent(value: Any) -> Any:
    if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
        return [cuda.to_device(each) for each in value]
    return cuda.to_device(value) if isinstance(value, np.ndarray) else value


def size_of(value: Any) -> int:
    """Bytes of all arrays in a value."""
    if isinstance(value, (list, tuple)):
        return sum(map(size_of, value))
    return value.nbytes if hasattr(value, "nbytes") else 0


def agree(name: str, answer: Any, expected: Any) -> None:
    """The same but for rounding; of a million labels that lie between two classes a few may differ."""
    first, of_cpu = (value[0] if isinstance(value, tuple) else value for value in (answer, expected))
    there = first.copy_to_host() if hasattr(first, "copy_to_host") else first
    apart = np.abs(there.astype(np.float64) - of_cpu) > 1e-3
    assert apart.mean() < 1e-5, f"{name}: {apart.sum()} of {apart.size} numbers differ from the CPU's"


def memory_bound(scale: float, rounds: int, bandwidth: float) -> list[Timing]:
    timings = []
    for name, operator, arguments, options in cases(scale):
        there = [sent(argument) for argument in arguments]
        call = functools.partial(operator, *there, **options)
        answer = call()
        agree(name, answer, operator(*arguments, **options))
        timings.append(timed(name, call, rounds, (size_of(arguments) + size_of(answer)) / bandwidth))
    return timings


def suppression(counts: list[int], classes: int, rounds: int) -> list[Timing]:
    timings = []
    for count in counts:
        boxes, rng = random_boxes(count, 1000), np.random.default_rng(count)
        scores, ids = rng.uniform(size=count).astype(np.float32), rng.integers(0, classes, count)
        there = [cuda.to_device(each) for each in (boxes, scores, ids)]
        kept = ops.batched_nms(*there, 0.6).copy_to_host()
        assert kept.tolist() == ops.batched_nms(boxes, scores, ids, 0.6).tolist()
        timings.append(timed(f"batched_nms, {count}", functools.partial(ops.batched_nms, *there, 0.6), rounds))
        timings += peer(there, count, rounds)
    return timings


def peer(there: list[Any], count: int, rounds: int) -> list[Timing]:
    try:
        import torch
        from torchvision.ops import batched_nms
    except ImportError:
        return []
    tensors = [torch.as_tensor(each, device="cuda") for each in there]
    return [timed(f"  torchvision's, {count}", lambda: batched_nms(*tensors, 0.6), rounds)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--scale", type=float, default=1.0, help="shrinks every length; 1 fills the card")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    bandwidth = copy_bandwidth(max(1, int(1024 * chosen.scale)), chosen.rounds)
    device = "numba's simulator, no GPU" if SIMULATED else cuda.get_current_device().name
    print(f"{device}, copy {bandwidth / 1e6:.0f} GB/s read and written")
    timings = memory_bound(chosen.scale, chosen.rounds, bandwidth)
    timings += suppression([max(8, int(count * chosen.scale)) for count in (1_000, 10_000, 100_000)], 80, chosen.rounds)
    print("\n".join(map(str, timings)))
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(timing) for timing in timings], indent=1))


if __name__ == "__main__":
    main()
