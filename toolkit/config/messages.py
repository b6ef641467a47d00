"""Turns pydantic's errors into sentences: what is wrong with a key, what was expected, what came, what to do.

Where the value stands (file and line, or an override) is the caller's part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pydantic_core import ErrorDetails

from toolkit.config.schema import Block
from toolkit.config.tree import ROOT, Node, all_keys, literals, node_of, tags
from toolkit.config.yaml_text import Key
from toolkit.errors import suggest

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text",
    "bool_type": "true or false",
    "path_type": "a path",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a block of keys",
    "model_type": "a block of keys",
    "model_attributes_type": "a block of keys",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "a number below {lt}",
    "less_than_equal": "{le} or less",
    "multiple_of": "a multiple of {multiple_of}",
    "string_too_short": "a text that is not empty",
    "string_pattern_mismatch": "letters, digits, _ and - only",
    "too_short": "at least {min_length} in the list",
    "too_long": "{max_length} values",
}
_YAML_1_1_WORDS = {"yes", "no", "on", "off", "y", "n"}


def explained(errors: Iterable[ErrorDetails], tag_source: Callable[[Key], str]) -> Iterator[tuple[Key, str]]:
    """Yield key path (without union tags) and sentence of every error; ``tag_source`` says where a key was set.

    A required key that is there, but misspelt, is one error and not two.
    """
    found = list(_sentences(errors, tag_source))
    misspelt = {(path[:-1], sentence) for path, sentence in found}
    for path, sentence in found:
        typo = (path[:-1], f"unknown key; did you mean {path[-1]!r}?")
        if not (sentence.startswith("required ") and typo in misspelt):
            yield path, sentence


def _sentences(errors: Iterable[ErrorDetails], tag_source: Callable[[Key], str]) -> Iterator[tuple[Key, str]]:
    lacking: dict[Key, tuple[int, Any]] = {}
    for error in errors:
        path, owner, node = _resolve(error["loc"])
        if error["type"] == "missing" and isinstance(path[-1], int):
            lacking[path[:-1]] = (path[-1] + 1, error["input"])  # they come in order: the last has the length
            continue
        yield _explain(error, path, owner, node, tag_source)
    for path, (count, value) in lacking.items():
        yield path, f"expected {count} values, got {show(value)}"


def _resolve(location: tuple[str | int, ...]) -> tuple[Key, type[Block] | None, Node]:
    """Return the key path without union tags, the block that has its last key, and that block's place (union)."""
    steps = iter(location)
    node, block, path = ROOT, ROOT.choice(next(steps) if ROOT.tag else None), []
    owner, place = block, node
    for step in steps:
        path.append(step)
        owner, place = block, node
        field = block.model_fields.get(str(step)) if block else None
        node = node_of(field) if field else Node(())
        block = node.choice(next(steps, None) if node.tag else None)
    return tuple(path), owner, place


def _explain(
    error: ErrorDetails, path: Key, owner: type[Block] | None, place: Node, tag_source: Callable[[Key], str]
) -> tuple[Key, str]:
    kind, value = error["type"], error["input"]
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        return _tag_error(path, owner, value)
    if kind == "missing" and owner:
        return path, _missing(path, owner)
    if kind == "extra_forbidden" and owner:
        return path, _unknown(path, owner, place, tag_source)
    context = error.get("ctx", {})
    if kind == "value_error":
        return path, str(context["error"])
    if kind == "literal_error":
        return path, _not_one_of(value, literals(owner.model_fields[str(path[-1])]) if owner else ())
    limits = {name: _number(limit) for name, limit in context.items() if isinstance(limit, (int, float))}
    expected = _EXPECTED[kind].format(**limits) if kind in _EXPECTED else error["msg"]
    return path, f"expected {expected}, got {show(value)}{_hint(kind, value)}"


def _tag_error(path: Key, owner: type[Block] | None, value: Any) -> tuple[Key, str]:
    field = owner.model_fields[str(path[-1])] if owner else None
    node = node_of(field) if field else ROOT
    words, tag = tags(node), str(node.tag)
    if isinstance(value, dict) and tag in value:
        return (*path, tag), _not_one_of(value[tag], words)
    known = {name for block in node.blocks for name in block.model_fields}
    for name in value if isinstance(value, dict) else ():
        if name not in known and suggest(name, known) == suggest(tag, [tag]):
            return (*path, name), f"unknown key; did you mean {tag!r}?"
    return (*path, tag), _missing((*path, tag), node.blocks[0], words)


def _missing(path: Key, owner: type[Block], words: tuple[str, ...] = ()) -> str:
    key, field = ".".join(map(str, path)), owner.model_fields[str(path[-1])]
    node = node_of(field)
    if node.blocks:
        tag = node.tag or next((name for name, inner in node.blocks[0].model_fields.items() if inner.is_required()), "")
        return f"required block is missing ({_meaning(field.description)}); add it, beginning with its key {tag!r}"
    words = words or literals(field)
    if words:
        return f"required key is missing; set it to {_either(words)}, or give {key}={words[0]} on the command line"
    example = (field.examples or ["..."])[0]
    meaning = _meaning(field.description)
    return f"required key is missing ({meaning}); set it, or give {key}={example} on the command line"


def _unknown(path: Key, owner: type[Block], place: Node, tag_source: Callable[[Key], str]) -> str:
    name = str(path[-1])
    others = [block for block in place.blocks if block is not owner and name in block.model_fields]
    if others and place.tag:
        return _of_another(path, owner, others[0], place.tag, tag_source)
    elsewhere = [key for key in all_keys() if key.rpartition(".")[2] == name]
    if len(elsewhere) == 1:
        return f"unknown key; did you mean {elsewhere[0]!r}?"
    near = suggest(name, owner.model_fields) or f"; the keys here are {', '.join(owner.model_fields)}"
    return f"unknown key{near}"


def _of_another(path: Key, owner: type[Block], other: type[Block], tag: str, source: Callable[[Key], str]) -> str:
    block = ".".join(map(str, path[:-1]))
    mine, theirs = (literals(member.model_fields[tag])[0] for member in (owner, other))
    who = source((*path[:-1], tag))
    return (
        f"unknown key for {tag} {mine!r} (set by {who}), it belongs to {theirs!r}; "
        f"remove it, or give the whole block as {block}={{{tag}: {mine}}}"
    )


def _not_one_of(value: Any, words: tuple[str, ...]) -> str:
    got = repr(value) if isinstance(value, str) else show(value)
    return f"expected {_either(words)}, got {got}{suggest(value, words) if isinstance(value, str) else ''}"


def _either(words: tuple[str, ...]) -> str:
    quoted = [repr(word) for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def _meaning(description: str | None) -> str:
    text = (description or "").rstrip(".")
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def show(value: Any) -> str:
    """Return a value as the user would write it, with its kind: ``'ten' (text)``, ``[1, 2] (list)``, ``null``."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "a block of keys"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan (not a number)" if math.isnan(value) else f"{'-' if value < 0 else ''}.inf (infinity)"
    kind = "text" if isinstance(value, str) else "list" if isinstance(value, (list, tuple)) else "number"
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({kind})"


def _hint(kind: str, value: Any) -> str:
    if kind == "bool_type" and str(value).lower() in _YAML_1_1_WORDS:
        return "; write true or false"
    if kind == "string_type" and isinstance(value, (bool, int, float)):
        return "; put it in quotes to make it text"
    if kind.startswith("model") and value is None:
        return "; leave it out to take the defaults"
    return ""
