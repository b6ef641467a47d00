"""The names that others rely on, and how cheap it is to import them."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

SURFACE = json.loads((Path(__file__).parents[1] / "api_surface.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("module", sorted(SURFACE))
def test_public_names_are_there(module: str) -> None:
    """A name that vanishes breaks somebody's program: add names here freely, take one away only on purpose."""
    found = importlib.import_module(module)
    missing = [name for name in SURFACE[module] if not hasattr(found, name)]
    assert not missing
    assert set(SURFACE[module]) <= set(dir(found))


def imported_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join(sorted({{m.split('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


HEAVY = {"torch", "lightning", "albumentations", "cv2", "onnxruntime", "matplotlib", "pandas", "scipy"}


@pytest.mark.parametrize(
    ("statement", "never"),
    [
        ("import toolkit", HEAVY | {"numpy", "numba", "pydantic", "yaml", "fastapi"}),
        ("import toolkit.cli.main", HEAVY | {"numpy", "numba", "pydantic", "fastapi"}),
        ("import toolkit.config", HEAVY | {"numba"}),
        ("import ops", HEAVY - {"scipy"}),  # numba itself looks for scipy
        ("import toolkit; toolkit.load", {"torch", "lightning", "albumentations", "pycocotools", "fastapi"}),
        ("import serve.app, serve.server", {"torch", "lightning", "albumentations", "pycocotools"}),
        ("import toolkit.api", {"torch", "lightning", "albumentations", "pycocotools"}),
    ],
)
def test_an_import_brings_only_what_it_needs(statement: str, never: set[str]) -> None:
    assert not imported_by(statement) & never


def test_numba_cuda_waits_for_a_device_array() -> None:
    code = (
        "import sys, numpy as np, ops; boxes = np.ones((2, 4), np.float32); ops.box_iou(boxes, boxes);"
        "print('numba.cuda' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    """A user's own serve.py, found before the package, is told in one sentence."""
    (tmp_path / "serve.py").write_text("print('mine')\n")
    done = subprocess.run([sys.executable, "-c", "import toolkit"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert str(tmp_path / "serve.py") in done.stderr
    assert "rename that file" in done.stderr


def test_an_unknown_name_is_an_attribute_error() -> None:
    import toolkit

    with pytest.raises(AttributeError, match="no attribute 'predictt'"):
        toolkit.predictt  # noqa: B018
