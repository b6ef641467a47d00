"""The libraries that only CT needs: imported where they are used, and named where they are missing."""

from __future__ import annotations

import importlib
from typing import Any

from toolkit.errors import UserError


def need(module: str, what: str) -> Any:
    """The module of that name; a UserError that says how to install it when it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise UserError(f"{what} needs {package}: install it with pip install 'cv-toolkit[ct]'") from None
