"""Walks the schema by key path: which block holds a key, which blocks a union offers. It reads no files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from toolkit.config.schema import Block, Config


@dataclass(frozen=True)
class Node:
    """A place for a block: the blocks that may stand there, and the key that chooses where there are several."""

    blocks: tuple[type[Block], ...]
    tag: str | None = None

    def choice(self, value: object) -> type[Block] | None:
        """Return the block whose literal is ``value``; the only block where there is no choice."""
        if self.tag is None:
            return self.blocks[0] if self.blocks else None
        return next((block for block in self.blocks if value in literals(block.model_fields[self.tag])), None)


ROOT = Node((Config,))


def node_of(field: FieldInfo) -> Node:
    """Return the place for a block that a field is; without blocks where it holds a plain value."""
    tag = field.discriminator if isinstance(field.discriminator, str) else None
    return Node(tuple(_blocks(field.annotation)), tag)


def _blocks(annotation: Any) -> Iterator[type[Block]]:
    if isinstance(annotation, type) and issubclass(annotation, Block):
        yield annotation
    elif get_origin(annotation) not in (tuple, list, dict):
        for part in get_args(annotation):
            yield from _blocks(part)


def literals(field: FieldInfo) -> tuple[str, ...]:
    """Return the words that a field of a literal type takes, else nothing."""
    return tuple(_literal_words(field.annotation))


def _literal_words(annotation: Any) -> Iterator[str]:
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    elif get_origin(annotation) not in (tuple, list, dict):
        for part in get_args(annotation):
            yield from _literal_words(part)


def tags(node: Node) -> tuple[str, ...]:
    """Return the words that choose among a union's blocks."""
    return tuple(word for block in node.blocks if node.tag for word in literals(block.model_fields[node.tag]))


def all_keys() -> tuple[str, ...]:
    """Return every key path of the schema, blocks included, in the order of the schema."""
    return tuple(dict.fromkeys(_keys(ROOT, "")))


def _keys(node: Node, prefix: str) -> Iterator[str]:
    for block in node.blocks:
        for name, field in block.model_fields.items():
            yield prefix + name
            yield from _keys(node_of(field), f"{prefix}{name}.")


def find(key: str) -> list[tuple[type[Block], str, FieldInfo]]:
    """Return each block that has the key path, with the path of its choice (as ``data.format: coco``) and the field."""
    nodes = [(ROOT, "")]
    *parents, last = key.split(".")
    for parent in parents:
        nodes = [
            (node_of(block.model_fields[parent]), f"{at}{parent}.")
            for node, at in nodes
            for block in node.blocks
            if parent in block.model_fields
        ]
    choices = [choice for node, at in nodes for choice in _choices(node, at)]
    return [(block, choice, block.model_fields[last]) for block, choice in choices if last in block.model_fields]


def _choices(node: Node, prefix: str) -> Iterator[tuple[type[Block], str]]:
    for block in node.blocks:
        words = literals(block.model_fields[node.tag]) if node.tag else ()
        yield block, f"{prefix}{node.tag}: {' or '.join(words)}" if words else ""
