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


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch, kernels: None) -> None:
    monkeypatch.setattr("ops._lanes.numba.get_num_threads", lambda: 3)


def test_every_lane_runs_once_and_the_caller_helps(three_threads: None) -> None:
    ran: list[int] = []
    threads = set()
    together = threading.Barrier(3, timeout=20)

    def note(lane: int, argument: str) -> None:
        assert argument == "argument"
        if lane < 3:
            together.wait()  # so that each thread takes one
        ran.append(lane)
        threads.add(threading.current_thread())

    in_lanes(python_kernel(note), 10, "argument")
    assert sorted(ran) == list(range(10))
    assert len(threads) == 3
    assert threading.current_thread() in threads


@pytest.mark.parametrize("lane_at_fault", [0, 5])
def test_a_fault_in_a_lane_is_raised(lane_at_fault: int, three_threads: None) -> None:
    def fail(lane: int) -> None:
        if lane == lane_at_fault:
            raise ZeroDivisionError(f"in lane {lane}")

    with pytest.raises(ZeroDivisionError, match=f"in lane {lane_at_fault}"):
        in_lanes(python_kernel(fail), 6)


def test_one_lane_is_the_callers(kernels: None) -> None:
    ran = []
    in_lanes(python_kernel(lambda lane: ran.append((lane, threading.current_thread()))), 1)
    assert ran == [(0, threading.current_thread())]


def test_little_work_is_not_shared() -> None:
    assert lanes_for(100) == 1


def test_one_thread_does_it_all(kernels: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops._lanes.numba.get_num_threads", lambda: 1)
    assert lanes_for(10**9) == 1
    ran = []
    in_lanes(python_kernel(lambda lane: ran.append((lane, threading.current_thread()))), 3)
    assert ran == [(lane, threading.current_thread()) for lane in range(3)]
