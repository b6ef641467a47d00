"""Which items run together and when: tables of a queue and a time, and rules that hold for every history."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from serve.batching import BatchQueue, Bounds, Item, RunTime

NEVER = math.inf


def item(name: str = "", key: str = "k", rows: int = 1, since: float = 0.0, deadline: float = 100.0) -> Item[str]:
    return Item(name, key, rows, 10 * rows, since, deadline)


def queue(
    items: Sequence[Item[str]], *, running: int = 0, coming: int = 0, batching: bool = True, runs: int = 2
) -> BatchQueue[str]:
    """At most 4 rows a run, which takes 0.1 s a row and 0.2 s besides; an item waits for 0.5 s."""
    made: BatchQueue[str] = BatchQueue(
        Bounds(runs, rows=4, wait=0.5, ahead_bytes=1000), RunTime([(1, 0.3), (3, 0.5)]), batching
    )
    for each in items:
        made.add(each)
    made.running, made.coming = running, coming
    return made


# Each row: what waits since 0, what else is going on, the time, what starts, and when to look again after that.
STARTS: list[tuple[str, dict[str, Any], float, str, float]] = [
    ("a", {}, 0, "a", NEVER),  # an idle engine starts at once
    ("ab", {"coming": 9}, 0, "ab", NEVER),  # with all that there is, whatever is coming
    ("abcdef", {}, 0, "abcd", -NEVER),  # full; the rest runs beside it, as nothing is coming
    ("a", {"running": 1, "coming": 1}, 0, "", 0.5),  # a busy engine: the oldest waits for company
    ("a", {"running": 1, "coming": 1}, 0.49, "", 0.5),
    ("a", {"running": 1, "coming": 1}, 0.5, "a", NEVER),
    ("abcd", {"running": 1, "coming": 1}, 0, "abcd", NEVER),  # full
    ("a", {"running": 1}, 0, "a", NEVER),  # nobody is coming
    ("abcd", {"running": 2}, 9, "", NEVER),  # no free run
    ("ab", {"running": 1, "coming": 1, "batching": False}, 0, "a", NEVER),
    ("ab", {"batching": False}, 0, "a", -NEVER),
    ("", {}, 0, "", NEVER),
]


@pytest.mark.parametrize(("waiting", "state", "now", "starts", "wake"), STARTS)
def test_what_starts_when(waiting: str, state: dict[str, Any], now: float, starts: str, wake: float) -> None:
    made = queue([item(name) for name in waiting], **state)
    assert [each.work for each in made.take(now)] == list(starts)
    assert made.wake() == wake
    assert made.rows == len(waiting) - len(starts)
    assert made.size == 10 * made.rows


def test_the_tightest_deadline_closes_a_batch_as_much_earlier_as_its_run_takes() -> None:
    made = queue([item("a", deadline=9), item("b", deadline=0.75)], running=1, coming=1)
    assert made.wake() == pytest.approx(0.35)  # two rows take 0.4 s
    assert made.take(0.34) == []
    assert [each.work for each in made.take(0.36)] == ["a", "b"]


def test_only_one_key_runs_together_and_the_oldest_goes_first() -> None:
    made = queue([item("a", "x", since=2), item("b", "y", since=1), item("c", "x", since=3), item("d", "y", since=4)])
    assert [each.work for each in made.take(5)] == ["b", "d"]
    assert [each.work for each in made.take(5)] == ["a", "c"]


def test_items_of_several_rows_fill_a_run_and_a_larger_one_runs_alone() -> None:
    made = queue([item("a", rows=3), item("b", rows=2), item("c", rows=9), item("d")], runs=9)
    assert [[each.work for each in made.take(0)] for _ in range(5)] == [["a"], ["b"], ["c"], ["d"], []]


def test_what_is_late_or_unwanted_leaves_before_it_runs() -> None:
    items = [item("a", deadline=1), item("b"), item("c", "other", deadline=1), item("d")]
    made = queue(items)
    assert [each.work for each in made.expired(0.99)] == []
    assert sorted(each.work for each in made.expired(1.0)) == ["a", "c"]
    assert (made.drop(items[1]), made.drop(items[1]), made.drop(items[0])) == (True, False, False)
    assert [each.work for each in made.take(1.0)] == ["d"]
    assert (made.rows, made.size, list(made)) == (0, 0, [])


@pytest.mark.parametrize(
    ("rows", "preparing", "batching", "hungry"),
    [
        *((0, 0, True, True), (7, 0, True, True), (8, 0, True, False), (4, 4, True, False), (4, 3, True, True)),
        *((0, 0, False, True), (3, 0, False, True), (4, 0, False, False), (0, 4, False, False)),
    ],
)
def test_two_runs_at_most_are_made_ready_ahead(rows: int, preparing: int, batching: bool, hungry: bool) -> None:
    assert queue([item() for _ in range(rows)], batching=batching).hungry(preparing) is hungry


def test_what_is_ready_is_bounded_in_bytes_too() -> None:
    large = Item("a", "k", 1, 1000, 0.0, 9.0)
    assert not queue([large]).hungry(0)
    assert queue([]).hungry(0)  # one at least, however large


@pytest.mark.parametrize(
    ("samples", "per_row", "fixed"),
    [
        ([], 0, 0),
        ([(2, 0.2), (2, 0.4)], 0.15, 0),  # one size says nothing of what does not grow
        ([(1, 0.3), (2, 0.5), (4, 0.9)], 0.2, 0.1),
        ([(1, 0.5), (2, 0.4)], 0, 0.45),  # more is never less
        ([(1, 0.1), (2, 0.4)], 0.18, 0),  # nothing takes no time: 0.1 + 2 * 0.4 over 1 + 4
    ],
)
def test_the_line_of_run_times(samples: list[tuple[int, float]], per_row: float, fixed: float) -> None:
    line = RunTime(samples)
    assert (line.per_row, line.fixed) == (pytest.approx(per_row), pytest.approx(fixed))


@pytest.mark.parametrize(
    ("samples", "gain"),
    [
        ([(1, 1.0), (8, 8.0)], 1.0),
        ([(1, 1.1), (8, 8.1)], 8 * 1.1 / 8.1),  # 8.6 %
        ([(1, 2.0), (8, 9.0)], 16 / 9),
        ([], 1.0),
    ],
)
def test_what_a_batch_of_eight_gains(samples: list[tuple[int, float]], gain: float) -> None:
    assert RunTime(samples).gain(8) == pytest.approx(gain)


def test_the_level_follows_the_runs_and_one_stall_moves_it_little() -> None:
    line = RunTime([(1, 0.2), (2, 0.3)])
    for _ in range(60):
        line.saw(4, 1.0)
    assert line.seconds(4) == pytest.approx(1.0, rel=0.01)
    assert line.seconds(1) == pytest.approx(0.4, rel=0.01)  # the shape stays
    line.saw(4, 1e6)
    assert line.seconds(4) == pytest.approx(1.3, rel=0.01)
    fresh = RunTime()
    fresh.saw(2, 0.5)
    assert fresh.seconds(4) == 1.0


class Histories(RuleBasedStateMachine):
    """Items come, leave and run in any order, while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.queue: BatchQueue[int] = BatchQueue(Bounds(2, rows=3, wait=0.5), RunTime([(1, 0.2), (2, 0.3)]), True)
        self.waiting: list[Item[int]] = []
        self.batches: list[list[Item[int]]] = []

    @rule(key=st.sampled_from("xy"), rows=st.integers(1, 4), left=st.floats(0.01, 3))
    def comes(self, key: str, rows: int, left: float) -> None:
        new = Item(len(self.waiting), key, rows, rows, self.now, self.now + left)
        self.waiting.append(new)
        self.queue.add(new)

    @rule(coming=st.integers(0, 2))
    def more_are_coming(self, coming: int) -> None:
        self.queue.coming = coming

    @rule(seconds=st.floats(0, 1))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def one_leaves(self, data: st.DataObject) -> None:
        leaver = data.draw(st.sampled_from(self.waiting))
        assert self.queue.drop(leaver)
        self.waiting.remove(leaver)

    @rule()
    def a_run_may_start(self) -> None:
        for late in self.queue.expired(self.now):
            assert late.deadline <= self.now
            self.waiting.remove(late)
        free, wake = self.queue.running < 2, self.queue.wake()
        batch = self.queue.take(self.now)
        assert bool(batch) == (wake <= self.now)  # `wake` is right
        if self.waiting and self.queue.running == 0:
            raise AssertionError("an idle engine did not start")
        if batch:
            assert free
            assert len({each.key for each in batch}) == 1
            assert sum(each.rows for each in batch) <= 3 or len(batch) == 1
            assert min(each.deadline for each in batch) > self.now
            same = [each for each in self.waiting if each.key == batch[0].key]
            assert batch == same[: len(batch)]  # first come, first run
            for each in batch:
                self.waiting.remove(each)
            self.batches.append(batch)

    @precondition(lambda self: self.batches)
    @rule(seconds=st.floats(0, 2))
    def a_run_ends(self, seconds: float) -> None:
        self.queue.done(sum(each.rows for each in self.batches.pop()), seconds)

    @invariant()
    def nothing_is_lost_or_counted_twice(self) -> None:
        assert sorted(map(id, self.queue)) == sorted(map(id, self.waiting))
        assert self.queue.rows == self.queue.size == sum(each.rows for each in self.waiting)
        assert self.queue.running == len(self.batches) <= 2


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
