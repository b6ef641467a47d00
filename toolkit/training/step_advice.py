"""What the times of a training's steps say: what bounds it, and which key to change."""

from __future__ import annotations

import math

from toolkit.training.step_times import StepTimes

NOTICED = 0.1  # a share of a step below this is not worth a change
SPARE = 1.5  # how much faster than the network the loader should be: some pictures take longer than others
DECODING = 0.8  # cold over warm below this: decoding is a good part of making a batch


def advice(times: StepTimes) -> list[str]:
    """Sentences, each with the key to change; the first says what bounds the training."""
    share = times.shares[times.bound]
    told = [f"{share:.0%} of a step {SAID[times.bound]}"]
    if times.shares["data"] >= NOTICED:
        told += _for_data(times)
    if times.bound == "compute":
        told += _for_compute(times)
    if times.shares["transfer"] >= NOTICED:
        told.append("a smaller train.input_size leaves less to move to the device")
    return told


SAID = {
    "data": "waits for the loader",
    "transfer": "moves the batch to the device",
    "compute": "computes: loading is fast enough",
}


def _for_data(times: StepTimes) -> list[str]:
    told = []
    rates = times.pictures_per_second
    kept = min(1.0, times.cache_mb / times.decoded_mb)
    if kept < 1 and rates["data_cold"] < DECODING * rates["data_warm"]:
        told.append(
            f"data.cache_mb={math.ceil(times.decoded_mb)} keeps all decoded pictures; {times.cache_mb:g} keeps"
            f" {kept:.0%} of them"
        )
    each = rates["data_warm"] / max(times.workers, 1)
    wanted = math.ceil(SPARE * rates["compute"] / each)
    if times.workers < min(wanted, times.cores):
        told.append(
            f"data.workers={min(wanted, times.cores)}: one process makes {each:.0f} pictures/s, the network takes"
            f" {rates['compute']:.0f}"
        )
    elif wanted > times.workers:
        told.append(
            f"the loader is short of cores ({times.cores} here): fewer transforms in augment.albumentations, or"
            " pictures stored smaller, make it faster"
        )
    return told


def _for_compute(times: StepTimes) -> list[str]:
    told = []
    if times.precision_asked == "fp32":
        told.append("train.precision=auto measures whether bf16 is faster")
    if times.device == "cpu" and times.threads < times.cores:
        told.append(f"train.threads={times.cores} uses all cores; it has {times.threads}")
    told.append(
        "a smaller network (model.name), a smaller train.input_size"
        + (" or a GPU (train.device) makes it faster" if times.device == "cpu" else " makes it faster")
    )
    return told
