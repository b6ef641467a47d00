"""The services that are set side by side: how each is started, when it is ready, what memory its processes hold."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

PEERS = Path(__file__).with_name("serve_peers")
_START_SECONDS = 90


class Way(NamedTuple):
    """How a service is started: a command in which {port} is filled in, and what its environment has besides."""

    command: Sequence[str]
    settings: Mapping[str, str] = {}


def ways(bundle: str, peers: Path | None, cores: int, waiting: int) -> dict[str, Way]:
    """Ours, and the peers where ``peers`` is the Python of an environment that has them.

    Ours is run by the Python that SERVE_OURS names, or by this one, whose environment may hold what no service needs.
    """
    ours = os.path.abspath(os.environ.get("SERVE_OURS", sys.executable))
    found = {"ours": Way([ours, "-m", "toolkit", "serve", bundle, "--port", "{port}", "--waiting", str(waiting)])}
    if peers is None:
        return found
    # The environment's own folder: what the link points to has other packages.
    uvicorn = [str(peers.with_name("uvicorn")), "plain_app:app", "--port", "{port}", "--no-access-log"]
    bento = [str(peers.with_name("bentoml")), "serve", "bentoml_app:Classifier", "--port", "{port}"]
    workers = {"PEER_WORKERS": str(cores), "PEER_THREADS": "1", "PEER_BATCH": "1"}
    return found | {
        "plain, 1 worker": Way([*uvicorn, "--workers", "1"], {"PEER_THREADS": str(cores)}),
        f"plain, {cores} workers": Way([*uvicorn, "--workers", str(cores)], {"PEER_THREADS": "1"}),
        "LitServe": Way([str(peers), "litserve_app.py", "{port}"], workers),
        "LitServe, batches": Way([str(peers), "litserve_app.py", "{port}"], {**workers, "PEER_BATCH": "8"}),
        "BentoML": Way(bento, workers),
    }


class Running(NamedTuple):
    """A service that answers."""

    name: str
    port: int
    process: subprocess.Popen[bytes]

    def ask(self, picture: bytes) -> Any:
        """Its answer to a picture."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/predict", picture, {"Content-Type": "image/jpeg"}
        )
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return json.load(answer)

    def pause(self) -> None:
        """Stop all its processes where they are: even idle ones poll."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        os.killpg(self.process.pid, signal.SIGCONT)

    def cpu_seconds(self) -> float:
        """Processor time of all its processes so far."""
        return sum(_cpu_ticks(pid) for pid in _tree(self.process.pid)) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> tuple[float, float]:
        """MiB of all its processes: resident, and proportional (what is shared is divided among those who share)."""
        resident, shared = zip(*(_memory(pid) for pid in _tree(self.process.pid)), strict=True)
        return sum(resident) / 1024, sum(shared) / 1024


@contextlib.contextmanager
def running(name: str, way: Way, spec: Mapping[str, Any], picture: bytes) -> Iterator[Running]:
    """Start a service, wait until it answers the picture, and end it with all its processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [part.format(port=port) for part in way.command],
        cwd=None if name.startswith("ours") else PEERS,
        env=_environment(name, way, spec),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    service = Running(name, port, process)
    try:
        _await(service, picture)
        yield service
    finally:
        _end(process)


def _environment(name: str, way: Way, spec: Mapping[str, Any]) -> dict[str, str]:
    own = {**os.environ, **way.settings, "PEER_SPEC": json.dumps(spec), "BENTOML_DO_NOT_TRACK": "True"}
    if not name.startswith("ours"):
        own.pop("PYTHONPATH", None)
    return own


def _await(service: Running, picture: bytes) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            service.ask(picture)
            return
        except (OSError, urllib.error.URLError) as error:
            if service.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{service.name} did not start: {' '.join(map(str, service.process.args))}") from error
            time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    """As an operator would, and by force where that does not help."""
    tree = _tree(process.pid)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGCONT)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(20)
    for pid in tree:
        with contextlib.suppress(ProcessLookupError):
            if pid == process.pid or os.getsid(pid) == process.pid:
                os.kill(pid, signal.SIGKILL)
    process.wait()


def _tree(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _tree(int(child))
    return found


def _memory(pid: int) -> tuple[int, int]:
    """KiB resident and proportional."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        sizes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines[1:])}
        return sizes["Rss"], sizes["Pss"]
    return 0, 0


def _cpu_ticks(pid: int) -> int:
    """In user and kernel, of all threads."""
    with contextlib.suppress(OSError):
        # What follows the name, which may hold anything: state is field 3, the two times are 14 and 15.
        rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(rest[11]) + int(rest[12])
    return 0
