"""Turns pydantic's errors into sentences: what is wrong with a key, what was expected, what came, what to do.

Where the value stands (file and line, or an override) is the caller's part.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from toolkit.config.blocks import Block
from toolkit.config.tree import ROOT, TASK, Node, Place, all_keys, any_of, find, literals, node_of, places, tags
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


@dataclass(frozen=True)
class _At:
    """Where an error is: the key path without union tags, the block with its last key, and how that was chosen."""

    path: Key
    owner: type[Block] | None
    tag: str | None = None  # the key that chose the owner, and the word it chose by
    word: str = ""
    task: str = ""

    @property
    def key(self) -> str:
        return ".".join(map(str, self.path))

    @property
    def name(self) -> str:
        return str(self.path[-1])

    @property
    def field(self) -> FieldInfo | None:
        return self.owner.model_fields.get(self.name) if self.owner else None


def explained(
    errors: Iterable[ErrorDetails], tag_source: Callable[[Key], str], fitting: str = ""
) -> Iterator[tuple[Key, str]]:
    """Yield key path (without union tags) and sentence of every error; ``tag_source`` says where a key was set.

    ``fitting`` is the task that the rest of the config is written for, where that is not the one it has. A required
    key that is there, but misspelt, is one error and not two; a task that all else contradicts is one and not many.
    """
    errors = list(errors)
    task = errors[0]["loc"][:1]
    if fitting and task:
        yield (TASK,), _wrong_task(str(task[0]), fitting)
        return
    found = list(_sentences(errors, tag_source, fitting))
    misspelt = {(path[:-1], sentence) for path, sentence in found}
    for path, sentence in found:
        typo = (path[:-1], f"unknown key; did you mean {path[-1]!r}?")
        if not (sentence.startswith("required ") and typo in misspelt):
            yield path, sentence


def _wrong_task(task: str, fitting: str) -> str:
    way_out = f"set it to {fitting!r}, or write the other blocks for {task!r}"
    return f"everything else here is for {fitting!r}, not for {task!r}; {way_out}"


def _sentences(
    errors: Iterable[ErrorDetails], tag_source: Callable[[Key], str], fitting: str
) -> Iterator[tuple[Key, str]]:
    lacking: dict[Key, tuple[int, Any]] = {}
    for error in errors:
        at = _resolve(error["loc"])
        if error["type"] == "missing" and isinstance(at.path[-1], int):
            lacking[at.path[:-1]] = (at.path[-1] + 1, error["input"])  # they come in order: the last has the length
            continue
        yield _explain(error, at, tag_source, fitting)
    for path, (count, value) in lacking.items():
        yield path, f"expected {count} values, got {show(value)}"


def _resolve(location: tuple[str | int, ...]) -> _At:
    """Return what pydantic's location means; without a path where the task itself is in doubt."""
    if not location:
        return _At((), None)
    steps = iter(location)
    task = next(steps)
    at = _At((), None, task=str(task))
    node, word, block = ROOT, task, ROOT.choice(task)
    for step in steps:
        at = _At((*at.path, step), block, node.tag, str(word), str(task))
        node = node_of(at.field) if at.field else Node(())
        word = next(steps, "") if node.tag else ""
        block = node.choice(word)
    return at


def _explain(error: ErrorDetails, at: _At, tag_source: Callable[[Key], str], fitting: str) -> tuple[Key, str]:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        return _tag_error(at, value, tag_source, fitting)
    if kind == "missing" and at.field:
        return at.path, _missing(at.key, at.field)
    if kind == "extra_forbidden" and at.owner:
        return at.path, _unknown(at, at.owner, tag_source)
    if kind == "value_error":
        return at.path, str(context["error"])
    if kind == "literal_error":
        return at.path, _not_one_of(at, value, literals(at.field) if at.field else (), tag_source)
    limits = {name: _number(limit) for name, limit in context.items() if isinstance(limit, (int, float))}
    expected = _EXPECTED[kind].format(**limits) if kind in _EXPECTED else error["msg"]
    if at.path[-1] == "[key]":
        return at.path[:-2], f"expected {expected} before every ':', got {show(value)}"
    return at.path, f"expected {expected}, got {show(value)}{_hint(kind, value, at.field)}"


def _tag_error(at: _At, value: Any, tag_source: Callable[[Key], str], fitting: str) -> tuple[Key, str]:
    """Explain why a block could not be chosen: its choosing key is wrong, misspelt or missing."""
    node = node_of(at.field) if at.field else ROOT
    tag, given = str(node.tag), value if isinstance(value, dict) else {}
    here = _At((*at.path, tag), None, task=at.task)
    if tag in given:
        return here.path, _not_one_of(here, given[tag], tags(node), tag_source, fitting)
    known = {name for block in node.blocks for name in block.model_fields}
    for name in given:
        if name not in known and suggest(name, known) == suggest(tag, [tag]):
            return (*at.path, name), f"unknown key; did you mean {tag!r}?"
    return here.path, _missing(here.key, node.blocks[0].model_fields[tag], tags(node), fitting)


def _missing(key: str, field: FieldInfo, words: tuple[str, ...] = (), fitting: str = "") -> str:
    node, meaning = node_of(field), _meaning(field.description)
    if node.blocks:
        tag = node.tag or next((name for name, inner in node.blocks[0].model_fields.items() if inner.is_required()), "")
        return f"required block is missing ({meaning}); add it, beginning with its key {tag!r}"
    words = words or literals(field)
    if words:
        example = fitting or words[0]
        return f"required key is missing; set it to {_either(words)}, or give {key}={example} on the command line"
    example = (field.examples or ["..."])[0]
    return f"required key is missing ({meaning}); set it, or give {key}={example} on the command line"


def _unknown(at: _At, owner: type[Block], tag_source: Callable[[Key], str]) -> str:
    having = [place for place in places([str(part) for part in at.path[:-1]]) if at.name in place.fields]
    siblings = [place for place in having if place.task == at.task]
    if siblings:
        return _of_another_choice(at, owner, siblings, tag_source)
    if having:
        tasks = _either(place.task for place in having)
        return f"unknown key for task {at.task!r} (set by {tag_source((TASK,))}), it belongs to {tasks}; remove it"
    if "." in at.name and find(at.key):
        block, _, name = at.key.rpartition(".")
        return f"unknown key; keys with dots are for the command line, write {name!r} into the block {block!r}"
    config = ROOT.choice(at.task)
    elsewhere = [key for key in all_keys(Node((config,) if config else ())) if key.rpartition(".")[2] == at.name]
    if len(elsewhere) == 1:
        return f"unknown key; did you mean {elsewhere[0]!r}?"
    near = suggest(at.name, owner.model_fields) or f"; the keys here are {', '.join(owner.model_fields)}"
    return f"unknown key{near}"


def _of_another_choice(at: _At, owner: type[Block], having: list[Place], tag_source: Callable[[Key], str]) -> str:
    block = ".".join(map(str, at.path[:-1]))
    others = _either(word for place in having for word in place.choices[-1][1])
    more = ", ..." if sum(info.is_required() for info in owner.model_fields.values()) > 1 else ""
    return (
        f"unknown key for {at.tag} {at.word!r} (set by {tag_source((*at.path[:-1], str(at.tag)))}), it belongs to "
        f"{others}; remove it, or give the whole block as {block}={{{at.tag}: {at.word}{more}}}"
    )


def _not_one_of(
    at: _At, value: Any, words: tuple[str, ...], tag_source: Callable[[Key], str], fitting: str = ""
) -> str:
    got = f"expected {_either(words)}, got {repr(value) if isinstance(value, str) else show(value)}"
    if not isinstance(value, str):
        return got
    tasks = [place.task for place, field in find(at.key) if value in literals(field)] if at.task else []
    if tasks:
        return f"{got}, which belongs to task {_either(tasks)} (this one is {at.task!r}, set by {tag_source((TASK,))})"
    near = suggest(value, words)
    return f"{got}{near or (f'; everything else here is for {fitting!r}' if fitting else '')}"


def _either(words: Iterable[str]) -> str:
    return any_of([repr(word) for word in dict.fromkeys(words)])


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


def _hint(kind: str, value: Any, field: FieldInfo | None) -> str:
    if kind == "bool_type" and str(value).lower() in _YAML_1_1_WORDS:
        return "; write true or false"
    if kind == "string_type" and isinstance(value, (bool, int, float)):
        return "; put it in quotes to make it text"
    if kind.startswith("model") and value is None and field and not field.is_required():
        return "; leave it out to take the defaults"
    return ""
