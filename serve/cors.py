"""Which other sites' pages may call the service from a browser: none, unless they are named."""

from __future__ import annotations

import re
from collections.abc import Sequence

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from toolkit.errors import UserError

_ORIGIN = re.compile(r"https?://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?")
_SENT = (
    "Accept",
    "Authorization",
    "Content-Encoding",
    "Content-Type",
    "Inference-Header-Content-Length",
    "X-API-Key",
    "X-Request-Id",
    "X-Request-Timeout-Ms",
)
_READ = ("Inference-Header-Content-Length", "Location", "Retry-After", "Server-Timing", "X-Request-Id")


def allow_origins(app: FastAPI, origins: Sequence[str]) -> None:
    """Let pages of ``origins`` ("https://shop.example", or "*" for all) call ``app``; UserError for anything else.

    They cannot make a browser send what it holds of its own accord (cookies, Basic): a key is sent by their code.
    """
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise UserError(f"origin {origin!r}: expected scheme and host, such as https://shop.example, or '*'")
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=list(_SENT),
        expose_headers=list(_READ),
        allow_credentials=False,
        max_age=600,
    )
