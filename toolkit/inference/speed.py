"""How long an answer takes on this machine: from an encoded picture to the result, one picture at a time.

Several models are timed in turn, answer by answer, so that whatever else the machine does slows all of them alike.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.inference.engine import usable_cores
from toolkit.inference.model import Model

WHOLE = "answer"
ANSWERS = 60  # of each model; the quartiles of 60 lie within a few percent of those of many more
_FIRST = 5  # answers of each model that are not counted: buffers are made and caches filled

Quartiles = tuple[float, float, float]


@dataclass(frozen=True)
class Speed:
    """``milliseconds`` by model and stage (`WHOLE` is all of them and what lies between): 25 %, 50 % and 75 %."""

    answers: int
    pictures: int
    cores: int
    threads: int
    device: str
    onnxruntime: str
    milliseconds: dict[str, dict[str, Quartiles]]

    def gain(self, model: str, over: str) -> float:
        """How many times as fast the one is as the other, by their medians of the whole answer."""
        return self.milliseconds[over][WHOLE][1] / self.milliseconds[model][WHOLE][1]

    def to_dict(self) -> dict[str, Any]:
        """As ``speed.json`` holds it."""
        rounded = {
            model: {stage: [round(value, 3) for value in quartiles] for stage, quartiles in stages.items()}
            for model, stages in self.milliseconds.items()
        }
        return {**vars(self), "milliseconds": rounded}


def time_answers(models: Mapping[str, Model], pictures: Sequence[bytes], answers: int = ANSWERS) -> Speed:
    """Time that many answers of each model, which must share device and threads, on encoded pictures in turn."""
    import onnxruntime

    times: dict[str, list[dict[str, float]]] = {name: [] for name in models}
    for index in range(_FIRST + answers):
        for name, model in models.items():
            started = time.perf_counter()
            result = model.predict_one(pictures[index % len(pictures)], name="picture")
            whole = (time.perf_counter() - started) * 1e3
            times[name].append({WHOLE: whole, **result.timing})
    first = next(iter(models.values()))
    return Speed(
        answers=answers,
        pictures=min(len(pictures), answers),
        cores=usable_cores(),
        threads=first.threads,
        device=first.device,
        onnxruntime=onnxruntime.__version__,
        milliseconds={name: _quartiles(found[_FIRST:]) for name, found in times.items()},
    )


def told(speed: Mapping[str, Any], model: str) -> str:
    """Such as ``11.9 ms (half of the answers 11.5 to 12.4)``, from what ``speed.json`` holds."""
    low, median, high = speed["milliseconds"][model][WHOLE]
    return f"{median:.1f} ms (half of the answers {low:.1f} to {high:.1f})"


def told_machine(speed: Mapping[str, Any]) -> str:
    """Such as ``2 threads on 2 cores, onnxruntime 1.31.1``."""
    where = "" if speed["device"] == "cpu" else f" beside {speed['device']}"
    cores, threads = (f"{speed[key]} {key[:-1] if speed[key] == 1 else key}" for key in ("cores", "threads"))
    return f"{threads} on {cores}{where}, onnxruntime {speed['onnxruntime']}"


def _quartiles(found: list[dict[str, float]]) -> dict[str, Quartiles]:
    quartiles = {}
    for stage in found[0]:
        low, median, high = np.percentile([row[stage] for row in found], (25, 50, 75)).tolist()
        quartiles[stage] = (low, median, high)
    return quartiles
