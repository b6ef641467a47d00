"""The first line of a comparison: are the weights the same, and if not, why not."""

from __future__ import annotations

import json
from typing import Any

from toolkit.data.fingerprint import DataChanges
from toolkit.runs.diff import AFTERWARDS, Change, RunDiff

MOST_LISTED, LONGEST_VALUE = 6, 24


def verdict(diff: RunDiff) -> str:
    """One line: ``same config, same data, same environment: same weights``, ``weights differ: seed 0/1``."""
    later = [f"{change.key} of the last epoch" for change in diff.learnt] + [number.key for number in diff.metrics]
    others = _listed([*map(told, diff.config), *_beyond_config(diff), *later])
    if diff.same_weights and others:
        return f"same weights, though these differ: {others}"
    if diff.same_weights:
        return f"same config, {'data not known' if diff.data is None else 'same data'}, same environment: same weights"
    if diff.same_weights is None:
        line = f"weights cannot be compared; what differs: {others or 'nothing'}"
    else:
        causes = _listed(_causes(diff))
        line = f"weights differ: {causes}" if causes else "weights differ, and nothing that they depend on does"
    return line if diff.data is not None else f"{line}; whether the data is the same is not known"


def _causes(diff: RunDiff) -> list[str]:
    """What may have led to other weights: of the data the pictures themselves, where they are known."""
    config = [change for change in diff.config if not change.key.startswith(AFTERWARDS)]
    if diff.data is not None:
        config = [c for c in config if not c.key.startswith("data.") or c.key == "data.classes"]
    return [*map(told, config), *_beyond_config(diff)]


def _beyond_config(diff: RunDiff) -> list[str]:
    found = [f"data ({told_data(diff.data)})"] if diff.data else []
    found += map(told, diff.environment)
    last = diff.weights.get("last")
    if last and last["a"]["steps"] != last["b"]["steps"]:
        found.append(f"steps {last['a']['steps']}/{last['b']['steps']}")
    return found


def _listed(found: list[str]) -> str:
    more = len(found) - MOST_LISTED
    return ", ".join(found[:MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def told(change: Change) -> str:
    """``seed 0/1``; the key alone where the values are long."""
    a, b = shown(change.a), shown(change.b)
    return f"{change.key} {a}/{b}" if max(len(a), len(b)) <= LONGEST_VALUE else change.key


def told_data(data: DataChanges) -> str:
    """``3 pictures differ``."""
    if not data.pictures:
        return "the pictures stand in another order"
    return "1 picture differs" if data.pictures == 1 else f"{data.pictures:,} pictures differ"


def shown(value: Any) -> str:
    """A value for a person: text as it is, anything else as JSON writes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
