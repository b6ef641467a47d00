"""YAML text to plain data, with the line of every key. YAML 1.2's meaning of plain words: `no` and `12:30` are texts.

Data only: anchors, merge keys, tags and several documents in a file are refused. What the keys mean is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader, ReaderError
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from toolkit.errors import UserError

Key = tuple[str | int, ...]

_TAG = "tag:yaml.org,2002:"
# The core schema of YAML 1.2.2, section 10.3.2: tag, text, first characters.
_PLAIN_WORDS = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
)
_NO_ANCHORS = "anchors and aliases (& and *) are not used in a config; write the value, or quote it"
_DEEPEST = 50  # a config has five levels; the limit keeps a hostile file from exhausting the stack
_MOST_DIGITS = 300


class _TextError(Exception):
    """Something wrong at a line (from 1) of the text."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line, self.message = line, message


class _Loader(Reader, Scanner, Parser, Composer, BaseResolver):
    """PyYAML's own parts, without the YAML 1.1 resolver and without what a config has no use for."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self.depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _TextError(line, _NO_ANCHORS)
        if getattr(event, "tag", None):
            tag = event.tag.replace(_TAG, "!!")
            raise _TextError(line, f"the tag {tag} is not used in a config; write the plain value, or quote it")
        if self.depth == _DEEPEST:
            raise _TextError(line, f"blocks are nested more than {_DEEPEST} deep; a config needs five levels")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Writes text that YAML 1.1 readers and ours understand alike."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_list(dumper: yaml.SafeDumper, items: list[Any]) -> yaml.Node:
    plain = all(isinstance(item, (int, float)) for item in items)
    return dumper.represent_sequence(_TAG + "seq", items, flow_style=plain)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # PyYAML writes Unicode's own line ends unescaped in single quotes, where reading folds them into blanks.
    return dumper.represent_scalar(_TAG + "str", text, style='"' if re.search("[\x85\u2028\u2029]", text) else None)


_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(str, _represent_text)
for _tag, _pattern, _first in _PLAIN_WORDS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_TAG + _tag, re.compile(f"(?:{_pattern})\\Z"), _first)


def parse(text: str, name: str) -> tuple[dict[str, Any], dict[Key, int]]:
    """Parse one config file's text, which ``name`` stands for in errors.

    Returns the plain data and the line (from 1) of every key path. Raises UserError, as ``name:line: what is wrong``.
    """
    try:
        node = _compose(text.removeprefix("\ufeff"))
        if not isinstance(node, yaml.MappingNode):
            got = {yaml.SequenceNode: "a list", yaml.ScalarNode: "a single value"}.get(type(node), "nothing")
            raise _TextError(1, f"expected keys such as 'name:' and 'data:' at the top, got {got}")
        lines: dict[Key, int] = {}
        data = _mapping(node, (), lines)
    except _TextError as fault:
        raise UserError(f"{name}:{fault.line}: {fault.message}") from None
    return data, lines


def parse_value(text: str, name: str) -> Any:
    """Parse the value of an override by the rules of the files. Raises UserError, as ``name: what is wrong``."""
    try:
        node = _compose(text)
        if node is None:
            return _cut_check(text, 0)
        block = isinstance(node, yaml.CollectionNode) and not node.flow_style  # ends where the text ends
        _cut_check(text, len(text) if block else node.end_mark.index)
        return _plain(node, (), {})
    except _TextError as fault:
        raise UserError(f"{name}: {fault.message}") from None


def dump(data: Mapping[str, Any]) -> str:
    """Write plain data as YAML that :func:`parse` reads back equal."""
    return str(yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))


def read_text(path: Path, name: str) -> str:
    """Read a UTF-8 file (with or without a byte-order mark). Raises UserError naming ``name``."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{name}: no such file; give the path of a config (YAML)") from None
    except IsADirectoryError:
        raise UserError(f"{name}: expected a config file (YAML), got a folder") from None
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({error.strerror or error}); check the path and its rights") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = f"0x{content[error.start]:02x}"
        raise UserError(f"{name}:{line}: expected UTF-8 text, got the byte {byte}; save the file as UTF-8") from None


def _compose(text: str) -> yaml.Node | None:
    try:
        loader = _Loader(text)
        return loader.get_single_node()
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        code = int(error.character)  # the reader gives a text's character by its number
        raise _TextError(line, f"the character U+{code:04X} cannot stand in YAML; remove it") from None
    except yaml.MarkedYAMLError as error:
        raise _syntax_fault(error) from None


def _syntax_fault(error: yaml.MarkedYAMLError) -> _TextError:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    problem = error.problem or error.context or "cannot be parsed"
    if "'\\t'" in problem:
        return _TextError(line, "a tab stands where only spaces may; indent with spaces")
    if error.context in ("while scanning an alias", "while scanning an anchor"):
        return _TextError(line, _NO_ANCHORS)
    if error.context and "single document" in error.context:
        return _TextError(line, "a second document begins here (---); a config is one document")
    return _TextError(line, f"not valid YAML: {problem}; check the indentation, colons, brackets and quotes here")


def _cut_check(text: str, end: int) -> None:
    rest = text[end:].strip()
    if rest:
        raise _TextError(1, f"{rest!r} would be read as a comment; put the value in quotes")


def _plain(node: yaml.Node, path: Key, lines: dict[Key, int]) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, lines)
    if isinstance(node, yaml.SequenceNode):
        return [_item(child, (*path, index), lines) for index, child in enumerate(node.value)]
    return _scalar(node)


def _item(node: yaml.Node, path: Key, lines: dict[Key, int]) -> Any:
    lines[path] = node.start_mark.line + 1
    return _plain(node, path, lines)


def _mapping(node: yaml.MappingNode, path: Key, lines: dict[Key, int]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = _key(key_node, line)
        at = (*path, key)
        if key in data:
            where = ".".join(map(str, at))
            raise _TextError(line, f"{where}: this key already stands in line {lines[at]}; keep one of the two")
        lines[at] = line
        data[key] = _plain(value_node, at, lines)
    return data


def _key(node: yaml.Node, line: int) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _TextError(line, "expected a key that is one word, got a list or a block")
    if node.value == "<<" and node.style is None:
        raise _TextError(line, "merge keys (<<) are not used in a config; write the values, or use a 'base:' line")
    return _checked_text(node)


def _scalar(node: yaml.Node) -> Any:
    kind, text = node.tag.removeprefix(_TAG), node.value
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        return _integer(text, node.start_mark.line + 1)
    if kind == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return _checked_text(node)


def _integer(text: str, line: int) -> int:
    if len(text) > _MOST_DIGITS:
        raise _TextError(line, f"a number of {len(text)} digits; put it in quotes if it is meant as text")
    return int(text, {"0x": 16, "0o": 8}.get(text[:2], 10))


def _checked_text(node: yaml.Node) -> str:
    text = str(node.value)
    if re.search("[\ud800-\udfff\0]", text):
        line = node.start_mark.line + 1
        raise _TextError(line, "an escape sequence (\\u or \\0) stands for no character; write the character")
    return text
