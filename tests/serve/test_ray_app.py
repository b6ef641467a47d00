"""The Ray ingress as far as it goes without Ray: its arguments, its sentences, and when a replica is well.

`tests/system/test_ray.py` starts replicas.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from serve.app import create_app
from serve.ray_app import Placement, _app, _require_well, build, read
from serve.settings import Settings
from toolkit.errors import UserError
from toolkit.inference import load

GIVEN: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"bundles": "a"}, {"bundles": ("a",), "replicas": 2, "cpus": 1, "gpus": 0.0}, {"workers": 1, "waiting": 32}),
    # as a command line gives them: all texts, lists with commas
    (
        {"bundles": "a,/srv/b", "replicas": "8", "cpus": "6", "timeout_seconds": "5", "cors_origins": "https://a,https://b"},
        {"bundles": ("a", "/srv/b"), "replicas": 8, "cpus": 6},
        {"workers": 4, "timeout_seconds": 5.0, "cors_origins": ("https://a", "https://b")},
    ),
    # as a file gives them
    (
        {"bundles": ["a"], "gpus": 1, "workers": 2, "keys": "/srv/keys.json", "drain_seconds": 5},
        {"bundles": ("a",), "gpus": 1.0, "drain_seconds": 5.0},
        {"workers": 2, "keys": Path("/srv/keys.json")},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("given", "placement", "settings"), GIVEN)
def test_the_arguments(given: dict[str, Any], placement: dict[str, Any], settings: dict[str, Any]) -> None:
    placed, chosen = read(given)
    assert {name: getattr(placed, name) for name in placement} == placement
    assert {name: getattr(chosen, name) for name in settings} == settings


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "argument bundles: field required, got {}"),
        ({"bundles": "a", "replica": 2}, "argument 'replica' is unknown; did you mean 'replicas'?"),
        ({"bundles": "a", "jobs": "/srv/jobs"}, "argument 'jobs' is unknown"),
        ({"bundles": "a", "replicas": 0}, "argument replicas: input should be greater than or equal to 1, got 0"),
        ({"bundles": "a", "waiting": "many"}, "argument waiting: input should be a valid integer, .*, got 'many'"),
        ({"bundles": "a", "batching": "perhaps"}, "argument batching: input should be 'auto', 'on' or 'off'"),
    ],
)
def test_wrong_arguments_are_told_in_a_sentence(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        read(given)


def test_without_ray_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"^Ray is not installed; install the toolkit as 'cv-toolkit\[ray\]'$"):
        build({"bundles": "mask_detection"})


def test_a_replica_is_the_application_over_its_bundles(tiny_bundle: Path) -> None:
    app = _app(Placement(bundles=(str(tiny_bundle),)), Settings(workers=1, waiting=3))
    assert app.state.service.settings.waiting == 3
    assert [each["name"] for each in app.state.service.listing()] == ["tiny"]


def test_a_replica_is_well_once_it_has_been_checked_and_while_its_engine_works(tiny_bundle: Path) -> None:
    async def ask() -> None:
        service = create_app(load(tiny_bundle, "cpu", threads=1)).state.service
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await _require_well(service)
        await service.check()
        await _require_well(service)
        service.default.batcher.down = "it does not answer"
        with pytest.raises(RuntimeError, match="the engine is down"):
            await _require_well(service)
        service.default.batcher.down = ""
        service.why_not_ready = "the start-up check failed: 0.png"
        with pytest.raises(RuntimeError, match=r"0\.png"):
            await _require_well(service)
        service.close()

    asyncio.run(ask())
