"""The processes that prepare batches: what they do with signals, and when they end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing import forkserver

GRACE = 10.0  # seconds that a worker goes on after a SIGTERM, if nobody ends it before


def start_fork_server() -> None:
    """Start what workers are forked from, so that it and they ignore Ctrl-C and SIGTERM from their birth.

    A terminal, or a system that shuts down, sends these to every process, but the training still needs the workers to
    end its step. They end with it.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # may not change what signals do
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        forkserver.ensure_running()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def begin_worker(worker: int) -> None:
    """Called in a worker before its first batch."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # To a whole group of processes it is sent when a machine is shut down: the training ends its step with their help.
    signal.signal(signal.SIGTERM, lambda *_: threading.Timer(GRACE, os._exit, (1,)).start())
    _end_with_parent()


def _end_with_parent() -> None:
    """Make this worker end when the training process dies, however that happens.

    Its own parent is the fork server, which lives as long as its children do: torch's check never sees it go.
    """

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
