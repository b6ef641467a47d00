"""The CUDA twins on a GPU: each beside the time that its bytes need, and NMS beside torchvision's own kernel.

    python -m benchmarks.ops_gpu [--only WORD] [--rounds 50] [--json FILE]

Needs a GPU and numba-cuda (without them one sentence and exit code 2), torchvision where it is to be compared with.
Times are of the device, between two events around a call, everything warm and all arrays there already; the floor is
what must be read and written over the bandwidth of a copy from device to device, measured in the same run. Answers are
checked against the kernels for the CPU, and against torchvision's, before anything is timed.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import cuda

import ops
from ops._cuda import SIMULATED, CudaKernel, has_device

Call = Callable[[], Any]

# Of the copy bandwidth that an operator which does little but read and write must reach; of torchvision's time, level.
MEMORY_BAR, PEER_BAR = 0.60, 1.0
NO_GPU = "ops_gpu: no GPU that numba can compile for (driver, `pip install numba-cuda[cu13]`): nothing was measured"


@dataclass
class Timing:
    """Milliseconds: median and the quartiles around it. ``reached`` of what is beside it: the copy bandwidth's share,
    or how many times our time the peer takes; at least ``bar`` is promised."""

    name: str
    median: float
    low: float
    high: float
    beside: str = ""
    reached: float | None = None
    bar: float | None = None

    @property
    def met(self) -> bool | None:
        return None if self.bar is None or self.reached is None else self.reached >= self.bar

    def __str__(self) -> str:
        told = "" if self.reached is None else f"{self.reached:5.2f} of {self.beside}"
        if self.bar is not None:
            told += f", bar {self.bar:g}: " + {None: f"no {self.beside}", True: "met", False: "MISSED"}[self.met]
        return f"{self.name:48} {self.median:9.3f} ms  [{self.low:.3f}, {self.high:.3f}]  {told}"


def milliseconds(call: Call) -> float:
    begin, end = cuda.event(), cuda.event()
    begin.record()
    call()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end))


def quartiles(calls: Mapping[str, Call], rounds: int) -> dict[str, tuple[float, float, float]]:
    """Of each call low, median and high, taking turns after one that is not counted."""
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(max(2, rounds)):
        for name, call in calls.items():
            times[name].append(milliseconds(call))
    found = {name: statistics.quantiles(each, n=4) for name, each in times.items()}
    return {name: (low, median, high) for name, (low, median, high) in found.items()}


def copy_bandwidth(megabytes: int, rounds: int) -> float:
    """Bytes a millisecond, read and written, of a copy from device to device."""
    source = cuda.to_device(np.zeros(megabytes * 2**18, np.float32))
    target = cuda.device_array_like(source)
    return 2 * source.nbytes / quartiles({"copy": lambda: target.copy_to_device(source)}, rounds)["copy"][1]


def random_boxes(count: int, size: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([count, seed])
    corner = rng.uniform(0, size, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(4, max(5, size / 8), (count, 2))], 1).astype(np.float32)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@ops.operator("elementwise", dtype=np.float32)
def own_normalise(grey, mean, gain):  # type: ignore[no-untyped-def]
    return (grey - mean) * gain


@ops.operator("reduce", initial=0, dtype=np.float32)
def own_total(a, b):  # type: ignore[no-untyped-def]
    return a + b


@ops.operator("gather")
def own_mirror(y, x, width):  # type: ignore[no-untyped-def]
    return y, width - 1 - x


class Case(NamedTuple):
    """An operator with host arguments. ``moved`` bytes must be read and written, all of its arguments and of its answer
    if not given; ``bound`` says that this is what costs, so that the bar holds."""

    name: str
    operator: Callable[..., Any]
    arguments: list[Any]
    options: dict[str, Any] = {}  # noqa: RUF012
    moved: int | None = None
    bound: bool = True


def cases(scale: float) -> Iterator[Case]:
    """Operators at sizes that fill the card; ``scale`` shrinks every length, and long lists by its square."""

    def n(length: int) -> int:
        return max(2, int(length * scale))

    def listed(count: int) -> int:
        return max(2, int(count * scale * scale))

    rng = np.random.default_rng(1)
    yield from _picture_cases(n)
    yield from _box_cases(n, listed)
    yield from _volume_cases(n, rng)
    logits = rng.normal(size=(4, n(1024), n(1024))).astype(np.float32)
    yield Case("argmax_resize, 4 classes to 8192x8192", ops.argmax_resize, [logits, (n(8192), n(8192))])
    labels = rng.integers(0, 20, (n(8192), n(8192)), np.uint8)
    yield Case("confusion_matrix, 8192x8192, 20 classes", ops.confusion_matrix, [labels, labels[::-1].copy(), 20])
    rois, at = rng.random((n(200), 28, 28), np.float32), random_boxes(n(200), n(900))
    yield Case("masks_from_rois, 200 of 1080p", ops.masks_from_rois, [rois, at, (n(1080), n(1920))])
    masks = rng.integers(0, 2, (n(256), n(480), n(640)), np.uint8)
    yield Case("mask_iou, 256 x 256 of 480x640", ops.mask_iou, [masks, masks], bound=False)
    maps, where = rng.normal(size=(1, n(256), n(200), n(304))).astype(np.float32), random_boxes(n(1000), n(3000))
    yield Case("roi_align, 1000 boxes, 256 channels", ops.roi_align, [maps, where, (7, 7)], {"scale": 1 / 16},
               bound=False)  # fmt: skip


def _picture_cases(n: Callable[[int], int]) -> Iterator[Case]:
    album = [picture(n(1080), n(1920), seed) for seed in range(max(2, min(32, n(32))))]
    size, large = (n(640), n(640)), picture(n(4320), n(7680))
    # Of each picture the two rows around each of the result's, 360 of them.
    read = 2 * n(360) * n(1920) * 3 * len(album)
    written = 12 * size[0] * size[1] * len(album)
    yield Case(f"letterbox_batch, {len(album)} of 1080p to 640", ops.letterbox_batch, [album, size], {}, read + written)
    yield Case("resize_normalize, 8K to 640, averaged", ops.resize_normalize, [large, size])
    yield Case("channel_statistics, 8K", ops.channel_statistics, [large])
    canvas = np.zeros((n(4320), n(7680), 3), np.uint8)
    yield Case("mosaic_paste, 1080p to 8K", pasted, [album[0], canvas])
    crops = random_boxes(n(4096), n(900))
    yield Case("crop_resize, 4096 boxes of 1080p to 112", ops.crop_resize, [album[0], crops, (n(112), n(112))],
               {"antialias": False})  # fmt: skip
    yield Case("own elementwise, 8K", own_normalise, [large, 114.0, 0.25])
    yield Case("own gather, 8K", own_mirror, [large, large.shape[1]])


def pasted(image: Any, canvas: Any) -> Any:
    ops.mosaic_paste(image, canvas, scale=(4.0, 4.0), offset=(0.0, 0.0))
    return canvas


def _box_cases(n: Callable[[int], int], listed: Callable[[int], int]) -> Iterator[Case]:
    some, others = random_boxes(n(10_000), 4000), random_boxes(n(10_000), 4000, 1)
    yield Case("box_iou, 10k x 10k", ops.box_iou, [some, others])
    yield Case("complete_box_iou, 10k x 10k", ops.complete_box_iou, [some, others], bound=False)
    many, targets = random_boxes(listed(10_000_000), 4000), random_boxes(listed(10_000_000), 4000, 1)
    weights = np.ones(len(many), np.float32)
    yield Case("box_convert, 10M", ops.box_convert, [many, "xyxy", "cxcywh"])
    yield Case("clip_boxes, 10M", ops.clip_boxes, [many, (2000, 2000)])
    yield Case("boxes_to_picture, 10M", ops.boxes_to_picture, [many, ops.Placement(0.5, 0.5, 3, 4), (2000, 2000)])
    yield Case("paired_box_iou giou, 10M", ops.paired_box_iou, [many, targets], {"kind": "giou"})
    yield Case("paired_box_iou_backward giou, 10M", ops.paired_box_iou_backward, [many, targets, weights],
               {"kind": "giou"})  # fmt: skip
    rng = np.random.default_rng(2)
    logits, truth = rng.normal(size=(2, listed(80_000_000))).astype(np.float32).round(1)
    truth = (truth > 1).astype(np.float32)
    yield Case("sigmoid_focal_loss, 80M", ops.sigmoid_focal_loss, [logits, truth])
    yield Case("sigmoid_focal_loss_backward, 80M", ops.sigmoid_focal_loss_backward, [logits, truth, logits])
    yield Case("own reduce, 80M", own_total, [truth])


def _volume_cases(n: Callable[[int], int], rng: np.random.Generator) -> Iterator[Case]:
    hounsfield = rng.integers(-1000, 400, (n(600), n(512), n(512)), np.int16)
    # Lungs: two parts of the body, in runs.
    labels = np.zeros(hounsfield.shape, np.uint8)
    labels[:, n(100) : n(400), n(80) : n(230)], labels[:, n(100) : n(400), n(280) : n(430)] = 1, 2
    yield Case("window_hu, 600x512x512 to float32", ops.window_hu, [hounsfield, -600, 1500])
    yield Case("resample_volume, 600x512x512, 1.25 times", ops.resample_volume,
               [hounsfield, (1.25, 1.25, 1.25), (1.0, 1.0, 1.0)])  # fmt: skip
    edges = np.arange(-1000, 401, 100).tolist()
    read = labels.nbytes + 2 * int((labels > 0).sum())
    yield Case("lung_statistics, 600x512x512", ops.lung_statistics, [hounsfield, labels, (1, 1, 1), 2, edges], {}, read)
    yield Case("connected_components, 600x512x512", ops.connected_components, [labels, 6], bound=False)


def sent(value: Any) -> Any:
    if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
        return [cuda.to_device(each) for each in value]
    return cuda.to_device(value) if isinstance(value, np.ndarray) else value


def size_of(value: Any) -> int:
    """Bytes of all arrays in a value."""
    if isinstance(value, (list, tuple)):
        return sum(map(size_of, value))
    return value.nbytes if hasattr(value, "nbytes") else 0


def fetched(value: Any) -> np.ndarray:
    return np.asarray(value.copy_to_host() if hasattr(value, "copy_to_host") else value, np.float64)


def agree(name: str, answer: Any, expected: Any) -> None:
    """The same but for rounding; of a million labels that lie between two classes a few may differ."""
    there, of_cpu = (fetched(value[0] if isinstance(value, tuple) else value) for value in (answer, expected))
    apart = np.abs(there - of_cpu) > 1e-3 * np.maximum(1.0, np.abs(of_cpu))
    assert apart.mean() < 1e-5, f"{name}: {apart.sum()} of {apart.size} numbers differ from the CPU's"


def memory_bound(scale: float, rounds: int, bandwidth: float, only: str) -> Iterator[Timing]:
    for name, operator, arguments, options, moved, bound in (case for case in cases(scale) if only in case.name):
        there = [sent(argument) for argument in arguments]
        call = functools.partial(operator, *there, **options)
        answer = call()
        agree(name, answer, operator(*arguments, **options))
        # A canvas is among the arguments and the answer, and written only.
        needed = size_of(arguments) + (0 if operator is pasted else size_of(answer)) if moved is None else moved
        low, median, high = quartiles({name: call}, rounds)[name]
        share = needed / bandwidth / median
        yield Timing(name, median, low, high, "the copy bandwidth", share, MEMORY_BAR if bound else None)
        if operator is ops.letterbox_batch:
            print(f"{name}: {launches(call)} launch")


def launches(call: Call) -> int:
    """How many kernels a call launches."""
    count, launch = itertools.count(), CudaKernel.launch

    def counted(*arguments: Any) -> None:
        next(count)
        launch(*arguments)

    CudaKernel.launch = counted  # type: ignore[method-assign, assignment]
    try:
        call()
    finally:
        CudaKernel.launch = launch  # type: ignore[method-assign]
    return next(count)


def suppression(counts: list[int], classes: int, rounds: int) -> Iterator[Timing]:
    for count in counts:
        boxes, rng = random_boxes(count, 1000), np.random.default_rng(count)
        scores, ids = rng.permutation(count).astype(np.float32) / count, rng.integers(0, classes, count)
        there = [cuda.to_device(each) for each in (boxes, scores, ids)]
        kept = ops.batched_nms(*there, 0.6).copy_to_host().tolist()
        assert kept == ops.batched_nms(boxes, scores, ids, 0.6).tolist()
        ours, theirs = f"batched_nms, {count} boxes, {classes} classes", f"  torchvision's, {count}"
        calls = {ours: functools.partial(ops.batched_nms, *there, 0.6)}
        peer = torchvisions(there)
        if peer is not None:
            calls[theirs] = peer
            assert peer().tolist() == kept, f"{count} boxes: torchvision keeps others"
        found = quartiles(calls, rounds)
        for name, (low, median, high) in found.items():
            ratio = found[theirs][1] / median if name == ours and theirs in found else None
            yield Timing(name, median, low, high, "torchvision's time", ratio, PEER_BAR if name == ours else None)


def torchvisions(there: list[Any]) -> Call | None:
    try:
        import torch
        from torchvision.ops import batched_nms
    except ImportError:
        return None
    tensors = [torch.as_tensor(each, device="cuda") for each in there]
    return lambda: batched_nms(*tensors, 0.6)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="a word of a work's name")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--scale", type=float, default=1.0, help="shrinks every length; 1 fills the card")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    if not has_device():
        print(NO_GPU, file=sys.stderr)
        sys.exit(2)
    bandwidth = copy_bandwidth(max(1, int(1024 * chosen.scale)), chosen.rounds)
    device = "numba's simulator, no GPU" if SIMULATED else cuda.get_current_device().name
    print(f"{device}, copy {bandwidth / 1e6:.0f} GB/s read and written")
    counts = [max(8, int(count * chosen.scale)) for count in (1_000, 10_000, 100_000)]
    rest = suppression(counts, 80, chosen.rounds) if chosen.only in "batched_nms" else ()
    timings = []
    for timing in itertools.chain(memory_bound(chosen.scale, chosen.rounds, bandwidth, chosen.only), rest):
        print(timing, flush=True)
        timings.append(timing)
    met = [timing.met for timing in timings if timing.bar is not None]
    print(f"{met.count(True)} bars met, {met.count(False)} missed, {met.count(None)} without their peer")
    if chosen.json:
        chosen.json.write_text(json.dumps([{**asdict(timing), "met": timing.met} for timing in timings], indent=1))


if __name__ == "__main__":
    main()
