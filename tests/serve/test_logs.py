"""The log as JSON: what a line has, and what it never has."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from live_service import BrokenModel, live, not_grey
from PIL import Image, PngImagePlugin
from tiny_bundle import WARM, flat_png

from serve import create_app
from serve.logs import JsonLines, check_format, fields
from toolkit.errors import UserError

SECRET = "canary"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("serve")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(level)


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_each_request_is_one_line_with_its_outcome(tiny_bundle: Path, log: io.StringIO) -> None:
    model = BrokenModel(tiny_bundle)
    with live(create_app(model)) as client:
        client.post("/predict", content=flat_png(WARM), headers={"X-Request-Id": "one"})
        client.get("/no%0Athing", headers={"X-Request-Id": "two"})
        client.get("/health/ready")
        model.broken = not_grey
        client.post("/predict", content=flat_png(WARM), headers={"X-Request-Id": "three"})
    one, two, fault, three = lines(log)
    assert one.pop("milliseconds") > 0
    assert one.pop("time").endswith("+00:00")
    said = one.pop("message")
    assert one == {
        "level": "info", "logger": "serve", "request_id": "one", "method": "POST", "path": "/predict",
        "status": 200, "dialect": "prediction", "model": "tiny",
    }  # fmt: skip
    assert said.startswith("request one: POST /predict -> 200 in ")
    assert (two["path"], two["status"], two["dialect"]) == ("/no%0Athing", 404, "none")
    assert "model" not in two
    assert (fault["level"], fault["request_id"], "secret.py" in fault["traceback"]) == ("error", "three", True)
    assert (three["request_id"], three["status"]) == ("three", 500)


def test_nothing_that_a_request_carries_is_logged(tiny_bundle: Path, log: io.StringIO) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", SECRET)
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), WARM).save(picture, "PNG", pnginfo=info)
    model = BrokenModel(tiny_bundle)
    with live(create_app(model)) as client:
        ask(client, picture.getvalue(), 200)
        ask(client, SECRET.encode(), 400)
        client.post(f"/predict?{SECRET}=1", content=picture.getvalue())
        model.broken = not_grey
        ask(client, picture.getvalue(), 500)
    assert len(lines(log)) == 5
    assert SECRET not in log.getvalue()


def ask(client: httpx.Client, data: bytes, status: int) -> None:
    headers = {"X-Request-Id": f"{SECRET} has a space", "User-Agent": SECRET, "Authorization": f"Bearer {SECRET}"}
    answer = client.post("/predict", files={"file": (f"{SECRET}.png", data)}, headers=headers)
    assert answer.status_code == status


def test_a_line_is_one_line_whatever_it_says() -> None:
    record = logging.LogRecord("serve", logging.WARNING, "", 0, "two\n%s", ("lines",), None)
    record.__dict__.update(fields(at=Path("a"), more=[1]))
    text = JsonLines().format(record)
    assert "\n" not in text
    assert {**json.loads(text), "time": ""} == {
        "time": "", "level": "warning", "logger": "serve", "message": "two\nlines", "at": "a", "more": [1],
    }  # fmt: skip


def test_another_format_is_one_sentence() -> None:
    assert check_format("json") == "json"
    with pytest.raises(UserError, match=r"^log format 'jsno': expected one of text, json; did you mean 'json'\?$"):
        check_format("jsno")
