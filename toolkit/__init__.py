"""toolkit: train from a config file, predict in one line, deploy an HTTP service.

The names below are the public surface; each is loaded on first use, so importing costs next to nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import TYPE_CHECKING, Any

from toolkit.errors import DataFaults, PictureError, UserError

if TYPE_CHECKING:
    from toolkit.api import crossval as crossval
    from toolkit.api import evaluate as evaluate
    from toolkit.api import export as export
    from toolkit.api import resume as resume
    from toolkit.api import train as train
    from toolkit.inference import Model as Model
    from toolkit.inference import load as load
    from toolkit.inference import predict as predict
    from toolkit.results import ClassificationResult as ClassificationResult
    from toolkit.results import CTReport as CTReport
    from toolkit.results import DetectionResult as DetectionResult
    from toolkit.results import Failure as Failure
    from toolkit.results import SegmentationResult as SegmentationResult

__version__ = "0.1.0"

_HOME = {
    "CTReport": "toolkit.results",
    "ClassificationResult": "toolkit.results",
    "DetectionResult": "toolkit.results",
    "Failure": "toolkit.results",
    "Model": "toolkit.inference",
    "SegmentationResult": "toolkit.results",
    "crossval": "toolkit.api",
    "evaluate": "toolkit.api",
    "export": "toolkit.api",
    "load": "toolkit.inference",
    "predict": "toolkit.inference",
    "resume": "toolkit.api",
    "train": "toolkit.api",
}

__all__ = ["DataFaults", "PictureError", "UserError", "__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'toolkit' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})


def _refuse_shadowed_packages() -> None:
    """The import names are short: a user's own ``serve.py`` in the way must be named, not met as a strange error."""
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for package in ("ops", "zoo", "serve"):
        spec = importlib.util.find_spec(package)
        origin = spec.origin if spec else None
        expected = os.path.join(home, package, "__init__.py")
        if origin is None or not os.path.exists(expected) or not os.path.samefile(origin, expected):
            found = origin or "nothing"
            raise ImportError(
                f"toolkit needs its own package {package!r} at {expected}, but 'import {package}' finds {found};"
                " rename that file or start from another folder"
            )


_refuse_shadowed_packages()
