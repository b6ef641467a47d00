"""The tables that ``toolkit crossval`` prints for people; programs take the JSON."""

from __future__ import annotations

from typing import Any

from toolkit.evaluation.sections import Ranged, Row, Section, as_lines, number
from toolkit.evaluation.trust import promise

TITLES = {"held_out": "held out", "validation": "validation"}
NOTE = (
    "In brackets the 95 % interval: percentile bootstrap of a fold, of the mean from those of the folds. It speaks of\n"
    "other pictures of these sources; how much another source would differ, the folds themselves show."
)


def as_folds(result: dict[str, Any]) -> str:
    """A table of the held-out pictures, fold by fold, one of their sources, and one of the validation pictures."""
    folds = result["folds"]
    lines = [f"{result['name']}: {len(folds)} trainings, each measured on what it was trained without"]
    for part, title in TITLES.items():
        mean = result["mean"][part]
        rows = [_row(name, fold[part]) for name, fold in folds.items()]
        rows.append(("mean", (*map(_cell, mean.values()), "")))
        if part == "held_out" and "pooled" in result:
            rows.append(_row("all together", result["pooled"]))
        lines += ["", *as_lines(Section(title, (*mean, "pictures"), tuple(rows)))]
    rows = [_row(f"{name}: {source}", row) for name, fold in folds.items() for source, row in _sources(fold).items()]
    if rows:
        lines += ["", *as_lines(Section("source", (*result["mean"]["held_out"], "pictures"), tuple(rows)))]
    return "\n".join([*lines, *_promises(folds), *_unsure(result), *_thresholds(result), "", NOTE])


def _thresholds(result: dict[str, Any]) -> list[str]:
    """How well the presence of classes is told by thresholds that were chosen without the fold they judge."""
    lines = []
    for name, row in result.get("presence", {}).items():
        accuracy, *parts = (number(row[key]) for key in ("balanced_accuracy", "sensitivity", "specificity"))
        judged = f"{name}, each fold by the best threshold of the others: balanced accuracy {accuracy}"
        told = f"{judged}, sensitivity {parts[0]}, specificity {parts[1]}"
        lines.append(f"{told}; the best of all folds is {number(row['threshold'])}")
    return ["", *lines] if lines else []


def _promises(folds: dict[str, dict[str, Any]]) -> list[str]:
    """What became of the stated error on what was held out: no threshold that was fitted without it promises that."""
    lines = []
    for name, fold in folds.items():
        if rule := fold.get("abstention"):
            error = fold["held_out"]["numbers"]["error of answered"]["value"]
            threshold = f"fitted in validation to answer over {rule['abstain_at']:.3f}"
            lines.append(f"{name}, {threshold}: {promise(error, rule['error_level'])}")
    return ["", *lines] if lines else []


def _unsure(result: dict[str, Any]) -> list[str]:
    """What thresholds keep that were chosen on sources which were not trained on either."""
    if not (block := result.get("abstention")):
        return []
    lines = []
    for name, row in block["folds"].items():
        said = f"answered over {number(row['threshold'])}: {row['answered']:.3f}, error {number(row['error'])}"
        lines.append(f"{name}, {said}; {promise(row['error'], block['error_level'])}")
    at = "none keeps it" if block["threshold"] is None else f"calibration.abstain_at: {block['threshold']:.3f}"
    return ["", "unsure by thresholds that the other folds' pictures keep:", *lines, f"of all folds: {at}"]


def _sources(fold: dict[str, Any]) -> dict[str, Any]:
    """The sources of a fold that has more than one."""
    sources: dict[str, Any] = fold["held_out"]["per_source"]
    return sources if len(sources) > 1 else {}


def _row(name: str, part: dict[str, Any]) -> Row:
    return name, (*map(_cell, part["numbers"].values()), part["pictures"])


def _cell(number: dict[str, Any]) -> Ranged:
    return Ranged(number["value"], number["interval"])
