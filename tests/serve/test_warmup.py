"""What is measured before a model is asked by anyone, and the rule that follows: batching is off where it gains < 10 %.

The clock is the test's own: a network takes the time that the table says, so nothing here depends on the machine.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from serve import Settings, create_app, warmup
from serve.batching import LEAST_GAIN
from serve.warmup import measured, pays
from toolkit.bundle import Bundle
from toolkit.inference import Model


class TimedModel(Model):
    """A real model whose runs take ``fixed + per_row * rows`` seconds, and the first of each size a stall more."""

    def __init__(self, bundle: Path, fixed: float, per_row: float) -> None:
        super().__init__(Bundle.open(bundle), device="cpu", threads=1)
        self.fixed, self.per_row, self.now = fixed, per_row, 0.0
        self.rows: list[int] = []

    def network(self, batch: NDArray[np.float32], *, explain: bool = False) -> list[NDArray[np.float32]]:
        self.now += self.fixed + self.per_row * len(batch) + (0 if len(batch) in self.rows else 0.05)
        self.rows.append(len(batch))
        return super().network(batch, explain=explain)


@pytest.fixture
def timed(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> type[TimedModel]:
    class Timed(TimedModel):
        def __init__(self, fixed: float, per_row: float) -> None:
            super().__init__(tiny_bundle, fixed, per_row)
            monkeypatch.setattr(warmup, "time", SimpleNamespace(perf_counter=lambda: self.now))

    return Timed  # type: ignore[return-value]


# (fixed, per row): runs of eight do (fixed + row) * 8 / (fixed + 8 * row) as many pictures a second.
PAYS = [
    (0.0, 0.010, False),  # 1.0
    (0.001, 0.010, False),  # 8 * 11 / 81 = 1.086
    (0.0012, 0.010, True),  # 8 * 11.2 / 81.2 = 1.103
    (0.010, 0.010, True),  # 16 / 9
    (0.010, 0.0, True),  # 8
]


@pytest.mark.parametrize(("fixed", "per_row", "on"), PAYS)
def test_batching_is_on_only_where_it_gains_a_tenth(
    timed: type[TimedModel], fixed: float, per_row: float, on: bool
) -> None:
    model = timed(fixed, per_row)  # type: ignore[call-arg]
    line = measured(model, Settings(max_batch=8))
    assert model.rows == ([1, 1, 2, 2, 4, 4, 8, 8] if on else [1, 1, 2, 2])  # larger ones would only take memory
    for rows in (1, 3, 8):  # the better of two: the stall of the first is not seen
        assert line.seconds(rows) == pytest.approx(fixed + per_row * rows, abs=1e-9)
    assert (line.gain(8) >= LEAST_GAIN) is on
    assert pays(line, Settings(max_batch=8)) is on
    assert pays(line, Settings(max_batch=8, batching="on"))
    assert not pays(line, Settings(max_batch=8, batching="off"))


@pytest.mark.parametrize(("fixed", "per_row", "on"), PAYS)
def test_the_service_does_as_the_rule_says(timed: type[TimedModel], fixed: float, per_row: float, on: bool) -> None:
    service = create_app(timed(fixed, per_row), Settings(workers=2)).state.service  # type: ignore[call-arg]
    service.default.warm()
    assert service.default.batcher.queue.batching is on
    service.close()


@pytest.mark.parametrize(
    ("settings", "rows"),
    [
        (Settings(batching="off"), [1, 1]),
        (Settings(max_batch=1), [1, 1]),
        (Settings(max_batch=5), [1, 1, 2, 2, 4, 4]),
    ],
)
def test_no_more_is_measured_than_what_will_be_run(
    timed: type[TimedModel], settings: Settings, rows: list[int]
) -> None:
    model = timed(0.01, 0.01)  # type: ignore[call-arg]
    measured(model, settings)
    assert model.rows == rows


def test_a_slow_network_is_measured_no_longer_than_its_line_needs(timed: type[TimedModel]) -> None:
    model = timed(0.2, 0.5)  # type: ignore[call-arg]
    line = measured(model, Settings(max_batch=8))
    assert model.rows == [1, 1, 2, 2]  # four runs took over two seconds
    assert line.seconds(8) == pytest.approx(4.2)
