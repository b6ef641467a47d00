"""Reads a config: file, base, overrides, checks, paths. The result is read-only and knows where each value came from.

It opens configs only: whether data and weights exist is checked by those who read them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from toolkit.config import yaml_text
from toolkit.config.blocks import LOCATED, ZOO_PREFIX, Block
from toolkit.config.document import Document, Source, apply, put, read
from toolkit.config.messages import explained
from toolkit.config.schema import Config
from toolkit.config.tree import ROOT, TASK, all_keys, find, tags
from toolkit.config.yaml_text import Key
from toolkit.errors import UserError, suggest

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class LoadedConfig:
    """A checked config. ``config`` is read-only, with every default filled in and every path absolute."""

    config: Config
    name: str
    _sources: Mapping[Key, Source] = field(repr=False, compare=False)

    def origin(self, key: str) -> str:
        """Return where a key's value came from: ``configs/mask.yaml:14``, ``override`` or ``default``.

        Raises UserError for a key that no config has.
        """
        path = key_path(key)
        if path in self._sources:
            source = self._sources[path]
            return "override" if source.line is None else str(source)
        if not find(key):
            raise UserError(f"{key}: unknown key{suggest(key, all_keys())}")
        return "default"

    def value(self, key: str) -> Any:
        """Return the value at a key path as plain data. Raises UserError where this config has no such key."""
        value: Any = self.config
        for part in key.split("."):
            if not isinstance(value, BaseModel) or part not in type(value).model_fields:
                raise UserError(f"{key}: this config has no such key{suggest(key, all_keys())}")
            value = getattr(value, part)
        return value.model_dump(mode="json") if isinstance(value, BaseModel) else value

    def to_yaml(self) -> str:
        """Return the whole config as YAML: defaults written out, paths absolute; it loads back to an equal config."""
        return yaml_text.dump(self.config.model_dump(mode="json"))


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Load a config file (or a shipped config by name) with overrides such as ``train.epochs=5``.

    Raises UserError that lists everything wrong in it, one fault a line.
    """
    found = find_config(path)
    name = str(path) if Path(path) == found else _short(found)
    return parse_config(yaml_text.read_text(found, name), name=name, directory=found.parent, overrides=overrides)


def parse_config(
    text: str, *, name: str = "config", directory: str | Path = ".", overrides: Sequence[str] = ()
) -> LoadedConfig:
    """Load a config from its text; ``name`` stands for it in messages, paths in it are relative to ``directory``."""
    document = read(text, name, Path(directory))
    for override in overrides:
        apply(document, override)
    config = _validate(document)
    for key, value in _located(config, ()):
        put(document.data, key, _absolute(value, document.source(key).directory))
    return LoadedConfig(_validate(document), name, document.sources)


def find_config(name_or_path: str | Path) -> Path:
    """Return the config file that is meant: a path as it is, else a shipped config (``quickstart``).

    Raises UserError that names the nearest shipped config.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    shipped = shipped_configs()
    name = path.as_posix().removeprefix("configs/").removesuffix(".yaml")
    if name in shipped:
        return shipped[name]
    if path.is_dir():
        raise UserError(f"{name_or_path}: expected a config file (YAML), got a folder")
    near = suggest(name, shipped) or f"; shipped configs are {', '.join(shipped)}"
    raise UserError(f"{name_or_path}: no such config, neither a file here nor a shipped one{near}")


def shipped_configs() -> dict[str, Path]:
    """Return the configs that come with the toolkit by name: package data, or a clone's ``configs/``."""
    folder = next((f for f in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if f.is_dir()), None)
    files = sorted(folder.rglob("*.yaml")) if folder else []
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in files if folder}


def as_overrides(values: Mapping[str, Any]) -> list[str]:
    """Return ``{"train.epochs": 5}`` as overrides (``train.epochs=5``). Raises UserError for what YAML cannot hold."""
    return [f"{key}={_written(key, value)}" for key, value in values.items()]


def key_path(key: str) -> Key:
    """Return ``model.input_size.0`` as a key path: list positions as numbers."""
    return tuple(int(part) if part.isdecimal() else part for part in key.split("."))


def _written(key: str, value: Any) -> str:
    value = os.fspath(value) if isinstance(value, os.PathLike) else value
    if isinstance(value, str) and _reads_back(value):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, default=os.fspath)
    except (TypeError, ValueError):
        kind = type(value).__name__
        raise UserError(f"override {key}: expected text, numbers, lists or blocks of them, got a {kind}") from None


def _reads_back(text: str) -> bool:
    try:
        return bool(yaml_text.parse_value(text, "") == text)
    except UserError:
        return False


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


@cache
def _adapter() -> TypeAdapter[Config]:
    return TypeAdapter(Config)


def _validate(document: Document) -> Config:
    try:
        return _adapter().validate_json(json.dumps(document.data))
    except ValidationError as error:
        errors, fitting = error.errors(include_url=False), _fitting_task(document.data)
        problems = explained(errors, lambda key: str(document.source(key)), fitting)
        raise UserError(_listing(document, problems)) from None


def _fitting_task(data: Mapping[str, Any]) -> str:
    """Return the only task for which nothing in the data is wrong, at most missing; "" if that is the one it has."""
    fitting = [task for task in tags(ROOT) if _only_lacks_keys({**data, TASK: task})]
    return fitting[0] if len(fitting) == 1 and fitting[0] != data.get(TASK) else ""


def _only_lacks_keys(data: Mapping[str, Any]) -> bool:
    try:
        _adapter().validate_json(json.dumps(data))
    except ValidationError as error:
        return all(fault["type"] == "missing" for fault in error.errors(include_url=False))
    return True


def _listing(document: Document, problems: Iterator[tuple[Key, str]]) -> str:
    found = []
    for key, sentence in problems:
        source, path = document.source(key), ".".join(map(str, key))
        named = source.line is None and source.name.startswith(f"override {path}=")
        place = (source.line is None, source.name, source.line or 0)
        shown = path if path.isprintable() else path.encode("unicode_escape").decode()  # a fault is one line
        found.append((place, f"{source}: {sentence}" if named else f"{source}: {shown}: {sentence}"))
    return "\n".join(line for _, line in sorted(found, key=lambda item: item[0]))


def _located(block: Block, prefix: Key) -> Iterator[tuple[Key, str]]:
    """Yield the key path and value of every path that is relative to the place it stands in."""
    for name, info in type(block).model_fields.items():
        value = getattr(block, name)
        if isinstance(value, Block):
            yield from _located(value, (*prefix, name))
        elif LOCATED in info.metadata and isinstance(value, tuple):
            yield from (((*prefix, name, position), str(path)) for position, path in enumerate(value))
        elif LOCATED in info.metadata and value is not None and not str(value).startswith(ZOO_PREFIX):
            yield (*prefix, name), str(value)


def _absolute(path: str, directory: Path) -> str:
    return os.path.abspath(directory / os.path.expanduser(path))
