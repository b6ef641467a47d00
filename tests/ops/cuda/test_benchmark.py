"""benchmarks/ops_gpu.py runs, on sizes that the simulator can do, and checks what it will time on a GPU."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import ops_gpu
from ops._cuda import SIMULATED


def without_a_clock(call: ops_gpu.Call) -> float:
    call()  # the simulator has none
    return 1.0


def test_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "gpu.json"
    arguments = ["--scale", "0.0002", "--rounds", "2", "--json", str(report)]
    monkeypatch.setattr(sys, "argv", ["ops_gpu", *arguments])
    monkeypatch.setattr(ops_gpu, "milliseconds", without_a_clock)
    monkeypatch.setattr(ops_gpu, "quartiles", lambda calls, rounds: {name: (1.0, without_a_clock(call), 1.0)
                                                                     for name, call in calls.items()})  # fmt: skip
    ops_gpu.main()
    rows: list[dict[str, Any]] = json.loads(report.read_text())
    printed = capsys.readouterr().out
    assert printed.startswith("numba's simulator, no GPU") == SIMULATED
    assert all(row["name"] in printed for row in rows)
    assert "letterbox_batch, 2 of 1080p to 640: 1 launch\n" in printed
    assert {row["name"].split(",")[0] for row in rows} >= {
        "letterbox_batch",
        "lung_statistics",
        "mask_iou",
        "own reduce",
    }
    bars = [row for row in rows if row["bar"] is not None]
    assert {row["bar"] for row in bars} == {ops_gpu.MEMORY_BAR, ops_gpu.PEER_BAR}
    assert f"{sum(row['met'] is None for row in bars)} without their peer" in printed


@pytest.mark.parametrize(
    ("reached", "told"),
    [(0.6, "0.60 of the copy bandwidth, bar 0.6: met"), (0.59, "0.59 of the copy bandwidth, bar 0.6: MISSED")],
)
def test_bars(reached: float, told: str) -> None:
    timing = ops_gpu.Timing("box_iou", 1.0, 0.9, 1.1, "the copy bandwidth", reached, ops_gpu.MEMORY_BAR)
    assert told in str(timing)


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(ops_gpu, "has_device", lambda: False)
    monkeypatch.setattr(sys, "argv", ["ops_gpu"])
    with pytest.raises(SystemExit) as ended:
        ops_gpu.main()
    told = capsys.readouterr()
    assert (ended.value.code, told.out, told.err) == (2, "", ops_gpu.NO_GPU + "\n")
