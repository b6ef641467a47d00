"""The service watched and attacked by programs that others wrote: promtool and slowhttptest (system-packages.txt)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from live_service import live
from tiny_bundle import WARM, flat_png

from serve import create_app
from toolkit.inference import load

PICTURE = flat_png(WARM)


def program(name: str) -> str:
    path = shutil.which(name)
    if not path:
        pytest.fail(f"{name} is missing: apt-get install the packages of system-packages.txt")
    return path


def test_promtool_finds_nothing_wrong_with_the_metrics(tiny_bundle: Path) -> None:
    with live(create_app(load(tiny_bundle, "cpu", threads=1))) as client:
        assert client.post("/predict", content=PICTURE).status_code == 200
        assert client.post("/predict", content=b"").status_code == 400
        text = client.get("/metrics").content
    for faulty in (False, True):  # and it does look: the second has a counter without its suffix
        given = text + b"# HELP wrong A counter.\n# TYPE wrong counter\nwrong 1\n" if faulty else text
        done = subprocess.run(
            [program("promtool"), "check", "metrics"], input=given, capture_output=True, timeout=60, check=False
        )
        assert (done.returncode == 0) is not faulty, done.stderr.decode()
        assert (done.stdout + done.stderr == b"") is not faulty
