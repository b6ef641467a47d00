"""Tables of classes under names: every class under one, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_bundle import MAKERS, make_tiny_bundle, tiny_spec

from toolkit.errors import UserError
from toolkit.grouping import fault_of, name_of
from toolkit.training.task import training_task

LABELS = ("glass", "paper", "metal")
WHOLE = {"recyclable": ("glass", "metal"), "dry": ("paper",)}


@pytest.mark.parametrize(
    ("groups", "fault"),
    [
        ({}, None),
        (WHOLE, None),
        (
            {**WHOLE, "wet": ()},
            "bins.wet: no class belongs to this bin; name some of glass, paper, metal, or remove it",
        ),
        (
            {"dry": ("papre",)},
            "bins.dry: no class is called 'papre'; did you mean 'paper'?; the classes are glass, paper, metal",
        ),
        ({**WHOLE, "wet": ("metal",)}, "bins: metal stands in recyclable and in wet; a class belongs to one bin"),
        (
            {"dry": ("paper", "paper", "glass", "metal")},
            "bins: paper stands in dry and in dry; a class belongs to one bin",
        ),
        ({"dry": ("paper", "glass")}, "bins: metal stands in none; every class belongs to one bin"),
    ],
)
def test_faults(groups: dict[str, tuple[str, ...]], fault: str | None) -> None:
    assert fault_of(groups, LABELS, "bins", "bin") == fault


def test_the_name_of_a_class() -> None:
    assert [name_of(WHOLE, label) for label in LABELS] == ["recyclable", "dry", "recyclable"]


def test_a_bundle_that_groups_what_it_does_not_know(tmp_path: Path) -> None:
    spec = make_tiny_bundle(tmp_path / "b", measures={"groups": {"any": ("warm", "cold")}})
    text = (spec / "bundle.yaml").read_text().replace("    any:\n    - warm\n", "    any:\n    - wram\n")
    (spec / "bundle.yaml").write_text(text)
    with pytest.raises(UserError, match=r"measures\.groups\.any: no class is called 'wram'; did you mean 'warm'"):
        make_tiny_bundle(spec)


def test_a_bundles_groups_are_of_its_classes() -> None:
    with pytest.raises(ValueError, match=r"measures\.groups: cold stands in none; every class belongs to one group"):
        tiny_spec(measures={"groups": {"any": ("warm",)}})


def test_a_training_finds_it_before_the_first_step() -> None:
    class Table:
        class_names = ("warm", "cold")

    class Config:
        class measures:  # noqa: N801
            groups = {"all": ("warm", "cold")}  # noqa: RUF012

        class postprocess:  # noqa: N801
            bins = {"hot": ("warm",)}  # noqa: RUF012

    for task in ("detection", "classification"):
        with pytest.raises(UserError, match=r"^postprocess\.bins: cold stands in none"):
            training_task(task).check(Config, Table)  # type: ignore[arg-type]


@pytest.mark.parametrize("task", ["detection", "classification"])
def test_a_bundles_bins_are_of_its_classes(task: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"postprocessing\.bins\.all: no class is called 'wram'"):
        MAKERS[task](tmp_path, postprocessing={"bins": {"all": ("wram",)}})
