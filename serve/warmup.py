"""What happens to a model before it is asked by anyone: its first answers are checked, and its runs are timed."""

from __future__ import annotations

import logging
import time

import numpy as np

from serve.batching import LEAST_GAIN, RunTime
from serve.settings import Settings
from toolkit.errors import UserError
from toolkit.inference import Model, check_golden

log = logging.getLogger("serve")

# Timing stops to grow the batch once it has taken this long: a slow network shows its line early.
_ENOUGH_SECONDS = 2.0


def grey(model: Model, rows: int = 1) -> np.ndarray:
    """An input of the network that harms nobody: grey pictures."""
    height, width = model.spec.preprocessing.input_size
    row = model.preprocess([np.full((height, width, 3), 127, np.uint8)])[0]
    return np.repeat(row, rows, axis=0)


def faults(model: Model) -> list[str]:
    """What is wrong with the model's first answers, one sentence each; an empty list is good.

    The grey picture is for bundles without golden ones: it makes kernels and buffers, so that nobody waits for them.
    """
    try:
        height, width = model.spec.preprocessing.input_size
        model.run_batch([np.full((height, width, 3), 127, np.uint8)])[0].to_dict()
        return check_golden(model)
    except UserError as error:
        return [str(error)]
    except Exception:
        log.exception("the start-up check could not be run")
        return ["it could not be run, the log has the reason"]


def measured(model: Model, settings: Settings) -> RunTime:
    """How long runs of 1, 2, 4 ... pictures take here, the better of two of each.

    It ends early where two or more at once gain nothing: larger runs would only leave their memory behind.
    """
    samples, begun, rows = [], time.perf_counter(), 1
    while rows <= (settings.max_batch if settings.batching != "off" else 1):
        batch = grey(model, rows)
        samples.append((rows, min(_timed(model, batch) for _ in range(2))))
        slow = time.perf_counter() - begun > _ENOUGH_SECONDS
        if slow or (rows > 1 and not pays(RunTime(samples), settings)):
            break
        rows *= 2
    return RunTime(samples)


def pays(run_time: RunTime, settings: Settings) -> bool:
    """Whether pictures shall run together: as the settings say, or where it gains enough."""
    if settings.batching != "auto":
        return settings.batching == "on"
    return run_time.gain(settings.max_batch) >= LEAST_GAIN


def _timed(model: Model, batch: np.ndarray) -> float:
    begun = time.perf_counter()
    model.network(batch)
    return time.perf_counter() - begun
