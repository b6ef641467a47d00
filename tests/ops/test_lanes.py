"""How work is shared among threads, and that a fault in one of them is told."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from ops._kernel import Kernel
from ops._lanes import in_lanes, lanes_for, share


@pytest.mark.parametrize(
    ("sizes", "lanes", "loads"),
    [
        ([5, 4, 3, 3, 3], 2, {8, 10}),
        ([100, 1, 1, 1], 2, {100, 3}),
        ([7, 7, 7], 3, {7}),
        ([1], 3, {1, 0}),
        ([], 2, {0}),
        ([2, 9, 4], 1, {15}),
    ],
)
def test_share(sizes: list[int], lanes: int, loads: set[int]) -> None:
    items, bounds = share(np.array(sizes, np.int64), lanes)
    assert sorted(items.tolist()) == list(range(len(sizes)))
    parts = [items[bounds[lane] : bounds[lane + 1]] for lane in range(lanes)]
    assert {sum(sizes[i] for i in part) for part in parts} == loads


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kernel, "registry", [])


def python_kernel(function: object) -> Kernel:
    made = Kernel(function, "", parallel=False, fastmath=False)  # type: ignore[arg-type]
    made._compiled = function  # type: ignore[assignment]
    return made


def test_every_lane_runs_once_and_the_caller_takes_the_first(kernels: None) -> None:
    seen: dict[int, threading.Thread] = {}
    in_lanes(python_kernel(lambda lane, _: seen.__setitem__(lane, threading.current_thread())), 3, "argument")
    assert sorted(seen) == [0, 1, 2]
    assert seen[0] is threading.current_thread()
    assert threading.current_thread() not in (seen[1], seen[2])


def test_a_fault_in_another_lane_is_raised(kernels: None) -> None:
    def fail(lane: int) -> None:
        if lane == 1:
            raise ZeroDivisionError("in lane 1")

    with pytest.raises(ZeroDivisionError, match="in lane 1"):
        in_lanes(python_kernel(fail), 2)


def test_little_work_is_not_shared() -> None:
    assert lanes_for(100) == 1
