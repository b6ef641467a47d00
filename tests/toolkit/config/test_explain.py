"""What a key means, and the JSON Schema that editors read. Every key of the schema is held to a description here."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from toolkit.config import explain, find_config, parse_config, schema
from toolkit.config.tree import all_keys, find
from toolkit.errors import UserError

CONFIG = """\
name: a
task: detection
data: {format: coco, root: /pictures}
model: {name: yolox_s}
train:
  optimizer: {name: sgd}
"""
LOADED = parse_config(CONFIG, name="a.yaml", overrides=["train.batch_size=4"])


def lines(key: str, loaded: Any = None) -> list[str]:
    return explain(key, loaded).splitlines()


def test_a_value() -> None:
    assert lines("train.epochs") == [
        "train.epochs",
        "  How often the training set is gone through.",
        "  type:     whole number, at least 1",
        "  default:  50",
    ]


@pytest.mark.parametrize(
    ("key", "now"),
    [
        ("train.epochs", "  now:      50 (default)"),
        ("train.batch_size", "  now:      4 (override)"),
        ("model.name", "  now:      yolox_s (a.yaml:4)"),
        ("data.root", "  now:      /pictures (a.yaml:3)"),
        ("train.optimizer.lr", "  now:      0.01 (default)"),
        ("preprocess.center", "  now:      false (default)"),
        ("model.init", "  now:      null (default)"),
        ("train", "  now:      (a.yaml:5)"),
    ],
)
def test_where_the_present_value_came_from(key: str, now: str) -> None:
    assert now in lines(key, LOADED)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("name", "text, matching ^[A-Za-z0-9_-]+$"),
        ("task", "'detection'"),
        ("model.name", "'yolox_nano' or 'yolox_tiny' or 'yolox_s'"),
        ("model.input_size", "list of 2, each whole number, at least 32, at most 4096, a multiple of 32"),
        ("model.init", "text, not empty; or null"),
        ("data.classes", "list, each text, not empty; or null"),
        ("data.splits", "path or null"),
        ("preprocess.center", "true or false"),
        ("preprocess.std", "list of 3, each number, above 0"),
        ("postprocess.score_threshold", "number, at least 0, at most 1"),
        ("augment.albumentations", "list, each block of keys"),
    ],
)
def test_types_in_words(key: str, kind: str) -> None:
    assert f"  type:     {kind}" in lines(key)


def test_a_key_of_several_choices_shows_each_and_with_a_config_the_one_in_use() -> None:
    assert lines("data.root")[0] == "data.root (data.format: coco)"
    assert "data.root (data.format: shapes)" in lines("data.root")
    assert "data.root (data.format: shapes)" not in lines("data.root", LOADED)
    assert "now:" not in explain("data.pictures", LOADED)  # this config reads coco


def test_a_block_lists_its_keys() -> None:
    text = explain("train.optimizer")
    assert "with name: adamw" in text
    assert "with name: sgd" in text
    assert "nesterov" in text
    assert explain("augment.mosaic").count("\n") == 3
    assert [line.split()[0] for line in lines("")][:3] == ["name", "task", "seed"]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("train.epohcs", "train.epohcs: unknown key; did you mean 'train.epochs'?"),
        ("epochs", "epochs: unknown key; did you mean 'train.epochs'?"),
        ("train.lr", "train.lr: unknown key; did you mean 'train.optimizer.lr'?"),
        ("zzz", "zzz: unknown key; the blocks are name, task, seed, data"),
        ("train.epochs.more", "train.epochs.more: unknown key"),
        (".", ".: unknown key"),
    ],
)
def test_unknown_keys(key: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        explain(key)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("key", all_keys())
def test_every_key_is_explained_in_one_sentence(key: str) -> None:
    for _, _, field in find(key):
        description = field.description or ""
        assert description.endswith(".")
        assert description.count(". ") == 0
    assert explain(key).startswith(key)


def _members(part: dict[str, Any], definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the object schemas that a part of the JSON Schema stands for."""
    if "$ref" in part:
        return [definitions[part["$ref"].removeprefix("#/$defs/")]]
    return [member for choice in part.get("oneOf", []) for member in _members(choice, definitions)]


def _unknown(data: dict[str, Any], members: list[dict[str, Any]], definitions: dict[str, Any]) -> list[str]:
    """Return the keys of ``data`` that no member allows or whose constant excludes them: an editor would mark them."""

    def constant(member: dict[str, Any], key: str) -> Any:
        return member["properties"].get(key, {}).get("const", data.get(key))

    fitting = [m for m in members if all(constant(m, key) == data[key] for key in data)]
    if not fitting:
        return [str(data)]
    properties = fitting[0]["properties"]
    assert fitting[0]["additionalProperties"] is False
    assert set(fitting[0].get("required", [])) <= set(data)
    unknown = [key for key in data if key not in properties]
    for key, value in data.items():
        inner = _members(properties.get(key, {}), definitions)
        if isinstance(value, dict) and inner:
            unknown += _unknown(value, inner, definitions)
    return unknown


def test_json_schema_knows_the_quickstart_and_nothing_else() -> None:
    body = schema()
    data = yaml.safe_load(find_config("quickstart").read_text(encoding="utf-8"))
    assert body["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    root = {key: value for key, value in body.items() if key != "$defs"}
    assert _unknown(data, [root], body["$defs"]) == []
    data["train"]["optimizer"]["momentum"] = 0.9  # adamw has none
    data["train"]["epohcs"] = 5
    assert _unknown(data, [root], body["$defs"]) == ["epohcs", "momentum"]


def test_json_schema_says_what_an_editor_shows() -> None:
    body = schema()
    train = body["$defs"]["TrainConfig"]["properties"]
    assert train["epochs"]["default"] == 50
    assert train["epochs"]["minimum"] == 1
    assert train["epochs"]["description"] == "How often the training set is gone through."
    assert body["anyOf"] == [{"required": ["base"]}, {"required": ["name", "task", "data", "model"]}]
    assert "base" in body["properties"]
    assert json.loads(json.dumps(body)) == body
