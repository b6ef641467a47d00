"""Walks the schema by key path: which blocks may hold a key, which choices lead to each. It reads no files."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from toolkit.config.blocks import Block
from toolkit.config.schema import Config

# The choices that lead to a block, outermost first: (("task", ("detection",)), ("data.format", ("coco",))).
Choices = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Node:
    """A field that holds a block: the blocks that may stand there, and the key that chooses where there are several."""

    blocks: tuple[type[Block], ...]
    tag: str | None = None

    def choice(self, value: object) -> type[Block] | None:
        """Return the block whose literal is ``value``; the only block where there is no choice."""
        if self.tag is None:
            return self.blocks[0] if self.blocks else None
        return next((block for block in self.blocks if value in literals(block.model_fields[self.tag])), None)


@dataclass(frozen=True)
class Place:
    """A block at a key path, and the choices that put it there."""

    block: type[Block]
    choices: Choices

    @property
    def fields(self) -> dict[str, FieldInfo]:
        return self.block.model_fields

    @property
    def task(self) -> str:
        return self.choices[0][1][0]


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


# One config a task.
TASK = "task"
ROOT = Node(tuple(_blocks(Config)), TASK)


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


def all_keys(root: Node = ROOT) -> tuple[str, ...]:
    """Return every key path of the schema (or of a part of it), blocks included, in the order of the schema."""
    return tuple(dict.fromkeys(_keys(root, "")))


def _keys(node: Node, prefix: str) -> Iterator[str]:
    for block in node.blocks:
        for name, field in block.model_fields.items():
            yield prefix + name
            yield from _keys(node_of(field), f"{prefix}{name}.")


def places(path: Sequence[str]) -> list[Place]:
    """Return every block that may stand at a key path; an empty path gives the config of each task."""
    found = list(_inside([(ROOT, ())], ""))
    for depth, part in enumerate(path, 1):
        nodes = [(node_of(place.fields[part]), place.choices) for place in found if part in place.fields]
        found = list(_inside(nodes, f"{'.'.join(path[:depth])}."))
    return found


def _inside(nodes: Sequence[tuple[Node, Choices]], prefix: str) -> Iterator[Place]:
    # A task with one block has no choice there, but its block has the key by which the other tasks choose.
    tag = next((node.tag for node, _ in nodes if node.tag), None)
    for node, choices in nodes:
        for block in node.blocks:
            words = literals(block.model_fields[tag]) if tag and tag in block.model_fields else ()
            yield Place(block, (*choices, (f"{prefix}{tag}", words)) if words else choices)


def every_choice(path: Sequence[str]) -> list[Choices]:
    """Return all choices on the way to a key path, also those that do not lead to it: detection has no ``loss``."""
    ended = [
        place.choices for depth, part in enumerate(path) for place in places(path[:depth]) if part not in place.fields
    ]
    return ended + [place.choices for place in places(path)]


def find(key: str) -> list[tuple[Place, FieldInfo]]:
    """Return every block that has the key path, with its field; nothing for an unknown key."""
    *parents, last = key.split(".")
    return [(place, place.fields[last]) for place in places(parents) if last in place.fields]


def condition(some: Collection[Choices], every: Collection[Choices]) -> str:
    """Say which choices lead to ``some`` out of ``every``: ``data.format: coco or csv (task: segmentation)``.

    The outermost choice that tells them apart is named; "" where no choice is needed.
    """
    if set(some) == set(every):
        return ""
    choosing = list(dict.fromkeys(tag for choices in every for tag, _ in choices))
    for tag in choosing:
        words = _words([*some], tag)
        if {choices for choices in every if words.keys() & _words([choices], tag).keys()} == set(some):
            return _either_or_but(tag, words, _words([*every], tag))
    tag, worded = choosing[-1], []
    for word in _words([*some], tag):
        outer = condition(_outside(some, tag, word), _outside(every, tag, word))
        worded.append(f"{word} ({outer})" if outer else word)
    return f"{tag}: {any_of(worded)}"


def _outside(group: Collection[Choices], tag: str, word: str) -> list[Choices]:
    """The choices around the innermost one, where that is the given word."""
    return [choices[:-1] for choices in group if word in dict(choices).get(tag, ())]


def _words(group: Sequence[Choices], tag: str) -> dict[str, None]:
    """The words that choose by a tag, in order and without repeats."""
    return dict.fromkeys(word for choices in group for name, words in choices if name == tag for word in words)


def _either_or_but(tag: str, words: Collection[str], every: Collection[str]) -> str:
    others = [word for word in every if word not in words]
    if len(words) > 3 and len(others) <= 2:
        return f"every {tag} but {any_of(others)}"
    return f"{tag}: {any_of(words)}"


def any_of(words: Collection[str]) -> str:
    """Return ``a``, ``a or b``, ``a, b or c``."""
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last
