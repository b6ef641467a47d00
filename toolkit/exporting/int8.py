"""Whether a bundle gets an int8 network beside its fp32 one: only where that is faster here and no class suffers.

The schemes of `quantize` are tried in turn, and the first that passes is kept. Every one that was tried, with its
figures, stands in ``parity.json``, and what came of it in a sentence in ``bundle.yaml`` and the card.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolkit.config.schema import ExportConfig
from toolkit.data.table import Progress, Table
from toolkit.evaluation.task import evaluation_task
from toolkit.exporting.draft import Draft
from toolkit.exporting.quantize import SCHEMES, Scheme, quantize
from toolkit.inference.model import Model
from toolkit.inference.speed import time_answers

log = logging.getLogger("toolkit")

LARGEST_LOSS = 0.005  # of a class's number: half a point
LEAST_GAIN = 1.05  # a gain of less may be the noise of the machine
FITTED_TO = 48  # pictures, spread over the split
TIMED = 8  # pictures

Numbers = dict[str, float | None]


@dataclass(frozen=True)
class Trial:
    """What came of one scheme; ``losses`` (fp32's number less int8's, by class) are None where it is not faster."""

    scheme: str
    gain: float
    int8: Numbers | None = None
    losses: Numbers | None = None

    @property
    def worst(self) -> tuple[str, float]:
        """The class that loses most, and how much."""
        known = {name: loss for name, loss in (self.losses or {}).items() if loss is not None}
        name = max(known, key=lambda name: known[name])
        return name, known[name]

    @property
    def passed(self) -> bool:
        return self.losses is not None and self.worst[1] <= LARGEST_LOSS


def try_int8(draft: Draft, table: Table[Any], asked: ExportConfig, progress: Progress | None = None) -> dict[str, Any]:
    """Quantize the draft's network and judge it by the pictures of ``table``; the draft keeps it, or says why not.

    Returns what ``parity.json`` tells of it.
    """
    fp32 = draft.open("fp32")
    task = evaluation_task(fp32.spec.task)
    network = fp32.bundle.network_bytes("fp32")
    numbers = numbers_of(fp32, table, progress)
    trials: list[Trial] = []
    kept: bytes | None = None
    for scheme in SCHEMES:
        log.info("int8: %s", scheme.name)
        candidate = quantize(network, scheme, lambda: _inputs(fp32, table), fp32.spec.network.input)
        trials.append(
            judge(fp32, draft.with_int8("a candidate", candidate).open("int8"), table, scheme, numbers, progress)
        )
        if trials[-1].passed:
            kept = candidate
            break
    megabytes = (len(network) + len(kept)) / 1e6 if kept else 0.0
    too_large = asked.max_megabytes is not None and megabytes > asked.max_megabytes
    sentence = tell(trials, task.class_number, megabytes if too_large else None, asked.max_megabytes)
    log.info("int8: %s", sentence)
    record = {
        "kept": kept is not None and not too_large,
        "told": sentence,
        "number": task.class_number,
        "largest_loss": LARGEST_LOSS,
        "least_gain": LEAST_GAIN,
        "fp32": numbers,
        "tried": [
            {"scheme": trial.scheme, "times_as_fast": round(trial.gain, 3), "int8": trial.int8, "loss": trial.losses}
            for trial in trials
        ],
    }
    settled = draft.with_int8(sentence, None if too_large else kept)
    draft.spec, draft.files = settled.spec, settled.files
    return record


def judge(
    fp32: Model, int8: Model, table: Table[Any], scheme: Scheme, numbers: Numbers, progress: Progress | None = None
) -> Trial:
    """Time both, and where int8 is faster measure it too; ``numbers`` are fp32's."""
    gain = time_answers({"fp32": fp32, "int8": int8}, some_pictures(table)).gain("int8", over="fp32")
    if gain < LEAST_GAIN:
        return Trial(scheme.name, gain)
    found = numbers_of(int8, table, progress)
    return Trial(scheme.name, gain, found, losses(numbers, found))


def numbers_of(model: Model, table: Table[Any], progress: Progress | None = None) -> Numbers:
    """The number of each class that the guard looks at."""
    task = evaluation_task(model.spec.task)
    return task.class_numbers(task.measure(model, table, task.predict_all(model, table, progress)))


def losses(fp32: Numbers, int8: Numbers) -> Numbers:
    """How much less int8 has, by class; None of a class that the pictures do not have."""
    found: Numbers = {}
    for name, before in fp32.items():
        after = int8[name]
        found[name] = None if before is None or after is None else before - after
    return found


def tell(trials: list[Trial], number: str, megabytes: float | None, most: float | None) -> str:
    """What came of it in a sentence; ``megabytes`` of both networks where they are more than the ``most`` allowed."""
    last = trials[-1]
    if last.passed:
        name, loss = last.worst
        lost = f"{name} loses most, {100 * loss:.1f} points of {number}" if loss > 0 else f"no class loses any {number}"
        good = f"int8 ({last.scheme}) is {last.gain:.1f} times as fast as fp32 and {lost}"
        return good if megabytes is None else (
            f"fp32 ships alone: {good}, but both networks take {megabytes:.1f} MB and export.max_megabytes is {most:g}"
        )  # fmt: skip
    faster = [trial for trial in trials if trial.losses is not None]
    if not faster:
        best = max(trials, key=lambda trial: trial.gain)
        return f"fp32 ships alone: int8 was tried and is {best.gain:.2f} times as fast, not {LEAST_GAIN:g}"
    best = min(faster, key=lambda trial: trial.worst[1])
    name, loss = best.worst
    return (
        f"fp32 ships alone: int8 was tried and is {best.gain:.1f} times as fast, but {name} loses"
        f" {100 * loss:.1f} points of {number} ({100 * LARGEST_LOSS:g} are allowed)"
    )


def some_pictures(table: Table[Any]) -> list[bytes]:
    """A few files of the table, from all over it, to time answers with."""
    return [sample.path.read_bytes() for sample in _spread(table, TIMED)]


def _spread(table: Table[Any], most: int) -> list[Any]:
    return list(table.samples[:: max(1, len(table) // most)][:most])


def _inputs(model: Model, table: Table[Any]) -> Iterator[NDArray[np.float32]]:
    for sample in _spread(table, FITTED_TO):
        yield model.preprocess([model.decode(sample.path)()])[0]
