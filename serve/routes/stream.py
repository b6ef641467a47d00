"""The native dialect for video: a WebSocket at ``/stream`` that takes frames and answers each in time, or not at all.

A frame is one binary message, an encoded picture. Before it may stand a text message about it, the JSON of `FrameNote`.
An answer is a text message: the frame's ``id`` with its ``result``, with ``dropped`` and why, or with an ``error``.
One frame is worked on and one waits: a newer one takes its place. What is late is dropped, never delivered late.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI
from pydantic import Field
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from serve.body import Upload
from serve.caller import LONGEST_MS, Caller
from serve.document import amend
from serve.errors import RequestError
from serve.json_fields import JsonBody, read_fields
from serve.negotiation import JSON
from serve.options import PredictOptions, PredictQuery, query_of
from serve.rendering import render
from serve.service import Service
from toolkit.errors import PictureError
from toolkit.results import Result

log = logging.getLogger("serve")

MOST_STREAMS = 64
BUDGET = "budget_ms"
_LONGEST_NOTE = 4096
# RFC 6455, section 7.4.1, and IANA's register: the client broke the rules; the server has no room now.
_POLICY, _TRY_LATER = 1008, 1013


_BUDGET_PARAMETER = {
    "name": BUDGET,
    "in": "query",
    "required": False,
    "description": "How old an answer may be, in milliseconds.",
    "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_MS},
}
_ANSWER_SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": ["integer", "string"]},
        "result": {"type": "object"},
        "dropped": {"enum": ["late", "superseded", "busy"]},
        "error": {"type": "string"},
        "status": {"type": "integer"},
    },
}


class FrameNote(JsonBody):
    """What a client may say of its next frame.

    ``captured`` is the time of its capture in seconds since 1970 by a clock that agrees with the service's (default:
    when it arrives); ``budget_ms`` is how old its answer may be (default: the query's, else the service's timeout).
    """

    id: int | str | None = None
    captured: float | None = None
    budget_ms: float | None = Field(default=None, gt=0, le=LONGEST_MS)


@dataclass(frozen=True)
class _Frame:
    id: int | str
    data: bytes
    deadline: float  # of time.monotonic


def add(app: FastAPI, service: Service) -> None:
    """Add ``/stream``."""
    query = query_of(service.model.spec)
    streams: set[WebSocket] = set()
    amend(app, partial(_document, parameters=[_BUDGET_PARAMETER, *query.parameters()]))

    @app.websocket("/stream")
    async def stream(socket: WebSocket) -> None:
        if not _is_own_page(socket, service.settings.cors_origins):
            await socket.close(_POLICY)  # before it is accepted: 403
            return
        await socket.accept()
        if len(streams) >= MOST_STREAMS:
            await socket.close(_TRY_LATER, "the service has too many streams now; try again later")
            return
        streams.add(socket)
        try:
            budget_ms, options = _options(socket, query, service)
            await _Stream(socket, service, budget_ms, options).run()
        except RequestError as refused:
            await _tell(socket, {"error": refused.sentence, "status": refused.status})
            await socket.close(_POLICY)
        finally:
            streams.discard(socket)


def _document(schema: dict[str, Any], parameters: list[dict[str, Any]]) -> None:
    """Describe the stream beside the paths: OpenAPI's own operations are an answer to a request, a WebSocket is not."""
    schema["x-websockets"] = {
        "/stream": {
            "summary": "Frames of a video, each answered in time or not at all",
            "parameters": parameters,
            "send": {
                "binary": "A frame: the bytes of an encoded picture.",
                "text": {
                    "description": "What is to be said of the next frame.",
                    "schema": FrameNote.model_json_schema(),
                },
            },
            "receive": {
                "text": {
                    "description": "The frame's id with what `/predict` answers, with why it was not computed, "
                    "or with an error.",
                    "schema": _ANSWER_SCHEMA,
                }
            },
        }
    }


def _is_own_page(socket: WebSocket, origins: tuple[str, ...]) -> bool:
    """Whether no page of somebody else opened it: browsers ask nobody before they open a WebSocket."""
    origin = socket.headers.get("origin")
    own = origin is None or urlsplit(origin).netloc == socket.headers.get("host")
    return own or "*" in origins or origin in origins


def _options(socket: WebSocket, query: PredictQuery, service: Service) -> tuple[float, PredictOptions]:
    """The stream's budget in milliseconds, and the options of all its frames, from the query."""
    items = socket.query_params.multi_items()
    given = [value for name, value in items if name == BUDGET]
    options = query.read([(name, value) for name, value in items if name != BUDGET])
    service.default.check_options(options.explain, options.overrides)
    if not given:
        return service.settings.timeout_seconds * 1e3, options
    try:
        budget_ms = float(given[-1])
    except ValueError:
        budget_ms = 0.0
    if not 0 < budget_ms <= LONGEST_MS:
        raise RequestError(
            422, f"query parameter {BUDGET}: expected milliseconds up to {LONGEST_MS}, got {given[-1]!r}"
        )
    return budget_ms, options


class _Stream:
    """One connection: a reader that keeps the newest frame, and a worker that answers it."""

    def __init__(self, socket: WebSocket, service: Service, budget_ms: float, options: PredictOptions) -> None:
        self._socket, self._service = socket, service
        self._budget_ms, self._options = budget_ms, options
        self._waiting: _Frame | None = None
        self._arrived = asyncio.Event()
        self._note = FrameNote()
        self._count = 0
        self._told: Counter[str] = Counter()

    async def run(self) -> None:
        """Serve until the client leaves."""
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._work())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._drop_waiting()
            log.info(
                "a stream ended: %s", ", ".join(f"{count} {what}" for what, count in self._told.items()) or "empty"
            )
        for task in done:
            if not isinstance(task.exception(), WebSocketDisconnect | None):
                task.result()

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("bytes") is not None:
                await self._take(message["bytes"])
            else:
                self._note = _read_note(message["text"])

    async def _take(self, data: bytes) -> None:
        """Let a frame wait in the place of an older one."""
        note, self._note = self._note, FrameNote()
        name = self._count if note.id is None else note.id
        self._count += 1
        superseded = self._drop_waiting()
        try:
            if len(data) > self._service.settings.max_body_bytes:
                raise RequestError(413, f"the frame has {len(data)} bytes, more than this service accepts")
            self._service.bodies.hold(len(data))
        except RequestError as refused:
            await self._refuse(name, refused)
        else:
            self._waiting = _Frame(name, data, _deadline(note, self._budget_ms))
            self._arrived.set()
        if superseded is not None:
            await self._answer(superseded.id, dropped="superseded")

    def _drop_waiting(self) -> _Frame | None:
        frame, self._waiting = self._waiting, None
        if frame is not None:
            self._service.bodies.give_back(len(frame.data))
        return frame

    async def _work(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            frame, self._waiting = self._waiting, None
            if frame is not None:
                try:
                    await self._predict(frame)
                finally:
                    self._service.bodies.give_back(len(frame.data))

    async def _predict(self, frame: _Frame) -> None:
        finish = partial(_text, frame.id, options=self._options)
        try:
            if time.monotonic() > frame.deadline:
                raise RequestError(504, "late")
            with self._service.admitted() as served:
                text = await served.result(
                    Upload(frame.data, f"frame {frame.id}").checked, Caller(frame.deadline), finish,
                    options=self._options.overrides,
                )  # fmt: skip
            if time.monotonic() > frame.deadline:
                raise RequestError(504, "late")
        except PictureError as error:
            await self._answer(frame.id, error=str(error), status=400)
        except RequestError as refused:
            await self._refuse(frame.id, refused)
        else:
            self._told["answered"] += 1
            await self._socket.send_text(text)

    async def _refuse(self, name: int | str, refused: RequestError) -> None:
        match refused.status:
            case 504:
                await self._answer(name, dropped="late")
            case 429:
                await self._answer(name, dropped="busy")
            case _:
                await self._answer(name, error=refused.sentence, status=refused.status)

    async def _answer(self, name: int | str, **told: Any) -> None:
        self._told[str(told.get("dropped", "failed"))] += 1
        await _tell(self._socket, {"id": name, **told})


def _read_note(text: str) -> FrameNote:
    if len(text) > _LONGEST_NOTE:
        raise RequestError(413, f"a text message has {len(text)} characters, over the limit of {_LONGEST_NOTE}")
    return read_fields(text.encode(), FrameNote)


def _deadline(note: FrameNote, budget_ms: float) -> float:
    """When the frame's answer is late, by `time.monotonic`; a capture in the future counts as now."""
    age = 0.0 if note.captured is None else max(0.0, time.time() - note.captured)
    return time.monotonic() + (note.budget_ms or budget_ms) / 1e3 - age


def _text(name: int | str, result: Result, options: PredictOptions) -> str:
    """The whole message, made in a worker thread."""
    return f'{{"id": {json.dumps(name)}, "result": {render(result, JSON, options).decode()}}}'


async def _tell(socket: WebSocket, told: dict[str, Any]) -> None:
    if socket.application_state is WebSocketState.CONNECTED:
        await socket.send_text(json.dumps(told))
