"""How much is taken in, and what is said to those for whom there is no room or no time."""

from __future__ import annotations

import time
from contextlib import nullcontext

import pytest

from serve.errors import RequestError
from serve.room import Coming, Lag, Room


def filled(places: int, seconds: float) -> Room:
    room = Room(runs=2, waiting=3)
    for _ in range(places):
        room.enter(seconds)
    return room


# Each row: places taken with work of so many seconds each, work of so many seconds comes with so much time left.
DECISIONS = [
    (0, 1.0, 9.0, 0.1, ""),  # nothing waits: it is tried, however little time there is
    (1, 1.0, 9.0, 0.1, ""),
    (2, 1.0, 0.5, 1.5, ""),  # one second until a run is free
    (2, 1.0, 0.5, 1.49, "the answer would take about 1.5 s, longer than the request allows"),
    (4, 2.0, 1.0, 60.0, ""),
    (5, 0.0, 0.0, 60.0, "the service is busy; try again later"),  # full
]


@pytest.mark.parametrize(("places", "seconds", "own", "left", "sentence"), DECISIONS)
def test_who_is_let_in(places: int, seconds: float, own: float, left: float, sentence: str) -> None:
    room = filled(places, seconds)
    if not sentence:
        room.require(own, left)
        return
    with pytest.raises(RequestError) as refused:
        room.require(own, left)
    assert (refused.value.status, refused.value.sentence) == (429, sentence)


def test_places_that_others_are_about_to_take_are_left_free() -> None:
    room = filled(3, 0.0)
    room.require(besides=1)
    with pytest.raises(RequestError, match="the service is busy"):
        room.require(besides=2)


# Each row: places taken with a second each, the event loop's delay, so much time left for work of half a second.
DELAYED = [(0, 0.4, 0.3, True), (0, 0.4, 0.6, False), (2, 0.4, 1.7, True), (2, 0.4, 2.1, False), (0, 0.0, -0.1, True)]


@pytest.mark.parametrize(("places", "delay", "left", "refused"), DELAYED)
def test_what_the_event_loop_will_delay_is_counted(places: int, delay: float, left: float, refused: bool) -> None:
    room = filled(places, 1.0)
    room.lag.saw(delay)
    room.lag.saw(delay / 2)  # the worst counts
    with pytest.raises(RequestError, match="longer than the request allows") if refused else nullcontext():
        room.require(0.5, left)


def test_a_delay_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    lag = Lag()
    assert lag.seconds() == 0
    lag.saw(0.8)
    now += 1.0
    assert lag.seconds() == pytest.approx(0.2)
    lag.saw(0.1)
    assert lag.seconds() == pytest.approx(0.2)


def test_who_comes_is_counted_until_there_or_until_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    coming, scopes = Coming(), [{"state": {}} for _ in range(4)]
    for scope in scopes[:2]:
        coming.enter(scope)
    now += 0.06
    for scope in scopes[2:]:
        coming.enter(scope)
    assert len(coming) == 4
    coming.leave(scopes[3])
    coming.leave(scopes[3])  # it may be told twice
    coming.leave({})  # and of those that never were
    assert len(coming) == 3
    now += 0.06
    assert len(coming) == 1
    coming.leave(scopes[0])
    assert len(coming) == 1


@pytest.mark.parametrize(("seconds", "retry"), [(0.0, "1"), (1.0, "3"), (2.2, "6")])
def test_the_advised_wait_grows_with_the_work_inside(seconds: float, retry: str) -> None:
    with pytest.raises(RequestError) as refused:
        filled(5, seconds).require()
    assert refused.value.headers == {"Retry-After": retry}


def test_a_place_is_free_when_its_last_holder_has_left() -> None:
    room = Room(runs=1, waiting=0)
    place = room.enter(1.0)
    place.hold()
    place.leave()
    assert (room.free, room.wait) == (0, 1.0)
    place.leave()
    assert (room.free, room.wait) == (1, 0.0)


@pytest.mark.parametrize(("runs", "waiting"), [(0, 1), (1, -1)])
def test_sizes_that_make_no_room_are_refused(runs: int, waiting: int) -> None:
    with pytest.raises(ValueError, match="runs >= 1 and waiting >= 0"):
        Room(runs, waiting)
