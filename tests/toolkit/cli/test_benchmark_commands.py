"""``toolkit benchmark train``: every part of a step has a time, and nothing is left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.training.step_times import PARTS

Command = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        ("detection", ["train.ema_decay=null"]),
        ("classification", ["data.workers=1", "train.precision=bf16"]),
        ("segmentation", ["train.clip_norm=null"]),
    ],
)
def test_every_part_is_timed(
    task: str, changes: list[str], run: Command, quick_configs: dict[str, Path], tmp_path: Path
) -> None:
    code, out, err = run("benchmark", "train", str(quick_configs[task]), *changes, "--steps", "4", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert sum(told["shares"].values()) == pytest.approx(1)
    assert told["bound"] == max(told["shares"], key=told["shares"].get)
    assert set(told["data"]) == {"cold", "warm"}
    assert list(told["parts"]) == list(PARTS)
    for low, median, high in told["parts"].values():
        assert 0 < low <= median <= high
    medians = [median for _, median, _ in told["parts"].values()]
    alone = 1e3 * told["batch_size"] / told["pictures_per_second"]["compute"]
    assert 0.5 < alone / sum(medians) < 2  # the median of sums is not the sum of medians
    assert told["batch_size"] / told["pictures_per_second"]["data_warm"] * 1e3 == pytest.approx(told["data"]["warm"])
    assert told["precision"] == ("bf16" if task == "classification" else "fp32")
    assert list(tmp_path.iterdir()) == []  # no run directory, nothing else


def test_people_get_tables_and_what_to_change(run: Command, quick_config: Path) -> None:
    code, out, err = run("benchmark", "train", str(quick_config), "--steps", "4")
    assert code == 0, err
    for expected in ("forward", "backward", "moving average", "loading alone, pictures in the cache", "% of a step "):
        assert expected in out


def test_a_mistake_is_a_sentence(run: Command, quick_config: Path) -> None:
    assert run("benchmark", "train", str(quick_config), "train.epohcs=3")[::2] == (
        2,
        "error: override train.epohcs=3: unknown key; did you mean 'epochs'?\n",
    )
