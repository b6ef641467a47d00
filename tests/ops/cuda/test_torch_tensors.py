"""The losses and layers of `zoo` on tensors of a GPU: twins run, values and gradients are those of the CPU, and nothing
but a few numbers passes through the host.

In the simulator the host's tensors count as a GPU's: its arrays are of their memory, and any way of torch's to the
host is closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from box_cases import boxes
from torch import Tensor

from ops._cuda import SIMULATED, CudaKernel
from zoo import operands
from zoo.box_loss import paired_iou
from zoo.focal_loss import sigmoid_focal_loss
from zoo.roi_align import roi_align
from zoo.yolox_loss import yolox_loss

WAYS_TO_THE_HOST = ("cpu", "numpy", "tolist", "item", "__array__")


def as_if_on_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    numpy = torch.Tensor.numpy

    def closed(*_: Any, **__: Any) -> Any:
        raise AssertionError("a tensor of the GPU was read on the host")

    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda tensor: True))
    monkeypatch.setattr(operands, "_twins_run", lambda: True)
    monkeypatch.setattr(operands, "_lent", lambda plain: FakeCUDAArray(numpy(plain)))
    monkeypatch.setattr(operands, "_taken", lambda answer, device: torch.from_numpy(answer._ary))
    for name in WAYS_TO_THE_HOST:
        monkeypatch.setattr(torch.Tensor, name, closed)


def tensor(array: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


SIZE, CELLS = (32, 32), 21
TRUTHS = [np.array([[2, 2, 20, 24], [9, 6, 30, 31]], np.float32), np.zeros((0, 4), np.float32)]


def of_yolox(raw: Tensor) -> Tensor:
    parts = yolox_loss(raw, TRUTHS, [np.array([1, 0]), np.zeros(0, np.int64)], input_size=SIZE)
    return torch.stack([parts[name] for name in ("loss", "box", "objectness", "classes", "positives")])


# What is called, the tensor that it differentiates, the others, the twins that must run, and how often at most numbers
# may pass: of SimOTA the boxes, the classes, where pictures begin (twice), the grid; the least and the greatest class
# and how many cells learn come back.
CASES: list[tuple[str, Callable[..., Tensor], Tensor, list[Tensor], set[str], int]] = [
    (
        "paired_iou", lambda a, b: paired_iou(a, b, kind="giou"), tensor(boxes(9, 1)), [tensor(boxes(9, 2))],
        {"paired_box_iou._forward_twin", "paired_box_iou._backward_twin"}, 0,
    ),
    (
        "sigmoid_focal_loss", sigmoid_focal_loss, random(3, 4, 5), [random(4, 4, 5).sigmoid()],
        {"sigmoid_focal_loss._forward_twin", "sigmoid_focal_loss._backward_twin"}, 0,
    ),
    (
        "roi_align", lambda maps, at, of: roi_align(maps, at, (2, 2), pictures=of, scale=0.25), random(5, 2, 2, 5, 6),
        [tensor(boxes(3, 6)), torch.tensor([1, 0, 1])], {"roi_align._twin", "roi_align._twin_backward"}, 0,
    ),
    (
        "yolox_loss", of_yolox, 0.5 * random(7, 2, CELLS, 7), [],
        {"simota_assign._cost_twin", "simota_assign._match_twin", "paired_box_iou._backward_twin"}, 8,
    ),
]  # fmt: skip


def run(call: Callable[..., Tensor], first: Tensor, others: list[Tensor]) -> tuple[Tensor, Tensor]:
    leaf = first.clone().requires_grad_()
    value = call(leaf, *others)
    (value * torch.linspace(1, 2, value.numel()).to(value.device).reshape(value.shape)).sum().backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


@pytest.mark.parametrize(("name", "call", "first", "others", "twins", "passes"), CASES, ids=[case[0] for case in CASES])
def test_on_a_gpu(
    twin: Any,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    call: Callable[..., Tensor],
    first: Tensor,
    others: list[Tensor],
    twins: set[str],
    passes: int,
) -> None:
    expected = run(call, first, others)
    launched: list[str] = []
    launch = CudaKernel.launch

    def noted(self: Any, *arguments: Any) -> None:
        launched.append(self.name.removeprefix("ops."))
        launch(self, *arguments)

    monkeypatch.setattr(CudaKernel, "launch", noted)
    with monkeypatch.context() as gpu:
        if SIMULATED:
            as_if_on_gpu(gpu)
            twin.moved.clear()
            found, copies = run(call, first, others), len(twin.moved)
        else:
            found, copies = on_real_gpu(call, first, others)
    assert twins <= set(launched)
    assert copies <= passes, f"{name}: numbers passed {copies} times between host and device"
    for ours, cpus in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.cpu(), cpus, rtol=1e-5, atol=1e-6)


def on_real_gpu(call: Callable[..., Tensor], first: Tensor, others: list[Tensor]) -> tuple[tuple[Tensor, Tensor], int]:
    """On a stream of its own; what passes is counted by CUDA's own tracing, torch's copies as well as ours."""
    there = [each.cuda() for each in (first, *others)]
    run(call, there[0], there[1:])  # compiles
    torch.cuda.synchronize()
    with (
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as trace,
        torch.cuda.stream(torch.cuda.Stream()),  # type: ignore[no-untyped-call]
    ):
        found = run(call, there[0], there[1:])
        torch.cuda.synchronize()
    return found, sum("HtoD" in event.name or "DtoH" in event.name for event in trace.events())


def test_without_a_compiler_for_gpus_the_host_computes_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operands, "has_device", lambda: False)
    operands._twins_run.cache_clear()
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda tensor: True))
    with pytest.warns(RuntimeWarning, match=r"numba finds no CUDA compiler.*pip install numba-cuda"):
        assert not operands.on_twin(torch.zeros(1))
    assert isinstance(operands.operand(torch.zeros(1)), np.ndarray)
    operands._twins_run.cache_clear()
