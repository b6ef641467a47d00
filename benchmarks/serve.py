"""Our service beside LitServe, BentoML and a plain FastAPI application: the same network, the same JPEG of 100 kB, wrk
on the same cores. Then what comes of four times as much as it can answer, and whether batches gain anything.

    python -m venv peers && peers/bin/pip install litserve==0.2.19 bentoml==1.4.39 fastapi==0.165.0 uvicorn==0.54.0 \\
        uvloop==0.23.0 httptools==0.9.0 onnxruntime==1.31.1 opencv-python-headless==5.0.0.93 numpy==2.4.6
    python -m venv ours && ours/bin/pip install .
    SERVE_OURS=ours/bin/python SERVE_PEERS=peers/bin/python python -m benchmarks.serve \\
        [--part services|overload|batching] [--json FILE]

The peers live in an environment of their own, whose Python SERVE_PEERS names; without it ours runs alone. Ours too is
installed as for a service; without SERVE_OURS it runs in this environment, with what training needs beside it. wrk is a
Debian package. A file given by --json that exists has its rounds added to, so that long runs can be cut in pieces. The
services stand side by side and take turns, the others halted meanwhile. The capacity is the same work in a loop in one
process: JPEG in, JSON out, no HTTP. A service's CPU time is that of all its processes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import toolkit
from benchmarks.serve_inputs import drawn_jpeg, peer_spec, write_light
from benchmarks.serve_load import offered, wrk
from benchmarks.serve_processes import Running, Way, running, ways
from serve.allocation import hold_on
from serve.settings import Settings
from serve.warmup import measured, pays
from toolkit.bundles import resolve
from toolkit.inference.engine import usable_cores

CONNECTIONS = (1, 8, 64)
BAR_CONNECTIONS = 8
CLASSIFIER, SEGMENTER = "garbage_classification", "ct_pneumonia"
PEER_PACKAGES = ("litserve", "bentoml", "fastapi", "uvicorn", "onnxruntime", "opencv-python-headless", "numpy")
OVERLOAD, TIMEOUT_MS = 4, 500
# How far the peers' probabilities may be from ours: their resized picture is rounded to whole grey levels.
APART = 0.05

Report = dict[str, Any]


class Bench(NamedTuple):
    """What all parts share."""

    picture: bytes
    file: Path
    cores: int
    peers: Path | None
    seconds: float
    rounds: int
    bundles: dict[str, Path]
    only: Sequence[str]


def capacity(bench: Bench, bundle: Path) -> float:
    """Pictures a second in this process, with nothing around it: the best of one run with all cores and many of one."""
    hold_on()  # as the service does
    best = 0.0
    for callers, threads in ((bench.cores, 1), (1, bench.cores)):
        model = toolkit.load(bundle, "cpu", threads=threads, allow_spinning=False)
        best = max(best, _looped(model, bench, callers))
    return best


def _looped(model: toolkit.Model, bench: Bench, callers: int) -> float:
    done = [0] * callers
    for _ in range(5):
        model.predict_one(bench.picture)
    begun = time.perf_counter()

    def work(caller: int) -> None:
        while time.perf_counter() - begun < bench.seconds:
            json.dumps(model.predict_one(bench.picture).to_dict()).encode()
            done[caller] += 1

    threads = [threading.Thread(target=work, args=(caller,)) for caller in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - begun)


def services(bench: Bench, report: Report) -> None:
    """Each service with each number of connections, in turns."""
    for bundle, path in bench.bundles.items():
        spec = peer_spec(path, bench.cores)
        expected = toolkit.load(path, "cpu").predict_one(bench.picture)
        chosen = {
            name: way
            for name, way in ways(str(path), bench.peers, bench.cores, max(CONNECTIONS)).items()
            if not bench.only or name in bench.only
        }
        with contextlib.ExitStack() as held:
            started = [held.enter_context(running(name, way, spec, bench.picture)) for name, way in chosen.items()]
            for one in started:
                check_equal(one.name, one.ask(bench.picture), expected)
                one.pause()
            for _ in range(bench.rounds):
                _note(report, bundle, "in process", {"capacity": capacity(bench, path)})
                for one in started:
                    one.resume()
                    _note(report, bundle, one.name, _measured(one, bench))
                    one.pause()


def _measured(one: Running, bench: Bench) -> dict[str, float]:
    found: dict[str, float] = {}
    wrk(one.port, bench.file, BAR_CONNECTIONS, min(1.0, bench.seconds))
    for connections in CONNECTIONS:
        before = one.cpu_seconds()
        seen = wrk(one.port, bench.file, connections, bench.seconds)
        spent = (one.cpu_seconds() - before) / max(1.0, seen.per_second * bench.seconds)
        found |= {f"{key} {connections}": value for key, value in (*seen._asdict().items(), ("cpu_ms", spent * 1e3))}
    found["rss"], found["pss"] = one.memory()
    return found


def check_equal(name: str, answer: Any, expected: Any) -> None:
    """Peers must have done the same work."""
    apart = float(np.abs(np.array(answer["probabilities"]) - expected.probabilities).max())
    if not apart <= APART or answer["label"] != expected.label:
        raise SystemExit(f"{name} answers {answer}, which is {apart} away from {expected.summary()}")


def overload(bench: Bench, report: Report) -> None:
    """Requests at a steady rate, four times as many as wrk gets answered, each with its deadline."""
    for bundle, path in bench.bundles.items():
        way = Way(ways(str(path), None, bench.cores, Settings.waiting)["ours"].command)
        for _ in range(bench.rounds):
            with running("ours", way, {}, bench.picture) as one:
                wrk(one.port, bench.file, BAR_CONNECTIONS, 1)
                full = wrk(one.port, bench.file, BAR_CONNECTIONS, bench.seconds).per_second
                seen = offered(one.port, bench.picture, OVERLOAD * full, 2 * bench.seconds, TIMEOUT_MS)
            report["overload"].setdefault(bundle, []).append(seen._asdict())


def batching(bench: Bench, report: Report) -> None:
    """What the service's own rule measures, and decides of it."""
    settings, all_sizes = Settings(), Settings(batching="on")
    for name in (*bench.bundles.values(), resolve(SEGMENTER)):
        model = toolkit.load(name, "cpu", threads=max(1, bench.cores // settings.runs), allow_spinning=False)
        for _ in range(bench.rounds):
            line, decided = measured(model, all_sizes), pays(measured(model, settings), settings)
            found = {"gain": line.gain(settings.max_batch), "ms": line.seconds(1) * 1e3, "on": decided}
            report["batching"].setdefault(model.name, []).append(found)


def _note(report: Report, bundle: str, name: str, found: dict[str, float]) -> None:
    rounds = report["services"].setdefault(bundle, {}).setdefault(name, [])
    rounds.append({key: round(value, 3) for key, value in found.items()})


def tell(report: Report) -> None:
    for bundle, found in report["services"].items():
        tell_services(bundle, found)
    for bundle, rounds in report["overload"].items():
        for seen in rounds:
            kept = seen["p99_ms"] <= TIMEOUT_MS and not seen["late"] and not seen["without_retry_after"]
            kept = kept and set(seen["statuses"]) <= {"200", "429"}
            print(
                f"\n{bundle}, {seen['offered_per_second']:.0f} requests a second come, {OVERLOAD} times as many as are "
                f"answered, each with {TIMEOUT_MS} ms: by status {seen['statuses']}, {seen['accepted_per_second']:.0f} "
                f"accepted a second in p50 {seen['p50_ms']:.0f} ms, p99 {seen['p99_ms']:.0f} ms, {seen['late']} late, "
                f"{seen['without_retry_after']} of 429 without Retry-After: {'met' if kept else 'MISSED'}"
            )
    for bundle, rounds in report["batching"].items():
        said = ", ".join(f"{each['gain']:.2f}x: {'on' if each['on'] else 'off'}" for each in rounds)
        print(f"\n{bundle}, {rounds[0]['ms']:.1f} ms a run of one; eight at once, gain and the rule's decision: {said}")


def tell_services(bundle: str, found: dict[str, list[dict[str, float]]]) -> None:
    full = _quartiles(found["in process"], "capacity")
    print(f"\n{bundle}: {len(found['in process'])} rounds; in process {_cell(full)} a second\n")
    for connections in CONNECTIONS:
        print(f"{connections} connections\n")
        print("| | requests a second | p50 ms | p99 ms | errors | CPU ms a request | RSS MiB | PSS MiB |")
        print("|---|---|---|---|---|---|---|---|")
        for name, rounds in found.items():
            if name != "in process":
                keys = [f"{key} {connections}" for key in ("per_second", "p50_ms", "p99_ms", "errors", "cpu_ms")]
                print(
                    f"| {name} | " + " | ".join(_cell(_quartiles(rounds, key)) for key in [*keys, "rss", "pss"]) + " |"
                )
        print()
    if "ours" in found:
        tell_bars(found, full[1])


def tell_bars(found: dict[str, list[dict[str, float]]], full: float) -> None:
    """Ours beside each peer, at 8 connections: all are told, also what is lost."""
    rate = {
        name: _quartiles(rounds, f"per_second {BAR_CONNECTIONS}")[1]
        for name, rounds in found.items()
        if name != "in process"
    }
    memory = {name: _quartiles(found[name], "pss")[1] for name in rate}
    ours = rate.pop("ours")
    print(f"ours / in process: {ours / full:.2f} (bar 0.80: {'met' if ours >= 0.8 * full else 'MISSED'})")
    for name, theirs in rate.items():
        bar = 1.8 if name.startswith("LitServe") else 1.0 if name.startswith("plain") and "1 " not in name else None
        verdict = "" if bar is None else f" (bar {bar}: {'met' if ours >= bar * theirs else 'MISSED'})"
        print(f"ours / {name}: {ours / theirs:.2f}{verdict}, memory {memory['ours'] / memory[name]:.2f} of its")


def _quartiles(rounds: list[dict[str, float]], key: str) -> tuple[float, float, float]:
    low, middle, high = np.percentile([each[key] for each in rounds], [25, 50, 75]).tolist()
    return low, middle, high


def _cell(values: tuple[float, float, float]) -> str:
    low, middle, high = (f"{value:.0f}" if value >= 100 else f"{value:.3g}" for value in values)
    return f"{middle} ({low}-{high})"


def about(peers: Path | None) -> Report:
    ours = ("uvicorn", "fastapi", "onnxruntime", "opencv-python-headless", "numpy")
    versions = {name: metadata.version(name) for name in ours}
    found: Report = {"machine": platform.machine(), "cores": usable_cores(), "python": platform.python_version()}
    found["ours"] = versions
    if peers:
        ask = f"from importlib.metadata import version; print(*map(version, {PEER_PACKAGES}))"
        said = subprocess.run([peers, "-c", ask], check=True, capture_output=True, text=True).stdout.split()
        found["peers"] = dict(zip(PEER_PACKAGES, said, strict=True))
    return found


@contextlib.contextmanager
def bench_of(given: argparse.Namespace) -> Iterator[Bench]:
    picture = drawn_jpeg()
    named = os.environ.get("SERVE_PEERS")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "picture.jpg"
        file.write_bytes(picture)
        bundles = {CLASSIFIER: resolve(CLASSIFIER), "light": write_light(Path(folder) / "light")}
        chosen = {name: path for name, path in bundles.items() if name in (given.bundle or bundles)}
        peers = Path(named).absolute() if named else None
        yield Bench(picture, file, usable_cores(), peers, given.seconds, given.rounds, chosen, given.only or ())


PARTS = {"services": services, "overload": overload, "batching": batching}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append", help="may be given twice; default all")
    parser.add_argument("--bundle", choices=(CLASSIFIER, "light"), action="append", help="default both")
    parser.add_argument("--only", action="append", help="a service by the name that the table has; default all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of load for each number of connections")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with bench_of(given) as bench:
        report: Report = {"services": {}, "overload": {}, "batching": {}}
        if given.json and given.json.exists():
            report = json.loads(given.json.read_text())
        report |= {"about": about(bench.peers), "picture_bytes": len(bench.picture), "seconds": given.seconds}
        for name in given.part or PARTS:
            PARTS[name](bench, report)
    print(*(f"{name} {value}" for name, value in report["about"].items()), sep=", ")
    print(f"a JPEG of {report['picture_bytes']} bytes, wrk for {given.seconds:g} s each; median (quartiles) of rounds")
    tell(report)
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
