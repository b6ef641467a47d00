"""How the numbers move when the pictures are changed in named ways: another scanner, a noisier camera, a closer crop.

A change is a list of albumentations' transforms, as augmentation has them; what is labelled moves along where they move
the picture. It needs albumentations, of the ``[train]`` extra; nothing else of measuring does.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from toolkit import images
from toolkit.data.table import Progress, Table
from toolkit.errors import UserError
from toolkit.evaluation.as_one import numbers_of_all
from toolkit.evaluation.evaluate import Measured, measure
from toolkit.evaluation.sections import Row, Section, number
from toolkit.evaluation.task import Evaluation, evaluation_task
from toolkit.inference.model import Model

SEED = 0

Transforms = Sequence[Mapping[str, Mapping[str, Any]]]


def measure_changes(model: Model, measured: Measured, progress: Progress | None = None) -> Measured:
    """What was measured, with ``changes`` in its metrics: by name of each of the bundle's ``measures.changes`` the
    numbers that are told of a source, their intervals, and by how much they differ from the unchanged pictures'.

    What a transform draws depends on a fixed seed and the picture's name. Raises ``UserError`` where the bundle names
    no changes, and for transforms that albumentations does not have.
    """
    changes = model.spec.measures.changes
    if not changes:
        raise UserError(
            f"--changes: {model.name} names no changes; name some with 'measures.changes={{noise: [{{GaussNoise:"
            " {p: 1}}]}', or with --config a config that has them"
        )
    task, split = evaluation_task(model.spec.task), measured.metrics["data"]["split"]
    plain = numbers_of_all(task, model, measured.table, measured.predictions)
    told: dict[str, Any] = {"unchanged": plain, "seed": SEED, "each": {}}
    for name, transforms in changes.items():
        with TemporaryDirectory() as folder:
            table = changed_table(task, measured.table, transforms, Path(folder), f"measures.changes.{name}")
            numbers = numbers_of_all(task, model, table, measure(model, table, split, progress).predictions)
        told["each"][name] = {
            key: {**cell, "difference": _difference(cell["value"], plain[key]["value"])}
            for key, cell in numbers.items()
        }
    return replace(measured, metrics={**measured.metrics, "changes": told})


def changed_table(task: Evaluation, table: Table[Any], transforms: Transforms, folder: Path, where: str) -> Table[Any]:
    """The pictures and labels of ``table`` changed, written into ``folder``; errors call the transforms ``where``."""
    from toolkit.training.augment import Albumentations

    pipeline = Albumentations(transforms, boxes=task.has_boxes, where=where)
    samples = []
    for index, sample in enumerate(table.samples):
        image, labels = images.decode(sample.path), task.labels_of(sample)
        done = pipeline(zlib.crc32(f"{SEED}/{sample.name}".encode()) % 2**31, image=image, **labels)
        path = folder / f"{index}.png"
        images.write(path, done["image"])
        size = (done["image"].shape[0], done["image"].shape[1])
        samples.append(task.relabelled(replace(sample, path=path, size=size, digest=""), done))
    return Table(table.class_names, tuple(samples))


def _difference(value: float | None, plain: float | None) -> float | None:
    return None if value is None or plain is None else value - plain


def changes_section(metrics: Mapping[str, Any]) -> list[Section]:
    """A row a change, each number with its difference to the unchanged; none where nothing was changed."""
    block = metrics.get("changes")
    if block is None:
        return []
    rows: list[Row] = [("unchanged", tuple(number(cell["value"]) for cell in block["unchanged"].values()))]
    for name, cells in block["each"].items():
        rows.append((name, tuple(_told(cell) for cell in cells.values())))
    return [Section("pictures changed", tuple(block["unchanged"]), tuple(rows))]


def _told(cell: Mapping[str, Any]) -> str:
    """Such as ``0.701 (-0.020)``."""
    difference = cell["difference"]
    return number(cell["value"]) + ("" if difference is None else f" ({difference:+.3f})")
