"""The list of operators in docs/ops.md, a line each, made of their docstrings: ``python tests/operator_lines.py``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ops

DOCUMENT = Path(__file__).parents[1] / "docs/ops.md"
HEADING = "the same letter, the same size.\n"


def first_statement(text: str) -> str:
    """Up to a stop, colon or semicolon after a word, a bracket or a quote, outside parentheses."""
    text = " ".join(text.split())
    for stop in re.finditer(r"(?<=[\w\])`][.:;])(?: |$)", text):
        before = text[: stop.start() - 1]
        if before.count("(") == before.count(")"):
            return before
    return text.rstrip(".")


class Shown(str):
    """A default in words: a type by its name, ours without what it holds."""

    __repr__ = str.__str__


def default(value: Any) -> Any:
    if isinstance(value, type):
        return value if value is inspect.Parameter.empty else Shown(value.__name__)
    ours = type(value).__module__.startswith("ops.")
    return Shown(f"{type(value).__name__}(…)") if ours else value


def called_with(thing: Callable[..., Any]) -> str:
    """Names and defaults."""
    signature, none = inspect.signature(thing), inspect.Parameter.empty
    bare = [each.replace(annotation=none, default=default(each.default)) for each in signature.parameters.values()]
    return str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))


def line_of(name: str) -> str:
    """What it is called with, what it does, what it takes, what comes back, and where it runs."""
    thing = getattr(ops, name)
    text = inspect.getdoc(thing) or ""
    first = " ".join(text.split("\n\n")[0].split()).replace("::", ".")
    if not inspect.isfunction(thing):
        return f"- `{name}`: {first}"
    given = re.search(r"^Args:\n((?: {4}.*\n?|\n)+)", text, re.MULTILINE)
    items = re.findall(r"^ {4}(\S.*?): (.*(?:\n {8}.*)*)", given[1] if given else "", re.MULTILINE)
    takes = "; ".join(f"`{names}` {first_statement(about)}" for names, about in items)
    returned = re.search(r"^Returns:\n((?: {4}.*\n?)+)", text, re.MULTILINE)
    back = first_statement(returned[1]) if returned else ""
    parts = [first, f"Takes {takes}." if takes else "", f"Returns {back}." if back else ""]
    parts.append("" if "Takes device arrays too" in " ".join(text.split()) else "CPU only.")
    return f"- `{name}{called_with(thing)}`: {' '.join(filter(None, parts))}"


def lines() -> list[str]:
    return [line_of(name) for name in sorted(ops.__all__, key=str.lower)]


def written() -> tuple[str, list[str], str]:
    """The document before the list, the list, and what follows it."""
    before, after = DOCUMENT.read_text(encoding="utf-8").split(HEADING, 1)
    listed, rest = re.fullmatch(r"\n((?:- .*\n)*)(.*)", after, re.DOTALL).groups()  # type: ignore[union-attr]
    return before, listed.splitlines(), rest


if __name__ == "__main__":
    before, _, rest = written()
    DOCUMENT.write_text(before + HEADING + "\n" + "\n".join(lines()) + "\n" + rest, encoding="utf-8")
