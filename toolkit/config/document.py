"""A config before its checks: the text of the file and its base, the overrides, and where every value stands."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.config import yaml_text
from toolkit.config.blocks import Block
from toolkit.config.messages import show
from toolkit.config.tree import find, literals, node_of
from toolkit.config.yaml_text import Key
from toolkit.errors import UserError


@dataclass(frozen=True)
class Source:
    """Where a value stands: a file (as the user named it) and line, or an override without a line."""

    name: str
    line: int | None
    directory: Path

    def __str__(self) -> str:
        return self.name if self.line is None else f"{self.name}:{self.line}"


@dataclass
class Document:
    """Plain data before the checks, and the source of every key path in it."""

    name: str
    directory: Path
    data: dict[str, Any]
    sources: dict[Key, Source]

    def source(self, key: Key) -> Source:
        """Return the source of the key, or of the nearest block around it."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.sources:
                return self.sources[key[:length]]
        return Source(self.name, 1, self.directory)


def read(text: str, name: str, directory: Path, chain: tuple[Path, ...] = ()) -> Document:
    """Parse a config's text and put it on its base; ``chain`` holds the files that led here by their base lines."""
    data, lines = yaml_text.parse(text, name)
    sources = {key: Source(name, line, directory) for key, line in lines.items()}
    document = Document(name, directory, data, sources)
    return _on_base(document, chain) if "base" in data else document


def _on_base(child: Document, chain: tuple[Path, ...]) -> Document:
    value, source = child.data.pop("base"), child.sources.pop(("base",))
    if not isinstance(value, str) or not value:
        raise UserError(f"{source}: base: expected the path of one config, got {show(value)}")
    path = Path(os.path.abspath(child.directory / value))
    chain = (*chain, Path(os.path.abspath(child.directory / Path(child.name).name)))
    if path in chain:
        circle = " -> ".join(file.name for file in (*chain, path))
        raise UserError(f"{source}: base: the files name each other in a circle ({circle}); remove one 'base:' line")
    name = os.path.normpath(os.path.join(os.path.dirname(child.name), value))
    if not path.is_file():
        raise UserError(f"{source}: base: no such file: {name}; give a path relative to this config")
    base = read(yaml_text.read_text(path, name), name, path.parent, chain)
    kept = {key: place for key, place in base.sources.items() if key[0] not in child.data}
    return Document(child.name, child.directory, base.data | child.data, kept | child.sources)


def apply(document: Document, override: str) -> None:
    """Set what an override (``train.epochs=5``) says. Raises UserError that names the override."""
    key, equals, text = override.partition("=")
    parts = tuple(key.strip().split("."))
    if not equals or not all(parts):
        raise UserError(f"override {override}: expected KEY=VALUE, such as train.epochs=5")
    label = f"override {override}"
    if parts[0] == "base":
        raise UserError(f"{label}: base can only stand in a config file; give another config instead")
    value = yaml_text.parse_value(text, label)
    _check_way(document.data, parts, label)
    source = Source(label, None, Path.cwd())
    for length in range(1, len(parts)):
        _seed(document.data, parts[:length])
        document.sources.setdefault(parts[:length], source)
    put(document.data, parts, value)
    stale = [place for place in document.sources if place[: len(parts)] == parts]
    for place in stale:
        del document.sources[place]
    document.sources.update({(*parts, *inner): source for inner in _paths(value)})


def _check_way(data: Any, parts: tuple[str, ...], label: str) -> None:
    for depth, part in enumerate(parts[:-1], 1):
        data = data.get(part, {})
        if data is None:  # "train:" with nothing under it
            return
        where = ".".join(parts[:depth])
        if isinstance(data, list):
            raise UserError(f"{label}: {where} is a list, its items are not set one by one; give all: {where}=[...]")
        if not isinstance(data, dict):
            raise UserError(f"{label}: {where} is {show(data)}, not a block of keys")


def _seed(data: dict[str, Any], parts: tuple[str, ...]) -> None:
    """Make the block that an override reaches into; where a default has chosen among a union, keep its choice."""
    *parents, last = parts
    for part in parents:
        data = data[part]
    if data.get(last) is not None:
        return
    data[last] = {}
    for _, info in find(".".join(parts)):
        tag = node_of(info).tag
        if tag and isinstance(info.default, Block):
            data[last] = {tag: literals(type(info.default).model_fields[tag])[0]}


def put(data: Any, key: Key, value: Any) -> None:
    """Set a value in plain data whose blocks around it exist."""
    *parents, last = key
    for part in parents:
        data = data[part]
    data[last] = value


def _paths(value: Any) -> Iterator[Key]:
    yield ()
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        for path in _paths(inner):
            yield (key, *path)
