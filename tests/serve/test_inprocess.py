"""The in-process client gives what a socket gives, without one."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from bundle_variants import spoilt
from live_service import live
from tiny_bundle import flat_png

from serve import InProcessClient, create_app
from serve.inprocess import predict_bytes
from toolkit.inference import load

PICTURE = flat_png((200, 60, 40), (40, 90))


def test_it_answers_what_a_real_server_answers(tiny_bundle: Path) -> None:
    model = load(tiny_bundle, "cpu", threads=1)
    with live(create_app(model)) as outside, InProcessClient(create_app(model)) as inside:
        for query in ("", "score_threshold=0.999"):
            expected = outside.post(f"/predict?{query}", content=PICTURE).json()
            found = inside.predict(PICTURE, "image/png", query)
            assert found.pop("timing").keys() == expected.pop("timing").keys()
            assert found == expected
        drawn = outside.post("/predict", content=PICTURE, headers={"Accept": "image/png"})
        reply = inside.request("POST", "/predict", PICTURE, {"Accept": "image/png"})
        assert (reply.status, reply.headers["content-type"]) == (200, "image/png")
        assert reply.content == drawn.content
        assert inside.request("GET", "/health/ready").json() == {"status": "ready"}


def test_one_picture_in_one_call_also_inside_a_running_loop(tiny_bundle: Path) -> None:
    model = load(tiny_bundle, "cpu", threads=1)

    async def notebook() -> list[str]:
        return predict_bytes(create_app(model), PICTURE)["labels"]  # type: ignore[no-any-return]

    assert asyncio.run(notebook()) == predict_bytes(create_app(model), PICTURE, "image/png")["labels"] == ["warm"]


def test_an_error_comes_out_with_the_service_s_sentence(tiny_bundle: Path) -> None:
    with (
        InProcessClient(create_app(load(tiny_bundle, "cpu", threads=1))) as client,
        pytest.raises(RuntimeError, match=r"/predict answered 400: .*is not a picture"),
    ):
        client.predict(b"text")


def test_a_service_that_fails_its_check_says_so_instead_of_hanging(tmp_path: Path) -> None:
    with (
        InProcessClient(create_app(load(spoilt(tmp_path), "cpu", threads=1))) as client,
        pytest.raises(RuntimeError, match=r"/predict answered 503: .*the start-up check failed"),
    ):
        client.predict(PICTURE)


def test_it_leaves_no_thread_behind(tiny_bundle: Path) -> None:
    model = load(tiny_bundle, "cpu", threads=1)
    before = set(threading.enumerate())
    for _ in range(3):
        predict_bytes(create_app(model), PICTURE)
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    assert set(threading.enumerate()) <= before


def test_it_stops_where_its_caller_fails(tiny_bundle: Path) -> None:
    with (
        pytest.raises(ValueError, match=r"^the caller's$"),
        InProcessClient(create_app(load(tiny_bundle, "cpu", threads=1))) as client,
    ):
        raise ValueError("the caller's")
    assert client._loop.is_closed()
    assert not asyncio.all_tasks(client._loop)
    assert not client._thread.is_alive()
