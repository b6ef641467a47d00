"""What the service answers when it cannot predict: a status and one sentence, always as ``{"error": "..."}``."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from toolkit.errors import PictureError, PictureTooLarge


class RequestError(Exception):
    """A request that is not served: `status` is 4xx, 503 or 504, `sentence` says what to do."""

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = dict(headers or {})


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


def error_answer(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The one form of every error answer."""
    return JSONResponse({"error": sentence}, status, headers=dict(headers or {}))


def _http_sentence(request: Request, error: HTTPException) -> str:
    if error.status_code == 404:
        return f"there is nothing at {request.url.path}; pictures go to POST /predict, the rest is in /openapi.json"
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        return f"{request.url.path} does not take {request.method}; use {allowed}"
    return str(error.detail)
