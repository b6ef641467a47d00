"""One loaded model in service: the door through which every dialect asks it.

Pictures or the network's own input go in, results or its raw outputs come out. It speaks no HTTP.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import count
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from serve.batcher import Batcher, Job
from serve.batching import BatchQueue, Bounds
from serve.caller import Caller
from serve.errors import RequestError, engine_down
from serve.jobs import CallJob, Given, PictureJob, Slots, TensorJob
from serve.observer import Observer
from serve.room import Place, Room
from serve.settings import Settings
from serve.warmup import grey, measured, pays
from serve.workers import Workers
from toolkit.errors import UserError
from toolkit.inference import Model
from toolkit.inference.model import CallSettings
from toolkit.results import Result

Answer = TypeVar("Answer")
# How many pictures of one request are worked on at once: the others of it wait, and leave room for other requests.
_ABREAST = 8
# Up to this many bytes are worked on where they are: that costs less than to wait for a thread.
_SHORT = 2**18


class Served:
    """A model and how it is asked. All methods are called on the event loop, but `warm`, which is called in a thread.

    It takes no work before `warm` has returned.
    """

    def __init__(self, model: Model, workers: Workers, room: Room, settings: Settings, observer: Observer) -> None:
        self.model = model
        self.active = 0
        self._workers = workers
        self._room = room
        self._settings = settings
        self._observer = observer
        self._slots = Slots(model)
        self.batcher: Batcher | None = None

    def warm(self) -> None:
        """Measure how long runs take, decide whether batching pays, and take work from now on."""
        run_time = measured(self.model, self._settings)
        self.model.give_back()
        self.model.network(grey(self.model))
        bounds = Bounds(self._settings.runs, self._settings.max_batch, self._settings.batch_wait_ms / 1e3)
        queue: BatchQueue[Any] = BatchQueue(bounds, run_time, pays(run_time, self._settings))
        self.batcher = Batcher(
            self._run, self._probe, self._workers, queue, _Told(self.model, self._observer, self._room)
        )
        # Without batching every thread takes a picture through all stages; with it others make ready meanwhile.
        self._workers.grow(self._settings.runs * (2 if queue.batching else 1))
        self._workers.add(self.batcher)

    def retire(self) -> None:
        """Take no more work; nothing may be inside."""
        if self.batcher is not None:
            self._workers.remove(self.batcher)
            self.batcher = None

    async def result(
        self,
        picture: Given,
        caller: Caller,
        finish: Callable[[Result], Answer],
        *,
        explain: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> Answer:
        """`results` of one picture; what went wrong with it is raised."""
        return _value((await self.results([picture], caller, finish, explain=explain, options=options))[0])

    async def results(
        self,
        pictures: Sequence[Given],
        caller: Caller,
        finish: Callable[[Result], Answer],
        *,
        explain: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> list[Answer | Exception]:
        """One answer for each picture, in their order: what ``finish`` makes of its `Result`, or why there is none.

        ``finish`` runs in a worker thread (that is the place to draw and to write JSON). ``options`` override the
        bundle's postprocessing. Raises `RequestError`: 422 for wrong options, 429 where nothing more fits or the
        answer cannot be there by the deadline, 503 while the engine is down, 504 after the deadline, 499 when the
        caller has gone.
        """
        settings = self.check_options(explain, options or {})
        limit = self._settings.max_pixels
        jobs = [
            PictureJob(self.model, self._slots, picture, limit, settings, finish, self._observer)
            for picture in pictures
        ]
        return await self._answers(jobs, caller)

    async def tensors(
        self, batch: NDArray[np.float32], caller: Caller, *, outputs: Sequence[str] | None = None
    ) -> dict[str, NDArray[np.float32]]:
        """The network's raw outputs float32 [B, ...] by name, of its own input float32 [B, 3, h, w].

        ``outputs`` (default: all that `output_names` lists) are the ones wanted. Raises `RequestError` 400 for another
        shape or type and for an unknown output, and like `results`.
        """
        self._check_input(batch)
        wanted = tuple(outputs or self.output_names)
        for name in wanted:
            if name not in self.output_names:
                raise RequestError(400, f"output {name!r} is unknown; known are {', '.join(self.output_names)}")
        explain = set(wanted) != {self.model.spec.network.output}
        raw = _value((await self._answers([TensorJob(self.model, batch, explain, self._observer)], caller))[0])
        found = dict(zip(self.model.task.wanted(self.model.spec, explain), raw, strict=True))
        return {name: found[name] for name in wanted}

    async def work(self, function: Callable[[], Answer], caller: Caller, size: int) -> Answer:
        """What ``function`` returns or raises; it works on ``size`` bytes, in a worker thread where they are many.

        It is not refused for want of room, as it belongs to a request that has been let in.
        """
        if size <= _SHORT:
            return function()
        return cast(Answer, _value((await caller.wait(self._in_lanes([CallJob(function)], caller.deadline)))[0]))

    @property
    def input_name(self) -> str:
        """What the network calls its input."""
        return self.model.spec.network.input

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the network's input."""
        return 3, *self.model.spec.preprocessing.input_size

    @property
    def output_names(self) -> tuple[str, ...]:
        """All that the network can be asked for."""
        return tuple(self.model.task.outputs(self.model.spec))

    @property
    def down(self) -> bool:
        """Whether the engine has failed on something harmless; `revive` tries it again."""
        return self.batcher is not None and bool(self.batcher.down)

    async def revive(self) -> bool:
        """Try an engine that is down; True when it works again."""
        return self.batcher is not None and await asyncio.to_thread(self.batcher.revive)

    def check_options(self, explain: bool, options: Mapping[str, Any]) -> CallSettings:
        """Raise `RequestError` 422 for options that the bundle does not have, before any work is done."""
        try:
            return self.model.settings(explain, **options)
        except UserError as error:
            raise RequestError(422, str(error)) from error

    def require_room(self, pictures: int = 1, left: float = math.inf, besides: int = 0) -> None:
        """Raise `RequestError`: 503 while the engine is down, 429 while no more pictures fit or they would be late.

        ``left`` are the seconds until the deadline, ``besides`` places that others are about to take.
        """
        if self.batcher is None or self.down:
            raise engine_down()
        abreast = min(_ABREAST, pictures, self._settings.runs)
        try:
            self._room.require(self.batcher.seconds * pictures / max(1, abreast), left, besides)
        except RequestError:
            self._observer.turned_away(self.model, "rejected")
            raise

    async def _answers(self, jobs: Sequence[Job], caller: Caller) -> list[Any]:
        """What each job returned or raised."""
        self.require_room(len(jobs), caller.left)
        return await caller.wait(self._in_lanes(jobs, caller.deadline))

    async def _in_lanes(self, jobs: Sequence[Job], deadline: float) -> list[Any]:
        """Do the jobs, so many at once; each lane holds one place."""
        batcher = self.batcher
        if batcher is None or not jobs:
            return []
        answers: list[Any] = [None] * len(jobs)
        numbers = count()
        lanes = min(_ABREAST, len(jobs), max(1, self._room.free))

        async def lane() -> None:
            place = self._room.enter(batcher.seconds * len(jobs) / lanes)
            try:
                while (index := next(numbers)) < len(jobs):
                    answers[index] = await _outcome(batcher, jobs[index], deadline, place)
            finally:
                place.leave()

        if lanes == 1:
            await lane()
        else:
            async with asyncio.TaskGroup() as group:
                for _ in range(lanes):
                    group.create_task(lane())
        return answers

    def _check_input(self, batch: NDArray[Any]) -> None:
        if batch.dtype != np.float32 or batch.ndim != 4 or not len(batch) or not self._takes(batch.shape[1:]):
            raise RequestError(
                400,
                f"input {self.input_name!r}: expected float32 {['batch', *self.input_shape]}, "
                f"got {batch.dtype} {list(batch.shape)}",
            )

    def _takes(self, shape: tuple[int, ...]) -> bool:
        """Whether the network takes inputs of that shape: a bundle that pads to a multiple takes smaller ones too."""
        step = self.model.spec.preprocessing.pad_multiple
        channels, *most = self.input_shape
        if step is None:
            return shape == self.input_shape
        sides = zip(shape[1:], most, strict=True)
        return shape[0] == channels and all(0 < side <= limit and side % step == 0 for side, limit in sides)

    # What follows runs in worker threads.

    def _run(self, rows: NDArray[np.float32], explain: Hashable) -> list[NDArray[np.float32]]:
        return self.model.network(rows, explain=bool(explain))

    def _probe(self) -> object:
        return self.model.network(grey(self.model))


async def _outcome(batcher: Batcher, job: Job, deadline: float, place: Place) -> Any:
    place.hold()
    try:
        return await batcher.answer(job, deadline, place.leave)
    except Exception as error:
        return error


def _value(answer: Answer | Exception) -> Answer:
    """The answer; an error is raised, and no frame that it passes from here on keeps it in a circle."""
    if isinstance(answer, Exception):
        try:
            raise answer
        finally:
            del answer
    return answer


class _Told:
    """Passes on what the batcher tells, with the model's name to it."""

    def __init__(self, model: Model, observer: Observer, room: Room) -> None:
        self._model, self._observer = model, observer
        self.delivered = room.lag.saw

    def queued(self, seconds: float) -> None:
        self._observer.stage(self._model, "queue", seconds)

    def ran(self, rows: int) -> None:
        self._observer.batch(self._model, rows)

    def turned_away(self, why: str) -> None:
        self._observer.turned_away(self._model, why)
