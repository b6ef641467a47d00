"""What is told of the time that answers take; how long they take is no test's matter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_bundle import WARM, flat_png
from typer.testing import CliRunner

from toolkit.cli.main import app
from toolkit.inference import load
from toolkit.inference.model import Model
from toolkit.inference.speed import Speed, time_answers, told, told_machine


def speed(**changes: object) -> Speed:
    whole = {"fp32": {"answer": (10.0, 12.0, 15.0)}, "int8": {"answer": (5.0, 6.0, 9.0)}}
    fields = {"answers": 60, "pictures": 8, "cores": 2, "threads": 2, "device": "cpu", "onnxruntime": "1.2.3"}
    return Speed(**{**fields, "milliseconds": whole, **changes})  # type: ignore[arg-type]


def test_in_words() -> None:
    assert told(speed().to_dict(), "fp32") == "12.0 ms (half of the answers 10.0 to 15.0)"
    assert speed().gain("int8", over="fp32") == 2
    assert told_machine(speed().to_dict()) == "2 threads on 2 cores, onnxruntime 1.2.3"
    alone = speed(threads=1, cores=1, device="cuda").to_dict()
    assert told_machine(alone) == "1 thread on 1 core beside cuda, onnxruntime 1.2.3"


def test_quartiles_of_answers_in_turn(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that says 1, 2, 3 ... ms for the answers of one model and 100 ms for the other's, after warming up."""
    now = 0.0
    monkeypatch.setattr("toolkit.inference.speed.time", SimpleNamespace(perf_counter=lambda: now))
    asked: list[str] = []

    def answering(name: str, takes: Iterator[float]) -> Model:
        model = load(tiny_bundle, "cpu", threads=1)
        real = model.predict_one

        def predict_one(content: bytes, **rest: object) -> object:
            nonlocal now
            asked.append(name)
            now += next(takes) / 1e3
            return real(content, **rest)  # type: ignore[arg-type]

        model.predict_one = predict_one  # type: ignore[assignment,method-assign]
        return model

    models = {
        "a": answering("a", iter([1000.0] * 5 + [1.0, 2.0, 3.0, 4.0, 5.0])),
        "b": answering("b", iter([100.0] * 10)),
    }
    found = time_answers(models, [flat_png(WARM)], answers=5)
    assert asked == ["a", "b"] * 10
    assert found.milliseconds["a"]["answer"] == pytest.approx((2, 3, 4))
    assert found.milliseconds["b"]["answer"] == pytest.approx((100, 100, 100))
    assert found.gain("a", over="b") == pytest.approx(100 / 3)
    assert (found.answers, found.pictures, found.threads) == (5, 1, 1)
    assert set(found.milliseconds["a"]) == {"answer", "decode", "preprocess", "network", "postprocess"}


def test_the_command(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "warm.png").write_bytes(flat_png(WARM))
    run = ["benchmark", "predict", str(tiny_bundle), "--answers", "4"]
    done = CliRunner().invoke(app, [*run, str(tmp_path / "warm.png"), "--threads", "1", "--json"])
    found = json.loads(done.stdout)
    assert (found["answers"], found["pictures"], found["threads"]) == (4, 1, 1)
    for low, median, high in found["milliseconds"]["fp32"].values():
        assert 0 <= low <= median <= high
    done = CliRunner().invoke(app, run)  # the golden pictures, of which it has two
    assert "tiny 1.0.0: 4 answers on 2 pictures, one at a time" in done.stdout
