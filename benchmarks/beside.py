"""An operator beside its peers: one way to take turns, compare answers, tell and write it, for all `benchmarks.ops_*`.

A work has one `Case` and gets a `Row` for each peer. Ours and the peers take turns in one process; before them comes
the floor: the bytes that the work must move, over the bandwidth of a large copy. A call of less than 50 ms runs once
more before it is timed, so that it finds its own caches. Peers that need a torch of their own run in a process beside,
in the same turns.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np

# By the first word of a peer's name: the package it needs, and the module that this is imported as.
PEERS = {
    "numpy": ("numpy", "numpy"),
    "opencv": ("opencv-python-headless", "cv2"),
    "scipy": ("scipy", "scipy"),
    "torch": ("torch", "torch"),
    "pycocotools": ("pycocotools", "pycocotools"),
    "faster-coco-eval": ("faster-coco-eval", "faster_coco_eval"),
    "hotcoco": ("hotcoco", "hotcoco"),
    "ultrafast-pycocotools": ("ultrafast-pycocotools", "ultrafast_pycocotools"),
    "cc3d": ("connected-components-3d", "cc3d"),
}
SLOW = 4.0  # seconds: a peer whose first call takes longer has no second one
FLOOR = "its bytes, at a large copy's bandwidth"
LARGE = 2**28  # bytes of a copy that no cache holds


class Timed(NamedTuple):
    """What a call gives that holds the clock itself, because not all of it is the work."""

    seconds: float
    answer: Any


class Missing(Exception):
    """Why a peer cannot run here."""


class Case(NamedTuple):
    """A work, and the peers' ways to do it.

    A peer's name begins with a key of `PEERS`, unless it needs nothing or says itself what is `Missing`. ``apart`` says
    how far an answer is from ours; ``bars`` how many times as long as ours a peer (or `FLOOR`) is to take at least;
    ``moved`` how many bytes must be read and written.
    """

    work: str
    ours: Callable[[], Any]
    peers: Mapping[str, Callable[[], Any]]
    apart: Callable[[Any, Any], str]
    bars: Mapping[str, float] = {}
    moved: int = 0


class Row(NamedTuple):
    """One work beside one peer: medians in ms with quartiles, how many times ours the peer takes, and ``note``: how far
    its answer is from ours, or why it did not run."""

    section: str
    work: str
    peer: str
    ours_ms: float
    ours_quartiles: tuple[float, float]
    peer_ms: float | None
    peer_quartiles: tuple[float, float] | None
    ratio: float | None
    bar: float | None
    met: bool | None
    note: str


def within(limit: float) -> Callable[[Any, Any], str]:
    """How far floats are apart; a peer that is farther from ours than ``limit`` did other work, which ends the run."""

    def apart(ours: np.ndarray, theirs: np.ndarray) -> str:
        far = float(np.abs(ours.astype(np.float64) - theirs).max(initial=0))
        if not far <= limit:
            raise SystemExit(f"a peer's answer is {far} away from ours, expected at most {limit}")
        return f"within {far:.1g}" if far else "equal"

    return apart


def importable(module: str) -> bool:
    return not module or importlib.util.find_spec(module) is not None


def missing(peer: str) -> str:
    """Why a peer cannot run: the package of its name is not installed; empty where it is, or needs none."""
    package, module = PEERS.get(peer.split(",")[0].split()[0], ("", ""))
    return "" if importable(module) else f"{package} is not installed"


def clocked(call: Callable[[], Any]) -> Timed:
    started = time.perf_counter()
    answer = call()
    return answer if isinstance(answer, Timed) else Timed(time.perf_counter() - started, answer)


MEMCPY = ctypes.CDLL(None).memcpy
MEMCPY.restype, MEMCPY.argtypes = ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]


@numba.njit(parallel=True)
def copied(source, target, parts):  # type: ignore[no-untyped-def]
    for part in numba.prange(parts):
        begin, end = part * target.size // parts, (part + 1) * target.size // parts
        MEMCPY(target[begin:end].ctypes, source[begin:end].ctypes, end - begin)


def copies(count: int) -> Callable[[], None]:
    """Reads and writes ``count`` bytes altogether, with the threads that operators have: those of another pool would
    find the cores taken by these while they wait, and a copy by them takes twice as long."""
    source, target = np.ones(count // 2, np.uint8), np.zeros(count // 2, np.uint8)
    return lambda: copied(source, target, numba.get_num_threads())


class Clock:
    """The times of one call, after one that is not counted, as it may compile and import.

    It has ``turns`` turns, fewer (but three) where these would take longer than ``seconds``; where the first took
    longer than ``slow`` it counts, and is the only one.
    """

    def __init__(self, call: Callable[[], Any], turns: int, seconds: float, slow: float = SLOW) -> None:
        self.call, self.turns, self.warm = call, 0, False
        started = time.perf_counter()
        first = clocked(call)
        self.answer: Any = first.answer
        if time.perf_counter() - started > slow:
            self.times = [first.seconds]
            return
        started = time.perf_counter()
        self.times = [clocked(call).seconds]
        took = time.perf_counter() - started
        self.turns, self.warm = min(turns, max(3, int(seconds / took))) - 1, took < 0.05

    def turn(self) -> None:
        if self.warm:
            self.call()
        self.times.append(clocked(self.call).seconds)

    def milliseconds(self) -> tuple[float, tuple[float, float]]:
        low, middle, high = (np.percentile(self.times, [25, 50, 75]) * 1e3).tolist()
        return middle, (low, high)


def floor(moved: int, rounds: int, seconds: float) -> Clock:
    """How long ``moved`` bytes take at the bandwidth of a copy that no cache holds. Timed before the others, because
    such a copy empties their caches."""
    copy = copies(LARGE)
    clock = Clock(lambda: Timed(clocked(copy).seconds * moved / LARGE, None), rounds, seconds)
    for _ in range(clock.turns):
        clock.turn()
    return clock


def measure(section: str, case: Case, rounds: int, seconds: float) -> Iterator[Row]:
    """The rows of one work."""
    notes = {name: missing(name) for name in case.peers}
    least = floor(case.moved, rounds, seconds) if case.moved else None
    clocks = {"ours": Clock(case.ours, rounds, seconds, slow=np.inf)}  # it may compile
    for name, call in case.peers.items():
        if not notes[name]:
            try:
                clocks[name] = Clock(call, rounds, seconds)
            except Missing as why:
                notes[name] = str(why)
                continue
            notes[name] = case.apart(clocks["ours"].answer, clocks[name].answer)
            clocks[name].answer = None
    for turn in range(rounds):
        for clock in clocks.values():
            if turn < clock.turns:
                clock.turn()
    for call in case.peers.values():
        if isinstance(call, Elsewhere):
            call.end()
    if least:
        clocks[FLOOR], notes[FLOOR] = least, ""
    ours, spread = clocks["ours"].milliseconds()
    for name, note in notes.items():
        bar = case.bars.get(name)
        if name not in clocks:
            yield Row(section, case.work, name, ours, spread, None, None, None, bar, None, note)
            continue
        theirs, their_spread = clocks[name].milliseconds()
        ratio = theirs / ours
        met = None if bar is None else ratio >= bar
        yield Row(section, case.work, name, ours, spread, theirs, their_spread, ratio, bar, met, note)


class Elsewhere:
    """A peer in the process of another Python, which has what this one should not: `benchmarks.peer`, run as a file.

    It gets the arrays once, runs when it is told to, and says how long that took by its own clock.
    """

    def __init__(self, python: Path | None, name: str, **arrays: Any) -> None:
        self.python, self.name, self.arrays = python, name, arrays
        self.process: subprocess.Popen[str] | None = None

    def __call__(self) -> Timed:
        self.process = self.process or self.start()
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Missing(f"{self.name} does not run in {self.python}")
        with np.load(Path(self.folder.name) / "out.npz") as found:
            return Timed(float(line), [found[name] for name in found.files])

    def start(self) -> subprocess.Popen[str]:
        if self.python is None:
            raise Missing("not asked for: name a Python that has torchvision by --peers")
        self.folder = tempfile.TemporaryDirectory()
        np.savez(Path(self.folder.name) / "in.npz", **self.arrays)
        command = [str(self.python), str(Path(__file__).with_name("peer.py")), self.name, self.folder.name]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end(self) -> None:
        if self.process is not None:
            self.process.communicate()


class Options(NamedTuple):
    rounds: int
    seconds: float
    only: list[str]
    peers: Path | None
    pictures: int
    depth: int
    side: int
    json: Path | None


Sections = Mapping[str, Callable[[Options], Iterator[Case]]]


def options(sections: Sections) -> Options:
    parser = argparse.ArgumentParser(description="Operators beside their peers.")
    parser.add_argument(
        "--only", nargs="+", default=list(sections), metavar="SECTION[:WORD]",
        help=f"sections ({', '.join(sections)}), or of one the works that have the word in their names",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=60, help="turns that each way has at most (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2.5, help="that the turns of each way may take (%(default)s)")
    parser.add_argument("--peers", type=Path, help="another Python, that has the peers which this one has not")
    parser.add_argument("--pictures", type=int, default=5000, help="of COCO's evaluation (%(default)s)")
    parser.add_argument("--depth", type=int, default=300, help="slices of the volumes (%(default)s)")
    parser.add_argument("--side", type=int, default=512, help="of a slice (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the rows here, too")
    given = Options(**vars(parser.parse_args()))
    for name in given.only:
        if name.partition(":")[0] not in sections:
            parser.error(f"--only {name}: expected a section ({', '.join(sections)}), or SECTION:WORD")
    return given


def add_packages_of(python: Path) -> None:
    """Import from that environment what this one has not; what both have, torch above all, stays this one's."""
    ask = "import sysconfig; print(sysconfig.get_path('platlib'))"
    sys.path.append(subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.strip())


def machine() -> dict[str, Any]:
    """What the figures depend on; versions of what is installed here, and the bandwidth of a copy in GB/s."""
    versions = {"python": platform.python_version(), "numba": numba.__version__}
    versions |= {package: metadata.version(package) for package, module in PEERS.values() if importable(module)}
    clock = Clock(copies(LARGE), 7, 2.0)
    for _ in range(clock.turns):
        clock.turn()
    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": numba.get_num_threads(),
        "waiting": os.environ.get("OMP_WAIT_POLICY", "default"),
        "versions": versions,
        "copy_gb_per_s": round(LARGE / clock.milliseconds()[0] / 1e6, 1),
    }


def tell(row: Row, first: bool) -> None:
    if first:
        low, high = row.ours_quartiles
        print(f"{row.work}: ours {row.ours_ms:.3g} ({low:.3g}-{high:.3g})")
    bar = "" if row.bar is None else f", bar {row.bar:g}x" + {None: "", True: ": met", False: ": MISSED"}[row.met]
    if row.peer_ms is None or row.peer_quartiles is None:
        print(f"  {row.peer:36} {row.note}{bar}", flush=True)
        return
    low, high = row.peer_quartiles
    note = f", {row.note}" if row.note else ""
    print(f"  {row.peer:36} {row.peer_ms:.3g} ({low:.3g}-{high:.3g}), {row.ratio:.2f}x ours{note}{bar}", flush=True)


def rows_of(sections: Sections, given: Options) -> Iterator[Row]:
    """Measure what ``only`` names."""
    for section, cases in sections.items():
        words = [word for name, _, word in (each.partition(":") for each in given.only) if name == section]
        if words:
            for case in cases(given):
                if any(word in case.work for word in words):
                    yield from measure(section, case, given.rounds, given.seconds)


def table(rows: list[Row]) -> list[str]:
    """What was promised, one line each, and whether it is met; without its peer a bar is not measured."""
    lines = ["| work | peer | at least | measured | |", "|---|---|---|---|---|"]
    for row in rows:
        if row.bar is not None:
            found = "" if row.ratio is None else f"{row.ratio:.2f}x"
            verdict = f"not measured: {row.note}" if row.met is None else "met" if row.met else "MISSED"
            lines.append(f"| {row.work} | {row.peer} | {row.bar:.3g}x | {found} | {verdict} |")
    return lines


def main(sections: Sections) -> None:
    given = options(sections)
    if given.peers:
        add_packages_of(given.peers)
    about, rows = machine(), list[Row]()
    print(*(f"{name} {value}" for name, value in about.items()), sep=", ")
    print(f"at most {given.rounds} turns of each in {given.seconds:g} s; milliseconds, median (quartiles)")
    started, section = time.perf_counter(), ""
    for row in rows_of(sections, given):
        if row.section != section:
            section = row.section
            print(f"\n{section}")
        tell(row, not rows or rows[-1].work != row.work)
        rows.append(row)
    met = [row.met for row in rows if row.bar is not None]
    print("\nHow many times as long as ours the peer takes", "", *table(rows), "", sep="\n")
    print(f"{met.count(True)} bars met, {met.count(False)} missed, {met.count(None)} not measured; "
          f"{time.perf_counter() - started:.0f} s")  # fmt: skip
    if given.json:
        written = {"about": about, "rows": [row._asdict() for row in rows]}
        given.json.write_text(json.dumps(written, indent=2) + "\n")
