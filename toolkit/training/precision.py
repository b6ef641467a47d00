"""``train.precision: auto``: does bfloat16 make the steps of this network faster on this machine?

It is measured once and kept in the user's cache folder, so that one seed has one hash on one machine; the run's own
config says what was chosen.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import IO, Any, Literal

import numba
import torch
from pydantic import TypeAdapter

from toolkit.caches import cache_folder
from toolkit.config.load import LoadedConfig
from toolkit.config.schema import CommonConfig
from toolkit.training.device import device_name, training_device
from toolkit.training.network import build_network, training_size
from toolkit.training.run_folder import SHORT, environment

Precision = Literal["fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")

WORTH = 1.1  # bf16 is coarser: a gain that the next measurement would not find again is no reason for it
CLEAR = 1.5  # a ratio that no further round turns round
FEW = 2  # pictures of the first steps; batch normalisation needs two
ROUNDS, SECONDS = 5, 8.0

# Called with a precision and a number of pictures: the seconds of a forward and a backward pass.
Step = Callable[[Precision, int], float]


@dataclass(frozen=True)
class Measured:
    """What was chosen and why: the milliseconds of each precision's fastest step, of ``pictures`` pictures.

    ``origin`` says when it was measured, and where that is kept.
    """

    precision: Precision
    milliseconds: dict[Precision, float]
    pictures: int
    origin: str = ""

    def __str__(self) -> str:
        ratio = self.milliseconds["fp32"] / self.milliseconds["bf16"]
        times = ", ".join(f"{name} {each:.4g} ms" for name, each in self.milliseconds.items())
        return f"{self.precision}: bf16 is {ratio:.2f}x as fast ({times}, {self.pictures} pictures; {self.origin})"


def settle(loaded: LoadedConfig, classes: int) -> tuple[LoadedConfig, Measured | None]:
    """Put fp32 or bf16 in the place of ``train.precision: auto``; ``None``: the config says which."""
    measured = choice(loaded.config, classes)
    return chosen(loaded, measured), measured


def choice(config: CommonConfig, classes: int) -> Measured | None:
    """What to take for ``train.precision: auto``; ``None``: the config says which."""
    return _find(config, classes) if config.train.precision == "auto" else None


def chosen(loaded: LoadedConfig, measured: Measured | None) -> LoadedConfig:
    """The config with what was chosen in it."""
    if measured is None:
        return loaded
    train = loaded.config.train.model_copy(update={"precision": measured.precision})
    return replace(loaded, config=loaded.config.model_copy(update={"train": train}))


def measure(step: Step, batch: int) -> Measured:
    """Time steps of both precisions in turn, of as many of ``batch`` pictures as the time allows, and choose.

    The fastest step counts: whatever else the machine does only makes steps slower.
    """
    pictures = few = min(batch, FEW)
    step("fp32", few)  # not counted: operators may be compiled in it
    best = {name: step(name, few) for name in PRECISIONS}
    spent = ahead = sum(best.values())
    if spent < SECONDS / 2:
        pictures = min(batch, max(few, int((SECONDS - spent) / (ROUNDS * spent) * few)))
        ahead = spent * pictures / few
    for number in range(ROUNDS):
        if spent + ahead > SECONDS or (number > 1 and max(best.values()) > CLEAR * min(best.values())):
            break
        lap = {name: step(name, pictures) for name in PRECISIONS}
        best = {name: min(lap[name], best[name]) for name in PRECISIONS} if number else lap
        ahead = sum(lap.values())
        spent += ahead
    precision: Precision = "bf16" if best["fp32"] >= WORTH * best["bf16"] else "fp32"
    return Measured(precision, {name: round(seconds * 1e3, 3) for name, seconds in best.items()}, pictures)


def _find(config: CommonConfig, classes: int) -> Measured:
    """The answer from the cache, or a new one that is put there."""

    def new() -> Measured:
        return measure(_steps(config, classes), config.train.batch_size)

    what = _measured_on(config)
    name = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:SHORT]
    with contextlib.ExitStack() as held:
        try:
            path = cache_folder("precision") / f"{name}.json"
            file = held.enter_context(path.open("a+", encoding="utf-8"))
            fcntl.flock(file, fcntl.LOCK_EX)  # two trainings that start at once measure once, and undisturbed
        except OSError as error:
            return replace(new(), origin=f"measured at every start, as it cannot be kept: {error}")
        known = _read(file)
        if known:
            return replace(known, origin=f"measured before, kept in {path}")
        measured = new()
        file.truncate(0)
        json.dump({**asdict(measured), "of": what}, file, indent=2)
        return replace(measured, origin=f"measured now, kept in {path}")


def _read(file: IO[str]) -> Measured | None:
    """What the cache file says; nothing in a new one, or one that was cut off."""
    file.seek(0)
    try:
        return TypeAdapter(Measured).validate_json(file.read())
    except ValueError:
        return None


def _measured_on(config: CommonConfig) -> dict[str, Any]:
    """All that the answer may depend on."""
    here = environment()
    return {
        "network": config.model.model_dump(mode="json", exclude={"init"}),
        "batch_size": config.train.batch_size,
        "device": device_name(config.train.device),
        "threads": torch.get_num_threads(),
        "operator_threads": numba.get_num_threads(),
        "torch": torch.__version__,
        **{name: here[name] for name in ("processor", "cores", "code")},
    }


def _steps(config: CommonConfig, classes: int) -> Step:
    """Steps of a network like the config's, on noise: what they take does not depend on what is in the pictures."""
    device = training_device(config.train.device)
    network = build_network(config.model, classes).to(device, memory_format=torch.channels_last).train()
    noise = torch.rand(config.train.batch_size, 3, *training_size(config)).to(device, memory_format=torch.channels_last)

    def step(precision: Precision, count: int) -> float:
        started = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            raw = network(noise[:count])
        raw.float().square().mean().backward()
        network.zero_grad()
        if device.type != "cpu":
            torch.accelerator.synchronize()
        return time.perf_counter() - started

    return step
