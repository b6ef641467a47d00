"""What a run writes down about itself, ``run.json`` and ``data.csv``, so that two runs can be compared."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch

from toolkit.config.schema import CommonConfig
from toolkit.data.fingerprint import fingerprint, write_fingerprint
from toolkit.data.table import Table
from toolkit.training.device import device_name
from toolkit.training.precision import Measured
from toolkit.training.run_folder import BEST, DATA, LAST, RECORD, SOFTENED, Run, now, write_json
from toolkit.training.start_weights import read_tensors
from toolkit.training.weights import network_weights, read_checkpoint, weights_sha256


@contextlib.contextmanager
def recorded(
    run: Run, config: CommonConfig, table: Table[Any], measured: Measured | None = None, processes: int = 1
) -> Iterator[None]:
    """Write the run's record before the block, and how it ended after it, unless the block raised.

    So many ``processes`` train together; ``measured`` is why the precision was chosen, where that was left to the
    toolkit. A run that goes on after a stop keeps that and the time of its first start, and adds each later one. Raises
    ``UserError`` where the start weights are not there.
    """
    path = run.path / RECORD
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    record = {
        "started": before.get("started", now()),
        "resumed": [*before["resumed"], now()] if before else [],
        "ended": None,
        "seed": config.seed,
        "device": device_name(config.train.device),
        "threads": config.train.threads or torch.get_num_threads(),
        "processes": processes,
        "precision": asdict(measured) if measured else before.get("precision"),
        "classes": list(table.class_names),
        "start_weights": weights_sha256(read_tensors(config.model.init)) if config.model.init else None,
    }
    write_json(path, record)
    write_fingerprint(run.path / DATA, fingerprint(table))
    yield
    weights = checkpoint_hashes(run)
    steps = max(each["steps"] for each in weights.values())
    write_json(path, record | {"ended": now(), "epochs": run.epochs, "steps": steps, "weights": weights})


def checkpoint_hashes(run: Run) -> dict[str, dict[str, Any]]:
    """Of each checkpoint that is there, best, last and softened: the steps taken and the weights' SHA-256."""
    found = {}
    for name, file in (("best", BEST), ("last", LAST), ("softened", SOFTENED)):
        if (run.path / file).is_file():
            checkpoint = read_checkpoint(run.path / file)
            found[name] = {"steps": checkpoint["global_step"], "sha256": weights_sha256(network_weights(checkpoint))}
    return found
