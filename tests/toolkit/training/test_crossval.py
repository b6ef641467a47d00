"""Cross-validation over sources: what is held out was not trained on, and the numbers are those of its pictures."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import toolkit
from toolkit.api import crossval_from
from toolkit.cli.crossval_tables import as_folds
from toolkit.cli.main import app
from toolkit.config import load_config
from toolkit.data import load_table
from toolkit.data.mask_files import read_mask
from toolkit.errors import UserError
from toolkit.evaluation.sections import Ranged
from toolkit.exporting import calibrate
from toolkit.training.crossval import Fold, folds_of, mean_of
from toolkit.training.launch import TORCHRUN

# Of the drawn pictures every second is of another source; two of one thing are of both.
SHORT = ["train.epochs=1", "data.check_groups=false", "augment.albumentations=[]"]


@pytest.fixture(scope="module")
def done(quick_configs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("crossval")
    return folder, crossval_from(quick_configs["classification"], SHORT, run_dir=folder)


def test_every_source_is_held_out_in_turn(done: tuple[Path, dict[str, Any]]) -> None:
    folder, result = done
    assert {name: fold["hold_out"] for name, fold in result["folds"].items()} == {
        "indoors": ["indoors"],
        "outdoors": ["outdoors"],
    }
    assert json.loads((folder / "crossval.json").read_text(encoding="utf-8")) == result
    for name, fold in result["folds"].items():
        with (folder / fold["run"] / "data.csv").open(encoding="utf-8", newline="") as file:
            split_of = {row["image"]: row["split"] for row in csv.DictReader(file)}
        parity = {"indoors": 0, "outdoors": 1}[name]
        held = {image: split for image, split in split_of.items() if int(Path(image).stem) % 2 == parity}
        assert len(held) == 30
        assert set(held.values()) == {"test"}
        assert "test" not in {split for image, split in split_of.items() if image not in held}


def test_the_numbers_are_those_of_the_held_out_pictures(done: tuple[Path, dict[str, Any]]) -> None:
    folder, result = done
    keys = {"top-1": "top1", "macro-recall": "macro_recall", "macro-F1": "macro_f1"}
    for fold in result["folds"].values():
        for part, split in (("held_out", "test"), ("validation", "val")):
            metrics = toolkit.evaluate(folder / fold["run"], split=split)
            assert fold[part]["pictures"] == metrics["data"]["pictures"]
            for name, number in fold[part]["numbers"].items():
                assert number == {"value": metrics[keys[name]], "interval": metrics["intervals"][keys[name]]}
    values = [fold["held_out"]["numbers"]["top-1"]["value"] for fold in result["folds"].values()]
    assert result["mean"]["held_out"]["top-1"]["value"] == pytest.approx(sum(values) / 2)


def test_called_again_it_keeps_what_is_finished(
    done: tuple[Path, dict[str, Any]], quick_configs: dict[str, Path]
) -> None:
    folder, result = done
    config = str(quick_configs["classification"])
    weights = [path.stat().st_mtime_ns for path in sorted(folder.glob("*/checkpoints/best.ckpt"))]
    printed = CliRunner().invoke(app, ["crossval", config, *SHORT, "--run-dir", str(folder)])
    assert [path.stat().st_mtime_ns for path in sorted(folder.glob("*/checkpoints/best.ckpt"))] == weights
    lines = printed.stdout.splitlines()
    assert lines[0] == "quick_classifier: 2 trainings, each measured on what it was trained without"
    assert lines[2].split() == ["held", "out", "top-1", "macro-recall", "macro-F1", "pictures"]
    number = result["folds"]["indoors"]["held_out"]["numbers"]["top-1"]
    low, high = number["interval"]
    assert lines[3].startswith(f"indoors   {number['value']:.3f} [{low:.3f}, {high:.3f}]")
    assert [line.split()[0] for line in lines[3:6]] == ["indoors", "outdoors", "mean"]
    as_json = CliRunner().invoke(app, ["crossval", config, *SHORT, "--run-dir", str(folder), "--json"])
    assert json.loads(as_json.stdout) == result
    with pytest.raises(
        UserError, match=r"1_indoors: was trained with another train.batch_size; give another --run-dir"
    ):
        crossval_from(config, [*SHORT, "train.batch_size=4"], run_dir=folder)


def test_abstention_asked_for_afterwards_needs_no_training(
    done: tuple[Path, dict[str, Any]], quick_configs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fold's threshold is fitted to its own validation pictures, and told beside the error on what it left out."""
    folder, before = done
    monkeypatch.setattr(calibrate, "LEAST", 1)
    asked = [*SHORT, "calibration.abstain_error=0.9"]
    weights = [path.stat().st_mtime_ns for path in sorted(folder.glob("*/checkpoints/best.ckpt"))]
    result = crossval_from(quick_configs["classification"], asked, run_dir=folder)
    assert [path.stat().st_mtime_ns for path in sorted(folder.glob("*/checkpoints/best.ckpt"))] == weights
    told = as_folds(result).splitlines()
    for name, fold in result["folds"].items():
        metrics = toolkit.evaluate(folder / fold["run"], split="test")
        assert fold["abstention"].items() <= metrics["abstention"].items()
        numbers = fold["held_out"]["numbers"]
        assert numbers["answered"]["value"] == metrics["abstention"]["answered"]
        assert numbers["error of answered"]["value"] == metrics["abstention"]["error"]
        assert numbers["top-1"] == before["folds"][name]["held_out"]["numbers"]["top-1"]
        assert any(line.startswith(f"{name}, fitted in validation") for line in told)
        assert any(line.startswith(f"{name}, answered over ") for line in told)
    assert set(result["abstention"]["folds"]) == set(result["folds"])
    assert any(line.startswith("of all folds: ") for line in told)
    back = crossval_from(quick_configs["classification"], SHORT, run_dir=folder)
    assert back == before


def test_a_segmentations_folds_are_counted_as_one_too(quick_configs: dict[str, Path], tmp_path: Path) -> None:
    """By patient, against Dice and pairs of pictures counted from the answers of each fold's own bundle."""
    asked = ["train.epochs=1", "data.folds={a: [p0, p1], b: [p3]}", "postprocess.presence={cold: 0.4}"]
    result = crossval_from(quick_configs["segmentation"], asked, run_dir=tmp_path)
    found: dict[str, list[tuple[float, bool]]] = {}
    hits = sizes = 0
    for name, fold in result["folds"].items():
        model = toolkit.load(tmp_path / fold["run"], device="cpu")
        table = load_table(load_config(tmp_path / fold["run"] / "config.yaml").config)
        for sample in table.subset("test").samples:
            answer, cold = model.predict_one(sample.path), read_mask(sample) == 2
            found.setdefault(name, []).append((answer.presence["cold"], bool(cold.any())))
            hits, sizes = hits + (cold & (answer.mask == 2)).sum(), sizes + cold.sum() + (answer.mask == 2).sum()
    assert {name: len(rows) for name, rows in found.items()} == {"a": 12, "b": 6}
    rows = [row for fold in found.values() for row in fold]
    pairs = [(a > b) + (a == b) / 2 for a, held in rows if held for b, other in rows if not other]
    assert result["pooled"]["pictures"] == 18
    numbers = result["pooled"]["numbers"]
    assert numbers["cold: AUC"]["value"] == pytest.approx(sum(pairs) / len(pairs))
    assert numbers["cold"]["value"] == pytest.approx(2 * hits / sizes)
    thresholds = result["presence"]["cold"]["thresholds"]
    right = [(score >= thresholds[name]) == held for name, part in found.items() for score, held in part]
    held = [row[1] for row in rows]
    sensitivity, specificity = (
        sum(ok for ok, one in zip(right, held, strict=True) if one == kind) / held.count(kind) for kind in (True, False)
    )
    assert result["presence"]["cold"]["balanced_accuracy"] == pytest.approx((sensitivity + specificity) / 2)
    told = as_folds(result).splitlines()
    assert [line.split()[0] for line in told[3:7]] == ["a", "b", "mean", "all"]
    assert any(line.startswith("cold, each fold by the best threshold of the others: balanced") for line in told)


def test_folds_that_a_config_names(quick_configs: dict[str, Path]) -> None:
    path = quick_configs["classification"]
    named = load_config(path, ["data.folds={a: [outdoors], b: [thing 1, thing 2]}"])
    assert folds_of(named, "source") == [Fold("a", ("outdoors",)), Fold("b", ("thing 1", "thing 2"))]
    groups = folds_of(load_config(path, []), "group")
    assert [fold.name for fold in groups] == sorted(f"thing {thing}" for thing in range(30))


@pytest.mark.parametrize(
    ("task", "overrides", "by", "sentence"),
    [
        ("classification", [], "fold", "--by fold: expected source or group"),
        (
            "segmentation",
            [],
            "source",
            "crossval holds out a source at a time, and the pictures tell of 0; name some under data.folds, tell"
            " them in a column source, or give --by group",
        ),
        (
            "detection",
            [],
            "group",
            "crossval holds out a group at a time, and the pictures tell of 0; name some under data.folds, tell"
            " them in a column group, or give --by source",
        ),
    ],
)
def test_what_cannot_be_held_out(
    task: str, overrides: list[str], by: str, sentence: str, quick_configs: dict[str, Path]
) -> None:
    with pytest.raises(UserError) as caught:
        folds_of(load_config(quick_configs[task], overrides), by)
    assert str(caught.value) == sentence


def test_not_under_torchrun(quick_configs: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TORCHRUN[0], "0")
    with pytest.raises(UserError, match="run it without torchrun"):
        folds_of(load_config(quick_configs["classification"], []), "source")


MEANS: list[tuple[list[Ranged], float | None, Callable[[], list[float]] | None]] = [
    ([], None, None),
    ([Ranged(None)], None, None),
    ([Ranged(0.5, (0.4, 0.7))], 0.5, lambda: [0.4, 0.7]),
    ([Ranged(0.5, (0.4, 0.7)), Ranged(None)], 0.5, lambda: [0.4, 0.7]),  # a class that one fold does not have
    ([Ranged(0.5, (0.4, 0.7)), Ranged(0.7)], 0.6, None),
    # Of four alike the mean is twice as sure.
    ([Ranged(v, (v - 0.1, v + 0.2)) for v in (0.2, 0.4, 0.6, 0.8)], 0.5, lambda: [0.45, 0.6]),
    ([Ranged(0.2, (0.2, 0.2)), Ranged(0.4, (0.3, 0.5))], 0.3, lambda: [0.25, 0.35]),
    ([Ranged(0.0, (-3, 3)), Ranged(0.0, (-4, 4))], 0.0, lambda: [-math.hypot(3, 4) / 2, 2.5]),
]


@pytest.mark.parametrize(("numbers", "mean", "bounds"), MEANS)
def test_the_mean_of_independent_numbers(
    numbers: list[Ranged], mean: float | None, bounds: Callable[[], list[float]] | None
) -> None:
    found = mean_of(numbers)
    assert found["value"] == (mean if mean is None else pytest.approx(mean))
    assert found["interval"] == (bounds if bounds is None else pytest.approx(bounds()))
