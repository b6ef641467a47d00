"""One preprocessing, one suppression, one IoU: nothing in the tree may do again what an operator does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# pattern -> {file: why it may}
RULES: dict[str, dict[str, str]] = {
    r"cv2\.resize|warpAffine|copyMakeBorder|\.thumbnail\(|Image\.resize|\.resize\(\(": {},
    r"F\.interpolate|grid_sample|nn\.functional\.interpolate": {
        "zoo/segmentation_loss.py": "logits to the size of the labels, with a gradient",
    },
    r"cv2\.dnn\.|NMSBoxes|torchvision": {},
    r"blobFromImage": {},
    r"findContours|frPyObjects|connectedComponents|distanceTransform|ndimage": {},
    r"pycocotools|COCOeval|torchmetrics": {},
    r"pickle|joblib|dill|marshal|shelve|np\.load\(": {},
    r"torch\.load\(": {"toolkit/training/weights.py": "reads a checkpoint with weights_only=True"},
    r"\beval\(|\bexec\(": {},
    r"yaml\.load\(": {"toolkit/bundle_spec.py": "with a safe loader that also refuses aliases"},
    r"except\s*:|except Exception\s*:\s*pass": {},
}


def code(path: Path) -> str:
    """The file without comments and docstrings, which may speak of what code must not do."""
    text = re.sub(r'"""(?:.|\n)*?"""', '""', path.read_text(encoding="utf-8"))
    text = re.sub(r"\.eval\(", ".evaluation_mode(", text)  # torch's evaluation mode is no evaluation of text
    return re.sub(r"#.*", "", text)


@pytest.mark.parametrize("pattern", sorted(RULES))
def test_nothing_is_done_twice(pattern: str) -> None:
    files = [p for house in ("ops", "zoo", "toolkit", "serve") for p in sorted((ROOT / house).rglob("*.py"))]
    assert len(files) > 50
    found = {str(p.relative_to(ROOT)) for p in files if re.search(pattern, code(p))}
    assert found == set(RULES[pattern]), f"{pattern}: use the operator in ops, or add the file here with a reason"


def test_the_checkpoint_is_read_as_weights_only() -> None:
    calls = re.findall(r"torch\.load\(.*\)", code(ROOT / "toolkit/training/weights.py"))
    assert calls
    assert all("weights_only=True" in call for call in calls)
