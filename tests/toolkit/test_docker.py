"""The Dockerfile: its structure, and the two commands in it that can be run without Docker."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from bundle_variants import spoilt
from live_service import live
from tiny_bundle import make_tiny_bundle

import toolkit
from serve import create_app
from toolkit.bundle import pack
from toolkit.docker import write_dockerfile
from toolkit.errors import UserError
from toolkit.inference import load

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_tiny_bundle(tmp_path / "mask_detection")
    return tmp_path


def instructions(path: Path) -> list[tuple[str, str]]:
    """(instruction, arguments) in order, comments left out and continued lines joined."""
    text = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", path.read_text()))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in text.splitlines() if line]


def test_it_serves_the_bundle_as_nobody_in_particular_without_torch(folder: Path) -> None:
    path = write_dockerfile(folder, "mask_detection")
    assert path == folder / "Dockerfile"
    found = instructions(path)
    assert found[0] == ("FROM", "python:3.11-slim")
    assert [name for name, _ in found] == [
        "FROM",
        "ENV",
        "RUN",
        "RUN",
        "COPY",
        "USER",
        "RUN",
        "EXPOSE",
        "HEALTHCHECK",
        "CMD",
    ]
    everything = dict(found)
    assert ("RUN", f"pip install cv-toolkit=={toolkit.__version__}") in found
    assert json.loads(everything["COPY"]) == ["mask_detection", "/bundle"]
    assert everything["USER"] == "10001"
    assert everything["EXPOSE"] == "8000"
    assert json.loads(everything["CMD"]) == [
        "toolkit",
        "serve",
        "/bundle",
        "--host",
        "0.0.0.0",
        "--port",
        "8000",
        "--log-format",
        "json",
    ]
    assert "torch" not in path.read_text()
    assert "docker build -t mask-detection-service ." in path.read_text()


def test_only_what_is_copied_is_sent_to_docker(folder: Path) -> None:
    write_dockerfile(folder, "mask_detection")
    assert (folder / "Dockerfile.dockerignore").read_text() == "*\n!mask_detection\n"


def test_a_wheel_beside_the_bundle_is_installed(folder: Path) -> None:
    wheel = folder / "cv_toolkit-9.9.9-py3-none-any.whl"
    wheel.touch()
    found = instructions(write_dockerfile(folder, "mask_detection"))
    assert ("COPY", json.dumps([wheel.name, "/tmp/"])) in found
    assert ("RUN", f"pip install /tmp/{wheel.name}") in found
    assert f"!{wheel.name}\n" in (folder / "Dockerfile.dockerignore").read_text()


def test_a_zip_will_do_and_writing_again_too(folder: Path) -> None:
    pack(folder / "mask_detection", folder / "mask.zip")
    write_dockerfile(folder, "mask_detection")
    found = instructions(write_dockerfile(folder, "mask.zip"))
    assert ("COPY", json.dumps(["mask.zip", "/bundle"])) in found


def test_the_health_check_follows_readiness(folder: Path) -> None:
    probe = probe_of(write_dockerfile(folder, "mask_detection"))
    with live(create_app(load(folder / "mask_detection", "cpu", threads=1))) as client:
        at = probe.replace("8000", str(client.base_url.port))
        assert python(at).returncode == 0
        client.post("/predict", content=b"")
    assert python(at).returncode != 0  # nobody there


def test_the_health_check_fails_while_the_service_is_unfit(tmp_path: Path) -> None:
    make_tiny_bundle(tmp_path / "mask_detection")
    probe = probe_of(write_dockerfile(tmp_path, "mask_detection"))
    with live(create_app(load(spoilt(tmp_path), "cpu", threads=1)), wait_until_ready=False) as client:
        assert python(probe.replace("8000", str(client.base_url.port))).returncode == 1


@pytest.mark.parametrize(("good", "code"), [(True, 0), (False, 1)])
def test_a_bundle_that_answers_wrongly_builds_no_image(tmp_path: Path, good: bool, code: int) -> None:
    make_tiny_bundle(tmp_path / "mask_detection")
    found = instructions(write_dockerfile(tmp_path, "mask_detection"))
    program = json.loads([text for name, text in found if name == "RUN"][-1])[2]
    bundle = tmp_path / "mask_detection" if good else spoilt(tmp_path)
    done = python(program.replace("'/bundle'", repr(str(bundle))))
    assert done.returncode == code
    assert ("golden/0.png: expected warm 0.5000" in done.stderr) is not good


@pytest.mark.parametrize(
    ("prepare", "name", "sentence"),
    [
        ((), "nothing", "no bundle at .*nothing; export one there first"),
        ((), "../elsewhere", "a Dockerfile needs a name of letters"),
        ((), "with space", "a Dockerfile needs a name of letters"),
        (("Dockerfile",), "mask_detection", "Dockerfile was not written by the toolkit"),
        (("cv_toolkit-1-x.whl", "cv_toolkit-2-x.whl"), "mask_detection", "holds 2 wheels .*; keep the one to install"),
    ],
)
def test_what_cannot_be_written_is_one_sentence(
    folder: Path, prepare: tuple[str, ...], name: str, sentence: str
) -> None:
    for file in prepare:
        (folder / file).write_text("FROM scratch\n")
    with pytest.raises(UserError, match=sentence):
        write_dockerfile(folder, name)


def probe_of(path: Path) -> str:
    command = dict(instructions(path))["HEALTHCHECK"].partition(" CMD ")[2]
    return json.loads(command)[2]  # type: ignore[no-any-return]


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
