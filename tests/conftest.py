"""What several test files share: helpers lie in this folder, and a small bundle that needs no torch is made once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tiny_bundle import make_tiny_bundle


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A valid bundle folder, shared by the whole run: a test that changes files makes its own."""
    return make_tiny_bundle(tmp_path_factory.mktemp("tiny") / "tiny")
