"""The HTTP service over a bundle. It needs the inference side of `toolkit` and FastAPI, never torch.

Names load on first use, so that writing a Dockerfile does not import a web framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serve.app import create_app as create_app
    from serve.docker import write_dockerfile as write_dockerfile
    from serve.inprocess import InProcessClient as InProcessClient
    from serve.server import run as run

_HOMES = {
    "create_app": "serve.app",
    "InProcessClient": "serve.inprocess",
    "run": "serve.server",
    "write_dockerfile": "serve.docker",
}
__all__ = ["InProcessClient", "create_app", "run", "write_dockerfile"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'serve' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
