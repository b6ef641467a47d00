"""Writes a Dockerfile beside a bundle. It needs no Docker to do so, and the image needs no torch."""

from __future__ import annotations

import json
import re
from pathlib import Path

import toolkit
from toolkit.bundle import is_bundle
from toolkit.errors import UserError

DISTRIBUTION = "cv-toolkit"
PORT = 8000
_MARK = "# Written by cv-toolkit"
# Runs at build time: it compiles the operators into the image, and a bundle that answers wrongly there builds no image.
_CHECK = (
    "from toolkit.inference import check_golden, load; "
    "raise SystemExit('; '.join(check_golden(load('/bundle', 'cpu'))) or None)"
)
_PROBE = (
    "import http.client, sys; "
    f"service = http.client.HTTPConnection('127.0.0.1', {PORT}, timeout=2); "
    "service.request('GET', '/health/ready'); "
    "sys.exit(service.getresponse().status != 200)"
)
_COMMAND = ["toolkit", "serve", "/bundle", "--host", "0.0.0.0", "--port", str(PORT), "--log-format", "json"]
_TEMPLATE = """\
{mark}: serves the bundle {bundle}. In this folder:
#   docker build -t {tag} .
#   docker run --rm --stop-timeout 40 -p {port}:{port} {tag}
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 NUMBA_CACHE_DIR=/var/cache/toolkit
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin service \\
 && install -d -o service /var/cache/toolkit

{install}

COPY {copy_bundle}
USER 10001
RUN {check}

EXPOSE {port}
HEALTHCHECK --interval=15s --timeout=3s --start-period=60s --retries=3 CMD {probe}
CMD {command}
"""


def write_dockerfile(folder: str | Path, bundle_name: str) -> Path:
    """Write ``folder/Dockerfile`` for the bundle ``folder/bundle_name`` (a folder or a zip) and return its path.

    A wheel of the distribution that lies in ``folder`` is installed; without one, the present version from the
    package index. Raises UserError where there is no bundle, more than one wheel, or a Dockerfile of somebody else.
    """
    folder = Path(folder)
    target = folder / "Dockerfile"
    _check_bundle(folder, bundle_name)
    if target.exists() and not target.read_text(errors="replace").startswith(_MARK):
        raise UserError(
            f"{target} was not written by the toolkit and is left alone; move it away or give another folder"
        )
    wheel = _wheel(folder)
    text = _TEMPLATE.format(
        mark=_MARK,
        bundle=bundle_name,
        tag=re.sub(r"[^a-z0-9]+", "-", bundle_name.lower()).strip("-") + "-service",
        port=PORT,
        install=_install(wheel),
        copy_bundle=json.dumps([bundle_name, "/bundle"]),
        check=json.dumps(["python", "-c", _CHECK]),
        probe=json.dumps(["python", "-c", _PROBE]),
        command=json.dumps(_COMMAND),
    )
    target.write_text(text)
    # Only what is copied is sent to Docker, whatever else lies in the folder.
    allowed = [f"!{name}" for name in (bundle_name, wheel and wheel.name) if name]
    (folder / "Dockerfile.dockerignore").write_text("\n".join(["*", *allowed, ""]))
    return target


def _check_bundle(folder: Path, bundle_name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", bundle_name):
        raise UserError(
            f"bundle {bundle_name!r}: a Dockerfile needs a name of letters, digits, '.', '_' and '-'; rename it"
        )
    if not is_bundle(folder / bundle_name):
        raise UserError(f"no bundle at {folder / bundle_name}; export one there first")


def _wheel(folder: Path) -> Path | None:
    wheels = sorted(folder.glob(f"{DISTRIBUTION.replace('-', '_')}-*.whl"))
    if len(wheels) > 1:
        names = ", ".join(wheel.name for wheel in wheels)
        raise UserError(f"{folder} holds {len(wheels)} wheels of {DISTRIBUTION} ({names}); keep the one to install")
    return wheels[0] if wheels else None


def _install(wheel: Path | None) -> str:
    if wheel is not None:
        return f"COPY {json.dumps([wheel.name, '/tmp/'])}\nRUN pip install /tmp/{wheel.name}"
    return (
        "# To install a wheel of your own, put it beside the bundle and write this file again.\n"
        f"RUN pip install {DISTRIBUTION}=={toolkit.__version__}"
    )
