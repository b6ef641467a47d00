"""The service needs no torch: neither in what its files name, nor in what a process that imports them loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "serve").rglob("*.py"))
ALLOWED = {
    "fastapi", "numpy", "onnxruntime", "opentelemetry", "prometheus_client", "pydantic", "python_multipart", "ray",
    "serve", "starlette", "toolkit", "uvicorn",
}  # fmt: skip
TRAINING = ("toolkit.training", "toolkit.evaluation", "toolkit.exporting", "toolkit.data", "toolkit.config")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_names_only_what_the_service_may_use(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names = [node.module or ""]
        for name in names:
            top = name.partition(".")[0]
            assert top in ALLOWED or top in sys.stdlib_module_names, f"{path.name} imports {name}"
            assert top not in ("pickle", "marshal", "shelve"), f"{path.name} imports {name}"
            assert not name.startswith(TRAINING), f"{path.name} imports {name}"


def test_a_process_that_serves_loads_no_training_library() -> None:
    program = (
        "import sys, serve.app, serve.server, serve.inprocess, toolkit.docker, toolkit.inference.golden\n"
        "print({'torch', 'lightning', 'albumentations', 'pycocotools', 'httpx'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_importing_the_package_alone_costs_no_web_framework() -> None:
    program = "import sys, serve, toolkit.docker; print('fastapi' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("False\n", "")
