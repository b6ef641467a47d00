"""Items through the threads and a network that the test holds in its hand: what comes back, and what is left."""

from __future__ import annotations

import asyncio
import base64
import gc
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_service import live, wait_for
from tiny_bundle import WARM, flat_png

from serve import create_app
from serve.batcher import Batcher, Rows
from serve.batching import BatchQueue, Bounds, RunTime
from serve.errors import RequestError
from serve.jobs import PictureJob
from serve.workers import Workers
from toolkit.inference import load

POISON = -1.0


class Engine:
    """Doubles its input; waits at a gate, remembers its runs, and fails on poison or when it is broken."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.waits = 0
        self.runs: list[list[float]] = []
        self.broken = False

    def run(self, rows: Rows, key: Hashable) -> list[Rows]:
        self.waits += 1
        assert self.gate.wait(20)
        self.waits -= 1
        values = rows[:, 0, 0, 0].tolist()
        self.runs.append(values)
        if self.broken or POISON in values:
            raise FloatingPointError(f"on {values}")
        return [rows * 2]

    def probe(self) -> object:
        return self.run(np.zeros((1, 1, 1, 1), np.float32), None)


class Number:
    """A job: a number in, twice the number out."""

    rows = 1

    def __init__(self, value: float, key: Hashable = "k", side: int = 1, fault: str = "") -> None:
        self.value, self.key, self.side, self.fault = value, key, side, fault
        self.threads: set[str] = set()
        self.released = 0

    def prepare(self) -> Rows:
        self.threads.add(threading.current_thread().name)
        if self.fault == "prepare":
            raise ValueError("cannot be prepared")
        return np.full((1, 1, self.side, self.side), self.value, np.float32)

    def release(self) -> None:
        self.released += 1

    def finish(self, raw: list[Rows], seconds: float) -> Any:
        self.threads.add(threading.current_thread().name)
        if self.fault == "finish":
            raise ValueError("cannot be finished")
        return float(raw[0][0, 0, 0, 0])


class Listener:
    def __init__(self) -> None:
        self.away: list[str] = []
        self.sizes: list[int] = []
        self.waits = 0

    def queued(self, seconds: float) -> None:
        self.waits += 1

    def ran(self, rows: int) -> None:
        self.sizes.append(rows)

    def delivered(self, seconds: float) -> None:
        assert seconds >= 0

    def turned_away(self, why: str) -> None:
        self.away.append(why)


class Bench:
    """One batcher over the engine: runs of 4, one at a time, three threads."""

    def __init__(self) -> None:
        self.engine, self.listener, self.workers = Engine(), Listener(), Workers(3)
        queue: BatchQueue[Any] = BatchQueue(Bounds(1, rows=4), RunTime([(1, 0.01), (2, 0.011)]), True)
        self.batcher = Batcher(self.engine.run, self.engine.probe, self.workers, queue, self.listener)
        self.workers.add(self.batcher)
        self.inside = 0

    def ask(self, job: Number, seconds: float = 20.0) -> asyncio.Task[Any]:
        self.inside += 1
        return asyncio.ensure_future(self.batcher.answer(job, time.monotonic() + seconds, self._left))

    def _left(self) -> None:
        self.inside -= 1

    async def hold(self, *jobs: Number) -> list[asyncio.Task[Any]]:
        """Close the gate, let a first job stand at it, and the jobs wait behind it."""
        self.engine.gate.clear()
        tasks = [self.ask(Number(100))]
        await until(lambda: self.engine.waits == 1)
        tasks += [self.ask(job) for job in jobs]
        await until(lambda: self.batcher.queue.rows == len(jobs))
        return tasks


def scenario(test: Callable[[Bench], Awaitable[None]]) -> None:
    """Run it, and see that nothing is left inside and every buffer came back."""

    async def run() -> None:
        bench = Bench()
        try:
            await test(bench)
            bench.engine.gate.set()
            await until(lambda: bench.inside == 0)
            queue = bench.batcher.queue
            assert (queue.rows, queue.size, queue.running, queue.coming) == (0, 0, 0, 0)
        finally:
            bench.workers.close()

    asyncio.run(run())


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


async def outcomes(tasks: list[asyncio.Task[Any]]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_a_lone_job_stays_in_one_thread_and_those_behind_a_run_go_together() -> None:
    async def test(bench: Bench) -> None:
        lone = Number(3)
        assert await bench.ask(lone) == 6
        assert len(lone.threads) == 1
        assert next(iter(lone.threads)).startswith("predict")
        tasks = await bench.hold(*(Number(value) for value in range(6)))
        bench.engine.gate.set()
        assert await outcomes(tasks) == [200, 0, 2, 4, 6, 8, 10]
        assert [len(run) for run in bench.engine.runs] == [1, 1, 4, 2]
        assert bench.listener.sizes == [1, 1, 4, 2]
        assert bench.listener.waits == 8

    scenario(test)


def test_only_equal_shapes_and_keys_run_together() -> None:
    async def test(bench: Bench) -> None:
        jobs = [Number(1), Number(2, side=2), Number(3), Number(4, key="other"), Number(5, side=2)]
        tasks = await bench.hold(*jobs)
        bench.engine.gate.set()
        assert await outcomes(tasks) == [200, 2, 4, 6, 8, 10]
        assert sorted(bench.engine.runs[1:]) == [[1, 3], [2, 5], [4]]

    scenario(test)


def test_one_of_a_batch_is_cancelled_and_the_others_answer_without_it() -> None:
    async def test(bench: Bench) -> None:
        jobs = [Number(value) for value in range(4)]
        tasks = await bench.hold(*jobs)
        tasks[2].cancel()
        await until(lambda: bench.inside == 4)  # it has left before it ran
        bench.engine.gate.set()
        done = await outcomes(tasks)
        assert isinstance(done.pop(2), asyncio.CancelledError)
        assert done == [200, 0, 4, 6]
        assert bench.engine.runs[1:] == [[0, 2, 3]]
        assert (bench.listener.away, all(job.released for job in jobs)) == (["cancelled"], True)

    scenario(test)


def test_one_that_is_cancelled_while_it_runs_costs_the_others_nothing() -> None:
    async def test(bench: Bench) -> None:
        tasks = await bench.hold(Number(1), Number(2))
        tasks[0].cancel()
        await asyncio.sleep(0.01)
        assert bench.inside == 3  # its thread still works on it
        bench.engine.gate.set()
        assert (await outcomes(tasks))[1:] == [2, 4]
        assert bench.listener.away == ["cancelled"]

    scenario(test)


def test_a_poisoned_item_fails_alone() -> None:
    async def test(bench: Bench) -> None:
        tasks = await bench.hold(Number(1), Number(POISON), Number(3))
        bench.engine.gate.set()
        first, *done = await outcomes(tasks)
        assert (first, done[0], done[2]) == (200, 2, 6)
        assert isinstance(done[1], FloatingPointError)
        assert bench.engine.runs[1:] == [[1, POISON, 3], [1], [POISON], [0], [3]]  # 0 is the probe
        assert bench.batcher.down == ""

    scenario(test)


def test_an_engine_that_fails_on_anything_is_down_for_all_until_it_is_revived() -> None:
    async def test(bench: Bench) -> None:
        tasks = await bench.hold(*(Number(value) for value in range(6)))
        bench.engine.broken = True
        bench.engine.gate.set()
        done = await outcomes(tasks)
        assert [(type(each), each.status) for each in done] == [(RequestError, 503)] * 7
        assert bench.batcher.down
        assert len(bench.engine.runs) == 2  # the run and the probe: what waited was not tried in vain
        assert (await outcomes([bench.ask(Number(1))]))[0].status == 503
        assert not bench.batcher.revive()
        bench.engine.broken = False
        assert bench.batcher.revive()
        assert await bench.ask(Number(1)) == 2

    scenario(test)


def test_what_expires_in_the_queue_never_runs() -> None:
    async def test(bench: Bench) -> None:
        tasks = await bench.hold(Number(1))
        tasks.append(bench.ask(Number(2), seconds=0.02))
        await asyncio.sleep(0.05)
        bench.engine.gate.set()
        done = await outcomes(tasks)
        assert (done[:2], done[2].status) == ([200, 2], 504)
        assert bench.engine.runs == [[100], [1]]
        assert bench.listener.away == ["expired"]

    scenario(test)


def test_what_is_finished_after_its_deadline_is_not_delivered() -> None:
    async def test(bench: Bench) -> None:
        bench.engine.gate.clear()
        task = bench.ask(Number(2), seconds=0.05)
        await asyncio.sleep(0.1)
        bench.engine.gate.set()
        assert (await outcomes([task]))[0].status == 504
        assert bench.listener.away == ["expired"]

    scenario(test)


@pytest.mark.parametrize("stage", ["prepare", "finish"])
def test_a_job_that_fails_outside_the_network_fails_alone(stage: str) -> None:
    async def test(bench: Bench) -> None:
        jobs = [Number(1), Number(2, fault=stage), Number(3)]
        tasks = [bench.ask(job) for job in jobs]
        done = await outcomes(tasks)
        assert (done[0], done[2]) == (2, 6)
        assert str(done[1]) == f"cannot be {stage}d".replace("finishd", "finished")
        assert all(job.released for job in jobs)

    scenario(test)


def test_a_job_without_a_key_is_never_run() -> None:
    async def test(bench: Bench) -> None:
        assert await bench.ask(Number(5, key=None)) == 5
        assert bench.engine.runs == []

    scenario(test)


def test_hundreds_at_once_with_some_that_leave_are_all_answered() -> None:
    async def test(bench: Bench) -> None:
        tasks = [bench.ask(Number(value, key=value % 3)) for value in range(400)]
        for index in range(0, 400, 7):
            await asyncio.sleep(0)
            tasks[index].cancel()
        for index, each in enumerate(await outcomes(tasks)):
            assert each == 2 * index or (index % 7 == 0 and isinstance(each, asyncio.CancelledError))

    scenario(test)


def test_closed_workers_end_their_threads() -> None:
    before = set(threading.enumerate())
    bench = Bench()
    started = set(threading.enumerate()) - before
    assert len(started) == 3
    bench.workers.close()
    wait_for(lambda: not any(thread.is_alive() for thread in started))


@pytest.mark.parametrize("fault", ["", "prepare", "finish", "poison", "late", "cancelled"])
def test_nothing_keeps_a_job_that_has_been_answered(fault: str) -> None:
    """Whether Python looks for circles is a matter of chance; until then a picture would lie about for each of them."""

    async def test(bench: Bench) -> None:
        job = Number(POISON if fault == "poison" else 1, fault=fault)
        known = weakref.ref(job)
        if fault in ("late", "cancelled"):
            bench.engine.gate.clear()
        task = bench.ask(job, seconds=0.05 if fault == "late" else 20)
        del job
        if fault in ("late", "cancelled"):
            await until(lambda: bench.engine.waits == 1)
            await asyncio.sleep(0.06)
            if fault == "cancelled":
                task.cancel()
            bench.engine.gate.set()
        (outcome,) = await outcomes([task])
        assert isinstance(outcome, BaseException) is bool(fault)
        del task, outcome
        await until(lambda: known() is None)

    gc.disable()
    try:
        scenario(test)
    finally:
        gc.enable()


def test_nothing_keeps_a_picture_that_has_been_answered(tiny_bundle: Path) -> None:
    """The same over HTTP: good pictures, damaged ones, and wrong options."""
    pictures = [flat_png(WARM, (300, 300)), flat_png(WARM, (300, 300))[:200], b"no picture"]
    app = create_app(load(tiny_bundle, "cpu", threads=1))
    with live(app) as client:
        alive = weakref.WeakSet[PictureJob]()
        made = PictureJob.__init__
        gc.collect()
        gc.disable()
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(PictureJob, "__init__", lambda job, *given: (alive.add(job), made(job, *given))[1])
                for path in ("/predict", "/predict/batch", "/object-detection"):
                    for picture in pictures:
                        body: dict[str, Any] = {"content": picture}
                        if path == "/predict/batch":
                            body = {"files": [("file", picture)]}
                        elif path == "/object-detection":
                            body = {"json": {"image": base64.b64encode(picture).decode()}}
                        assert client.post(path, **body).status_code in (200, 400)
                wait_for(lambda: not alive)
        finally:
            gc.enable()
