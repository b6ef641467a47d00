"""Two Ray replicas on one machine, started by the commands that docs/serving.md names, in an environment of their own.

One is killed under load: every request is answered right all the same, by clients that repeat what failed as the
documentation says. Then the deployment is changed under load, and nothing fails at all.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from live_service import Clients, wait_for
from requests.adapters import HTTPAdapter
from tiny_bundle import WARM, flat_png
from urllib3.exceptions import ReadTimeoutError
from urllib3.util import Retry

from toolkit.inference import load

ROOT = Path(__file__).parents[2]
RAY = Path(os.environ.get("TOOLKIT_RAY_ENV", ROOT / ".venv-ray")) / "bin"
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "NO_COLOR": "1", "OMP_WAIT_POLICY": "PASSIVE"}
# No client may wait longer than this for any single attempt.
PATIENCE_SECONDS = 25.0
CLIENTS = 6


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@dataclass
class Cluster:
    """One Ray node, all of whose processes are in the process group of ``head``."""

    head: subprocess.Popen[bytes]
    address: str
    folder: Path
    environment: dict[str, str]
    port: int = field(default_factory=free_port)

    def deploy(self, **arguments: Any) -> None:
        """As docs/serving.md says; Ray goes on by itself then."""
        application = {"name": "toolkit", "route_prefix": "/", "import_path": "serve.ray_app:build", "args": arguments}
        config = {"http_options": {"host": "127.0.0.1", "port": self.port}, "applications": [application]}
        path = self.folder / "service.yaml"
        path.write_text(yaml.safe_dump(config))
        command = [str(RAY / "serve"), "run", "--address", self.address, "--non-blocking", str(path)]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=90
        )
        assert done.returncode == 0, done.stderr[-3000:]

    def replicas(self) -> set[int]:
        """The process ids."""
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (
                    b"ServeReplica" in (process / "cmdline").read_bytes()
                    and os.getpgid(int(process.name)) == self.head.pid
                ):
                    found.add(int(process.name))
        return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if not (RAY / "serve").exists():
        pytest.fail(
            f"{RAY.parent} is missing: run `make test-system`, which builds the wheel with its Ray extra into it"
        )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | QUIET
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ray") as folder:  # sockets have short names, pytest's folders have not
        command = [
            *(str(RAY / "ray"), "start", "--head", "--block", "--node-ip-address", "127.0.0.1", "--port", str(port)),
            *("--num-cpus", "3", "--object-store-memory", "100000000", "--include-dashboard", "false"),
            *("--ray-client-server-port", str(free_port()), "--dashboard-agent-listen-port", str(free_port())),
            *("--temp-dir", f"{folder}/t"),
        ]
        with (Path(folder) / "head.log").open("wb") as log:
            head = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(lambda: b"Ray runtime started" in (Path(folder) / "head.log").read_bytes(), 60)
            yield Cluster(head, f"127.0.0.1:{port}", Path(folder), environment)
        finally:
            head.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                head.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(head.pid, signal.SIGKILL)
            head.wait(10)


def session(retries: int) -> requests.Session:
    """A client that repeats a request as docs/serving.md says, or never."""
    made = requests.Session()
    made.trust_env = False
    policy = Retry(retries, backoff_factor=0.2, status_forcelist=(429, 500, 502, 503), allowed_methods=None)
    made.mount("http://", HTTPAdapter(max_retries=policy if retries else 0))
    return made


class Load(Clients):
    """Clients, and what came of what they asked."""

    def __init__(self, url: str, right: dict[bytes, Any], retries: int) -> None:
        super().__init__(CLIENTS, PATIENCE_SECONDS * 3)
        self._url, self._right, self._retries = url, right, retries
        self.answered = 0
        self.repeated: list[Any] = []
        self.wrong: list[str] = []

    def ask(self, number: int) -> None:
        pictures = list(self._right)
        with session(self._retries) as client:
            while not self.stopped.is_set():
                picture = pictures[number % len(pictures)]
                number += 1
                try:
                    answer = client.post(f"{self._url}/predict", picture, timeout=PATIENCE_SECONDS)
                except requests.RequestException as error:
                    self.wrong.append(repr(error))
                    continue
                self.repeated += answer.raw.retries.history if answer.raw.retries else ()
                told = without_times(answer.json()) if answer.status_code == 200 else None
                if told == self._right[picture]:
                    self.answered += 1
                else:
                    self.wrong.append(f"{answer.status_code}: {answer.text[:300]}")


def without_times(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key not in ("timing", "source")}


def started(url: str) -> set[float]:
    """When the replicas that answered some requests were started, in seconds since 1970."""
    with session(5) as client:
        texts = [client.get(f"{url}/metrics", timeout=PATIENCE_SECONDS).text for _ in range(12)]
    return {float(re.findall(r"^process_start_time_seconds (\S+)$", text, re.MULTILINE)[0]) for text in texts}


def test_a_killed_replica_and_a_new_deployment_lose_no_request(cluster: Cluster, tiny_bundle: Path) -> None:
    pictures = [flat_png(WARM, (size, size)) for size in (40, 700, 1500)]
    model = load(tiny_bundle, "cpu", threads=1)
    right = {picture: without_times(model.predict_one(picture).to_dict()) for picture in pictures}
    url = f"http://127.0.0.1:{cluster.port}"
    cluster.deploy(bundles=str(tiny_bundle), replicas=2, cpus=1)
    with session(0) as client:
        wait_for(lambda: client.get(f"{url}/health/ready", timeout=10).status_code == 200, 60)
    wait_for(lambda: len(started(url)) == 2)
    wait_for(lambda: len(cluster.replicas()) == 2)
    before = cluster.replicas()

    with Load(url, right, retries=6) as load_of_killing:
        wait_for(lambda: load_of_killing.answered > 50 or load_of_killing.wrong)
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        killed = time.time()
        wait_for(lambda: any(each > killed for each in started(url)), 60)  # another one takes requests
        enough = load_of_killing.answered + 50
        wait_for(lambda: load_of_killing.answered > enough or load_of_killing.wrong)
    assert not load_of_killing.wrong
    assert not [each for each in load_of_killing.repeated if isinstance(each.error, ReadTimeoutError)]
    wait_for(lambda: len(cluster.replicas()) == 2)
    after = cluster.replicas()
    assert after & before == before - {victim}

    with Load(url, right, retries=0) as load_of_change:  # nobody repeats anything now
        cluster.deploy(bundles=str(tiny_bundle), replicas=1, cpus=1, waiting=64)
        # Not only one process: Ray renames them while they work, so that a look may miss one that still runs.
        wait_for(lambda: len(now := cluster.replicas()) == 1 and not now & (before | after), 60)
        enough = load_of_change.answered + 50
        wait_for(lambda: load_of_change.answered > enough or load_of_change.wrong)
    assert not load_of_change.wrong
