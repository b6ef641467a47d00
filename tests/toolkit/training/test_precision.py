"""``train.precision: auto``: what is chosen from which times, that it is measured once, and that the run keeps it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from toolkit.api import train_from
from toolkit.config import load_config
from toolkit.training import precision
from toolkit.training.precision import Precision, measure, settle

# Seconds a picture of fp32 and bf16; batch size; the choice, and the pictures of the steps that decided it.
CHOICES = [
    (0.010, 0.005, 16, "bf16", 16),
    (0.010, 0.0092, 16, "fp32", 16),  # not worth it
    (0.010, 0.0090, 16, "bf16", 16),
    (0.005, 0.010, 16, "fp32", 16),
    (0.100, 0.050, 64, "bf16", 10),  # as many as 8 s allow
    (0.100, 1.0, 64, "fp32", 2),
    (0.5, 30.0, 16, "fp32", 2),  # bf16 emulated: one step is enough
    (0.001, 0.0005, 1, "bf16", 1),
]


@pytest.mark.parametrize(("fp32", "bf16", "batch", "chosen", "pictures"), CHOICES)
def test_what_is_chosen(fp32: float, bf16: float, batch: int, chosen: str, pictures: int) -> None:
    found = measure(lambda name, count: {"fp32": fp32, "bf16": bf16}[name] * count, batch)
    assert (found.precision, found.pictures) == (chosen, pictures)
    expected = {"fp32": fp32 * pictures * 1e3, "bf16": bf16 * pictures * 1e3}
    assert found.milliseconds == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("fp32", "bf16", "batch"), [row[:3] for row in CHOICES if row[1] < 1])
def test_it_takes_less_than_ten_seconds(fp32: float, bf16: float, batch: int) -> None:
    taken: list[float] = []

    def step(name: Precision, count: int) -> float:
        taken.append({"fp32": fp32, "bf16": bf16}[name] * count)
        return taken[-1]

    measure(step, batch)
    assert sum(taken) < 10


def test_a_busy_moment_and_slow_first_steps_do_not_count() -> None:
    """The fastest of each counts: bf16 is disturbed in every round but the third, and fp32 in none."""
    number = {"fp32": 0, "bf16": 0}

    def step(name: Precision, count: int) -> float:
        number[name] += 1
        quiet = {"fp32": 0.008, "bf16": 0.006}[name]
        return quiet if name == "fp32" or number[name] == 4 else 1.4 * quiet

    assert measure(step, 16).precision == "bf16"


def test_a_clear_case_ends_early() -> None:
    steps: list[str] = []

    def step(name: Precision, count: int) -> float:
        steps.append(name)
        return {"fp32": 0.001, "bf16": 0.002}[name] * count

    assert measure(step, 16).precision == "fp32"
    assert steps == ["fp32", *["fp32", "bf16"] * 3]  # kernels are compiled; two pictures; two rounds


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """The batch sizes that were measured; an empty cache; bf16 always wins."""
    batches: list[int] = []

    def measured(step: object, batch: int) -> precision.Measured:
        batches.append(batch)
        return precision.Measured("bf16", {"fp32": 20.0, "bf16": 10.0}, batch)

    monkeypatch.setattr(precision, "measure", measured)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return batches


# Another start of the same: what was changed, and whether it is measured anew.
CHANGES = [
    ([], False),
    (["seed=3", "train.epochs=9", "model.init=null"], False),
    (["train.batch_size=8"], True),
    (["model.input_size=[96,64]"], True),
    (["model.name=yolox_tiny"], True),
]


@pytest.mark.parametrize(("changes", "again"), CHANGES)
def test_it_is_measured_once(changes: list[str], again: bool, quick_config: Path, counted: list[int]) -> None:
    first, measured = settle(load_config(quick_config, ["train.precision=auto"]), 3)
    assert first.config.train.precision == "bf16"
    assert "measured now, kept in " in str(measured)
    second, kept = settle(load_config(quick_config, ["train.precision=auto", *changes]), 3)
    assert second.config.train.precision == "bf16"
    assert ("measured before, kept in " in str(kept)) is not again
    assert len(counted) == 1 + again


def test_other_threads_are_measured_anew(quick_config: Path, counted: list[int]) -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            settle(load_config(quick_config, ["train.precision=auto"]), 3)
    finally:
        torch.set_num_threads(before)
    assert len(counted) == 2


def test_a_cache_that_was_cut_off_is_written_anew(quick_config: Path, counted: list[int], tmp_path: Path) -> None:
    loaded = load_config(quick_config, ["train.precision=auto"])
    settle(loaded, 3)
    (file,) = (tmp_path / "cache/cv-toolkit/precision").iterdir()
    whole = file.read_text()
    file.write_text(whole[:40])
    settle(loaded, 3)
    assert len(counted) == 2
    assert file.read_text() == whole


def test_without_a_cache_it_is_measured_each_time(
    quick_config: Path, counted: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        _, measured = settle(load_config(quick_config, ["train.precision=auto"]), 3)
        assert "measured at every start, as it cannot be kept: " in str(measured)
    assert len(counted) == 2


def test_what_the_config_says_is_not_measured(quick_config: Path, counted: list[int]) -> None:
    loaded = load_config(quick_config)
    assert settle(loaded, 3) == (loaded, None)
    assert counted == []


def test_a_run_keeps_what_was_chosen_and_why(
    quick_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is replaced here: the network is measured, and the second run trains with the first one's answer."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("toolkit.training.train._finish", lambda run, *_: run)  # exports are tested elsewhere
    settings = ["train.precision=auto", "train.epochs=1", "augment.mosaic.off_epochs=0"]
    hashes = []
    for name, origin in (("a", "measured now"), ("b", "measured before")):
        run = train_from(quick_config, settings, run_dir=tmp_path / name)
        told = json.loads((run.path / "run.json").read_text())
        assert run.config().config.train.precision == told["precision"]["precision"]
        assert all(value > 0 for value in told["precision"]["milliseconds"].values())
        assert f"precision {told['precision']['precision']}: bf16 is " in (run.path / "train.log").read_text()
        assert origin in told["precision"]["origin"]
        hashes.append(told["weights"]["last"]["sha256"])
    assert hashes[0] == hashes[1]
