"""The CUDA twins, run in numba's simulator, or on a GPU where TOOLKIT_GPU=1 says that one is to be used.

The simulator is chosen by an environment variable when numba is imported, so these tests have a process of their own
(`make twins`); in any other they are not collected. What the twins gave beside the kernels for the CPU is told at the
end, as is what passed between host and device.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ops
from ops._cuda import SIMULATED, CudaKernel

sys.path.insert(0, str(Path(__file__).parent))

collect_ignore_glob = [] if SIMULATED or os.environ.get("TOOLKIT_GPU") == "1" else ["test_*.py"]

LARGEST: dict[str, tuple[int, float]] = {}  # by operator: cases, largest difference
LAUNCHED: set[str] = set()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", "ignore::RuntimeWarning")  # NumPy's, of NaN and inf in the simulator


class Twin:
    """Runs an operator on host arrays and on device arrays, and compares."""

    def __init__(self, moved: list[int], tested: str) -> None:
        from numba import cuda

        self._cuda = cuda
        self.moved = moved
        self.tested = tested  # the operator that the test's file is named for

    def send(self, value: Any) -> Any:
        """NumPy arrays, also those in lists, to the device; other values as they are."""
        if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
            return [self.send(item) for item in value]
        return self._cuda.to_device(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value

    def fetch(self, value: Any) -> Any:
        """Device arrays, also those in tuples and lists, to the host."""
        if isinstance(value, (tuple, list)):
            return [self.fetch(item) for item in value]
        return value.copy_to_host() if hasattr(value, "__cuda_ndarray__") else value

    def check(
        self,
        operator: Callable[..., Any],
        *arguments: Any,
        within: float = 0.0,
        moves: int = 0,
        on_device: tuple[str, ...] = (),
        **options: Any,
    ) -> Any:
        """Hold the twin to the CPU's answer, at most ``within`` apart, with ``moves`` bytes between host and device.

        Arrays among the arguments, and the options named in ``on_device``, go to the device. Returns the CPU's answer.
        """
        expected = operator(*arguments, **options)
        sent = [self.send(argument) for argument in arguments]
        there = {name: self.send(value) if name in on_device else value for name, value in options.items()}
        self.moved.clear()
        answer = operator(*sent, **there)
        moved = sum(self.moved)
        self.compare(operator.__name__, expected, self.fetch(answer), within)
        assert moved <= moves, f"{moved} bytes passed between host and device, expected at most {moves}"
        return expected

    def compare(self, name: str, expected: Any, answer: Any, within: float) -> None:
        apart = difference(expected, answer)
        name = name if name in ops.__all__ else self.tested  # what `ops.operator` made counts as its own
        cases, largest = LARGEST.get(name, (0, 0.0))
        LARGEST[name] = cases + 1, max(largest, apart)
        assert apart <= within, f"{name}: the twin is {apart} away from the kernel for the CPU"


def difference(expected: Any, answer: Any) -> float:
    """The largest difference of two answers of one form; infinite where they differ in form, type or where NaN is."""
    if isinstance(expected, (tuple, list)):
        if len(expected) != len(answer):
            return float("inf")
        return max((difference(a, b) for a, b in zip(expected, answer, strict=True)), default=0.0)
    if not isinstance(expected, np.ndarray):
        return 0.0 if expected == answer else float("inf")
    if expected.shape != answer.shape or expected.dtype != answer.dtype:
        return float("inf")
    a, b = expected.astype(np.float64), answer.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    apart = np.where(same, 0.0, np.abs(a - b))
    return float(np.where(np.isnan(apart), np.inf, apart).max(initial=0.0))


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Twin:
    moved: list[int] = []
    (_count_simulated if SIMULATED else _count_real)(monkeypatch, moved)
    return Twin(moved, request.path.stem.removeprefix("test_"))


@pytest.fixture(autouse=True, scope="session")
def _note_launches() -> Iterator[None]:
    launch = CudaKernel.launch

    def noted(self: Any, stream: Any, counts: Any, *arguments: Any) -> None:
        LAUNCHED.add(self.name)
        launch(self, stream, counts, *arguments)

    CudaKernel.launch = noted  # type: ignore[method-assign]
    yield
    CudaKernel.launch = launch  # type: ignore[method-assign]


# What turns a simulated array into one of the host, besides the copies that numba has names for.
_ESCAPES = {"__array__", "__array_interface__", "__array_struct__", "__buffer__", "tolist", "tobytes", "item"}


def _count_simulated(monkeypatch: pytest.MonkeyPatch, moved: list[int]) -> None:
    from numba import cuda
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    to_device, to_host, attribute = cuda.to_device, FakeCUDAArray.copy_to_host, FakeCUDAArray.__getattr__
    copy_into = FakeCUDAArray.copy_to_device

    def counted_to_device(array: Any, *rest: Any, **options: Any) -> Any:
        moved.append(array.nbytes)
        return to_device(array, *rest, **options)

    def counted_to_host(self: Any, *rest: Any, **options: Any) -> Any:
        moved.append(self.nbytes)
        return to_host(self, *rest, **options)

    def counted_into(self: Any, source: Any, *rest: Any, **options: Any) -> Any:
        moved.append(0 if isinstance(source, FakeCUDAArray) else source.nbytes)
        return copy_into(self, source, *rest, **options)

    def guarded(self: Any, name: str) -> Any:
        assert name not in _ESCAPES, f"a device array was read on the host, by {name}"
        return attribute(self, name)

    assign = FakeCUDAArray.__setitem__

    def assigned(self: Any, at: Any, what: Any) -> None:
        assign(self, at, getattr(what, "_ary", what))  # from device to device, nothing passes through the host

    monkeypatch.setattr(FakeCUDAArray, "__setitem__", assigned)
    monkeypatch.setattr(cuda, "to_device", counted_to_device)
    monkeypatch.setattr(FakeCUDAArray, "copy_to_host", counted_to_host)
    monkeypatch.setattr(FakeCUDAArray, "copy_to_device", counted_into)
    monkeypatch.setattr(FakeCUDAArray, "__getattr__", guarded)


def _count_real(monkeypatch: pytest.MonkeyPatch, moved: list[int]) -> None:
    from numba.cuda.cudadrv import driver

    for name in ("host_to_device", "device_to_host"):
        copy = getattr(driver, name)

        def counted(to: Any, source: Any, size: int, *rest: Any, _copy: Any = copy, **options: Any) -> Any:
            moved.append(size)
            return _copy(to, source, size, *rest, **options)

        monkeypatch.setattr(driver, name, counted)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A whole run (no selection, nothing failed) must have launched every twin there is."""
    chosen = session.config.option.keyword or any("::" in name or name.endswith(".py") for name in session.config.args)
    never = {kernel.name for kernel in CudaKernel.registry if kernel.name.startswith("ops.")} - LAUNCHED
    if LAUNCHED and never and not chosen and not session.testsfailed:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print(f"\nno test launched {', '.join(sorted(never))}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if "TOOLKIT_TWINS" in os.environ:  # docs/acceptance/twins.py makes a table of it
        Path(os.environ["TOOLKIT_TWINS"]).write_text(json.dumps(LARGEST))
    if LARGEST:
        terminalreporter.section(f"twins on {'the simulator (no GPU)' if SIMULATED else 'a GPU'}")
        terminalreporter.write_line(f"{'operator':28} {'cases':>6}  largest difference from the CPU")
        for name, (cases, largest) in sorted(LARGEST.items()):
            terminalreporter.write_line(f"{name:28} {cases:6}  {largest:.3g}")
