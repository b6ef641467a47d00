"""Time a training step in the ways that it can be run: layout, fused or folded batch normalisation, fused optimizer.

One process, the variants interleaved, so that a busy machine disturbs all alike; `benchmarks.allocator` and
`benchmarks.train` compare whole processes. CPU seconds (of all threads) stand beside the seconds on the clock: they
say nearly the same on a busy machine.

    python -m benchmarks.train_step --model mobilenet_v2 --batch 32 --size 224 224 --threads 2
    python -m benchmarks.train_step --model yolox_nano --batch 16 --size 416 416 --threads 2
"""

from __future__ import annotations

import argparse
import copy
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from toolkit.training.own_process import keep_memory, share_cores

share_cores(workers=0)
keep_memory()

import numba  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

import zoo.norm_act  # noqa: E402
from zoo.classification_loss import classification_loss  # noqa: E402
from zoo.mobilenet_v2 import mobilenet_v2  # noqa: E402
from zoo.resnet import resnet18, resnet50  # noqa: E402
from zoo.segmentation_loss import segmentation_loss  # noqa: E402
from zoo.unet import unet  # noqa: E402
from zoo.yolox import yolox_nano, yolox_s, yolox_tiny  # noqa: E402
from zoo.yolox_loss import yolox_loss  # noqa: E402

CLASSES = 6
FUSABLE, FOLDS = zoo.norm_act.fusable, zoo.norm_act.folds


class Variant(NamedTuple):
    """One way to run a step."""

    layout: torch.memory_format
    fused_norm: bool
    fused_optimizer: bool
    fixed_statistics: bool = False
    folded: bool = False


VARIANTS = {
    "torch's layers, contiguous": Variant(torch.contiguous_format, False, False),
    "torch's layers": Variant(torch.channels_last, False, False),
    "fused norm": Variant(torch.channels_last, True, False),
    "fused norm, optimizer": Variant(torch.channels_last, True, True),
    "fixed statistics": Variant(torch.channels_last, True, True, True),
    "the same, folded": Variant(torch.channels_last, True, True, True, True),
}


class Work(NamedTuple):
    """A network, one batch for it and the loss of its output."""

    network: nn.Module
    pictures: Tensor
    loss: Callable[[Tensor], Tensor]


def classifier(build: Callable[..., nn.Module], batch: int, size: tuple[int, int]) -> Work:
    targets = torch.eye(CLASSES)[torch.arange(batch) % CLASSES]
    return Work(build(num_classes=CLASSES), torch.randn(batch, 3, *size), lambda raw: loss_of(raw, targets))


def loss_of(raw: Tensor, targets: Tensor) -> Tensor:
    return classification_loss(raw, targets)["loss"]


def segmenter(build: Callable[..., nn.Module], batch: int, size: tuple[int, int]) -> Work:
    masks = torch.randint(0, CLASSES, (batch, *size))
    return Work(
        build(num_classes=CLASSES), torch.randn(batch, 3, *size), lambda raw: segmentation_loss(raw, masks)["loss"]
    )


def detector(build: Callable[..., nn.Module], batch: int, size: tuple[int, int]) -> Work:
    boxes = [np.array([[10, 10, 100, 120], [200, 200, 240, 250]], np.float32)] * batch
    classes = [np.array([0, 2])] * batch
    return Work(
        build(CLASSES),
        torch.rand(batch, 3, *size) * 255,
        lambda raw: yolox_loss(raw, boxes, classes, input_size=size)["loss"],
    )


MODELS: dict[str, tuple[Callable[..., Work], Callable[..., nn.Module]]] = {
    "mobilenet_v2": (classifier, mobilenet_v2),
    "resnet18": (classifier, resnet18),
    "resnet50": (classifier, resnet50),
    "unet": (segmenter, unet),
    "yolox_nano": (detector, yolox_nano),
    "yolox_tiny": (detector, yolox_tiny),
    "yolox_s": (detector, yolox_s),
}


def step_of(work: Work, variant: Variant) -> Callable[[], None]:
    """Return a function that does one training step of a copy of the network."""
    network = copy.deepcopy(work.network).to(memory_format=variant.layout).train()
    pictures = work.pictures.contiguous(memory_format=variant.layout)
    if variant.fixed_statistics:
        torch.optim.swa_utils.update_bn([pictures], network)  # those of a new network let its numbers fade to denormals
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eval()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4, fused=variant.fused_optimizer or None)

    def step() -> None:
        zoo.norm_act.fusable = FUSABLE if variant.fused_norm else lambda x, bn: False
        zoo.norm_act.folds = FOLDS if variant.folded else lambda bn: False
        loss = work.loss(network(pictures))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def measure(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Return seconds on the clock and CPU seconds of each step; the steps take turns."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for number in range(rounds + 2):
        for name, step in steps.items():
            clock, cpu = time.perf_counter(), time.process_time()
            step()
            if number >= 2:  # compilation and first allocations
                times[name].append((time.perf_counter() - clock, time.process_time() - cpu))
    return times


def tell(times: dict[str, list[tuple[float, float]]]) -> None:
    print(f"{'milliseconds':27} {'step':>7} {'quartiles':>15} {'CPU':>7} {'against the first':>18} {'in CPU':>7}")
    first, first_cpu = (statistics.median(values) for values in zip(*next(iter(times.values())), strict=True))
    for name, measured in times.items():
        clock, cpu = zip(*measured, strict=True)
        low, median, high = (1e3 * value for value in statistics.quantiles(clock, n=4))
        spent = statistics.median(cpu)
        print(
            f"{name:27} {median:7.0f} {low:6.0f} .. {high:5.0f} {1e3 * spent:7.0f}"
            f" {1e3 * first / median:17.2f}x {first_cpu / spent:6.2f}x"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(MODELS), default="mobilenet_v2")
    parser.add_argument("--batch", type=int, default=32, help="pictures in a batch")
    parser.add_argument("--size", type=int, nargs=2, default=[224, 224], metavar=("HEIGHT", "WIDTH"), help="pixels")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="for torch and numba alike")
    parser.add_argument("--rounds", type=int, default=10, help="timed steps of each variant")
    given: Any = parser.parse_args()
    torch.set_num_threads(given.threads)
    numba.set_num_threads(given.threads)
    torch.manual_seed(0)
    kind, build = MODELS[given.model]
    work = kind(build, given.batch, tuple(given.size))
    times = measure({name: step_of(work, variant) for name, variant in VARIANTS.items()}, given.rounds)
    print(
        f"python {platform.python_version()}, torch {torch.__version__}, numba {numba.__version__}, "
        f"{os.cpu_count()} cores, threads torch {torch.get_num_threads()} numba {numba.get_num_threads()}, "
        f"load {os.getloadavg()[0]:.1f}"
    )
    print(f"{given.model}, batch {given.batch}, {given.size[0]}x{given.size[1]}, {given.rounds} rounds")
    tell(times)


if __name__ == "__main__":
    main()
