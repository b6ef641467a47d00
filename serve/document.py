"""The OpenAPI document beyond what FastAPI makes of the routes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI


def amend(app: FastAPI, change: Callable[[dict[str, Any]], None]) -> None:
    """Let ``change`` work on the document whenever it is asked for; changes made twice must be as one."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        schema = plain()
        change(schema)
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
