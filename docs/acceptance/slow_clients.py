"""How long healthy clients wait while slowhttptest attacks the same service: medians and 99th percentiles.

    python docs/acceptance/slow_clients.py BUNDLE PICTURE

Needs slowhttptest (system-packages.txt). One healthy client asks again and again on one connection, for eight seconds
alone and for eight seconds beside each attack of 500 connections.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

SECONDS = 8
ATTACKS = {
    "slow heads": ["-H"],
    "slow bodies": ["-B", "-t", "POST", "-s", "100000"],
    "slow reading": ["-X", "-w", "16", "-y", "32", "-z", "8", "-n", "5", "-k", "2"],
}


def main(bundle: str, picture: Path) -> None:
    command = [sys.executable, "-m", "toolkit.cli.main", "serve", bundle, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as service:
        assert service.stdout is not None
        address = next(word for word in service.stdout.readline().split() if word.startswith("http://"))
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
            measure(client, picture.read_bytes())  # warm
            tell("alone", measure(client, picture.read_bytes()))
            for name, arguments in ATTACKS.items():
                attack = start(address + ("predict" if name == "slow bodies" else ""), arguments)
                time.sleep(1.5)  # until all its connections stand
                times = measure(client, picture.read_bytes())
                attack.terminate()
                attack.wait()
                tell(f"beside {name}", times)
            tell("alone again", measure(client, picture.read_bytes()))
        service.terminate()


def start(url: str, arguments: list[str]) -> subprocess.Popen[bytes]:
    sizes = ["-c", "500", "-r", "500", "-i", "2", "-l", str(SECONDS + 4), "-p", "5", "-u", url]
    return subprocess.Popen(
        ["slowhttptest", *arguments, *sizes], cwd=tempfile.gettempdir(), stdout=subprocess.DEVNULL
    )  # fmt: skip


def measure(client: httpx.Client, picture: bytes) -> list[float]:
    """Milliseconds of each request, all of which must be answered."""
    times, end = [], time.monotonic() + SECONDS
    while time.monotonic() < end:
        started = time.perf_counter()
        client.post("predict", content=picture).raise_for_status()
        times.append((time.perf_counter() - started) * 1e3)
    return sorted(times)


def tell(name: str, times: list[float]) -> None:
    def at(share: float) -> float:
        return times[min(len(times) - 1, int(share * len(times)))]

    print(f"{name:22} {len(times):4} requests, all 200: median {at(0.5):6.1f} ms, p99 {at(0.99):6.1f} ms", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
