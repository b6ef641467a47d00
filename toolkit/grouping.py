"""Classes put together under names of a user's own, such as bins for waste: which such tables make sense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from toolkit.errors import suggest


def fault_of(groups: Mapping[str, Sequence[str]], labels: Sequence[str], key: str, noun: str) -> str | None:
    """What is wrong with a table that puts every class under one name, in a sentence; None if nothing.

    ``key`` is where the table stands; ``noun`` is what a name of it is called, such as "bin".
    """
    for name, parts in groups.items():
        if not parts:
            return f"{key}.{name}: no class belongs to this {noun}; name some of {', '.join(labels)}, or remove it"
        for part in parts:
            if part not in labels:
                nearest = suggest(part, labels)
                return f"{key}.{name}: no class is called {part!r}{nearest}; the classes are {', '.join(labels)}"
    for label in labels:
        owners = [name for name, parts in groups.items() for part in parts if part == label]
        if len(owners) > 1:
            return f"{key}: {label} stands in {' and in '.join(owners)}; a class belongs to one {noun}"
        if groups and not owners:
            return f"{key}: {label} stands in none; every class belongs to one {noun}"
    return None


def name_of(groups: Mapping[str, Sequence[str]], label: str) -> str:
    """The name that the class stands under."""
    return next(name for name, parts in groups.items() if label in parts)
