"""`toolkit warmup` compiles the twins too where there is a device."""

from __future__ import annotations

import pytest

from ops._cuda import CudaKernel
from ops._kernel import Kernel
from toolkit.doctor import compile_all


def test_twins_are_among_what_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kernel, "registry", [])  # theirs is another test
    names = [name for name, _ in compile_all()]
    assert sorted(names) == sorted(kernel.name for kernel in CudaKernel.registry)
    assert "ops.box_iou._twin" in names
