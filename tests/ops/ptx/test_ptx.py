"""Every twin as PTX for the oldest and the newest GPU that we name, compiled without one.

Runs in an environment of its own (`make twins`): it needs NVIDIA's compiler, which numba-cuda brings, and `compile_ptx`
fails under the simulator.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import ops
from ops import _cuda
from ops._cuda import CudaKernel
from ops._kernel import source_stamp

CAPABILITIES = [(7, 5), (9, 0)]

for _module in pkgutil.iter_modules(ops.__path__):
    importlib.import_module(f"ops.{_module.name}")

# What a GPU lends to a block: 48 KiB without asking for more, 1024 threads. And the arguments of a launch.
MOST_SHARED, MOST_THREADS, MOST_ARGUMENTS = 48 * 1024, 1024, 4096


@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda capability: f"{capability[0]}.{capability[1]}")
@pytest.mark.parametrize("kernel", CudaKernel.registry, ids=lambda kernel: kernel.name.removeprefix("ops."))
def test_compiles(kernel: CudaKernel, capability: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    # numba asks the present device what a helper is to be compiled for, even where the kernel was told.
    there = SimpleNamespace(compute_capability=capability)
    monkeypatch.setattr("numba.cuda.dispatcher.get_current_device", lambda: there)
    text = kernel.ptx(capability)
    assert f".target sm_{capability[0]}{capability[1]}" in text
    assert ".entry" in text
    assert sum(_shared_bytes(text)) <= MOST_SHARED
    assert math.prod(kernel.block) <= MOST_THREADS
    assert _argument_bytes(text) <= MOST_ARGUMENTS


def _argument_bytes(text: str) -> int:
    """All 8 wide at most, as arrays and tuples come as their numbers."""
    return 8 * len(re.findall(r"\.param ", text[text.index(".entry") :].partition(")")[0]))


def test_no_contraction(monkeypatch: pytest.MonkeyPatch) -> None:
    """a * b + c rounds twice, as on the CPU; libdevice's own functions may do as they like."""
    monkeypatch.setattr(CudaKernel, "registry", [])
    kernel = CudaKernel(_multiply_and_add, "void(float64[::1], float64)", (1,))
    text = kernel.ptx(CAPABILITIES[0])
    assert "mul.rn.f64" in text
    assert "add.rn.f64" in text
    assert "fma" not in text


def test_the_cache_is_stamped_with_the_sources() -> None:
    """numba-cuda keeps compiled twins as numba keeps kernels; what a cached one is made of must be seen there too."""
    kernel = next(kernel for kernel in CudaKernel.registry if kernel.name == "ops.nms._overlap_twin")
    dispatcher = kernel.dispatcher()
    path = Path(kernel.function.__code__.co_filename)
    assert dispatcher._cache._cache_file._source_stamp == source_stamp(path, Path(_cuda.__file__))
    assert dispatcher.targetoptions["lto"] is False


def _multiply_and_add(out, x):  # type: ignore[no-untyped-def]
    out[0] = out[1] * x + out[2]


def _shared_bytes(text: str) -> Iterator[int]:
    for size in re.findall(r"\.shared .*\.b8 \S+\[(\d+)\]", text):
        yield int(size)
