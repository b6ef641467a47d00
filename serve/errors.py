"""What the service answers when it cannot predict: a status and one sentence, in the form of the dialect asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from serve.exchange import current
from toolkit.errors import PictureError, PictureTooLarge


class RequestError(Exception):
    """A request that is not served: `status` is 4xx, 503 or 504, `sentence` says what to do."""

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = dict(headers or {})


def too_late() -> RequestError:
    """The deadline of a request has passed."""
    return RequestError(504, "the deadline passed before an answer was there; give X-Request-Timeout-Ms more time")


def engine_down() -> RequestError:
    """The network cannot be run."""
    return RequestError(503, "the engine does not work now; it is tried again every second", {"Retry-After": "2"})


def as_request_error(request: Request, error: Exception) -> RequestError:
    """Say an expected exception as a `RequestError`; one of any other class is raised again."""
    match error:
        case RequestError():
            return error
        case PictureTooLarge():
            return RequestError(413, str(error))
        case PictureError():
            return RequestError(400, str(error))
        case RequestValidationError():
            first = error.errors()[0]
            return RequestError(422, f"{'.'.join(str(each) for each in first['loc'])}: {first['msg']}")
        case HTTPException():
            return RequestError(error.status_code, _http_sentence(request, error), error.headers)
    raise error


# The exceptions for which the application registers an answer.
EXPECTED: tuple[type[Exception], ...] = (RequestError, PictureError, RequestValidationError, HTTPException)


# A status, the sentence and the request's id as the JSON of one dialect's errors. The application holds those that
# differ from ``{"error": "..."}`` by path, in ``app.state.error_forms``.
ErrorForm = Callable[[int, str, str], dict[str, Any]]


def error_answer(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> ErrorAnswer:
    """An error in the form of whichever dialect was asked."""
    return ErrorAnswer(status, sentence, headers)


class ErrorAnswer(Response):
    """An error whose form is chosen when it is sent, by the path that was asked."""

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None) -> None:
        super().__init__(status_code=status)
        self._sentence = sentence
        self._more = dict(headers or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        form: ErrorForm = scope["app"].state.error_forms.get(scope["path"], _plain)
        exchange = current()
        told = form(self.status_code, self._sentence, exchange.request_id if exchange else "")
        await JSONResponse(told, self.status_code, headers=self._more)(scope, receive, send)


def _plain(status: int, sentence: str, request_id: str) -> dict[str, Any]:
    return {"error": sentence}


def _http_sentence(request: Request, error: HTTPException) -> str:
    if error.status_code == 404:
        return f"there is nothing at {request.url.path}; pictures go to POST /predict, the rest is in /openapi.json"
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        return f"{request.url.path} does not take {request.method}; use {allowed}"
    return str(error.detail)
