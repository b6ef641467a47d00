"""Who may ask: keys in front of all but health, scopes, rates, and pages of other sites."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from live_service import live, wait_for
from tiny_bundle import WARM, flat_png

from serve import Settings, create_app
from serve.access import Access, KeyFile
from serve.rates import Rates
from toolkit.api_keys import ApiKey, add_key, remove_key
from toolkit.inference import load

PICTURE = flat_png(WARM)
SITE = "https://shop.example"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    given = {
        "camera": add_key(path, "camera"),
        "watcher": add_key(path, "watcher", scopes=["metrics"]),
        "slow": add_key(path, "slow", per_minute=6, burst=2),
        "operator": add_key(path, "operator", scopes=["admin"]),
    }
    return {"file": str(path), **given}


@pytest.fixture(scope="module")
def client(tiny_bundle: Path, keys: dict[str, str]) -> Iterator[httpx.Client]:
    settings = Settings(keys=Path(keys["file"]), cors_origins=(SITE,))
    with live(create_app(load(tiny_bundle, "cpu", threads=1), settings)) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_every_route_but_health_asks_for_a_key(client: httpx.Client, keys: dict[str, str]) -> None:
    document = client.get("/openapi.json", headers=bearer(keys["camera"])).json()
    asked = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            answer = client.request(method, path.replace("{", "").replace("}", ""))
            asked[method, path] = answer.status_code
            if answer.status_code == 401:
                assert "401" in operation["responses"]
                assert "API key" in answer.text  # each dialect has its own form of errors
                assert answer.headers["www-authenticate"].startswith("Basic ")
            else:
                assert "health" in operation["tags"], path
                assert "401" not in operation["responses"]
    assert asked["post", "/predict"] == asked["get", "/"] == asked["get", "/metrics"] == 401
    for path in ("/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready", "/health"):
        assert asked["get", path] == 200
    for path in ("/openapi.json", "/nothing", "/health/", "/health/live/", "//health/live", "/health/../predict"):
        assert client.get(path).status_code == 401, path
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
        assert client.request(method, "/predict").status_code == 401


@pytest.mark.parametrize("way", ["bearer", "header", "basic"])
def test_a_key_is_taken_in_three_ways(client: httpx.Client, keys: dict[str, str], way: str) -> None:
    def ask(key: str, **more: str) -> int:
        auth = ("anyone", key) if way == "basic" else None
        headers = {"bearer": bearer(key), "header": {"X-API-Key": key}, "basic": {}}[way]
        return client.post("/predict", content=PICTURE, headers={**headers, **more}, auth=auth).status_code

    good = keys["camera"]
    assert [ask(key) for key in (good, good[:-1], good + "x")] == [200, 401, 401]
    # What a browser sends by itself does not count where a page of somebody else makes it ask.
    crossed = {"Sec-Fetch-Site": "cross-site"}
    assert ask(good, **crossed) == (401 if way == "basic" else 200)
    assert ask(good, **{"Sec-Fetch-Site": "same-origin"}) == 200


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic /w==", "Bearer", "Digest abc", "Bearer a b", "\xff"])
def test_headers_that_hold_no_key(client: httpx.Client, header: str) -> None:
    assert client.get("/metadata", headers=[("Authorization", header.encode("latin-1"))]).status_code == 401  # type: ignore[list-item]


def test_a_key_has_its_scopes(client: httpx.Client, keys: dict[str, str]) -> None:
    asked = {
        (name, path): client.get(path, headers=bearer(keys[name])).status_code
        for name in ("camera", "watcher")
        for path in ("/metrics", "/metadata")
    }
    assert list(asked.values()) == [403, 200, 200, 403]
    refused = client.get("/metrics", headers=bearer(keys["camera"]))
    assert refused.json() == {"error": "the API key 'camera' may not do this: it lacks the scope 'metrics'"}


def test_a_key_has_its_rate(client: httpx.Client, keys: dict[str, str]) -> None:
    answers = [client.get("/metadata", headers=bearer(keys["slow"])) for _ in range(3)]
    assert [each.status_code for each in answers] == [200, 200, 429]
    assert "'slow' has used up its 6 requests a minute" in answers[2].json()["error"]
    assert 1 <= int(answers[2].headers["retry-after"]) <= 10
    assert client.get("/metadata", headers=bearer(keys["camera"])).status_code == 200  # others have their own


# Requests at these seconds, with six a minute and two at once: the second each is refused, or how long to wait.
@pytest.mark.parametrize(
    ("times", "waits"),
    [
        ([0, 0, 0], [0, 0, 10]),
        ([0, 0, 9, 9], [0, 0, 1, 1]),  # being refused costs nothing
        ([0, 0, 10, 10, 15, 20], [0, 0, 0, 10, 5, 0]),
        ([0, 1000, 1000, 1000], [0, 0, 0, 10]),  # no more than two are saved
    ],
)
def test_tokens_come_back_with_time(times: list[float], waits: list[float]) -> None:
    clock = iter(times)
    rates = Rates(lambda: next(clock))
    key = ApiKey(name="a", sha256="0" * 64, per_minute=6, burst=2)
    assert [rates.wait(key) for _ in times] == pytest.approx(waits)


@pytest.mark.parametrize(("per_minute", "at_once"), [(600, 100), (60, 10), (3, 1), (0.5, 1)])
def test_without_a_burst_a_sixth_of_the_minute_comes_at_once(per_minute: float, at_once: int) -> None:
    rates = Rates(lambda: 0.0)
    key = ApiKey(name="a", sha256="0" * 64, per_minute=per_minute)
    taken = 0
    while not rates.wait(key):
        taken += 1
    assert taken == at_once


def test_the_file_may_change_while_the_service_runs(
    tiny_bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys.json"
    first = add_key(path, "first")
    with live(create_app(load(tiny_bundle, "cpu", threads=1), Settings(keys=path))) as client:

        def status(key: str) -> int:
            return client.get("/metadata", headers=bearer(key)).status_code

        assert status(first) == 200
        second = add_key(path, "second")
        wait_for(lambda: status(second) == 200)
        remove_key(path, "first")
        wait_for(lambda: status(first) == 401)
        path.write_text("{")
        wait_for(lambda: status(second) == 200 and caplog.records)
        path.unlink()
        assert status(second) == 200
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) in (1, 2)
    assert "Invalid JSON" in told[0]
    assert "the keys of before stay" in told[0]


def preflight(client: httpx.Client, origin: str) -> httpx.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    return client.options("/predict", headers=headers)


def test_only_the_named_site_may_call_from_a_browser(client: httpx.Client, keys: dict[str, str]) -> None:
    allowed = preflight(client, SITE)  # a browser asks without the key
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, SITE)
    refused = preflight(client, "https://other.example")
    assert "access-control-allow-origin" not in refused.headers
    answer = client.get("/metadata", headers={**bearer(keys["camera"]), "Origin": SITE})
    assert answer.headers["access-control-allow-origin"] == SITE
    assert "Server-Timing" in answer.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in answer.headers
    assert client.get("/metadata", headers={"Origin": SITE}).status_code == 401


def test_no_site_may_call_unless_one_is_named(tiny_bundle: Path) -> None:
    with live(create_app(load(tiny_bundle, "cpu", threads=1))) as client:
        assert preflight(client, SITE).status_code == 405
        answer = client.get("/metadata", headers={"Origin": SITE})
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_document_says_how_a_key_is_sent(client: httpx.Client, keys: dict[str, str]) -> None:
    document: dict[str, Any] = client.get("/openapi.json", headers=bearer(keys["camera"])).json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header", "basic"}
    assert document["paths"]["/predict"]["post"]["security"] == [{"bearer": []}, {"header": []}, {"basic": []}]
    assert "security" not in document["paths"]["/health/live"]["get"]
    assert "#/components/schemas/ErrorAnswer" in json.dumps(document["paths"]["/metadata"]["get"]["responses"]["401"])
    assert "ErrorAnswer" in document["components"]["schemas"]


@pytest.mark.parametrize("polite", [True, False], ids=["server answers", "server closes"])
@pytest.mark.parametrize("good", [True, False])
def test_a_websocket_needs_a_key_too(tiny_bundle: Path, keys: dict[str, str], polite: bool, good: bool) -> None:
    reached: list[str] = []
    sent: list[dict[str, Any]] = []

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["path"])

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": "/stream",
        "headers": [(b"x-api-key", keys["camera"].encode() if good else b"wrong")],
        "extensions": {"websocket.http.response": {}} if polite else {},
        "app": create_app(load(tiny_bundle, "cpu", threads=1)),
    }
    access = Access(behind, KeyFile(Path(keys["file"])), frozenset(), "predict")
    asyncio.run(access(scope, None, send))  # type: ignore[arg-type]
    assert reached == (["/stream"] if good else [])
    refusal = [("websocket.http.response.start", 401)] if polite else [("websocket.close", None)]
    assert [(each["type"], each.get("status")) for each in sent[:1]] == ([] if good else refusal)
