"""``toolkit zoo``: what it tells is what the bundles' own files say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_bundle import make_tiny_bundle, tiny_network, tiny_spec

from toolkit.bundle import write_bundle
from toolkit.bundles import find, names

Run = Callable[..., tuple[int, str, str]]


def told(block: dict[str, Any], around: dict[str, Any], key: str) -> str:
    low, high = around[key]
    return f"{block[key]:.3f} [{low:.3f}, {high:.3f}]"


def test_the_list_has_each_bundles_numbers_and_intervals(run: Run) -> None:
    code, out, _ = run("zoo")
    assert code == 0
    for name in names():
        metrics = json.loads((find(name) / "metrics.json").read_text(encoding="utf-8"))
        around = metrics["intervals"]
        line = {
            "detection": lambda m, a: f"AP50 {told(m['coco'], a, 'AP50')}",
            "classification": lambda m, a: f"macro-recall {told(m, a, 'macro_recall')}",
            "segmentation": lambda m, a: (
                f"Dice lesion {told(m['per_class']['lesion'], a['per_class']['lesion'], 'dice')}"
            ),
        }[metrics["bundle"]["task"]](metrics, around)
        assert f"{name} {metrics['bundle']['version']}" in out
        assert line in out


def test_the_list_for_programs(run: Run) -> None:
    code, out, _ = run("zoo", "--json")
    assert code == 0
    listed = {row["name"]: row for row in json.loads(out)}
    assert sorted(listed) == names()
    row, folder = listed["mask_detection"], find("mask_detection")
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert row["bytes"] == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert row["numbers"]["AP"] == {"value": metrics["coco"]["AP"], "interval": metrics["intervals"]["AP"]}
    assert row["labels"] == ["with_mask", "without_mask", "mask_worn_incorrectly"]
    assert row["measured_on"] == "133 pictures, 462 boxes of the split val"


def test_one_tells_all_its_numbers(run: Run) -> None:
    code, out, _ = run("zoo", "ct_pneumonia")
    assert code == 0
    for words in ("ct_pneumonia ", ": segmentation, ", "not for: Clinical use", "lung (region)", "group"):
        assert words in out
    code, out, _ = run("zoo", "ct_pneumonia", "--json")
    assert json.loads(out)["metrics"] == json.loads((find("ct_pneumonia") / "metrics.json").read_text(encoding="utf-8"))


def test_a_bundle_that_was_never_measured(run: Run, tmp_path: Path) -> None:
    write_bundle(tmp_path / "mine", tiny_spec(), {"model.onnx": tiny_network()})
    code, out, _ = run("zoo", "mine")
    assert code == 0
    assert "measured: nothing" in out
    assert "unsure at scores: never" in out


def test_numbers_that_are_not_ours(run: Run, tmp_path: Path) -> None:
    make_tiny_bundle(tmp_path / "mine")
    code, _, err = run("zoo", "mine")
    assert code == 2
    assert "mine: metrics.json does not hold what `toolkit evaluate` writes" in err


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mask_detecton", "no bundle, run or file called 'mask_detecton'; did you mean 'mask_detection'?"),
        ("nothing_like_it", "shipped bundles: ct_pneumonia, garbage_classification"),
    ],
)
def test_a_typo(name: str, sentence: str, run: Run) -> None:
    code, _, err = run("zoo", name)
    assert code == 2
    assert sentence in err
