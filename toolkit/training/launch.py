"""Starts the processes of a training: on one machine the first starts the others, on several torchrun starts all.

Lightning's launcher would run the caller's own script again from its beginning, once for each device; the processes
started here run nothing but the training (`follower`).
"""

from __future__ import annotations

import contextlib
import datetime
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, TCPStore, rendezvous  # type: ignore[attr-defined]

from toolkit.config.schema import CommonConfig
from toolkit.errors import ToldElsewhere, UserError
from toolkit.inference.engine import usable_cores
from toolkit.training.notice import Notice
from toolkit.training.processes import Processes

TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# How long a process waits for the others' part of a step, and for what one makes for all, such as the checked data. A
# process that dies is noticed at once, by its closed connection; this is for a machine that falls silent.
TIMEOUT, PATIENT = datetime.timedelta(minutes=30), datetime.timedelta(hours=24)
# Seconds for the network to notice a process that is gone, and for the others to end after the last step.
PATIENCE = 30.0
HOME = Path(__file__).parents[2]
_trainings = itertools.count()  # of this process, which torchrun started


@contextlib.contextmanager
def together(config: CommonConfig, request: dict[str, Any]) -> Iterator[Processes]:
    """Yield this process as one of those that the config asks for; start the others where torchrun has not.

    ``request`` is what `follower` is to do. Raises ``UserError`` where devices, machines and batch do not fit.
    """
    settings = config.train
    by_torchrun = all(name in os.environ for name in TORCHRUN)
    devices = _checked_devices(config, by_torchrun)
    count = devices * settings.num_nodes
    if count == 1 and settings.strategy == "auto":
        yield Processes()
        return
    with contextlib.ExitStack() as held:
        held.callback(leave)
        lost: Callable[[], str | None] = lambda: None  # noqa: E731  # torchrun says it
        if by_torchrun:
            local_rank = int(os.environ["LOCAL_RANK"])
            store, rank, _ = next(rendezvous("env://", timeout=TIMEOUT))
            number = next(_trainings)
        else:
            rank = local_rank = number = 0
            store = TCPStore("127.0.0.1", 0, count, is_master=True, timeout=TIMEOUT, wait_for_workers=False)
            lost = held.enter_context(Followers(count, store.port, request)).lost
        shared = PrefixStore(f"training {number}", store)  # the addresses of a group before are still in the store
        notice = Notice(shared, rank, count, devices, lost)
        with notice.kept():
            dist.init_process_group(_backend(config), store=shared, rank=rank, world_size=count, timeout=TIMEOUT)
            held.enter_context(threads(settings.threads or max(1, usable_cores() // devices)))
            yield Processes(rank, count, local_rank, devices, *_groups(rank, devices, settings.num_nodes), notice)


def device_count(config: CommonConfig) -> int:
    """How many devices, and so processes, a machine has part in a training."""
    wanted, gpus = config.train.devices, torch.cuda.device_count() if uses_cuda(config) else 0
    if wanted == "auto":
        return max(gpus, 1)
    if gpus and wanted > gpus:
        raise UserError(f"train.devices={wanted}: torch finds {gpus} on this machine; give at most that, or auto")
    return wanted


def uses_cuda(config: CommonConfig) -> bool:
    """Whether the training runs on CUDA devices."""
    return config.train.device != "cpu" and torch.cuda.is_available()


def leave() -> None:
    """Take leave of the other processes, once they have come as far. Does nothing for a process alone."""
    if dist.is_initialized():
        dist.destroy_process_group()


@contextlib.contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Let torch and numba use so many threads in the block; ``None`` leaves both as they are."""
    before = torch.get_num_threads(), numba.get_num_threads()
    if number is None:
        yield
        return
    torch.set_num_threads(number)
    numba.set_num_threads(min(number, before[1]))
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])


def _checked_devices(config: CommonConfig, by_torchrun: bool) -> int:
    try:
        devices = device_count(config)
        _check(config, devices, by_torchrun)
    except UserError as error:
        if by_torchrun and int(os.environ["LOCAL_RANK"]):
            raise ToldElsewhere(str(error)) from None  # the first process of this machine comes to the same
        raise
    return devices


def _check(config: CommonConfig, devices: int, by_torchrun: bool) -> None:
    settings = config.train
    count = devices * settings.num_nodes
    asked = f"train.devices={devices} train.num_nodes={settings.num_nodes}"
    if settings.batch_size % count:
        below = settings.batch_size // count * count
        near = f"{below} or {below + count}" if below else str(count)
        raise UserError(
            f"train.batch_size={settings.batch_size}: expected a multiple of the {count} devices ({asked}),"
            f" which share every batch; take {near}"
        )
    if by_torchrun:
        world, here = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
        if (world, here) != (count, devices):
            raise UserError(
                f"{asked}: torchrun started {world} processes, {here} on this machine; give train.devices={here}"
                f" train.num_nodes={world // here}, or start as many as the config says"
            )
    elif settings.num_nodes > 1:
        raise UserError(
            f"train.num_nodes={settings.num_nodes}: start the training on each machine by torchrun --nnodes"
            f" {settings.num_nodes} --nproc-per-node {devices} -m toolkit train ..., as docs/training.md shows"
        )


def _backend(config: CommonConfig) -> str:
    return "cpu:gloo,cuda:nccl" if uses_cuda(config) else "gloo"


def _groups(rank: int, devices: int, machines: int) -> tuple[Any, Any]:
    """The groups of all processes and of this machine's; every process takes part in making every group."""
    everyone = dist.new_group(timeout=PATIENT, backend="gloo")
    firsts = range(0, devices * machines, devices)
    each = [dist.new_group(range(first, first + devices), timeout=PATIENT, backend="gloo") for first in firsts]
    return everyone, each[rank // devices]


class Followers:
    """The processes 1 to ``count`` - 1, on this machine. Leaving the block ends them."""

    def __init__(self, count: int, port: int, request: dict[str, Any]) -> None:
        self._over = threading.Event()
        self._running = [self._start(rank, count, port, request) for rank in range(1, count)]
        for follower in self._running:
            threading.Thread(target=self._watch, args=(follower,), daemon=True).start()

    @staticmethod
    def _start(rank: int, count: int, port: int, request: dict[str, Any]) -> subprocess.Popen[str]:
        whose = dict(zip(TORCHRUN, map(str, (rank, count, rank, count, "127.0.0.1", port)), strict=True))
        path = os.pathsep.join([str(HOME), *filter(None, [os.environ.get("PYTHONPATH")])])
        follower = subprocess.Popen(
            [sys.executable, "-P", "-m", "toolkit.training.follower"],
            env={**os.environ, **whose, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C in the terminal is heard by the first alone
        )
        assert follower.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is gone already: `_watch` says so
            follower.stdin.write(json.dumps(request) + "\n")
            follower.stdin.flush()  # and stays open: its end tells the follower that this process is gone
        return follower

    def _watch(self, follower: subprocess.Popen[str]) -> None:
        """End this process where another one is gone and the network does not notice."""
        if follower.wait() and not self._over.wait(PATIENCE):
            print(f"error: {self.lost()}, and the rest cannot train without it", file=sys.stderr, flush=True)
            os._exit(2)

    def lost(self) -> str | None:
        """Say which process is gone that should be there; ``None`` where none is."""
        for rank, follower in enumerate(self._running, 1):
            with contextlib.suppress(subprocess.TimeoutExpired):
                if code := follower.wait(1):
                    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
                    return f"process {rank + 1} of {len(self._running) + 1} {how}"
        return None

    def __enter__(self) -> Followers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._over.set()
        for follower in self._running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                if kind is None:
                    follower.wait(PATIENCE)
            follower.kill()  # it holds nothing that is not in the run directory
            follower.wait()
