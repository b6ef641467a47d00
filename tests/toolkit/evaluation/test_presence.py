"""Presence of a class in a picture: the area under the curve against all pairs, the rest against counting by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled_folders import FOLDERS
from tiny_bundle import MAKERS
from typer.testing import CliRunner

from toolkit.api import evaluate_with
from toolkit.cli.main import app
from toolkit.errors import UserError
from toolkit.evaluation.presence import Presence, best_threshold, chosen_elsewhere, roc_auc
from toolkit.evaluation.resampling import once
from toolkit.evaluation.segmentation_metrics import SegmentationCounts, measure_segmentation

NAMES = ("background", "lung", "lesion")
LEAST = {"lesion": 0.4, "lung": 0.9}


def slow_auc(scores: list[float], true: list[bool]) -> float:
    """Of all pairs of a picture with and one without: how many are in order."""
    pairs = [(a, b) for a, held in zip(scores, true, strict=True) if held
             for b, other in zip(scores, true, strict=True) if not other]  # fmt: skip
    return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs) if pairs else np.nan


AREAS: list[tuple[list[float], list[int], float]] = [
    ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 0.75),  # three of four pairs in order
    ([0.2, 0.8], [0, 1], 1.0),
    ([0.8, 0.2], [0, 1], 0.0),
    ([0.0, 0.0, 0.0], [1, 0, 1], 0.5),  # nothing is told apart
    ([0.3, 0.3, 0.9], [0, 1, 1], 0.75),
    ([0.3, 0.9], [1, 1], np.nan),
    ([0.3], [0], np.nan),
]


@pytest.mark.parametrize(("scores", "true", "area"), AREAS)
def test_areas_by_hand(scores: list[float], true: list[int], area: float) -> None:
    found = roc_auc(np.array(scores), np.array(true, bool), once(len(scores)))
    assert found == pytest.approx([area], nan_ok=True)


@pytest.mark.parametrize("seed", range(4))
def test_areas_of_drawn_pictures_against_all_pairs(seed: int) -> None:
    """A weight is how often a picture is there."""
    rng = np.random.default_rng(seed)
    scores, true = rng.integers(8, size=25) / 7, rng.random(25) < 0.7
    weights = rng.integers(3, size=(5, 25))
    slow = [slow_auc(np.repeat(scores, row).tolist(), np.repeat(true, row).tolist()) for row in weights]
    assert roc_auc(scores, true, weights) == pytest.approx(slow)


THRESHOLDS: list[tuple[list[float], list[int], float | None]] = [
    ([0.1, 0.3, 0.5], [0, 1, 1], 0.2),
    ([0.1, 0.3, 0.5, 0.6], [0, 1, 0, 1], 0.2),  # from 0.2 or from 0.55 on: one of each kind is wrong either way
    ([0.6, 0.3], [0, 1], 0.3),  # nothing is better than to call all present
    ([0.2, 0.2], [0, 1], 0.2),
    ([0.2, 0.4], [1, 1], None),
]


@pytest.mark.parametrize(("scores", "true", "threshold"), THRESHOLDS)
def test_the_best_threshold(scores: list[float], true: list[int], threshold: float | None) -> None:
    found = best_threshold(np.array(scores), np.array(true, bool))
    assert found == (None if threshold is None else pytest.approx(threshold))


def as_presence(scores: list[float], true: list[int], known: list[int] | None = None) -> Presence:
    held, size = np.array(true, bool)[:, None], len(true)
    seen = np.array(known or [1] * size, bool)
    return Presence(("lesion",), np.array([0.5]), seen, held, np.array(scores)[:, None], np.zeros((size, 1)))


def test_a_folds_threshold_is_chosen_on_the_others() -> None:
    """In a the two kinds meet at 0.5, in b at 0.2; the last picture of b has no labels."""
    a = as_presence([0.4, 0.6, 0.7], [0, 1, 1])
    b = as_presence([0.1, 0.3, 0.3, 0.0], [0, 1, 0, 1], [1, 1, 1, 0])
    found = chosen_elsewhere({"a": a, "b": b})["lesion"]
    assert found == {
        "thresholds": {"a": pytest.approx(0.2), "b": pytest.approx(0.5)},
        "sensitivity": pytest.approx(2 / 3),  # of a both, of b none
        "specificity": pytest.approx(2 / 3),  # of a none, of b both
        "balanced_accuracy": pytest.approx(2 / 3),
        "threshold": pytest.approx(0.5),
    }
    alone = chosen_elsewhere({"a": a})["lesion"]
    assert alone["thresholds"] == {"a": None}
    assert (alone["balanced_accuracy"], alone["threshold"]) == (None, pytest.approx(0.5))


def drawn(pictures: int = 14, seed: int = 0) -> tuple[SegmentationCounts, list[dict[str, Any]]]:
    """Counted pictures with scores, and of each what is true; of the last no pixel is labelled."""
    rng = np.random.default_rng(seed)
    counts, rows = SegmentationCounts(3), []
    for index in range(pictures):
        truth = rng.integers(3 if index % 3 else 2, size=(6, 7)).astype(np.uint8)
        predicted = rng.integers(3 if index % 4 else 2, size=(6, 7)).astype(np.uint8)
        scores = {"lung": float(rng.random()), "lesion": float(rng.integers(5)) / 4}
        if index == pictures - 1:
            truth[:] = 255
        else:
            both, either = (truth == 2) & (predicted == 2), (truth == 2).sum() + (predicted == 2).sum()
            rows.append({**scores, "held": bool((truth == 2).any()), "dice": 2 * both.sum() / either if either else 0})
        counts.add(truth, predicted, "", ("x", "y")[index % 2], scores)
    return counts, rows


def by_hand(rows: list[dict[str, Any]]) -> dict[str, Any]:
    held, free = [row for row in rows if row["held"]], [row for row in rows if not row["held"]]
    sensitivity = sum(row["lesion"] >= 0.4 for row in held) / len(held)
    specificity = sum(row["lesion"] < 0.4 for row in free) / len(free)
    return {
        "auc": slow_auc([row["lesion"] for row in rows], [row["held"] for row in rows]),
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "dice_where_true": sum(row["dice"] for row in held) / len(held),
    }


def test_every_number_by_hand() -> None:
    counts, rows = drawn()
    found = measure_segmentation(counts, NAMES, presence=LEAST)
    held = sum(row["held"] for row in rows)
    sizes = {"threshold": 0.4, "pictures": held, "without": len(rows) - held}
    assert found["presence"]["lesion"] == pytest.approx({**by_hand(rows), **sizes})
    assert found["per_source"]["x"]["presence"]["lesion"] == pytest.approx(by_hand(rows[::2]))
    around = found["intervals"]["presence"]["lesion"]
    for key, value in by_hand(rows).items():
        assert around[key][0] < value < around[key][1]
    assert found["presence"]["lung"]["auc"] is None  # it is everywhere
    assert found["presence"]["lung"]["specificity"] is None
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_what_is_not_asked_for_is_not_told() -> None:
    found = measure_segmentation(drawn()[0], NAMES)
    assert "presence" not in found
    with pytest.raises(ValueError, match="presence: expected some of background, lung, lesion, got heart"):
        measure_segmentation(drawn()[0], NAMES, presence={"heart": 0.5})


@pytest.fixture
def things(tmp_path: Path) -> tuple[Path, Path]:
    return MAKERS["segmentation"](tmp_path / "bundle"), FOLDERS["segmentation"](tmp_path / "pictures")


def test_a_bundle_is_asked_for_it_on_any_folder(things: tuple[Path, Path]) -> None:
    bundle, folder = things
    asked = ["postprocess.presence={warm: 0.5, cold: 0.5}"]
    metrics = evaluate_with(bundle, asked, data=folder)
    plain = evaluate_with(bundle, data=folder)
    assert {key: value for key, value in metrics.items() if key in plain and key != "intervals"} == {
        key: value for key, value in plain.items() if key != "intervals"
    }
    assert set(metrics["presence"]) == {"warm", "cold"}
    printed = CliRunner().invoke(app, ["evaluate", str(bundle), *asked, "--data", str(folder), "--no-report"])
    assert printed.exit_code == 0
    lines = [line.split() for line in printed.stdout.splitlines()]
    head = next(index for index, line in enumerate(lines) if line[:2] == ["presence", "of"])
    assert [line[0] for line in lines[head + 1 : head + 3]] == ["warm", "cold"]
    assert lines[head + 1][-2:] == [str(metrics["presence"]["warm"][key]) for key in ("pictures", "without")]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            "postprocess.presence={worm: 0.5}",
            "postprocess.presence={worm: 0.5}: postprocessing.presence: worm is not among the labels; the model's"
            " classes are background, warm, cold",
        ),
        ("postprocess.presence={warm: 2}", "postprocess.presence.warm: expected 1 or less, got 2"),
        ("postprocess.presense={warm: 1}", "unknown key; did you mean 'presence'?"),
    ],
)
def test_what_cannot_be_asked(asked: str, sentence: str, things: tuple[Path, Path]) -> None:
    with pytest.raises(UserError) as caught:
        evaluate_with(things[0], [asked], data=things[1])
    assert sentence in str(caught.value)
