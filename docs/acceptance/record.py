"""Run the commands that show what is promised and write what they printed beside this file.

    python docs/acceptance/record.py [NAME ...]        (all, without a name)

NAME.sh holds the commands, NAME.txt receives them with what they printed (both streams), exit code and duration. They
run in an empty folder after inputs.sh, which makes what several of them need. A script whose first line is
"# needs: DATA" reads the training pictures under $DATA and is left out, and said so, where that is not set.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def record(script: Path) -> None:
    commands = script.read_text(encoding="utf-8")
    if commands.startswith("# needs: DATA\n"):
        commands = commands.partition("\n")[2]
        if "DATA" not in os.environ:
            print(f"{script.stem}: left out, $DATA is not set")
            return
    folder = Path(tempfile.mkdtemp())
    environment = {
        **os.environ, "ROOT": str(ROOT), "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}", "COLUMNS": "120",
    }  # fmt: skip
    subprocess.run(["bash", HERE / "inputs.sh"], cwd=folder, env=environment, check=True)
    started = time.perf_counter()
    done = subprocess.run(
        ["bash", "-c", commands],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    seconds = time.perf_counter() - started
    shutil.rmtree(folder)
    text = done.stdout
    for path, shown in ((os.environ.get("DATA", "\0"), "$DATA"), (str(ROOT), "."), (str(folder), ".")):
        text = text.replace(path, shown)
    header = "\n".join(f"$ {line}" if line.strip() else "" for line in commands.strip().splitlines())
    script.with_suffix(".txt").write_text(f"{header}\n\n{text}\nexit code {done.returncode}, {seconds:.1f} s\n")
    print(f"{script.stem}: exit code {done.returncode}, {seconds:.1f} s")


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(path.stem for path in HERE.glob("*.sh") if path.stem != "inputs"):
        record(HERE / f"{name}.sh")
