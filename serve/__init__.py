"""The HTTP service over a bundle. It needs the inference side of `toolkit` and FastAPI, never torch.

Names load on first use, so that `import serve` alone does not import a web framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serve.app import create_app as create_app
    from serve.inprocess import InProcessClient as InProcessClient
    from serve.server import run as run
    from serve.settings import Settings as Settings

_HOMES = {
    "create_app": "serve.app",
    "InProcessClient": "serve.inprocess",
    "run": "serve.server",
    "Settings": "serve.settings",
}
__all__ = ["InProcessClient", "Settings", "create_app", "run"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'serve' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
