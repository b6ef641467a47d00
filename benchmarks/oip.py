"""A float32 tensor of 640 x 640 x 3 to the service and its answer back, by Triton's client, as JSON and as binary data:
python -m benchmarks.oip [--rounds 20] [--json FILE]

The network is a mean of each channel, so that what is timed is the way of the tensor: written by the client, read,
checked and answered by the service. The service is a process of its own on this machine's loopback.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import tritonclient.http as triton
from onnx import helper

from benchmarks.serve_inputs import write_classifier
from toolkit.preprocess import Preprocessing

SIDE = 640


def write_means(folder: Path) -> Path:
    """A classifier whose logits are the means of its input's channels."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["means"]),
        helper.make_node("Flatten", ["means"], ["raw"]),
    ]
    return write_classifier(folder, "means", nodes, (), Preprocessing(input_size=(SIDE, SIDE), kind="stretch"))


def by_client(client: triton.InferenceServerClient, tensor: np.ndarray, binary: bool) -> np.ndarray:
    """All of it: the client's writing of the tensor, the way, the service, the way back."""
    given = triton.InferInput("images", list(tensor.shape), "FP32")
    given.set_data_from_numpy(tensor, binary_data=binary)
    return client.infer("means", [given], outputs=[triton.InferRequestedOutput("raw", binary_data=binary)]).as_numpy(
        "raw"
    )


def ready_made(client: httpx.Client, tensor: np.ndarray, binary: bool) -> Callable[[], np.ndarray]:
    """The service's part alone: the body is written before, and plain HTTP carries it."""
    about: dict[str, Any] = {"name": "images", "shape": list(tensor.shape), "datatype": "FP32"}
    if binary:
        about["parameters"] = {"binary_data_size": tensor.nbytes}
    else:
        about["data"] = tensor.reshape(-1).tolist()
    header = json.dumps({"inputs": [about]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(header))}
    body = header + tensor.tobytes() if binary else header

    def ask() -> np.ndarray:
        answer = client.post("/v2/models/means/infer", content=body, headers=headers)
        return np.array(answer.raise_for_status().json()["outputs"][0]["data"], np.float32).reshape(1, 3)

    return ask


def clocked(ask: Callable[[], np.ndarray], expected: np.ndarray, rounds: int) -> np.ndarray:
    """Milliseconds of each round, the first one left out."""
    times = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        answer = ask()
        times.append((time.perf_counter() - started) * 1e3)
        np.testing.assert_allclose(answer, expected, rtol=1e-4)
    return np.array(times[1:])


def measure(address: str, rounds: int) -> dict[str, dict[str, np.ndarray]]:
    tensor = np.random.default_rng(0).uniform(0, 255, (1, 3, SIDE, SIDE)).astype(np.float32)
    expected = tensor.mean(axis=(2, 3))
    client = triton.InferenceServerClient(address)
    times: dict[str, dict[str, np.ndarray]] = {"Triton's client": {}, "ready-made body": {}}
    with httpx.Client(base_url=f"http://{address}", timeout=60, trust_env=False) as plain:
        for name, binary in (("binary", True), ("JSON", False)):
            times["Triton's client"][name] = clocked(lambda: by_client(client, tensor, binary), expected, rounds)  # noqa: B023
            times["ready-made body"][name] = clocked(ready_made(plain, tensor, binary), expected, rounds)
    client.close()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "toolkit", "serve", str(write_means(Path(folder) / "b")), "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as service:
            try:
                assert service.stdout is not None
                line = service.stdout.readline()
                times = measure(line.split(" at http://")[1].split("/")[0], given.rounds)
            finally:
                service.terminate()
    names = ("numpy", "onnxruntime", "uvicorn", "tritonclient")
    versions = {name: metadata.version(name) for name in names}
    print(f"{platform.machine()}, {os.cpu_count()} cores, {versions}, {given.rounds} rounds")
    print("milliseconds, median (quartiles)\n\n| | binary | JSON | JSON / binary |\n|---|---|---|---|")
    report: dict[str, Any] = {"versions": versions, "rounds": given.rounds, "median_ms": {}}
    for way, clocks in times.items():
        cells = [f"{np.median(c):.2f} ({np.percentile(c, 25):.2f}-{np.percentile(c, 75):.2f})" for c in clocks.values()]
        ratio = float(np.median(clocks["JSON"]) / np.median(clocks["binary"]))
        print(f"| {way} | {' | '.join(cells)} | {ratio:.0f} |")
        report["median_ms"][way] = {name: round(float(np.median(c)), 3) for name, c in clocks.items()}
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
