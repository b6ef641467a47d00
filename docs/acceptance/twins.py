"""Run the CUDA twins' tests and print one table: each operator, how far its twin is from the CPU, and its PTX.

python docs/acceptance/twins.py            (in .venv; needs .venv-ptx, which `make` builds)
"""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

import ops

ROOT = Path(__file__).parents[2]
PTX_PYTHON = ROOT / ".venv-ptx/bin/python"
CAPABILITIES = ("7.5", "9.0")
ABOUT = """
In numba's simulator, and compiled to PTX; no GPU has run these twins. The difference is from the kernels for the CPU,
in the unit of the answer; on a GPU exp, log, pow, atan2 and the sine differ in their last digits besides.
"""


def run(python: str | Path, folder: str, *options: str, **environment: str) -> None:
    command = [python, "-m", "pytest", folder, f"--confcutdir={folder}", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout)
    print(f"{folder}: {re.findall(r'[0-9]+ passed.*', done.stdout)[-1]}")


def compiled(report: Path) -> dict[str, dict[str, list[bool]]]:
    """By module and compute capability, whether each of its twins became PTX.

    Those of `operator` are made when a user's function comes: one for each pattern; the reduction is a fused one.
    """
    found: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for case in ElementTree.parse(report).iter("testcase"):
        name, passed = case.get("name", ""), case.find("failure") is None
        if match := re.fullmatch(r"test_compiles\[(\w+)\..*-(\d\.\d)\]", name):
            found[match[1]][match[2]].append(passed)
        elif match := re.fullmatch(r"test_(elementwise|gather|reduce)\[(\d\.\d)\]", name):
            for module in ("operator", "fuse") if match[1] == "reduce" else ("operator",):
                found[module][match[2]].append(passed)
    return found


def without_twin(name: str) -> str:
    """The operator's own words for why it has none."""
    text = " ".join((inspect.getdoc(getattr(ops, name)) or "").split())
    why = re.search(r"No CUDA twin[:,]? ?(.*?)(?:\.(?: |$)|$)", text)
    return f"no twin: {why[1]}" if why else "no twin"


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    run(sys.executable, "tests/ops/cuda", NUMBA_ENABLE_CUDASIM="1", TOOLKIT_TWINS=str(folder / "twins.json"))
    run(PTX_PYTHON, "tests/ops/ptx", f"--junit-xml={folder / 'ptx.xml'}", PYTHONPATH=str(ROOT))
    differences = json.loads((folder / "twins.json").read_text())
    ptx = compiled(folder / "ptx.xml")
    print(ABOUT)
    heads = "  ".join(f"PTX {at:8}" for at in CAPABILITIES).rstrip()
    print(f"{'operator':28} {'cases':>5}  {'largest difference':18}  {heads}")
    for name in (name for name in ops.__all__ if inspect.isfunction(getattr(ops, name))):
        module = getattr(ops, name).__module__.removeprefix("ops.")
        if module not in ptx:
            print(f"{name:28} {without_twin(name)}")
            continue
        cases, largest = differences[name]
        told = (f"{sum(ptx[module][at])} of {len(ptx[module][at])}" for at in CAPABILITIES)
        print(f"{name:28} {cases:5}  {largest:<18.3g}  {'  '.join(f'{each:12}' for each in told)}".rstrip())


if __name__ == "__main__":
    main()
