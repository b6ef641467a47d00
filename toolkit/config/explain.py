"""Says what a key means, and gives editors the JSON Schema of a config.

Both read the schema; nothing is stated twice.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from toolkit.config.load import LoadedConfig
from toolkit.config.schema import Block, Config
from toolkit.config.tree import ROOT, Node, all_keys, find, node_of, tags
from toolkit.errors import UserError, suggest

_KINDS = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}
_BASE = {
    "type": "string",
    "description": "One config to take the blocks from that are not given here, relative to this file.",
}


def explain(key: str = "", loaded: LoadedConfig | None = None) -> str:
    """Return a key's meaning, type and default, and with ``loaded`` its present value and where that came from.

    A block lists its keys; an empty ``key`` lists the blocks. Raises UserError that names the nearest key.
    """
    if not key:
        return "\n".join(_children(ROOT, ""))
    found = find(key)
    if not found:
        raise UserError(f"{key}: unknown key{_nearest(key)}")
    parts = [_lines(key, choice, block, info, loaded) for block, choice, info in _in_use(key, found, loaded)]
    return "\n\n".join("\n".join(lines) for lines in parts)


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a config file, with meanings and defaults."""
    body = TypeAdapter(Config).json_schema()
    required = body.pop("required")
    body["properties"] = {"base": _BASE, **body["properties"]}
    body["anyOf"] = [{"required": ["base"]}, {"required": required}]
    body["title"] = "cv-toolkit config"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **body}


def _nearest(key: str) -> str:
    same_name = [known for known in all_keys() if known.rpartition(".")[2] == key.rpartition(".")[2]]
    if len(same_name) == 1:
        return f"; did you mean {same_name[0]!r}?"
    return suggest(key, all_keys()) or "; the blocks are " + ", ".join(Config.model_fields)


def _in_use(
    key: str, found: list[tuple[type[Block], str, FieldInfo]], loaded: LoadedConfig | None
) -> list[tuple[type[Block], str, FieldInfo]]:
    """Keep the choice of a union that the loaded config has made, where it has the key."""
    used = [item for item in found if loaded and type(_owner(loaded, key)) is item[0]]
    return used or found


def _owner(loaded: LoadedConfig, key: str) -> object:
    """Return the loaded block that the key is in, None where this config has made another choice."""
    owner: object = loaded.config
    for part in key.split(".")[:-1]:
        owner = getattr(owner, part, None)
    return owner


def _lines(key: str, choice: str, block: type[Block], info: FieldInfo, loaded: LoadedConfig | None) -> list[str]:
    head = [f"{key} ({choice})" if choice else key, f"  {info.description}"]
    node = node_of(info)
    if not node.blocks:
        head.append(f"  type:     {_type(block, key)}")
        head.append(f"  default:  {'none, it must be given' if info.is_required() else _written(info.default)}")
    elif info.is_required():
        head.append("  default:  none, the block must be given")
    if loaded and type(_owner(loaded, key)) is block:
        value = "" if node.blocks else f"{_written(loaded.value(key))} "
        head.append(f"  now:      {value}({loaded.origin(key)})")
    return head + [f"  {line}" for line in _children(node, key)]


def _children(node: Node, key: str) -> list[str]:
    lines = []
    for block in node.blocks:
        if node.tag:
            words = tags(Node((block,), node.tag))
            lines.append(f"with {node.tag}: {' or '.join(words)}")
        width = max(map(len, block.model_fields)) + 2
        for name, info in block.model_fields.items():
            lines.append(f"  {name:<{width}}{info.description}")
    return lines


def _type(block: type[Block], key: str) -> str:
    return _words(block.model_json_schema()["properties"][key.rpartition(".")[2]])


def _words(part: dict[str, Any]) -> str:
    if "anyOf" in part:
        parts = [_words(choice) for choice in part["anyOf"]]
        return ("; or " if any("," in words for words in parts) else " or ").join(parts)
    words = part.get("enum") or [part["const"]] if "enum" in part or "const" in part else []
    if words:
        return " or ".join(map(repr, words))
    if part.get("type") == "array":
        return _list_words(part)
    if part.get("type") == "object":
        return "block of keys"
    kind = "path" if part.get("format") == "path" else _KINDS.get(part.get("type", ""), "any value")
    return kind + "".join(f", {bound}" for bound in _bounds(part))


def _list_words(part: dict[str, Any]) -> str:
    if "prefixItems" in part:
        items = part["prefixItems"]
        return f"list of {len(items)}, each {_words(items[0])}"
    return f"list, each {_words(part['items'])}"


def _bounds(part: dict[str, Any]) -> list[str]:
    names = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
        "multipleOf": "a multiple of",
        "pattern": "matching",
    }
    bounds = [f"{words} {_plain_number(part[name])}" for name, words in names.items() if name in part]
    return bounds + (["not empty"] if part.get("minLength") == 1 else [])


def _plain_number(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _written(value: Any) -> str:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, (str, Path)):
        return str(value) or '""'
    return json.dumps(value, ensure_ascii=False)
