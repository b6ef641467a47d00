"""The metrics, read back by the reader of Prometheus's own client."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import onnxruntime
import pytest
from live_service import GatedModel, live, wait_for
from prometheus_client.parser import text_string_to_metric_families
from tiny_bundle import WARM, flat_png

import toolkit
from serve import Settings, create_app

PICTURE = flat_png(WARM)
STAGES = ("decode", "preprocess", "network", "postprocess")


class Read:
    """The samples of `/metrics` at one moment."""

    def __init__(self, client: httpx.Client) -> None:
        answer = client.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        self.samples = [each for family in text_string_to_metric_families(answer.text) for each in family.samples]

    def __call__(self, name: str, **labels: str) -> float:
        """The sum of the samples with this name and, among others, these labels."""
        found = [s.value for s in self.samples if s.name == f"toolkit_{name}" and labels.items() <= s.labels.items()]
        return sum(found)

    def labels(self, name: str) -> list[dict[str, str]]:
        return [each.labels for each in self.samples if each.name == f"toolkit_{name}"]


def test_requests_are_counted_by_model_dialect_and_code(tiny_bundle: Path) -> None:
    with live(create_app(GatedModel(tiny_bundle))) as client:
        before = Read(client)
        for _ in range(3):
            client.post("/predict", content=PICTURE)
        client.post("/predict", content=b"no picture")
        client.post("/predict?score_treshold=1", content=PICTURE)
        for path in ("/a", "/b", "/c%0Ad"):  # strangers' paths make no new series
            client.get(path)
        after = Read(client)
    counted = {
        (code, dialect, model): after("requests_total", code=code, dialect=dialect, model=model)
        - before("requests_total", code=code, dialect=dialect, model=model)
        for code, dialect, model in (
            ("200", "prediction", "tiny"),
            ("400", "prediction", "tiny"),
            ("422", "prediction", "tiny"),
            ("404", "none", ""),
        )
    }
    assert list(counted.values()) == [3, 1, 1, 3], counted
    assert after("request_seconds_count", dialect="prediction") == 5
    assert 0 < after("request_seconds_sum", dialect="prediction") < 60
    dialects = {each["dialect"] for each in after.labels("requests_total")}
    assert dialects == {"prediction", "none", "health", "operations"}


def test_stages_and_batches_of_each_picture_are_counted(tiny_bundle: Path) -> None:
    with live(create_app(GatedModel(tiny_bundle))) as client:
        for _ in range(3):
            timing = client.post("/predict", content=PICTURE).json()["timing"]
        read = Read(client)
    assert [read("stage_seconds_count", stage=stage, model="tiny") for stage in STAGES] == [3] * 4
    for stage in STAGES:
        assert read("stage_seconds_sum", stage=stage) >= timing[stage] / 1e3 * 0.999  # rounded in the answer
    assert read("batch_pictures_sum", model="tiny") == 3  # however they were batched


def test_what_waits_runs_and_is_held_shows_while_it_does(tiny_bundle: Path) -> None:
    model = GatedModel(tiny_bundle)
    with live(create_app(model, Settings(workers=1, waiting=2))) as client, ThreadPoolExecutor(3) as threads:
        model.gate.clear()
        answers = [threads.submit(client.post, "/predict", content=PICTURE) for _ in range(3)]
        wait_for(lambda: Read(client)("queue_pictures") == 2)
        refused = client.post("/predict", content=PICTURE)
        full = Read(client)  # although all threads are held
        model.gate.set()
        assert [each.result().status_code for each in answers] == [200] * 3
        wait_for(lambda: Read(client)("queue_pictures") == 0)
        empty = Read(client)
    assert refused.status_code == 429
    names = ("queue_pictures", "running_pictures", "queue_limit_pictures", "held_bytes", "ready")
    assert [full(name) for name in names] == [2, 1, 2, 3 * len(PICTURE), 1]
    assert [empty(name) for name in names] == [0, 0, 2, 0, 1]
    assert full("turned_away_total", model="tiny", why="rejected") == 1


def test_it_says_what_is_served_and_what_is_installed(tiny_bundle: Path) -> None:
    model = GatedModel(tiny_bundle)
    model.gate.clear()
    with live(create_app(model), wait_until_ready=False) as client:
        read = Read(client)
        model.gate.set()
    assert read("ready") == 0
    assert read.labels("model_info") == [
        {"model": "tiny", "version": "1.0.0", "task": "detection", "device": "cpu"}
    ]  # fmt: skip
    (build,) = read.labels("build_info")
    assert (build["version"], build["onnxruntime"]) == (toolkit.__version__, onnxruntime.__version__)


@pytest.mark.parametrize("name", ["process_resident_memory_bytes", "process_open_fds"])
def test_the_process_is_watched_too(tiny_bundle: Path, name: str) -> None:
    with live(create_app(GatedModel(tiny_bundle))) as client:
        assert f"\n{name} " in client.get("/metrics").text
