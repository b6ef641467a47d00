"""The JSON Schema that editors check a config against while it is written: what it takes, what it marks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.config import as_overrides, parse_config, schema, shipped_configs
from toolkit.config.tree import all_keys
from toolkit.config.yaml_text import parse
from toolkit.errors import UserError

CONFIGS = {
    task: Path(__file__).with_name(f"{task}.yaml").read_text()
    for task in ("detection", "classification", "segmentation")
}
SCHEMA = schema()

# The keywords of draft 2020-12 that the schema is written in, each as a check of a value. Those that say nothing about
# validity stand at the end; any other keyword would be a KeyError here.
_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "integer": lambda value: _TYPES["number"](value) and value == value // 1,
}
_BOUNDS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "minimum": ("number", lambda value, limit: value >= limit),
    "exclusiveMinimum": ("number", lambda value, limit: value > limit),
    "maximum": ("number", lambda value, limit: value <= limit),
    "exclusiveMaximum": ("number", lambda value, limit: value < limit),
    "multipleOf": ("number", lambda value, limit: value % limit == 0),
    "minLength": ("string", lambda value, limit: len(value) >= limit),
    "pattern": ("string", lambda value, pattern: bool(re.search(pattern, value))),
    "minItems": ("array", lambda value, limit: len(value) >= limit),
    "maxItems": ("array", lambda value, limit: len(value) <= limit),
    "required": ("object", lambda value, names: set(names) <= set(value)),
}
_SILENT = {"title", "description", "default", "examples", "format", "discriminator", "$schema", "$defs"}
_INSIDE = {"properties", "additionalProperties", "propertyNames", "items", "prefixItems"}
_CHOICES: dict[str, Callable[[Iterator[bool]], bool]] = {
    "anyOf": any,
    "allOf": all,
    "oneOf": lambda fits: sum(fits) == 1,
}


def valid(value: Any, part: Any = SCHEMA) -> bool:
    """Return whether a value is valid under a part of the schema."""
    return part if isinstance(part, bool) else all(_holds(word, value, part) for word in part)


def _holds(word: str, value: Any, part: dict[str, Any]) -> bool:
    said = part[word]
    if word in _BOUNDS:
        kind, check = _BOUNDS[word]
        return not _TYPES[kind](value) or check(value, said)
    if word in _CHOICES:
        return _CHOICES[word](valid(value, choice) for choice in said)
    if word == "if":
        return not valid(value, said) or valid(value, part["then"])
    if word in _INSIDE:
        return all(valid(inner, rule) for inner, rule in _inside(word, value, part))
    checks: dict[str, Callable[[], bool]] = {
        "type": lambda: _TYPES[said](value),
        "const": lambda: bool(value == said),
        "enum": lambda: value in said,
        "not": lambda: not valid(value, said),
        "$ref": lambda: valid(value, SCHEMA["$defs"][said.removeprefix("#/$defs/")]),
        "then": lambda: "if" in part,
    }
    return word in _SILENT or checks[word]()


def _inside(word: str, value: Any, part: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """Yield what stands in a block or list, each with the schema that this keyword has for it."""
    said, listed = part[word], part.get("prefixItems", [])
    if isinstance(value, dict):
        known = part.get("properties", {})
        for name, inner in value.items():
            if word == "propertyNames":
                yield name, said
            elif word == ("properties" if name in known else "additionalProperties"):
                yield inner, known.get(name, said)
    if isinstance(value, list) and word in ("items", "prefixItems"):
        yield from (
            zip(value, listed, strict=False) if word == "prefixItems" else ((v, said) for v in value[len(listed) :])
        )


def data_of(text: str) -> dict[str, Any]:
    return parse(text, "x.yaml")[0]


@pytest.mark.parametrize("name", shipped_configs())
def test_shipped_configs_are_valid(name: str) -> None:
    """Also those that leave the pictures, their classes or the start weights to the command line."""
    assert valid(data_of(shipped_configs()[name].read_text(encoding="utf-8")))


@pytest.mark.parametrize("task", CONFIGS)
def test_a_config_of_each_task_is_valid_and_written_out_in_full_too(task: str) -> None:
    assert valid(data_of(CONFIGS[task]))
    assert valid(data_of(parse_config(CONFIGS[task]).to_yaml()))


# What replaces keys of a valid config (None: takes them away) -> whether an editor lets it pass.
CHANGES: list[tuple[str, dict[str, Any], bool]] = [
    ("detection", {"epochs": 5}, False),
    ("detection", {"train": {"epohcs": 5}}, False),
    ("detection", {"train": {"optimizer": {"name": "adamw", "momentum": 0.9}}}, False),  # adamw has none
    ("detection", {"train": {"optimizer": {"name": "sgd", "momentum": 0.9}}}, True),
    ("detection", {"train": {"optimizer": {"momentum": 0.9}}}, False),
    ("detection", {"train": {"epochs": 0}}, False),
    ("detection", {"train": {"epochs": "5"}}, False),
    ("detection", {"train": {"ema_decay": None}}, True),
    ("detection", {"model": {"name": "yolox_nano", "input_size": [320, 300]}}, False),
    ("detection", {"model": {"name": "yolox_nano", "input_size": [320]}}, False),
    ("detection", {"model": {"name": "unet"}}, False),
    ("detection", {"model": {"input_size": [320, 320]}}, False),  # a network must be named
    ("detection", {"model": None}, False),
    ("detection", {"name": None}, False),
    ("detection", {"name": "my model"}, False),
    ("detection", {"data": {"format": "coco"}}, True),  # the folder may come from the command line
    ("detection", {"data": {"root": "pictures"}}, False),
    ("detection", {"data": {"format": "folders", "root": "pictures"}}, False),
    ("detection", {"data": {"format": "shapes"}}, True),
    ("detection", {"loss": {}}, False),
    ("detection", {"augment": {"mixup": {}}}, False),
    ("detection", {"augment": {"albumentations": [{"Blur": {"p": 0.5}}]}}, True),
    ("detection", {"task": "classification"}, False),
    ("detection", {"task": "detect"}, False),
    ("detection", {"task": None}, False),
    ("detection", {"task": None, "base": "a.yaml"}, True),
    ("detection", {"name": None, "base": "a.yaml"}, True),
    ("detection", {"base": ["a.yaml"]}, False),
    ("detection", {"data": {"format": "coco", "base": "a.yaml"}}, False),
    ("classification", {"data": {"format": "csv", "root": "a"}}, True),
    ("classification", {"data": {"format": "csv", "root": "a", "mask_columns": {"a": "b"}}}, False),
    ("classification", {"data": {"format": "masks", "root": "a", "classes": ["a", "b"]}}, False),
    ("classification", {"data": {"format": "folders", "root": "a", "extra": "b"}}, False),
    ("classification", {"model": {"name": "resnet50", "width": 0.5}}, False),
    ("classification", {"loss": {"class_weights": [1, 2]}}, False),
    ("classification", {"loss": {"class_weights": "balanced"}}, True),
    ("classification", {"augment": {"mosaic": {}}}, False),
    ("classification", {"task": None, "base": "a.yaml"}, True),
    ("classification", {"task": None, "base": "a.yaml", "los": {}}, False),
    ("segmentation", {"data": {"format": "masks"}}, True),  # the classes may come from there as well
    ("segmentation", {"data": {"format": "masks", "classes": ["a"]}}, False),
    ("segmentation", {"data": {"classes": ["a", "b"]}}, False),
    ("segmentation", {"data": {"format": "csv", "classes": ["a", "b"], "mask_columns": {"b": ""}}}, False),
    ("segmentation", {"data": {"format": "csv", "classes": ["a", "b"], "mask_columns": {"": "b"}}}, False),
    ("segmentation", {"loss": {"class_weights": [1, 2]}}, True),
    ("segmentation", {"loss": {"class_weights": [1, 0]}}, False),
    ("segmentation", {"postprocess": {"regions": {"all": ["lung", ""]}}}, False),
    ("segmentation", {"augment": {"crop_to_labels": {"margin": [0, 1, 2]}}}, False),
]


@pytest.mark.parametrize(("task", "change", "expected"), CHANGES)
def test_what_an_editor_marks(task: str, change: dict[str, Any], expected: bool) -> None:
    data = data_of(CONFIGS[task]) | change
    assert valid({key: value for key, value in data.items() if value is not None}) is expected


def test_a_file_with_a_base_may_give_a_single_block_of_any_task() -> None:
    assert valid({"base": "a.yaml"})
    assert valid({"base": "a.yaml", "loss": {"kind": "focal"}})
    assert valid({"base": "a.yaml", "loss": {"smoothing": 0.1}})
    assert not valid({"base": "a.yaml", "loss": {"kind": "focal", "smoothing": 0.1}})  # of no one task
    assert not valid({"base": "a.yaml", "task": "detection", "loss": {"kind": "focal"}})
    assert not valid({"loss": {"kind": "focal"}})


_PLAIN = st.none() | st.booleans() | st.integers(0, 64) | st.floats(0, 2) | st.sampled_from(["", "coco", "sgd", "none"])
_ANY = st.recursive(_PLAIN, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2))


@given(st.sampled_from(list(CONFIGS)), st.sampled_from(all_keys()), _ANY)
def test_what_loads_is_valid(task: str, key: str, value: object) -> None:
    """An editor never marks what the toolkit takes; that it also marks what the toolkit refuses, the table holds."""
    try:
        loaded = parse_config(CONFIGS[task], overrides=as_overrides({key: value}))
    except UserError:
        return
    assert valid(data_of(loaded.to_yaml()))


def test_what_an_editor_shows() -> None:
    train = SCHEMA["$defs"]["TrainConfig"]["properties"]
    assert train["epochs"]["default"] == 50
    assert train["epochs"]["minimum"] == 1
    assert train["epochs"]["description"] == "How often the training set is gone through."
    assert SCHEMA["properties"]["task"] == {
        "enum": ["detection", "classification", "segmentation"],
        "description": "What to learn.",
    }
    for config in ("DetectionConfig", "ClassificationConfig", "SegmentationConfig"):
        assert "relative to this file" in SCHEMA["$defs"][config]["properties"]["base"]["description"]


def test_it_is_plain_json_of_the_stated_draft() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    references = re.findall(r'"\$ref": "#/\$defs/(\w+)"', json.dumps(SCHEMA))
    assert set(references) == set(SCHEMA["$defs"])
