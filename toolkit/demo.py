"""``toolkit demo``: the whole line on this machine, offline, in a few minutes; what `make demo` runs."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from toolkit.errors import UserError

BUNDLE = "mask_detection"
NEXT = """\
Three commands to try next:
  toolkit train configs/mask_detection.yaml data.root=/their/pictures             # 1. train from a config file
  toolkit predict mask_detection street.jpg album/ --save out/                      # 2. or toolkit.predict("mask_detection", "street.jpg")
  toolkit export {run} --to bundle/ && toolkit serve bundle/         # 3. HTTP service with a page to drop a picture on"""  # noqa: E501


def run(out: Path, photo: Path | None) -> None:
    """Predict, train, evaluate, export, serve and ask; everything lands under ``out``."""
    _start_anew(out)
    steps = _Steps(6)
    portrait = photo or sample_photo()

    with steps("predict in one line with the shipped bundle"):
        drawn = _predict(portrait, out / "portrait.jpg")
    with steps("train a small detector from configs/quickstart.yaml on pictures drawn here"):
        run_dir = _train(out / "run")
    with steps("evaluate it"):
        _evaluate(run_dir)
    with steps("export it, with its parity certificate"):
        bundle = _export(run_dir, out / "bundle")
    picture = sorted((out / "shapes/images").glob("*.jpg"))[0]
    with steps("start the service, ask it over HTTP, stop it"), service(bundle) as url:
        _ask(url, picture)
    with steps("draw what the new detector sees"):
        seen = _draw(bundle, picture, out / "shapes.jpg")

    print("\nLook at:")
    for path in (drawn, seen, run_dir / "results.png", run_dir / "augmented_0.jpg", run_dir / "validation"):
        print(f"  {path}")
    print("\n" + NEXT.format(run=run_dir))


class _Steps:
    """Numbers the steps and times them."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0

    @contextlib.contextmanager
    def __call__(self, title: str) -> Iterator[None]:
        self._done += 1
        print(f"\n[{self._done}/{self._total}] {title}", flush=True)
        started = time.perf_counter()
        yield
        print(f"      ({time.perf_counter() - started:.1f} s)", flush=True)


def _start_anew(out: Path) -> None:
    """Remove an earlier demo, and nothing that is not one."""
    if out.exists() and any(out.iterdir()) and not (out / ".toolkit-demo").exists():
        raise UserError(f"{out} holds something else; give another folder with --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / ".toolkit-demo").touch()


def sample_photo() -> Path:
    """The portrait that matplotlib carries among its sample data; raises ``UserError`` where it is not installed."""
    try:
        from matplotlib import cbook
    except ImportError:
        raise UserError("the demo needs a photograph: install matplotlib, or give one with --photo FILE") from None
    return Path(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


def _predict(photo: Path, drawn: Path) -> Path:
    import toolkit

    print(f'      toolkit.predict("{BUNDLE}", "{photo.name}")')
    result = toolkit.predict(BUNDLE, photo)
    print(f"      {result.summary()}")
    return result.save(drawn)


def _train(run_dir: Path) -> Path:
    from toolkit import api
    from toolkit.cli.progress import progress_bar

    with progress_bar() as progress:
        changes = [f"data.root={run_dir.parent / 'shapes'}"]
        api.train_from("quickstart", changes, run_dir=run_dir, progress=progress, bar=sys.stderr.isatty())
    return run_dir


def _evaluate(run_dir: Path) -> None:
    from toolkit import api
    from toolkit.evaluation.table import as_table

    print(as_table(api.evaluate_with(str(run_dir))))


def _export(run_dir: Path, bundle: Path) -> Path:
    from toolkit import api

    api.export_to(str(run_dir), bundle)
    certificate = json.loads((bundle / "parity.json").read_text(encoding="utf-8"))
    largest = ", ".join(f"{stage} {value:.2g}" for stage, value in certificate["largest_difference"].items())
    print(f"      {', '.join(certificate['compared'])} agree on {certificate['pictures']} pictures ({largest})")
    return bundle


@contextlib.contextmanager
def service(bundle: Path, *options: str) -> Iterator[str]:
    """Start ``toolkit serve`` on a free port in a process of its own, yield its address, stop it by SIGTERM."""
    command = [sys.executable, "-m", "toolkit.cli.main", "serve", str(bundle), "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        address = re.search(r"http://\S+", line)
        if not address:
            raise UserError(f"the service did not start: it printed {line!r}")
        print(f"      {line.strip()}")
        yield address.group()
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
        print(f"      stopped with exit code {code}")
    finally:
        if process.poll() is None:
            process.kill()


def _ask(url: str, picture: Path) -> None:
    """POST the picture as any client would and print the answer."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port, timeout=30)
    connection.request("POST", "/predict", picture.read_bytes(), {"Content-Type": "image/jpeg"})
    response = connection.getresponse()
    print(f"      POST {url}/predict  {picture.name} -> {response.status}".replace("//predict", "/predict"))
    print("      " + json.dumps(json.loads(response.read())))


def _draw(bundle: Path, picture: Path, drawn: Path) -> Path:
    import toolkit

    return toolkit.predict(bundle, picture).save(drawn)
