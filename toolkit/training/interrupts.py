"""Ctrl-C and SIGTERM while training: the running step ends, a resume point is written, then the training stops."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from toolkit.training.processes import ALONE, Processes

NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
# Seconds within which a second Ctrl-C is the first one, which a launcher passes on besides the terminal.
ECHO = 1.0


class Stopped(BaseException):
    """A training that stops because a signal asked for it, after all that had to be saved is saved."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(NAMES[number])
        self.number = number


class Interrupts(Callback):
    """From the first step to the last, keeps the wish of a signal until there is a place to stop.

    A second Ctrl-C ends at once. What was done with the signals before is done again after the last step: the trainer
    puts its signal handlers back, ours among them. A signal that the process ignores from its birth stays ignored.
    """

    def __init__(self, say: Callable[[str], None], processes: Processes = ALONE) -> None:
        self.say = say
        self.processes = processes
        self._asked: signal.Signals | None = None
        self._since = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if threading.current_thread() is threading.main_thread():  # no other may
            for number in NAMES:
                if signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked is None:
            self._asked, self._since = signal.Signals(number), time.monotonic()
            self.say(f"{NAMES[self._asked]}: ending the running step, then saving; Ctrl-C again ends at once")
        elif number == signal.SIGINT and time.monotonic() - self._since > ECHO:
            raise KeyboardInterrupt

    def asked(self) -> bool:
        """Whether a signal has come, to this process or to another of the training: all of them must ask together."""
        return self.processes.any(self._asked is not None)

    def stop(self) -> None:
        """Stop; for a process that has got no signal itself it is as if it had been a SIGTERM."""
        raise Stopped(self._asked or signal.SIGTERM)

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.asked():
            self.stop()  # the resume point before the validation has it all


def signal_behind(error: BaseException) -> signal.Signals | None:
    """The signal that a training was ended by, from what was raised, be it by us, by Python or by the trainer."""
    if isinstance(error, Stopped):
        return error.number
    if isinstance(error, SIGTERMException):
        return signal.SIGTERM
    # The trainer answers a KeyboardInterrupt with SystemExit.
    interrupts = (error, error.__context__)
    return signal.SIGINT if any(isinstance(each, KeyboardInterrupt) for each in interrupts) else None
