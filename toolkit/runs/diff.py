"""What differs between two runs: config, data, environment, weights, metrics, and what cannot be told of old runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.data.fingerprint import DataChanges, compare
from toolkit.errors import UserError
from toolkit.runs.record import Record

MISSING = "-"  # stands where one of the two runs has no such key

# Keys that no weight depends on: names, and what is done with a network's output.
AFTERWARDS = ("name", "bundle.", "postprocess.")
# They differ with every start of the same training.
TIMINGS = ("seconds", "pictures_per_second")


@dataclass(frozen=True)
class Change:
    """A value that differs."""

    key: str
    a: Any
    b: Any


@dataclass(frozen=True)
class Number:
    """A metric of both runs, with its 95 % intervals where it has them; ``overlap`` says whether they share a value."""

    key: str
    a: float | None
    b: float | None
    difference: float | None
    interval_a: list[float] | None
    interval_b: list[float] | None
    overlap: bool | None


@dataclass(frozen=True)
class RunDiff:
    """What differs between the runs ``a`` and ``b``; what is the same is left out, but for ``weights``.

    ``data`` is None where a run kept no record of its pictures. ``weights`` has for best and last checkpoint whether
    they are the same, with steps and SHA-256 of both. ``not_known`` are sentences.
    """

    a: str
    b: str
    config: list[Change]
    data: DataChanges | None
    environment: list[Change]
    weights: dict[str, dict[str, Any]]
    metrics: list[Number]
    last_epoch: list[Change]
    not_known: list[str]

    @property
    def same_weights(self) -> bool | None:
        """Whether every checkpoint that both have is the same; None where there is none."""
        return all(each["same"] for each in self.weights.values()) if self.weights else None

    @property
    def same(self) -> bool:
        """Whether nothing differs, timings aside."""
        found = (self.config, self.data, self.environment, self.metrics, self.learnt, self.same_weights is False)
        return not any(found)

    @property
    def learnt(self) -> list[Change]:
        """What differs in the last epoch, timings aside."""
        return [change for change in self.last_epoch if change.key not in TIMINGS]


def diff_runs(a: Record, b: Record) -> RunDiff:
    """Compare two runs. Raises ``UserError`` where a file in one is not what a training writes."""
    unknown: list[str] = []
    config = _changes(*_configs(a, b, unknown))
    data = None
    if a.pictures is None or b.pictures is None:
        unknown.append(f"whether the pictures differ: {_none_of(a, b, 'pictures')} kept no data.csv")
    else:
        data = compare(a.pictures, b.pictures)
    environment = _changes(*_environments(a, b, unknown))
    weights = {
        name: {"same": a.weights[name]["sha256"] == b.weights[name]["sha256"], "a": each, "b": b.weights[name]}
        for name, each in a.weights.items()
        if name in b.weights
    }
    if not weights:
        unknown.append(f"whether the weights differ: no hash and no checkpoint that can be read in {a} or {b}")
    if a.metrics and b.metrics:
        metrics = _compare_metrics(a.metrics, b.metrics)
    else:
        metrics = []
        unknown.append(f"whether the metrics differ: {_none_of(a, b, 'metrics')} has none")
    last_a, last_b = (dict(each.run.results()[-1]) if each.run.results() else {} for each in (a, b))
    return RunDiff(str(a), str(b), config, data, environment, weights, metrics, _changes(last_a, last_b), unknown)


def _configs(a: Record, b: Record, unknown: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both configs by key path, with the present defaults of keys that came later."""
    try:
        loaded = [each.run.config().config.model_dump(mode="json") for each in (a, b)]
    except UserError as error:
        reason = str(error).splitlines()[0]
        unknown.append(f"what a key that only one run has was in the other: a config is no longer accepted ({reason})")
        loaded = [a.written, b.written]
    flat_a, flat_b = (dict(_flat(each)) for each in loaded)
    if a.ending and b.ending:  # the classes that were found where the config names none
        for flat, record in ((flat_a, a), (flat_b, b)):
            flat["data.classes"] = flat.get("data.classes") or record.ending["classes"]
    return flat_a, flat_b


def _environments(a: Record, b: Record, unknown: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What may change a result and stands in no config, as far as both runs wrote it down."""
    environments = []
    for each in (a, b):
        kept = {key: value for key, value in each.environment.items() if key not in ("command", "started")}
        kept.update(kept.pop("packages", {}))
        if "code" not in kept:  # such old runs have the kind of processor, not its model
            kept.pop("processor", None)
        recorded = ("device", "threads", "start_weights")
        kept["processes"] = (each.ending or {}).get("processes", 1)  # runs that do not say had one
        environments.append({**kept, **{key: each.ending[key] for key in recorded if key in each.ending}})
    missing = environments[0].keys() ^ environments[1].keys()
    if missing:
        lacking = [str(each) for each, kept in zip((a, b), environments, strict=True) if missing - kept.keys()]
        unknown.append(
            f"whether these differ: {', '.join(sorted(missing))} ({' and '.join(lacking)} did not record it)"
        )
    first, second = ({key: each[key] for key in each if key not in missing} for each in environments)
    return first, second


def _none_of(a: Record, b: Record, part: str) -> str:
    return " and ".join(str(each) for each in (a, b) if not getattr(each, part))


def _compare_metrics(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Number]:
    """The numbers that differ, in the order of ``a``."""
    numbers_a, numbers_b = _numbers(a), _numbers(b)
    ranges_a, ranges_b = (dict(_flat(metrics.get("intervals", {}))) for metrics in (a, b))
    found = []
    for key in dict.fromkeys([*numbers_a, *numbers_b]):
        first, second = numbers_a.get(key), numbers_b.get(key)
        if first != second:
            near_a, near_b = _interval(ranges_a, key), _interval(ranges_b, key)
            difference = None if first is None or second is None else second - first
            found.append(Number(key, first, second, difference, near_a, near_b, _overlap(near_a, near_b)))
    return found


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """Every number outside the intervals by key path; None for one that is not defined (NaN)."""
    flat = _flat({key: value for key, value in metrics.items() if key != "intervals"})
    return {
        key: value if value == value else None
        for key, value in flat
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _interval(ranges: Mapping[str, Any], key: str) -> list[float] | None:
    # Detection keeps the numbers of all classes under "coco", and their intervals without it.
    found = ranges.get(key, ranges.get(key.removeprefix("coco.")))
    return found if isinstance(found, list) and None not in found else None


def _overlap(a: list[float] | None, b: list[float] | None) -> bool | None:
    return None if a is None or b is None else a[0] <= b[1] and b[0] <= a[1]


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value inside by key path; a list of named blocks, such as augmentations, gives their keys and its order."""
    for key, inner in value.items():
        names = [name for block in inner for name in block] if _holds_blocks(inner) else []
        if isinstance(inner, dict):
            yield from _flat(inner, f"{prefix}{key}.")
        elif names and len(set(names)) == len(names):
            yield f"{prefix}{key} (order)", names
            yield from _flat({name: block[name] for block in inner for name in block}, f"{prefix}{key}.")
        else:
            yield prefix + str(key), inner


def _holds_blocks(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) and len(each) == 1 for each in value)


def _changes(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Change]:
    keys = dict.fromkeys([*a, *b])
    return [
        Change(key, a.get(key, MISSING), b.get(key, MISSING))
        for key in keys
        if a.get(key, MISSING) != b.get(key, MISSING)
    ]
