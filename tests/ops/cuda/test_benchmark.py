"""benchmarks/ops_gpu.py runs, on sizes that the simulator can do, and checks what it will time on a GPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import ops_gpu
from ops._cuda import SIMULATED


def called_once(name: str, call: ops_gpu.Call, rounds: int, floor: float | None = None) -> ops_gpu.Timing:
    call()  # the simulator has no clock
    return ops_gpu.Timing(name, 1.0, 1.0, 1.0, floor)


def test_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["ops_gpu", "--scale", "0.0002", "--json", str(report)])
    monkeypatch.setattr(ops_gpu, "timed", called_once)
    ops_gpu.main()
    rows: list[dict[str, Any]] = json.loads(report.read_text())
    printed = capsys.readouterr().out
    assert printed.startswith("numba's simulator, no GPU") == SIMULATED
    assert all(row["name"] in printed for row in rows)
    assert {row["name"].split(",")[0] for row in rows} >= {"letterbox_batch", "mask_iou", "batched_nms"}
