"""The flags of ``toolkit serve``: what they come to, and that without them a service is as `Settings` says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import serve.server
from serve.settings import Settings
from toolkit.cli.main import app


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the server would be run with."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(serve.server, "run", lambda bundles, **rest: given.update(rest, bundles=bundles))
    return given


def run(*arguments: str) -> int:
    return CliRunner().invoke(app, ["serve", "b", *arguments]).exit_code


def test_without_flags_it_is_as_the_settings_say(told: dict[str, Any]) -> None:
    assert run() == 0
    assert told == {
        "bundles": ["b"],
        "models_dir": None,
        "admin_port": None,
        "host": "127.0.0.1",
        "port": 8000,
        "device": "auto",
        "precision": "auto",
        "settings": Settings(),
        "log_format": "text",
    }


FLAGS: list[tuple[list[str], Settings]] = [
    (["--workers", "3"], Settings(workers=3)),
    (["--waiting", "0"], Settings(waiting=0)),
    (["--timeout", "2.5"], Settings(timeout_seconds=2.5)),
    (["--max-megapixels", "0.5"], Settings(max_pixels=500_000)),
    (["--max-body-mib", "0.5"], Settings(max_body_bytes=2**19)),
    (["--keys", "k.json"], Settings(keys=Path("k.json"))),
    (["--cors-origin", "https://a.example", "--cors-origin", "*"], Settings(cors_origins=("https://a.example", "*"))),
    (["--picture-host", "a.example"], Settings(picture_hosts=("a.example",))),
    (["--traces", "http://collector:4318"], Settings(traces="http://collector:4318")),
]


@pytest.mark.parametrize(("flags", "settings"), FLAGS, ids=[row[0][0] for row in FLAGS])
def test_a_flag_is_a_setting(told: dict[str, Any], flags: list[str], settings: Settings) -> None:
    assert run(*flags) == 0
    assert told["settings"] == settings


@pytest.mark.parametrize(
    "flags",
    [
        ["--workers", "0"],
        ["--waiting", "-1"],
        ["--timeout", "0"],
        ["--max-megapixels", "0"],
        ["--max-body-mib", "abc"],
        ["--port", "70000"],
        ["--no-such-flag"],
    ],
)
def test_values_out_of_range_end_with_2(told: dict[str, Any], flags: list[str]) -> None:
    assert run(*flags) == 2
    assert told == {}
