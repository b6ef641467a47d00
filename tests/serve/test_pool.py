"""The pool: where work runs, how much it takes, and what it says when it is full."""

from __future__ import annotations

import asyncio
import threading

import pytest

from serve.pool import BoundedPool, PoolFullError


def test_work_runs_in_the_pool_and_its_answer_and_exception_come_back() -> None:
    async def scenario() -> None:
        pool = BoundedPool(1, 0)
        assert (await pool.run(lambda: threading.current_thread().name)).startswith("predict")
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 // 0)
        await settle(pool)
        assert await pool.run(lambda: "the place of the failed call is free again") != ""
        pool.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(("workers", "waiting"), [(1, 0), (1, 2), (3, 1)])
def test_what_does_not_fit_is_refused_at_once(workers: int, waiting: int) -> None:
    async def scenario() -> None:
        pool, gate = BoundedPool(workers, waiting), threading.Event()
        calls = [asyncio.create_task(pool.run(gate.wait)) for _ in range(workers + waiting)]
        await asyncio.sleep(0)
        assert pool.inside == workers + waiting
        with pytest.raises(PoolFullError) as refused:
            await pool.run(lambda: None)
        assert refused.value.retry_after == 1
        gate.set()
        assert await asyncio.gather(*calls) == [True] * len(calls)
        await settle(pool)
        pool.close()

    asyncio.run(scenario())


def test_a_cancelled_call_that_waits_never_runs_and_leaves_its_place() -> None:
    async def scenario() -> None:
        pool, gate, ran = BoundedPool(1, 1), threading.Event(), []
        first = asyncio.create_task(pool.run(gate.wait))
        second = asyncio.create_task(pool.run(lambda: ran.append("second")))
        await asyncio.sleep(0.05)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        await asyncio.sleep(0.05)
        assert pool.inside == 1
        gate.set()
        await first
        await settle(pool)
        assert ran == []
        pool.close()

    asyncio.run(scenario())


def test_a_cancelled_call_that_runs_keeps_its_place_until_its_thread_is_done() -> None:
    async def scenario() -> None:
        pool, gate = BoundedPool(1, 0), threading.Event()
        call = asyncio.create_task(pool.run(gate.wait))
        await asyncio.sleep(0.05)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        with pytest.raises(PoolFullError):
            pool.require_room()
        gate.set()
        await settle(pool)
        pool.close()

    asyncio.run(scenario())


def test_the_advised_wait_grows_with_the_queue_and_the_runs() -> None:
    async def scenario() -> None:
        pool, gate = BoundedPool(1, 3), threading.Event()
        pool._mean_seconds = 1.4  # four calls of 1.4 s one after another
        calls = [asyncio.create_task(pool.run(gate.wait)) for _ in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(PoolFullError) as refused:
            pool.require_room()
        assert refused.value.retry_after == 6
        gate.set()
        await asyncio.gather(*calls)
        await settle(pool)
        pool.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(("workers", "waiting"), [(0, 1), (1, -1)])
def test_sizes_that_make_no_pool_are_refused(workers: int, waiting: int) -> None:
    with pytest.raises(ValueError, match="workers >= 1 and waiting >= 0"):
        BoundedPool(workers, waiting)


async def settle(pool: BoundedPool) -> None:
    """Wait until every place has been given back."""
    async with asyncio.timeout(5):
        while pool.inside:
            await asyncio.sleep(0.01)
