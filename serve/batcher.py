"""Takes pictures through the threads: made ready, run together with others, finished; one future for each.

What runs together is decided in `serve.batching`. There is one batcher a model version.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from serve.batching import BatchQueue, Item
from serve.errors import engine_down, too_late
from serve.workers import Stage, Workers

log = logging.getLogger("serve")

Rows = NDArray[np.float32]
# Weight of the newest picture in the running mean of what one costs: about the last ten count.
_NEWEST = 0.1


class Job(Protocol):
    """What is asked for one picture or tensor. All methods are called in worker threads, one after the other."""

    @property
    def key(self) -> Hashable:
        """Jobs of one key may run together; None: there is nothing to run, `finish` gets what is ready."""

    @property
    def rows(self) -> int:
        """How many rows `prepare` makes."""

    def prepare(self) -> Rows:
        """The network's input float32 [rows, 3, h, w]."""

    def release(self) -> None:
        """The input is not needed any more. Called at least once, also where `prepare` failed or never ran."""

    def finish(self, raw: list[Rows], seconds: float) -> Any:
        """The answer, from this job's rows of the raw outputs and its share of the time in the network."""


class Listener(Protocol):
    """Who is told what happens, from any thread."""

    def queued(self, seconds: float) -> None:
        """So long a picture waited, for a thread and for its run."""

    def ran(self, rows: int) -> None:
        """The network has run."""

    def delivered(self, seconds: float) -> None:
        """So long an answer waited for the event loop, on which this is called."""

    def turned_away(self, why: str) -> None:
        """A picture left on its way, ``expired`` or ``cancelled``."""


@dataclass(eq=False)
class _Piece:
    """One job on its way. Where it stands is guarded by the lock of the workers."""

    job: Job
    deadline: float
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    left: Callable[[], None]
    started: float = field(default_factory=time.monotonic)
    queued: float = 0.0
    busy: float = 0.0
    rows: Rows | None = None
    item: Item[_Piece] | None = None
    gone: bool = False


class Batcher:
    """Asks ``run`` (one call is one run of the network, on float32 [B, 3, h, w], for the outputs that the key names).

    A batch that fails is run again one by one. One picture that fails alone is blamed only if ``probe``, a run of
    something harmless, succeeds; else the engine is down, and says so until a `revive` succeeds.
    """

    def __init__(
        self,
        run: Callable[[Rows, Hashable], list[Rows]],
        probe: Callable[[], object],
        workers: Workers,
        queue: BatchQueue[_Piece],
        listener: Listener,
    ) -> None:
        self.queue = queue
        self.seconds = 0.0  # thread time that one row takes in all
        self.down = ""
        self._run, self._probe, self._listener = run, probe, listener
        self._workers = workers
        self._changed = workers.changed
        self._buffers = threading.local()
        self._waiting: deque[_Piece] = deque()
        self._finishing: deque[Callable[[], None]] = deque()
        self._preparing = 0

    async def answer(self, job: Job, deadline: float, left: Callable[[], None]) -> Any:
        """What the job's ``finish`` returns.

        Raises what one of its steps raised, `RequestError` 504 when it expired and 503 when the engine is down.

        ``left`` is called on the event loop when no thread works on it any more, which may be after a cancellation.
        """
        loop = asyncio.get_running_loop()
        piece = _Piece(job, deadline, loop.create_future(), loop, left)
        with self._changed:
            self._waiting.append(piece)
            self.queue.coming += 1
            self._changed.notify()
        try:
            return await piece.future
        except asyncio.CancelledError:
            self._withdraw(piece)
            raise

    def revive(self) -> bool:
        """Try the engine that is down; True when it works. Called in a thread."""
        try:
            self._probe()
        except Exception:
            return False
        self.down = ""
        return True

    # What follows is called by the workers, with their lock held.

    def next(self, stage: Stage, now: float) -> Callable[[], None] | None:
        """See `serve.workers.Source`."""
        match stage:
            case Stage.RUN:
                for item in self.queue.expired(now):
                    self._turn_away(item.work)
                batch = self.queue.take(now)
                return partial(self._run_batch, [item.work for item in batch]) if batch else None
            case Stage.FINISH:
                return self._finishing.popleft() if self._finishing else None
        return self._next_to_prepare(now)

    def wake(self) -> float:
        """See `serve.workers.Source`."""
        return self.queue.wake()

    def pending(self) -> bool:
        """See `serve.workers.Source`."""
        return bool(self._finishing or self.queue.rows or self._waiting)

    def _next_to_prepare(self, now: float) -> Callable[[], None] | None:
        while self._waiting and self.queue.hungry(self._preparing):
            piece = self._waiting.popleft()
            if piece.deadline > now:
                self._preparing += 1
                return partial(self._prepare, piece)
            self.queue.coming -= 1
            self._turn_away(piece)
        return None

    def _withdraw(self, piece: _Piece) -> None:
        """The caller has left: out of every queue; what a thread has in hand ends after the step that it is in."""
        with self._changed:
            piece.gone = True
            if piece in self._waiting:
                self._waiting.remove(piece)
                self.queue.coming -= 1
            elif (item := piece.item) is None or not self.queue.drop(item):
                return
            self._turn_away(piece)
            self._changed.notify()

    def _turn_away(self, piece: _Piece) -> None:
        """End a piece that nobody waits for any more, or whose deadline has passed. With or without the lock."""
        late = time.monotonic() >= piece.deadline
        self._listener.turned_away("expired" if late else "cancelled")
        self._end(piece, error=too_late())

    # What follows runs in worker threads, without the lock.

    def _prepare(self, piece: _Piece) -> None:
        begun = time.monotonic()
        piece.queued = begun - piece.started
        fault = None
        try:
            piece.rows = piece.job.prepare()
        except Exception as error:
            fault = error
        now = time.monotonic()
        piece.busy = now - begun
        with self._changed:
            self._preparing -= 1
            self.queue.coming -= 1
            if piece.rows is not None and piece.job.key is not None and not piece.gone and not self.down:
                key = (piece.rows.shape[1:], piece.rows.dtype.str, piece.job.key)
                piece.item = Item(piece, key, len(piece.rows), piece.rows.nbytes, now, piece.deadline)
                self.queue.add(piece.item)
                return
        if fault is not None:
            self._end(piece, error=fault)
            del fault  # it knows this frame
        elif piece.job.key is not None and self.down:
            self._end(piece, error=engine_down())
        else:
            assert piece.rows is not None
            self._finish(piece, [piece.rows], 0.0)

    def _run_batch(self, batch: Sequence[_Piece]) -> None:
        begun = time.monotonic()
        for piece in batch:
            assert piece.item is not None
            piece.queued += begun - piece.item.since
        spent, rows = 0.0, sum(piece.job.rows for piece in batch)
        try:
            outputs = self._outputs(batch)
            spent = time.monotonic() - begun
        except Exception as error:
            finishing = self._one_by_one(batch, error)
        else:
            finishing = [
                partial(self._finish, piece, raw, spent * piece.job.rows / rows)
                for piece, raw in zip(batch, outputs, strict=True)
            ]
        with self._changed:
            self.queue.done(rows, spent)
            self._finishing.extend(finishing[1:])
            self._changed.notify(len(self._finishing) + bool(self.queue.rows or self._waiting))
        if finishing:
            finishing[0]()

    def _outputs(self, batch: Sequence[_Piece]) -> list[list[Rows]]:
        """One run of the network; for each piece its rows of the outputs."""
        key = batch[0].job.key
        raw = self._run(self._together([piece.rows for piece in batch if piece.rows is not None]), key)
        self._listener.ran(sum(piece.job.rows for piece in batch))
        split, start = [], 0
        for piece in batch:
            split.append([output[start : start + piece.job.rows] for output in raw])
            start += piece.job.rows
            piece.rows = None
            piece.job.release()
        return split

    def _together(self, parts: Sequence[Rows]) -> Rows:
        """The parts in one array, which the thread keeps for its next run; a lone part is taken as it is."""
        if len(parts) == 1:
            return parts[0]
        size = sum(part.size for part in parts)
        held: Rows | None = getattr(self._buffers, "memory", None)
        if held is None or held.size < size:
            held = self._buffers.memory = np.empty(size, np.float32)
        return np.concatenate(parts, out=held[:size].reshape(-1, *parts[0].shape[1:]))

    def _one_by_one(self, batch: Sequence[_Piece], error: Exception) -> list[Callable[[], None]]:
        """After a run that failed: each piece in a run of its own, so that a poisoned one fails alone."""
        if len(batch) == 1:
            self._blame(batch[0], error)
            return []
        log.warning("a run of %d failed (%r); each is run again alone", len(batch), error)
        finishing: list[Callable[[], None]] = []
        for piece in batch:
            if piece.gone or time.monotonic() >= piece.deadline:
                self._turn_away(piece)
                continue
            if self.down:
                self._end(piece, error=engine_down())
                continue
            begun = time.monotonic()
            try:
                (raw,) = self._outputs([piece])
            except Exception as own:
                self._blame(piece, own)
            else:
                finishing.append(partial(self._finish, piece, raw, time.monotonic() - begun))
        return finishing

    def _blame(self, piece: _Piece, error: Exception) -> None:
        """End a piece that failed alone: it is poisoned, unless the engine fails on something harmless too."""
        try:
            self._probe()
        except Exception:
            log.exception("the engine does not work any more")
            error = engine_down()
            with self._changed:
                self.down = error.sentence
                for item in list(self.queue):
                    self.queue.drop(item)
                    self._end(item.work, error=engine_down())
        self._end(piece, error=error)

    def _finish(self, piece: _Piece, raw: list[Rows], seconds: float) -> None:
        if piece.gone or time.monotonic() >= piece.deadline:
            self._turn_away(piece)
            return
        begun = time.monotonic()
        try:
            answer = piece.job.finish(raw, seconds)
        except Exception as error:
            self._end(piece, error=error)
            return
        if piece.item is not None:
            cost = (piece.busy + seconds + time.monotonic() - begun) / piece.job.rows
            self.seconds += (cost - self.seconds) * (_NEWEST if self.seconds else 1.0)
            self._listener.queued(piece.queued)
        self._end(piece, answer)

    def _end(self, piece: _Piece, answer: Any = None, error: Exception | None = None) -> None:
        piece.rows = piece.item = None  # the item knows the piece: as a circle they would hold the picture for long
        piece.job.release()
        with suppress(RuntimeError):  # a loop that is closed has nobody who waits
            piece.loop.call_soon_threadsafe(self._deliver, piece, time.monotonic(), answer, error)

    def _deliver(self, piece: _Piece, done: float, answer: Any, error: Exception | None) -> None:
        self._listener.delivered(time.monotonic() - done)
        piece.left()
        future = piece.future
        del piece.future  # it will know the error, the error the frames that it passed, and those the piece
        if future.done():  # cancelled
            return
        if error is None:
            future.set_result(answer)
        else:
            future.set_exception(error)
