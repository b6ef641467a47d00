"""The door that every dialect uses: pictures in, results or raw outputs out, and whoever asks may stop waiting."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_service import GatedModel
from starlette.requests import Request
from tiny_bundle import COLD, COLOURS, SIDE, WARM, expected_probabilities, flat, flat_png, make_tiny_classifier

from serve.arrival import Leaving
from serve.body import Upload
from serve.caller import Caller
from serve.errors import RequestError
from serve.service import Service
from serve.settings import Settings
from toolkit.errors import PictureError
from toolkit.inference import Model, load


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(make_tiny_classifier(tmp_path_factory.mktemp("classifier") / "b"), "cpu", threads=1)


def soon(seconds: float = 20.0, gone: Callable[[], Awaitable[None]] | None = None) -> Caller:
    return Caller(time.monotonic() + seconds, gone)


def with_service(model: Model, scenario: Callable[[Service], Awaitable[None]], **settings: Any) -> None:
    async def run() -> None:
        service = Service([model], Settings(**settings))
        await service.check()
        try:
            await scenario(service)
        finally:
            service.close()

    asyncio.run(run())


def test_every_picture_of_a_request_has_its_own_answer_or_fault(classifier: Model) -> None:
    async def scenario(service: Service) -> None:
        pictures = [
            Upload(flat_png(WARM), "warm.png"),
            Upload(b"text", "notes.txt"),
            flat(COLD),
            lambda: Upload(flat_png((0, 200, 0)), "lazily.png"),
        ] * 5
        answers = await service.default.results(pictures, soon(), lambda result: (result.source, result.label))
        assert answers[0::4] == [("warm.png", "red")] * 5
        assert all(isinstance(each, PictureError) and "notes.txt" in str(each) for each in answers[1::4])
        assert [label for _, label in answers[2::4]] == ["blue"] * 5
        assert answers[3::4] == [("lazily.png", "green")] * 5

    with_service(classifier, scenario, workers=2, waiting=3)


def test_options_hold_for_one_request_and_wrong_ones_are_refused_before_any_work(classifier: Model) -> None:
    async def scenario(service: Service) -> None:
        options = {"top_k": 2}
        answer = await service.default.result(flat(WARM), soon(), lambda found: found.to_dict(), options=options)
        assert len(answer["top"]) == 2
        for wrong in ({"top_k": 0}, {"score_threshold": 0.5}):
            with pytest.raises(RequestError) as refused:
                await service.default.result(flat(WARM), soon(), str, options=wrong)
            assert refused.value.status == 422

    with_service(classifier, scenario)


def test_raw_outputs_by_name_are_the_networks_own(classifier: Model) -> None:
    async def scenario(service: Service) -> None:
        served = service.default
        assert (served.input_name, served.input_shape) == ("images", (3, SIDE, SIDE))
        batch = classifier.preprocess([flat(WARM), flat(COLD)])[0]
        raw = await served.tensors(batch, soon())
        assert {name: each.shape for name, each in raw.items()} == {"raw": (2, 3), "class_map": (2, 3, 8, 8)}
        powers = np.exp(raw["raw"].astype(float))
        expected = [expected_probabilities(colour) for colour in (WARM, COLD)]
        np.testing.assert_allclose(powers / powers.sum(axis=1, keepdims=True), expected, atol=1e-5)
        assert set(await served.tensors(batch, soon(), outputs=["class_map"])) == {"class_map"}
        assert len(COLOURS) == raw["raw"].shape[1]

    with_service(classifier, scenario)


@pytest.mark.parametrize(
    ("batch", "outputs", "sentence"),
    [
        (np.zeros((1, 3, 64, 65), np.float32), None, "expected float32 ['batch', 3, 64, 64], got float32 [1, 3, 64"),
        (np.zeros((0, 3, 64, 64), np.float32), None, "got float32 [0, 3, 64, 64]"),
        (np.zeros((3, 64, 64), np.float32), None, "got float32 [3, 64, 64]"),
        (np.zeros((1, 3, 64, 64), np.float64), None, "got float64 [1, 3, 64, 64]"),
        (np.zeros((1, 3, 64, 64), np.float32), ["row"], "output 'row' is unknown; known are raw, class_map"),
    ],
)
def test_an_input_that_is_not_the_networks_is_a_400(
    classifier: Model, batch: Any, outputs: list[str] | None, sentence: str
) -> None:
    async def scenario(service: Service) -> None:
        with pytest.raises(RequestError) as refused:
            await service.default.tensors(batch, soon(), outputs=outputs)
        assert (refused.value.status, sentence in refused.value.sentence) == (400, True)

    with_service(classifier, scenario)


def test_a_model_is_found_by_its_name_and_version_only(classifier: Model) -> None:
    async def scenario(service: Service) -> None:
        for name, version in ((None, None), ("tiny", None), ("tiny", "1.0.0")):
            assert service.find(name, version) is service.default
        for name, version, sentence in (
            ("tinny", None, "no model 'tinny' is served here; did you mean 'tiny'?"),
            ("../tiny", None, "no model '../tiny' is served here"),
            ("tiny", "2", "model tiny is served in version 1.0.0, not '2'"),
        ):
            with pytest.raises(RequestError) as refused:
                service.find(name, version)
            assert (refused.value.status, sentence in refused.value.sentence) == (404, True)

    with_service(classifier, scenario)


def test_a_deadline_that_passes_is_a_504_and_a_client_that_leaves_ends_its_work(tiny_bundle: Path) -> None:
    model = GatedModel(tiny_bundle)

    async def scenario(service: Service) -> None:
        async def leaves() -> None:
            await asyncio.sleep(0.05)

        threads = threading.active_count()
        told, gone = Leaving(), Leaving()
        asyncio.get_running_loop().call_later(0.05, told.now)
        gone.now()  # before anybody waits
        by_server = [(Caller(time.monotonic() + 20, leaving=each), 499) for each in (told, gone)]
        for caller, status in ((soon(0.05), 504), (soon(20, leaves), 499), *by_server):
            model.gate.clear()
            with pytest.raises(RequestError) as ended:
                await service.default.result(flat(WARM), caller, str)
            assert ended.value.status == status
            model.gate.set()
        assert threading.active_count() <= threads

    with_service(model, scenario)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, 30.0), ("1", 0.001), ("2500", 2.5), ("600000", 600.0)]
    + [(wrong, None) for wrong in ("0", "600001", "-5", "1.5", "1e3", "", "soon", "٣", "9" * 5000)],
)
def test_the_deadline_is_read_from_the_header(header: str | None, seconds: float | None) -> None:
    headers = [] if header is None else [(b"x-request-timeout-ms", header.encode())]
    request = Request({"type": "http", "headers": headers})
    if seconds is None:
        with pytest.raises(RequestError, match="X-Request-Timeout-Ms: expected milliseconds from 1 to 600000") as wrong:
            Caller.of(request, 30.0)
        assert wrong.value.status == 400
    else:
        assert Caller.of(request, 30.0).deadline - time.monotonic() == pytest.approx(seconds, abs=0.05)
