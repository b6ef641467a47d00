"""The houses of the design: who may import whom, read from the source, and no circle among modules."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOUSES = ("ops", "zoo", "toolkit", "serve")

# What each house must never import, anywhere, lazily or not.
FORBIDDEN = {
    "ops": {"torch", "cv2", "PIL", "zoo", "toolkit", "serve", "pydantic", "onnxruntime"},
    "zoo": {"toolkit", "serve", "typer", "pydantic"},
    "serve": {"torch", "lightning", "albumentations", "zoo", "pycocotools", "pickle"},
}
# The parts of `toolkit` that predicting and serving load: they must work where torch is not installed.
INFERENCE = ("errors", "images", "preprocess", "bundle", "bundle_files", "bundle_spec", "bundles", "results",
             "result_base", "classification_result", "segmentation_result", "drawing", "drawing_text",
             "drawing_scores", "drawing_masks", "drawing_volume", "ct_report", "ct", "inference", "config",
             "docker", "api_keys")  # fmt: skip
TRAINING_ONLY = {
    "torch",
    "lightning",
    "albumentations",
    "pycocotools",
    "onnx",
    "onnxscript",
    "matplotlib",
    "zoo",
    "serve",
}
# toolkit → serve: two lazy imports, the serve command and the parity check's in-process client.
MAY_IMPORT_SERVE = {"toolkit/cli/predict_commands.py", "toolkit/exporting/export.py"}


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path, *, lazy: bool = True) -> set[str]:
    """Full names of the modules that a file imports; ``lazy=False`` leaves out imports inside functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree)) if lazy else [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from package import module` needs the modules, not what stands in the package's __init__.
            found |= names if all(is_module(name) for name in names) else {node.module or "", *names}
    return found


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or path.is_dir()


def tops(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("house", sorted(FORBIDDEN))
def test_a_house_keeps_to_what_it_may_import(house: str) -> None:
    found = sources(house)
    assert found
    wrong = {str(p.relative_to(ROOT)): bad for p in found if (bad := tops(imports(p)) & FORBIDDEN[house])}
    assert not wrong


@pytest.mark.parametrize("name", INFERENCE)
def test_the_inference_side_needs_nothing_of_training(name: str) -> None:
    base = ROOT / "toolkit" / name
    files = sorted(base.rglob("*.py")) if base.is_dir() else [base.with_suffix(".py")]
    wrong = {str(p.relative_to(ROOT)): bad for p in files if (bad := tops(imports(p)) & TRAINING_ONLY)}
    assert not wrong


def test_only_two_places_of_toolkit_import_serve_and_lazily() -> None:
    users = {str(p.relative_to(ROOT)) for p in sources("toolkit") if "serve" in tops(imports(p))}
    assert users == MAY_IMPORT_SERVE
    assert not [u for u in users if "serve" in tops(imports(ROOT / u, lazy=False))]


def test_zoo_init_is_empty_and_demos_use_the_public_surface() -> None:
    assert not (ROOT / "zoo/__init__.py").read_text().strip()
    for path in sources("demos"):
        inner = {n for n in imports(path) if n.startswith(tuple(f"{h}." for h in HOUSES))}
        assert inner <= {"toolkit.errors", "toolkit.errors.UserError"}, f"{path} reaches behind the public surface"


def test_no_circle_among_modules_at_import_time() -> None:
    graph: dict[str, set[str]] = {}
    for house in HOUSES:
        for path in sources(house):
            parts = path.relative_to(ROOT).with_suffix("").parts
            graph[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = imports(path, lazy=False)
    graph = {name: {n for n in used if n in graph and n != name} for name, used in graph.items()}
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for used in sorted(graph[name]):
                visit(used, (*trail, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())
