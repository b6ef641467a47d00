"""The service watched and attacked by programs that others wrote: promtool and slowhttptest (system-packages.txt)."""

from __future__ import annotations

import csv
import shutil
import subprocess
from pathlib import Path

import pytest
from live_service import live
from tiny_bundle import WARM, flat_png

from serve import Settings, create_app
from serve.protocol import Protocol
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


# The attacks of slowhttptest: heads that never end, bodies that never end, answers that are not read (the page fits in
# the system's buffers, so nothing is left to wait for in the service).
ATTACKS = {
    "heads": (["-H"], "No open connections left"),
    "bodies": (["-B", "-t", "POST", "-s", "100000"], "No open connections left"),
    "reading": (["-X", "-w", "16", "-y", "32", "-z", "8", "-n", "5", "-k", "2"], "Hit test time limit"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_slow_clients_leave_the_others_alone(tiny_bundle: Path, tmp_path: Path, attack: str) -> None:
    settings = Settings(body_seconds=3.0)
    arguments, end = ATTACKS[attack]
    sizes = ["-c", "300", "-r", "300", "-i", "1", "-l", "10", "-p", "5"]
    with live(create_app(load(tiny_bundle, "cpu", threads=1), settings), protocol=Hurried) as client:
        target = f"{client.base_url}/{'predict' if attack == 'bodies' else ''}"
        command = [program("slowhttptest"), *arguments, *sizes, "-u", target, "-g", "-o", str(tmp_path / "told")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as run:
            healthy = 0
            while run.poll() is None:
                assert client.post("/predict", content=PICTURE).status_code == 200
                healthy += 1
            assert run.stdout is not None
            told = run.stdout.read()
    seconds = list(csv.DictReader((tmp_path / "told.csv").read_text().splitlines()))
    assert max(int(each["Connected"]) for each in seconds) > 200, told  # it did attack
    assert end in told  # and those that can be told from the others were sent away
    assert "0" not in {each["Service Available"] for each in seconds}, told  # its own probe, once a second
    assert healthy > 20


class Hurried(Protocol):
    head_seconds = 3.0
    stalled_seconds = 3.0
