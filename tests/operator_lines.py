"""The list of operators in docs/ops.md, a line each, made of their docstrings: ``python tests/operator_lines.py``."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import ops

DOCUMENT = Path(__file__).parents[1] / "docs/ops.md"
HEADING = "## The list\n"


def line_of(name: str) -> str:
    """What it is called with, what it does, what comes back, and where it runs."""
    thing = getattr(ops, name)
    text = inspect.getdoc(thing) or ""
    first = " ".join(text.split("\n\n")[0].split()).replace("::", ".")
    if not inspect.isfunction(thing):
        return f"- `{name}`: {first}"
    given = ", ".join(inspect.signature(thing).parameters)
    returned = re.search(r"^Returns:\n((?: {4}.*\n?)+)", text, re.MULTILINE)
    # The first statement of it: up to a stop, colon or semicolon after a word, a bracket or a quote.
    back = re.split(r"(?<=[\w\])`])[.:;] ", " ".join(returned[1].split()))[0].rstrip(".") if returned else ""
    where = "" if "Takes device arrays too" in " ".join(text.split()) else " CPU only."
    return f"- `{name}({given})`: {first}{f' Returns {back}.' if back else ''}{where}"


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
