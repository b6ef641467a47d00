"""Says what a key means, and gives editors the JSON Schema of a config.

Both read the schema; nothing is stated twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from toolkit.config.blocks import Block
from toolkit.config.load import LoadedConfig
from toolkit.config.schema import Config
from toolkit.config.tree import (
    ROOT,
    TASK,
    Choices,
    Node,
    Place,
    all_keys,
    condition,
    every_choice,
    find,
    literals,
    node_of,
    places,
)
from toolkit.config.wording import type_words, written
from toolkit.errors import UserError, suggest

_BASE = {
    "type": "string",
    "description": "One config to take the blocks from that are not given here, relative to this file.",
}
Found = list[tuple[Place, FieldInfo]]


def explain(key: str = "", loaded: LoadedConfig | None = None) -> str:
    """Return a key's meaning, type and default, and with ``loaded`` its present value and where that came from.

    A block lists its keys, a key that chooses lists the choices; an empty ``key`` lists the blocks. Where tasks or
    formats differ, each meaning is told, but with ``loaded`` the one in use. Raises UserError that names the nearest
    key.
    """
    if not key:
        return "\n".join(_children("", loaded))
    found = find(key)
    if not found:
        raise UserError(f"{key}: unknown key{_nearest(key)}")
    parents = key.split(".")[:-1]
    groups = [found] if _is_one(key, found) else _by_meaning(key, found)
    used = [group for group in groups if any(_is_used(place, parents, loaded) for place, _ in group)]
    return "\n\n".join("\n".join(_paragraph(key, group, loaded)) for group in used or groups)


def _nearest(key: str) -> str:
    same_name = [known for known in all_keys() if known.rpartition(".")[2] == key.rpartition(".")[2]]
    if len(same_name) == 1:
        return f"; did you mean {same_name[0]!r}?"
    blocks = dict.fromkeys(name for place in places([]) for name in place.fields)
    return suggest(key, all_keys()) or f"; the blocks are {', '.join(blocks)}"


def _is_one(key: str, found: Found) -> bool:
    """Whether a key is one thing with many choices: a block, or the key that chooses a block."""
    return bool(node_of(found[0][1]).blocks) or _chooses(key, found)


def _chooses(key: str, found: Found) -> bool:
    return all(place.choices[-1][0] == key for place, _ in found)


def _by_meaning(key: str, found: Found) -> list[Found]:
    """Group the places of a key by what is told of it."""
    groups: dict[tuple[str, ...], Found] = {}
    for item in found:
        groups.setdefault((_meaning(key, [item]), *_kind(key, [item])), []).append(item)
    return list(groups.values())


def _is_used(place: Place, path: Sequence[str], loaded: LoadedConfig | None) -> bool:
    """Whether the loaded config has this block at the path."""
    owner: object = loaded.config if loaded else None
    for part in path:
        owner = getattr(owner, part, None)
    return loaded is not None and type(owner) is place.block and all(loaded.value(at) in of for at, of in place.choices)


def _paragraph(key: str, group: Found, loaded: LoadedConfig | None) -> list[str]:
    """Return the lines on a key that means the same in all places of the group."""
    parents = key.split(".")[:-1]
    used = [item for item in group if _is_used(item[0], parents, loaded)]
    where = condition([place.choices for place, _ in group], every_choice(parents))
    mine, body = used or group, _children(key, loaded)
    if _chooses(key, group):  # beside the choice in use, those that it could be changed to
        outer = {place.choices[:-1] for place, _ in mine}
        mine = [(place, info) for place, info in group if place.choices[:-1] in outer]
        body = _alternatives(mine)
    head = [key, f"  {_meaning(key, mine)}", *([f"  with:     {where}"] if where else []), *_kind(key, mine)]
    return head + (_now(key, loaded) if loaded and used else []) + [f"  {line}" for line in body]


def _meaning(key: str, group: Found) -> str:
    """Return the description; where it differs, that of the class all have in common, or the part they begin with."""
    texts = {info.description or "": None for _, info in group}
    first, *others = texts
    if not others:
        return first
    bases = group[0][0].block.__mro__
    nearest = next(base for base in bases if all(issubclass(place.block, base) for place, _ in group))
    shared = nearest.model_fields.get(key.rpartition(".")[2]) if issubclass(nearest, Block) else None
    return shared.description or "" if shared else first.partition("; ")[0].rstrip(".") + "."


def _kind(key: str, group: Found) -> list[str]:
    """Return the lines on type and default."""
    place, info = group[0]
    if node_of(info).blocks:
        return ["  default:  none, the block must be given"] if info.is_required() else []
    words = dict.fromkeys(word for _, choice in group for word in literals(choice)) if _chooses(key, group) else ()
    return [
        f"  type:     {' or '.join(map(repr, words)) or type_words(place.block, key.rpartition('.')[2])}",
        f"  default:  {'none, it must be given' if info.is_required() else written(info.default)}",
    ]


def _now(key: str, loaded: LoadedConfig) -> list[str]:
    value = "" if node_of(find(key)[0][1]).blocks else f"{written(loaded.value(key))} "
    return [f"  now:      {value}({loaded.origin(key)})"]


def _children(key: str, loaded: LoadedConfig | None) -> list[str]:
    """List the keys of a block: first those that it always has, then those of some choices only."""
    path = key.split(".") if key else []
    found = [place for place in places(path) if _is_used(place, path, loaded)] or places(path)
    entries = []
    for name in dict.fromkeys(name for place in found for name in place.fields):
        inner = ".".join([*path, name])
        having = [(place, place.fields[name]) for place in found if name in place.fields]
        for group in [having] if _is_one(inner, having) else _by_description(having):
            entries.append((name, _meaning(inner, group), [place.choices for place, _ in group]))
    return _listing(entries, [place.choices for place in found])


def _by_description(found: Found) -> list[Found]:
    groups: dict[str, Found] = {}
    for place, info in found:
        groups.setdefault(info.description or "", []).append((place, info))
    return list(groups.values())


def _alternatives(group: Found) -> list[str]:
    """List what a key may choose, with what each choice's description adds to the common one."""
    entries: dict[tuple[str, str], list[Choices]] = {}
    for place, info in group:
        words, text = " or ".join(literals(info)), info.description or ""
        added = (text.partition("; ")[2] or text).removeprefix(f"{words}: ")
        entries.setdefault((words, added), []).append(place.choices[:-1])
    return _listing([(*entry, at) for entry, at in entries.items()], [place.choices[:-1] for place, _ in group])


def _listing(entries: Sequence[tuple[str, str, list[Choices]]], every: list[Choices]) -> list[str]:
    """Return a line for each name and its meaning, under a heading where it needs a choice."""
    sections: dict[str, list[str]] = {"": []}
    width = max((len(name) for name, _, _ in entries), default=0) + 2
    for name, text, at in entries:
        sections.setdefault(condition(at, every), []).append(f"  {name:<{width}}{text}")
    return [line for where, lines in sections.items() for line in ([f"with {where}"] if where else []) + lines]


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a config file, with meanings and defaults.

    A file with a base may leave blocks to it. Any file may leave to the command line what depends on one's pictures
    (``data.root``), so that within a block only the key that chooses it is required.
    """
    definitions = TypeAdapter(Config).json_schema()["$defs"]
    for block in dict.fromkeys(_all_blocks(ROOT)):
        part = definitions[block.__name__]
        required = part.pop("required", [])
        if block in ROOT.blocks:
            part["properties"] = {"base": _BASE, **part["properties"]}
            part["anyOf"] = [{"required": ["base"]}, {"required": required}]
        else:
            part["required"] = [key for key in required if literals(block.model_fields[key])]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "cv-toolkit config",
        **_by_task(),
        "$defs": definitions,
    }


def _by_task() -> dict[str, Any]:
    """Return the part that chooses among the tasks: with if and then, so that an editor names the key that is wrong."""
    configs = {place.task: {"$ref": f"#/$defs/{place.block.__name__}"} for place in places([])}
    chosen = [
        {"if": {"properties": {TASK: {"const": task}}, "required": [TASK]}, "then": config}
        for task, config in configs.items()
    ]
    left_to_base = {"if": {"not": {"required": [TASK]}}, "then": {"anyOf": list(configs.values())}}
    return {
        "type": "object",
        "properties": {TASK: {"enum": list(configs), "description": _meaning(TASK, find(TASK))}},
        "anyOf": [{"required": ["base"]}, {"required": [TASK]}],
        "allOf": [*chosen, left_to_base],
    }


def _all_blocks(node: Node) -> Iterator[type[Block]]:
    for block in node.blocks:
        yield block
        for info in block.model_fields.values():
            yield from _all_blocks(node_of(info))
