"""Run the CUDA twins' tests and print one table: each operator, how far its twin is from the CPU, and its PTX.

python docs/acceptance/twins.py            (in .venv; needs .venv-ptx, which `make` builds)
"""

from __future__ import annotations

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


def run(python: str | Path, folder: str, *options: str, **environment: str) -> None:
    command = [python, "-m", "pytest", folder, f"--confcutdir={folder}", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout)
    print(f"{folder}: {re.findall(r'[0-9]+ passed.*', done.stdout)[-1]}")


def compiled(report: Path) -> dict[str, dict[str, list[bool]]]:
    """By module and compute capability, whether each of its twins became PTX."""
    found: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for case in ElementTree.parse(report).iter("testcase"):
        match = re.fullmatch(r"test_compiles\[(\w+)\..*-(\d\.\d)\]", case.get("name", ""))
        if match:
            found[match[1]][match[2]].append(case.find("failure") is None)
    return found


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    run(sys.executable, "tests/ops/cuda", NUMBA_ENABLE_CUDASIM="1", TOOLKIT_TWINS=str(folder / "twins.json"))
    run(ROOT / ".venv-ptx/bin/python", "tests/ops/ptx", f"--junit-xml={folder / 'ptx.xml'}", PYTHONPATH=str(ROOT))
    differences = json.loads((folder / "twins.json").read_text())
    ptx = compiled(folder / "ptx.xml")
    print("\nSimulator and PTX; no GPU has run these twins.\n")
    print(f"{'operator':26} {'cases':>5}  {'largest difference':18}  PTX 7.5      PTX 9.0")
    for name in (name for name in ops.__all__ if hasattr(getattr(ops, name), "__code__")):
        module = getattr(ops, name).__module__.removeprefix("ops.")
        if module not in ptx:
            print(f"{name:26} {'':5}  no twin")
            continue
        cases, largest = differences[name]
        kernels = "  ".join(f"{sum(ptx[module][at])} of {len(ptx[module][at])} twins" for at in ("7.5", "9.0"))
        print(f"{name:26} {cases:5}  {largest:<18.3g}  {kernels}")


if __name__ == "__main__":
    main()
