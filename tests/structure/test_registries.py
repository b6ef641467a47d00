"""The tables of what a config or a bundle can name: every entry exists, and all tables speak of the same tasks."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from toolkit.bundle_spec import AnySpec
from toolkit.config.registry import LOSSES, NETWORKS, READERS, resolve
from toolkit.config.tree import ROOT, literals, places, tags
from toolkit.data.writers import WRITERS
from toolkit.evaluation.task import TASKS as EVALUATED
from toolkit.evaluation.task import Evaluation
from toolkit.inference.task import TASKS as PREDICTED
from toolkit.inference.task import Task
from toolkit.results import Result
from toolkit.training.task import TASKS as TRAINED
from toolkit.training.task import TrainingTask

TASKS = {"detection", "classification", "segmentation"}
SPECS = {literals(spec.model_fields["task"])[0] for spec in get_args(get_args(AnySpec)[0])}


@pytest.mark.parametrize(
    "known",
    [PREDICTED, TRAINED, EVALUATED, READERS, NETWORKS, WRITERS, SPECS, tags(ROOT)],
    ids=["inference", "training", "evaluation", "readers", "networks", "writers", "bundles", "configs"],
)
def test_every_table_has_every_task(known: Any) -> None:
    assert set(known) == TASKS


@pytest.mark.parametrize("task", sorted(TASKS))
def test_a_task_has_all_its_sides(task: str) -> None:
    predicting, measuring, training = (resolve(table[task]) for table in (PREDICTED, EVALUATED, TRAINED))
    assert issubclass(predicting, Task)
    assert issubclass(predicting.result_type, Result)
    assert issubclass(measuring, Evaluation)
    assert isinstance(training, TrainingTask)
    assert len(training.numbers) >= 2  # the first chooses the checkpoint, the first two are shown


ENTRIES = [
    (key, task, name, entry)
    for key, table in (("data.format", READERS), ("model.name", NETWORKS), ("loss.kind", LOSSES))
    for task, names in table.items()
    for name, entry in names.items()
]


@pytest.mark.parametrize(("key", "task", "name", "entry"), ENTRIES)
def test_an_entry_exists_and_a_config_can_name_it(key: str, task: str, name: str, entry: str) -> None:
    assert callable(resolve(entry))
    block, field = key.split(".")
    known = [word for place in places([block]) if place.task == task for word in literals(place.fields[field])]
    assert known.count(name) == 1


@pytest.mark.parametrize(("key", "table"), [("data.format", READERS), ("model.name", NETWORKS), ("loss.kind", LOSSES)])
def test_a_config_can_name_nothing_else(key: str, table: dict[str, dict[str, str]]) -> None:
    block, field = key.split(".")
    for task, names in table.items():
        found = {word for place in places([block]) if place.task == task for word in literals(place.fields[field])}
        assert found == set(names)


def test_a_networks_name_is_of_one_task() -> None:
    names = [name for networks in NETWORKS.values() for name in networks]
    assert len(set(names)) == len(names)


def test_a_spec_of_every_task_is_told_apart_by_its_name() -> None:
    schema = TypeAdapter(AnySpec).json_schema()
    assert set(schema["discriminator"]["mapping"]) == TASKS
