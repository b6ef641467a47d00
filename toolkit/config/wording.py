"""Types and values in words: ``list of 2, each whole number, at least 32``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from toolkit.config.blocks import Block

_KINDS = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}
_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
    "multipleOf": "a multiple of",
    "pattern": "matching",
}


def type_words(block: type[Block], name: str) -> str:
    """Return the type and bounds of a block's key in words."""
    return _words(block.model_json_schema()["properties"][name])


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
        return _block_words(part)
    kind = "path" if part.get("format") == "path" else _KINDS.get(part.get("type", ""), "any value")
    return kind + "".join(f", {bound}" for bound in _bounds(part))


def _list_words(part: dict[str, Any]) -> str:
    if "prefixItems" in part:
        items = part["prefixItems"]
        return f"list of {len(items)}, each {_words(items[0])}"
    least = f" of at least {part['minItems']}" if "minItems" in part else ""
    return f"list{least}, each {_words(part['items'])}"


def _block_words(part: dict[str, Any]) -> str:
    values = part.get("additionalProperties", {})
    plain = isinstance(values, dict) and values.get("type", "object") != "object"
    return f"block of keys, each {_words(values)}" if plain else "block of keys"


def _bounds(part: dict[str, Any]) -> list[str]:
    bounds = [f"{words} {_plain_number(part[name])}" for name, words in _BOUNDS.items() if name in part]
    return bounds + (["not empty"] if part.get("minLength") == 1 else [])


def _plain_number(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def written(value: Any) -> str:
    """Return a value as a config would hold it."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, (str, Path)):
        return str(value) or '""'
    return json.dumps(value, ensure_ascii=False, default=str)
