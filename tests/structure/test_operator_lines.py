"""Every operator has its line in docs/ops.md, and the line says what the docstring says."""

from __future__ import annotations

import pytest
from operator_lines import line_of, written

import ops


@pytest.mark.parametrize("name", ops.__all__)
def test_is_listed(name: str) -> None:
    assert line_of(name) in written()[1], "run `python tests/operator_lines.py`, which writes the list"


def test_nothing_else_is() -> None:
    assert len(written()[1]) == len(ops.__all__)
