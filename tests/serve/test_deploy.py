"""The Kubernetes manifest against the service that it starts: its flags, paths, ports, times and metric exist."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from live_service import live

from serve import create_app, run
from toolkit.cli.main import app
from toolkit.docker import write_dockerfile
from toolkit.inference import load

MANIFEST = Path(__file__).parents[2] / "serve/deploy/kubernetes.yaml"
DOCUMENTS: dict[str, dict[str, Any]] = {each["kind"]: each for each in yaml.safe_load_all(MANIFEST.read_text())}
POD = DOCUMENTS["Deployment"]["spec"]["template"]["spec"]
CONTAINER = POD["containers"][0]


def options(arguments: list[str]) -> dict[str, Any]:
    """What the command line makes of them; it raises for a flag that is unknown."""
    serve = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    return serve.make_context("serve", list(arguments)).params  # type: ignore[no-any-return]


def test_the_pod_starts_the_service_as_its_command_line_is() -> None:
    assert CONTAINER["args"][:2] == ["toolkit", "serve"]
    given = options(CONTAINER["args"][2:])
    assert (given["host"], given["port"], given["log_format"]) == ("0.0.0.0", 8000, "json")
    mount = CONTAINER["volumeMounts"][0]["mountPath"]
    assert Path(given["keys"]).parent == Path(mount)
    assert CONTAINER["ports"] == [{"name": "http", "containerPort": given["port"]}]


def test_the_image_s_own_command_is_one_too(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "b").symlink_to(tiny_bundle)
    text = write_dockerfile(tmp_path, "b").read_text()
    command = json.loads(re.findall(r"^CMD (.*)$", text, re.MULTILINE)[-1])
    given = options(command[2:])
    assert (given["host"], given["log_format"]) == ("0.0.0.0", "json")
    assert re.search(r"^USER 10001$", text, re.MULTILINE)
    assert POD["securityContext"]["runAsUser"] == 10001


def test_what_is_probed_scraped_and_scaled_by_is_there(tiny_bundle: Path) -> None:
    with live(create_app(load(tiny_bundle, "cpu", threads=1))) as client:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert client.get(CONTAINER[probe]["httpGet"]["path"]).status_code == 200
        annotations = DOCUMENTS["Deployment"]["spec"]["template"]["metadata"]["annotations"]
        metrics = client.get(annotations["prometheus.io/path"]).text
    (metric,) = DOCUMENTS["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert re.search(rf"^{metric['pods']['metric']['name']} [0-9.]+$", metrics, re.MULTILINE)
    limit = float(re.findall(r"^toolkit_queue_limit_pictures ([0-9.]+)$", metrics, re.MULTILINE)[0])
    assert float(metric["pods"]["target"]["averageValue"]) < limit / 4


def test_there_is_time_to_drain() -> None:
    seconds = inspect.signature(run).parameters["drain_seconds"].default
    sleep = float(re.findall(r"sleep\((\d+)\)", CONTAINER["lifecycle"]["preStop"]["exec"]["command"][-1])[0])
    assert POD["terminationGracePeriodSeconds"] >= seconds + sleep + 5


@pytest.mark.parametrize("kind", ["Service", "PodDisruptionBudget", "NetworkPolicy", "Deployment"])
def test_they_all_speak_of_the_same_pods(kind: str) -> None:
    labels = DOCUMENTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    spec = DOCUMENTS[kind]["spec"]
    selector = spec.get("selector") or spec["podSelector"]
    assert (selector.get("matchLabels") or selector) == labels


def test_the_manifest_is_in_the_wheel() -> None:
    from importlib import resources

    assert resources.files("serve").joinpath("deploy/kubernetes.yaml").is_file()
