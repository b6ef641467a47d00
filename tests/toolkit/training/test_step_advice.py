"""Which key is named for which times."""

from __future__ import annotations

from dataclasses import replace

import pytest

from toolkit.training.step_advice import advice
from toolkit.training.step_times import StepTimes

# A training on two cores that computes for nine tenths of its steps; every row below is what differs from it.
TIMES = StepTimes(
    config="x.yaml",
    device="cpu",
    cores=2,
    threads=2,
    workers=0,
    precision="fp32",
    precision_asked="auto",
    batch_size=16,
    input_size=(64, 64),
    pictures=100,
    decoded_mb=100.0,
    cache_mb=2048,
    data={"cold": 100.0, "warm": 50.0},
    parts={},
    pictures_per_second={"data_cold": 160.0, "data_warm": 320.0, "compute": 32.0, "together": 30.0},
    shares={"data": 0.05, "transfer": 0.01, "compute": 0.94},
)
WAITING = {"data": 0.6, "transfer": 0.0, "compute": 0.4}
FAST_GPU = {"data_cold": 90.0, "data_warm": 100.0, "compute": 400.0, "together": 90.0}
TABLE = [
    ({}, ["94% of a step computes", "a smaller network (model.name), a smaller train.input_size or a GPU"]),
    ({"precision_asked": "fp32"}, ["94% ", "train.precision=auto measures", "a smaller network"]),
    ({"precision_asked": "bf16"}, ["94% ", "a smaller network"]),
    ({"threads": 1}, ["94% ", "train.threads=2 uses all cores; it has 1", "a smaller network"]),
    ({"threads": 1, "device": "NVIDIA"}, ["94% ", "a smaller network (model.name), a smaller train.input_size makes"]),
    (
        {"shares": WAITING, "pictures_per_second": FAST_GPU, "cores": 16, "device": "NVIDIA"},
        [
            "60% of a step waits for the loader",
            "data.workers=6: one process makes 100 pictures/s, the network takes 400",
        ],
    ),
    # two processes make the hundred
    (
        {"shares": WAITING, "pictures_per_second": FAST_GPU, "cores": 16, "workers": 2},
        ["60% ", "data.workers=12: one process makes 50 pictures/s, the network takes 400"],
    ),
    (
        {"shares": WAITING, "pictures_per_second": FAST_GPU, "cores": 4, "workers": 2},
        ["60% ", "data.workers=4: one process makes 50 pictures/s, the network takes 400"],
    ),
    (
        {"shares": WAITING, "pictures_per_second": FAST_GPU, "cores": 4, "workers": 4},
        ["60% ", "the loader is short of cores (4 here): fewer transforms in augment.albumentations"],
    ),
    (
        {"shares": WAITING, "workers": 2, "decoded_mb": 4000.4},
        ["60% ", "data.cache_mb=4001 keeps all decoded pictures; 2048 keeps 51% of them"],
    ),
    # decoding is cheap beside the rest: keeping the pictures would change little
    (
        {"shares": WAITING, "workers": 6, "decoded_mb": 4000.0, "pictures_per_second": {**FAST_GPU, "compute": 10.0}},
        ["60% of a step waits for the loader"],
    ),
    (
        {"shares": {"data": 0.1, "transfer": 0.5, "compute": 0.4}, "workers": 2},
        ["50% of a step moves the batch to the device", "a smaller train.input_size leaves less to move"],
    ),
]


@pytest.mark.parametrize(("differs", "beginnings"), TABLE)
def test_what_is_told(differs: dict, beginnings: list[str]) -> None:
    told = advice(replace(TIMES, **differs))
    assert len(told) == len(beginnings)
    for sentence, beginning in zip(told, beginnings, strict=True):
        assert sentence.startswith(beginning)
