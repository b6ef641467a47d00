"""Tables of classes under names: every class under one, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_bundle import make_tiny_bundle, tiny_spec

from toolkit.errors import UserError
from toolkit.grouping import fault_of
from toolkit.training.task import training_task

LABELS = ("glass", "paper", "metal")
WHOLE = {"recyclable": ("glass", "metal"), "dry": ("paper",)}


@pytest.mark.parametrize(
    ("groups", "fault"),
    [
        ({}, None),
        (WHOLE, None),
        ({**WHOLE, "wet": ()}, ("wet", "no class belongs to this bin; name some of glass, paper, metal, or remove it")),
        (
            {"dry": ("papre",)},
            ("dry", "no class is called 'papre'; did you mean 'paper'?; the classes are glass, paper, metal"),
        ),
        ({**WHOLE, "wet": ("metal",)}, ("", "metal stands in recyclable and in wet; a class belongs to one bin")),
        (
            {"dry": ("paper", "paper", "glass", "metal")},
            ("", "paper stands in dry and in dry; a class belongs to one bin"),
        ),
        ({"dry": ("paper", "glass")}, ("", "metal stands in none; every class belongs to one bin")),
    ],
)
def test_faults(groups: dict[str, tuple[str, ...]], fault: tuple[str, str] | None) -> None:
    assert fault_of(groups, LABELS, "bin") == fault


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
            groups = {"hot": ("warm",)}  # noqa: RUF012

    with pytest.raises(UserError, match=r"^measures\.groups: cold stands in none"):
        training_task("detection").check(Config, Table)  # type: ignore[arg-type]
