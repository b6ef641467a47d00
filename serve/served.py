"""One loaded model in service: the door through which every dialect asks it.

Pictures or the network's own input go in, results or its raw outputs come out. It speaks no HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from serve.body import Upload
from serve.caller import Caller
from serve.errors import RequestError
from serve.observer import Observer
from serve.pool import BoundedPool, PoolFullError
from toolkit.errors import UserError
from toolkit.images import RGB
from toolkit.inference import Model
from toolkit.results import Result

# A picture, or what gives it: that is called in a worker thread, so taking a body apart costs the event loop nothing.
Given = Upload | RGB | Callable[[], Upload]
Answer = TypeVar("Answer")
# How many pictures of one request are worked on at once: the others of it wait, and leave room for other requests.
_ABREAST = 8
# Up to this many bytes are worked on where they are: that costs less than to wait for a thread.
_SHORT = 2**18


class Served:
    """A model and how it is asked. All methods are called on the event loop."""

    def __init__(self, model: Model, pool: BoundedPool, max_pixels: int, observer: Observer) -> None:
        self.model = model
        self._pool = pool
        self._max_pixels = max_pixels
        self._observer = observer

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
        answer = (await self.results([picture], caller, finish, explain=explain, options=options))[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

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
        bundle's postprocessing. Raises `RequestError`: 422 for wrong options, 429 where nothing more fits, 504 after
        the caller's deadline, 499 when it has gone.
        """
        self.check_options(explain, options or {})
        work = partial(self._answer, finish=finish, explain=explain, options=options or {})
        return await caller.wait(self._in_lanes([partial(work, picture) for picture in pictures]))

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
        (raw,) = await caller.wait(self._in_lanes([partial(self._network, np.ascontiguousarray(batch))]))
        if isinstance(raw, Exception):
            raise raw
        return {name: raw[self.output_names.index(name)] for name in wanted}

    async def inputs(self, pictures: Sequence[Given], caller: Caller) -> NDArray[np.float32]:
        """The network's input float32 [B, 3, h, w] of pictures; the first that cannot be used is raised."""
        rows = await caller.wait(self._in_lanes([partial(self._input, picture) for picture in pictures]))
        for row in rows:
            if isinstance(row, Exception):
                raise row
        return np.stack(cast(list[NDArray[np.float32]], rows))

    async def work(self, function: Callable[[], Answer], caller: Caller, size: int) -> Answer:
        """What ``function`` returns or raises; it works on ``size`` bytes, in a worker thread where they are many."""
        if size <= _SHORT:
            return function()
        (answer,) = await caller.wait(self._in_lanes([function]))
        if isinstance(answer, Exception):
            raise answer
        return answer

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

    def check_options(self, explain: bool, options: Mapping[str, Any]) -> None:
        """Raise `RequestError` 422 for options that the bundle does not have, before any work is done."""
        try:
            self.model.task.wanted(self.model.spec, explain)
            self.model.spec.postprocessing.override(**options)
        except UserError as error:
            raise RequestError(422, str(error)) from error

    def require_room(self) -> None:
        """Raise `RequestError` 429 while no more pictures fit."""
        try:
            self._pool.require_room()
        except PoolFullError as full:
            self._observer.turned_away(self.model, "rejected")
            raise busy(full.retry_after) from full

    async def _in_lanes(self, calls: Sequence[Callable[[], Answer]]) -> list[Answer | Exception]:
        """Run the calls, so many at once, and return what each returns or raises."""
        self.require_room()
        answers: list[Any] = [None] * len(calls)
        numbers = count()

        async def lane() -> None:
            while (index := next(numbers)) < len(calls):
                try:
                    answers[index] = await self._pool.run(calls[index])
                except PoolFullError as full:
                    answers[index] = busy(full.retry_after)
                except Exception as error:
                    answers[index] = error

        async with asyncio.TaskGroup() as lanes:
            for _ in range(min(_ABREAST, len(calls), max(1, self._pool.room))):
                lanes.create_task(lane())
        return answers

    # What follows runs in worker threads.

    def _answer(
        self, picture: Given, finish: Callable[[Result], Answer], explain: bool, options: Mapping[str, Any]
    ) -> Answer:
        result = self.model.run_batch([self._decoded(picture)], explain=explain, **options)[0]
        for stage, milliseconds in result.timing.items():
            self._observer.stage(self.model, stage, milliseconds / 1e3)
        self._observer.batch(self.model, 1)
        return finish(result)

    def _decoded(self, picture: Given) -> Any:
        if isinstance(picture, np.ndarray):
            return picture
        upload = picture() if callable(picture) else picture
        return self.model.decode(upload.data, name=upload.name, max_pixels=self._max_pixels)

    def _input(self, picture: Given) -> NDArray[np.float32]:
        held = self._decoded(picture)
        batch, _ = self.model.preprocess([held if isinstance(held, np.ndarray) else held()])
        return np.asarray(batch[0])

    def _network(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        explain = len(self.output_names) > 1
        return self.model.network(batch, explain=explain)

    def _check_input(self, batch: NDArray[Any]) -> None:
        if batch.dtype != np.float32 or batch.ndim != 4 or batch.shape[1:] != self.input_shape or not len(batch):
            raise RequestError(
                400,
                f"input {self.input_name!r}: expected float32 {['batch', *self.input_shape]}, "
                f"got {batch.dtype} {list(batch.shape)}",
            )


def busy(retry_after: int) -> RequestError:
    """What a request gets for which there is no room."""
    return RequestError(429, "the service is busy; try again later", {"Retry-After": str(retry_after)})
